"""Principal axes: coordinates of the features in which their Gram matrix is diagonal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.thread_pools import limited

LARGEST = 1536  # axes; the search for more takes longer than they save
ROWS = 1024  # read at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axes:
    """The mean (D,) of scaled features, R orthonormal axes (D, R), the spread (R,) along each.

    z = Qᵀ (x − mean). If there are too many features, Q is None, and z = x − mean.
    """

    mean: Floats
    spread: Floats
    Q: Floats | None

    def turn(self, X: NDArray[Any]) -> NDArray[np.float32]:
        """Return [z, 1] (n, R + 1) of scaled features X (n, D), in float32."""
        Z = (X - self.mean).astype(np.float32)
        turned = np.ones((len(X), len(self.spread) + 1), np.float32)
        turned[:, :-1] = Z if self.Q is None else Z @ self.Q.astype(np.float32)
        return turned

    @property
    def centred(self) -> "Axes":
        """The axes of the centred features, z = x − mean, which need no product."""
        return Axes(self.mean, np.zeros(len(self.mean)), None)

    def to_centred(self, U: Floats) -> Floats:
        """Return [W, b] (…, D + 1) for centred features from parameters U (…, R + 1) for [z, 1]."""
        W = U[..., :-1] if self.Q is None else U[..., :-1] @ self.Q.T
        return np.concatenate([W, U[..., -1:]], axis=-1)

    def to_features(self, U: Floats) -> Floats:
        """Return [W, b] (…, D + 1) for scaled features from parameters U (…, R + 1) for [z, 1]."""
        V = self.to_centred(U)
        V[..., -1] -= V[..., :-1] @ self.mean
        return V

    def from_features(self, V: Floats) -> Floats:
        """Return U from [W, b]: the inverse of to_features."""
        W = V[..., :-1] if self.Q is None else V[..., :-1] @ self.Q
        b = V[..., -1:] + (V[..., :-1] @ self.mean)[..., None]
        return np.concatenate([W, b], axis=-1)

    def gradient(self, G: Floats) -> Floats:
        """Return the derivative of a function by U from its derivative G by [W, b]."""
        along = G[..., :-1] - G[..., -1:] * self.mean
        return self.gradient_of_centred(np.concatenate([along, G[..., -1:]], axis=-1))

    def gradient_of_centred(self, G: Floats) -> Floats:
        """Return the derivative by U from the derivative G by [W, b] for centred features."""
        along = G[..., :-1] if self.Q is None else G[..., :-1] @ self.Q
        return np.concatenate([along, G[..., -1:]], axis=-1)


def principal_axes(split: Split, rows: NDArray[np.intp], shares: Floats, scaling: Scaling) -> Axes:
    """Return the principal axes of these rows of a split, weighted by their shares.

    N rows, fewer than features, span only N axes, and the W of least cost lies in their span.
    """
    with limited(1):  # on busy cores, threads of BLAS wait for each other
        return _find_axes(split, rows, shares, scaling)


def _find_axes(split: Split, rows: NDArray[np.intp], shares: Floats, scaling: Scaling) -> Axes:
    D, N = split.X.shape[1], len(rows)
    mean, largest = np.zeros(D), 0.0
    for X, own in _blocks(split, rows, shares, scaling):
        mean += own @ X
        largest = max(largest, np.abs(X).max())
    if min(N, D) > LARGEST:
        variances = np.zeros(D)
        for X, own in _blocks(split, rows, shares, scaling):
            X -= mean
            variances += own @ np.square(X, out=X)
        return Axes(mean, variances, None)
    if N < D:
        X = scaling.apply(split.X[rows]) - mean
        _, lengths, Vt = np.linalg.svd(X * np.sqrt(shares)[:, None], full_matrices=False)
        used = lengths > np.finfo(np.float64).eps * D * lengths.max(initial=0)
        return Axes(mean, lengths[used] ** 2, np.ascontiguousarray(Vt[used].T))
    gram, unit = np.zeros((D, D)), largest or 1.0  # whose square may be too large for float32
    for X, own in _blocks(split, rows, shares, scaling):
        X -= mean
        X *= np.sqrt(own)[:, None] / unit
        Z = X.astype(np.float32)
        gram += Z.T @ Z
    spread, Q = np.linalg.eigh(gram)
    return Axes(mean, np.maximum(spread, 0) * unit**2, Q)


def _blocks(
    split: Split, rows: NDArray[np.intp], shares: Floats, scaling: Scaling
) -> Iterator[tuple[Floats, Floats]]:
    """Yield scaled features in float64 and shares of some rows at a time."""
    for first in range(0, len(rows), ROWS):
        some = slice(first, first + ROWS)
        yield scaling.apply(split.X[rows[some]]), shares[some]
