"""Uncertainty of measurements: spread over repeats, intervals, the bootstrap, Student's t."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError

CONFIDENCE = 0.95  # of every interval
RESAMPLES = 1000  # of a bootstrap

Statistic = Callable[[NDArray[np.intp]], float]  # a function of the counts (N,) of N rows


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval, with the method that gave it; NaN where there is none."""

    value: float
    low: float
    high: float
    method: str


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

    The interval covers the random draw of the samples, not that of another training (Wilson 1927,
    doi:10.1080/01621459.1927.10502953).
    """
    centre = share + z**2 / (2 * samples)
    width = z * math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    scale = 1 + z**2 / samples
    return (centre - width) / scale, (centre + width) / scale


def bootstrap(
    statistics: Sequence[Statistic], rows: int, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return the values of T statistics on resamples of N `rows`, (resamples, T).

    A resample draws N rows with replacement. All statistics see the same resamples, and so do all
    models with the same number of rows: differences are paired (Efron 1979).

    Raises
    ------
    InputError
        If there are fewer than two resamples or the seed is negative.
    """
    if resamples < 2:
        raise InputError(f"resamples is {resamples}; expected at least 2")
    values = np.empty((resamples, len(statistics)))
    for place, counts in enumerate(resampled(rows, resamples, seed)):
        values[place] = [statistic(counts) for statistic in statistics]
    return values


def resampled(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Yield the counts (N,) of the N `rows` in each resample: see bootstrap."""
    for place in range(resamples):
        drawn = random_stream(seed, Stream.BOOTSTRAP, place).integers(rows, size=rows)
        yield np.bincount(drawn, minlength=rows)


def percentiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends (…) of the 95 % percentile interval of resamples (R, …).

    NaN stands for a resample without a value: it is left out.
    """
    none = np.isnan(values).all(axis=0)
    shares = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.nanquantile(np.where(none, 0.0, values), shares, axis=0)  # it warns of all NaN
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def student_tail(t: ArrayLike, freedom: int) -> NDArray[np.float64]:
    """Return P(|T| ≥ |t|) of Student's t with `freedom` degrees of freedom, in the shape of t."""
    from scipy.special import stdtr  # scipy.stats would take a second to import

    # The lower tail: 1 minus the upper one would lose the digits of a small probability.
    return np.asarray(2 * stdtr(freedom, -np.abs(t)))


def student_quantile(freedom: int) -> float:
    """Return the t that |T| stays below with the probability CONFIDENCE."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


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
