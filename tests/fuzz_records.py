"""Edits what onelayer stored and opens it through every door: it works, or one line says why not.

python tests/fuzz_records.py --cases 5000 --first 0

Case n is drawn from the seed n alone: a stored folder, one of its files, an edit of a value, of an
array or of the file as such, and a command or function that reads it. The digest in files.json and
the seal of a record are brought up to date, as whoever edits could, so that nothing but the readers
stands in the way.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import onelayer
from bounded import data_bytes
from fuzz_readers import MEMORY, Hang, prepare
from onelayer import records
from onelayer.cli import run as run_command
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import probe_sets as probes
from onelayer.report import pdf, style
from onelayer.report.blocks import Picture
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine

SECONDS = 20  # a case
GOLDEN = Path(__file__).parent / "golden"
SPEC = """
name = "small"
title = "A small one"
settings = [{l2 = 0, published_accuracy = 0.5}, {l2 = 0.1, schedule = "step:1:0.5"}]
[data]
dataset = "made.npz"
[training]
epochs = 2
batch_size = 5
repeats = 2
folds = 3
optimum = true
scaling = "standardise"
[[gradient_checks]]
name = "strict"
method = "complex"
step = 1e-20
images = 4
l2 = [0, 0.1]
eps = 1e-5
tolerance = 1e-6
[[variants]]
name = "hinge"
title = "With the hinge"
settings = [{loss = "hinge"}]
"""
CONFIG = 'epochs = 1\nl2 = [0, 0.1]\nreport = "none"\nout = "own"\n'
MODEL_DOORS = ("evaluate", "predict", "explain", "export", "to_onnx", "load_model")


@dataclass(frozen=True)
class Stored:
    """What was stored at `path`, and the doors that read it."""

    path: Path
    doors: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def files(self) -> list[Path]:
        """The files that can be edited."""
        kinds = (".json", ".safetensors", ".toml")
        return sorted(path for path in self.folder.rglob("*") if path.suffix in kinds)


def lay_out(folder: Path) -> dict[str, Stored]:
    """Store one of every kind under `folder`, the current one."""
    generator, y = np.random.default_rng(0), np.arange(60) % 3
    X = generator.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    X[np.arange(60), y] //= 4
    np.savez(folder / "made.npz", X=X, y=y)
    np.savez(folder / "layer1.npz", X=X.reshape(60, 16).astype(np.float32), y=y)
    np.savez(folder / "tags.npz", X=X.reshape(60, 16), y=np.stack([y > 0, y < 2], axis=1))
    shutil.copy(folder / "tags.npz", folder / "more-tags.npz")
    np.savez(folder / "layer2.npz", X=X.reshape(60, 16).astype(np.float32) ** 2, y=y)
    np.savez(folder / "new.npz", X=X[:2])
    Image.fromarray(X[0]).save(folder / "new.png")
    for place in ("saved", "model", "model-1", "specs"):
        (folder / place).mkdir()
    (folder / "specs/small.toml").write_text(SPEC)
    (folder / "specs/own.toml").write_text(CONFIG)
    small = ["--epochs", "2", "--batch-size", "5"]
    for command in (
        ["train", "made.npz", "--l2", "0,0.1", *small, "--out", "train"],
        ["reproduce", "specs/small.toml", "--out", "reproduce"],
        ["probe", "layer1.npz", "--fractions", "0.5", "--control", "--out", "probe"],
        ["probe", "tags.npz", "--fractions", "0.5", "--control", "--out", "labels"],
    ):
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            assert run_command([*command, "--report", "none"]) == 0, quiet.getvalue()
    engine = Machine().find_engine("float32", [Hyperparameters()])
    leave_unfinished("train", ["train", "made.npz", "--l2", "0,0.1", *small], engine, "step", 15)
    descent = ["--solver", "descent", "--l2", "0.1", *small]
    sets = ["probe", "layer1.npz", "layer2.npz"]
    leave_unfinished("probe", [*sets, *descent], engine, "step", 31)
    sets = ["probe", "tags.npz", "more-tags.npz"]
    leave_unfinished("labels", sets, probes, "probe_labels", 2)
    RunFolder(folder / "train").results().run.save(folder / "saved")
    shutil.copy(folder / "train/model.safetensors", folder / "model")
    shutil.copy(GOLDEN / "model-1.safetensors", folder / "model-1")
    return {
        "train": Stored(folder / "train", ("report", "load_results", "again", *MODEL_DOORS)),
        "reproduce": Stored(
            folder / "reproduce", ("report", "load_results", "again", "reproduce", *MODEL_DOORS)
        ),
        "probe": Stored(folder / "probe", ("report", "load_probes")),
        "labels": Stored(folder / "labels", ("report", "load_probes")),
        "train-unfinished": Stored(folder / "unfinished-train", ("plan", "resume")),
        "probe-unfinished": Stored(folder / "unfinished-probe", ("plan", "resume")),
        "labels-unfinished": Stored(folder / "unfinished-labels", ("plan", "resume")),
        "saved": Stored(folder / "saved", ("load_run", "predict", "export")),
        "model": Stored(folder / "model/model.safetensors", MODEL_DOORS),
        "model-1": Stored(folder / "model-1/model-1.safetensors", ("export", "to_onnx")),
        "specs": Stored(folder / "specs", ("train", "check")),
    }


def leave_unfinished(name: str, command: list[str], owner: Any, part: str, calls: int) -> None:
    """Interrupt a command in that call of a `part` of its work, with a checkpoint of each epoch."""
    work, called = getattr(owner, part), itertools.count(1)

    def interrupted(*arguments: Any) -> Any:
        if next(called) == calls:
            raise KeyboardInterrupt
        return work(*arguments)

    setattr(owner, part, interrupted)
    kept = ["--checkpoint", "1", "--report", "none", "--out", f"unfinished-{name}/run"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert run_command([*command, *kept]) == 130
    setattr(owner, part, work)


def open_stored(path: Path, door: str, place: Path) -> int:
    """Open what is stored at `path` through a door; return the exit status, of a function 0."""
    functions: dict[str, Callable[[], object]] = {
        "load_results": lambda: (RunFolder.open(path).results(), RunFolder.open(path).ablation()),
        "load_probes": lambda: RunFolder.open(path).probes(),
        "load_run": lambda: onelayer.load_run(path).labels,
        "load_model": lambda: onelayer.load_model(path).scores(np.zeros((2, 16))),
    }
    if door in functions:
        functions[door]()
        return 0
    out, made, small = place / "out", place / "made.npz", ["--epochs", "1", "--report", "none"]
    commands = {
        "report": ["report", path, "--out", out],
        "evaluate": ["evaluate", path, *([] if path.is_dir() else [made])],
        "predict": ["predict", path, place / "new.npz", "--top", "9"],
        "explain": ["explain", path, place / "new.png", "--out", f"{out}.png"],
        "export": ["export", path, "--out", f"{out}.safetensors"],
        "to_onnx": ["export", path, "--out", f"{out}.onnx"],
        "reproduce": ["reproduce", path / "spec.json", "--out", out, *small],
        "again": ["train", made, *small, "--force", "--out", path],
        "train": ["train", made, "--config", path / "own.toml", "--out", out],
        "check": ["check", path / "small.toml"],
        "plan": ["resume", path / "run", "--plan"],
        "resume": ["resume", path / "run", "--force"],
    }
    return run_command([str(word) for word in commands[door]])


NUMBERS = (
    0, 1, -1, 2, 3, 7, -(2**31), 2**31, 2**53, 2**63 - 1, 2**63, 10**400, 0.5, -0.5, 1.5, 1e-320,
    1e30, 1e300, -1e300, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
TEXTS = (
    "", " ", "x", "0", "nan", "1e999", "\ud800", "\0", "a\nb", "\x1b[31m", "../../x", "/", "猫",
    "\u202e", "hinge", "cosine", "step:1", "step:0:0", "step:9:nan", "exponential:1e-400",
    "flip:nan", "shift:-1", "9" * 5000, "standardise", "1se", "best", "x" * 1_000_000,
)  # fmt: skip
EMPTY = ([], {}, [[]], [None], {"": 0})
BYTES = (
    b"", b"null", b"NaN", b"[]", b"{}", b"0", b'"x"', b"[" * 100_000, b'{"a":' * 100_000,
    b"9" * 5000,
)  # fmt: skip
LINES = (
    "-1", "nan", "inf", "1e400", "9" * 5000, "true", '"x"', "[]", "{}", "1979-05-27", "[[1]]",
    '"\\u0000"', "[" * 500, '"' + "x" * 1_000_000 + '"', "a = 1", "'''", "[1, 'x']", "{a.b = 1}",
)  # fmt: skip

Generator = np.random.Generator


def one_of(choices: Any, generator: Generator) -> Any:
    return choices[generator.integers(len(choices))]


def edit_json(record: Any, generator: Generator) -> Any:
    """Return the record with one value, at any depth, replaced."""
    if isinstance(record, dict | list) and record and generator.random() < 0.85:
        key = one_of([*record] if isinstance(record, dict) else range(len(record)), generator)
        copy = record.copy()
        copy[key] = edit_json(record[key], generator)
        return copy
    kinds: list[Callable[[], Any]] = [
        lambda: one_of(NUMBERS, generator),
        lambda: one_of(NUMBERS, generator),
        lambda: one_of(TEXTS, generator),
        lambda: one_of((None, True, False), generator),
        lambda: one_of(EMPTY, generator),
        lambda: nest(record, one_of((3, 30, 200, 901, 950), generator)),
    ]
    if isinstance(record, int | float):
        kinds += [lambda: -record, lambda: record + 1, lambda: record - 1, lambda: str(record)]
        kinds += [lambda: record * 10**6, lambda: float(record), lambda: record / 3]
    elif isinstance(record, str):
        kinds += [lambda: record[:-1], lambda: record * 2, lambda: record.upper(), lambda: [record]]
    elif isinstance(record, list):
        kinds += [lambda: record[1:], lambda: record + record[-1:], lambda: record[::-1]]
        kinds += [lambda: record * 1000, lambda: dict(enumerate(record))]
    elif record:
        key = one_of([*record], generator)
        kinds += [lambda: {k: v for k, v in record.items() if k != key}] * 2
        kinds += [lambda: record | {"x": 0}, lambda: [*record.values()]]
    return one_of(kinds, generator)()


def nest(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    return value


def edit_array(array: np.ndarray, generator: Generator) -> np.ndarray:
    """Return another array in the place of one."""
    rows = np.atleast_1d(array)

    def put() -> np.ndarray:
        numbers = [number for number in NUMBERS if abs(number) < 2**1000 or number != number]
        if array.dtype.kind != "f":
            numbers = [int(number) for number in numbers if abs(number) < 2**63]
        changed = array.copy().reshape(-1)
        some = slice(None) if generator.integers(2) else generator.integers(max(array.size, 1))
        if array.size:
            changed[some] = np.array(one_of(numbers, generator)).astype(array.dtype)
        return changed.reshape(array.shape)

    kinds: list[Callable[[], np.ndarray]] = [
        lambda: rows[:-1], lambda: rows[..., :0], lambda: array[None], lambda: array.ravel(),
        lambda: array.astype(one_of(("f4", "f8", "i8", "i4", "u1", "?"), generator)),
        lambda: np.concatenate([rows, rows]), lambda: -array.astype("f8"), lambda: rows[::-1],
        lambda: array.T, lambda: array * 0, lambda: np.zeros((), array.dtype), *[put] * 10,
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(one_of(kinds, generator)())


def edit_file(path: Path, generator: Generator) -> None:
    """Put something else in the place of the file."""
    content = path.read_bytes()
    path.unlink()
    twice = content.replace(b"{", b'{"kind": "other", "l2": 3, "run": "x", ', 1)
    texts = (
        *BYTES, twice, b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content + b"]}",
        content + b"\0" * 9, content.decode("latin-1").encode("utf-16"),
        content[: len(content) // 2], content[:-1], content.replace(b'"', b"'"), content[8:],
    )  # fmt: skip
    kinds: list[Callable[[], object]] = [
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: (path.touch(), os.truncate(path, 1 << 31)),
        lambda: None,
        *[lambda: path.write_bytes(one_of(texts, generator))] * 12,
    ]
    one_of(kinds, generator)()


def edit_toml(path: Path, generator: Generator) -> None:
    lines = path.read_text().splitlines()
    number, word = generator.integers(len(lines)), one_of(LINES, generator)
    key = lines[number].partition(" = ")[0]
    lines[number] = one_of((f"{key} = {word}", word, "", lines[number] + word), generator)
    path.write_text("\n".join(lines))


def write_json(value: Any) -> str:
    """Return values as JSON that may be nested deeper than the caller has room for."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * limit)
    try:
        return json.dumps(value)
    finally:
        sys.setrecursionlimit(limit)


