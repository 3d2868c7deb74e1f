"""The search for the least cost of many models, and the proof how near it is."""

import math
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from onelayer.training.exact.axes import Floats
from onelayer.training.exact.lbfgs import Models, Point, minimise
from onelayer.training.exact.problem import Problem, squares
from onelayer.training.exact.rows import Rows
from onelayer.training.exact.sums import BIASES, EVERYTHING, Pool, Sums

MOST_EVALUATIONS = 1000  # of one model, in float32 and again in float64
NEGLIGIBLE = 0.1  # share of the tolerance that biases may add to the proven excess
MOST_STEPS = 20  # of Newton's method, for the biases alone


class Search:
    """One search for the least cost of M models: evaluations of a Problem in its axes."""

    def __init__(
        self,
        problem: Problem,
        l2: Floats,
        targets: Models,
        pool: Pool,
        tolerance: float,
        flat: Floats,
    ) -> None:
        self.problem, self.l2, self.targets, self.pool = problem, l2, targets, pool
        self.tolerance, self.flat = tolerance, flat
        self.shape = len(problem.present), problem.axes.count + 1

    def run(self, rows: Rows, U: Floats, share: float) -> tuple[Floats, NDArray[np.intp]]:
        """Minimise from U (M, K, R + 1) with products of these rows, to 1 / share of the tolerance.

        Returns the parameters that were found, and the evaluations of each model, (M,).
        """

        def evaluate(flat: Floats, models: Models) -> Point:
            U = self._centred(flat.reshape(-1, *self.shape))
            cost, G, inverse = self._point(rows, U, models)
            return Point(cost, self._centred(G).reshape(flat.shape), inverse.reshape(flat.shape))

        def progress(point: Point, models: Models) -> Floats:
            return share * self._progress(point, models)

        flat, counts = minimise(
            evaluate,
            U.reshape(len(U), -1),
            progress,
            rounding=1e-7 if rows.dtype == np.float32 else 1e-14,
            most=MOST_EVALUATIONS,
        )
        return self._centred(flat.reshape(U.shape)), counts

    def _centred(self, U: Floats) -> Floats:
        """Return parameters with mean 0 over the classes, if the loss does not depend on the mean.

        Only weight decay curves the cost along the mean, so little that a search would be slow.
        """
        return U - U.mean(axis=1, keepdims=True) if self.problem.weighted_loss.loss.relative else U

    def settle(self, U: Floats, rows: Rows) -> Floats:
        """Return U (M, K, R + 1) with better biases, so that `prove` has little to improve.

        The search ends near the least cost; the proof asks for much better biases than that. They
        are found with products of these rows.
        """
        U, models = U.copy(), np.flatnonzero(self.l2)
        last = np.full(len(models), np.inf)
        for _ in range(MOST_STEPS):
            if not len(models):
                break
            targets, V = self.targets[models], U[models]
            sums = self.problem.add_up(targets, rows, V, self.pool, BIASES)
            cost = sums.loss + self.l2[models] * squares(V[..., :-1])
            step, rise, moved = self._bias_step(sums)
            left = rise + moved**2 / (4 * self.l2[models])
            allowed = NEGLIGIBLE * self.tolerance * cost
            far = (left > allowed) & ~(left > last / 2)
            U[models[far], :, -1] += step[far]
            # A step of Newton's method leaves about the square of what was left.
            far &= left * (2 * np.abs(step).max(axis=1)) ** 2 > allowed
            models, last = models[far], left[far]
        return U

    def prove(self, U: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return U with its biases improved, the cost, the gradient's norm and the excess, (M,).

        With g = ∂J/∂W at the biases of least cost, J is at most ‖g‖² / 4λ above its minimum, since
        it is strongly convex in W there: this is also the duality gap. If only the biases miss the
        tolerance, damped steps of Newton's method improve them; a bound on their remaining error is
        added. The least cost is at least 0, so the excess is at most the cost.
        """
        U, models = U.copy(), np.arange(len(U))
        cost, norm, excess = np.empty((3, len(U)))
        for _ in range(MOST_STEPS + 1):
            problem, l2, V = self.problem, self.l2[models], U[models]
            sums = problem.add_up(
                self.targets[models], problem.exact_rows, V, self.pool, EVERYTHING
            )
            G = sums.gradient
            G[..., :-1] += 2 * l2[:, None, None] * V[..., :-1]
            cost[models] = sums.loss + l2 * squares(V[..., :-1])
            norm[models] = np.sqrt(squares(G))
            of_W = np.sqrt(squares(G[..., :-1]))
            step, rise, moved = self._bias_step(sums)
            with np.errstate(divide="ignore", invalid="ignore"):
                least = of_W**2 / (4 * l2)
                above = np.minimum((of_W + moved) ** 2 / (4 * l2) + rise, cost[models])
            excess[models] = np.where(l2 > 0, above, math.nan)
            allowed = self.tolerance * cost[models]
            far = (excess[models] > allowed) & (least <= allowed)  # for the biases alone
            models = models[far]
            if not len(models):
                break
            U[models, :, -1] += step[far]
        return U, cost, norm, excess

    def _bias_step(self, sums: Sums) -> tuple[Floats, Floats, Floats]:
        """Return a step to the best biases (M, K), and two bounds (M,): see _newton_step.

        The second bound is on the change of ∂J/∂W itself.
        """
        relative = self.problem.weighted_loss.loss.relative
        step, rise, moved = _newton_step(sums.gradient[..., -1], sums.curvature, relative)
        return step, rise, moved * math.sqrt(self.problem.largest)

    def _point(self, rows: Rows, U: Floats, models: Models) -> Point:
        problem, l2 = self.problem, self.l2[models]
        sums = problem.add_up(self.targets[models], rows, U, self.pool)
        G = sums.gradient
        G[..., :-1] += 2 * l2[:, None, None] * U[..., :-1]
        cost = sums.loss + l2 * squares(U[..., :-1])
        bend = np.maximum(sums.bend, 1e-9)[..., None] * np.append(problem.spread, 1.0)
        bend[..., :-1] += 2 * l2[:, None, None]
        bend[bend == 0] = 1  # a feature without spread, which nothing moves
        return Point(cost, G, 1 / bend)

    def _progress(self, point: Point, models: Models) -> Floats:
        """Return the excess, or for λ = 0 the gradient's norm, in units of the tolerance."""
        l2, G = self.l2[models], point.gradient.reshape(len(models), *self.shape)
        inverse = point.inverse.reshape(G.shape)[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = squares(G[..., :-1]) / (4 * l2) + (G[..., -1] ** 2 * inverse).sum(axis=1)
            norm = np.sqrt(squares(G)) / self.flat[models]
            left: Floats = np.where(l2 > 0, excess / point.cost, norm) / self.tolerance
            return left


def _newton_step(
    gradient: Floats, curvature: Floats, relative: bool
) -> tuple[Floats, Floats, Floats]:
    """Return a step to the best biases of M models, and two bounds, from derivatives by b.

    The step (M, K) is a damped one of Newton's method. The bounds (M,) are on the cost above that
    of the best biases, and on the change of ∂J/∂W to theirs, over √Σ w ‖z‖²; infinite if unknown.
    """
    units = np.sqrt(np.einsum("mkk->mk", curvature))  # small for a class of few rows
    units = np.where(units > 0, units, 1)
    scaled = curvature / units[:, :, None] / units[:, None, :]
    if relative:  # the same number for all biases changes nothing: any curvature will do there
        same = units / np.linalg.norm(units, axis=1, keepdims=True)
        scaled += same[:, :, None] * same[:, None, :]
    inverse, slope = _inverses(scaled), gradient / units
    newton = np.einsum("mkj,mj->mk", inverse, slope)
    rest = np.abs(slope - np.einsum("mkj,mj->mk", scaled, newton)).max(axis=1)
    rise = np.maximum(np.einsum("mk,mk->m", slope, newton), 0)
    newton /= units
    length = 2 * np.abs(newton).max(axis=1, keepdims=True)
    damping = np.log1p(length) / np.where(length > 0, length, 1)
    # The cost is self-concordant in b: near the minimum its second derivative hardly changes.
    reach = (np.einsum("mkk->mk", inverse) / units**2).max(axis=1)
    near = (72 * rise * reach <= 1) & (rest < 1e-14)  # above rounding, nothing bends the cost there
    moved = 2.5 * np.sqrt(rise)
    return -damping * newton, np.where(near, rise, math.inf), np.where(near, moved, math.inf)


def _inverses(scaled: Floats) -> Floats:
    """Return the inverses (M, K, K) of symmetric matrices, pseudoinverses of singular ones."""
    with suppress(np.linalg.LinAlgError):
        inverses = np.linalg.inv(scaled).astype(np.float64, copy=False)
        if np.abs(inverses).max() < 1e10:
            return inverses
    return np.linalg.pinv(scaled, rcond=1e-13, hermitian=True).astype(np.float64, copy=False)
