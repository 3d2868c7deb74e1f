"""The gradient check passes what is right, catches what is wrong, and says where."""

import math

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

import onelayer
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.black_box import BlackBox
from onelayer.model.derivatives import METHODS, LinearLayer, numerical_gradient
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


def of_largest(W):
    return np.where(np.abs(W) == np.abs(W).max(), np.sign(W), 0)


def lengths(W):
    return np.linalg.norm(W, axis=1, keepdims=True)


# Penalties of W with their derivatives; the complex step sees all of those of SEEN.
SEEN = {
    "squares": (lambda W: np.sum(W * W), lambda W: 2 * W),
    "maximum": (lambda W: np.maximum(W, 0.3).sum(), lambda W: 1.0 * (W > 0.3)),
    "where": (lambda W: np.where(W > 0, W**2, -W).sum(), lambda W: np.where(W > 0, 2 * W, -1)),
    "sort": (
        lambda W: np.sort(W.ravel())[-3:].sum(),
        lambda W: 1.0 * (np.sort(W.ravel())[-3] <= W),
    ),
    "clip": (lambda W: (np.clip(W, -0.5, 0.5) ** 2).sum(), lambda W: 2 * W * (np.abs(W) < 0.5)),
    "log1p": (lambda W: np.log1p(np.sum(W**2)), lambda W: 2 * W / (1 + np.sum(W**2))),
    "einsum": (lambda W: np.einsum("kd,kd", W, W), lambda W: 2 * W),
}
HIDDEN = {
    "abs": (lambda W: np.abs(W).sum(), np.sign),
    "abs squared": (lambda W: (np.abs(W) ** 2).sum(), lambda W: 2 * W),
    "abs max": (lambda W: np.abs(W).max(), of_largest),
    "norm": (np.linalg.norm, lambda W: W / np.linalg.norm(W)),
    "norms of rows": (lambda W: lengths(W).sum(), lambda W: W / lengths(W)),
    "vdot": (lambda W: np.vdot(W, W), lambda W: 2 * W),
    "real": (lambda W: np.sum(W.real**2), lambda W: 2 * W),
    "cast": (lambda W: np.sum(W.astype(float) ** 2), lambda W: 2 * W),
    "float": (lambda W: float(np.sum(W * W)), lambda W: 2 * W),
    "in place": (
        lambda W: np.square(np.add(W, 0, out=np.empty(W.shape), casting="unsafe")).sum(),
        lambda W: 2 * W,
    ),
    "math": (lambda W: math.sqrt(np.sum(W * W)), lambda W: W / np.linalg.norm(W)),
    "hypot": (lambda W: np.hypot(W, 1).sum(), lambda W: W / np.hypot(W, 1)),
    "comparison": (
        lambda W: sum(w * w if w > 0 else -w for w in W.ravel().tolist()),
        lambda W: np.where(W > 0, 2 * W, -1),
    ),
}
COSTS = {
    "ours": lambda X, y, W, b: network.cost(X, y, W, b, 0),
    "logsumexp": lambda X, y, W, b: np.mean(
        logsumexp(X @ W.T + b, axis=1) - (X @ W.T + b)[range(N), y]
    ),
    "softmax": lambda X, y, W, b: -np.mean(np.log(softmax(X @ W.T + b, axis=1)[range(N), y])),
    "log_softmax": lambda X, y, W, b: -np.mean(log_softmax(X @ W.T + b, axis=1)[range(N), y]),
}


def with_penalty(layer, penalty, factor=1.0, cost="ours"):
    """Return a cost with a penalty, and its gradient with `factor` times the penalty's."""
    (X, y, _, _), (value, slope) = layer, penalty

    def gradient(W, b):
        dW, db = network.gradients(X, y, W, b, 0)
        return dW + L2 * factor * slope(W), db

    return lambda W, b: COSTS[cost](X, y, W, b) + L2 * value(W), gradient