def edit(path: Path, generator: Generator) -> None:
    """Edit a stored file."""
    if generator.integers(8) == 0:
        edit_file(path, generator)
    elif path.suffix == ".toml":
        edit_toml(path, generator)
    elif path.suffix == ".json":
        record = edit_json(json.loads(path.read_text("utf-8")), generator)
        path.write_text(write_json(seal(record, {})))
    else:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata()
        arrays = load_file(path)
        if generator.integers(2) and "onelayer" in metadata:
            record = edit_json(json.loads(metadata["onelayer"]), generator)
            metadata["onelayer"] = write_json(seal(record, arrays))
        else:
            name = one_of([*arrays], generator)
            array, fate = arrays.pop(name), generator.integers(12)
            if fate:  # else it is missing
                arrays[name if fate > 1 else f"{name}x"] = edit_array(array, generator)
            record = json.loads(metadata.get("onelayer", "null"))
            if isinstance(record, dict) and "seal" in record:
                metadata["onelayer"] = json.dumps(seal(record, arrays))
        save_file(arrays, path, metadata)


def seal(record: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the record with the SHA-256 of what it holds now, if it has one."""
    if not isinstance(record, dict) or "seal" not in record:
        return record
    content = {name: value for name, value in record.items() if name != "seal"}
    with contextlib.suppress(ValueError, RecursionError):  # refused before the seal is looked at
        content["seal"] = records._seal(content, arrays)
    return content


def trust(folder: Path, edited: Path) -> None:
    """Bring the digest of the edited file in files.json up to date."""
    manifest = folder / "files.json"
    if edited == manifest or not manifest.is_file():
        return
    record = json.loads(manifest.read_text("utf-8"))
    if edited.is_file():
        with edited.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        record["files"][edited.relative_to(folder).as_posix()] = digest
    manifest.write_text(json.dumps(record))


def run_case(seed: int, layout: dict[str, Stored], place: Path) -> tuple[str, str]:
    """Edit a copy and open it; return what, and "fine", "InputError" or what else came of it."""
    generator = np.random.default_rng(seed)
    name = one_of([*layout], generator)
    stored = layout[name]
    file, door = one_of(stored.files, generator), one_of(stored.doors, generator)
    for old in (*place.glob("copy"), *place.glob("out*")):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    copy = place / "copy"
    shutil.copytree(stored.folder, copy)
    inner = file.relative_to(stored.folder)
    edit(copy / inner, generator)
    trust(copy, copy / inner)
    path = copy / stored.path.relative_to(stored.folder)
    return f"{name}/{inner}: {door}", outcome(path, door, place)


def outcome(path: Path, door: str, place: Path) -> str:
    """Return "fine", "InputError" or what else came of opening."""
    told = io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            status = open_stored(path, door, place)
    except InputError as error:
        status, told = 2, io.StringIO(f"onelayer: {error}\n")
    except (Exception, Hang):
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = told.getvalue()
    lines = [line for line in said.splitlines() if line.startswith("onelayer: ")]
    if status in (0, 1) and not lines:
        return "fine"
    clear = len(lines) == 1 and said.endswith(f"{lines[0]}\n") and len(lines[0]) < 600
    foreseen = not any(words in said for words in ("this is a bug", "not enough memory"))
    # 3: every setting diverged, as weights that were edited may.
    return "InputError" if status in (2, 3) and clear and foreseen else f"{status}: {said[-900:]}"


def leave_out_pixels(drawn: bool) -> Callable[[], None]:
    """Leave out what takes most of the time of a report, its figures or the pixels in them.

    Returns what puts it back.
    """

    def save(drawing: style.Drawing, folder: Path, **_: bool) -> Picture:
        png, svg = folder / f"{drawing.stem}.png", folder / f"{drawing.stem}.svg"
        drawing.figure.savefig(png, dpi=10)
        svg.touch()
        return Picture(png, svg, drawing.caption, drawing.alt, 100)

    before = style.save, style.save_all, pdf.write_pdf

    def put_back() -> None:
        style.save, style.save_all, pdf.write_pdf = before

    if drawn:
        style.save = save
    else:
        style.save_all = lambda drawings, folder, **_: {}
        pdf.write_pdf = lambda report, path: path.touch()
    return put_back


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--drawn", action="store_true", help="draw reports whole, which is slow")
    parser.add_argument("--door", help="only this one")
    options = parser.parse_args()
    leave_out_pixels(options.drawn)
    outcomes: Counter[str] = Counter()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        place = Path(name)
        with contextlib.chdir(place):
            layout = lay_out(place)
            if options.door:
                layout = {
                    key: Stored(each.path, (options.door,))
                    for key, each in layout.items()
                    if options.door in each.doors
                }
            limit = data_bytes() + 2 * MEMORY
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            prepare()
            for seed in range(options.first, options.first + options.cases):
                what, came = run_case(seed, layout, place)
                expected = came in ("fine", "InputError")
                outcomes[came if expected else "FAILURE"] += 1
                if not expected:
                    print(f"seed {seed}, {what}: {came.strip()[-400:]}", file=sys.stderr)
    for came, count in sorted(outcomes.items()):
        print(f"{count:8,} {came}")
    return 1 if outcomes["FAILURE"] else 0


if __name__ == "__main__":
    sys.exit(main())
