"""Principal axes: coordinates of the features in which their Gram matrix is nearly diagonal."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.thread_pools import limited

LARGEST = 1536  # axes that are all found; the search for more takes longer than they save
SKETCHED = 64  # axes that are found where there are more; 32 and 128 took longer in all
ROUNDED = 1 + 1e-3  # above what rounding takes from an eigenvalue
UNLIKELY = 1e-13  # the probability that a bound from random numbers does not hold
ROWS = 1024  # read at once, of up to so many features; of more, fewer

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Basis(Protocol):
    """R orthonormal vectors, the columns of Q (D, R)."""

    @property
    def count(self) -> int:
        """R."""
        ...

    def along(self, X: Array) -> Array:
        """Return X Q (…, R): coordinates along the vectors, in the precision of X."""
        ...

    def back(self, Z: Array) -> Array:
        """Return Z Qᵀ (…, D)."""
        ...


@dataclass(frozen=True)
class Vectors:
    """A basis whose vectors are stored."""

    Q: Floats

    @property
    def count(self) -> int:
        """See Basis.count."""
        return len(self.Q.T)

    def along(self, X: Array) -> Array:
        """See Basis.along."""
        turned: Array = X @ self.Q.astype(X.dtype)
        return turned

    def back(self, Z: Array) -> Array:
        """See Basis.back."""
        turned: Array = Z @ self.Q.T.astype(Z.dtype)
        return turned


@dataclass(frozen=True)
class Reflections:
    """A basis of all D dimensions that begins with given vectors, each up to its sign.

    Q = I − V T Vᵀ is the product of as many Householder reflections, in the compact form of
    Schreiber and Van Loan 1989 (doi:10.1137/0910005); V (D, R) and T (R, R).
    """

    V: Floats
    T: Floats

    @classmethod
    def completing(cls, vectors: Floats) -> "Reflections":
        """Return a basis that begins with orthonormal vectors (D, R)."""
        from scipy.linalg.lapack import dgeqrt  # SciPy loads slowly

        factored, T, _ = dgeqrt(vectors.shape[1], vectors)
        V = np.tril(factored, -1)
        np.fill_diagonal(V, 1)
        return cls(V, T)

    @property
    def count(self) -> int:
        """See Basis.count: all D."""
        return len(self.V)

    def along(self, X: Array) -> Array:
        """See Basis.along."""
        return self._reflect(X, self.T)

    def back(self, Z: Array) -> Array:
        """See Basis.back."""
        return self._reflect(Z, self.T.T)

    def _reflect(self, X: Array, T: Floats) -> Array:
        V = self.V.astype(X.dtype)
        reflected: Array = X - X @ V @ T.astype(X.dtype) @ V.T
        return reflected


@dataclass(frozen=True)
class Axes:
    """The mean (D,) of scaled features, and R axes: z = (x − mean) Q. Without a basis, Q = I.

    No eigenvalue of the Gram matrix Σ w z zᵀ, of the rows that they come from, is above `largest`.
    `spread` (R,) is the diagonal of that matrix, None where it takes a look at the rows.
    """

    mean: Floats
    basis: Basis | None
    largest: float
    spread: Floats | None = None

    def turn(self, X: Array) -> NDArray[np.float32]:
        """Return [z, 1] (n, R + 1) of scaled features X (n, D), in float32."""
        turned = np.ones((len(X), self.count + 1), np.float32)
        turned[:, :-1] = self._along((X - self.mean).astype(np.float32))
        return turned

    @property
    def count(self) -> int:
        """The number of axes, R."""
        return len(self.mean) if self.basis is None else self.basis.count

    @property
    def centred(self) -> "Axes":
        """The axes of the centred features, z = x − mean, which need no product."""
        return Axes(self.mean, None, self.largest)

    def to_centred(self, U: Floats) -> Floats:
        """Return [W, b] (…, D + 1) for centred features from parameters U (…, R + 1) for [z, 1]."""
        W = U[..., :-1] if self.basis is None else self.basis.back(U[..., :-1])
        return np.concatenate([W, U[..., -1:]], axis=-1)

    def to_features(self, U: Floats) -> Floats:
        """Return [W, b] (…, D + 1) for scaled features from parameters U (…, R + 1) for [z, 1]."""
        V = self.to_centred(U)
        V[..., -1] -= V[..., :-1] @ self.mean
        return V

    def gradient(self, G: Floats) -> Floats:
        """Return the derivative of a function by U from its derivative G by [W, b]."""
        along = G[..., :-1] - G[..., -1:] * self.mean
        return self.gradient_of_centred(np.concatenate([along, G[..., -1:]], axis=-1))

    def gradient_of_centred(self, G: Floats) -> Floats:
        """Return the derivative by U from the derivative G by [W, b] for centred features."""
        return np.concatenate([self._along(G[..., :-1]), G[..., -1:]], axis=-1)

    def _along(self, X: Array) -> Array:
        return X if self.basis is None else self.basis.along(X)


def principal_axes(
    split: Split, rows: NDArray[np.intp], scaling: Scaling, shares: Floats | None = None
) -> Axes:
    """Return the principal axes of rows (N,) of a split, weighted by their shares (N,), or alike.

    N rows, fewer than features, span only N axes, and the W of least cost lies in their span. Of
    more than LARGEST axes the first SKETCHED are sought, and others complete them to a basis.
    """
    if shares is None:
        shares = np.full(len(rows), 1 / len(rows))
    with limited(1):  # on busy cores, threads of BLAS wait for each other
        return _find_axes(_Rows(split, rows, shares, scaling))


def blocks_of(rows: int, width: int) -> list[slice]:
    """Return slices of all rows of `width` numbers, each with as many as are read at once."""
    together = ROWS * ROWS // max(width, ROWS)
    return [slice(first, min(first + together, rows)) for first in range(0, rows, together)]


@dataclass(frozen=True)
class _Rows:
    """Weighted rows of a split, read some at a time."""

    split: Split
    rows: NDArray[np.intp]
    shares: Floats
    scaling: Scaling

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield scaled features (n, D) in float64, and shares (n,)."""
        for some in blocks_of(len(self.rows), self.split.X.shape[1]):
            yield self.scaling.apply(self.split.X[self.rows[some]]), self.shares[some]

    def weighed(self, mean: Floats, unit: float) -> Iterator[NDArray[np.float32]]:
        """Yield √share (x − mean) / unit (n, D): the Gram matrix is the sum of their products."""
        for X, own in self.blocks():
            X -= mean
            X *= np.sqrt(own)[:, None] / unit
            yield X.astype(np.float32)

    def gram_times(self, vectors: Floats, mean: Floats, unit: float) -> Floats:
        """Return the Gram matrix times some vectors (D, R)."""
        product, narrow = np.zeros_like(vectors), vectors.astype(np.float32)
        for Z in self.weighed(mean, unit):
            product += Z.T @ (Z @ narrow)
        return product


