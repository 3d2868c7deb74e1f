"""The exact solver: parameters of least cost, for many models at once, with a proof.

For λ > 0 and a smooth loss the cost (5) has one minimum. L-BFGS searches it in the principal axes
of the features, where the second derivatives are nearly diagonal, with products in float32. The
result is checked, and if needed improved, in float64 on the features themselves. The derivation is
in docs/exact.md.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.model.losses import Loss
from onelayer.thread_pools import limited, pools
from onelayer.training.axes import ROWS, Axes, Floats, principal_axes
from onelayer.training.convergence import Convergence, join_convergence
from onelayer.training.lbfgs import Models, Point, minimise

MOST_EVALUATIONS = 1000  # of one model, in float32 and again in float64
NEGLIGIBLE = 0.1  # share of the tolerance that biases may add to the proven excess
MOST_STEPS = 20  # of Newton's method, for the biases alone
COLUMNS = 100  # of a product, the classes of all models; more are hardly faster than two products
UNPACKED = 1_000_000  # multiplications up to which OpenBLAS need not copy the factors first
FEWEST = 16  # rows for which such a product is worth its call
UNUSED = 50.0  # the bias of a class without rows is this far below all others: p < 1e-21


@dataclass(frozen=True)
class Solution:
    """W (M, K, D) and b (M, K) on scaled features, the cost (M,), its proof, and evaluations."""

    weights: Floats
    biases: Floats
    cost: Floats
    convergence: Convergence
    evaluations: NDArray[np.intp]

    def take(self, models: NDArray[np.intp]) -> "Solution":
        """Return the solution of these models, in this order."""
        return Solution(
            self.weights[models],
            self.biases[models],
            self.cost[models],
            self.convergence.take(models),
            self.evaluations[models],
        )

    def shortfalls(self, tolerance: float) -> list[str]:
        """Return the reason why `tolerance` is not proven for each model, "" if it is proven."""
        shares = self.convergence.excess / np.maximum(self.cost, np.finfo(np.float64).tiny)
        return [
            ""
            if share <= tolerance
            else "λ = 0: nothing bounds the cost from below"
            if math.isnan(share)
            else f"the cost may be {share:.1g} of itself above the least one"
            for share in shares
        ]


def join_solutions(parts: Iterable[Solution]) -> Solution:
    """Return the solutions of all models as one."""
    parts = list(parts)
    return Solution(
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.biases for part in parts]),
        np.concatenate([part.cost for part in parts]),
        join_convergence([part.convergence for part in parts]),
        np.concatenate([part.evaluations for part in parts]),
    )


class Pool(NamedTuple):
    """Threads, each of which multiplies matrices without further threads."""

    threads: int
    executor: Executor


class Rows(Protocol):
    """Rows [x, 1] of one type, read block by block."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        ...

    def read(self, some: slice) -> NDArray[Any]:
        """Return these rows (n, P)."""
        ...


@dataclass(frozen=True)
class Held:
    """Rows that are in memory."""

    Z: NDArray[np.float32]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return self.Z.dtype

    def read(self, some: slice) -> NDArray[np.float32]:
        """See Rows.read."""
        return self.Z[some]


