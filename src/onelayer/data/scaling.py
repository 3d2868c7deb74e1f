"""Scaling of the features: from stored values to the x of equation (1)."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Dataset, Features, Split
from onelayer.errors import InputError, unknown_name
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
        """Return the scaled features (N, D) of stored features X (N, D).

        They are computed in `precision`, and only then rounded to `dtype`, so that a large mean
        costs no digits. Overflow gives infinity.
        """
        scaled: NDArray[Any] = np.array(X, self.precision(X.dtype, np.dtype(dtype)))
        with np.errstate(over="ignore", invalid="ignore"):
            self.scale(scaled)
            return scaled.astype(dtype, copy=False)

    def scale(self, X: NDArray[Any]) -> None:
        """Scale the floats X (N, D) in place."""
        if not self._only_multiplies:
            X -= self.shift.astype(X.dtype)
        X *= self._row_of_factors.astype(X.dtype)

    def precision(self, stored: np.dtype[Any], dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type in which features of the type `stored` are scaled to become `dtype`.

        It is `dtype` if nothing is subtracted, and for 8-bit features, which float32 holds with 16
        bits to spare; else float64.
        """
        narrow = stored == np.uint8 or (self._only_multiplies and self.fits(dtype))
        return dtype if narrow else np.dtype(np.float64)

    def fits(self, dtype: Any) -> bool:
        """Return whether `dtype` holds stored features to 10⁻⁵ of their standard deviations."""
        numbers, used = np.finfo(dtype), self.factor != 0
        shift, factor = np.abs(self.shift[used]), np.abs(self.factor[used])
        most = math.sqrt(1 / numbers.tiny)  # far from overflow
        rounding = numbers.eps / 2 * (shift * factor + 1)
        return bool(((rounding < 1e-5) & (factor > 1 / most) & (factor < most)).all())

    @cached_property
    def _only_multiplies(self) -> bool:
        return not self.shift.any()

    @cached_property
    def _row_of_factors(self) -> NDArray[np.float64]:
        """The factors (D,), or (1,) if all are equal: NumPy multiplies faster by one number."""
        return self.factor if np.ptp(self.factor) else self.factor[:1]


def fit_scaling(method: str, data: Dataset, weights: NDArray[Any] | None = None) -> Scaling:
    """Return the scaling of `data` by `method`, estimated on the training split alone.

    `weights` (N,) are sample weights.

    "unit" divides by the full scale, "standardise" subtracts each feature's mean and divides by
    its standard deviation, "none" changes nothing. A feature whose deviation is not above the
    rounding of its mean is constant: it is standardised to 0, even if later samples differ.

    Raises
    ------
    InputError
        If the method is unknown, or numbers are too large to be standardised.
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
        _check_finite(data, means + deviations)
        rounding = np.maximum(np.finfo(np.float64).eps * np.abs(means), np.finfo(np.float64).tiny)
        factors = np.divide(1, deviations, out=np.zeros((R, D)), where=deviations > rounding)
        return [Scaling(method, *moments) for moments in zip(means, factors, strict=True)]
    raise unknown_name("scaling", method, METHODS)


def _check_finite(data: Dataset, moments: NDArray[np.float64]) -> None:
    overflowing = np.flatnonzero(~np.isfinite(moments).all(axis=0))
    if overflowing.size:
        d = int(overflowing[0])
        name = f"{d} (the first is 0)" if data.columns is None else repr(data.columns.features[d])
        raise InputError(
            f"{data.name}: numbers of feature {name} are too large or too far apart to be "
            "standardised, expected at most 1e307"
        )


def _moments(
    split: Split, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (divisor Σ w) of each column of X, (R, D) each.

    A column is shifted by one of its values; its blocks are centred on their own means and then
    merged (Chan, Golub and LeVeque 1983), so that a large mean costs no digits. Deviations are
    merged by np.hypot, so that no square overflows.
    """
    shape = len(weights), split.X.shape[1]
    origins = split.X[weights.argmax(axis=1)].astype(np.float64)
    means, deviations, totals = np.zeros(shape), np.zeros(shape), np.zeros(len(weights))
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in split.blocks(BLOCK):
            X, of_block = split.X[rows], weights[:, rows]
            for r in np.flatnonzero(of_block.any(axis=1)):
                used = of_block[r] > 0
                near = np.subtract(X[used], origins[r], dtype=np.float64, order="C")
                mean, deviation = _moments_of(near, of_block[r, used])
                totals[r] += of_block[r].sum()
                share = of_block[r].sum() / totals[r]
                apart = mean - means[r]
                means[r] += share * apart
                inner = np.hypot(math.sqrt(1 - share) * deviations[r], math.sqrt(share) * deviation)
                deviations[r] = np.hypot(inner, math.sqrt(share * (1 - share)) * apart)
        return origins + means, deviations


def _moments_of(
    X: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column of X, (D,) each; X is overwritten."""
    shares = weights / weights.sum()
    mean = np.einsum("n,nd->d", shares, X)
    X -= mean
    rest = np.einsum("n,nd->d", shares, X)  # the rounding error of the mean
    largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    unit = np.where(largest > 0, largest, 1)
    X /= unit
    variance = np.einsum("n,nd,nd->d", shares, X, X) - (rest / unit) ** 2
    return mean + rest, unit * np.sqrt(np.maximum(variance, 0))
