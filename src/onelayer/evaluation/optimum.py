"""The smallest cost that there is: what the cost of a trained model is measured against."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.data.dataset import BLOCK, Split
from onelayer.data.sample_weights import check_sample_weights
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.losses import find_loss
from onelayer.progress import progress_bar
from onelayer.records import FINITE, Kind
from onelayer.training.run import Run

TOLERANCE = 1e-8
MOST_ITERATIONS = 20_000
LARGEST = 2 << 30  # bytes of float64 features; solving takes as many again
OPTIMA = Kind("least costs", dict[str, dict[str, Annotated[float, FINITE]]], format=2)

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """Where equation (5) is smallest: W (K, D), b (K,) and the cost J there.

    `excess` bounds how far `cost` may still be above the minimum, see find_optimum.
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
    """Minimise the cost (5) of cross-entropy by L-BFGS, from W = 0 and b = 0.

    X (N, D) are scaled features. With `sample_weights` w (N,) the mean over the samples is
    Σ w l / Σ w. For λ > 0 the cost is strictly convex in W, so there is one minimum, and where the
    gradient is g the cost is above it by some ‖g‖² / 4λ at most. The search ends where this is
    below the share `tolerance` of the cost. A class without rows gets b = −∞, where the cost is
    smallest. Takes another copy of X, in float64.

    Raises
    ------
    InputError
        If `l2` is not above 0, the weights cannot be (see check_sample_weights), or the tolerance
        is not reached.
    """
    if not 0 < l2 < math.inf:
        raise InputError(
            f"l2 is {l2}: expected a number above 0; without weight decay the cost of classes "
            "that can be separated falls for ever"
        )
    shares = np.full(len(X), 1 / len(X))
    if sample_weights is not None:
        X, y, shares = _drop_unweighted(X, y, np.asarray(sample_weights))
    present, y = np.unique(y, return_inverse=True)
    # The same problem with features of mean 0 and of length 2 on average, or less if λ is above 1
    # then: b follows the mean and λ the length. It takes far fewer steps, whatever the units; at
    # length 2 the direction that varies most weighs about as much as the 1 that b stands for.
    mean = shares @ X
    Z = X - mean
    unit = math.sqrt(max(shares @ np.einsum("nd,nd->n", Z, Z) / 4, l2))
    Z /= unit
    best = _search(Z, y, l2 / unit**2, shares, tolerance)
    if not best.excess <= tolerance * best.cost:
        raise InputError(
            f"l2 is {l2:g}: after {best.iterations} steps the cost {best.cost:.6g} may still be "
            f"{best.excess:.1g} above its minimum; a larger l2 or tolerance can be reached"
        )
    W, b = np.zeros((n_classes, len(mean))), np.full(n_classes, -math.inf)
    W[present] = best.W / unit
    b[present] = best.b - W[present] @ mean
    return replace(best, W=W, b=b)


def _search(X: Matrix, y: NDArray[np.intp], l2: float, shares: Vector, tolerance: float) -> Optimum:
    """Go downhill by L-BFGS until the excess is small enough, or no step helps any more."""
    from scipy.optimize import minimize

    class_shares = np.bincount(y, shares)
    K, D = len(class_shares), X.shape[1]
    # 2λ bends the cost along every weight; along a bias the softmax does, where all scores are
    # alike by the share of the rarest class or more.
    curvature = min(2 * l2, class_shares.min())
    excess = math.inf

    def unpack(v: Vector) -> tuple[Matrix, Vector]:
        return v[: K * D].reshape(K, D), v[K * D :]

    def objective(v: Vector) -> tuple[float, Vector]:
        nonlocal excess
        J, dW, db = network.cost_and_gradients(X, y, *unpack(v), l2, weights=shares)
        gradient = np.concatenate([dW.ravel(), db])
        excess = float(gradient @ gradient / (2 * curvature))
        return float(J), gradient

    def stop_if_close(intermediate_result: Any) -> None:  # scipy looks for this very name
        if excess <= tolerance * intermediate_result.fun:
            raise StopIteration

    found = minimize(
        objective,
        np.zeros(K * D + K),
        jac=True,
        method="L-BFGS-B",
        callback=stop_if_close,
        options={"gtol": 0, "ftol": 0, "maxiter": MOST_ITERATIONS, "maxfun": 2 * MOST_ITERATIONS},
    )
    cost, _ = objective(found.x)  # the last point tried need not be the one returned
    return Optimum(*unpack(found.x), cost, excess, int(found.nit))


def optima_of(run: Run, split: Split, cache: Path | None = None) -> NDArray[np.float64]:
    """Return the smallest cost (5) on `split` for the λ of every setting, (M,).

    NaN for λ = 0 and for a loss without a search (see Loss.optimum).

    Settings of the same λ share one search. `cache` is a JSON file of costs that were found
    before, for these samples and this scaling or for others; new ones are added to it.

    Raises
    ------
    InputError
        If the cache is not such a file, the features in float64 take more than 2 GiB, a mapped file
        has changed, or a search fails (see find_optimum).
    """
    decays = [
        float(setting.l2) if setting.l2 > 0 and find_loss(setting.loss).optimum else math.nan
        for setting in run.settings
    ]
    stored = _read_cache(cache) if cache else {}
    costs = stored.setdefault(_digest(run, split), {})
    sought = dict.fromkeys(l2 for l2 in decays if l2 > 0)
    missing = [l2 for l2 in sought if str(l2) not in costs]
    if missing:
        X = _scaled(run, split)
        with progress_bar("smallest cost", len(missing)) as update:
            for count, l2 in enumerate(missing):
                update(count, f"λ={l2:g}")
                costs[str(l2)] = find_optimum(X, split.y, len(run.class_names), l2).cost
                if cache:  # at once: Ctrl-C must not lose what took minutes
                    OPTIMA.save(stored, cache)
            update(len(missing), "")
    return np.array([costs.get(str(l2), math.nan) for l2 in decays])


def _scaled(run: Run, split: Split) -> Matrix:
    size = 8 * len(split) * split.X.shape[1]
    if size > LARGEST:
        raise InputError(
            f"the smallest cost on {len(split):,} samples needs {size / 2**30:.1f} GiB of "
            f"features in memory, expected at most {LARGEST / 2**30:g}"
        )
    split.check_unchanged()
    return run.scaling.apply(split.X)


def _digest(run: Run, split: Split) -> str:
    """Return the sha256 of all that the smallest costs depend on, but λ."""
    digest = hashlib.sha256(f"{split.X.dtype.str} {split.X.shape} {len(run.class_names)}".encode())
    for rows in split.blocks(BLOCK):
        digest.update(split.X[rows].tobytes())
    for array in (split.y.astype(np.int64), run.scaling.shift, run.scaling.factor):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, dict[str, float]]:
    """Return the costs by digest of the problem, then by λ."""
    try:
        stored = OPTIMA.load(path) if path.exists() else {}
    except InputError as error:
        raise InputError(f"{error}; delete it to have the costs found anew") from error
    return stored


def _drop_unweighted(
    X: NDArray[Any], y: NDArray[np.intp], weights: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.intp], Vector]:
    """Return the rows whose weight is above 0, and how much of the mean each of them is."""
    check_sample_weights(weights, 1, len(X))
    weights = weights.reshape(len(X)).astype(np.float64)
    used = weights > 0
    return X[used], y[used], weights[used] / weights.sum()
