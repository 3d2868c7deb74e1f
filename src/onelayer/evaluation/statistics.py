"""How far a measured accuracy can be trusted."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
