"""The losses of one sample as functions of its scores: values and dl/ds.

S is (N, K) scores, y (N,) class indices. Real numbers of any precision come in, and complex ones
for the complex step: where a loss has branches, the real part chooses.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import unknown_name

Array = NDArray[Any]
Labels = NDArray[np.intp]


class Loss(Protocol):
    """What the network asks of a loss; its equations are in docs/maths.md."""

    def values(self, S: Array, y: Labels) -> Array:
        """Return l of every row, (N,)."""
        ...

    def derivatives(self, S: Array, y: Labels) -> Array:
        """Return ∂l/∂s of every row, (N, K)."""
        ...

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """Return l (N, C) with the scores of class k replaced by each column of s_k (N, C)."""
        ...


class CrossEntropy:
    """l = −log p_y with p = softmax(s): equations (2), (3) and (6)."""

    def values(self, S: Array, y: Labels) -> Array:
        """Return log Σ exp(s) − s_y, never the logarithm of what may have underflowed."""
        Z = shifted(S)
        values: Array = np.log(np.exp(Z).sum(axis=1)) - _of_label(Z, y)
        return values

    def derivatives(self, S: Array, y: Labels) -> Array:
        """Return p − e_y."""
        E = np.exp(shifted(S))
        G: Array = E / E.sum(axis=1, keepdims=True)
        G[np.arange(len(y)), y] -= 1
        return G

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """See Loss.values_with; the change is expected to be small."""
        # Shifting by the maximum before the change keeps every exponent near or below 0.
        largest = S.real.max(axis=1, keepdims=True)
        Z, z_k = S - largest, s_k - largest
        others = np.exp(np.delete(Z, k, axis=1)).sum(axis=1, keepdims=True)
        z_y = np.where((y == k)[:, None], z_k, _of_label(Z, y)[:, None])
        values: Array = np.log(others + np.exp(z_k)) - z_y
        return values


class Hinge:
    """l = Σ over j ≠ y of max(0, s_j − s_y + 1): the multi-class support vector machine's loss.

    At a kink, s_j − s_y + 1 = 0, the derivative is the one from below: 0.
    """

    def values(self, S: Array, y: Labels) -> Array:
        """Return the sum of the margins that are violated."""
        values: Array = _positive_part(self._margins(S, y)).sum(axis=1)
        return values

    def derivatives(self, S: Array, y: Labels) -> Array:
        """Return 1 for every violated margin, and at y minus their number."""
        G = (self._margins(S, y).real > 0).astype(S.dtype)
        G[np.arange(len(y)), y] = -G.sum(axis=1)
        return G

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """See Loss.values_with."""
        margins, of_label = self._margins(S, y), _of_label(S, y)
        others = _positive_part(np.delete(margins, k, axis=1)).sum(axis=1, keepdims=True)
        values: Array = others + _positive_part(s_k - of_label[:, None] + 1)
        mine = y == k  # rows whose own class moves: every margin changes
        moved = np.delete(S[mine], k, axis=1)[:, None] - s_k[mine][:, :, None] + 1
        values[mine] = _positive_part(moved).sum(axis=2)
        return values

    @staticmethod
    def _margins(S: Array, y: Labels) -> Array:
        """Return s_j − s_y + 1, and 0 at y."""
        margins: Array = S - _of_label(S, y)[:, None] + 1
        margins[np.arange(len(y)), y] = 0
        return margins


class BinaryCrossEntropy:
    """l = −(1/K) Σ_k [(1 − y_k) log(1 − p_k) + y_k log p_k], p = sigmoid(s), y_k one-hot."""

    def values(self, S: Array, y: Labels) -> Array:
        """Return (Σ log(1 + exp(s)) − s_y) / K, which is the same and cannot overflow."""
        values: Array = (_softplus(S).sum(axis=1) - _of_label(S, y)) / S.shape[1]
        return values

    def derivatives(self, S: Array, y: Labels) -> Array:
        """Return (p − e_y) / K."""
        G: Array = np.exp(-_softplus(-S))
        G[np.arange(len(y)), y] -= 1
        G /= S.shape[1]
        return G

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """See Loss.values_with."""
        others = _softplus(np.delete(S, k, axis=1)).sum(axis=1, keepdims=True)
        s_y = np.where((y == k)[:, None], s_k, _of_label(S, y)[:, None])
        values: Array = (others + _softplus(s_k) - s_y) / S.shape[1]
        return values


LOSSES: dict[str, Loss] = {
    "cross-entropy": CrossEntropy(),
    "hinge": Hinge(),
    "binary-cross-entropy": BinaryCrossEntropy(),
}


def find_loss(name: str) -> Loss:
    """Return the loss of that name.

    Raises
    ------
    InputError
        If there is none; names the nearest.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def shifted(S: Array) -> Array:
    """Subtract each row's largest (real) score: no exponential of it can overflow."""
    Z: Array = S - S.real.max(axis=1, keepdims=True)
    return Z


def _of_label(S: Array, y: Labels) -> Array:
    scores: Array = S[np.arange(len(y)), y]
    return scores


def _positive_part(values: Array) -> Array:
    return np.where(values.real > 0, values, 0)


def _softplus(S: Array) -> Array:
    """Return log(1 + exp(s)); the exponent that is taken is never positive."""
    positive = S.real > 0
    values: Array = np.where(positive, S, 0) + np.log1p(np.exp(np.where(positive, -S, S)))
    return values
