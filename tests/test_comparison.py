"""Tests of significance against scipy, statsmodels and closed forms."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.evaluation.comparison import (
    bootstrap_test,
    bootstrap_z_test,
    holm,
    holm_against,
    holm_pairs,
    mcnemar_test,
    resampled_t_test,
)
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.statistics import student_quantile, student_tail

GENERATOR = np.random.default_rng(0)
FOLDS = GENERATOR.uniform(0.3, 0.4, (5, 3))
RIGHT = GENERATOR.random((400, 4)) < [0.3, 0.32, 0.45, 0.9]

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


# P(|T| ≥ t) of 1, 2 and 4 degrees of freedom, as textbooks have it: with s = t / √(ν + t²).
TAILS = {
    1: lambda t: 2 / np.pi * np.arctan2(1, t),
    2: lambda t: 1 - t / np.sqrt(2 + t * t),
    4: lambda t: 1 - (3 * (s := t / np.sqrt(4 + t * t)) - s**3) / 2,
}


@pytest.mark.parametrize("freedom", TAILS)
def test_students_tail_and_quantile_are_those_of_the_closed_form(freedom):
    t = np.array([0, 0.1, 1, 2.5, 10])
    expected = TAILS[freedom](t)
    np.testing.assert_allclose(student_tail(t, freedom), expected, rtol=1e-10)
    np.testing.assert_array_equal(student_tail(-t, freedom), student_tail(t, freedom))
    assert TAILS[freedom](student_quantile(freedom)) == pytest.approx(0.05, rel=1e-10)


def test_without_test_samples_to_speak_of_it_is_the_paired_t_test():
    test = resampled_t_test(FOLDS, n_train=10**15, n_test=1)
    for i, j in [(0, 1), (2, 0)]:
        expected = stats.ttest_rel(FOLDS[:, i], FOLDS[:, j])
        interval = expected.confidence_interval()
        found = [getattr(test, name)[i, j] for name in ("t", "p", "low", "high")]
        np.testing.assert_allclose(found, [*expected, *interval], rtol=1e-10)


def test_five_folds_are_corrected_by_three_halves():
    plain, corrected = (resampled_t_test(FOLDS, n, 100) for n in (10**18, 400))
    others = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(corrected.standard_error, 1.5 * plain.standard_error, rtol=1e-12)
    np.testing.assert_allclose(corrected.t[others], plain.t[others] / 1.5, rtol=1e-12)
    np.testing.assert_array_equal(corrected.difference, plain.difference)
    np.testing.assert_allclose(corrected.p, TAILS[4](abs(corrected.t)), rtol=1e-10)


def test_the_t_test_turns_round_with_its_pair():
    test = resampled_t_test(FOLDS, 400, 100)
    np.testing.assert_array_equal(test.p, test.p.T)
    for forth, back in [
        (test.difference, test.difference),
        (test.t, test.t),
        (test.low, test.high),
    ]:
        np.testing.assert_array_equal(forth, -back.T)


def test_settings_that_never_differ_or_always_by_the_same():
    test = resampled_t_test([[0.25, 0.25, 0.5], [0.5, 0.5, 0.75]], 4, 1)
    np.testing.assert_array_equal(test.t[0], [0, 0, -np.inf])
    np.testing.assert_allclose(test.p[0], [1, 1, 0], rtol=1e-14)


def test_a_stopped_setting_spoils_only_its_own_pairs():
    stopped = FOLDS.copy()
    stopped[3, 1] = np.nan
    test, whole = resampled_t_test(stopped, 400, 100), resampled_t_test(FOLDS, 400, 100)
    assert np.isnan(test.p[1]).all()
    assert np.isnan(test.t[:, 1]).all()
    assert test.p[0, 2] == whole.p[0, 2]


def test_mcnemar_equals_statsmodels_for_every_pair():
    test = mcnemar_test(RIGHT)
    for i, j in np.ndindex(4, 4):
        a, b = RIGHT[:, i], RIGHT[:, j]
        table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
        assert test.p[i, j] == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-12)
        assert test.only_first[i, j] == table[0][1]
        assert test.difference[i, j] == pytest.approx(a.mean() - b.mean())


@pytest.mark.parametrize(("first", "second"), [(7800, 7500), (9000, 2), (40, 41), (60, 0)])
def test_mcnemar_of_thousands_of_samples_is_the_exact_sum_of_binomial_coefficients(first, second):
    n = first + second
    right = np.zeros((n, 2), dtype=bool)
    right[:first, 0] = right[first:, 1] = True
    coefficient = smaller = 1
    for i in range(min(first, second)):
        coefficient = coefficient * (n - i) // (i + 1)  # C(n, i + 1), exactly
        smaller += coefficient
    expected = float(min(Fraction(2 * smaller, 2**n), Fraction(1)))
    assert mcnemar_test(right).p[0, 1] == pytest.approx(expected, rel=1e-9)


@given(arrays(bool, st.tuples(st.integers(1, 30), st.just(2))))
def test_mcnemar_is_symmetric_a_probability_and_certain_of_equals(right):
    p = mcnemar_test(right).p
    np.testing.assert_array_equal(p, p.T)
    assert 0 < p[0, 1] <= 1
    assert mcnemar_test(right[:, [0, 0]]).p[0, 1] == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closure_of_bonferroni(p):
    """A hypothesis falls when Bonferroni rejects every set of hypotheses that it is in."""
    sets = [s for n in range(1, len(p) + 1) for s in combinations(range(len(p)), n)]
    bound = {s: min(1, len(s) * min(p[i] for i in s)) for s in sets}
    closed = [max(bound[s] for s in sets if i in s) for i in range(len(p))]
    np.testing.assert_allclose(holm(p), closed, rtol=1e-12)


@given(p_values)
def test_holm_keeps_the_order_and_lowers_no_p(p):
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_holm_counts_no_missing_tests():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])


def test_each_pair_of_a_matrix_counts_once():
    p = resampled_t_test(FOLDS, 400, 100).p
    adjusted = holm_pairs(p)
    np.testing.assert_array_equal(adjusted[[0, 0, 1], [1, 2, 2]], holm([p[0, 1], p[0, 2], p[1, 2]]))
    np.testing.assert_array_equal(adjusted, adjusted.T)
    np.testing.assert_array_equal(adjusted.diagonal(), p.diagonal())


def test_of_models_that_are_equally_good_none_differs_from_the_best_more_often_than_it_says():
    generator, repeats, found = np.random.default_rng(0), 100, 0
    for _ in range(repeats):
        right = generator.random((500, 20)) < 0.7
        against = holm_against(mcnemar_test(right).p, int(right.sum(axis=0).argmax()))
        found += min(p for p in against if p is not None) < 0.05
    assert found <= stats.binom.ppf(0.999, repeats, 0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resampled_t_test([[0.1, 0.2]], 4, 1), "1 fold; a t-test needs at least 2"),
        (lambda: resampled_t_test(FOLDS, 400, 0), "n_test=0; both must be at least 1"),
        (lambda: resampled_t_test(100 * FOLDS, 4, 1), "expected shares from 0 to 1"),
        (lambda: resampled_t_test(FOLDS[0], 4, 1), r"shape \(3,\), expected \(folds, settings\)"),
        (lambda: mcnemar_test(RIGHT.astype(int)), r"int64 .*expected bool \(samples, models\)"),
        (lambda: mcnemar_test(RIGHT[:, 0]), r"shape \(400,\), expected bool"),
        (lambda: holm([0.1, 1.1]), "expected a vector of values from 0 to 1"),
        (lambda: holm_pairs(np.array([[1, 0.1], [0.2, 1]])), "expected a symmetric matrix"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


LABELS = GENERATOR.integers(3, size=250)
SCORES = [GENERATOR.normal(size=(250, 3)) + gain * np.eye(3)[LABELS] for gain in (0.5, 0.6, 2)]


@pytest.mark.parametrize("name", ["accuracy", "macro-f1", "auroc"])
def test_the_paired_bootstrap_draws_the_same_rows_for_all_models(name):
    metric, test = METRICS[name], bootstrap_test(METRICS[name], SCORES, LABELS, 39, seed=1)
    differences = []
    for resample in range(39):
        rows = random_stream(1, Stream.BOOTSTRAP, resample).integers(250, size=250)
        first, second = (metric(S[rows], LABELS[rows]) for S in SCORES[:2])
        differences.append(first - second)
    expected = metric(SCORES[0], LABELS) - metric(SCORES[1], LABELS)
    assert test.difference[0, 1] == pytest.approx(expected, abs=1e-12)
    found = [test.low[0, 1], test.high[0, 1]]
    np.testing.assert_allclose(found, np.quantile(differences, [0.025, 0.975]), atol=1e-12)
    tail = min(np.sum(np.array(differences) <= 0), np.sum(np.array(differences) >= 0))
    assert test.p[0, 1] == pytest.approx(min(1, 2 * (tail + 1) / 40))
    assert test.p[0, 2] == pytest.approx(2 / 40)  # no resample says otherwise


def test_the_paired_bootstrap_turns_round_with_its_pair_and_equals_differ_by_nothing():
    test = bootstrap_test(METRICS["accuracy"], [*SCORES, SCORES[0]], LABELS, 50)
    np.testing.assert_allclose(test.difference, -test.difference.T, atol=1e-15)
    np.testing.assert_allclose(test.low, -test.high.T, atol=1e-12)
    np.testing.assert_array_equal(test.p, test.p.T)
    assert (test.difference[0, 3], test.low[0, 3], test.high[0, 3], test.p[0, 3]) == (0, 0, 0, 1)


def test_the_paired_bootstrap_of_accuracies_has_the_normal_interval_and_p():
    right = np.stack([S.argmax(axis=1) == LABELS for S in SCORES[:2]])
    each = right[0] * 1.0 - right[1]
    error, R = each.std() / np.sqrt(250), 1000
    test = bootstrap_test(METRICS["accuracy"], SCORES[:2], LABELS, R)
    found = [test.low[0, 1], test.high[0, 1]]
    # A quantile of R draws strays by √(q (1 − q) / R) over the density, and by the grid of 1/N.
    stray = 4 * np.sqrt(0.025 * 0.975 / R) * error / stats.norm.pdf(1.96) + 1 / 250
    np.testing.assert_allclose(found, each.mean() + error * np.array([-1.96, 1.96]), atol=stray)


def test_the_bootstraps_normal_p_is_that_of_scipys_standard_error():
    each = GENERATOR.normal(0.1, 1, size=(3, 60))
    found = [stats.bootstrap((d,), np.mean, n_resamples=99, rng=0, method="basic") for d in each]
    drawn = np.stack([one.bootstrap_distribution for one in found], axis=1)
    z = each.mean(axis=1) / [one.standard_error for one in found]
    p = bootstrap_z_test(each.mean(axis=1), drawn)
    np.testing.assert_allclose(p, 2 * stats.norm.sf(abs(z)), rtol=1e-9)
    drawn[:50, 0], expected = np.nan, np.std(drawn[50:, 0], ddof=1)
    p = bootstrap_z_test(each.mean(axis=1), drawn)[0]
    assert p == pytest.approx(2 * stats.norm.sf(abs(each[0].mean()) / expected))


def test_differences_that_never_vary_or_have_no_value_have_the_p_of_their_limit():
    drawn = np.tile([0, 0.2, np.nan], (9, 1))
    np.testing.assert_array_equal(bootstrap_z_test([0, 0.2, np.nan], drawn), [1, 0, np.nan])


def test_models_without_a_value_are_nan_throughout_and_none_is_refused():
    test = bootstrap_test(METRICS["auroc"], SCORES[:2], np.zeros(250, int), 5)
    assert np.isnan([test.difference, test.low, test.high, test.p]).all()
    with pytest.raises(InputError, match="values of no model"):
        bootstrap_test(METRICS["auroc"], [], LABELS)
