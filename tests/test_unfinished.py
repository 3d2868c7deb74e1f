"""Probes are kept as they are finished: a kill loses one at most, and resuming changes no bit."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import killed_probes
import onelayer
from bits import bits
from onelayer.cli import run
from onelayer.data.dataset import Dataset, Split
from onelayer.errors import InputError
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import probe_sets as probes
from onelayer.experiments import probe_training, workload
from onelayer.storage import latest_unfinished, unfinished_folder
from onelayer.training.compiled_engine import WIDTHS
from onelayer.training.forecast import Forecast

OUT = Path("out")
QUIET = {"out": "out", "report": "none", "announce": lambda _: None}
SETTINGS = onelayer.grid(l2=[0.1])


def make_layer(seed):
    generator = np.random.default_rng(seed)
    rows = {"train": 60, "validation": 30, "test": 30}
    splits = {
        name: Split(generator.random((N, 4)).astype(np.float32), np.arange(N) % 3)
        for name, N in rows.items()
    }
    return Dataset("made", **splits, class_names=("a", "b", "c"))


@pytest.fixture
def layers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        probe_training, "METRICS", {"accuracy": METRICS["accuracy"]}
    )  # no bootstrap
    return {name: make_layer(seed) for seed, name in enumerate("abc")}


@pytest.fixture
def trained(layers, monkeypatch):
    """The names of the feature sets that are probed, and at which of them Ctrl-C comes."""
    find, told = probes.probe_features, SimpleNamespace(names=[], stop="")

    def begin(name, *rest):
        if name == told.stop:
            raise KeyboardInterrupt
        told.names.append(name)
        return find(name, *rest)

    monkeypatch.setattr(probes, "probe_features", begin)
    return told


def interrupt(layers, trained, **options):
    trained.stop = "c"
    with pytest.raises(KeyboardInterrupt):
        onelayer.probe(layers, SETTINGS, **QUIET, **options)
    assert trained.names == ["a", "b"]
    trained.names, trained.stop = [], ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("classes", 2),
        pytest.param("classes", 12, marks=pytest.mark.kill),
        pytest.param("labels", 12, marks=pytest.mark.kill),
    ],
)
def test_a_kill_at_any_step_loses_one_feature_set_and_resuming_gives_the_same_bits(kind, kills):
    command = [sys.executable, killed_probes.__file__, kind, str(kills)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    for number, one in enumerate(json.loads(done.stdout)):
        assert one["killed"], number
        assert one["earlier"], number  # nothing, or the whole run that was there before
        assert one["lost"] <= 1, number
        assert one["trained"] == 3 - one["kept"], number
        assert (one["resumed"], one["same"], one["litter"]) == (0, True, []), number


def test_after_ctrl_c_the_others_are_probed_and_all_is_as_without_it(layers, trained):
    expected = onelayer.probe(layers, SETTINGS)
    trained.names.clear()
    interrupt(layers, trained)
    assert not OUT.exists()
    found = onelayer.probe(layers, SETTINGS, **QUIET, resume=True)
    assert bits(found) == bits(expected)
    assert trained.names == ["c"]
    assert os.listdir() == ["out"]
    assert RunFolder.open(OUT).probes() == found
    assert [path.name[0] for path in sorted((OUT / "models").iterdir())] == list("123")


def test_what_is_finished_is_neither_lost_nor_taken_unasked(layers, trained):
    interrupt(layers, trained)
    with pytest.raises(InputError, match=r"2 of the feature sets .* are finished; add --resume"):
        onelayer.probe(layers, SETTINGS, **QUIET)
    onelayer.probe(layers, SETTINGS, **QUIET, force=True)
    assert trained.names == list("abc")
    assert os.listdir() == ["out"]


def test_an_earlier_run_stays_until_the_new_one_is_whole(layers, trained):
    onelayer.probe({"a": layers["a"]}, SETTINGS, **QUIET)
    earlier = (OUT / "probe.json").read_bytes()
    trained.names.clear()
    interrupt(layers, trained, force=True)
    assert (OUT / "probe.json").read_bytes() == earlier
    with pytest.raises(InputError, match="not empty; add --force"):
        onelayer.probe(layers, SETTINGS, **QUIET, resume=True)
    onelayer.probe(layers, SETTINGS, **QUIET, resume=True, force=True)
    assert trained.names == ["c"]
    assert len(RunFolder.open(OUT).looks()) == 2


def change_row(data, split):
    X = data.splits[split].X.copy()
    X[-1, -1] += 1e-6
    return replace(data, **{split: replace(data.splits[split], X=X)})


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"tolerance": 1e-4}, "tolerance was 1e-06, not 0.0001"),
        ({}, {"seed": 1, "draws": 2}, "draws was 5, not 2; seed was 0, not 1"),
        ({}, {"fractions": [0.5]}, r"fractions was \[1.0\], not \[0.5, 1.0\]"),
        ({}, {"settings": None}, "the settings were .*0.1.*, not a path of λ"),
        ({}, {"settings": onelayer.grid(l2=[0.1 + 1e-15])}, "the settings were"),
        ({"b": lambda data: change_row(data, "test")}, {}, "b: the test rows are not those"),
        ({"a": lambda data: change_row(data, "train")}, {}, "a: the train rows are not those"),
        ({"a": None}, {}, "holds probes of a, which is not asked for"),
    ],
    ids=["option", "two", "fractions", "path", "last-bit", "test", "train", "fewer"],
)
def test_what_is_not_the_same_is_refused_with_the_difference(
    layers, trained, change, options, words
):
    interrupt(layers, trained)
    now = {name: change.get(name, lambda data: data) for name in layers}
    sets = {name: make(layers[name]) for name, make in now.items() if make is not None}
    with pytest.raises(InputError, match=words):
        onelayer.probe(sets, **{"settings": SETTINGS, **QUIET, **options}, resume=True)
    assert trained.names == []
    onelayer.probe(layers, SETTINGS, **QUIET, resume=True)  # nothing was lost by that
    assert trained.names == ["c"]


def test_one_may_resume_with_more_feature_sets_or_data_that_were_not_probed_before(layers, trained):
    interrupt(layers, trained)
    layers |= {"c": make_layer(5), "d": make_layer(6)}
    found = onelayer.probe(layers, SETTINGS, **QUIET, resume=True)
    assert trained.names == ["c", "d"]
    assert bits(found) == bits(onelayer.probe(layers, SETTINGS))


def test_nothing_to_resume_is_a_probe_from_the_beginning(layers, trained):
    onelayer.probe(layers, SETTINGS, **QUIET, resume=True)
    assert trained.names == list("abc")


def test_a_resumed_probe_tells_what_was_trained_elsewhere(layers, trained):
    interrupt(layers, trained, threads=1)
    told = []
    now = {"announce": told.append, "threads": 2, "engine": "numpy"}
    found = onelayer.probe(layers, SETTINGS, **QUIET | now, resume=True)
    assert found.provenance["threads"] == 1
    assert "c: trained where threads is 2, not 1" in found.provenance["elsewhere"]
    assert "note: a, b: finished before" in told
    assert any("a: trained where threads is 1, not 2" in note for note in told)
    differs = any("a: trained where engine is 'CompiledEngine'" in note for note in told)
    assert differs == bool(WIDTHS)


@pytest.mark.parametrize("left", [0, 500], ids=["empty", "cut"])
def test_a_damaged_record_is_refused_by_its_name(layers, trained, left):
    interrupt(layers, trained)
    (record,) = Path("out.unfinished").glob("1-a*")
    record.write_bytes(record.read_bytes()[:left])
    with pytest.raises(InputError, match=r"out\.unfinished.1-a\.safetensors: holds no probes"):
        onelayer.probe(layers, SETTINGS, **QUIET, resume=True)


def test_two_processes_do_not_fill_the_same_folder(layers):
    with unfinished_folder(OUT), pytest.raises(InputError, match="another process is filling it"):
        onelayer.probe(layers, SETTINGS, **QUIET)
    onelayer.probe(layers, SETTINGS, **QUIET)


def test_the_latest_unfinished_folder_is_the_one_that_goes_on(tmp_path):
    usual = tmp_path / "probe"
    with pytest.raises(InputError, match="nothing unfinished"):
        latest_unfinished(usual)
    for age, name in enumerate(("probe-2", "probe", "probes", "probe-x")):
        place = tmp_path / f"{name}.unfinished"
        place.mkdir()
        os.utime(place, (10 + age, 10 + age))
    assert latest_unfinished(usual) == usual


def test_a_plan_to_resume_counts_what_is_left_alone(layers, trained, capsys, monkeypatch):
    for name, data in layers.items():
        rows = {f"X_{split}": part.X for split, part in data.splits.items()}
        labels = {f"y_{split}": part.y for split, part in data.splits.items()}
        np.savez(f"{name}.npz", **rows, **labels)
    monkeypatch.setattr(workload, "forecast", lambda job: Forecast((1,), 0, 0, 1.0))
    command = ["probe", "a.npz", "b.npz", "c.npz", "--l2", "0.1", "--report", "none", "--out=out"]
    trained.stop = "c"
    assert run(command) == 130
    for options, words in (
        (["--plan"], ["time: about 3 s"]),
        (["--plan", "--resume"], ["note: a, b: finished before", "time: about 1 s"]),
    ):
        assert run([*command, *options]) == 0
        told = capsys.readouterr().out
        assert all(each in told for each in words)
    assert run([*command, "--plan", "--resume", "--seed", "1"]) == 2
    assert "seed was 0, not 1" in capsys.readouterr().err
    trained.stop = ""
    assert run([*command, "--resume"]) == 0
    assert trained.names == list("abc")
