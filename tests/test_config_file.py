"""A file of options is a command line that was written down: same values, same run."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer import load_run
from onelayer.cli import run
from onelayer.errors import InputError
from onelayer.experiments.config_file import load_config

FILE = """
dataset = "digits"
l2 = [0, 0.1]
learning_rate = 0.05
momentum = 0.9
nesterov = [false, true]
epochs = 2
batch-size = 50
augment = ["flip", "shift:1"]
"""
LINE = [
    "train", "digits", "--l2", "0,0.1", "--learning-rate", "0.05", "--momentum", "0.9",
    "--nesterov", "no,yes", "--epochs", "2", "--batch-size", "50", "--augment", "flip,shift:1",
]  # fmt: skip


def call(capsys, *arguments):
    status = run([*map(str, arguments), "--report", "none"])
    return status, capsys.readouterr().err


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    arguments = ["--out", str(folder / "out"), "--report", "none"]
    assert run(["train", "--config", str(write(folder, FILE)), *arguments]) == 0
    return folder / "out"


def test_a_file_trains_what_the_same_options_train(out, tmp_path, capsys):
    assert call(capsys, *LINE, "--out", tmp_path / "out") == (0, "")
    assert (tmp_path / "out" / "spec.json").read_text() == (out / "spec.json").read_text()
    again, first = (load_run(folder / "run").weights for folder in (tmp_path / "out", out))
    assert again.tobytes() == first.tobytes()


def test_the_resolved_settings_are_saved_and_run_again_to_the_same_bits(out, tmp_path, capsys):
    assert call(capsys, "reproduce", out / "spec.json", "--out", tmp_path / "out") == (0, "")
    again, first = (load_run(folder / "run").weights for folder in (tmp_path / "out", out))
    assert again.tobytes() == first.tobytes()


def test_the_command_line_goes_before_the_file_and_the_file_before_the_defaults(tmp_path, capsys):
    path = write(tmp_path, 'dataset = "nowhere"\nl2 = [1, 2]\nepochs = 7\nseed = 5\norder="file"')
    arguments = ["train", "digits", "--config", path, "--l2", "0.5", "--epochs", "1"]
    # What is given counts as given even where it is the default.
    assert call(capsys, *arguments, "--order", "shuffled", "--out", tmp_path / "out") == (0, "")
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert spec["data"]["dataset"] == "digits"
    assert [setting["l2"] for setting in spec["settings"]] == [0.5]
    asked = {"epochs": 1, "seed": 5, "batch_size": 100, "order": "shuffled"}
    assert {name: spec["training"][name] for name in asked} == asked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", "mine.toml: unknown key 'epoch'; did you mean 'epochs'?"),
        ("learnin_rate = 3", "mine.toml: unknown key 'learnin-rate'; did you mean 'learning-rate'"),
        ('config = "other.toml"', "mine.toml: unknown key 'config'"),
        ("epochs = 2.5", "mine.toml: epochs: found '2.5'; "),
        ("epochs = true", "mine.toml: epochs: found 'yes'; "),
        ("epochs = [1, 2]", "mine.toml: epochs: found '1,2'; "),
        ("batch-size = 0", "--batch-size is 0; expected"),
        ("l2 = { a = 1 }", "mine.toml: l2: found {'a': 1}; expected a text, a number, true"),
        ("l2 = [[1]]", "mine.toml: l2: found [1]; expected a text, a number, true"),
        ('l2 = ["a"]', "--l2 is 'a'; expected a number"),
        ("l2 = []", "mine.toml: l2: found an empty list; expected a value"),
        ('order = "shufled"', "unknown order 'shufled'; did you mean 'shuffled'?"),
        (
            "init-sd = 1\ninit_sd = 2",
            "mine.toml: init-sd is given twice, as init-sd and as init_sd",
        ),
        ("learning_rate = 1\nlr = 2", "mine.toml: lr is given twice, as learning_rate and as lr"),
        ("epochs =", "mine.toml: not a TOML file: Invalid value (at "),
        ("epochs = " + "9" * 5000, "mine.toml: not a TOML file: "),
        ("[training]\nepochs = 3", "mine.toml: unknown key 'training'"),
    ],
)
def test_a_bad_file_is_one_line_and_exit_status_2(tmp_path, capsys, text, words):
    path = write(tmp_path, text)
    status, err = call(capsys, "train", "digits", "--config", path, "--out", tmp_path / "out")
    assert (status, err.count("\n")) == (2, 1)
    assert words in err
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_table_is_refused(tmp_path):
    (tmp_path / "mine.json").write_text("[1]")
    with pytest.raises(InputError, match=r"mine\.json: found \[1\]; expected a table of keys"):
        load_config(tmp_path / "mine.json", {"epochs": "epochs"})


@given(st.lists(st.floats(), min_size=1))
def test_numbers_come_out_of_a_file_as_they_were_put_in(tmp_path_factory, numbers):
    path = write(tmp_path_factory.getbasetemp(), f"l2 = {numbers!r}")
    read = load_config(path, {"l2": "l2"})["l2"].split(",")
    assert list(map(repr, map(float, read))) == list(map(repr, numbers))
