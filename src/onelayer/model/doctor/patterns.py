"""Patterns of a wrong gradient for which no known formula was found."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.matching import SINGLE, relative_distance
from onelayer.model.doctor.slips import CODES, Finding

Array = NDArray[Any]

RATIO = CODES["P01"]
PENALTY_LIKE = CODES["P02"]
ONE_LINE = CODES["P03"]
RANK_1 = CODES["P04"]
MISPLACED = CODES["P05"]
NOISE = CODES["P06"]
ONLY_BIAS = CODES["P07"]
ONLY_WEIGHTS = CODES["P08"]
UNKNOWN = CODES["P09"]


def patterns(found: Array, right: Array, W: Array, where: str) -> Iterator[Finding]:
    """Yield the patterns in the error of a part of the gradient; usually there are none."""
    difference = found - right
    size = np.abs(right).max()
    ratio = float((found * right).sum() / (right * right).sum())
    if relative_distance(found, ratio * right) <= SINGLE:
        yield Finding(RATIO, where, f"{ratio:.6g} times the gradient")
    elif np.abs(difference).max() <= 1e-5 * size:
        yield Finding(NOISE, where, f"differences up to {np.abs(difference).max() / size:.1e}")
    elif found.ndim == 2:
        yield from _of_matrix(found, right, W, where)
    elif np.allclose(np.sort(found), np.sort(right), rtol=0, atol=SINGLE * size):
        yield Finding(MISPLACED, where)


def _of_matrix(found: Array, right: Array, W: Array, where: str) -> Iterator[Finding]:
    difference, size = found - right, np.abs(right).max()
    factor = float((difference * W).sum() / (W * W).sum())
    wrong = np.abs(difference) > 1e-6 * size
    values = np.linalg.svd(difference, compute_uv=False)
    if relative_distance(difference, factor * W) <= SINGLE:
        yield Finding(PENALTY_LIKE, where, f"{factor:+.6g} W too much")
    elif wrong.any(axis=1).sum() == 1:
        yield Finding(ONE_LINE, where, f"row {int(wrong.any(axis=1).argmax())} alone is wrong")
    elif wrong.any(axis=0).sum() == 1:
        yield Finding(ONE_LINE, where, f"column {int(wrong.any(axis=0).argmax())} alone is wrong")
    elif np.allclose(np.sort(found, None), np.sort(right, None), rtol=0, atol=SINGLE * size):
        yield Finding(MISPLACED, where)
    elif values[1] <= 1e-6 * values[0]:
        yield Finding(RANK_1, where)
