"""The metrics that papers report of a model on N labelled rows, each described once, in METRICS.

A metric first computes a value for each row (`rows`), and is then a function of the counts of the
rows (`statistic`): all 1 for its value, the numbers of draws in a resample of the bootstrap.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.calibration import BINS, find_bins, squared_distances
from onelayer.evaluation.one_versus_rest import AUROC, AVERAGE_PRECISION, Area, macro_area
from onelayer.evaluation.per_class import ClassScores
from onelayer.evaluation.probabilities import check_labelled, check_labels
from onelayer.evaluation.statistics import (
    RESAMPLES,
    Interval,
    Statistic,
    bootstrap,
    percentiles,
    wilson_interval,
)
from onelayer.model import network

_TOGETHER = 250_000  # values that are computed at once: they fit in the cache
_LEAST = np.finfo(np.float64).tiny

Array = NDArray[Any]
Labels = NDArray[np.intp]
Input = Literal["scores", "probabilities"]


@dataclass(frozen=True)
class Metric:
    """One figure of merit of values V (N, K), scores or probabilities, and labels y (N,).

    Attributes
    ----------
    name, title
        The name in options and files, and in a sentence.
    higher_is_better
        The direction.
    takes
        The kinds of V that it takes, the preferred first.
    sentence, equation, source
        Its definition in a sentence and as an equation, and its reference.
    rows
        The values that it needs from each row, a function of V and y.
    statistic
        A function of these values and y that returns the metric as a function of the counts (N,).
    is_share
        Whether it is a share of the rows, which has Wilson's interval.
    fewest_classes
        The least number of classes for which it is defined.
    of_labels
        Whether predicted labels alone are enough.

    Examples
    --------
    >>> METRICS["top-5"]([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]], [1, 5])
    0.5
    """

    name: str
    title: str
    higher_is_better: bool
    takes: tuple[Input, ...]
    sentence: str
    equation: str
    source: str
    rows: Callable[[Array, Labels], Array]
    statistic: Callable[[Array, Labels], Statistic]
    is_share: bool = False
    fewest_classes: int = 2
    of_labels: bool = False

    @property
    def heading(self) -> str:
        """The title with an arrow to where it is better."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    @property
    def keeps_all(self) -> bool:
        """Whether it compares rows with each other, so that all values must be kept."""
        return self.rows is _all

    def better(self, first: float, second: float) -> bool:
        """Whether the first value is better than the second; NaN is the worst."""
        return self.merit(first) > self.merit(second)

    def merit(self, value: float) -> float:
        """Return the value with the sign that makes larger ones better; −∞ for NaN."""
        return -math.inf if math.isnan(value) else value if self.higher_is_better else -value

    def choose(self, scores: Array | None, probabilities: Array | None) -> Array | None:
        """Return the input that it prefers, or None if all inputs that it takes are missing."""
        given = {"scores": scores, "probabilities": probabilities}
        return next((given[kind] for kind in self.takes if given[kind] is not None), None)

    def __call__(self, values: ArrayLike, y: ArrayLike) -> float:
        """Return the metric of values (N, K) and labels (N,).

        Raises
        ------
        InputError
            If the values are not finite, or no probabilities although it takes only these, or y
            does not hold a class for each row.
        """
        return value_of(self.statistic_of(values, y), len(np.asarray(y)))

    def interval(
        self, values: ArrayLike, y: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
    ) -> Interval:
        """Return the metric with its 95 % interval over the draw of rows; errors as __call__."""
        statistic = self.statistic_of(values, y)
        return intervals({self.name: statistic}, len(np.asarray(y)), resamples, seed)[self.name]

    def statistic_of(self, values: ArrayLike, y: ArrayLike) -> Statistic:
        """Return the metric as a function of the counts of the rows (N,); errors as __call__."""
        V, labels = self._check(values, y)
        if self.keeps_all:
            return self.statistic(V, labels)
        kept = [self.rows(V[part], labels[part]) for part in _parts(V)]
        return self.statistic(np.concatenate(kept), labels)

    def _check(self, values: ArrayLike, y: ArrayLike) -> tuple[Array, Labels]:
        if "scores" not in self.takes:
            return check_labelled(values, y)
        V = np.asarray(values)
        if V.ndim != 2 or V.size == 0 or V.dtype.kind not in "biuf" or not np.isfinite(V).all():
            raise InputError(f"values of the shape {V.shape}, expected finite ones (rows, classes)")
        V = V if V.dtype.kind == "f" else V.astype(np.float64)
        return V, check_labels("y", y, V.shape[:1], V.shape[1])


