"""The minimum of the cost, with which the cost of a trained model is compared."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.data.dataset import BLOCK, Split
from onelayer.data.sample_weights import check_sample_weights
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.model.losses import CROSS_ENTROPY, Loss, find_loss
from onelayer.progress import progress_bar
from onelayer.records import FINITE, Kind
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.solve import Solution, solve
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import Run

TOLERANCE = 1e-8
OPTIMA = Kind("least costs", dict[str, dict[str, Annotated[float, FINITE]]], format=3)

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """The minimum of equation (5): W (K, D), b (K,) and the cost J there.

    `excess` is a bound on the difference between `cost` and the minimum, see find_optimum.
    """

    W: Matrix
    b: Vector
    cost: float
    excess: float
    iterations: int


def find_optimum(
    X: NDArray[Any],
    y: NDArray[np.intp],
    n_classes: int,
    l2: float,
    *,
    sample_weights: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
) -> Optimum:
    """Minimise the cost (5) of cross-entropy by the exact solver: one λ, on scaled features X.

    With `sample_weights` w (N,) the mean over the samples is Σ w l / Σ w. The search ends when the
    cost is above the minimum by at most the share `tolerance`. A class without rows gets b = −∞,
    which minimises the cost.

    Raises
    ------
    InputError
        If `l2` is not above 0, the weights are not valid (see check_sample_weights), or the
        tolerance is not reached.
    """
    if not 0 < l2 < math.inf:
        raise InputError(
            f"l2 is {l2}: expected a number above 0; without weight decay the cost of separable "
            "classes has no minimum"
        )
    D = X.shape[1]
    weights = np.ones(len(X)) if sample_weights is None else np.asarray(sample_weights)
    check_sample_weights(weights, 1, len(X))
    weights = weights.reshape(len(X)).astype(np.float64)
    as_it_is = Scaling("none", np.zeros(D), np.ones(D))
    solution = _solve(Split(X, y), as_it_is, weights, CROSS_ENTROPY, n_classes, [l2], tolerance)
    b = solution.biases[0]
    b[~np.isin(np.arange(n_classes), y[weights > 0])] = -math.inf
    cost, excess = float(solution.cost[0]), float(solution.convergence.excess[0])
    return Optimum(solution.weights[0], b, cost, excess, int(solution.evaluations[0]))


def _solve(
    split: Split,
    scaling: Scaling,
    weights: Vector,
    loss: Loss,
    n_classes: int,
    l2: Sequence[float],
    tolerance: float,
) -> Solution:
    """Return the optimum for each λ; InputError if the tolerance is not reached."""
    problem = Problem(split, weights, scaling, loss, n_classes)
    solution, _ = solve(problem, l2, tolerance=tolerance)
    excess = solution.convergence.excess
    for model in np.flatnonzero(~(excess <= tolerance * solution.cost)).tolist():
        raise InputError(
            f"l2 is {l2[model]:g}: after {solution.evaluations[model]} steps the cost "
            f"{solution.cost[model]:.6g} may still be {excess[model]:.1g} above its minimum; a "
            "larger l2 or tolerance can be reached"
        )
    return solution


def optima_of(run: Run, split: Split, cache: Path | None = None) -> NDArray[np.float64]:
    """Return the smallest cost (5) on `split` for the λ and the loss of every setting, (M,).

    It is NaN for λ = 0 and for a loss that is not smooth. All λ of a loss are solved together.
    `cache` is a JSON file of costs that were found before, for these or other samples and scalings;
    new ones are added to it.

    Raises
    ------
    InputError
        If the cache is not such a file, a mapped file has changed, or a search fails (see
        find_optimum).
    """
    stored = _read_cache(cache) if cache else {}
    costs = stored.setdefault(_digest(run, split), {})
    keys = [_key(setting) for setting in run.settings]
    missing = dict.fromkeys(key for key in keys if key and key not in costs)
    losses = dict.fromkeys(
        setting.loss for key, setting in zip(keys, run.settings, strict=True) if key in missing
    )
    with progress_bar("smallest cost", len(missing)) as update:
        for loss in losses:
            split.check_unchanged()
            own = [key for key in missing if key.startswith(f"{loss} ")]
            decays = [float(key.rpartition(" ")[2]) for key in own]
            K, ones = len(run.class_names), np.ones(len(split))
            found = _solve(split, run.scaling, ones, find_loss(loss), K, decays, TOLERANCE)
            costs.update(zip(own, found.cost.tolist(), strict=True))
            update(len(own), loss)
    if cache and missing:
        OPTIMA.save(stored, cache)
    return np.array([costs.get(key, math.nan) for key in keys])


def _key(setting: Hyperparameters) -> str:
    """Return the key of a setting in the cache, its loss and λ; "" if it has no optimum."""
    known = setting.l2 > 0 and find_loss(setting.loss).smooth
    return f"{setting.loss} {float(setting.l2)}" if known else ""


def _digest(run: Run, split: Split) -> str:
    """Return the SHA-256 of everything that the smallest costs depend on, except λ."""
    digest = hashlib.sha256(f"{split.X.dtype.str} {split.X.shape} {len(run.class_names)}".encode())
    for rows in split.blocks(BLOCK):
        digest.update(split.X[rows].tobytes())
    for array in (split.y.astype(np.int64), run.scaling.shift, run.scaling.factor):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, dict[str, float]]:
    """Return the costs by digest of the problem, then by loss and λ."""
    try:
        stored = OPTIMA.load(path) if path.exists() else {}
    except InputError as error:
        raise InputError(f"{error}; delete it to have the costs found anew") from error
    return stored
