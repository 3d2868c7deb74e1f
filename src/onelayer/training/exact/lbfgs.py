"""L-BFGS for many models at once, which share their products with the data and nothing else.

Liu and Nocedal 1989 (doi:10.1007/BF01589116). In place of the usual multiple of the identity, the
preconditioner of each model is the diagonal of a matrix near the inverse of its second derivatives,
scaled by the last step. The rule for steps near the minimum is that of Hager and Zhang 2005
(doi:10.1137/030601880).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MEMORY = 10  # steps that are remembered; 5 and 20 took longer
PATIENCE = 25  # evaluations without progress, after which only rounding is left
ENOUGH = 1e-4  # share of the promised decrease that a step must bring (Armijo 1966)
ALIKE = 1e3  # times their rounding: where costs are nearer than this, slopes decide

Floats = NDArray[np.float64]
Models = NDArray[np.intp]


class Point(NamedTuple):
    """Cost (m,), gradient (m, n) and the diagonal of the preconditioner (m, n) of m models."""

    cost: Floats
    gradient: Floats
    inverse: Floats


# Evaluate takes parameters (m, n) and the numbers of the models (m,). Progress returns, for each
# model, a number that falls with its distance to the minimum, and is at most 1 where it is reached.
Evaluate = Callable[[Floats, Models], Point]
Progress = Callable[[Point, Models], Floats]


def minimise(
    evaluate: Evaluate,
    start: Floats,
    progress: Progress,
    *,
    rounding: float,
    most: int,
) -> tuple[Floats, NDArray[np.intp]]:
    """Return the parameters (M, n) of least cost, and the evaluations of each model, (M,).

    A model ends when its `progress` is 1 or less, when neither that has fallen by a tenth nor the
    cost by more than rounding in PATIENCE evaluations, or after `most` of them. Costs that differ
    by the share `rounding` count as equal.
    """
    x, all_models = start.copy(), np.arange(len(start))
    point = Point(*map(np.array, evaluate(x, all_models)))
    pairs, length = _Pairs(np.sqrt(point.inverse)), np.ones(len(x))
    best, lowest = np.full((2, len(x)), np.inf)
    waited = np.zeros(len(x), np.intp)
    counts = np.ones(len(x), np.intp)
    models = all_models
    for _ in range(most):
        here = Point(*(part[models] for part in point))
        left = progress(here, models)
        fallen = here.cost < lowest[models] - 10 * rounding * np.abs(here.cost)
        better = left < 0.9 * best[models]
        waited[models] = np.where(better | fallen, 0, waited[models] + 1)
        best[models] = np.where(better, left, best[models])
        lowest[models] = np.where(fallen, here.cost, lowest[models])
        running = (left > 1) & (waited[models] < PATIENCE) & np.isfinite(here.cost)
        models, here = models[running], Point(*(part[running] for part in here))
        if not len(models):
            break
        step = length[models, None] * pairs.direction(here, models)
        promised = np.einsum("mn,mn->m", step, here.gradient)
        tried = evaluate(x[models] + step, models)
        counts[models] += 1
        change = tried.cost - here.cost
        good = change <= ENOUGH * promised + rounding * np.abs(here.cost)
        # Of a parabola, the slope at the end says the same as the costs, with less rounding.
        slope = np.einsum("mn,mn->m", step, tried.gradient)
        alike = np.abs(change) <= ALIKE * rounding * np.abs(here.cost)
        good |= alike & (slope <= (2 * ENOUGH - 1) * promised)
        pairs.add(models[good], step[good], (tried.gradient - here.gradient)[good])
        for kept, new in zip((x, *point), (x[models] + step, *tried), strict=True):
            kept[models[good]] = new[good]
        with np.errstate(divide="ignore", invalid="ignore"):
            # The minimum of the parabola through both costs and the first slope.
            shorter = np.nan_to_num(-promised / (2 * (change - promised)), posinf=0, neginf=0)
        length[models] = np.where(good, 1, length[models] * np.clip(shorter, 0.1, 0.5))
    return x, counts


class _Pairs:
    """The last steps of M models and the changes of their gradients, in float32.

    They are stored in `units` (M, n) in which the first preconditioner is 1, so that the units of
    the features do not matter and cannot overflow.
    """

    def __init__(self, units: Floats) -> None:
        self._units = units
        self._steps = np.zeros((MEMORY, *units.shape), np.float32)
        self._changes = np.zeros((MEMORY, *units.shape), np.float32)
        self._factors = np.zeros((MEMORY, len(units)))  # 1 / step·change; 0 where there is no pair
        self._next = 0

    def add(self, models: Models, steps: Floats, changes: Floats) -> None:
        """Remember a step for these models, unless the gradient fell along it."""
        slot = self._next
        self._next = (slot + 1) % MEMORY
        steps, changes = steps / self._units[models], changes * self._units[models]
        lengths = _norms(steps)
        steps, changes = steps / lengths, changes / lengths
        self._steps[slot, models], self._changes[slot, models] = steps, changes
        bent = _dots(self._steps[slot, models], self._changes[slot, models])
        useful = bent > 1e-8 * np.linalg.norm(changes, axis=1)
        self._factors[slot] = 0
        self._factors[slot, models] = np.where(useful, 1 / np.where(useful, bent, 1), 0)

    def direction(self, point: Point, models: Models) -> Floats:
        """Return the direction (m, n) in which the cost of these models falls."""
        whole = len(models) == self._steps.shape[1]
        own = slice(None) if whole else models
        units, gradient = self._units[own], point.gradient * self._units[own]
        slots = [(self._next - 1 - back) % MEMORY for back in range(MEMORY)]
        slots = [slot for slot in slots if self._factors[slot, own].any()]
        length = _norms(gradient)
        q = (gradient / length).astype(np.float32)
        inverse = (point.inverse / units**2).astype(np.float32)
        weights, scale = dict[int, Floats](), self._scale(slots, own, inverse)
        for slot in slots:
            factors = self._factors[slot, own]
            weights[slot] = factors * _dots(self._steps[slot, own], q)
            q -= weights[slot][:, None].astype(np.float32) * self._changes[slot, own]
        q *= scale[:, None].astype(np.float32) * inverse
        for slot in reversed(slots):
            change = weights[slot] - self._factors[slot, own] * _dots(self._changes[slot, own], q)
            q += change[:, None].astype(np.float32) * self._steps[slot, own]
        steps = -q * units * length
        upwards = np.einsum("mn,mn->m", steps, point.gradient) >= 0
        if upwards.any():  # only rounding is left of the pairs
            self._factors[:, models[upwards]] = 0
            steps[upwards] = -(point.inverse * point.gradient)[upwards]
        return steps

    def _scale(self, slots: Sequence[int], own: Any, inverse: NDArray[np.float32]) -> Floats:
        """Return the scale of each model's preconditioner, from its newest pair."""
        scale, open_ = np.ones(len(inverse)), np.ones(len(inverse), bool)
        for slot in slots:
            factors, changes = self._factors[slot, own], self._changes[slot, own]
            new = open_ & (factors > 0)
            seen = factors * _dots(changes, inverse * changes)
            scale[new], open_ = 1 / seen[new], open_ & ~new
            if not open_.any():
                break
        return scale


def _norms(rows: Floats) -> Floats:
    """Return the norms (m, 1) of the rows of a matrix, 1 for those that are 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 0, norms, 1)


def _dots(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Return the dot products (m,) of the rows of two matrices (m, n)."""
    products: Floats = np.matmul(a[:, None, :], b[:, :, None])[:, 0, 0].astype(np.float64)
    return products
