"""Stacks are cut by memory alone, change no result, and impossible grids are refused at once."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import make_data
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import fold_weights
from onelayer.errors import InputError
from onelayer.experiments.experiment import warn_of_time
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.option import COUNT
from onelayer.training.cross_validation import resampled
from onelayer.training.forecast import forecast
from onelayer.training.hyperparameters import grid
from onelayer.training.job import Job
from onelayer.training.loop import train
from onelayer.training.machine import GB, Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.stacks import cut_into_stacks

ONE, KEPT = 1_292_800, 10 * 3072 * 4


def model_gb(data, batch_size):
    """Return the GB that a model of this data takes while it trains."""
    job = Job(data, grid(), TrainingOptions(batch_size=batch_size), Machine(), None)
    return job.model_bytes / GB


@given(st.integers(1, 5000), st.integers(1, 60))
def test_every_model_is_in_one_stack_of_a_size_that_fits(models, room):
    memory = ONE * room + ONE // 2
    if models * KEPT > memory:
        return
    stacks = cut_into_stacks(models, ONE, KEPT, memory)
    assert [model for stack in stacks for model in stack] == list(range(models))
    sizes = [len(stack) for stack in stacks]
    assert max(sizes) <= room
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-models // room)


def test_cutting_changes_no_result():
    data, settings = make_data(), grid(l2=[0, 0.1, 0.2, 1], learning_rate=[0.1, 0.01])
    protocol = {"batch_size": 10, "epochs": 3, "order": "shuffled"}
    whole = train(data, settings, **protocol)
    cut = train(data, settings, memory=3 * model_gb(data, 10), **protocol)
    assert whole.provenance["stacks"] == [8]
    assert cut.provenance["stacks"] == [2, 3, 3]
    np.testing.assert_allclose(cut.weights, whole.weights, rtol=0, atol=2e-6)
    np.testing.assert_allclose(cut.history.train_loss, whole.history.train_loss, rtol=1e-6)


@pytest.mark.parametrize(
    ("models", "memory", "words"),
    [(1, ONE - 1, "one model needs 1.29 MB"), (10**9, 10**9, "would leave 123 TB of weights")],
)
def test_what_cannot_fit_is_refused(models, memory, words):
    with pytest.raises(InputError, match=words):
        cut_into_stacks(models, ONE, KEPT, memory)


def test_a_thousand_million_settings_are_refused_before_they_are_made():
    many = range(1, 1001)
    with pytest.raises(InputError, match="a grid of 1,000,000,000 settings"):
        grid(l2=many, learning_rate=many, init_sd=many)


def job_of(data, settings, **options):
    return Job(data, settings, TrainingOptions(**options), Machine(), fit_scaling("unit", data))


def test_a_forecast_of_the_exact_solver_grows_with_the_rows():
    options, found = TrainingOptions(solver="exact"), []
    for N in (2_000, 40_000):
        job = Job(make_data(N=N), grid(l2=[0.1, 1]), options, Machine(), None)
        found.append(forecast(job))
    assert [one.stacks for one in found] == [(2,), (2,)]
    assert found[0].bytes == found[1].bytes == 2 * job.model_bytes
    assert 0 < found[0].seconds < found[1].seconds


def test_a_forecast_names_the_stacks_and_grows_with_the_epochs():
    data, settings = make_data(N=200), grid(l2=[0, 0.1, 1])
    jobs = [job_of(data, settings, batch_size=10, epochs=epochs) for epochs in (1, 1000)]
    short, long = map(forecast, jobs)
    assert short.stacks == (3,)
    assert short.bytes == 3 * jobs[0].model_bytes
    assert 100 < long.seconds / short.seconds < 10_000


def test_a_forecast_of_folds_is_that_of_their_stacks():
    data, settings = make_data(N=200), grid(l2=[0, 0.1, 1])
    weights = fold_weights(data.train.y, 4, seed=0)
    options = TrainingOptions(batch_size=10, epochs=2, scaling="standardise")
    job = resampled(data, settings, weights, options, Machine())
    assert forecast(job).stacks == (12,)


def test_a_job_refuses_what_cannot_be_trained():
    with pytest.raises(InputError, match="no settings to train"):
        job_of(make_data(), [])


def test_one_is_told_of_a_long_training_before_it_begins():
    data = make_data(N=1000)
    short, long = (
        warn_of_time(
            spec_of_grid("made", grid(l2=range(100)), ExperimentOptions(epochs=epochs), {}),
            data,
            Machine(),
        )
        for epochs in (1, COUNT // 10)
    )
    assert short == ""
    assert re.search(r"about \d+ (minutes|hours)", long)
    assert "--plan" in long


def test_what_all_models_leave_counts_as_what_trains_them():
    data, settings = make_data(), grid(l2=range(30))
    room = 8 * model_gb(data, 10)
    job = job_of(data, settings, batch_size=10)
    assert job.kept_bytes > data.n_classes * data.n_features * 4
    with pytest.raises(InputError, match=r"30 models would leave .* of weights"):
        train(data, settings, epochs=int(COUNT / 10), batch_size=10, memory=room)
    assert forecast(job).kept == 30 * job.kept_bytes
