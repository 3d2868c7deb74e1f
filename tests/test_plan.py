"""Stacks are cut by memory alone, change no result, and impossible grids are refused at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import make_data
from onelayer.errors import InputError
from onelayer.training.forecast import forecast
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train
from onelayer.training.plan import cut_into_stacks, model_bytes

ONE = model_bytes(10, 3072, 100)


@given(st.integers(1, 5000), st.integers(1, 60))
def test_every_model_is_in_one_stack_of_a_size_that_fits(models, room):
    memory = ONE * room + ONE // 2
    if models * 10 * 3072 * 4 > 100 * memory:
        return
    stacks = cut_into_stacks(models, 10, 3072, 100, memory)
    assert [model for stack in stacks for model in stack] == list(range(models))
    sizes = [len(stack) for stack in stacks]
    assert max(sizes) <= room
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-models // room)


def test_cutting_changes_no_result():
    data, settings = make_data(), grid(l2=[0, 0.1, 0.2, 1], learning_rate=[0.1, 0.01])
    protocol = {"batch_size": 10, "epochs": 3, "order": "shuffled"}
    whole = train(data, settings, **protocol)
    cut = train(data, settings, memory=3 * model_bytes(4, 12, 10), **protocol)
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
        cut_into_stacks(models, 10, 3072, 100, memory)


def test_a_thousand_million_settings_are_refused_before_they_are_made():
    many = range(1, 1001)
    with pytest.raises(InputError, match="a grid of 1,000,000,000 settings"):
        grid(l2=many, learning_rate=many, init_sd=many)


def test_a_forecast_names_the_stacks_and_grows_with_the_epochs():
    data, settings = make_data(N=200), grid(l2=[0, 0.1, 1])
    short, long = (forecast(data, settings, batch_size=10, epochs=epochs) for epochs in (1, 1000))
    assert short.stacks == (3,)
    assert short.bytes == 3 * model_bytes(4, 12, 10)
    assert 100 < long.seconds / short.seconds < 10_000


def test_a_forecast_refuses_what_training_refuses():
    with pytest.raises(InputError, match="batch_size 0"):
        forecast(make_data(), grid(), batch_size=0)
