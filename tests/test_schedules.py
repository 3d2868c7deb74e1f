"""Learning rates against closed forms and the sequences of PyTorch's schedulers."""

import math

import numpy as np
import pytest

from onelayer.errors import InputError
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.schedules import LearningRates, Schedule


def rates(schedule, epochs=6, losses=None, **options):
    """Return the rates of all epochs; `losses` are observed after each of them."""
    control = LearningRates(
        [Hyperparameters(learning_rate=1, schedule=schedule, **options)], epochs
    )
    found = []
    for epoch in range(epochs):
        found.append(control.of_epoch(epoch)[0])
        if losses is not None:
            control.observe(np.array([losses[epoch]]))
    return found


def test_the_closed_forms():
    assert rates("constant") == [1] * 6
    assert rates("exponential:0.9") == pytest.approx([0.9**e for e in range(6)])
    assert rates("step:2:0.1") == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rates("cosine") == pytest.approx([(1 + math.cos(math.pi * e / 6)) / 2 for e in range(6)])


def test_warm_up_rises_linearly_and_multiplies_the_schedule():
    assert rates("constant", warmup=3) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    both = np.array(rates("exponential:0.9", warmup=3))
    assert both == pytest.approx(np.array(rates("exponential:0.9")) * rates("constant", warmup=3))


def test_a_plateau_lowers_the_rate_when_the_loss_has_stalled_for_longer_than_its_patience():
    losses = [5, 4, 4, 4, 4, 4, 3, 3, 3, 3]
    found = rates("plateau:2:0.5", epochs=10, losses=losses)
    # 4 is no better in epochs 3, 4 and 5 (from 1): halved from epoch 6 on; and so after the 3.
    assert found == pytest.approx([1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5])


def test_every_model_has_a_schedule_of_its_own():
    models = [
        Hyperparameters(learning_rate=0.1, schedule="step:1:0.5"),
        Hyperparameters(learning_rate=0.2),
        Hyperparameters(learning_rate=0.4, schedule="plateau:1:0.1"),
    ]
    control = LearningRates(models, 4)
    for _ in range(3):
        control.observe(np.ones(3))
    assert control.of_epoch(2) == pytest.approx([0.025, 0.2, 0.04])
    assert control.need_validation
    assert not LearningRates(models[:2], 4).need_validation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "did you mean 'cosine'"),
        ("step:2", "expected step:EPOCHS:FACTOR"),
        ("step:two:0.1", "expected step:EPOCHS:FACTOR"),
        ("exponential:1.5", "0 < FACTOR ≤ 1"),
        ("exponential:nan", "0 < FACTOR ≤ 1"),
        ("plateau:0:0.1", "EPOCHS ≥ 1"),
        ("cosine:3", "expected cosine"),
    ],
)
def test_bad_schedules_are_named(text, message):
    with pytest.raises(InputError, match=message):
        Schedule.parse(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"nesterov": True},
        {"warmup": -1},
        {"warmup": 1.5},
        {"init_seed": -1},
    ],
)
def test_hyperparameters_out_of_range_are_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Hyperparameters(**bad)


def test_a_setting_names_what_is_not_at_its_default():
    setting = Hyperparameters(0.1, 0.5, loss="hinge", momentum=0.9, nesterov=True, init="xavier")
    assert str(setting) == "λ=0.1, η=0.5, hinge, μ=0.9, Nesterov, xavier"
