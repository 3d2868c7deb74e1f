"""What is done to the features when they are used: stored values to the x of equation (1)."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.errors import unknown_name

Method = Literal["unit", "standardise", "none"]
METHODS: tuple[str, ...] = get_args(Method)
_BLOCK = 1000  # rows converted at a time: memory stays small whatever N is


@dataclass(frozen=True)
class Scaling:
    """x = (stored − shift) · factor, feature by feature; shift and factor (D,) float64."""

    method: str
    shift: NDArray[np.float64]
    factor: NDArray[np.float64]

    def apply(self, X: NDArray[np.generic], dtype: Any = np.float64) -> NDArray[Any]:
        """Return the scaled features (N, D) of stored features X (N, D)."""
        scaled: NDArray[Any] = X.astype(dtype)
        scaled -= self.shift.astype(dtype)
        scaled *= self.factor.astype(dtype)
        return scaled


def fit_scaling(method: str, data: Dataset) -> Scaling:
    """Return the scaling that `method` means for `data`, estimated on the training split alone.

    "unit" divides by the full scale, "standardise" subtracts each feature's mean and divides by
    its standard deviation (by 1 where a feature is constant), "none" changes nothing.
    """
    D = data.n_features
    if method == "none":
        return Scaling(method, np.zeros(D), np.ones(D))
    if method == "unit":
        return Scaling(method, np.zeros(D), np.full(D, 1.0 / data.full_scale))
    if method == "standardise":
        X = data.train.X
        mean, deviation = _moments(X)
        # The mean of equal numbers is off by a rounding error, which must not become the scale.
        varies = (X.max(axis=0) > X.min(axis=0)) & (deviation > 0)
        return Scaling(method, mean, 1.0 / np.where(varies, deviation, 1.0))
    raise unknown_name("scaling", method, METHODS)


def _moments(X: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (divisor N) of each column, in two passes over X."""
    blocks = [X[start : start + _BLOCK] for start in range(0, len(X), _BLOCK)]
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(X)
    variance = sum(np.square(block - mean).sum(axis=0) for block in blocks) / len(X)
    return np.asarray(mean), np.sqrt(variance)
