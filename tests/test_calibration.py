"""Reliability, Brier score and temperature against scikit-learn, scipy and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from onelayer.errors import InputError
from onelayer.evaluation.calibration import brier_score, fit_temperature, reliability

GENERATOR = np.random.default_rng(0)
N, K = 500, 4
S = 2 * GENERATOR.normal(size=(N, K))
Y = (0.7 * S + GENERATOR.gumbel(size=(N, K))).argmax(axis=1)  # labels drawn from softmax(0.7 S)
P = softmax(S, axis=1)


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("count", "quantile")])
def test_the_bins_equal_scikit_learns(binning, strategy):
    found = reliability(P, Y, binning=binning)
    accuracy, confidence = calibration_curve(
        P.argmax(axis=1) == Y, P.max(axis=1), n_bins=15, strategy=strategy
    )
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], confidence)
    assert found.count.sum() == N


def test_bins_of_equal_count_differ_by_one_row_at_most():
    assert np.ptp(reliability(P, Y, binning="count").count) <= 1


def test_an_empty_bin_has_neither_accuracy_nor_confidence():
    found = reliability([[0.9, 0.1], [0.3, 0.7]], [0, 0], bins=5)
    np.testing.assert_array_equal(found.count, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.accuracy, [np.nan] * 3 + [0, 1])
    np.testing.assert_array_equal(found.confidence, [np.nan] * 3 + [0.7, 0.9])


def test_the_calibration_errors_of_a_worked_example():
    # Confidence 0.9 three times, right twice; 0.6 once, right: gaps of 0.7/3 and 0.4.
    found = reliability([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]], [0, 0, 0, 0])
    assert found.expected_calibration_error == pytest.approx((0.7 + 0.4) / 4)
    assert found.maximum_calibration_error == pytest.approx(0.4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.sampled_from(["width", "count"]))
def test_calibration_errors_are_shares_and_the_mean_is_below_the_maximum(seed, bins, binning):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(3, 0.3), size=generator.integers(1, 40))
    y = generator.integers(3, size=len(probabilities))
    found = reliability(probabilities, y, bins, binning)
    mean, maximum = found.expected_calibration_error, found.maximum_calibration_error
    assert 0 <= mean <= maximum + 1e-12
    assert maximum <= 1


def test_one_bin_compares_accuracy_with_mean_confidence():
    expected = abs((P.argmax(axis=1) == Y).mean() - P.max(axis=1).mean())
    assert reliability(P, Y, bins=1).expected_calibration_error == pytest.approx(expected)


def test_the_brier_score_is_the_sum_of_scikit_learns_over_the_classes():
    expected = sum(brier_score_loss(k == Y, P[:, k]) for k in range(K))
    assert brier_score(P, Y) == pytest.approx(expected, rel=1e-12)


def test_the_brier_score_of_certainty_and_of_ignorance():
    assert brier_score(np.eye(3), [0, 1, 2]) == 0
    assert brier_score(np.eye(3), [1, 2, 0]) == 2
    assert brier_score(np.full((3, 3), 1 / 3), [0, 1, 2]) == pytest.approx(2 / 3)


def loss(scores):
    return -log_softmax(scores, axis=1)[np.arange(N), Y].mean()


@pytest.mark.parametrize("sharpness", [1e-6, 0.1, 1, 30, 1e6])
def test_the_temperature_equals_scipys_minimum(sharpness):
    found = fit_temperature(sharpness * S, Y)
    expected = minimize_scalar(
        lambda logarithm: loss(S / np.exp(logarithm)), bracket=(-1, 1), options={"xtol": 1e-12}
    )
    assert found.temperature == pytest.approx(sharpness * np.exp(expected.x), rel=1e-6)
    assert found.loss_after == pytest.approx(expected.fun, rel=1e-12)
    assert found.loss_before == pytest.approx(loss(sharpness * S), rel=1e-12)
    assert found.loss_after <= found.loss_before


def test_the_temperature_that_made_the_labels_is_found():
    assert fit_temperature(S, Y).temperature == pytest.approx(1 / 0.7, rel=0.1)


def test_the_temperature_of_two_classes_with_equal_gaps_is_a_logit():
    # Three of four rows right by 2: the loss is least where sigmoid(2/T) = 3/4.
    found = fit_temperature(np.tile([2.0, 0.0], (4, 1)), [0, 0, 0, 1])
    assert found.temperature == pytest.approx(2 / np.log(3), rel=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_shifted_scores_have_the_same_temperature_to_their_rounding(seed):
    shifts = np.random.default_rng(seed).normal(size=(N, 1))
    expected = fit_temperature(S, Y).temperature
    assert fit_temperature(S + shifts, Y).temperature == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_temperature(S, S.argmax(axis=1)), "every row is classified correctly"),
        (lambda: fit_temperature(S, S.argmin(axis=1)), "no temperature helps"),
        (lambda: fit_temperature(S * np.nan, Y), "expected finite ones"),
        (lambda: fit_temperature(S, Y[:-1]), r"y is int64 of the shape \(499,\)"),
        (lambda: reliability(P, Y, bins=0), "bins is 0"),
        (lambda: reliability(P, Y, binning="widths"), "unknown binning 'widths'; did you mean"),
        (lambda: reliability(P[0], Y), r"shape \(4,\), expected \(rows, classes\)"),
        (lambda: reliability(S, Y), "a value that is not from 0 to 1"),
        (lambda: brier_score(P / 2, Y), "a row that sums to 0.5, expected 1"),
        (lambda: brier_score(P, Y + 1), "y from 1 to 4, expected classes 0 to 3"),
        (lambda: brier_score(P, Y.astype(float)), "y is float64"),
    ],
)
def test_what_is_not_probabilities_scores_or_labels_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
