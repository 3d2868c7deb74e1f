"""`onelayer verify` trains what a folder holds again: the same bits, or where it leaves them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onelayer
from onelayer.cli import run as command
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import probe_training
from onelayer.experiments.departure import find_departure
from onelayer.training.run import CURVES

TRAIN = ["train", "data.npz", "--validation", "0.2", "--epochs", "3", "--batch-size", "20",
         "--l2", "0,0.1", "--report", "none", "--threads", "1", "--out", "out"]  # fmt: skip
PROBE = ["probe", "data.npz", "other.npz", "--threads", "1", "--draws", "2", "--report", "none",
         "--force", "--out", "out"]  # fmt: skip
VERIFY, OUT = ["verify", "out", "--threads", "1"], Path("out")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what takes most of the time
    metrics = probe_training.METRICS
    monkeypatch.setattr(probe_training, "METRICS", {"accuracy": metrics["accuracy"]})
    y, generator = np.arange(120) % 3, np.random.default_rng(0)
    X = generator.random((120, 5)) + np.eye(3, 5)[y]
    np.savez("data.npz", X=X, y=y)
    np.savez("other.npz", X=X**2, y=y)


def test_a_departure_is_the_first_epoch_and_model_and_how_far():
    data = onelayer.load_dataset("data.npz")
    run = onelayer.train(data, onelayer.grid(l2=[0, 0.1]), epochs=3)
    assert find_departure("training", run, run) is None
    curves = {name: getattr(run.history, name).copy() for name in CURVES}
    curves["train_loss"][0, 3] += 9
    curves["train_cost"][1, 2] += 0.25
    other = replace(run, history=replace(run.history, **curves))
    found = find_departure("training", run, other)
    assert (found.place, found.quantity) == ("epoch 2, model 1", "train cost")
    assert found.distance == pytest.approx(0.25)
    weights = run.weights.copy()
    weights[1, 2, 3] = np.nextafter(weights[1, 2, 3], 9)  # one bit
    found = find_departure("training", run, replace(run, weights=weights))
    assert (found.place, found.quantity) == ("epoch 3, model 1", "weights")
    assert 0 < found.distance < 1e-6


def test_verify_tells_the_bit_that_is_another_and_why(capsys):
    assert command([*TRAIN, "--folds", "2", "--repeats", "1"]) == 0
    capsys.readouterr()
    assert command(VERIFY) == 0
    told = capsys.readouterr().out
    assert told.endswith("identical to the bit: folds, training, repeat 1\n")
    change_run()
    assert command(VERIFY) == 1
    told = capsys.readouterr().out
    assert "training: leaves the stored one at epoch 0, model 0: train loss differs by 1" in told
    assert "trained where cpu is 'another'" in told


def change_run():
    """Let the folder hold losses that are 1 higher, from another processor."""
    stored = RunFolder.open(OUT)
    found, spec = stored.results(), stored.spec_file.read_text()
    other = replace(
        found.run,
        history=replace(found.run.history, train_loss=found.run.history.train_loss + 1),
        provenance={**found.run.provenance, "cpu": "another"},
    )
    with RunFolder.create(OUT, force=True) as folder:
        folder.save_results(replace(found, run=other))
        folder.spec_file.write_text(spec)


def test_verify_refuses_what_it_cannot_train_again(capsys):
    assert command(TRAIN) == 0
    with np.load("data.npz") as arrays:
        np.savez("data.npz", X=arrays["X"] + 1, y=arrays["y"])
    assert command(["verify", "out"]) == 2
    assert command(["verify", "."]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "the data are not those of the training: data.npz" in lines[0]
    assert "holds no results" in lines[1]


OPTIONS = {
    "path": ["--fractions", "0.5", "--control"],
    "C": ["--C", "0.01,1", "--halvings", "1", "--refit"],
    "descent": ["--solver", "descent", "--iterations", "20", "--batch-size", "20"],
}


@pytest.mark.parametrize("options", OPTIONS)
def test_probes_that_are_verified_are_the_same(capsys, options):
    assert command([*PROBE, *OPTIONS[options]]) == 0
    capsys.readouterr()
    assert command(VERIFY) == 0
    assert capsys.readouterr().out.endswith("identical to the bit: data, other\n")


def test_probes_of_several_labels_are_verified_label_by_label(capsys):
    X = np.random.default_rng(0).random((120, 4))
    np.savez("tags.npz", X=X, y=X[:, :2] > 0.4, class_names=["sky", "sea"])
    few = ["--l2", "0.1,1", "--fractions", "0.5", "--control"]
    assert command([*PROBE[:1], "tags.npz", *few, *PROBE[3:]]) == 0
    assert command(VERIFY) == 0
    (features,) = RunFolder.open(OUT).probes().feature_sets
    other = replace(features, **change_draw(features, 0, 1, test=0.0))
    told = str(find_departure("tags", features, other))
    assert f" at {features.by_labels[0].labels} rows, draw 2: test differs by" in told
    change_probes(bit=1)
    capsys.readouterr()
    assert command(VERIFY) == 1
    assert "tags: leaves the stored one at sea, model, λ=" in capsys.readouterr().out


def change_probes(bit=None, **changes):
    """Let the folder's second feature set have `changes`, its model `bit` another last bit."""
    stored = RunFolder.open(OUT)
    probing, models, task = stored.probes(), stored.probe_models(), stored.task()
    if bit is not None:
        weights = models[bit].weights.copy()
        weights[-1, -1] = np.nextafter(weights[-1, -1], 9)
        models[bit] = replace(models[bit], weights=weights)
    if changes:
        first, second = probing.feature_sets
        probing = replace(probing, feature_sets=(first, replace(second, **changes)))
    with RunFolder.create(OUT, force=True) as folder:
        folder.save_probes(probing)
        folder.save_task(task)
        for number, model in enumerate(models):
            folder.save_probe(str(number), model)


