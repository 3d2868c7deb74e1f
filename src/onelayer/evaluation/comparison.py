"""Significance tests: whether one setting is better than another, or was only lucky.

Every test takes all M settings at once and returns matrices (M, M): entry [i, j] compares setting i
with setting j. For two settings, M = 2, it is entry [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError
from onelayer.evaluation.metrics import Metric, value_of
from onelayer.evaluation.per_class import ratio
from onelayer.evaluation.statistics import (
    RESAMPLES,
    bootstrap,
    check_accuracies,
    percentiles,
    student_quantile,
    student_tail,
)


@dataclass(frozen=True)
class TTest:
    """Mean differences of accuracy i − j with their 95 % intervals and two-sided p, each (M, M)."""

    difference: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    t: NDArray[np.float64]
    p: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class McNemarTest:
    """Differences of accuracy i − j, numbers of rows only i got right, two-sided p, each (M, M)."""

    difference: NDArray[np.float64]
    only_first: NDArray[np.intp]
    p: NDArray[np.float64]


@dataclass(frozen=True)
class BootstrapTest:
    """Differences of a metric i − j with their 95 % intervals and two-sided p, each (M, M)."""

    difference: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]


def resampled_t_test(accuracies: ArrayLike, n_train: int, n_test: int) -> TTest:
    """Compare all pairs of M settings by their accuracies (R, M) on the same R folds or resamples.

    The corrected resampled t-test, equations (S1) and (S2): the numbers of samples of each
    resample, `n_train` and `n_test`, correct for training sets that overlap (Nadeau and Bengio
    2003, doi:10.1023/A:1024068626366). Settings that never differ have t = 0 and p = 1, a constant
    difference has an infinite t; pairs with a NaN are NaN throughout.

    Raises
    ------
    InputError
        If there are fewer than two folds, n_train or n_test is below 1, or an accuracy is not from
        0 to 1.
    """
    values = check_accuracies(accuracies)
    R = len(values)
    if R < 2:
        raise InputError("accuracies of 1 fold; a t-test needs at least 2")
    if min(n_train, n_test) < 1:
        raise InputError(f"n_train={n_train}, n_test={n_test}; both must be at least 1")
    differences = values[:, :, None] - values[:, None, :]  # (R, M, M)
    mean = differences.mean(axis=0)
    error = differences.std(axis=0, ddof=1) * math.sqrt(1 / R + n_test / n_train)
    t = np.copysign(np.where(mean == 0, 0.0, np.inf), mean)  # where nothing varies
    np.divide(mean, error, out=t, where=error != 0)
    width = student_quantile(R - 1) * error
    return TTest(mean, error, t, student_tail(t, R - 1), mean - width, mean + width)


def mcnemar_test(right: ArrayLike) -> McNemarTest:
    """Compare all pairs of M models by their right rows among the same N samples, bool (N, M).

    McNemar's test in its exact form: a sample that exactly one of two models gets right belongs to
    either model with probability ½, so p is that of the two-sided binomial test (McNemar 1947,
    doi:10.1007/BF02295996).

    Raises
    ------
    InputError
        If `right` does not hold booleans, (N, M), with N ≥ 1.
    """
    from scipy.special import bdtr

    right = np.asarray(right)
    if right.dtype != np.bool_ or right.ndim != 2 or len(right) == 0:
        raise InputError(
            f"right is {right.dtype} of the shape {right.shape}, expected bool (samples, models)"
        )
    ones = right.astype(np.float64)
    only = (ones.T @ (1 - ones)).astype(np.intp)
    # Both tails of a fair coin are alike, so p is twice the smaller one; near the middle they meet.
    p = np.minimum(1, 2 * bdtr(np.minimum(only, only.T), only + only.T, 0.5))
    return McNemarTest((only - only.T) / len(right), only, p)


def bootstrap_test(
    metric: Metric,
    values: Sequence[ArrayLike],
    y: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapTest:
    """Compare all pairs of M models by a metric of their values, each (N, K), on the same N rows.

    The paired bootstrap, equation (S9): each resample draws the same rows for all models, and the
    differences give the percentile interval and p (Davison and Hinkley 1997, section 4.2). A pair
    with a model without a value is NaN throughout.

    Raises
    ------
    InputError
        If there is no model, or as Metric.interval.

    Examples
    --------
    >>> from onelayer.evaluation.metrics import METRICS
    >>> y = np.arange(40) % 2
    >>> test = bootstrap_test(METRICS["auroc"], [np.eye(2)[y], np.full((40, 2), 0.5)], y)
    >>> float(test.difference[0, 1]), float(test.low[0, 1]), round(float(test.p[0, 1]), 3)
    (0.5, 0.5, 0.002)
    """
    if not values:
        raise InputError("values of no model")
    statistics = [metric.statistic_of(each, y) for each in values]
    N = len(np.asarray(y))
    found = np.array([value_of(statistic, N) for statistic in statistics])
    drawn = bootstrap(statistics, N, resamples, seed)
    differences = drawn[:, :, None] - drawn[:, None, :]  # (R, M, M)
    difference = found[:, None] - found
    less, more = (differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0)
    known = np.count_nonzero(~np.isnan(differences), axis=0)
    p = np.minimum(1, 2 * (np.minimum(less, more) + 1) / (known + 1))
    return BootstrapTest(
        difference, *percentiles(differences), np.where(np.isnan(difference), np.nan, p)
    )


def bootstrap_z_test(differences: ArrayLike, drawn: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p (…) of differences (…) from their values in R resamples, (R, …).

    Equation (S12): a difference over its standard deviation in the resamples, against the normal
    distribution. Unlike that of (S9), this p has no least value, so that it can be small after a
    correction for many tests. Without any difference p is 1, a constant difference has p = 0; NaN
    stands for a resample without a value.

    Examples
    --------
    >>> bootstrap_z_test([0.0, 1.96], [[0.5, 1], [-0.5, 3]]).round(3)
    array([1.   , 0.166])
    """
    from scipy.special import ndtr

    difference, values = np.asarray(differences, np.float64), np.asarray(drawn, np.float64)
    known = np.count_nonzero(~np.isnan(values), axis=0)
    centred = values - ratio(np.nansum(values, axis=0), known)
    error = np.sqrt(ratio(np.nansum(centred**2, axis=0), known - 1))
    z = np.where(difference == 0, 0.0, np.inf)  # where nothing varies
    np.divide(np.abs(difference), error, out=z, where=error != 0)
    return np.asarray(2 * ndtr(-z))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (m,) corrected for the number m of tests: equation (S3).

    If every test with a corrected p of at most α is rejected, the chance of even one false
    rejection is at most α (Holm 1979). NaN stands for no test: it is not counted and stays NaN.

    Raises
    ------
    InputError
        If p is not a vector of probabilities.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise InputError(f"p of the shape {p.shape}, expected a vector of values from 0 to 1")
    m = np.count_nonzero(~np.isnan(p))
    order = np.argsort(p)[:m]  # NaN sorts last
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(m, 0, -1)))
    return adjusted


def holm_pairs(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a symmetric matrix of p-values (M, M) corrected for its M (M − 1) / 2 pairs.

    The diagonal, which compares each setting with itself, stays.

    Raises
    ------
    InputError
        If p is not such a matrix.
    """
    if p.ndim != 2 or not np.array_equal(p, p.T, equal_nan=True):
        raise InputError(f"p of the shape {p.shape}, expected a symmetric matrix (M, M)")
    rows, columns = np.triu_indices_from(p, 1)
    adjusted = p.copy()
    adjusted[rows, columns] = adjusted[columns, rows] = holm(p[rows, columns])
    return adjusted


def holm_against(p: NDArray[np.float64], best: int) -> list[float | None]:
    """Return the p-values (M,) against the model `best`, from those of all pairs (M, M).

    They are corrected for all M (M − 1) / 2 pairs, as the same rows say which model is the best:
    any of them might have been. None stands for the best itself, and for a test without a value.

    Raises
    ------
    InputError
        As holm_pairs does.
    """
    corrected = holm_pairs(p)[best]
    corrected[best] = np.nan
    return [None if np.isnan(value) else float(value) for value in corrected]
