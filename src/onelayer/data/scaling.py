"""Scaling of the features: from stored values to the x of equation (1)."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Dataset, Features, Split
from onelayer.errors import unknown_name
from onelayer.records import FINITE

Method = Literal["unit", "standardise", "none"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class Scaling:
    """x = (stored − shift) · factor, feature by feature; shift and factor (D,) float64."""

    method: str
    shift: Annotated[NDArray[np.float64], "(D,)", FINITE]
    factor: Annotated[NDArray[np.float64], "(D,)", FINITE]

    def apply(self, X: Features, dtype: Any = np.float64) -> NDArray[Any]:
        """Return the scaled features (N, D) of stored features X (N, D)."""
        scaled: NDArray[Any] = np.array(X, dtype)
        scaled -= self.shift.astype(dtype)
        scaled *= self.factor.astype(dtype)
        return scaled


def fit_scaling(method: str, data: Dataset, weights: NDArray[Any] | None = None) -> Scaling:
    """Return the scaling that `method` means for `data`, estimated on the training split alone.

    With `weights` (N,) a sample counts as often as it weighs.

    "unit" divides by the full scale, "standardise" subtracts each feature's mean and divides by
    its standard deviation (by 1 where a feature is constant), "none" changes nothing.
    """
    ones = np.ones(len(data.train)) if weights is None else weights
    return fit_scalings(method, data, ones[None])[0]


def fit_scalings(method: str, data: Dataset, weights: NDArray[Any]) -> list[Scaling]:
    """Return the scaling of each of R resamples with weights (R, N), from one pass over the data.

    See fit_scaling.
    """
    D, R = data.n_features, len(weights)
    if method == "none":
        return [Scaling(method, np.zeros(D), np.ones(D))] * R
    if method == "unit":
        return [Scaling(method, np.zeros(D), np.full(D, 1.0 / data.full_scale))] * R
    if method == "standardise":
        means, deviations = _moments(data.train, weights.astype(np.float64))
        return [Scaling(method, *moments) for moments in zip(means, 1 / deviations, strict=True)]
    raise unknown_name("scaling", method, METHODS)


def _moments(
    split: Split, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (divisor Σ w) of each column of X, (R, D) each.

    The deviation of a column that holds a single number is 1. Sums are of what a column differs by
    from one of its numbers, so that little is lost when the mean's square is subtracted.
    """
    shape = len(weights), split.X.shape[1]
    firsts = split.X[weights.argmax(axis=1)]
    origin = firsts[0].astype(np.float64)
    totals, squares, varies = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
    for rows in split.blocks(BLOCK):
        X, w = split.X[rows], weights[:, rows]
        for r, first in enumerate(firsts):
            varies[r] |= (X[w[r] > 0] != first).any(axis=0)
        Z = X - origin
        totals += w @ Z
        np.square(Z, out=Z)
        squares += w @ Z
    shares = 1 / weights.sum(axis=1, keepdims=True)
    offsets = totals * shares
    variances = np.maximum(squares * shares - offsets**2, 0)
    return origin + offsets, np.where(varies & (variances > 0), np.sqrt(variances), 1.0)
