"""Numerical gradients under test: their difference, their step, and their slips."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.matching import relative_distance
from onelayer.model.doctor.points import STEP, Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import CODES, Finding, Slip

Array = NDArray[Any]
Difference = Callable[[Array, Array, Array, float], Array]
Cost = Callable[[Point], float]

NOT_RESTORED = CODES["N01"]
ONE_SIDED = CODES["N02"]
WRONG_DIVISOR = CODES["N03"]
TOO_SMALL = CODES["N04"]
TOO_LARGE = CODES["N05"]
ROUGH = CODES["N06"]
BACKWARD = CODES["N07"]
OTHER_COST = CODES["N08"]

_CENTRED = "(J(w + h) − J(w − h)) / 2h"
# Of the costs with w + h, w − h and w, and the step.
DIFFERENCES: dict[str, tuple[Slip | None, Difference]] = {
    "(J(w + h) − J(w)) / h": (None, lambda up, down, at, h: (up - at) / h),
    _CENTRED: (None, lambda up, down, at, h: (up - down) / (2 * h)),
    "(J(w) − J(w − h)) / h": (None, lambda up, down, at, h: (at - down) / h),
    "(J(w + h) − J(w − h)) / h": (WRONG_DIVISOR, lambda up, down, at, h: (up - down) / h),
    "(J(w + h) − J(w)) / 2h": (WRONG_DIVISOR, lambda up, down, at, h: (up - at) / (2 * h)),
    "J(w + h) − J(w)": (WRONG_DIVISOR, lambda up, down, at, h: up - at),
    "J(w + h) − J(w − h)": (WRONG_DIVISOR, lambda up, down, at, h: up - down),
    "(J(w) − J(w + h)) / h": (BACKWARD, lambda up, down, at, h: (at - up) / h),
    "(J(w − h) − J(w + h)) / 2h": (BACKWARD, lambda up, down, at, h: (down - up) / (2 * h)),
}
_STEPS = [10.0**-n for n in range(1, 13)]


def judge_numerical(answer: Answer, cost: Cost) -> tuple[list[Finding], float]:
    """Return the slips of a numerical gradient of this cost."""
    found, point = answer.of("base"), answer.points["base"]
    own = float(found.get("own step", np.nan))
    steps = [STEP] if "own step" in found else _STEPS
    names: dict[str, tuple[Slip | None, str, float]] = {}
    off = 0.0
    for part in ("dW", "db"):
        if part not in found:
            continue
        named, distance = _name(found[part], point, part, cost, steps)
        off = max(off, distance)
        if named is None:
            slip = ROUGH if distance < 1e-2 else OTHER_COST
            return [Finding(slip, answer.function, f"off by {distance:.1e}")], distance
        names.setdefault(named[1], named)
    return [each for named in names.values() for each in _findings(answer, own, *named)], off


def _name(
    found: Array, point: Point, part: str, cost: Cost, steps: list[float]
) -> tuple[tuple[Slip | None, str, float] | None, float]:
    """Return the slip, formula and step of the answer, None if unknown, and its distance."""
    off = np.inf
    for step in steps:
        up, down, at = (_costs(point, part, cost, move) for move in (step, -step, 0.0))
        room = 1e-9 + 1e-15 / step
        for formula, (slip, difference) in DIFFERENCES.items():
            distance = relative_distance(found, difference(up, down, at, step))
            if distance <= room:
                return (slip, formula, step), distance
            off = min(off, distance)
        kept = _costs(point, part, cost, step, keep=True)
        before = np.concatenate([at.ravel()[:1], kept.ravel()[:-1]]).reshape(at.shape)
        for start in (before, at):
            if relative_distance(found, (kept - start) / step) <= room:
                return (NOT_RESTORED, "each entry keeps its h", step), off
    return None, off


def _findings(
    answer: Answer, own: float, slip: Slip | None, formula: str, step: float
) -> Iterator[Finding]:
    step = own if np.isfinite(own) else step
    centred = formula == _CENTRED
    named_centred = re.search("slow|cent(re|er|ral)", answer.function, re.I)
    if slip:
        yield Finding(slip, answer.function, formula)
    elif named_centred and not centred:
        yield Finding(ONE_SIDED, answer.function, formula)
    elif step < 1e-8:
        yield Finding(TOO_SMALL, answer.function, f"h = {step:g}")
    elif step > (1e-3 if centred else 1e-4) and step != STEP:
        yield Finding(TOO_LARGE, answer.function, f"h = {step:g}")


def _costs(point: Point, part: str, cost: Cost, step: float, keep: bool = False) -> Array:
    """Return the cost with each entry of W or b moved by `step`; with `keep` they stay moved."""
    W, b = point.W.copy(), point.b.copy()
    array = W if part == "dW" else b
    costs = np.empty(array.shape)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + step
        costs[place] = cost(replace(point, W=W, b=b))
        if not keep:
            array[place] = before
    return costs
