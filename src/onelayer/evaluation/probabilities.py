"""Checks of probabilities and labels that come from outside."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError

SUM_TOLERANCE = 1e-4  # of float32 rows with many classes


def check_probabilities(probabilities: ArrayLike, axes: int = 2) -> NDArray[np.float64]:
    """Return probabilities (…, K) with this number of axes as float64.

    Raises
    ------
    InputError
        If the shape is wrong or empty, a value is not in [0, 1], or a row does not sum to 1.
    """
    P = np.asarray(probabilities, dtype=np.float64)
    if P.ndim != axes or P.size == 0:
        expected = "(rows, classes)" if axes == 2 else "(voters, rows, classes)"
        raise InputError(f"probabilities of the shape {P.shape}, expected {expected}")
    if not ((P >= 0) & (P <= 1)).all():
        raise InputError("probabilities hold a value that is not from 0 to 1")
    sums = P.sum(axis=-1)
    worst = sums.flat[np.abs(sums - 1).argmax()]
    if abs(worst - 1) > SUM_TOLERANCE:
        raise InputError(f"probabilities with a row that sums to {worst:g}, expected 1")
    return P


def check_labels(name: str, labels: ArrayLike, shape: tuple[int, ...], K: int) -> NDArray[np.intp]:
    """Return class indices of this shape as intp.

    Raises
    ------
    InputError
        If the shape is wrong, or a label is not an integer from 0 to K − 1; calls them `name`.
    """
    y: NDArray[Any] = np.asarray(labels)
    if y.shape != shape or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"{name} is {y.dtype} of the shape {y.shape}, expected integers {shape}")
    if y.min() < 0 or y.max() >= K:
        raise InputError(f"{name} from {y.min()} to {y.max()}, expected classes 0 to {K - 1}")
    return y.astype(np.intp)


def check_labelled(
    probabilities: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return probabilities (N, K) and their labels y (N,), both checked.

    Raises
    ------
    InputError
        If either is not valid, or their shapes do not match.
    """
    P = check_probabilities(probabilities)
    return P, check_labels("y", y, P.shape[:1], P.shape[1])
