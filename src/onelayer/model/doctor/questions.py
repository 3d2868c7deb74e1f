"""Questions to each function of a submission, and its answers: arrays, no verdicts.

Only this part runs the code under test, in a process of its own where needed. An Answer holds plain
arrays and words; other modules judge it.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.model.doctor.conventions import Layout, arrays_of, call, layouts, readings_of
from onelayer.model.doctor.points import (
    L2,
    PICTURES,
    SIZES,
    Point,
    Sizes,
    draw_point,
    images,
    probe_points,
    splits,
)
from onelayer.model.doctor.roles import ROLES, Found, Function
from onelayer.model.doctor.taking import TAKE, distance
from onelayer.model.losses import CrossEntropy, Hinge

Array = NDArray[Any]
QUESTIONS = {
    "gradient": ("base", "again", "single", "twice", "shifted", "blank", "free", "large", "wide"),
    "cost": ("base", "twice", "free", "large"),
    "probabilities": ("base", "shifted", "large"),
    "forward": ("base", "shifted", "large"),
    "softmax": ("base", "shifted", "large"),
    "accuracy": ("base",),
    "numerical": ("base",),
    "descent": ("epochs", "one batch"),
}
_NEAR = 1e-5  # an answer at most this far from the right one settles the layout


@dataclass
class Answer:
    """The answers of a function to the questions of its role, in the shapes of docs/maths.md.

    `arrays` are named question/quantity, such as base/dW; `errors` has the reason for each question
    without arrays. `assumed` describes the call, `changed` names the arguments it wrote to.
    """

    role: str
    function: str
    loss: str = "cross-entropy"
    sizes: Sizes = SIZES
    l2: float = L2
    no_bias: bool = False
    dtype: str = "float64"
    columns: bool | None = None
    seed: int = 0
    assumed: str = ""
    changed: tuple[str, ...] = ()
    arrays: dict[str, Array] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def of(self, question: str) -> dict[str, Array]:
        """Return the arrays of the answer to a question, by name."""
        prefix = f"{question}/"
        return {k.removeprefix(prefix): a for k, a in self.arrays.items() if k.startswith(prefix)}

    @cached_property
    def points(self) -> dict[str, Point]:
        """The points of the questions, after the conventions are settled."""
        return points_of(self.sizes, self.l2, self.loss, self.no_bias, self.seed)


@lru_cache(maxsize=64)
def points_of(sizes: Sizes, l2: float, loss: str, no_bias: bool, seed: int) -> dict[str, Point]:
    """Return the points of the questions by name; with `no_bias` the bias is 0."""
    base = draw_point(sizes, l2, loss, seed)
    return probe_points(replace(base, b=np.zeros_like(base.b)) if no_bias else base, seed)


def ask_all(functions: Found, loss: str = "", seed: int = 0) -> list[Answer]:
    """Ask every function the questions of its role; the answers are in the order of ROLES.

    The points at which they are asked are drawn from `seed`.
    """
    return [
        ask(role, name, function, loss, seed)
        for role in ROLES
        for name, function in functions.get(role, ())
        if "." not in name or _can_be_asked(role, function)
    ]


def _can_be_asked(role: str, function: Function) -> bool:
    """Return whether the parameters of a method are known; many take what others return."""
    try:
        return any(readings_of(function, ROLES[role].orders))
    except TypeError:
        return False


def ask(
    role: str,
    name: str,
    function: Function,
    loss: str = "",
    seed: int = 0,
    *,
    sizes: Sizes = SIZES,
    l2: float = L2,
) -> Answer:
    """Ask one function the questions of its role; an error of the function is an answer, too.

    The sizes N, D, K should differ.
    """
    kind = loss or (Hinge if re.search("svm|hinge", name, re.I) else CrossEntropy).name
    answer = Answer(role, name, kind, sizes, l2, seed=seed)
    with np.errstate(all="ignore"):
        try:
            _ASK.get(role, _ask_at_points)(answer, function)
        except Exception as error:  # the code under test may raise anything
            answer.errors["base"] = told(error)
    return answer


def told(error: BaseException) -> str:
    """Return one short line on an error of the code under test."""
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    words = " ".join(said.split())
    return words if len(words) <= 200 else f"{words[:200]}…"


def _ask_at_points(answer: Answer, function: Function) -> None:
    layout, wanted = _settle(answer, function)
    for question in QUESTIONS[answer.role]:
        point = answer.points[question]
        given = {quantity: layout.give(quantity, point) for quantity in wanted.values()}
        before = {quantity: _copies(value) for quantity, value in given.items()}
        try:
            taken = TAKE[answer.role][0](call(function, wanted, given), layout, point)
        except Exception as error:
            answer.errors[question] = told(error)
            continue
        answer.arrays |= {f"{question}/{name}": array for name, array in taken.items()}
        if question == "base":
            answer.changed = tuple(q for q in given if not _equal(_copies(given[q]), before[q]))


@dataclass(frozen=True)
class _Try:
    """A layout that works: the quantities of the parameters, and the distance of the answer."""

    wanted: dict[str, str]
    layout: Layout
    distance: float

    @property
    def unlikeliness(self) -> tuple[bool, bool, float]:
        """A key: smallest for the right answer, else for the usual kind of labels.

        Class numbers in place of one-hot labels may be broadcast, and look like another slip.
        """
        usual = next(layouts(self.wanted))
        return self.distance >= _NEAR, self.layout.one_hot != usual.one_hot, self.distance


def _settle(answer: Answer, function: Function) -> tuple[Layout, dict[str, str]]:
    """Return the layout of the function and the quantities of its parameters; note them.

    Raises the first error of the function if no layout works.
    """
    errors: list[Exception] = []
    for sizes in (answer.sizes, PICTURES):
        answer.sizes = sizes
        if tried := list(_tries(answer, function, errors)):
            best = min(tried, key=lambda each: each.unlikeliness)
            _note(answer, best.layout, best.wanted)
            return best.layout, best.wanted
    raise errors[0]


def _tries(answer: Answer, function: Function, errors: list[Exception]) -> Iterator[_Try]:
    """Yield the layouts that work, up to the first whose answer is right."""
    take, right = TAKE[answer.role]
    for wanted in _readings(answer, function):
        l2 = answer.l2 if "l2" in wanted.values() else 0.0
        for layout in layouts(wanted):
            points = points_of(answer.sizes, l2, answer.loss, layout.bias == "none", answer.seed)
            point = points[QUESTIONS[answer.role][0]]
            given = {quantity: layout.give(quantity, point) for quantity in wanted.values()}
            try:
                taken = take(call(function, wanted, given), layout, point)
            except Exception as error:
                errors.append(error)
                continue
            found = _Try(wanted, layout, distance(taken, right(point), layout))
            yield found
            if found.distance < _NEAR:
                return


def _readings(answer: Answer, function: Function) -> list[dict[str, str]]:
    readings = list(readings_of(function, ROLES[answer.role].orders))
    if answer.role in ("gradient", "numerical"):
        names = ", ".join(readings[0])
        readings = [each for each in readings if "X" in each.values()]
        if not readings:
            raise TypeError(
                f"takes ({names}); X and y must be among them, so that others can be given"
            )
    return readings


def _note(answer: Answer, layout: Layout, wanted: Mapping[str, str]) -> None:
    sizes = "" if answer.sizes != PICTURES else f", works for {answer.sizes[1]:,} features alone"
    answer.assumed = f"{answer.function}({', '.join(wanted)}): {layout.told(wanted)}{sizes}"
    answer.no_bias = layout.bias == "none"
    answer.l2 = answer.l2 if "l2" in wanted.values() else 0.0
    answer.dtype = layout.dtype
    answer.columns = layout.columns if "X" in wanted.values() else None


def _copies(value: Any) -> list[Array]:
    return [np.array(array) for array in arrays_of(value)]


def _equal(now: list[Array], before: list[Array]) -> bool:
    return len(now) == len(before) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(now, before, strict=True)
    )


def _ask_numerical(answer: Answer, function: Function) -> None:
    """Ask with a large step; note the function's default step, NaN if there is none."""
    _ask_at_points(answer, function)
    for name, quantity in _readings(answer, function)[0].items():
        if quantity == "h":
            own = inspect.signature(function).parameters[name].default
            answer.arrays["base/own step"] = np.array(own if isinstance(own, float) else np.nan)


