"""The command line as a user meets it: exit status, one line for bad input, quiet in a pipe."""

import csv
import json

import numpy as np
import pytest

import onelayer
from onelayer.cli import run

SHORT = ["train", "digits", "--epochs", "1", "--report", "none"]


def call(capsys, *arguments):
    status = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_train_makes_a_grid_and_tells_where_the_report_is(tmp_path, capsys):
    status, out, err = call(
        capsys, *SHORT, "--l2", "0,0.1", "--l2", "1", "--learning-rate", "0.1,0.01",
        "--report", "html", "--out", tmp_path / "out",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert f"report: {tmp_path / 'out' / 'report.html'}" in out
    settings = onelayer.load_run(tmp_path / "out" / "run").settings
    assert [(s.l2, s.learning_rate) for s in settings] == [
        (0, 0.1), (0, 0.01), (0.1, 0.1), (0.1, 0.01), (1, 0.1), (1, 0.01)
    ]  # fmt: skip


def test_a_plan_counts_the_folds(capsys):
    arguments = ("--l2", "0,1", "--folds", "5", "--scaling", "standardise", "--plan")
    status, out, _ = call(capsys, "train", "digits", *arguments)
    assert status == 0
    assert out.startswith("stacks: 1 of 2 models, 1 of 10 models\nmemory: ")


def test_a_plan_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call(capsys, "train", "digits", "--l2", "0,1", "--plan")
    assert status == 0
    assert out.startswith("stacks: 1 of 2 models\nmemory: ")
    assert list(tmp_path.iterdir()) == []


def test_report_redraws(tmp_path, capsys):
    _, out, _ = call(capsys, *SHORT, "--out", tmp_path / "out")
    assert out.endswith(f"results: {tmp_path / 'out'}\n")
    assert not (tmp_path / "out" / "report.html").exists()
    assert call(capsys, "report", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("name", ["my data.npz", "données.npz", "\x1b[31mred.npz", ".hidden.npz"])
def test_a_data_set_may_have_any_name_and_none_reaches_the_terminal_raw(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    np.savez(name, X=np.eye(40, 3), y=np.arange(40) % 2)
    for arguments in (["data", "info"], ["train", "--epochs", "1", "--report", "none"]):
        status, out, err = call(capsys, *arguments, tmp_path / name)
        assert (status, err) == (0, "")
        assert "\x1b[31m" not in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert call(capsys, "evaluate", folder)[0] == 0
    status, _, err = call(capsys, "data", "info", tmp_path / f"{name}.csv")
    assert status == 2
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert name.replace("\x1b", "\\x1b") in err


def test_features_far_above_1_are_told_of_unless_they_are_scaled(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", X=np.eye(40, 3) * 1700, y=np.arange(40) % 2)
    words = "note: features of up to 1.7e+03 are taken as they are; --scaling standardise gives"
    for scaling, told in (("unit", True), ("standardise", False), ("none", False)):
        status, out, _ = call(
            capsys, "train", tmp_path / "a.npz", "--scaling", scaling, "--epochs", 1,
            "--report", "none", "--out", tmp_path / scaling,
        )  # fmt: skip
        assert (status, out.startswith(words)) == (0, told)


def test_data_info_counts_the_classes(capsys):
    status, out, _ = call(capsys, "data", "info", "digits")
    assert status == 0
    assert "64 features, uint8, full scale 16" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "dd2424-a2"], "unknown spec 'dd2424-a2'; did you mean"),
        (["reproduce", "no/such.toml"], "no/such.toml: no such spec file"),
        (["train", "cifar100000"], "unknown data set 'cifar100000'"),
        ([*SHORT, "--batch-size", "0"], "--batch-size is 0; expected a whole number from 1"),
        ([*SHORT, "--learning-rate", "-0.1"], "--learning-rate is -0.1"),
        (
            [*SHORT, "--learning-rate", "fast"],
            "--learning-rate is 'fast'; expected a number above 0",
        ),
        ([*SHORT, "--learning-rate", "nan"], "--learning-rate is nan"),
        ([*SHORT, "--resize", "8x8"], "--resize is '8x8'; expected HEIGHT,WIDTH like 32,32"),
        ([*SHORT, "--resize", "8"], "--resize is '8'; expected HEIGHT,WIDTH like 32,32"),
        ([*SHORT, "--resize", "0,8"], "--resize is '0,8'; expected HEIGHT,WIDTH"),
        ([*SHORT, "--coarse"], "digits: takes no option 'coarse'"),
        ([*SHORT, "--l2", "0,,1"], "--l2 is ''; expected a number from 0"),
        ([*SHORT, "--loss", "hing"], "unknown loss 'hing'; did you mean 'hinge'"),
        ([*SHORT, "--schedule", "cosin"], "unknown schedule 'cosin'; did you mean 'cosine'"),
        ([*SHORT, "--schedule", "step:2"], "schedule 'step:2': expected step:EPOCHS:FACTOR"),
        ([*SHORT, "--momentum", "1"], "--momentum is 1.0; expected a number from 0, below 1"),
        ([*SHORT, "--nesterov", "maybe"], "--nesterov is 'maybe'; expected true or false"),
        ([*SHORT, "--patience", "2", "--evaluate-every", "0"], "evaluate_every is 0"),
        ([*SHORT, "--keep", "bset"], "unknown keep 'bset'; did you mean 'best'"),
        ([*SHORT, "--select", "1sd"], "unknown select '1sd'; did you mean '1se'"),
        ([*SHORT, "--augment", "flop"], "unknown augmentation 'flop'; did you mean 'flip'"),
        ([*SHORT, "--time-limit", "0"], "--time-limit is 0.0; expected a number above 0"),
        ([*SHORT, "--class-weight", "even"], "unknown class weights 'even'; known: balanced"),
        ([*SHORT, "--validation", "0"], "validation"),
        ([*SHORT, "--validation", "999"], "too few to be in both parts"),
        ([*SHORT, "--order", "sorted"], "unknown order 'sorted'; known: file"),
        ([*SHORT, "--scaling", "unti"], "unknown scaling 'unti'; did you mean 'unit'"),
        ([*SHORT, "--threads", "0"], "--threads is 0; expected a whole number from 1"),
        ([*SHORT, "--memory", "1e-7"], "memory of 100 bytes: one model needs"),
        ([*SHORT, "--memory", "nan"], "--memory is nan; expected a number above 0"),
        ([*SHORT, "--memory", "-3"], "--memory is -3.0; expected a number above 0"),
        ([*SHORT, "--epoch"], "--epoch"),
        ([*SHORT, "--report", "htm"], "unknown form of a report 'htm'; did you mean 'html'"),
        ([*SHORT, "--config", "no.toml"], "no.toml: no such file"),
        ([*SHORT, "--track", "tensorbord:x"], "unknown tracker 'tensorbord'; did you mean 'tenso"),
        ([*SHORT, "--track", "mlflow"], "tracker 'mlflow': expected mlflow:FOLDER"),
        (["fly"], "fly"),
        ([*SHORT, "--learning-rate", "1e300"], "expected a number above 0, up to 1e+30"),
        ([*SHORT, "--threads", "99999"], "--threads is 99999; expected 1 to"),
        (
            ["reproduce", "--epochs", "99999999999"],
            "epochs is 99999999999; expected a whole number from 0, up to 1,000,000",
        ),
        (["train", "digits", "--source", "nowhere"], "nowhere: no such file or folder"),
        (["check", "dd2424-a1", "--preset", "loose"], "unknown gradient check"),
        (["report", "nowhere"], "nowhere: holds no results"),
        (["data", "fetch", "digits"], "nothing to fetch"),
        (["data", "fetch", "cifar10", "--source", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONELAYER_CACHE", str(tmp_path / "cache"))
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("onelayer: ")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_an_existing_output_folder_needs_force(tmp_path, capsys):
    assert call(capsys, *SHORT, "--out", tmp_path / "out")[0] == 0
    status, _, err = call(capsys, *SHORT, "--out", tmp_path / "out")
    assert (status, "add --force" in err) == (2, True)
    assert call(capsys, *SHORT, "--out", tmp_path / "out", "--force")[0] == 0


def test_a_failed_check_ends_in_1(tmp_path, capsys):
    (tmp_path / "spec.toml").write_text(
        'name = "a"\ntitle = "A"\n[data]\ndataset = "digits"\n[[settings]]\n[[gradient_checks]]\n'
        'name = "hopeless"\nmethod = "forward"\nstep = 1e-6\nimages = 5\nl2 = [0]\neps = 1e-5\n'
        "tolerance = 1e-15\n"
    )
    status, out, _ = call(capsys, "check", tmp_path / "spec.toml", "--out", tmp_path / "out")
    assert status == 1
    assert "gradient check FAILED: 650 partial derivatives" in out
    record = json.loads((tmp_path / "out" / "gradient_check.json").read_text())[0]
    assert not record["passed"]
    assert (tmp_path / "out" / "figures" / "gradient_check.png").is_file()
    worst = f"{record['worst']['error']:.4e}"
    assert worst in (tmp_path / "out" / "check.html").read_text("utf-8")


def test_options_are_understood_by_the_names_of_the_field(tmp_path, capsys):
    line = ["--lambda", "0,0.1", "--lr=0.02"]
    (tmp_path / "mine.toml").write_text("lambda = [0, 0.1]\nlr = 0.02\n")
    for given in (line, ["--config", tmp_path / "mine.toml"]):
        assert call(capsys, *SHORT, *given, "--out", tmp_path / "out", "--force")[0] == 0
        settings = onelayer.load_run(tmp_path / "out" / "run").settings
        assert [(each.l2, each.learning_rate) for each in settings] == [(0, 0.02), (0.1, 0.02)]
    with pytest.raises(onelayer.InputError, match="'lr'; did you mean 'learning_rate'"):
        onelayer.grid(lr=[0.1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("digits --l2 0 0.1", "--l2 0 0.1: write --l2 0,0.1"),
        ("--lambda 0 0.1 1 digits", "--lambda 0 0.1 1: write --lambda 0,0.1,1"),
        ("digits --lr=0.1, 0.01 --epochs 1", "--lr 0.1, 0.01: write --lr 0.1,0.01"),
        ("digits --loss hinge cross-entropy", "write --loss hinge,cross-entropy"),
        ("digits --nesterov no yes", "write --nesterov no,yes"),
    ],
)
def test_a_space_where_a_comma_is_meant_is_told(capsys, given, words):
    status, _, err = call(capsys, "train", *given.split())
    assert (status, err) == (2, f"onelayer: {err.removeprefix('onelayer: ')}")
    assert err.endswith(f"{words}\n")
    assert err.count("\n") == 1


def test_a_list_in_quotes_with_spaces_is_told_and_a_file_called_like_a_number_is_a_file(
    tmp_path, capsys, monkeypatch
):
    assert call(capsys, "train", "digits", "--l2", "0 0.1")[2].endswith("write --l2 0,0.1\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "5").write_text("a,b\n1,x\n2,y\n" * 40)
    err = call(capsys, *SHORT[:1], "--l2", "0", "5", *SHORT[2:])[2]
    assert "write --l2" not in err


def test_a_diverging_model_is_reported_and_the_rest_is_kept(tmp_path, capsys):
    status, out, _ = call(
        capsys, "train", "digits", "--epochs", "20", "--l2", "10", "--learning-rate", "0.001,1e4",
        "--report", "none", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 0
    assert "λ=10, η=10000 diverged in epoch" in out


@pytest.mark.parametrize("keep", ["last", "best"])
def test_where_every_setting_diverged_none_is_chosen_and_the_status_is_3(tmp_path, capsys, keep):
    status, out, err = call(
        capsys, "train", "digits", "--epochs", "2", "--l2", "10", "--learning-rate", "1e4,1e5",
        "--keep", keep, "--report", "html", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 3
    assert "every setting diverged, λ=10, η=10000 in epoch 1" in err
    assert err.count("\n") == 1
    assert "*" not in out
    assert f"report: {tmp_path / 'out'}" in out
    with (tmp_path / "out" / "grid.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["chosen"] for row in rows] == ["false", "false"]
    told = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Every model diverged." in told
    assert "selected on" not in told
    assert "were tried" not in told


@pytest.mark.parametrize(
    "command", [[], ["reproduce"], ["check"], ["train"], ["report"], ["data"], ["data", "fetch"]]
)
def test_every_command_has_help_and_an_example(capsys, command):
    status, out, _ = call(capsys, *command, "--help")
    assert status == 0
    assert "Usage" in out
    assert "Example: onelayer" in out or command in ([], ["data"])


def test_the_version_is_said(capsys):
    status, out, _ = call(capsys, "--version")
    assert (status, out.split()[0]) == (0, "onelayer")


@pytest.mark.parametrize("command", [[], ["data"]])
def test_no_command_shows_the_help(capsys, command):
    status, out, err = call(capsys, *command)
    assert (status, err) == (2, "")
    assert "Usage" in out
