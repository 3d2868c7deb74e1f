"""Laws: properties of every right gradient, for any formula."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.matching import SINGLE, relative_distance
from onelayer.model.doctor.points import Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import CODES, Finding, Slip
from onelayer.model.losses import find_loss

Array = NDArray[Any]
PARTS = ("dW", "db")

FAILS = CODES["L01"]
NOT_FINITE = CODES["L02"]
REMEMBERS = CODES["L03"]
RANDOM = CODES["L04"]
WRITES = CODES["L05"]
BATCH_SIZE = CODES["L06"]
SHIFT = CODES["L07"]
BLANK = CODES["L08"]
CLASS_SUM = CODES["L09"]
OVERFLOWS = CODES["L10"]
FLOAT32 = CODES["L11"]
FAILS_ALONE = CODES["L12"]


def law_of_answers(answer: Answer) -> Iterator[Finding]:
    """Yield a finding if there are no numbers to judge: an error, a wrong shape, or NaN."""
    if "base" in answer.errors:
        yield Finding(FAILS, answer.function, answer.errors["base"])
    elif not all(np.isfinite(array).all() for array in answer.of("base").values()):
        yield Finding(NOT_FINITE, answer.function, "NaN or infinity at scores of order 1")


def laws_of_calls(answer: Answer) -> Iterator[Finding]:
    """Yield findings from a call and its repetition, without any formula."""
    if answer.changed:
        yield Finding(WRITES, answer.function, f"changed: {', '.join(answer.changed)}")
    if "turned" in answer.of("base"):
        yield Finding(FAILS, answer.function, "∂J/∂W of the shape of Wᵀ")
    base, again = answer.of("base"), answer.of("again")
    for part in PARTS:
        if part in base and part in again and relative_distance(again[part], base[part]) > SINGLE:
            slip = REMEMBERS if _accumulates(base[part], again[part]) else RANDOM
            yield Finding(slip, f"{answer.function}: {part}")
            return


def _accumulates(first: Array, second: Array) -> bool:
    """Whether every call adds the same gradient g to the answer: (n + 1) g after n g."""
    added = second - first
    calls = max(1.0, np.rint((first * added).sum() / (added * added).sum()))
    return relative_distance(first, calls * added) <= SINGLE


@dataclass(frozen=True)
class Law:
    """A relation between a part of the gradient at the base point and at another point."""

    slip: Slip
    question: str
    parts: tuple[str, ...]
    holds: Callable[[Array, Array, Point], bool]


def _near(a: Array, b: Array) -> bool:
    return relative_distance(a, b) <= SINGLE


def _sums_to_0(base: Array, found: Array, point: Point) -> bool:
    return bool(np.abs(found.sum(axis=0)).max() <= 3 * SINGLE * np.abs(found).max())


LAWS = (
    Law(BATCH_SIZE, "twice", PARTS, lambda base, found, point: _near(base, found)),
    Law(SHIFT, "shifted", PARTS, lambda base, found, point: _near(base, found)),
    Law(BLANK, "blank", ("dW",), lambda base, found, point: _near(found, 2 * point.l2 * point.W)),
    Law(CLASS_SUM, "free", PARTS, _sums_to_0),
)


def broken_laws(answer: Answer) -> Iterator[Finding]:
    """Yield the laws that an answer breaks: hints if no formula was found."""
    relative = find_loss(answer.loss).relative
    for law in LAWS:
        if law.slip in (SHIFT, CLASS_SUM) and not relative:
            continue
        base, found = answer.of("base"), answer.of(law.question)
        broken = [
            part
            for part in law.parts
            if part in base
            and part in found
            and not law.holds(base[part], found[part], answer.points[law.question])
        ]
        if broken:
            yield Finding(law.slip, f"{answer.function}: {' and '.join(broken)}")


def law_of_large_scores(answer: Answer) -> Iterator[Finding]:
    """Yield a finding if scores of ±1,000 overflow."""
    large = answer.of("large")
    finite = all(np.isfinite(large[name]).all() for name in (*PARTS, "value") if name in large)
    if "large" in answer.errors or not finite:
        found = answer.errors.get("large", "NaN at scores of 1,000")
        yield Finding(OVERFLOWS, answer.function, found)