def _ask_normalisation(answer: Answer, function: Function) -> None:
    """Ask to normalise training, validation and test features, or one array; D×N and N×D."""
    needed = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    answer.assumed = f"{answer.function} of {len(needed)} arrays"
    given = splits()[: len(needed)]
    for side in ("N×D", "D×N"):
        try:
            made = function(*(np.array(X if side == "N×D" else X.T) for X in given))
            found = _of_shapes(made, [X.shape if side == "N×D" else X.shape[::-1] for X in given])
        except Exception as error:
            answer.errors["base"] = told(error)
            continue
        for place, array in enumerate(found):
            answer.arrays[f"{side}/{place}"] = array if side == "N×D" else array.T
    if answer.arrays:
        answer.errors.clear()


def _of_shapes(returned: Any, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Return one array of each shape, in this order, from the return value."""
    arrays = iter(arrays_of(returned))
    found = [next((a for a in arrays if a.shape == shape), None) for shape in shapes]
    if any(array is None for array in found):
        raise ValueError(f"expected arrays of the shapes {shapes}, as they came in")
    return [array for array in found if array is not None]


def _ask_pictures(answer: Answer, function: Function) -> None:
    """Ask for the pictures of W (K, 3072), all at once or row by row."""
    W = images()
    for name, rows in (("W K×D", [W]), ("W D×K", [W.T]), ("rows of W", list(W))):
        try:
            made = [array for row in rows for array in arrays_of(function(row.copy()))]
            pictures = np.concatenate([array.reshape(-1, 32, 32, 3) for array in made])
        except Exception as error:
            answer.errors.setdefault("base", told(error))
            continue
        if len(pictures) == len(W):
            answer.arrays["base/value"], answer.assumed = pictures, f"{answer.function} of {name}"
            answer.errors.clear()
            return
    if not answer.errors:
        answer.errors["base"] = "returns no pictures of 32×32×3, so they were not checked"


_ASK = {
    "numerical": _ask_numerical,
    "normalisation": _ask_normalisation,
    "pictures": _ask_pictures,
}
