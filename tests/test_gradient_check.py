"""The gradient check passes what is right, catches what is wrong, and says where."""

import numpy as np
import pytest

import onelayer
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.derivatives import METHODS, BlackBox, LinearLayer, numerical_gradient
from onelayer.model.gradient_check import check_gradient, check_layer, relative_errors
from rounding import rounding

N, D, K, L2 = 12, 9, 4, 0.3


@pytest.fixture
def layer():
    generator = np.random.default_rng(0)
    X = generator.random((N, D))
    return X, generator.integers(K, size=N), generator.normal(size=(K, D)), generator.normal(size=K)


def check(layer, gradient=None, cost=None, **options):
    X, y, W, b = layer
    return onelayer.check_gradient(
        cost or (lambda W, b: network.cost(X, y, W, b, L2)),
        gradient or (lambda W, b: network.gradients(X, y, W, b, L2)),
        W,
        b,
        **options,
    )


@pytest.mark.parametrize(
    ("method", "bound"), [("forward", 1e-4), ("centred", 1e-6), ("complex", 1e-12)]
)
def test_the_right_gradient_passes_by_every_method(layer, method, bound):
    outcome = check(layer, method=method)
    assert outcome.passed
    assert outcome.parameters == K * D + K
    assert max(outcome.max_error_W, outcome.max_error_b) < bound


def wrong_sign(X, y, W, b):
    dW, db = network.gradients(X, y, W, b, L2)
    return -dW, -db


def missing_mean(X, y, W, b):
    dW, db = network.gradients(X, y, W, b, 0)
    return len(y) * dW + 2 * L2 * W, len(y) * db


def decayed_bias(X, y, W, b):
    dW, db = network.gradients(X, y, W, b, L2)
    return dW, db + 2 * L2 * b


def half_the_penalty(X, y, W, b):
    return network.gradients(X, y, W, b, L2 / 2)


def no_penalty(X, y, W, b):
    return network.gradients(X, y, W, b, 0)


def penalty_without_lambda(X, y, W, b):
    dW, db = network.gradients(X, y, W, b, 0)
    return dW + 2 * W, db


def dropped_sample(X, y, W, b):
    return network.gradients(X[:-1], y[:-1], W, b, L2)


def unrestored_parameter(X, y, W, b):
    """Differentiate numerically and forget to put each entry back."""
    dW, db = np.empty_like(W), np.empty_like(b)
    for array, gradient in ((W, dW), (b, db)):
        for index in np.ndindex(array.shape):
            array[index] += 1e-3
            ahead = network.cost(X, y, W, b, L2)
            array[index] -= 2e-3
            gradient[index] = (ahead - network.cost(X, y, W, b, L2)) / 2e-3
    return dW, db


def one_wrong_entry(X, y, W, b):
    dW, db = network.gradients(X, y, W, b, L2)
    dW[2, 5] += 1e-6
    return dW, db


def float32(X, y, W, b):
    return network.gradients(*(a.astype("f4") for a in (X,)), y, W.astype("f4"), b.astype("f4"), L2)


@pytest.mark.parametrize("method", ["centred", "complex"])
@pytest.mark.parametrize(
    "planted",
    [
        wrong_sign,
        missing_mean,
        decayed_bias,
        half_the_penalty,
        no_penalty,
        penalty_without_lambda,
        dropped_sample,
        unrestored_parameter,
    ],
)
def test_a_planted_bug_is_caught(layer, planted, method):
    X, y, _, _ = layer
    assert not check(layer, lambda W, b: planted(X, y, W, b), method=method).passed


@pytest.mark.parametrize("planted", [one_wrong_entry, float32])
def test_the_complex_step_catches_what_differences_cannot_see(layer, planted):
    X, y, _, _ = layer
    assert not check(layer, lambda W, b: planted(X, y, W, b)).passed


def test_the_worst_entry_is_found_where_it_was_planted(layer):
    X, y, _, _ = layer
    worst = check(layer, lambda W, b: one_wrong_entry(X, y, W, b)).worst
    assert (worst.parameter, worst.index) == ("W", (2, 5))
    assert worst.analytic - worst.numerical == pytest.approx(1e-6, rel=1e-6)
    assert "W[2, 5]" in str(worst)


def test_a_bug_in_the_bias_alone_is_reported_in_the_bias(layer):
    X, y, _, _ = layer
    outcome = check(layer, lambda W, b: decayed_bias(X, y, W, b))
    assert outcome.worst.parameter == "b"
    assert outcome.max_error_W < 1e-12 < outcome.max_error_b