@pytest.mark.parametrize(
    ("name", "cost"),
    [(name, "ours") for name in (*SEEN, *HIDDEN)]
    + [(name, cost) for name in ("squares", "norm") for cost in COSTS if cost != "ours"],
)
def test_no_right_gradient_is_called_wrong_and_no_wrong_one_right(layer, name, cost):
    penalty = (SEEN | HIDDEN)[name]
    for factor in (1, 1 + 1e-4, 1.5):
        J, gradient = with_penalty(layer, penalty, factor, cost)
        outcome = check(layer, gradient, J)
        assert outcome.passed == (factor == 1), str(outcome)
        assert outcome.method == ("complex" if name in SEEN else "centred")
        assert bool(outcome.note) == (factor > 1 or name in HIDDEN)


def test_a_gradient_that_forgets_what_the_complex_step_does_not_see_is_caught(layer):
    J, gradient = with_penalty(layer, HIDDEN["norm"], factor=0)
    outcome = check(layer, gradient, J)
    assert not outcome.passed
    assert "the gradient is wrong" in str(outcome)
    assert "np.sum(W * W)" in str(outcome)


@pytest.mark.parametrize("method", ["complex", "centred"])
@pytest.mark.parametrize(
    ("value", "left", "right"),
    [
        (lambda W: np.abs(W).sum(), lambda W: np.sign(W - 1e-9), lambda W: np.sign(W + 1e-9)),
        (lambda W: np.maximum(W, 0).sum(), lambda W: 1.0 * (W > 0), lambda W: 1.0 * (W >= 0)),
    ],
    ids=["abs", "maximum"],
)
def test_at_a_kink_every_slope_between_both_sides_is_right(value, left, right, method):
    W, b = np.array([[0.0, 1e-7, 1.0], [1e-5, -1e-6, 2.0]]), np.zeros(2)

    def checked(slope):
        return check_gradient(
            lambda W, b: value(W), lambda W, b: (slope(W), 0 * b), W, b, method=method
        )

    for slope in (left, right, lambda W: (left(W) + right(W)) / 2):
        assert checked(slope).passed, str(checked(slope))
    for slope in (lambda W: 1.01 * right(W), lambda W: right(W) + 2.5 * (W == 0)):
        assert not checked(slope).passed, str(checked(slope))


CALLS = iter(range(10**9))


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (lambda W, b: (np.sum(W * W), W), "a tuple of 2, expected one number"),
        (lambda W, b: np.sum(W * W, keepdims=True), r"an array of the shape \(1, 1\)"),
        (lambda W, b: None, "returned None"),
        (lambda W, b: "1.0", "returned a str"),
        (lambda W, b: np.nan, "returned nan, expected a finite real number"),
        (lambda W, b: np.inf, "returned inf"),
        (lambda W, b: np.sum(W * W) + next(CALLS), "and then .* at the same W and b"),
        (lambda W, b: np.float32(np.sum(W * W)), "rough .* as in float32"),
        (lambda W, b: round(float(np.sum(W.real**2)), 6), "rough"),
    ],
)
def test_what_cannot_be_a_cost_is_told(layer, cost, words):
    with pytest.raises(InputError, match=words):
        check(layer, cost=cost)


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda W, b: (b, W), r"gradient of W has the shape \(4,\).*dW comes first"),
        (lambda W, b: {"W": W, "b": b}, "two arrays, dW and db; it returned a dict of 2"),
        (lambda W, b: None, "it returned None"),
        (lambda W, b: (W * 1j, b), "gradient of W is complex128, expected real"),
        (lambda W, b: (W, [b, 1.0]), r"gradient of b has the shape \(\)"),
    ],
)
def test_what_cannot_be_a_gradient_is_told(layer, gradient, words):
    with pytest.raises(InputError, match=words):
        check(layer, gradient)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_cost_in_torch_is_checked_or_told_to_be_too_coarse(layer, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    X, y, _, _ = layer

    def cost(W, b):
        X_, W_, b_ = (torch.tensor(array, dtype=getattr(torch, dtype)) for array in (X, W, b))
        return torch.nn.functional.cross_entropy(X_ @ W_.T + b_, torch.tensor(y))

    def gradient(W, b):
        return network.gradients(X, y, W, b, 0)

    if dtype == "float32":
        with pytest.raises(InputError, match="rough"):
            check(layer, gradient, cost)
    else:
        assert check(layer, gradient, cost).passed
        assert not check(layer, cost=cost).passed


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


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (4, 4), (1, 6)])
@pytest.mark.parametrize("more", [0, 3])
def test_no_wrong_class_and_no_wrong_feature_escapes_a_check_of_some_entries(shape, more):
    W, b = np.random.default_rng(0).normal(size=shape), np.zeros(shape[0])
    entries = max(shape) + len(b) + more
    wrong = [("W", np.s_[k]) for k in range(shape[0])] + [("b", k) for k in range(shape[0])]
    for parameter, where in [*wrong, *(("W", np.s_[:, d]) for d in range(shape[1])), ("", 0)]:
        gradients = {"W": 2 * W, "b": np.ones_like(b)}
        if parameter:
            gradients[parameter][where] += 1e-3
        outcome = check_gradient(
            lambda W, b: np.sum(W * W) + b.sum(),
            lambda W, b, found=gradients: (found["W"], found["b"]),
            W,
            b,
            entries=entries,
        )
        assert outcome.passed == (not parameter), f"{parameter}{where}: {outcome}"
        assert outcome.compared == min(entries, W.size + b.size)
        assert np.isfinite(outcome.errors_W).sum() == outcome.compared - len(b)


