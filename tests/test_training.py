"""The stack against the textbook, solo runs against stacks, and models that diverge."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from made import make_data
from onelayer.data.batches import batches
from onelayer.data.scaling import fit_scaling
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.job import initial_parameters
from onelayer.training.loop import train
from onelayer.training.run import CURVES

SETTINGS = [
    Hyperparameters(0, 0.1),
    Hyperparameters(0.01, 0.05),
    Hyperparameters(0.5, 0.02, init_sd=0.3),
]


def textbook(data, setting, *, batch_size, epochs, order="file", seed=0, scaling="unit"):
    """Train one model with the pure functions; return W, b and the curves."""
    scale = fit_scaling(scaling, data)
    X, y = scale.apply(data.train.X), data.train.y
    V, u = scale.apply(data.validation.X), data.validation.y
    (W,), (b,) = initial_parameters(data, [setting], seed)
    rows = []
    for epoch in range(epochs + 1):
        if epoch:
            generator = random_stream(seed, Stream.ORDER, epoch)
            for batch in batches(len(y), batch_size, order, generator):
                W, b = network.descend(
                    X[batch], y[batch], W, b, l2=setting.l2, learning_rate=setting.learning_rate
                )
        row = []
        for features, labels in ((X, y), (V, u)):
            S = network.scores(features, W, b)
            row += [
                network.loss(S, labels),
                network.cost(features, labels, W, b, setting.l2),
                np.mean(network.predictions(S) == labels),
            ]
        rows.append(row)
    return W, b, np.transpose(rows)


def curves(run, model):
    return np.array([getattr(run.history, name)[model] for name in CURVES])


@pytest.mark.parametrize("order", ["file", "shuffled"])
@pytest.mark.parametrize("scaling", ["unit", "standardise", "none"])
@pytest.mark.parametrize("batch_size", [1, 10, 53])
def test_each_model_of_a_stack_equals_the_textbook_loop(order, scaling, batch_size):
    data = make_data() if scaling != "none" else make_data(dtype=np.float64, full_scale=1.0)
    protocol = {"batch_size": batch_size, "epochs": 3, "order": order, "seed": 5}
    run = train(data, SETTINGS, scaling=scaling, dtype="float64", **protocol)
    for m, setting in enumerate(SETTINGS):
        W, b, expected = textbook(data, setting, scaling=scaling, **protocol)
        np.testing.assert_allclose(run.weights[m], W, rtol=0, atol=1e-12)
        np.testing.assert_allclose(run.biases[m], b, rtol=0, atol=1e-12)
        np.testing.assert_allclose(curves(run, m), expected, rtol=1e-11)


@pytest.mark.parametrize(("N", "K", "M"), [(7, 2, 1), (40, 10, 20), (30, 1000, 3)])
def test_float32_stays_within_1e_4_of_the_textbook(N, K, M):
    data = make_data(N=N, K=K)
    rates = np.linspace(0.001, 0.05, M)
    run = train(data, grid(l2=[0.1], learning_rate=rates), batch_size=6, epochs=4, order="file")
    for m, rate in enumerate(rates):
        W, b, expected = textbook(data, Hyperparameters(0.1, rate), batch_size=6, epochs=4)
        np.testing.assert_allclose(run.weights[m], W, rtol=0, atol=1e-4)
        np.testing.assert_allclose(run.biases[m], b, rtol=0, atol=1e-4)
        np.testing.assert_allclose(curves(run, m)[0], expected[0], rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 53),
    st.sampled_from(["file", "shuffled"]),
    st.permutations(range(3)),
    st.sampled_from(["float32", "float64"]),
)
def test_a_model_does_not_depend_on_its_neighbours(batch_size, order, places, dtype):
    data, bound = make_data(), {"float32": 2e-5, "float64": 1e-13}[dtype]
    protocol = {"batch_size": batch_size, "epochs": 2, "order": order, "dtype": dtype}
    stack = train(data, [SETTINGS[place] for place in places], **protocol)
    for m, place in enumerate(places):
        solo = train(data, [SETTINGS[place]], **protocol)
        np.testing.assert_allclose(stack.weights[m], solo.weights[0], rtol=0, atol=bound)
        np.testing.assert_allclose(stack.biases[m], solo.biases[0], rtol=0, atol=bound)


def test_the_same_seed_gives_the_same_bits():
    first, second = (train(make_data(), SETTINGS, batch_size=9, order="shuffled") for _ in "12")
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.history.train_loss.tobytes() == second.history.train_loss.tobytes()


def test_weights_start_normal_with_the_asked_deviation_and_W_is_drawn_first():
    data = make_data(D=2000, K=10)
    weights, biases = initial_parameters(data, grid(init_sd=[0.01, 0.5]), seed=3)
    assert weights[0].std() == pytest.approx(0.01, rel=0.02)
    np.testing.assert_allclose(weights[1], 50 * weights[0])
    draw = np.random.default_rng((3, 0)).standard_normal(20_010)
    np.testing.assert_array_equal(weights[0].ravel(), 0.01 * draw[:20_000])
    np.testing.assert_array_equal(biases[0], 0.01 * draw[20_000:])


def test_long_training_reaches_scikit_learns_optimum():
    data = make_data(N=80, D=5, K=3)
    l2 = 0.05
    run = train(data, [Hyperparameters(l2, 0.5)], batch_size=80, epochs=600, dtype="float64")
    X = data.train.X / 255
    fitted = LogisticRegression(C=1 / (2 * 80 * l2), tol=1e-12, max_iter=10_000).fit(
        X, data.train.y
    )
    best = network.cost(X, data.train.y, fitted.coef_, fitted.intercept_, l2)
    assert run.history.train_cost[0, -1] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_diverging_model_stops_alone_and_is_reported(dtype):
    data = make_data()
    wild = Hyperparameters(10.0, 1e4)
    protocol = {"batch_size": 10, "epochs": 30, "dtype": dtype}
    run = train(data, [SETTINGS[0], wild, SETTINGS[1]], **protocol)
    calm = train(data, [SETTINGS[0], SETTINGS[1]], **protocol)
    assert [bool(place) for place in run.stopped] == [False, True, False]
    epoch = int(re.search(r"epoch (\d+)", run.stopped[1]).group(1))
    assert np.isfinite(run.history.train_loss[1, :epoch]).all()
    assert np.isnan(run.history.train_loss[1, epoch:]).all()
    np.testing.assert_allclose(run.weights[[0, 2]], calm.weights, rtol=0, atol=2e-5)
    assert np.isfinite(run.history.validation_cost[[0, 2]]).all()


def test_a_model_that_overflows_in_the_last_batch_is_stopped_too():
    wild = Hyperparameters(10.0, 1e20)
    run = train(make_data(), [SETTINGS[0], wild], batch_size=27, epochs=1)
    assert run.stopped == ("", "the evaluation after epoch 1")
    assert np.isnan(run.history.validation_loss[1, 1])
    assert np.isfinite(run.history.train_cost[0]).all()


def test_no_epochs_leave_the_initial_state_measured():
    data = make_data()
    run = train(data, [Hyperparameters(init_sd=0.0)], epochs=0, batch_size=10)
    assert run.history.train_loss == pytest.approx(np.log(4))
    assert run.history.epochs == 0


def test_progress_is_told_before_and_after_every_epoch():
    seen = []

    def listen(epoch, curves, _):
        seen.append((epoch, int(np.isfinite(curves["train_loss"][0]).sum())))

    train(make_data(), SETTINGS, epochs=3, batch_size=10, on_epoch=listen)
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected a whole number from 1"),
        ({"epochs": -1}, "epochs is -1"),
        ({"order": "shufled"}, "did you mean 'shuffled'"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
        ({"scaling": "unity"}, "did you mean 'unit'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        train(make_data(), SETTINGS, **{"batch_size": 10} | options)


@pytest.mark.parametrize("order", ["file", "shuffled", "windowed"])
def test_a_batch_larger_than_the_split_holds_all_of_it(order):
    runs = [
        train(make_data(), SETTINGS, batch_size=size, epochs=3, order=order, seed=1)
        for size in (53, 54, 1000)
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.weights, runs[0].weights)


def test_no_settings_are_refused():
    with pytest.raises(InputError, match="no settings"):
        train(make_data(), [])


@pytest.mark.parametrize(
    "bad", [{"learning_rate": -0.1}, {"learning_rate": 0}, {"l2": float("nan")}, {"init_sd": -1}]
)
def test_bad_hyperparameters_are_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Hyperparameters(**bad)


def test_grid_is_every_combination_the_last_name_fastest():
    pairs = [(s.l2, s.learning_rate) for s in grid(l2=[0, 1], learning_rate=[0.1, 0.2])]
    assert pairs == [(0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)]