@dataclass(frozen=True)
class Stored:
    """Rows that are scaled as they are read: in float64, or in axes in float32."""

    X: Any
    rows: NDArray[np.intp]
    scaling: Scaling
    axes: Axes | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 in axes, else float64."""
        return np.dtype(np.float64 if self.axes is None else np.float32)

    def read(self, some: slice) -> NDArray[Any]:
        """See Rows.read."""
        stored = self.X[self.rows[some]]
        if self.axes is not None:
            return self.axes.turn(self.scaling.apply(stored))
        rows = np.ones((len(stored), stored.shape[1] + 1))
        rows[:, :-1] = stored
        with np.errstate(over="ignore", invalid="ignore"):
            self.scaling.scale(rows[:, :-1])
        return rows


class Wanted(NamedTuple):
    """What is added up beside the loss and the derivative by the biases."""

    weights: bool  # the derivative by the weights
    curvature: bool  # the second derivative by the biases, the whole matrix


GRADIENT, BIASES, EVERYTHING = Wanted(True, False), Wanted(False, True), Wanted(True, True)


def bytes_to_hold(n_samples: int, width: int) -> int:
    """Return the memory in bytes of `n_samples` rows [z, 1] in float32."""
    return 4 * n_samples * width


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
        self.labels = np.ascontiguousarray(places.reshape(len(rows), -1).T)  # (targets, rows)
        self.n_classes, self.loss, K = n_classes, loss, len(self.present)
        self.frequencies = np.stack([np.bincount(own, shares, K) for own in self.labels])
        if axes is not None and 2 * len(rows) < len(axes.mean):
            axes = None
        self.axes = axes or principal_axes(split, rows, shares, scaling)
        self.exact_rows: Rows = Stored(split.X, rows, scaling)
        self.fast_rows: Rows = Stored(split.X, rows, scaling, self.axes.centred)
        self._turned: Rows = Stored(split.X, rows, scaling, self.axes)
        width = self.axes.count + 1
        if bytes_to_hold(len(rows), width) <= memory:
            Z = np.empty((len(rows), width), np.float32)
            with limited(1):
                for first in range(0, len(rows), ROWS):
                    some = slice(first, first + ROWS)
                    Z[some] = self._turned.read(some)
            self.fast_rows = self._turned = Held(Z)
        self.spread = self._spread(shares)
        # No eigenvalue of Σ w z zᵀ is larger.
        self.largest = min(self.spread.sum(), self.axes.largest if axes is None else math.inf)
        # A class without rows adds 0 to a mean over the classes, too.
        self.shares = shares * (len(self.present) / n_classes if loss.averaged else 1)

    def _spread(self, shares: Floats) -> Floats:
        """Return Σ w z² (R,) along the axes."""
        spread = np.zeros(self.axes.count)
        for first in range(0, len(shares), ROWS):
            some = slice(first, first + ROWS)
            spread += shares[some] @ np.square(self._turned.read(some)[:, :-1], dtype=float)
        return spread

    def largest_l2(self, share: float) -> Floats:
        """Return the λ of each target for which the cost of W = 0 is this share above the least.

        With g = ∂J/∂W at W = 0, it is ‖g‖² / (4 · share · cost): see _Search.prove.
        """
        with _pool() as pool:
            at_zero, targets = self.start(), np.arange(len(self.labels))
            sums = self.add_up(targets, self.exact_rows, at_zero, pool)
        largest: Floats = _squares(sums.gradient[..., :-1]) / (4 * share * sums.loss)
        return largest

    def start(self) -> Floats:
        """Return parameters (T, K, P) with W = 0 and the biases of the least cost for it."""
        start = np.zeros((*self.frequencies.shape, self.axes.count + 1))
        start[..., -1] = [self.loss.biases(own) for own in self.frequencies]
        return start

    def solve(
        self,
        l2: Sequence[float],
        targets: Sequence[int] | None = None,
        *,
        tolerance: float,
        start: Floats | None = None,
        fast: bool = True,
    ) -> tuple[Solution, Floats]:
        """Find the least cost for each λ (M,), for λ > 0 to the share `tolerance` of the cost.

        `targets` (M,) are the targets of the models, by default the first one. The largest λ come
        first, as many at once as fill a product; with a single target, later ones start from the
        smallest of these λ. For λ = 0 the search ends when the gradient is the share `tolerance` of
        that at W = 0, which it may never reach: the weights of separable classes have no bound.
        The parameters in axes are returned, too: a search for other λ may start from them. Without
        `fast` all products are in float64.
        """
        decays = np.asarray(l2, np.float64)
        own = np.asarray([0] * len(decays) if targets is None else targets, np.intp)
        U = self.start()[own] if start is None else start.copy()
        order = np.argsort(-decays, kind="stable")
        together = max(1, COLUMNS // self.columns)
        parts = [order[first : first + together] for first in range(0, len(order), together)]
        found = []
        for number, some in enumerate(parts):
            if number and len(self.labels) == 1:
                U[some] = U[parts[number - 1][-1]]
            solution, U[some] = self._solve_at_once(
                decays[some], own[some], U[some], tolerance, fast
            )
            found.append(solution)
        return join_solutions(found).take(np.argsort(order)), U

    @property
    def columns(self) -> int:
        """The columns that one model adds to a product."""
        return 1 if self.opposed else len(self.present)

    @property
    def opposed(self) -> bool:
        """Whether one class has the opposite weights of the other: half of the products suffice."""
        return self.loss.relative and len(self.present) == 2

    def _solve_at_once(
        self, decays: Floats, own: Models, U: Floats, tolerance: float, fast: bool
    ) -> tuple[Solution, Floats]:
        """See solve; all λ in one search."""
        far, counts = np.arange(len(decays)), np.zeros(len(decays), np.intp)
        cost, norm, excess = np.empty((3, len(decays)))
        # The estimate at which a search ends is a little below the proven excess: try again.
        tries = [(self.fast_rows, 2)] * fast + [(self.exact_rows, share) for share in (2, 20, 200)]
        with _pool() as pool:
            flat = self._flat_slopes(pool)[own] if (decays == 0).any() else np.ones(len(own))
            for rows, share in tries:
                search = _Search(self, decays[far], own[far], pool, tolerance, flat[far])
                found, more = search.run(rows, U[far], share)
                counts[far] += more
                if rows is self.fast_rows:
                    found = search.settle(found, rows)
                U[far], cost[far], norm[far], excess[far] = search.prove(found)
                reached = np.where(decays > 0, excess <= tolerance * cost, norm <= tolerance * flat)
                tried = (decays == 0) & (rows is self.exact_rows)
                far = np.flatnonzero(~(reached | tried))
                if not len(far):
                    break
        V = self.axes.to_features(U)
        weights = np.zeros((len(decays), self.n_classes, V.shape[2] - 1))
        lowest = V[..., -1].min(axis=1, keepdims=True) - UNUSED
        biases = np.repeat(lowest, self.n_classes, axis=1)
        weights[:, self.present], biases[:, self.present] = V[..., :-1], V[..., -1]
        return Solution(weights, biases, cost, Convergence(norm, excess), counts), U

    def time_evaluation(
        self, models: int, time_of: Callable[[Callable[[int], object]], float]
    ) -> float:
        """Return the seconds, measured by `time_of`, of one evaluation of `models` models."""
        targets = np.zeros(models, np.intp)
        start = self.start()[targets]
        with _pool() as pool:
            return time_of(lambda _: self.add_up(targets, self.fast_rows, start, pool))

    def _flat_slopes(self, pool: "Pool") -> Floats:
        """Return the norm of the gradient at `start`, where a search with λ = 0 begins."""
        sums = self.add_up(np.arange(len(self.labels)), self.fast_rows, self.start(), pool)
        norms: Floats = np.sqrt(_squares(sums.gradient))
        return norms

    def add_up(
        self, targets: Models, rows: Rows, U: Floats, pool: "Pool", wanted: "Wanted" = GRADIENT
    ) -> "_Sums":
        """Return the sums over rows at parameters U (M, K, R + 1) in axes, with gradients there."""
        if rows is self._turned:
            return _add_up(self, targets, rows, U, pool, wanted)
        exact = rows is self.exact_rows
        V = self.axes.to_features(U) if exact else self.axes.to_centred(U)
        sums = _add_up(self, targets, rows, V, pool, wanted)
        back = self.axes.gradient if exact else self.axes.gradient_of_centred
        return replace(sums, gradient=back(sums.gradient))


class _Search:
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
        """Minimise with products of these rows, to 1 / share of the tolerance."""

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
        return U - U.mean(axis=1, keepdims=True) if self.problem.loss.relative else U

    def settle(self, U: Floats, rows: Rows) -> Floats:
        """Return U with better biases by these rows, so that `prove` need not improve them often.

        The search ends near the least cost; the proof asks for much better biases than that.
        """
        U, models = U.copy(), np.flatnonzero(self.l2)
        last = np.full(len(models), np.inf)
        for _ in range(MOST_STEPS):
            if not len(models):
                break
            targets, V = self.targets[models], U[models]
            sums = self.problem.add_up(targets, rows, V, self.pool, BIASES)
            cost = sums.loss + self.l2[models] * _squares(V[..., :-1])
            step, rise, moved = self._biases_left(sums)
            left, allowed = (
                rise + moved**2 / (4 * self.l2[models]),
                NEGLIGIBLE * self.tolerance * cost,
            )
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
            cost[models] = sums.loss + l2 * _squares(V[..., :-1])
            norm[models] = np.sqrt(_squares(G))
            of_W = np.sqrt(_squares(G[..., :-1]))
            step, rise, moved = self._biases_left(sums)
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

    def _biases_left(self, sums: "_Sums") -> tuple[Floats, Floats, Floats]:
        """See the function of that name; the last bound is on the change of ∂J/∂W itself."""
        relative = self.problem.loss.relative
        step, rise, moved = _biases_left(sums.gradient[..., -1], sums.curvature, relative)
        return step, rise, moved * math.sqrt(self.problem.largest)

    def _point(self, rows: Rows, U: Floats, models: Models) -> Point:
        problem, l2 = self.problem, self.l2[models]
        sums = problem.add_up(self.targets[models], rows, U, self.pool)
        G = sums.gradient
        G[..., :-1] += 2 * l2[:, None, None] * U[..., :-1]
        cost = sums.loss + l2 * _squares(U[..., :-1])
        bend = np.maximum(sums.bend, 1e-9)[..., None] * np.append(problem.spread, 1.0)
        bend[..., :-1] += 2 * l2[:, None, None]
        bend[bend == 0] = 1  # a feature without spread, which nothing moves
        return Point(cost, G, 1 / bend)

    def _progress(self, point: Point, models: Models) -> Floats:
        """Return the excess, or for λ = 0 the gradient's norm, in units of the tolerance."""
        l2, G = self.l2[models], point.gradient.reshape(len(models), *self.shape)
        inverse = point.inverse.reshape(G.shape)[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = _squares(G[..., :-1]) / (4 * l2) + (G[..., -1] ** 2 * inverse).sum(axis=1)
            norm = np.sqrt(_squares(G)) / self.flat[models]
            left: Floats = np.where(l2 > 0, excess / point.cost, norm) / self.tolerance
            return left


def _biases_left(
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


@dataclass
class _Sums:
    """Sums over weighted rows, for each model.

    The loss (M,), its derivative by the parameters (M, K, P), or 0 for weights that are not wanted,
    and its second derivative by the biases, the diagonal (M, K) and, if wanted, the whole matrix
    (M, K, K).
    """

    loss: Floats
    gradient: Floats
    bend: Floats
    curvature: Floats


def _add_up(
    problem: Problem,
    targets: Models,
    rows: Rows,
    V: Floats,
    pool: Pool,
    wanted: Wanted,
) -> _Sums:
    """Return the sums at parameters V (M, K, P), of models with these targets (M,).

    Each thread of the pool adds up its own rows.
    """
    N = len(problem.shares)
    blocks = [slice(first, min(first + ROWS, N)) for first in range(0, N, ROWS)]
    parts = min(pool.threads, len(blocks))
    cuts = [len(blocks) * part // parts for part in range(parts + 1)]
    shares = [blocks[first:last] for first, last in itertools.pairwise(cuts)]
    add_up = partial(_add_up_blocks, problem, targets, rows, V, wanted=wanted)
    first, *others = (map if parts == 1 else pool.executor.map)(add_up, shares)
    for other in others:
        first.loss += other.loss
        first.gradient += other.gradient
        first.bend += other.bend
        first.curvature += other.curvature
    return first


def _add_up_blocks(
    problem: Problem,
    targets: Models,
    rows: Rows,
    V: Floats,
    blocks: Sequence[slice],
    wanted: Wanted,
) -> _Sums:
    M, K, P = V.shape
    opposed = problem.opposed
    V = (V[:, :1] - V[:, 1:]) / 2 if opposed else V
    flat = V.reshape(-1, P).astype(rows.dtype)
    across = np.ascontiguousarray(flat.T)
    few = UNPACKED // flat.size
    few = few if few >= FEWEST else ROWS
    pieces = [slice(first, first + few) for first in range(0, ROWS, few)]
    sums = _Sums(
        np.zeros(M),
        np.zeros((M, K, P)),
        np.zeros((M, K)),
        np.zeros((M, K, K) if wanted.curvature else 0),
    )
    total, product = np.zeros_like(flat), np.empty_like(flat)
    with np.errstate(over="ignore", invalid="ignore"):
        for some in blocks:
            Z, y, w = rows.read(some), problem.labels[:, some], problem.shares[some]
            w_like = w.astype(rows.dtype)
            S = np.empty((len(flat), len(Z)), rows.dtype)  # each class lies in one piece
            for piece in pieces:
                S[:, piece] = (Z[piece] @ across).T
            own = len(S) // M
            for m in range(M):
                part = S[m * own : (m + 1) * own]
                of_model = np.concatenate([part, -part]) if opposed else part
                if wanted.curvature:
                    sums.curvature[m] += problem.loss.curvature(of_model.T, w)
                values, slopes = problem.loss.values_and_slopes(of_model.T, y[targets[m]])
                sums.loss[m] += values @ w
                sums.bend[m] += w_like @ problem.loss.bends(slopes)
                np.multiply(slopes.T[:own], w_like, out=part)
            if not wanted.weights:
                total[:, -1] += S.sum(axis=1)
                continue
            for piece in pieces:
                total += np.matmul(S[:, piece], Z[piece], out=product)
    sums.gradient += total.reshape(V.shape)
    if opposed:
        sums.gradient[:, 1] *= -1
    return sums


@contextmanager
def _pool() -> Iterator[Pool]:
    """Yield a pool of as many threads as BLAS would use."""
    libraries = [library for library in pools() if library["user_api"] == "blas"]
    threads = max((library["num_threads"] for library in libraries), default=1)
    with limited(1), ThreadPoolExecutor(threads) as executor:
        yield Pool(threads, executor)


def _squares(G: Floats) -> Floats:
    """Return the sum of squares (M,) of each model's array (M, …)."""
    flat = G.reshape(len(G), -1)
    squares: Floats = np.einsum("mn,mn->m", flat, flat)
    return squares
