"""Numerical gradients under test: which difference of which step, and what was forgotten."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model import network
from onelayer.model.doctor.matching import relative_distance
from onelayer.model.doctor.points import STEP, Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import Finding, Slip, declare

Array = NDArray[Any]
Difference = Callable[[Callable[[float], float], float], float]

NOT_RESTORED = declare(
    "N01",
    "parameter not restored",
    "An entry stays moved while the next ones are tried.",
    "After the loop, is W what it was before?",
    "W as it was, but for one entry",
)
ONE_SIDED = declare(
    "N02",
    "one-sided difference called centred",
    "This is a one-sided difference, whose error is of the order of h, not of h².",
    "At how many sides of w is a centred difference's cost taken?",
    "(J(w + h) − J(w − h)) / 2h",
)
WRONG_DIVISOR = declare(
    "N03",
    "difference divided by the wrong step",
    "The difference of the costs is divided by another length than they are apart.",
    "How far apart are the two places at which the cost is taken?",
    "the difference over the distance",
)
TOO_SMALL = declare(
    "N04",
    "step too small",
    "The step is so small that the rounding of the cost shows.",
    "Both costs have 16 digits. How many are left of their difference?",
    "h of 1e-6 (forward), 1e-5 (centred)",
)
TOO_LARGE = declare(
    "N05",
    "step too large",
    "The step is so large that the curvature of the cost shows.",
    "Halve the step: by how much does the result change?",
    "h of 1e-6 (forward), 1e-5 (centred)",
)
ROUGH = declare(
    "N06",
    "numerical gradient in single precision",
    "The costs are computed in float32: their difference is mostly rounding.",
    "Which dtype have W and b inside the loop?",
    "float64",
)
BACKWARD = declare(
    "N07",
    "numerical gradient of the wrong sign",
    "The costs are subtracted the wrong way round.",
    "If the cost rises with w, is your difference positive?",
    "(J(w + h) − J(w)) / h",
)
OTHER_COST = declare(
    "N08",
    "numerical gradient of another cost",
    "No difference of the textbook's cost, of any step, gives these numbers.",
    "Which cost does it call? Is λ handed on?",
    "differences of J = (1/N) Σ l + λ Σ W²",
)

_CENTRED = "(J(w + h) − J(w − h)) / 2h"
DIFFERENCES: dict[str, tuple[Slip | None, Difference]] = {
    "(J(w + h) − J(w)) / h": (None, lambda J, h: (J(h) - J(0)) / h),
    _CENTRED: (None, lambda J, h: (J(h) - J(-h)) / (2 * h)),
    "(J(w) − J(w − h)) / h": (None, lambda J, h: (J(0) - J(-h)) / h),
    "(J(w + h) − J(w − h)) / h": (WRONG_DIVISOR, lambda J, h: (J(h) - J(-h)) / h),
    "(J(w + h) − J(w)) / 2h": (WRONG_DIVISOR, lambda J, h: (J(h) - J(0)) / (2 * h)),
    "J(w + h) − J(w)": (WRONG_DIVISOR, lambda J, h: J(h) - J(0)),
    "J(w + h) − J(w − h)": (WRONG_DIVISOR, lambda J, h: J(h) - J(-h)),
    "(J(w) − J(w + h)) / h": (BACKWARD, lambda J, h: (J(0) - J(h)) / h),
    "(J(w − h) − J(w + h)) / 2h": (BACKWARD, lambda J, h: (J(-h) - J(h)) / (2 * h)),
}
_STEPS = [10.0**-n for n in range(1, 13)]


def judge_numerical(answer: Answer) -> tuple[list[Finding], str]:
    """Return the slips of a numerical gradient, and which difference of which step it is."""
    found, point = answer.of("base"), answer.points["base"]
    own = float(found.get("own step", np.nan))
    steps = [STEP] if "own step" in found else _STEPS
    for step, (formula, (slip, difference)) in product(steps, DIFFERENCES.items()):
        moved = _gradient(point, difference, step)
        if _agrees(found, moved, step):
            return [*_of(answer, slip, formula, own if np.isfinite(own) else step)], formula
    for step, back in product(steps, (False, True)):
        if _agrees(found, _unrestored(point, step, back), step):
            return [Finding(NOT_RESTORED, answer.function, "each entry keeps its h")], ""
    right = _gradient(point, DIFFERENCES[_CENTRED][1], step)
    off = max(relative_distance(found[part], right[part]) for part in right if part in found)
    slip = ROUGH if off < 1e-2 else OTHER_COST
    return [Finding(slip, answer.function, f"off by {off:.1e}")], ""


def _of(answer: Answer, slip: Slip | None, formula: str, step: float) -> Iterator[Finding]:
    if slip:
        yield Finding(slip, answer.function, formula)
        return
    centred = formula == _CENTRED
    plain = answer.function.lower()
    if not centred and any(word in plain for word in ("slow", "centred", "centered", "central")):
        yield Finding(ONE_SIDED, answer.function, formula)
    if step != STEP and step < 1e-8:
        yield Finding(TOO_SMALL, answer.function, f"h = {step:g}")
    elif step != STEP and step > (1e-3 if centred else 1e-4):
        yield Finding(TOO_LARGE, answer.function, f"h = {step:g}")


def _agrees(found: dict[str, Array], moved: dict[str, Array], step: float) -> bool:
    """Whether the answers are these differences, but for the rounding of the costs."""
    room = 1e-9 + 1e-15 / step
    shared = [part for part in moved if part in found]
    return all(relative_distance(found[part], moved[part]) <= room for part in shared)


def _gradient(point: Point, difference: Difference, step: float) -> dict[str, Array]:
    W, b = point.W.copy(), point.b.copy()
    found = {}
    for name, array in (("dW", W), ("db", b)):
        moved = [difference(_along(point, W, b, array, each), step) for each in _places(array)]
        found[name] = np.array(moved).reshape(array.shape)
    return found


def _places(array: Array) -> Iterator[tuple[int, ...]]:
    yield from np.ndindex(array.shape)


def _along(
    point: Point, W: Array, b: Array, array: Array, place: tuple[int, ...]
) -> Callable[[float], float]:
    """Return t ↦ J with one entry moved by t."""

    def cost(t: float) -> float:
        kept = array[place]
        array[place] = kept + t
        J = network.cost(point.X, point.y, W, b, point.l2, point.loss)
        array[place] = kept
        return float(J)

    return cost


def _unrestored(point: Point, step: float, from_start: bool) -> dict[str, Array]:
    """Return forward differences whose entries stay moved, against the cost before or at first."""
    found = {}
    for name in ("dW", "db"):
        W, b = point.W.copy(), point.b.copy()
        array = W if name == "dW" else b
        costs = [float(network.cost(point.X, point.y, W, b, point.l2, point.loss))]
        for place in _places(array):
            array[place] += step
            costs.append(float(network.cost(point.X, point.y, W, b, point.l2, point.loss)))
        before = costs[0] if from_start else np.array(costs[:-1])
        found[name] = ((np.array(costs[1:]) - before) / step).reshape(array.shape)
    return found
