"""Search for the formula of given numbers, with the fewest slips first.

What every product gives at a point is computed once, and few entries of it are kept: an answer
that differs there is another formula's, and the few products that are left are compared in full.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.formulas import (
    AVERAGES,
    BIAS_PENALTIES,
    BIAS_PLACES,
    BIASES,
    FEATURES,
    PENALTIES,
    PLACES,
    ROWS,
)
from onelayer.model.doctor.points import Point
from onelayer.model.doctor.slips import Axis, Slip, Variant
from onelayer.model.doctor.slopes import slope_axis
from onelayer.model.losses import Loss

Array = NDArray[Any]
Choice = tuple[Variant, ...]
EXACT, SINGLE = 1e-9, 3e-6  # relative distances: of float64, and of float32 with its sums
MOST = 2  # number of slips in one formula, at most
FEW = 64  # entries of an answer that are looked at before all of them
PENALTY = 4  # the index of the penalty among the ideas of a gradient


@dataclass(frozen=True)
class Match:
    """A formula that gives the numbers: a variant of each idea, and the distance from them."""

    choice: Choice
    distance: float

    @property
    def wrong(self) -> tuple[Variant, ...]:
        """The ideas that are slips."""
        return tuple(variant for variant in self.choice if variant.slip)

    @property
    def slips(self) -> tuple[Slip, ...]:
        """The slips, in the order of the formula."""
        return tuple(variant.slip for variant in self.wrong if variant.slip)


@dataclass(frozen=True, eq=False)
class Formula:
    """A quantity as a product of ideas: `axes` of variants, the right one first in each."""

    axes: tuple[Axis, ...]
    compute: Callable[..., Any]

    @property
    def rights(self) -> Choice:
        """The right choice of each idea."""
        return tuple(axis[0] for axis in self.axes)

    @cached_property
    def unpenalised(self) -> "Formula":
        """The same without the slips of its penalty."""
        penalty = self.axes[PENALTY][:1]
        return replace(self, axes=(*self.axes[:PENALTY], penalty, *self.axes[PENALTY + 1 :]))

    def right(self, point: Point) -> Any:
        """Return the value of the right formula."""
        return self.of(self.rights, point)

    def of(self, choice: Choice, point: Point) -> Any:
        """Return the value of a choice at the point."""
        return self.compute(_Parts(point), choice)


class _Parts:
    """Factors at one point, computed once for all choices that share them."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.known: dict[Any, Any] = {}

    def once(self, compute: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Return the value of a function of the point, or of its sizes."""
        assert compute is not None  # the axes hold those that have one
        if compute not in self.known:
            self.known[compute] = compute(*arguments)
        return self.known[compute]

    def data(self, slope: Variant, rows: Variant, part: Variant) -> Array:
        """Return a part of the gradient without penalty, from the slopes of the rows."""
        key = slope, rows, part
        if key not in self.known:
            G = self.once(slope.slope, self.point)
            weights = self.once(rows.slope, len(self.point.X))
            assert part.slope is not None
            self.known[key] = part.slope(self.point, G * weights[:, None])
        made: Array = self.known[key]
        return made


def _gradient(parts: _Parts, choice: Choice) -> Any:
    slope, rows, average, part, penalty, place = choice
    assert place.slope is not None
    factor = parts.once(average.slope, *parts.point.sizes)
    data = factor * parts.data(slope, rows, part)
    return place.slope(data + parts.once(penalty.slope, parts.point))


def _cost(parts: _Parts, choice: Choice) -> Any:
    loss, rows, average, penalty = choice
    factor = parts.once(average.slope, *parts.point.sizes)
    weights = parts.once(rows.slope, len(parts.point.X))
    values = parts.once(loss.value, parts.point)
    return factor * (values * weights).sum() + parts.once(penalty.value, parts.point)


@cache
def formulas(loss: Loss) -> dict[str, Formula]:
    """Return the formulas of dW, db and the cost of a loss."""
    slopes = slope_axis(loss)
    sloped = tuple(v for v in slopes if v.slope)
    valued = tuple(v for v in slopes if v.value)
    decays = tuple(v for v in PENALTIES if v.slope)
    priced = tuple(v for v in PENALTIES if v.value)
    of_bias = (sloped, ROWS, AVERAGES, BIASES, BIAS_PENALTIES, BIAS_PLACES)
    return {
        "dW": Formula((sloped, ROWS, AVERAGES, FEATURES, decays, PLACES), _gradient),
        "db": Formula(of_bias, _gradient),
        "cost": Formula((valued, ROWS, AVERAGES, priced), _cost),
    }


def _choices(axes: Sequence[Axis], slips: int) -> Iterator[Choice]:
    """Yield every choice with exactly this number of slips."""
    for wrong in combinations(range(len(axes)), slips):
        yield from product(
            *(axis[1:] if place in wrong else axis[:1] for place, axis in enumerate(axes))
        )


@lru_cache(maxsize=64)
def _table(formula: Formula, point: Point, slips: int) -> tuple[list[Choice], Array]:
    """Return every choice of exactly so many slips, and few entries of what each gives, a row."""
    choices, parts = list(_choices(formula.axes, slips)), _Parts(point)
    return choices, np.array([_few(formula.compute(parts, choice)) for choice in choices])


def _few(value: Any) -> Array:
    """Return at most FEW entries, of different rows and columns."""
    flat = np.ravel(value)
    return flat[:: max(1, flat.size // FEW) | 1][:FEW]


def _candidates(formula: Formula, point: Point, answer: Array, slips: int) -> Iterator[Choice]:
    """Yield the choices of so many slips that are near the answer at few entries."""
    choices, values = _table(formula, point, slips)
    off = np.abs(values - _few(answer)).max(axis=1, initial=0.0)
    yield from (choices[place] for place in np.flatnonzero(off <= _room(answer)))


def _room(answer: Array) -> float:
    """Return a difference of entries that is surely too large for one formula."""
    return float(2 * SINGLE * np.abs(answer).max())


def explain(formula: Formula, asked: Sequence[tuple[Point, Any]], most: int = MOST) -> list[Match]:
    """Return the formulas with the fewest slips that give every answer at its point.

    A match in float64 precision goes before a match in float32 precision.
    """
    answers = [(point, np.asarray(answer)) for point, answer in asked]
    rough: list[Match] = []
    with np.errstate(all="ignore"):
        for slips in range(most + 1):
            found = [
                Match(choice, distance)
                for choice in _candidates(formula, *answers[0], slips)
                if (distance := _farthest(formula, answers, choice)) <= SINGLE
            ]
            if exact := [match for match in found if match.distance <= EXACT]:
                return _nearest(exact)
            if rough:  # one slip more does not make it exact
                break
            rough = found
    return _nearest(rough)


def _nearest(found: Sequence[Match]) -> list[Match]:
    best = min((match.distance for match in found), default=0.0)
    return [match for match in found if match.distance <= max(10 * best, 1e-12)]


def explain_gradient(
    formula: Formula, base: tuple[Point, Any], free: tuple[Point, Any] | None
) -> list[Match]:
    """Return the formulas of the gradient at the base, with a separate search for the penalty.

    At λ = 0 there is no penalty: this gives the slips of the data part first, then those of the
    penalty.
    """
    found = explain(formula, [base])
    if found or free is None:
        return found
    for match in explain(formula.unpenalised, [free]):
        for penalty in formula.axes[PENALTY]:
            choice = (*match.choice[:PENALTY], penalty, *match.choice[PENALTY + 1 :])
            distance = _farthest(formula, [base], choice)
            if distance <= max(10 * match.distance, EXACT):
                found.append(Match(choice, distance))
    return found


def _farthest(formula: Formula, asked: Sequence[tuple[Point, Any]], choice: Choice) -> float:
    """Return the largest distance of the choice from the answers; infinity if it is too large."""
    largest = 0.0
    for point, answer in asked:
        largest = max(largest, relative_distance(answer, formula.of(choice, point)))
        if largest > SINGLE:
            return np.inf
    return largest


def relative_distance(answer: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest entry; infinity if shapes differ."""
    answer, expected = np.asarray(answer), np.asarray(expected)
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return np.inf
    size = max(np.abs(answer).max(), np.abs(expected).max())
    distance = np.abs(answer - expected).max()
    return float(distance / size) if size > 0 else float(distance)