def change_draw(features, fraction, draw, **changes):
    """Return the probes of a feature set, of which one has `changes`."""
    every = list(features.by_labels)
    draws = list(every[fraction].draws)
    draws[draw] = replace(draws[draw], **changes)
    every[fraction] = replace(every[fraction], draws=tuple(draws))
    return {"by_labels": tuple(every)}


def departures(second):
    """Yield changes of a feature set, and the words of verify about each."""
    tried = (second.tried[0], replace(second.tried[1], value=2.0))
    yield (
        {"tried": tried},
        f" at setting 2, λ=0.1: value differs by {2 - second.tried[1].value:.3g}",
    )
    few, all_of_them = second.by_labels
    where = f" at {few.labels} labels, draw 2, λ={few.draws[1].setting.l2:g}"
    yield change_draw(second, 0, 1, test=0.0), f"{where}: test differs by {few.draws[1].test:.3g}"
    where = f" at {all_of_them.labels} labels, draw 1, λ={second.probe.setting.l2:g}"
    yield (
        change_draw(second, 1, 0, train=0.0),
        f"{where}: train differs by {second.probe.train:.3g}",
    )
    yield {"control": None}, " at control: fraction is another"
    yield {"p": 0.5 if second.p is None else None}, ": p is another"


def test_verify_names_the_first_feature_set_setting_and_quantity(capsys):
    assert command([*PROBE, "--l2", "1,0.1", "--fractions", "0.5", "--control"]) == 0
    second = RunFolder.open(OUT).probes().feature_sets[1]
    for changes, words in departures(second):
        change_probes(**{**vars(second), **changes})
        capsys.readouterr()
        assert command(VERIFY) == 1
        told = capsys.readouterr().out.splitlines()
        assert told[:2] == ["data: the same", f"other: leaves the stored one{words}"]
    change_probes(bit=1, **vars(second))
    receipt = onelayer.verify(OUT, threads=1, announce=lambda _: None)
    (found,) = receipt.departures
    assert (found.training, found.quantity) == ("other", "weights")
    assert 0 < found.distance < 1e-6


def test_verify_knows_why_probes_leave(capsys):
    assert command([*PROBE, "--l2", "0.1"]) == 0
    change_probes(bit=1)
    capsys.readouterr()
    assert command(["verify", "out", "--threads", "2", "--engine", "numpy", "--memory", "2"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert "trained where threads is 1, not 2; the last digits may be others" in told
    assert "trained where memory is 1.0, not 2.0; the last digits may be others" in told


REFUSALS = {
    "probed from Python with data in memory": lambda: (OUT / "asked.json").unlink(),
    "holds 1 models; expected 2": lambda: next(OUT.glob("models/2-*")).unlink(),
    "other.npz has another SHA-256": lambda: np.savez(
        "other.npz", **{n: a + (n == "X") for n, a in np.load("other.npz").items()}
    ),
    "other.npz: no such file": lambda: os.remove("other.npz"),
    "asked.json: not the file that its run wrote": lambda: (OUT / "asked.json").write_text("{}"),
}


def test_verify_refuses_probes_that_it_cannot_probe_again(capsys, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    for name in ("data.npz", "other.npz"):
        Path(name).rename(f"whole/{name}")
    monkeypatch.chdir("whole")
    assert command([*PROBE, "--l2", "0.1"]) == 0
    for number, (words, change) in enumerate(REFUSALS.items()):
        monkeypatch.chdir(shutil.copytree(tmp_path / "whole", tmp_path / str(number)))
        change()
        capsys.readouterr()
        assert command(VERIFY) == 2
        assert words in capsys.readouterr().err
    assert command([*VERIFY, "--source", "."]) == 2
    assert "source: .; probes read the files of the first time" in capsys.readouterr().err
