"""Folds and resamples in one pass against training on each subset alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made import make_data
from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import fit_scaling
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.losses import LOSSES
from onelayer.training.cross_validation import cross_validate
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.job import initial_parameters
from onelayer.training.loop import train

MODELS = [
    Hyperparameters(0.01, 0.05),
    Hyperparameters(0.1, 0.02, loss="hinge", schedule="exponential:0.8"),
    Hyperparameters(0, 0.1, loss="binary-cross-entropy", momentum=0.5, init="zeros"),
]


def folds_of(N, R, seed=0):
    fold = np.random.default_rng(seed).permutation(N) % R
    return (fold != np.arange(R)[:, None]).astype(np.uint8)


def subset(data, weights):
    """Return the data with every training row given as often as it weighs."""
    rows = np.repeat(np.arange(len(weights)), weights)
    train = Split(data.train.X[rows], data.train.y[rows])
    held_out = Split(data.train.X[weights == 0], data.train.y[weights == 0])
    return Dataset("subset", train, held_out, None, data.class_names, data.full_scale)


def textbook(data, setting, weights, scaling, *, batch_size, epochs):
    """Train on the rows of each batch that have weight; return accuracy and loss of the others."""
    own = subset(data, weights)
    scale = fit_scaling(scaling, own)
    (W,), (b,) = initial_parameters(data, [setting], 0)
    speed_W, speed_b, kind = 0 * W, 0 * b, LOSSES[setting.loss]
    for epoch in range(epochs):
        factor = 0.8**epoch if setting.schedule == "exponential:0.8" else 1
        for start in range(0, len(weights), batch_size):
            rows = np.arange(start, min(start + batch_size, len(weights)))
            rows = np.repeat(rows, weights[rows])
            if not len(rows):
                continue
            X, y = scale.apply(data.train.X[rows]), data.train.y[rows]
            dW, db = network.gradients(X, y, W, b, setting.l2, kind)
            speed_W = setting.momentum * speed_W + dW
            speed_b = setting.momentum * speed_b + db
            rate = factor * setting.learning_rate
            W, b = W - rate * speed_W, b - rate * speed_b
    S = network.scores(scale.apply(own.validation.X), W, b)
    hits = network.predictions(S) == own.validation.y
    return hits.mean(), network.loss(S, own.validation.y, kind)


@pytest.mark.parametrize("scaling", ["unit", "standardise"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("resample", ["folds", "counts"])
def test_each_model_equals_one_trained_on_its_subset_alone(scaling, dtype, resample):
    data = make_data(N=60)
    weights = folds_of(60, 4)
    if resample == "counts":
        weights = np.random.default_rng(1).poisson(1.0, (4, 60)).astype(np.uint8)
    protocol = {"batch_size": 13, "epochs": 4}
    found = cross_validate(
        data, MODELS, weights, scaling=scaling, dtype=dtype, order="file", **protocol
    )
    for r, own in enumerate(weights):
        for m, setting in enumerate(MODELS):
            accuracy, loss = textbook(data, setting, own, scaling, **protocol)
            bound = 1e-10 if dtype == "float64" else 1e-4
            assert found.loss[r, m] == pytest.approx(loss, rel=bound)
            assert found.accuracy[r, m] == pytest.approx(accuracy)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 9))
def test_whole_batches_of_a_subset_equal_training_on_it(R, batch_size, seed):
    """Held-out rows at the end of the file leave the batches of the subset as they are."""
    data = make_data(N=60, seed=seed)
    weights = np.ones((1, 60), np.uint8)
    kept = max(1, 60 // R // batch_size) * batch_size
    weights[0, min(kept, 59) :] = 0
    protocol = {"epochs": 3, "dtype": "float64", "scaling": "standardise", "order": "file"}
    found = cross_validate(data, MODELS, weights, batch_size=batch_size, **protocol)
    alone = subset(data, weights[0])
    run = train(alone, MODELS, batch_size=min(batch_size, len(alone.train)), **protocol)
    np.testing.assert_allclose(found.loss[0], run.final("validation_loss"), rtol=1e-10)
    np.testing.assert_allclose(found.accuracy[0], run.final("validation_accuracy"))


def test_a_weight_of_2_equals_the_row_given_twice():
    data = make_data(N=40)
    weights = np.random.default_rng(0).integers(0, 3, 40)
    doubled = subset(data, weights)
    protocol = {"epochs": 5, "dtype": "float64", "scaling": "standardise"}
    found = train(data, MODELS, sample_weights=weights, batch_size=40, **protocol)
    expected = train(doubled, MODELS, batch_size=len(doubled.train), **protocol)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=0, atol=1e-12)
    for name in ("train_loss", "train_cost", "train_accuracy"):
        ours, theirs = getattr(found.history, name), getattr(expected.history, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)


def test_the_curves_are_what_the_batches_said_of_the_held_out_rows():
    data = make_data(N=50)
    weights = folds_of(50, 5)
    still = grid(l2=[0], learning_rate=[1e-30])  # so that all batches see the same model
    found = cross_validate(data, still, weights, epochs=3, batch_size=7, dtype="float64")
    for epoch in range(3):
        np.testing.assert_allclose(found.loss_curves[:, :, epoch], found.loss, rtol=1e-10)
        np.testing.assert_allclose(found.accuracy_curves[:, :, epoch], found.accuracy)
    assert (found.n_train, found.n_held_out) == (40, 10)


@pytest.mark.parametrize("scaling", ["unit", "standardise"])
def test_stacks_that_memory_cuts_change_no_result(scaling):
    data, weights = make_data(N=50), folds_of(50, 5)
    protocol = {"epochs": 3, "batch_size": 7, "dtype": "float64", "scaling": scaling}
    whole = cross_validate(data, MODELS, weights, **protocol)
    cut = cross_validate(data, MODELS, weights, memory=2e-5, **protocol)
    np.testing.assert_allclose(cut.loss, whole.loss, rtol=1e-12)
    np.testing.assert_allclose(cut.loss_curves, whole.loss_curves, rtol=1e-12)


def test_a_model_that_diverges_is_missing_and_harms_no_other():
    data, weights = make_data(N=50), folds_of(50, 5)
    wild = Hyperparameters(10.0, 1e4)
    found = cross_validate(data, [MODELS[0], wild], weights, epochs=30, batch_size=10)
    calm = cross_validate(data, MODELS[:1], weights, epochs=30, batch_size=10)
    assert np.isnan(found.accuracy[:, 1]).all()
    np.testing.assert_allclose(found.loss[:, 0], calm.loss[:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": np.ones((2, 50))}, "resample 0 holds no row out"),
        ({"weights": np.zeros((2, 50))}, "all are zero"),
        ({"weights": np.full((2, 50), -1.0)}, "row 0 has -1"),
        ({"weights": np.ones((2, 49))}, "expected real numbers of the shape"),
        ({"patience": 3}, "leave out patience"),
        ({"settings": [Hyperparameters(schedule="plateau:2:0.5")]}, "needs validation data"),
    ],
)
def test_what_cannot_judge_is_refused(options, message):
    asked = {"settings": MODELS, "weights": folds_of(50, 5)} | options
    with pytest.raises(InputError, match=message):
        cross_validate(make_data(N=50), epochs=1, batch_size=10, **asked)


def test_standardised_weights_that_differ_by_model_are_sent_to_cross_validation():
    with pytest.raises(InputError, match="cross_validate gives it one"):
        train(
            make_data(N=50),
            MODELS,
            sample_weights=folds_of(50, 3),
            scaling="standardise",
            batch_size=10,
        )
