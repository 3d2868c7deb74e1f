"""What is done to the features when they are used: stored values to the x of equation (1)."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Dataset, Features, Split
from onelayer.errors import unknown_name

Method = Literal["unit", "standardise", "none"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class Scaling:
    """x = (stored − shift) · factor, feature by feature; shift and factor (D,) float64."""

    method: str
    shift: NDArray[np.float64]
    factor: NDArray[np.float64]

    def apply(self, X: Features, dtype: Any = np.float64) -> NDArray[Any]:
        """Return the scaled features (N, D) of stored features X (N, D)."""
        scaled: NDArray[Any] = np.array(X, dtype)
        scaled -= self.shift.astype(dtype)
        scaled *= self.factor.astype(dtype)
        return scaled


def fit_scaling(method: str, data: Dataset, weights: NDArray[np.generic] | None = None) -> Scaling:
    """Return the scaling that `method` means for `data`, estimated on the training split alone.

    With `weights` (N,) a sample counts as often as it weighs.

    "unit" divides by the full scale, "standardise" subtracts each feature's mean and divides by
    its standard deviation (by 1 where a feature is constant), "none" changes nothing.
    """
    D = data.n_features
    if method == "none":
        return Scaling(method, np.zeros(D), np.ones(D))
    if method == "unit":
        return Scaling(method, np.zeros(D), np.full(D, 1.0 / data.full_scale))
    if method == "standardise":
        mean, deviation, varies = _moments(data.train, weights)
        return Scaling(method, mean, 1.0 / np.where(varies, deviation, 1.0))
    raise unknown_name("scaling", method, METHODS)


def _moments(
    split: Split, weights: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return mean, standard deviation (divisor Σ w) and whether it is one, of each column of X.

    In two passes. The mean of equal numbers is off by a rounding error, which must not become the
    scale: a column varies if it holds two numbers.
    """
    D = split.X.shape[1]
    w = np.ones(len(split)) if weights is None else weights.astype(np.float64)
    first = split.X[np.flatnonzero(w)[:1]]
    total, varies = np.zeros(D), np.zeros(D, dtype=bool)
    for rows in split.blocks(BLOCK):
        X: NDArray[Any] = split.X[rows]
        total += w[rows] @ X
        varies |= ((first != X) & (w[rows] > 0)[:, None]).any(axis=0)
    mean, squares = total / w.sum(), np.zeros(D)
    for rows in split.blocks(BLOCK):
        squares += w[rows] @ np.square(np.subtract(split.X[rows], mean))
    deviation = np.sqrt(squares / w.sum())
    return mean, deviation, varies & (deviation > 0)
