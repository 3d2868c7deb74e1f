"""Search for the formula of given numbers, with the fewest slips first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
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


@dataclass(frozen=True)
class Formula:
    """A quantity as a product of ideas: `axes` of variants, the right one first in each."""

    axes: tuple[Axis, ...]
    compute: Callable[..., Any]

    @property
    def rights(self) -> Choice:
        """The right choice of each idea."""
        return tuple(axis[0] for axis in self.axes)

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
        self.slopes = cache(lambda slope: slope.slope(point))
        self.values = cache(lambda loss: loss.value(point))
        self.rows = cache(lambda rows: rows.slope(len(point.X)))
        self.penalty = cache(lambda penalty: penalty.slope(point))
        self.data = cache(self._data)

    def _data(self, slope: Variant, rows: Variant, part: Variant) -> Array:
        """Return a part of the gradient without penalty, from the slopes of the rows."""
        G = self.slopes(slope) * self.rows(rows)[:, None]
        made: Array = _call(part, self.point, G)
        return made


def _call(variant: Variant, *arguments: Any) -> Any:
    assert variant.slope is not None  # all variants in the axes have one
    return variant.slope(*arguments)


def _gradient(parts: _Parts, choice: Choice) -> Any:
    slope, rows, average, part, penalty, place = choice
    factor = _call(average, *parts.point.sizes)
    return _call(place, factor * parts.data(slope, rows, part) + parts.penalty(penalty))


def _cost(parts: _Parts, choice: Choice) -> Any:
    loss, rows, average, penalty = choice
    assert penalty.value is not None
    factor = _call(average, *parts.point.sizes)
    return factor * (parts.values(loss) * parts.rows(rows)).sum() + penalty.value(parts.point)


PENALTY = 4  # the index of the penalty among the ideas of a gradient


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


def explain(formula: Formula, asked: Sequence[tuple[Point, Any]], most: int = MOST) -> list[Match]:
    """Return the formulas with the fewest slips that give every answer at its point.

    A match in float64 precision goes before a match in float32 precision.
    """
    parts = [(_Parts(point), np.asarray(answer)) for point, answer in asked]
    rough: list[Match] = []
    with np.errstate(all="ignore"):
        for slips in range(most + 1):
            found = [
                Match(choice, distance)
                for choice in _choices(formula.axes, slips)
                if (distance := _farthest(formula, parts, choice)) <= SINGLE
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
    parts = [(_Parts(base[0]), np.asarray(base[1]))]
    unpenalised = replace(
        formula, axes=(*formula.axes[:PENALTY], formula.axes[PENALTY][:1], formula.axes[-1])
    )
    for match in explain(unpenalised, [free]):
        for penalty in formula.axes[PENALTY]:
            choice = (*match.choice[:PENALTY], penalty, *match.choice[PENALTY + 1 :])
            distance = _farthest(formula, parts, choice)
            if distance <= max(10 * match.distance, EXACT):
                found.append(Match(choice, distance))
    return found


def _farthest(formula: Formula, parts: Sequence[tuple[_Parts, Array]], choice: Choice) -> float:
    """Return the largest distance of the choice from the answers; infinity if it is too large."""
    largest = 0.0
    for each, answer in parts:
        value = formula.compute(each, choice)
        if not np.abs(value - answer).max() <= 2 * SINGLE * np.abs(answer).max():
            return np.inf  # true for nearly all choices, and quicker than their distance
        largest = max(largest, relative_distance(answer, value))
    return largest if largest <= SINGLE else np.inf


def relative_distance(answer: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest entry; infinity if shapes differ."""
    answer, expected = np.asarray(answer), np.asarray(expected)
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return np.inf
    size = max(np.abs(answer).max(), np.abs(expected).max())
    distance = np.abs(answer - expected).max()
    return float(distance / size) if size > 0 else float(distance)
