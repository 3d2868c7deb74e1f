"""Every loss against the complex step, closed forms and PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import hinge_loss

from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.gradient_check import check_gradient, check_layer
from onelayer.model.losses import LOSSES, find_loss

each_loss = pytest.mark.parametrize("name", LOSSES)


def problem(seed, N=12, K=5):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(N, K)), generator.integers(K, size=N)


@each_loss
@given(seed=st.integers(0, 10**6))
def test_derivatives_equal_the_complex_step(name, seed):
    loss, (S, y) = LOSSES[name], problem(seed)
    G = loss.slopes(S, y)
    for k in range(S.shape[1]):
        moved = S.astype(complex)
        moved[:, k] += 1e-30j
        np.testing.assert_allclose(G[:, k], loss.values(moved, y).imag / 1e-30, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.smooth])
@given(seed=st.integers(0, 10**6))
def test_second_derivatives_equal_the_complex_step_of_the_slopes(name, seed):
    loss, (S, y) = LOSSES[name], problem(seed)
    shares = np.random.default_rng(seed).random(len(y))
    H = np.empty((5, 5))
    for k in range(5):
        moved = S.astype(complex)
        moved[:, k] += 1e-30j
        bends = loss.slopes(moved, y).imag / 1e-30
        H[k] = shares @ bends
        np.testing.assert_allclose(loss.bends(loss.slopes(S, y))[:, k], bends[:, k], atol=1e-14)
    np.testing.assert_allclose(loss.curvature(S, shares), H, rtol=0, atol=1e-13)
    assert np.linalg.eigvalsh(H).max() <= shares.sum() / 2


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.smooth])
def test_no_scores_that_all_rows_share_cost_less_than_the_biases(name):
    y = np.repeat([0, 1, 2], [1, 5, 14])
    b = LOSSES[name].biases(np.bincount(y) / 20)
    slopes = LOSSES[name].slopes(np.tile(b, (20, 1)), y)
    np.testing.assert_allclose(slopes.mean(axis=0), 0, atol=1e-15)


@each_loss
def test_values_and_slopes_at_once_are_both_alone(name):
    loss, (S, y) = LOSSES[name], problem(0)
    values, slopes = loss.values_and_slopes(1000 * S, y)
    np.testing.assert_allclose(values, loss.values(1000 * S, y), rtol=1e-13)
    np.testing.assert_allclose(slopes, loss.slopes(1000 * S, y), rtol=1e-13)


@each_loss
@pytest.mark.parametrize("number", [1.0, -300.0])
def test_a_number_added_to_all_scores_changes_nothing_as_the_loss_says(name, number):
    loss, (S, y) = LOSSES[name], problem(1)
    same = np.allclose(loss.values(S + number, y), loss.values(S, y), rtol=1e-12)
    assert same == loss.relative


@each_loss
@given(seed=st.integers(0, 10**6), size=st.floats(1e-3, 10))
def test_values_with_a_class_replaced_are_the_values_of_those_scores(name, seed, size):
    loss, (S, y) = LOSSES[name], problem(seed)
    columns = S[:, [2]] + size * np.random.default_rng(seed).normal(size=(len(S), 3))
    found = loss.values_with(S, y, 2, columns)
    for c in range(3):
        replaced = S.copy()
        replaced[:, 2] = columns[:, c]
        np.testing.assert_allclose(found[:, c], loss.values(replaced, y), rtol=1e-12, atol=1e-14)


@each_loss
def test_the_layers_gradient_passes_the_strict_check(name):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(30, 7)), generator.integers(4, size=30)
    W, b = generator.normal(size=(4, 7)), generator.normal(size=4)
    check = check_layer(X, y, W, b, 0.3, loss=name, precision="extended", tolerance=1e-12)
    assert check.passed, str(check)
    assert check.parameters == 32


@each_loss
def test_weighted_gradients_pass_the_black_box_check(name):
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(9, 3)), generator.integers(4, size=9)
    W, b, w = generator.normal(size=(4, 3)), generator.normal(size=4), generator.gamma(1, size=9)
    loss = LOSSES[name]
    check = check_gradient(
        lambda W, b: network.cost(X, y, W, b, 0.2, loss, w),
        lambda W, b: network.gradients(X, y, W, b, 0.2, loss, w),
        W,
        b,
    )
    assert check.passed, str(check)


@each_loss
def test_weights_that_are_counts_equal_rows_given_so_often(name):
    S, y = problem(2)
    counts = np.arange(len(y)) % 4
    repeated = network.loss(np.repeat(S, counts, axis=0), np.repeat(y, counts), LOSSES[name])
    assert network.loss(S, y, LOSSES[name], counts) == pytest.approx(repeated, rel=1e-13)


@each_loss
def test_huge_scores_have_finite_values_and_derivatives(name):
    S = np.array([[1e300, -1e300, 0.0], [-1e300, 1e300, 1e300]])
    y = np.array([0, 2])
    assert np.isfinite(LOSSES[name].values(S, y)).all()
    assert np.isfinite(LOSSES[name].slopes(S, y)).all()


def test_hinge_is_the_sum_of_violated_margins():
    S, y = problem(3)
    for n in range(len(y)):
        margins = [max(0, S[n, j] - S[n, y[n]] + 1) for j in range(S.shape[1]) if j != y[n]]
        assert LOSSES["hinge"].values(S, y)[n] == pytest.approx(sum(margins))


def test_hinge_of_two_classes_equals_scikit_learns():
    S, y = problem(4, N=50, K=2)
    # With two classes the one margin is s_1 - s_0, the decision function of the second class.
    expected = hinge_loss(y, S[:, 1] - S[:, 0])
    assert network.loss(S, y, LOSSES["hinge"]) == pytest.approx(expected)


def test_at_its_kink_the_derivative_of_hinge_is_that_from_below():
    S, y = np.array([[0.0, 1.0, -5.0]]), np.array([1])
    h = 1e-8
    below = (LOSSES["hinge"].values(S, y) - LOSSES["hinge"].values(S - [[h, 0, 0]], y)) / h
    assert LOSSES["hinge"].slopes(S, y)[0, 0] == below == 0


def test_binary_cross_entropy_is_the_mean_of_its_definition():
    S, y = problem(5)
    p, one_hot = 1 / (1 + np.exp(-S)), np.eye(5)[y]
    expected = -np.mean((1 - one_hot) * np.log(1 - p) + one_hot * np.log(p), axis=1)
    np.testing.assert_allclose(LOSSES["binary-cross-entropy"].values(S, y), expected, rtol=1e-12)


def test_zero_scores_cost_what_the_closed_forms_say():
    S, y = np.zeros((1, 10)), np.array([3])
    closed = {"cross-entropy": np.log(10), "hinge": 9, "binary-cross-entropy": np.log(2)}
    for name, value in closed.items():
        assert LOSSES[name].values(S, y)[0] == pytest.approx(value)


def test_an_unknown_loss_is_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown loss 'hing'; did you mean 'hinge'"):
        find_loss("hing")