def _find_axes(rows: _Rows) -> Axes:
    N, D = len(rows.rows), rows.split.X.shape[1]
    mean, largest = np.zeros(D), 0.0
    for X, own in rows.blocks():
        mean += own @ X
        largest = max(largest, np.abs(X).max())
    unit = largest or 1.0  # its square may be too large for float32
    if min(N, D) > LARGEST:
        vectors, bound = _sketch(rows, mean, unit)
        return Axes(mean, Reflections.completing(vectors), bound * unit**2)
    if N < D:
        X = np.concatenate([X - mean for X, _ in rows.blocks()])
        _, lengths, Vt = np.linalg.svd(X * np.sqrt(rows.shares)[:, None], full_matrices=False)
        used = lengths > np.finfo(np.float64).eps * D * lengths.max(initial=0)
        Q, spread = np.ascontiguousarray(Vt[used].T), lengths[used] ** 2
        return Axes(mean, Vectors(Q), ROUNDED * lengths[0] ** 2, spread)
    gram = np.zeros((D, D))
    for Z in rows.weighed(mean, unit):
        gram += Z.T @ Z
    spread, Q = np.linalg.eigh(gram)
    spread = np.maximum(spread, 0) * unit**2
    return Axes(mean, Vectors(Q), ROUNDED * spread[-1], spread)


def _sketch(rows: _Rows, mean: Floats, unit: float) -> tuple[Floats, float]:
    """Return vectors (D, SKETCHED) near the first principal axes, and a bound on the eigenvalues.

    Subspace iteration from normal numbers Ω, Halko, Martinsson and Tropp 2011
    (doi:10.1137/090771806), algorithm 4.4. For the largest eigenvalue λ of the Gram matrix G,
    ‖GΩ‖² is at least λ² times the sum of SKETCHED squares of normal numbers, whose distribution
    gives the bound.
    """
    from scipy.special import gammaincinv

    start = np.random.default_rng(0).standard_normal((len(mean), SKETCHED))
    product = rows.gram_times(start, mean, unit)
    least = 2 * gammaincinv(SKETCHED / 2, UNLIKELY)
    bound = ROUNDED * np.linalg.norm(product) / math.sqrt(least)
    first = np.linalg.qr(product)[0]
    product = rows.gram_times(first, mean, unit)
    _, turn = np.linalg.eigh(first.T @ product)
    vectors: Floats = np.linalg.qr(product @ turn[:, ::-1])[0]
    return vectors, float(bound)
