"""Equations (1) to (11) against closed forms and against scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from onelayer.model import network


def problem(seed, N=20, D=7, K=4):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(N, D))
    y = generator.integers(K, size=N)
    return X, y, generator.normal(size=(K, D)), generator.normal(size=K)


def test_scores_are_the_sums_of_products():
    X, _, W, b = problem(0)
    S = network.scores(X, W, b)
    for n in range(len(X)):
        for k in range(len(W)):
            assert S[n, k] == pytest.approx(sum(W[k] * X[n]) + b[k], abs=1e-13)


def test_probabilities_equal_scipys():
    X, _, W, b = problem(1)
    S = network.scores(X, W, b)
    np.testing.assert_allclose(network.probabilities(S), np.exp(log_softmax(S, axis=1)), rtol=1e-13)


@given(st.integers(0, 10**6), st.floats(-1e6, 1e6))
def test_shifting_all_scores_changes_no_probability(seed, shift):
    S = np.random.default_rng(seed).normal(size=(3, 5))
    np.testing.assert_allclose(
        network.probabilities(S + shift), network.probabilities(S), atol=1e-9
    )


def test_probabilities_of_huge_scores_are_finite_and_sum_to_one():
    P = network.probabilities(np.array([[1e300, -1e300, 0.0], [-1e300, -1e300, -1e300]]))
    np.testing.assert_allclose(P, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_zero_weights_cost_log_K():
    X, y, W, b = problem(2, K=6)
    zero = network.cost(X, y, 0 * W, np.zeros(6), 0.7)
    b = np.zeros(6)
    assert zero == pytest.approx(np.log(6), rel=1e-14)
    assert network.loss(network.scores(X, 0 * W, b), y) == pytest.approx(np.log(6), rel=1e-14)


def test_loss_equals_scikit_learns_log_loss():
    X, y, W, b = problem(3)
    S = network.scores(X, W, b)
    expected = log_loss(y, network.probabilities(S), labels=range(4))
    assert network.loss(S, y) == pytest.approx(expected, rel=1e-12)


def test_loss_stays_exact_where_the_probability_underflows():
    S = np.array([[0.0, 2000.0]])
    assert network.probabilities(S)[0, 0] == 0
    assert network.loss(S, np.array([0])) == 2000


def test_cost_adds_lambda_times_the_sum_of_squares_without_a_half_and_without_the_bias():
    X, y, W, b = problem(4)
    without = network.cost(X, y, W, b, 0.0)
    assert network.cost(X, y, W, b, 0.3) - without == pytest.approx(0.3 * (W**2).sum(), rel=1e-12)


def test_two_classes_equal_binary_logistic_regression():
    X, y, W, b = problem(5, K=2)
    margin = X @ (W[1] - W[0]) + b[1] - b[0]
    expected = np.mean(np.log1p(np.exp(np.where(y == 1, -margin, margin))))
    assert network.loss(network.scores(X, W, b), y) == pytest.approx(expected, rel=1e-12)


def test_predictions_are_the_classes_of_the_highest_scores():
    S = np.array([[0.1, 0.3, 0.2], [5.0, -1.0, 2.0]])
    np.testing.assert_array_equal(network.predictions(S), [1, 0])


def test_gradients_vanish_at_scikit_learns_optimum():
    X, y, _, _ = problem(6, N=200)
    l2 = 0.05
    fitted = LogisticRegression(C=1 / (2 * len(X) * l2), tol=1e-10, max_iter=10_000).fit(X, y)
    dW, db = network.gradients(X, y, fitted.coef_, fitted.intercept_, l2)
    assert max(np.abs(dW).max(), np.abs(db).max()) < 1e-6


def test_descent_on_the_bias_alone_ends_at_the_class_frequencies():
    y = np.array([0, 0, 0, 1, 2, 2])
    X, W, b = np.zeros((6, 1)), np.zeros((3, 1)), np.zeros(3)
    for _ in range(2000):
        W, b = network.descend(X, y, W, b, l2=0.0, learning_rate=0.5)
    np.testing.assert_allclose(network.probabilities(b[None])[0], [1 / 2, 1 / 6, 1 / 3], atol=1e-9)


@given(st.integers(0, 10**6))
def test_a_small_enough_step_lowers_the_cost(seed):
    X, y, W, b = problem(seed)
    before = network.cost(X, y, W, b, 0.1)
    after = network.cost(X, y, *network.descend(X, y, W, b, l2=0.1, learning_rate=1e-3), 0.1)
    assert after < before
