"""Calibration: reliability, expected calibration error, Brier score, temperature scaling."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.probabilities import check_labelled, check_labels
from onelayer.model import network

BINNINGS = ("width", "count")


@dataclass(frozen=True)
class Reliability:
    """Rows grouped by their confidence into bins (edges[i], edges[i + 1]], the first with its edge.

    `count` (bins,) rows fall into each; `confidence` and `accuracy` (bins,) are their mean largest
    probability and the share that is right, NaN where a bin is empty.
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
    probabilities: ArrayLike, y: ArrayLike, bins: int = 15, binning: str = "width"
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
    confidence = P.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    if binning == "count":
        edges = np.quantile(confidence, edges)
    places = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(places, minlength=bins)
    means = np.full((2, bins), np.nan)
    for mean, values in zip(means, (confidence, network.predictions(P) == y), strict=True):
        total = np.bincount(places, weights=values, minlength=bins)
        np.divide(total, count, out=mean, where=count > 0)
    return Reliability(edges, count, *means)


def brier_score(probabilities: ArrayLike, y: ArrayLike) -> float:
    """Return the mean squared distance of each row of P (N, K) to its one-hot label, 0 to 2.

    Equation (S6) (Brier 1950): over all K classes, which for K = 2 is twice the binary score.

    Raises
    ------
    InputError
        If the arrays are not probabilities and labels.
    """
    P, y = check_labelled(probabilities, y)
    P = P - np.eye(P.shape[1])[y]
    return float((P * P).sum(axis=1).mean())


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

    S = np.asarray(scores, dtype=np.float64)
    if S.ndim != 2 or S.size == 0 or not np.isfinite(S).all():
        raise InputError(f"scores of the shape {S.shape}, expected finite ones (rows, classes)")
    N, K = S.shape
    y = check_labels("y", y, (N,), K)
    S = S - S[np.arange(N), y][:, None]  # now the loss is the mean of log Σ exp(βs)

    def slope(beta: float) -> float:
        return float((network.probabilities(beta * S) * S).sum(axis=1).mean())

    shortfall = S.max(axis=1).mean()
    if shortfall == 0:
        raise InputError("every row is classified correctly, so no temperature is the best")
    if slope(0) >= 0:
        raise InputError(
            "the true classes score no higher than the others on average: no temperature helps"
        )
    high = (K - 1) / (math.e * float(shortfall))
    # xtol is the smallest number there is: β may be of any size, so only a relative error counts.
    beta = brentq(slope, 0, high, xtol=np.finfo(np.float64).tiny, rtol=1e-12)
    before, after = (float(network.loss(S * scale, y)) for scale in (1.0, beta))
    return TemperatureScaling(1 / beta, before, after)
