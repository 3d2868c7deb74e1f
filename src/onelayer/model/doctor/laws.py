"""Laws that every right gradient keeps, whichever formula it came from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.matching import SINGLE, relative_distance
from onelayer.model.doctor.points import Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import Finding, Slip, declare
from onelayer.model.losses import find_loss

Array = NDArray[Any]
PARTS = ("dW", "db")

FAILS = declare(
    "L01",
    "fails or returns another shape",
    "The function ends in an error, or returns arrays of other shapes than W and b.",
    "Call it with N, D and K that all differ, and print each shape.",
    "∂J/∂W has the shape of W, ∂J/∂b that of b",
)
NOT_FINITE = declare(
    "L02",
    "no finite numbers",
    "The answer holds NaN or infinity.",
    "Which operation can divide by 0, or take the logarithm of 0?",
    "finite numbers",
)
REMEMBERS = declare(
    "L03",
    "adds to an earlier gradient",
    "The second call returns the first gradient once more: gradients accumulate.",
    "Where is your gradient set to 0, before each call or once?",
    "the same call gives the same gradient",
)
RANDOM = declare(
    "L04",
    "the same call twice differs",
    "Two calls with the same arguments return different gradients, as with a fresh dropout mask.",
    "What in your function is random, or is left over from the call before?",
    "the same call gives the same gradient",
)
WRITES = declare(
    "L05",
    "changes its arguments",
    "The function writes into the arrays that it gets.",
    "Look for += and -= on arguments: do you own that array?",
    "arguments are left alone",
)
BATCH_SIZE = declare(
    "L06",
    "depends on the size of the batch",
    "A batch given twice has another gradient; a mean would not change.",
    "Is each term a mean over the samples, or a sum?",
    "the batch twice: the same gradient",
)
SHIFT = declare(
    "L07",
    "depends on a constant in all scores",
    "The same number added to every score changes the result; the softmax does not see it.",
    "Compute the softmax of (1, 2) and of (101, 102) by hand.",
    "softmax(s + c) = softmax(s)",
)
BLANK = declare(
    "L08",
    "W learns from features that are 0",
    "With X = 0 only the weight decay is left in the gradient of W; here more, or less, is.",
    "Set X to 0 in your function: which terms should vanish?",
    "X = 0: ∂J/∂W = 2λW",
)
CLASS_SUM = declare(
    "L09",
    "slopes of a sample do not sum to 0",
    "Without weight decay the gradient sums to 0 over the classes; here it does not.",
    "Probabilities and one-hot labels both sum to 1. What about their difference?",
    "Σ_k ∂J/∂W_k = 0 for λ = 0",
)
OVERFLOWS = declare(
    "L10",
    "softmax without the shift overflows",
    "Scores of 1,000 give NaN: exp(1000) is more than a number can hold.",
    "Which number may be subtracted from all scores of a sample without changing its softmax?",
    "exp(s − max s) / Σ exp(s − max s)",
    advice=True,
)
FLOAT32 = declare(
    "L11",
    "computed in single precision",
    "The numbers are right to 7 digits only, as in float32: a check at 1e-6 may fail on them.",
    "Print the dtype of every array on the way. A gradient check needs float64.",
    "float64",
    advice=True,
)
FAILS_ALONE = declare(
    "L12",
    "fails for a single sample",
    "With one sample in the batch the function ends in an error, or returns another shape.",
    "What shape has your array of one column after a sum, or after squeeze?",
    "any number of samples",
)


def law_of_answers(answer: Answer) -> Iterator[Finding]:
    """Yield whether there are numbers to judge: no error, no other shape, no NaN."""
    if "base" in answer.errors:
        yield Finding(FAILS, answer.function, answer.errors["base"])
    elif not all(np.isfinite(array).all() for array in answer.of("base").values()):
        yield Finding(NOT_FINITE, answer.function, "NaN or infinity at scores of order 1")


def laws_of_calls(answer: Answer) -> Iterator[Finding]:
    """Yield what a call and its repetition show, before any formula is looked at."""
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
    """Whether the second call adds what each call before has added: (n + 1) g after n g."""
    added = second - first
    calls = max(1.0, np.rint((first * added).sum() / (added * added).sum()))
    return relative_distance(first, calls * added) <= SINGLE


@dataclass(frozen=True)
class Law:
    """What a part of the gradient is at another point, given the base's."""

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
    """Yield the laws of the formula that an answer breaks: hints where no formula was found."""
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
    """Yield whether scores of ±1,000 overflow."""
    large = answer.of("large")
    finite = all(np.isfinite(large[name]).all() for name in (*PARTS, "value") if name in large)
    if "large" in answer.errors or not finite:
        found = answer.errors.get("large", "NaN at scores of 1,000")
        yield Finding(OVERFLOWS, answer.function, found)
