"""Every code block of the README and of docs/ runs, on small data that is made here."""

import glob
import hashlib
import os
import re
import shlex
import shutil
from importlib.metadata import metadata
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import typer
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import onelayer
from cifar_versions import pack, write_python
from made import make_data
from made_folder import write_folder
from onelayer.cli import app, run
from onelayer.data.fetching import cache
from onelayer.data.formats import cifar
from onelayer.model.losses import LOSSES
from submissions import COURSE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORDS = 100  # in each part of CIFAR-10, of which a batch and a gradient check take as many
TABLE = "length,width,kind\n" + "".join(f"{n % 7},{n % 5},{'ab'[n % 2]}\n" for n in range(200))
SHORTER = {
    "train": ["--report", "none", "--epochs", "2"],
    "probe": ["--draws", "1", "--report", "none"],
    "reproduce": ["--epochs", "1", "--repeats", "1", "--report", "none"],
}
CONFIG = 'dataset = "cifar10"\nl2 = [0, 0.1]\nepochs = 2\n'


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """What a reader of the docs has: a folder of data and pictures, and a copy of CIFAR-10."""
    folder = tmp_path_factory.mktemp("docs")
    generator = np.random.default_rng(0)
    records = {}
    for part in cifar.PARTS:
        records[part] = generator.integers(0, 256, (RECORDS, cifar.RECORD), dtype=np.uint8)
        records[part][:, 0] = np.arange(RECORDS) % 10
    home, here = folder / "home", folder / "here"
    for path in (home / "parts", here / "photos"):
        path.mkdir(parents=True)
    write_python(home / "parts", records)
    archive = pack(home / "parts", home / "cifar-10-python.tar.gz")
    with pytest.MonkeyPatch.context() as patch:
        digests = {
            name: hashlib.sha256(rows.tobytes()).hexdigest() for name, rows in records.items()
        }
        patch.setattr(cifar, "RECORDS", RECORDS)
        patch.setattr(cifar, "DIGESTS", digests)
        patch.setattr(cache, "SOURCES", ())
        patch.setenv("ONELAYER_CACHE", str(folder / "cache"))
        patch.setenv("HOME", str(home))
        cache.fetch_cifar10(archive)
        write_here(here)
        yield here


def write_here(folder):
    """Write the files that the docs call the reader's own."""
    for name in ("cat.png", "photos/boat.jpg"):
        Image.effect_noise((40, 30), 90).convert("RGB").save(folder / name)
    write_folder(folder / "my-folder", make_data(N=60), {"train": (20, 40)})
    for layer in (1, 2):
        X, y = np.random.default_rng(layer).random((200, 4 * layer)), np.arange(200) % 2
        np.savez(folder / f"layer{layer}.npz", X=X, y=y)
    (folder / "mine.csv").write_text(TABLE)
    (folder / "new.csv").write_text("length,width\n1,2\n3,4\n")
    (folder / "mine.txt").write_text("\n".join(f"{n % 7} {n % 5} {n % 2}" for n in range(80)))
    (folder / "mine.toml").write_text(CONFIG)
    (folder / "my_code.py").write_text(COURSE)


@pytest.fixture
def workplace(library, tmp_path, monkeypatch):
    """A copy of that folder, in which the test then is; a loss that a page registers goes again."""
    monkeypatch.chdir(shutil.copytree(library, tmp_path / "here"))
    with patch.dict(LOSSES):
        yield


def run_line(line):
    """Run a line as a shell would; of what is not onelayer, hold that it can be asked for."""
    words = [place for word in shlex.split(line, comments=True) for place in expand(word)]
    match words:
        case []:
            pass
        case ["onelayer", *arguments]:
            assert run([*arguments, *SHORTER.get(arguments[0], [])]) == 0, line
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text("utf-8")
            assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), line
            for name, _, _ in (variable.partition("=") for variable in variables):
                assert f"$({name})" in makefile, line
        case ["pip", "install", package]:
            asked = re.fullmatch(r"(?:\.|onelayer)(?:\[(.+)\])?", package)
            assert asked, line
            known = metadata("onelayer").get_all("Provides-Extra")
            assert set(re.findall(r"\w+", asked[1] or "")) <= set(known), line
        case _:
            raise AssertionError(f"nothing runs {line!r}")


def expand(word):
    word = os.path.expanduser(word)
    return sorted(glob.glob(word)) or [word]


def run_shell(example):
    for line in example.parsed.splitlines():
        run_line(line)


def write_toml(example):
    """Write the file that a comment in the block's first line names."""
    Path(example.parsed.splitlines()[0].removeprefix("# ")).write_text(example.parsed)


PARSERS = {
    "python": PythonCodeBlockParser(),
    "sh": CodeBlockParser("sh", run_shell),
    "toml": CodeBlockParser("toml", write_toml),
}


def languages(page):
    fences = re.findall(r"^ *(`{3,})(.*)\n(?:.*\n)*?^ *\1$", page.read_text("utf-8"), re.MULTILINE)
    return [language for _, language in fences]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if PARSERS.keys() & set(languages(page))],
    ids=lambda page: page.stem,
)
def test_every_block_of_a_page_runs(page, workplace):
    blocks = list(Sybil(list(PARSERS.values())).parse(page))
    assert len(blocks) == sum(language in PARSERS for language in languages(page))
    for block in blocks:
        block.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_block_that_does_not_run_is_output_or_the_sites_own(page):
    rest = set(languages(page)) - PARSERS.keys()
    assert rest <= {"text", "{eval-rst}", "{toctree}"}


def examples(command):
    """Return each example at the end of a command's help."""
    parts = getattr(command, "commands", {}).values()
    own = [command.epilog.removeprefix("Example: onelayer ")] if command.epilog else []
    return own + [line for part in parts for line in examples(part)]


@pytest.mark.parametrize("line", examples(typer.main.get_command(app)))
def test_the_example_of_a_command_is_one_that_it_takes(line):
    command, words = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert command.make_context(line, words).params


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_within_the_repository_leads_to_a_file(page):
    links = re.findall(r"\]\(([^):#]+)[^):]*\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_the_api_page_has_every_public_name():
    text = (ROOT / "docs/api.md").read_text("utf-8")
    assert set(re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.MULTILINE)) == set(onelayer.__all__)