def test_a_check_of_some_entries_calls_the_cost_for_these_alone_and_says_how_many():
    calls = []

    def cost(W, b):
        calls.append(W)
        return np.sum(W * W)

    W, b = np.ones((5, 40)), np.ones(5)
    outcome = check_gradient(cost, lambda W, b: (2 * W, 0 * b), W, b, entries=60)
    few = len(calls)
    check_gradient(cost, lambda W, b: (2 * W, 0 * b), W, b)
    assert len(calls) - few - few == 205 - 60
    assert "60 of 205 partial derivatives" in str(outcome)
    with pytest.raises(InputError, match="entries is 44; expected 45 or more"):
        check_gradient(cost, lambda W, b: (2 * W, 0 * b), W, b, entries=44)


@pytest.mark.parametrize("size", [1e-11, 1e-12])
def test_where_a_part_is_too_small_for_differences_nobody_is_called_wrong(layer, size):
    (X, y, _, _), decided = layer, []
    for cost_too in (True, False):  # as hidden from the complex step, or wrong in the gradient

        def cost(W, b, part=size * cost_too):
            return network.cost(X, y, W, b, L2) + part * np.abs(W).sum()

        def gradient(W, b):
            dW, db = network.gradients(X, y, W, b, L2)
            return dW + size * np.sign(W), db

        outcome = check(layer, gradient, cost)
        decided.append(not outcome.undecided)
        assert not outcome.passed
        assert "UNDECIDED" in str(outcome)
        assert "agree with both" in outcome.note
    assert not any(decided)


@pytest.mark.parametrize("seed", range(4))
def test_the_rounding_of_terms_that_cancel_is_no_fault(seed):
    generator = np.random.default_rng(seed)
    X, y = generator.random((400, 30)), generator.integers(3, size=400)
    W, b = generator.normal(0, 0.01, (3, 30)), np.zeros(3)
    X[:, ::2] -= X[:, ::2].mean(axis=0)

    def gradient(W, b):  # the samples in another order: other rounding
        turned = generator.permutation(len(X))
        return network.gradients(X[turned], y[turned], W, b, 0)

    outcome = check_gradient(lambda W, b: network.cost(X, y, W, b, 0), gradient, W, b)
    assert outcome.passed, str(outcome)


def test_check_gradient_is_public():
    assert onelayer.check_gradient is check_gradient