def test_a_gradient_that_is_not_a_number_fails(layer):
    outcome = check(layer, lambda W, b: (np.full((K, D), np.nan), np.zeros(K)))
    assert not outcome.passed


def test_the_relative_error_has_eps_as_its_floor():
    ga, gn = np.array([2.0, 1e-9, 0.0]), np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(relative_errors(ga, gn, 1e-5), [1 / 3, 1e-4, 0.0])


def test_a_cost_that_writes_into_its_arguments_is_told_so(layer):
    def cost(W, b):
        W[0, 0] = 0
        return 0.0

    with pytest.raises(InputError, match="writes into its arguments"):
        check(layer, cost=cost)


def test_a_cost_that_drops_the_imaginary_part_is_told_so(layer):
    X, y, _, _ = layer

    def cost(W, b):
        return network.cost(X, y, W.real, b.real, L2)

    with pytest.raises(InputError, match='method="centred"'):
        check(layer, cost=cost)


def test_a_cost_that_does_not_use_the_bias_is_checked():
    W, b = np.ones((2, 3)), np.ones(2)
    outcome = check_gradient(lambda W, b: (W**2).sum(), lambda W, b: (2 * W, 0 * b), W, b)
    assert outcome.passed


def test_a_gradient_that_is_no_pair_is_told_so(layer):
    with pytest.raises(InputError, match="must return two arrays"):
        check(layer, lambda W, b: W)


def test_a_gradient_of_the_wrong_shape_is_told_so(layer):
    with pytest.raises(InputError, match=r"shape \(9, 4\), expected \(4, 9\)"):
        check(layer, lambda W, b: (np.zeros((D, K)), np.zeros(K)))


def test_an_unknown_method_suggests_the_nearest(layer):
    with pytest.raises(InputError, match="did you mean 'centred'"):
        check(layer, method="centered")


@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_the_layers_derivatives_equal_the_black_boxs(layer, l2):
    X, y, W, b = layer
    box = BlackBox(lambda W, b: network.cost(X, y, W, b, l2), W, b)
    fast = LinearLayer(X, y, W, b, l2)
    # Differences divide the rounding of the cost by their step; the complex step subtracts nothing.
    of_cost = rounding(network.cost(X, y, W, b, l2), N + K * D)
    largest = max(np.abs(G).max() for G in network.gradients(X, y, W, b, l2))
    for method, step, bound in (
        ("forward", 1e-6, of_cost / 1e-6),
        ("centred", 1e-5, of_cost / 1e-5),
        ("complex", 1e-30, rounding(largest, N)),
    ):
        for ours, theirs in zip(
            numerical_gradient(fast, method, step),
            numerical_gradient(box, method, step),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound, err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_the_derivative_by_what_the_cost_does_not_depend_on_is_0_to_the_last_bit(layer, method):
    X, y, W, b = layer
    for N in range(1, 200, 11):
        X, y = np.resize(X, (N, D)), np.resize(y, N)
        X[:, 3] = 0
        dW, _ = numerical_gradient(LinearLayer(X, y, W, b, 0.0), method, 1e-6)
        np.testing.assert_array_equal(dW[:, 3], 0)


def test_numerical_derivatives_of_a_quadratic_are_its_closed_form():
    W, b = np.arange(6.0).reshape(2, 3), np.array([1.0, -2.0])
    box = BlackBox(lambda W, b: (W**2).sum() + (3 * b).sum(), W, b)
    for method, bound in zip(METHODS, (1e-5, 1e-8, 0), strict=True):
        dW, db = numerical_gradient(box, method, 1e-6)
        np.testing.assert_allclose(dW, 2 * W, atol=bound)
        np.testing.assert_allclose(db, [3, 3], atol=bound or 1e-15)


def test_the_strict_check_reaches_1e_12_in_extended_precision():
    generator = np.random.default_rng(3)
    X, y = generator.random((100, 300)), generator.integers(10, size=100)
    W, b = generator.normal(0, 0.01, (10, 300)), generator.normal(0, 0.01, 10)
    for l2 in (0.0, 1.0):
        outcome = check_layer(X, y, W, b, l2, precision="extended", tolerance=1e-12)
        assert outcome.passed, str(outcome)
        assert outcome.parameters == 3010


def test_check_gradient_is_public():
    assert onelayer.check_gradient is check_gradient
