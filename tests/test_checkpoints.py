"""A training that ends at any moment goes on from its last checkpoint, and no bit is another."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import killed_trainings
import onelayer
from bits import bits
from onelayer.data.dataset import Dataset, Split
from onelayer.data.splitting import fold_weights
from onelayer.errors import InputError
from onelayer.storage import unfinished_folder
from onelayer.training import job
from onelayer.training.checkpoint import CHECKPOINT, Spacing, checkpoints_of
from onelayer.training.compiled_engine import WIDTHS
from onelayer.training.cross_validation import cross_validate
from onelayer.training.numpy_engine import NumpyEngine

ENGINES = ["numpy", *(["compiled"] if WIDTHS else [])]
SETTINGS = onelayer.grid(l2=[0, 0.01], learning_rate=[0.1, 1e30], momentum=[0.9])
OPTIONS = {"epochs": 3, "batch_size": 20, "threads": 1}
KEPT = Path("out.unfinished")


def make_data(seed=0):
    generator = np.random.default_rng(seed)
    splits = {
        name: Split(generator.integers(0, 255, (N, 12)).astype(np.uint8), np.arange(N) % 3)
        for name, N in {"train": 90, "validation": 40, "test": 30}.items()
    }
    return Dataset(
        "made", **splits, class_names=tuple("abc"), full_scale=255, image_shape=(3, 2, 2)
    )


DATA = make_data()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what takes most of the time


def interrupted(stop_in, step, call):
    """Let Ctrl-C come in that step of a call that keeps checkpoints; call it again to the end."""
    stop_in.step, stop_in.taken = step, 0
    with pytest.raises(KeyboardInterrupt):
        call()
    assert checkpoints_of(Path("out")).files()
    found = call()
    assert not KEPT.exists()
    return found


PARTS = {
    "best and early": {"patience": 1, "evaluate_every": 2},
    "snapshots": {"snapshots": 3, "order": "windowed"},
    "augmented": {"augmentation": "flip,shift:1,brightness:0.2"},
    "weighed": {"class_weight": "balanced", "dtype": "float64", "scaling": "standardise"},
}


@pytest.fixture
def _two_stacks(monkeypatch):
    monkeypatch.setattr(job, "cut_into_stacks", lambda M, *_: [range(M // 2), range(M // 2, M)])


@pytest.mark.usefixtures("_two_stacks")
@pytest.mark.parametrize(("part", "engine"), [*product(PARTS, ENGINES[:1]), ("none", ENGINES[-1])])
def test_a_training_that_is_interrupted_in_any_batch_ends_with_the_same_bits(stop_in, engine, part):
    options = OPTIONS | PARTS.get(part, {}) | {"engine": engine}
    schedules = ("cosine", "plateau:1:0.5")
    settings = [replace(s, schedule=schedule) for s in SETTINGS for schedule in schedules]
    expected = bits(onelayer.train(DATA, settings, **options))
    steps = stop_in.taken  # those with patience end early
    for step in (steps // 3, steps // 2 + 1):
        found = interrupted(
            stop_in,
            step,
            lambda: onelayer.train(DATA, settings, folder="out", checkpoint="1", **options),
        )
        assert bits(found) == expected, step


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_step_loses_no_result_and_resuming_gives_the_same_bits():
    command = [sys.executable, killed_trainings.__file__, "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("evaluate_every", [1, 2])
def test_folds_go_on_too_with_the_sums_over_rows_that_were_held_out(
    stop_in, engine, evaluate_every
):
    folds = fold_weights(DATA.train.y, 2, seed=0)
    options = OPTIONS | {"engine": engine, "evaluate_every": evaluate_every}
    options |= {"scaling": "standardise"}  # each fold has its own, and an engine
    expected = bits(cross_validate(DATA, SETTINGS, folds, **options))

    def call():
        return cross_validate(DATA, SETTINGS, folds, folder="out", checkpoint="3", **options)

    assert bits(interrupted(stop_in, 7, call)) == expected


@pytest.mark.parametrize("step", [4, 22, 30], ids=["first-pass", "second-pass", "refit"])
def test_a_search_that_ends_at_any_moment_goes_on_to_the_same_bits(stop_in, step):
    model = onelayer.OneLayerClassifier(epochs=3, random_state=0, threads=1)
    tried = {"batch_size": [15, 30], "l2": [0, 0.1]}  # 18 steps, then 9

    def call(**kept):
        search = onelayer.OneLayerSearchCV(model, tried, cv=2, **kept)
        search.fit(DATA.train.X, DATA.train.y)
        found = {name: v for name, v in search.cv_results_.items() if "time" not in name}
        return bits([found, search.best_estimator_.coef_, search.best_estimator_.intercept_])

    expected, steps = call(), stop_in.taken
    found = interrupted(stop_in, step, lambda: call(folder="out", checkpoint="1"))
    assert found == expected
    assert stop_in.taken < steps + step  # what was trained is not trained again


@pytest.mark.usefixtures("_two_stacks")
def test_a_stack_that_is_solved_is_not_solved_again(monkeypatch):
    settings, solved = onelayer.grid(l2=[0.1, 1]), []
    solve = job.solve_models

    def solve_once(*arguments, **keywords):
        if len(solved) == 1:
            solved.append("killed")
            raise KeyboardInterrupt
        solved.append("a stack")
        return solve(*arguments, **keywords)

    expected = bits(onelayer.train(DATA, settings, solver="exact"))
    monkeypatch.setattr(job, "solve_models", solve_once)
    with pytest.raises(KeyboardInterrupt):
        onelayer.train(DATA, settings, solver="exact", folder="out", checkpoint="1")
    found = onelayer.train(DATA, settings, solver="exact", folder="out", checkpoint="1")
    assert bits(found) == expected
    assert solved == ["a stack", "killed", "a stack"]


def train(data=DATA, settings=SETTINGS, **more):
    return onelayer.train(data, settings, folder="out", **OPTIONS | {"checkpoint": "1"} | more)


@pytest.fixture
def kept(stop_in):
    """The two checkpoints of a training that was interrupted in the third epoch."""
    stop_in.step = 12  # of 5 in each epoch
    with pytest.raises(KeyboardInterrupt):
        train(seed=1)
    stop_in.step = 0
    return checkpoints_of(Path("out")).files()


def test_the_last_two_checkpoints_are_kept(kept):
    logs = [CHECKPOINT.load(path).log for path in kept]
    assert [(log.epoch, log.batches) for log in logs] == [(2, 0), (2, 2)]


CHANGES = {
    "seed was 1, not 2": {"seed": 2},
    "epochs was 3, not 5": {"epochs": 5},
    "the settings were": {"settings": SETTINGS[:3]},
    "data, train is not what it was": {"data": replace(DATA, train=make_data(1).train)},
    "sample weights is not what it was": {"sample_weights": np.ones(90)},
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_change_is_refused_with_the_difference_and_nothing_is_lost(kept, words):
    before = [path.read_bytes() for path in kept]
    with pytest.raises(InputError, match=words):
        train(**{"seed": 1} | CHANGES[words])
    assert [path.read_bytes() for path in kept] == before
    assert bits(train(seed=1)) == bits(onelayer.train(DATA, SETTINGS, **OPTIONS, seed=1))


def test_a_newer_format_or_other_stacks_are_refused(kept, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(job, "cut_into_stacks", lambda *_: [range(1), range(1, 4)])
        with pytest.raises(InputError, match="a stack was of other models"):
            train(seed=1)
    for path in kept:
        CHECKPOINT_2.save(CHECKPOINT.load(path), path)
    with pytest.raises(InputError, match="its format is 2 and this onelayer reads up to 1"):
        train(seed=1)


CHECKPOINT_2 = replace(CHECKPOINT, format=2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "half copied": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "one bit": flip,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_for_a_damaged_checkpoint_the_one_before_is_taken_and_without_it_one_line_says_so(
    kept, capsys, damage
):
    expected = bits(onelayer.train(DATA, SETTINGS, **OPTIONS, seed=1))
    for path in kept:
        DAMAGES[damage](path)
    with pytest.raises(InputError, match=rf"{kept[0].name}: holds no checkpoint that can be read"):
        train(seed=1)
    kept[0].unlink()
    with pytest.raises(InputError, match="holds no checkpoint"):
        train(seed=1)
    kept[1].unlink()
    assert bits(train(seed=1)) == expected


def test_what_was_computed_elsewhere_is_told(kept, capsys, monkeypatch):
    from onelayer.training import keeper

    here = keeper.origin_of
    monkeypatch.setattr(keeper, "origin_of", lambda engine: here(engine) | {"cpu": "another"})
    run = train(seed=1, engine="numpy")
    told = capsys.readouterr().out
    assert "trained where cpu is" in told
    assert ("trained where engine is 'CompiledEngine'" in told) == bool(WIDTHS)
    expected = onelayer.train(DATA, SETTINGS, **OPTIONS, seed=1)
    np.testing.assert_allclose(run.weights[0], expected.weights[0], rtol=1e-5, atol=1e-6)


def test_a_folder_is_of_one_process(kept):
    with unfinished_folder(Path("out")), pytest.raises(InputError, match="another process"):
        train(seed=1)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_checkpoint_that_cannot_be_written_ends_no_training(monkeypatch, capsys, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    expected = bits(onelayer.train(DATA, SETTINGS, **OPTIONS))
    monkeypatch.setattr(os, "fsync", fail)
    assert bits(train()) == expected
    assert os.strerror(code) in capsys.readouterr().out
    assert os.listdir() == []


@pytest.mark.parametrize(("asked", "expected"), {"auto": 0, "none": 0, "1": 1, "1min": 1}.items())
def test_in_the_first_minute_nothing_is_kept_unless_it_is_asked_for(stop_in, asked, expected):
    stop_in.step = 3
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=asked)
    assert len(checkpoints_of(Path("out")).files()) == expected


def test_a_second_signal_ends_at_once(monkeypatch):
    heard = []

    def stepped(*_):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        heard.append("both")

    monkeypatch.setattr(NumpyEngine, "step", stepped)
    with pytest.raises(KeyboardInterrupt):
        train(engine="numpy")
    assert heard == ["both"]


def test_how_often_is_a_number_of_epochs_or_minutes():
    assert Spacing.parse("5") == Spacing(epochs=5)
    assert Spacing.parse("1.5min") == Spacing(seconds=90)
    for text in ("0", "-1", "0min", "nanmin", "infmin", "2h", "", "min"):
        with pytest.raises(InputError, match="expected a number of epochs"):
            Spacing.parse(text)
