"""How far a measured accuracy can be trusted."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError

CONFIDENCE = 0.95  # of every interval


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (divisor R − 1), minimum and maximum of R repeats, each (M,)."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    repeats: int


def spread(values: NDArray[np.float64]) -> Spread:
    """Summarise R repeats of M accuracies, values (R, M); the sd of one repeat is NaN."""
    R, M = values.shape
    sd = values.std(axis=0, ddof=1) if R > 1 else np.full(M, math.nan)
    if R == 0:
        missing = np.full(M, math.nan)
        return Spread(missing, missing, missing, missing, 0)
    return Spread(values.mean(axis=0), sd, values.min(axis=0), values.max(axis=0), R)


def wilson_interval(
    share: float, samples: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Return Wilson's confidence interval of a share seen in `samples` trials (z: 95 %).

    It says how far the share would move with another sample of the same size, not with another
    training (Wilson 1927, doi:10.1080/01621459.1927.10502953).
    """
    centre = share + z**2 / (2 * samples)
    width = z * math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    scale = 1 + z**2 / samples
    return (centre - width) / scale, (centre + width) / scale


def student_tail(t: ArrayLike, freedom: int) -> NDArray[np.float64]:
    """Return P(|T| ≥ |t|) of Student's t with `freedom` degrees of freedom, in the shape of t.

    The ratio of two integrals of equation (S1) by Gauss-Legendre quadrature; nothing is subtracted,
    so small probabilities keep their digits: 12 of them up to 1,000 degrees of freedom.
    """
    angle = np.arctan2(math.sqrt(freedom), np.abs(t))
    share = _sine_integral(angle, freedom - 1) / _sine_integral(np.pi / 2, freedom - 1)
    return np.minimum(share, 1)  # which rounding may pass


@cache
def student_quantile(freedom: int) -> float:
    """Return the t that |T| stays below with the probability CONFIDENCE, by bisection of (S1)."""
    low, high = 0.0, math.pi / 2
    target = (1 - CONFIDENCE) * _sine_integral(high, freedom - 1)
    for _ in range(60):
        angle = (low + high) / 2
        inside = _sine_integral(angle, freedom - 1) < target
        low, high = (angle, high) if inside else (low, angle)
    return math.sqrt(freedom) / math.tan(low)


def _sine_integral(angle: ArrayLike, power: int) -> NDArray[np.float64]:
    """Return the integral of sin(u) ** power for u from 0 to `angle`.

    With u = angle (1 − v²) the nodes gather at the end, where a high power has all its weight.
    """
    end = np.asarray(angle, dtype=np.float64)
    total = np.zeros_like(end)
    for v, weight in _quadrature():  # one node at a time: memory stays that of `angle`
        total += 2 * v * weight * np.sin(end * (1 - v * v)) ** power
    return end * total


@cache
def _quadrature() -> list[tuple[float, float]]:
    """Return nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return list(zip(((1 + nodes) / 2).tolist(), (weights / 2).tolist(), strict=True))


def check_accuracies(accuracies: ArrayLike) -> NDArray[np.float64]:
    """Return accuracies of R folds or repeats and M settings as float64, (R, M).

    Raises
    ------
    InputError
        If there is no fold or no setting, or a value is neither in [0, 1] nor NaN (not evaluated).
    """
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise InputError(f"accuracies of the shape {values.shape}, expected (folds, settings)")
    if ((values < 0) | (values > 1)).any():
        raise InputError(
            f"accuracies from {np.nanmin(values):g} to {np.nanmax(values):g}, expected shares"
            " from 0 to 1"
        )
    return values
