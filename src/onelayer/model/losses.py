"""The losses: one object each, with all that training, prediction, checks and reports need.

S is (N, K) scores, y (N,) class indices. Scores are real numbers of any precision, or complex for
the complex step: if a loss has branches, the real part chooses. To add a loss, subclass `Loss` and
call `register`: see docs/extending.md.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.model.links import SIGMOIDS, SOFTMAX, Link, shifted

Array = NDArray[Any]
Labels = NDArray[np.intp]
Rows = tuple[tuple[str, str, str], ...]  # of equations: number, equation, remark
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Loss(ABC):
    """One loss l(s, y) of a sample.

    Attributes
    ----------
    name
        The name in options, specs and files: letters a to z, digits and hyphens.
    title
        The name in a sentence.
    equations, slope_equations
        Rows (number, equation, remark) of l and of g = ∂l/∂s for the report.
    link
        How scores become probabilities; None if they do not.
    log_loss
        Whether l = −log p_y, with p of the link.
    relative
        Whether adding the same number to all scores of a row does not change l.
    averaged
        Whether l is a mean over the K classes; if not, one more class with p = 0 does not change l.
    smooth
        Whether the exact solver can minimise it: it is convex, and its second derivative is at most
        ½ and changes as slowly as those of softmax and sigmoid (docs/exact.md).
    """

    name: str
    title: str
    equations: Rows = ()
    slope_equations: Rows = ()
    link: Link | None = None
    log_loss: bool = False
    relative: bool = False
    averaged: bool = False
    smooth: bool = False

    @abstractmethod
    def values(self, S: Array, y: Labels) -> Array:
        """Return l of every row, (N,)."""

    @abstractmethod
    def slopes(self, S: Array, y: Labels) -> Array:
        """Return ∂l/∂s of every row, (N, K)."""

    def values_and_slopes(self, S: Array, y: Labels) -> tuple[Array, Array]:
        """Return both; a loss in which they share work can override this to be faster."""
        return self.values(S, y), self.slopes(S, y)

    def curvature(self, S: Array, shares: Array) -> Array:
        """Return Σ w ∂²l/∂s∂sᵀ (K, K) over rows with the shares w (N,); smooth losses only."""
        raise NotImplementedError(f"the loss {self.name} has no second derivative")

    def bends(self, slopes: Array) -> Array:
        """Return ∂²l/∂s_k² (N, K) from the slopes (N, K); smooth losses only."""
        raise NotImplementedError(f"the loss {self.name} has no second derivative")

    def biases(self, frequencies: Array) -> Array:
        """Return the scores (K,), the same for all rows, with the least cost; smooth losses only.

        `frequencies` (K,) are the class frequencies, each above 0.
        """
        raise NotImplementedError(f"the loss {self.name} has no such scores in closed form")

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """Return l (N, C) with the scores of class k replaced by each column of s_k (N, C).

        The gradient check of a layer calls this K times. Here each column needs a call of `values`;
        a loss can override this to be much faster.
        """
        moved = S.astype(np.result_type(S, s_k))
        columns = []
        for column in s_k.T:
            moved[:, k] = column
            columns.append(self.values(moved, y))
        return np.stack(columns, axis=1)


class CrossEntropy(Loss):
    """l = −log p_y with p = softmax(s): equations (2), (3) and (6)."""

    name = "cross-entropy"
    title = "cross-entropy"
    equations = (("(6)", "l = −log(eᵀ p),  p = softmax(s)", "cross-entropy; e: one-hot label"),)
    slope_equations = (("", "g = p − e", "cross-entropy"),)
    link = SOFTMAX
    log_loss = True
    relative = True
    smooth = True

    def values(self, S: Array, y: Labels) -> Array:
        """Return log Σ exp(s) − s_y, without the logarithm of a number that may underflow."""
        Z = shifted(S)
        values: Array = np.log(np.exp(Z).sum(axis=1)) - _of_label(Z, y)
        return values

    def slopes(self, S: Array, y: Labels) -> Array:
        """Return p − e_y."""
        return self.values_and_slopes(S, y)[1]

    def values_and_slopes(self, S: Array, y: Labels) -> tuple[Array, Array]:
        """See Loss.values_and_slopes: the exponentials are taken once."""
        Z = shifted(S)
        of_label = _of_label(Z, y)
        G: Array = np.exp(Z, out=Z)
        totals = G.sum(axis=1, keepdims=True)
        values: Array = np.log(totals[:, 0]) - of_label
        G /= totals
        G[np.arange(len(y)), y] -= 1
        return values, G

    def curvature(self, S: Array, shares: Array) -> Array:
        """Return Σ w (diag(p) − p pᵀ); p_k (1 − p_k) is Σ p_k p_j, j ≠ k, which does not cancel."""
        P = SOFTMAX.probabilities(S)
        H: Array = -(P.T * shares) @ P
        np.fill_diagonal(H, 0)
        np.fill_diagonal(H, -H.sum(axis=1))
        return H

    def bends(self, slopes: Array) -> Array:
        """Return p (1 − p); a slope is p or p − 1."""
        sizes: Array = np.abs(slopes)
        sizes -= sizes * sizes
        return sizes

    def biases(self, frequencies: Array) -> Array:
        """Return log f, whose softmax is f."""
        scores: Array = np.log(frequencies)
        return scores

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """See Loss.values_with; the change is expected to be small."""
        # Shifting by the maximum before the change keeps every exponent near or below 0.
        largest = S.real.max(axis=1, keepdims=True)
        Z, z_k = S - largest, s_k - largest
        others = np.exp(np.delete(Z, k, axis=1)).sum(axis=1, keepdims=True)
        z_y = np.where((y == k)[:, None], z_k, _of_label(Z, y)[:, None])
        values: Array = np.log(others + np.exp(z_k)) - z_y
        return values


class Hinge(Loss):
    """l = Σ over j ≠ y of max(0, s_j − s_y + 1): the multi-class support vector machine's loss.

    At a kink, s_j − s_y + 1 = 0, the derivative is the one from below: 0.
    It has no link: it compares scores, and they do not become probabilities.
    """

    name = "hinge"
    title = "multi-class hinge loss"
    equations = (("", "l = Σⱼ max(0, sⱼ − s_y + 1),  j ≠ y", "hinge loss; y: the label"),)
    slope_equations = (
        ("", "gⱼ = 1 if sⱼ − s_y + 1 > 0, else 0;  g_y = −Σⱼ gⱼ", "hinge loss, j ≠ y"),
    )
    relative = True

    def values(self, S: Array, y: Labels) -> Array:
        """Return the sum of the violated margins."""
        values: Array = _positive_part(self._margins(S, y)).sum(axis=1)
        return values

    def slopes(self, S: Array, y: Labels) -> Array:
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


class BinaryCrossEntropy(Loss):
    """l = −(1/K) Σ_k [(1 − y_k) log(1 − p_k) + y_k log p_k], p = sigmoid(s), y_k one-hot.

    The K sigmoids answer K questions, so they need not sum to 1. The probabilities of the classes
    are the sigmoids divided by their sum: see links.Sigmoids.
    """

    name = "binary-cross-entropy"
    title = "binary cross-entropy of K sigmoids"
    equations = (
        ("", "l = −(1/K) Σₖ [eₖ log pₖ + (1 − eₖ) log(1 − pₖ)]", "binary cross-entropy;"),
        ("", "p = 1 / (1 + exp(−s))", "e: one-hot label"),
    )
    slope_equations = (("", "g = (p − e) / K", "binary cross-entropy"),)
    link = SIGMOIDS
    averaged = True
    smooth = True

    def values(self, S: Array, y: Labels) -> Array:
        """Return (Σ log(1 + exp(s)) − s_y) / K, which equals l and cannot overflow."""
        values: Array = (_softplus(S).sum(axis=1) - _of_label(S, y)) / S.shape[1]
        return values

    def slopes(self, S: Array, y: Labels) -> Array:
        """Return (p − e_y) / K."""
        G: Array = np.exp(-_softplus(-S))
        G[np.arange(len(y)), y] -= 1
        G /= S.shape[1]
        return G

    def curvature(self, S: Array, shares: Array) -> Array:
        """Return the diagonal matrix of Σ w p (1 − p) / K."""
        P = np.exp(-_softplus(-S))
        H: Array = np.diag(shares @ (P * (1 - P))) / S.shape[1]
        return H

    def bends(self, slopes: Array) -> Array:
        """Return p (1 − p) / K; a slope is p / K or (p − 1) / K."""
        sizes: Array = np.abs(slopes)
        sizes -= slopes.shape[1] * sizes * sizes
        return sizes

    def biases(self, frequencies: Array) -> Array:
        """Return log (f / (1 − f)), whose sigmoid is f; a large number for f = 1."""
        scores: Array = np.log(frequencies) - np.log(np.maximum(1 - frequencies, 1e-12))
        return scores

    def values_with(self, S: Array, y: Labels, k: int, s_k: Array) -> Array:
        """See Loss.values_with."""
        others = _softplus(np.delete(S, k, axis=1)).sum(axis=1, keepdims=True)
        s_y = np.where((y == k)[:, None], s_k, _of_label(S, y)[:, None])
        values: Array = (others + _softplus(s_k) - s_y) / S.shape[1]
        return values


CROSS_ENTROPY = CrossEntropy()
LOSSES: dict[str, Loss] = {}


def find_loss(name: str) -> Loss:
    """Return the loss of this name.

    Raises
    ------
    InputError
        If there is none; suggests the nearest name.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def register(loss: Loss) -> None:
    """Register a loss by its name, for every part of onelayer in this process.

    Raises
    ------
    InputError
        If the name is not valid, or another loss has it.
    """
    if not _NAME.fullmatch(loss.name):
        raise InputError(
            f"a loss called {loss.name!r}; expected a letter, then letters a to z, digits, hyphens"
        )
    if loss.name in LOSSES:
        raise InputError(f"a loss called {loss.name!r} is registered already; choose another name")
    LOSSES[loss.name] = loss


def _of_label(S: Array, y: Labels) -> Array:
    scores: Array = S[np.arange(len(y)), y]
    return scores


def _positive_part(values: Array) -> Array:
    return np.where(values.real > 0, values, 0)


def _softplus(S: Array) -> Array:
    """Return log(1 + exp(s)); the exponent is never positive, so it cannot overflow."""
    positive = S.real > 0
    values: Array = np.where(positive, S, 0) + np.log1p(np.exp(np.where(positive, -S, S)))
    return values


for _loss in (CROSS_ENTROPY, Hinge(), BinaryCrossEntropy()):
    register(_loss)
