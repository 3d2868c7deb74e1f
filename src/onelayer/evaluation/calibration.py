"""Calibration: reliability, expected calibration error, Brier score, temperature scaling."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.predictions import Scored
from onelayer.evaluation.probabilities import check_labelled, check_labels
from onelayer.model import network
from onelayer.model.links import SOFTMAX, Link, shifted
from onelayer.model.losses import CROSS_ENTROPY

BINNINGS = ("width", "count")
BINS = 15
_TOGETHER = 250_000  # scores that become probabilities at once: they fit in the cache


@dataclass(frozen=True)
class Reliability:
    """Rows grouped by confidence in bins (edges[i], edges[i + 1]]; the first includes its edge.

    `count` (bins,) is the number of rows in each bin; `confidence` and `accuracy` (bins,) are their
    mean largest probability and their share of right rows, NaN for an empty bin.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.intp]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def expected_calibration_error(self) -> float:
        """The mean gap |accuracy − confidence| over the rows: equation (S5)."""
        filled = self.count > 0
        return float(np.average(self._gaps[filled], weights=self.count[filled]))

    @property
    def maximum_calibration_error(self) -> float:
        """The largest gap |accuracy − confidence| of any bin."""
        return float(np.nanmax(self._gaps))

    @property
    def _gaps(self) -> NDArray[np.float64]:
        return np.abs(self.accuracy - self.confidence)


@dataclass(frozen=True)
class TemperatureScaling:
    """The temperature T to divide the scores by, and the loss without (T = 1) and with it."""

    temperature: float
    loss_before: float
    loss_after: float


def reliability(
    probabilities: ArrayLike, y: ArrayLike, bins: int = BINS, binning: str = "width"
) -> Reliability:
    """Group the rows of probabilities (N, K) by confidence and compare it with accuracy.

    The bins share [0, 1] equally ("width"; Guo et al. 2017, arXiv:1706.04599), or the rows do
    ("count"; equal confidences stay together, even if a bin then has more).

    Raises
    ------
    InputError
        If there is no bin, the binning is unknown, or the arrays are not probabilities and labels.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}; expected at least 1")
    if binning not in BINNINGS:
        raise unknown_name("binning", binning, BINNINGS)
    P, y = check_labelled(probabilities, y)
    return bin_confidences(P.max(axis=1), network.predictions(P) == y, bins, binning)


def bin_confidences(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    bins: int = BINS,
    binning: str = "width",
) -> Reliability:
    """Group rows by confidence (N,) as `reliability` does; `right` (N,) marks the right rows."""
    edges = np.linspace(0, 1, bins + 1)
    if binning == "count":
        edges = np.quantile(confidence, edges)
    places = find_bins(confidence, edges)
    count = np.bincount(places, minlength=bins)
    means = np.full((2, bins), np.nan)
    for mean, values in zip(means, (confidence, right), strict=True):
        total = np.bincount(places, weights=values, minlength=bins)
        np.divide(total, count, out=mean, where=count > 0)
    return Reliability(edges, count, *means)


def find_bins(confidence: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin (N,) of each confidence, by the edges of a `Reliability`."""
    return np.searchsorted(edges[1:-1], confidence)


def brier_score(probabilities: ArrayLike, y: ArrayLike) -> float:
    """Return the mean squared distance of each row of P (N, K) to its one-hot label, 0 to 2.

    Equation (S6) (Brier 1950): over all K classes, which for K = 2 is twice the binary score.

    Raises
    ------
    InputError
        If the arrays are not probabilities and labels.
    """
    return float(squared_distances(*check_labelled(probabilities, y)).mean())


