"""Commands that are interrupted go on by `onelayer resume`."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onelayer
from bits import bits
from onelayer.cli import run as command
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.task import TASK, TASK_FILE
from onelayer.experiments import probe_training
from onelayer.experiments.reproduce import reproduce
from onelayer.experiments.resume import plan_resume
from onelayer.experiments.spec import Spec, adjust
from onelayer.training.checkpoint import CHECKPOINT, checkpoints_of
from onelayer.training.world import World, inside

TRAIN = ["train", "data.npz", "--validation", "0.2", "--epochs", "3", "--batch-size", "20",
         "--l2", "0,0.1", "--report", "none", "--threads", "1"]  # fmt: skip
EVERY, OUT, KEPT = ["--checkpoint", "1", "--out", "out"], Path("out"), Path("out.unfinished")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what takes most of the time
    y, generator = np.arange(120) % 3, np.random.default_rng(0)
    np.savez("data.npz", X=generator.random((120, 5)) + np.eye(3, 5)[y], y=y)


def results(folder):
    return bits(RunFolder.open(Path(folder)).results())


@pytest.fixture
def interrupted(stop_in, capsys):
    """A training that Ctrl-C ended in its second epoch."""
    stop_in.step = 6
    assert command([*TRAIN, *EVERY]) == 130
    assert "onelayer resume out goes on" in capsys.readouterr().out
    assert (OUT.exists(), len(checkpoints_of(OUT).files())) == (False, 2)
    stop_in.step = 0


@pytest.mark.usefixtures("interrupted")
def test_a_command_goes_on_to_the_results_of_one_that_was_not_interrupted(capsys):
    assert command(["resume", "out", "--plan"]) == 0
    assert KEPT.exists()
    assert "epoch 1 of 3, batch 1 of the next" in capsys.readouterr().err
    assert command(["resume", "out.unfinished"]) == 0
    assert sorted(os.listdir()) == ["data.npz", "out"]
    assert command([*TRAIN, "--out", "whole"]) == 0
    assert results("out") == results("whole")
    assert command(["verify", "out", "--threads", "1"]) == 0


@pytest.mark.usefixtures("interrupted")
def test_what_is_unfinished_is_neither_lost_nor_taken_unasked(capsys):
    assert command([*TRAIN, *EVERY]) == 2
    told = capsys.readouterr().err
    assert told.startswith("onelayer: out: an earlier training is unfinished; onelayer resume out")
    spec = Spec.model_validate(dict(plan_resume("out").task.asked.options))
    with pytest.raises(onelayer.InputError, match="seed was 0, not 5, in what is to be resumed"):
        reproduce(adjust(spec, seed=5), OUT, resume=True)
    assert len(checkpoints_of(OUT).files()) == 2
    assert command([*TRAIN, *EVERY, "--force"]) == 0
    assert not KEPT.exists()


@pytest.mark.usefixtures("interrupted")
def test_where_the_last_checkpoint_is_damaged_the_one_before_goes_on(capsys):
    last = checkpoints_of(OUT).files()[-1]
    last.write_bytes(last.read_bytes()[:500])
    assert command(["resume", "out", "--plan"]) == 0
    told = capsys.readouterr().err
    assert "models 0 to 1: epoch 1 of 3\n" in told
    assert f"{last.name}: holds no checkpoint that can be read" in told
    assert command(["resume", "out"]) == 0
    assert command([*TRAIN, "--out", "whole"]) == 0
    assert results("out") == results("whole")


@pytest.mark.usefixtures("interrupted")
def test_changed_data_are_refused(capsys):
    with np.load("data.npz") as arrays:
        np.savez("data.npz", X=arrays["X"] + 1, y=arrays["y"])
    assert command(["resume", "out"]) == 2
    assert "data, train is not what it was" in capsys.readouterr().err


@pytest.mark.usefixtures("interrupted")
def test_an_earlier_result_is_replaced_by_force_alone(capsys):
    OUT.mkdir()
    (OUT / "thesis.txt").write_text("mine")
    assert command(["resume", "out"]) == 2
    assert "the folder is not empty; add --force" in capsys.readouterr().err
    assert command(["resume", "out", "--force"]) == 0
    assert (OUT / "thesis.txt").read_text() == "mine"


REFUSALS = {
    "nothing is unfinished there": lambda: None,
    "half copied": lambda: (Path("out.unfinished/checkpoints").mkdir(parents=True),
                            Path("out.unfinished/checkpoints/training.0.safetensors").touch()),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSALS)
def test_what_cannot_be_gone_on_with_is_said_in_one_line(capsys, words):
    REFUSALS[words]()
    assert command(["resume", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("left", [0, 100])
def test_a_task_that_is_cut_is_refused(capsys, left):
    path = KEPT / "asked.json"
    path.write_bytes(path.read_bytes()[:left])
    assert command(["resume", "out"]) == 2
    assert "asked.json: holds no request that can be read" in capsys.readouterr().err


@pytest.mark.usefixtures("interrupted")
def test_a_task_that_was_edited_is_refused_by_its_name(capsys):
    task = TASK.load(KEPT / TASK_FILE)
    for changes, words in (
        ({"machine": 1}, "asked.json: machine is missing from its record, or of another type"),
        ({"machine": {"threads": "x"}}, "asked.json: threads is 'x'; expected a whole number"),
        ({"source": 5}, "asked.json: source is missing from its record, or of another type"),
        ({"track": 0.5}, "track is 0.5; expected a text"),
    ):
        TASK.save(replace(task, call={**task.call, **changes}), KEPT / TASK_FILE)
        assert command(["resume", "out"]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("interrupted")
def test_a_checkpoint_that_was_edited_is_refused_by_its_name(capsys):
    records = {path: CHECKPOINT.load(path) for path in checkpoints_of(OUT).files()}
    for changes, words in (
        ({"running": np.ones(1, bool)}, "running of the shape (1,)"),
        ({"measured": (7,)}, "measured: expected epochs from 0 to 1, up to 3"),
        ({"curves": {"train_loss": np.zeros((2, 9))}}, "curves.train_loss: float64 of the shape"),
    ):
        for path, record in records.items():
            CHECKPOINT.save(replace(record, log=replace(record.log, **changes)), path)
        assert command(["resume", "out"]) == 2
        assert f"no checkpoint of this stack: {words}" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals and permissions of POSIX")
def test_sigterm_writes_a_checkpoint_and_ends_with_143():
    arguments = [*TRAIN, "--epochs", "100000", *EVERY]
    with subprocess.Popen(
        [sys.executable, "-m", "onelayer", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not checkpoints_of(OUT).files():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "onelayer: interrupted by SIGTERM\n")
    assert out.endswith("onelayer resume out goes on\n")


def test_probes_go_on_inside_a_feature_set(stop_in, monkeypatch):
    metrics = probe_training.METRICS
    monkeypatch.setattr(probe_training, "METRICS", {"accuracy": metrics["accuracy"]})
    np.savez("other.npz", **{n: a * 2 if n == "X" else a for n, a in np.load("data.npz").items()})
    probe = ["probe", "data.npz", "other.npz", "--solver", "descent", "--l2", "0.1", "--epochs",
             "2", "--batch-size", "20", "--control", "--refit", "--draws", "1", "--threads", "1",
             "--report", "none", "--out"]  # fmt: skip
    assert command([*probe, "whole"]) == 0
    steps = stop_in.taken
    for step in (3, steps - 2):
        stop_in.step, stop_in.taken = step, 0
        assert command([*probe, "out", "--checkpoint", "1", "--force"]) == 130
        assert command(["resume", "out"]) == 0
        assert not KEPT.exists()
        found, expected = (RunFolder.open(Path(name)).probes() for name in ("out", "whole"))
        assert bits(found) == bits(expected)
        for path in Path("whole/models").iterdir():
            same = onelayer.load_model(OUT / "models" / path.name)
            assert bits(same) == bits(onelayer.load_model(path))


@pytest.mark.usefixtures("interrupted")
def test_from_python_several_processes_are_told_the_command(monkeypatch):
    here = World()
    here.rank, here.size = 1, 2
    told = pytest.raises(onelayer.InputError, match="torchrun … -m onelayer resume out")
    with inside(here), told:
        onelayer.resume("out")
    places = {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "MASTER_PORT": 1, "MASTER_ADDR": "a"}
    for name, value in places.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(onelayer.InputError, match="verify takes one process; 2 were started"):
        onelayer.verify("out")
    assert len(checkpoints_of(OUT).files()) == 2