def find_metric(name: str) -> Metric:
    """Return the metric of this name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def value_of(statistic: Statistic, rows: int) -> float:
    """Return the value of a statistic when all rows count once."""
    return statistic(np.ones(rows, np.intp))


def intervals(
    statistics: Mapping[str, Statistic], rows: int, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return the 95 % intervals of metrics, by name, over the draw of N `rows`.

    Shares have Wilson's interval, all others the percentiles of one bootstrap. A resample takes
    about N operations a metric, and N K for the AUROC and the average precision of few scores:
    1,000 resamples take about 2 s for N = 100,000 and one metric.
    """
    values = {name: value_of(statistic, rows) for name, statistic in statistics.items()}
    shares = {name for name in statistics if METRICS[name].is_share}
    others = [name for name in statistics if name not in shares]
    found = {
        name: Interval(values[name], *wilson_interval(values[name], rows), "Wilson")
        for name in shares
    }
    if others:
        drawn = bootstrap([statistics[name] for name in others], rows, resamples, seed)
        method = f"bootstrap, {resamples:,} resamples"
        for name, low, high in zip(others, *percentiles(drawn), strict=True):
            found[name] = Interval(values[name], float(low), float(high), method)
    return {name: found[name] for name in statistics}


def _parts(V: Array) -> Iterator[slice]:
    rows = max(1, _TOGETHER // V.shape[1])
    return (slice(first, first + rows) for first in range(0, len(V), rows))


def _all(V: Array, y: Labels) -> Array:
    return V


def _predicted(V: Array, y: Labels) -> Labels:
    return network.predictions(V)


def _among(count: int) -> Callable[[Array, Labels], Array]:
    """Return a function that marks the rows with y among the `count` highest values.

    Of equal values those of the first classes are the higher ones.
    """

    def among(V: Array, y: Labels) -> Array:
        own, classes = V[np.arange(len(y)), y][:, None], np.arange(V.shape[1])
        before = (own < V) | ((own == V) & (classes < y[:, None]))
        hits: Array = before.sum(axis=1) < count
        return hits

    return among


def _log_losses(P: Array, y: Labels) -> Array:
    losses: Array = -np.log(np.maximum(P[np.arange(len(y)), y], _LEAST))
    return losses


def _confidences(P: Array, y: Labels) -> Array:
    """Return the confidence of each row, and whether it is right, (N, 2)."""
    return np.stack([P.max(axis=1), network.predictions(P) == y], axis=1)


def _mean(rows: Array, y: Labels) -> Statistic:
    values = rows.astype(np.float64)
    return lambda counts: float(counts @ values / counts.sum())


def _macro(mean: Callable[[ClassScores], Any]) -> Callable[[Array, Labels], Statistic]:
    """Return a mean of the scores of each class as a statistic of predictions (N,)."""

    def statistic(predicted: Array, y: Labels) -> Statistic:
        classes, places = np.unique([y, predicted], return_inverse=True)
        true, called = places.reshape(2, -1)
        K, right = len(classes), true == called

        def of_counts(counts: NDArray[np.intp]) -> float:
            hits = np.bincount(true, counts * right, K)
            calls, support = np.bincount(called, counts, K), np.bincount(true, counts, K)
            return float(mean(ClassScores(hits, calls, support)))

        return of_counts

    return statistic


def _calibration_error(rows: Array, y: Labels) -> Statistic:
    confidence, right = rows.T
    places, gaps = find_bins(confidence, np.linspace(0, 1, BINS + 1)), right - confidence

    def of_counts(counts: NDArray[np.intp]) -> float:
        return float(np.abs(np.bincount(places, counts * gaps, BINS)).sum() / counts.sum())

    return of_counts


def _macro_area(area: Area) -> Callable[[Array, Labels], Statistic]:
    return lambda V, y: macro_area(area, V, y)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            "accuracy",
            True,
            ("scores", "probabilities"),
            "The share of rows whose highest value is that of their class.",
            "(1/N) Σ [argmax_k v_k = y]",
            "with equation (4)",
            _among(1),
            _mean,
            is_share=True,
            of_labels=True,
        ),
        Metric(
            "top-5",
            "top-5 accuracy",
            True,
            ("scores", "probabilities"),
            "The share of rows whose class is among the five with the highest values.",
            "(1/N) Σ [fewer than 5 classes stand above y]",
            "Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y",
            _among(5),
            _mean,
            is_share=True,
            fewest_classes=6,
        ),
        Metric(
            "balanced-accuracy",
            "balanced accuracy",
            True,
            ("scores", "probabilities"),
            "The mean recall of the classes that occur in y.",
            "mean_k (right_k / N_k)",
            "Brodersen et al. 2010, doi:10.1109/ICPR.2010.764",
            _predicted,
            _macro(lambda scores: scores.macro_recall),
            of_labels=True,
        ),
        Metric(
            "macro-f1",
            "macro-F1",
            True,
            ("scores", "probabilities"),
            "The mean F1 of the classes that occur in y or are predicted.",
            "mean_k (2 right_k / (predicted_k + N_k))",
            "van Rijsbergen 1979, Information Retrieval",
            _predicted,
            _macro(lambda scores: scores.macro_f1),
            of_labels=True,
        ),
        Metric(
            "auroc",
            "AUROC",
            True,
            ("probabilities", "scores"),
            "The chance that a row of a class stands above one of another; the mean of the classes "
            "that occur in y.",
            "mean_k (1 / (N_k (N − N_k))) Σ_{y = k, y′ ≠ k} ([v_k > v′_k] + ½ [v_k = v′_k])",
            "Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747",
            _all,
            _macro_area(AUROC),
        ),
        Metric(
            "average-precision",
            "average precision",
            True,
            ("probabilities", "scores"),
            "The mean precision of a class down to each of its rows; the mean of the classes that "
            "occur in y.",
            "mean_k (1 / N_k) Σ_{y = k} (rows of k not below it / rows not below it)",
            "Buckley and Voorhees 2000, doi:10.1145/345508.345543",
            _all,
            _macro_area(AVERAGE_PRECISION),
        ),
        Metric(
            "log-loss",
            "log loss",
            False,
            ("probabilities",),
            "The mean of minus the logarithm of the probability of the true class.",
            "−(1/N) Σ log p_y",
            "Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x",
            _log_losses,
            _mean,
        ),
        Metric(
            "brier",
            "Brier score",
            False,
            ("probabilities",),
            "The mean squared distance of the probabilities to the one-hot label, from 0 to 2.",
            "(1/N) Σ Σ_k (p_k − Y_k)²",
            "Brier 1950, Monthly Weather Review 78",
            squared_distances,
            _mean,
        ),
        Metric(
            "ece",
            "expected calibration error",
            False,
            ("probabilities",),
            f"The mean gap between confidence and accuracy in {BINS} bins of equal width.",
            "Σ_bins (count / N) |accuracy − confidence|",
            "Guo et al. 2017, arXiv:1706.04599",
            _confidences,
            _calibration_error,
        ),
    )
}
