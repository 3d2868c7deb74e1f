"""The least cost of a problem for many λ, and what is known of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.training.convergence import Convergence, join_convergence
from onelayer.training.exact.axes import Floats
from onelayer.training.exact.lbfgs import Models
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.search import Search
from onelayer.training.exact.sums import open_pool

COLUMNS = 100  # of a product, the classes of all models; more are hardly faster than two products
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


def solve(
    problem: Problem,
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
    U = problem.start()[own] if start is None else start.copy()
    order = np.argsort(-decays, kind="stable")
    together = max(1, COLUMNS // problem.weighted_loss.columns)
    parts = [order[first : first + together] for first in range(0, len(order), together)]
    found = []
    for number, some in enumerate(parts):
        if number and len(problem.frequencies) == 1:
            U[some] = U[parts[number - 1][-1]]
        solution, U[some] = _solve_at_once(
            problem, decays[some], own[some], U[some], tolerance, fast
        )
        found.append(solution)
    return join_solutions(found).take(np.argsort(order)), U


def _solve_at_once(
    problem: Problem, decays: Floats, own: Models, U: Floats, tolerance: float, fast: bool
) -> tuple[Solution, Floats]:
    """See solve; all λ in one search."""
    far, counts = np.arange(len(decays)), np.zeros(len(decays), np.intp)
    cost, norm, excess = np.empty((3, len(decays)))
    # The estimate at which a search ends is a little below the proven excess: try again.
    exact = [(problem.exact_rows, share) for share in (2, 20, 200)]
    tries = [(problem.fast_rows, 2), *exact] if fast else exact
    with open_pool() as pool:
        flat = problem.flat_slopes(pool)[own] if (decays == 0).any() else np.ones(len(own))
        for rows, share in tries:
            search = Search(problem, decays[far], own[far], pool, tolerance, flat[far])
            found, more = search.run(rows, U[far], share)
            counts[far] += more
            if rows is problem.fast_rows:
                found = search.settle(found, rows)
            U[far], cost[far], norm[far], excess[far] = search.prove(found)
            reached = np.where(decays > 0, excess <= tolerance * cost, norm <= tolerance * flat)
            tried = (decays == 0) & (rows is problem.exact_rows)
            far = np.flatnonzero(~(reached | tried))
            if not len(far):
                break
    V = problem.axes.to_features(U)
    weights = np.zeros((len(decays), problem.n_classes, V.shape[2] - 1))
    lowest = V[..., -1].min(axis=1, keepdims=True) - UNUSED
    biases = np.repeat(lowest, problem.n_classes, axis=1)
    weights[:, problem.present], biases[:, problem.present] = V[..., :-1], V[..., -1]
    return Solution(weights, biases, cost, Convergence(norm, excess), counts), U