def squared_distances(P: NDArray[np.float64], y: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the squared distance (N,) of each row of P (N, K) to its one-hot label."""
    P = P.copy()
    P[np.arange(len(y)), y] -= 1
    return np.asarray((P * P).sum(axis=1))


def fit_temperature(scores: ArrayLike, y: ArrayLike) -> TemperatureScaling:
    """Return the T > 0 that minimises the mean loss of scores / T, for validation scores (N, K).

    The predicted classes stay the same; only their probabilities change (Guo et al. 2017,
    arXiv:1706.04599). The loss is convex in β = 1/T; Brent's method finds where its slope is zero,
    inside the bracket of (S8).

    Raises
    ------
    InputError
        If the arrays are not finite scores and labels, or no temperature is the best: every row is
        classified correctly, or the true classes score no higher than the others on average.
    """
    from scipy.optimize import brentq

    S = np.asarray(scores)
    S = S if S.dtype == np.float32 else S.astype(np.float64)
    if S.ndim != 2 or S.size == 0 or not np.isfinite(S).all():
        raise InputError(f"scores of the shape {S.shape}, expected finite ones (rows, classes)")
    N, K = S.shape
    y = check_labels("y", y, (N,), K)
    rows = max(1, _TOGETHER // K)
    parts = [slice(first, first + rows) for first in range(0, N, rows)]

    def mean_of(quantity: Callable[[NDArray[Any], NDArray[np.intp]], NDArray[np.float64]]) -> float:
        """Return the mean over the rows of a function of S − s_y (N, K) and y (N,)."""
        values = []
        for part in parts:
            lead = S[part].astype(np.float64)
            lead -= lead[np.arange(len(lead)), y[part]][:, None]
            values.append(quantity(lead, y[part]))
        return float(np.concatenate(values).mean())

    def slope(beta: float) -> float:  # of the mean of log Σ exp(β · lead)
        return mean_of(lambda lead, _: _softmax_mean(beta * lead, lead))

    def loss(beta: float) -> float:
        return mean_of(lambda lead, true: CROSS_ENTROPY.values(beta * lead, true))

    shortfall = mean_of(lambda lead, _: lead.max(axis=1))
    if shortfall == 0:
        raise InputError("every row is classified correctly, so no temperature is the best")
    if slope(0) >= 0:
        raise InputError(
            "the true classes score no higher than the others on average: no temperature helps"
        )
    high = (K - 1) / (math.e * shortfall)
    # xtol is the smallest number: β may have any size, so only the relative error counts.
    beta = brentq(slope, 0, high, xtol=np.finfo(np.float64).tiny, rtol=1e-12)
    return TemperatureScaling(1 / beta, loss(1.0), loss(beta))


def _softmax_mean(S: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (N,) of each row of values (N, K), weighted by the softmax of S (N, K)."""
    E = np.exp(shifted(S))
    return np.asarray((E * values).sum(axis=1) / E.sum(axis=1))


class Calibration:
    """The test probabilities of a model, before and (if possible) after temperature scaling.

    `measured` holds reliability, Brier score and loss for each of the `temperatures`.
    `why_not` is a sentence with the reason if there is no temperature, else empty.
    """

    def __init__(self, link: Link, test: Scored, validation: Scored | None) -> None:
        self.temperatures, self.why_not = [1.0], ""
        if link is not SOFTMAX:
            self.why_not = f"It is for the softmax; these probabilities are {link.name}."
        elif validation is None:
            self.why_not = "Without validation scores no temperature can be fitted."
        else:
            try:
                self.temperatures.append(
                    fit_temperature(validation.scores, validation.y).temperature
                )
            except InputError as error:
                self.why_not = f"No temperature was fitted on the validation scores: {error}."
        self.measured = [_measure(link, test, T) for T in self.temperatures]


def _measure(link: Link, test: Scored, temperature: float) -> tuple[Reliability, float, float]:
    """Return reliability, Brier score and loss of the probabilities of scores / temperature."""
    confidence, right, brier, loss = [], [], [], []
    for part in test.parts():
        y, log_p = part.y, link.log_probabilities(part.scores.astype(np.float64) / temperature)
        P = np.exp(log_p)
        confidence.append(P.max(axis=1))
        right.append(P.argmax(axis=1) == y)
        brier.append(squared_distances(P, y))
        loss.append(-log_p[np.arange(len(y)), y])
    bins = bin_confidences(np.concatenate(confidence), np.concatenate(right))
    return bins, float(np.concatenate(brier).mean()), float(np.concatenate(loss).mean())
