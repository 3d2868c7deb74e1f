"""Scores of each class, mistakes and histograms against scikit-learn and worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from onelayer.errors import InputError
from onelayer.evaluation.per_class import (
    ClassScores,
    class_scores,
    most_confident_mistakes,
    true_class_histogram,
)

K = 5
GENERATOR = np.random.default_rng(0)
P = GENERATOR.dirichlet(np.full(K, 0.5), size=300)
Y = np.where(GENERATOR.random(300) < 0.6, P.argmax(axis=1), GENERATOR.integers(K, size=300))
RIGHT = P.argmax(axis=1) == Y


def check_against_scikit_learn(y, predicted):
    found = class_scores(confusion_matrix(y, predicted, labels=range(K)))
    options = {"labels": range(K), "zero_division": np.nan}
    expected = precision_recall_fscore_support(y, predicted, **options)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-12)
    macro = precision_recall_fscore_support(y, predicted, average="macro", **options)
    ours = [found.macro_precision, found.macro_recall, found.macro_f1]
    np.testing.assert_allclose(ours, macro[:3], rtol=1e-12)


def test_scores_equal_scikit_learns():
    check_against_scikit_learn(Y, P.argmax(axis=1))


def test_zero_by_zero_is_nan_and_left_out_of_the_mean_as_in_scikit_learn():
    # Class 2 is never predicted, 3 has no samples, 4 is neither.
    check_against_scikit_learn([0, 0, 1, 2, 2], [0, 1, 1, 3, 0])


def test_counts_stored_in_bytes_do_not_overflow():
    found = class_scores(np.array([[200, 50], [50, 250]], dtype=np.uint8))
    np.testing.assert_allclose(found.f1, [0.8, 5 / 6])


def test_an_empty_matrix_has_no_scores():
    found = class_scores(np.zeros((3, 3), dtype=int))
    assert np.isnan([found.macro_precision, found.macro_recall, found.macro_f1]).all()


@given(arrays(int, (2, 3, 3), elements=st.integers(0, 20)))
def test_a_stack_of_matrices_gives_what_each_gives_alone(confusion):
    stacked = class_scores(confusion)
    for m in range(2):
        alone = class_scores(confusion[m])
        for name in ("precision", "recall", "f1", "support", "macro_f1"):
            np.testing.assert_array_equal(getattr(stacked, name)[m], getattr(alone, name))


@given(arrays(int, (4, 4), elements=st.integers(1, 20)))
def test_f1_is_the_harmonic_mean_and_recall_weighted_by_support_is_accuracy(confusion):
    found = class_scores(confusion)
    np.testing.assert_allclose(2 / found.f1, 1 / found.precision + 1 / found.recall)
    accuracy = np.trace(confusion) / confusion.sum()
    assert np.average(found.recall, weights=found.support) == pytest.approx(accuracy)


def test_mistakes_come_by_falling_confidence_and_none_is_surer():
    rows = most_confident_mistakes(P, Y, 10)
    confidence = P.max(axis=1)
    assert len(rows) == 10
    assert not RIGHT[rows].any()
    assert (np.diff(confidence[rows]) <= 0).all()
    rest = np.setdiff1d(np.flatnonzero(~RIGHT), rows)
    assert confidence[rest].max() <= confidence[rows].min()


def test_there_are_no_more_mistakes_than_there_are():
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.2, 0.8]]
    np.testing.assert_array_equal(most_confident_mistakes(probabilities, [0] * 4, 9), [2, 1, 3])


def test_the_histogram_counts_every_row_once():
    found = true_class_histogram(P, Y, bins=10)
    true = P[np.arange(len(Y)), Y]
    for i in range(10):
        low, high = found.edges[i : i + 2]
        inside = (true >= low) & ((true < high) | ((i == 9) & (true == 1)))
        assert found.right[i] == (inside & RIGHT).sum()
        assert found.wrong[i] == (inside & ~RIGHT).sum()
    assert found.right.sum() + found.wrong.sum() == len(Y)


def test_a_wrong_row_gives_its_class_at_most_a_half():
    found = true_class_histogram(P, Y, bins=2)
    assert found.wrong[1] == 0
    assert found.right[1] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_scores(np.ones((2, 3), dtype=int)), r"shape \(2, 3\), expected counts"),
        (lambda: class_scores(np.ones((2, 2))), "confusion is float64"),
        (lambda: class_scores(-np.eye(2, dtype=int)), "negative count"),
        (lambda: most_confident_mistakes(P, Y, -1), "count is -1"),
        (lambda: most_confident_mistakes(P, Y[:3], 1), r"y is int64 of the shape \(3,\)"),
        (lambda: true_class_histogram(P, Y, bins=0), "bins is 0"),
    ],
)
def test_what_is_not_counts_or_probabilities_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_intervals_are_wilsons_and_that_of_f1_follows_from_a_share():
    found = class_scores(np.array([[5, 3, 0], [1, 6, 0], [2, 2, 0]]))
    ends = found.intervals()
    right, predicted, support = (np.array(n) for n in ((5, 6), (8, 11), (8, 7)))
    either = predicted + support - right
    for name, whole in (("precision", predicted), ("recall", support), ("f1", either)):
        low, high = proportion_confint(right, whole, method="wilson")
        if name == "f1":
            low, high = 2 * low / (1 + low), 2 * high / (1 + high)
        np.testing.assert_allclose(ends[name][:2].T, [low, high], rtol=1e-12)
    assert np.isnan(ends["precision"][2]).all()  # never predicted
    assert ends["recall"][2, 0] == 0 < ends["recall"][2, 1]


def test_the_interval_of_f1_covers_the_true_one_as_often_as_it_says():
    chances, rows, tries = np.array([0.2, 0.1, 0.05, 0.65]), 300, 4000
    drawn = np.random.default_rng(0).multinomial(rows, chances, tries)
    right, only_called, only_true, _ = drawn.T
    found = ClassScores(right, right + only_called, right + only_true)
    low, high = found.intervals()["f1"].T
    true = 0.4 / (0.4 + 0.15)
    covered = ((low <= true) & (true <= high)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / tries) + 0.01)
