"""Weights of a few epochs are those that the training had, and it does not notice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer import grid, load_dataset, load_run, train
from onelayer.errors import InputError
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.training.job import Job
from onelayer.training.machine import HERE
from onelayer.training.options import TrainingOptions
from onelayer.training.snapshots import join_snapshots, snapshot_epochs

GRID = grid(l2=[0, 0.1], learning_rate=[0.1, 0.01])


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@given(st.integers(1, 100), st.integers(0, 300))
def test_epochs_grow_from_the_first_to_the_last_and_lie_denser_at_the_beginning(snapshots, epochs):
    kept = snapshot_epochs(snapshots, epochs)
    assert len(kept) == min(snapshots, epochs + 1)
    assert kept[-1] == epochs
    assert len(kept) == 1 or kept[0] == 0
    gaps = np.diff(kept)
    assert (gaps > 0).all()
    assert (np.diff(gaps) >= -1).all()  # but for rounding


def test_no_snapshots_are_none():
    assert snapshot_epochs(0, 10) == []
    assert train(load_dataset("digits"), GRID, epochs=0).snapshots is None


def test_snapshots_are_the_weights_of_shorter_trainings_and_change_no_bit(digits, tmp_path):
    run = train(digits, GRID, epochs=6, snapshots=3)
    plain = train(digits, GRID, epochs=6)
    np.testing.assert_array_equal(run.weights, plain.weights)
    np.testing.assert_array_equal(run.history.train_loss, plain.history.train_loss)
    assert run.snapshots.epochs.tolist() == [0, 2, 6]
    for place, epoch in enumerate(run.snapshots.epochs):
        shorter = train(digits, GRID, epochs=int(epoch))
        np.testing.assert_array_equal(run.snapshots.weights[place], shorter.weights.astype("f2"))
        np.testing.assert_array_equal(run.snapshots.biases[place], shorter.biases.astype("f2"))
    run.save(tmp_path)
    loaded = load_run(tmp_path).snapshots
    np.testing.assert_array_equal(loaded.weights, run.snapshots.weights)


def test_stacks_are_joined_and_what_was_not_trained_is_nan(digits):
    whole = train(digits, GRID, epochs=3, snapshots=3).snapshots
    parts = [train(digits, GRID[:1], epochs=3, snapshots=3).snapshots,
             train(digits, GRID[1:], epochs=1, snapshots=2).snapshots]  # fmt: skip
    joined = join_snapshots(parts)
    assert joined.epochs.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(joined.weights[:, 0], whole.weights[:, 0])
    np.testing.assert_array_equal(joined.weights[:2, 1:], whole.weights[:2, 1:])
    assert np.isnan(joined.weights[2, 1:]).all()


def test_a_training_that_ends_early_keeps_its_end(digits):
    run = train(digits, GRID[:1], epochs=1000, patience=1, snapshots=4)
    assert run.snapshots.epochs[-1] == run.history.epochs < 1000


def test_repeats_and_folds_keep_none(digits):
    asked = ExperimentOptions(epochs=1, repeats=1, folds=2, snapshots=2)
    results = run_experiment(spec_of_grid("digits", GRID[:2], asked, {}), digits)
    assert results.run.snapshots.weights.shape == (2, 2, 10, 64)
    assert [repeat.snapshots for repeat in results.repeats] == [None]


def test_the_exact_solver_has_no_epochs_to_keep(digits):
    with pytest.raises(InputError, match="snapshots is 3; the exact solver"):
        train(digits, grid(l2=[0.1]), solver="exact", snapshots=3)


def test_memory_for_snapshots_is_counted(digits):
    jobs = [Job(digits, GRID, TrainingOptions(epochs=9, snapshots=n), HERE, None) for n in (0, 99)]
    plain, more = (job.kept_bytes for job in jobs)
    assert more - plain == 2 * 10 * (64 + 1) * 10  # 10 epochs, 0 to 9, of 10 classes
