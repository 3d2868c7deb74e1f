"""The problem: the cost of one loss on weighted rows, at parameters along principal axes."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.model.losses import Loss
from onelayer.thread_pools import limited
from onelayer.training.exact.axes import Axes, Floats, blocks_of, principal_axes
from onelayer.training.exact.lbfgs import Models
from onelayer.training.exact.rows import Held, Rows, Stored, bytes_to_hold
from onelayer.training.exact.sums import (
    GRADIENT,
    Pool,
    Sums,
    Wanted,
    WeightedLoss,
    add_up,
    open_pool,
)


class Problem:
    """The cost of one loss on weighted rows of a split, for any λ.

    Classes without rows are left out. For multi-label rows, y (N, L), each label is a target with
    the classes 0 and 1; else there is one target. `axes` may come from more rows, and are used
    unless the weighted rows are so few that they span far fewer axes. The rows are held in memory,
    in float32, if they take at most `memory` bytes; else they are read at each evaluation, and the
    parameters are turned instead of the rows.
    """

    def __init__(
        self,
        split: Split,
        weights: Floats,
        scaling: Scaling,
        loss: Loss,
        n_classes: int,
        *,
        axes: Axes | None = None,
        memory: int = 1 << 30,
    ) -> None:
        rows = np.flatnonzero(weights > 0)
        shares: Floats = weights[rows] / weights[rows].sum(dtype=np.float64)
        self.present, places = np.unique(split.y[rows], return_inverse=True)
        labels = np.ascontiguousarray(places.reshape(len(rows), -1).T)  # (targets, rows)
        self.n_classes, K = n_classes, len(self.present)
        # A class without rows adds 0 to a mean over the classes, too.
        part = K / n_classes if loss.averaged else 1
        self.weighted_loss = WeightedLoss(loss, labels, shares * part, K)
        self.frequencies = np.stack([np.bincount(own, shares, K) for own in labels])
        if axes is not None and 2 * len(rows) < len(axes.mean):
            axes = None
        own = axes is None
        self.axes = axes or principal_axes(split, rows, scaling, shares)
        self.exact_rows: Rows = Stored(split.X, rows, scaling)
        self.fast_rows: Rows = Stored(split.X, rows, scaling, self.axes.centred)
        self._turned: Rows = Stored(split.X, rows, scaling, self.axes)
        width = self.axes.count + 1
        if bytes_to_hold(len(rows), width) <= memory:
            Z = np.empty((len(rows), width), np.float32)
            with limited(1):
                for some in blocks_of(*Z.shape):
                    Z[some] = self._turned.read(some)
            self.fast_rows = self._turned = Held(Z)
        known = self.axes.spread if own else None
        self.spread = self._spread(shares) if known is None else known
        # No eigenvalue of Σ w z zᵀ is larger.
        self.largest = min(self.spread.sum(), self.axes.largest if own else math.inf)

    def _spread(self, shares: Floats) -> Floats:
        """Return Σ w z² (R,) along the axes."""
        spread = np.zeros(self.axes.count)
        for some in blocks_of(len(shares), self.axes.count):
            spread += shares[some] @ np.square(self._turned.read(some)[:, :-1], dtype=float)
        return spread

    def largest_l2(self, share: float) -> Floats:
        """Return the λ of each target for which the cost of W = 0 is this share above the least.

        With g = ∂J/∂W at W = 0, it is ‖g‖² / (4 · share · cost): see Search.prove.
        """
        with open_pool() as pool:
            at_zero, targets = self.start(), np.arange(len(self.frequencies))
            sums = self.add_up(targets, self.exact_rows, at_zero, pool)
        largest: Floats = squares(sums.gradient[..., :-1]) / (4 * share * sums.loss)
        return largest

    def start(self) -> Floats:
        """Return parameters (T, K, P) with W = 0 and the biases of the least cost for it."""
        start = np.zeros((*self.frequencies.shape, self.axes.count + 1))
        start[..., -1] = [self.weighted_loss.loss.biases(own) for own in self.frequencies]
        return start

    def time_evaluation(
        self, models: int, time_of: Callable[[Callable[[int], object]], float]
    ) -> float:
        """Return the seconds, measured by `time_of`, of one evaluation of `models` models."""
        targets = np.zeros(models, np.intp)
        start = self.start()[targets]
        with open_pool() as pool:
            return time_of(lambda _: self.add_up(targets, self.fast_rows, start, pool))

    def flat_slopes(self, pool: Pool) -> Floats:
        """Return the norm of the gradient at `start`, where a search with λ = 0 begins."""
        sums = self.add_up(np.arange(len(self.frequencies)), self.fast_rows, self.start(), pool)
        norms: Floats = np.sqrt(squares(sums.gradient))
        return norms

    def add_up(
        self, targets: Models, rows: Rows, U: Floats, pool: Pool, wanted: Wanted = GRADIENT
    ) -> Sums:
        """Return the sums over rows at parameters U (M, K, R + 1) in axes, with gradients there."""
        if rows is self._turned:
            return add_up(self.weighted_loss, targets, rows, U, pool, wanted)
        exact = rows is self.exact_rows
        V = self.axes.to_features(U) if exact else self.axes.to_centred(U)
        sums = add_up(self.weighted_loss, targets, rows, V, pool, wanted)
        back = self.axes.gradient if exact else self.axes.gradient_of_centred
        return replace(sums, gradient=back(sums.gradient))


def squares(G: Floats) -> Floats:
    """Return the sum of squares (M,) of each model's array (M, …)."""
    flat = G.reshape(len(G), -1)
    sums: Floats = np.einsum("mn,mn->m", flat, flat)
    return sums
