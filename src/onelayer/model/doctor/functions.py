"""The other functions of the assignment: softmax, accuracy, descent, normalisation, pictures.

Each has one list of variants, the right ones first; its answer is compared with all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.laws import NOT_FINITE, SHIFT, law_of_large_scores
from onelayer.model.doctor.matching import EXACT, SINGLE, relative_distance
from onelayer.model.doctor.points import BATCH, EPOCHS, RATE, Point, images, splits
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import CODES, Axis, Finding, Slip, Variant
from onelayer.model.doctor.slopes import (
    LOG_SOFTMAX,
    NO_BIAS_IN_SCORES,
    OVER_ALL,
    OVER_BATCH,
    SIGMOID,
    UNDIVIDED,
    shifted_softmax,
    sigmoid,
    softmax,
)

Array = NDArray[Any]

NOT_KNOWN = CODES["F01"]
SCORES_GIVEN = CODES["F02"]
NOT_A_SHARE = CODES["F10"]
ERROR_RATE = CODES["F11"]
PER_CENT = CODES["F12"]
WRONG_CHOICE = CODES["F13"]
MEAN_P = CODES["F14"]
SAMPLE_MISSED = CODES["F20"]
BATCH_MISSED = CODES["F21"]
WRONG_SLICE = CODES["F22"]
WRONG_EPOCHS = CODES["F23"]
UPHILL = CODES["F24"]
NOT_UPDATED = CODES["F25"]
RATE_CHANGED = CODES["F26"]
DECAY_IN_DESCENT = CODES["F27"]
SHUFFLED = CODES["F28"]
PER_IMAGE = CODES["F30"]
OWN_MEAN = CODES["F31"]
ONE_MEAN = CODES["F32"]
HALF_SCALED = CODES["F33"]
PIXELS_MIXED = CODES["F40"]
PICTURE_TURNED = CODES["F41"]
ONE_RANGE = CODES["F42"]


def _at(slip: Slip | None, formula: str, compute: Callable[[Point], Any]) -> Variant:
    return Variant(slip, formula, compute)


SOFTMAXES: Axis = (
    _at(None, "exp(s) / Σ_k exp(s_k)", lambda p: p.P),
    _at(SIGMOID, "1 / (1 + exp(−s))", lambda p: sigmoid(p.S)),
    _at(OVER_BATCH, "exp(s) / Σ_n exp(s_n)", lambda p: softmax(p.S, 0)),
    _at(OVER_BATCH, "exp(s − max_k s) / Σ_n", lambda p: shifted_softmax(p.S, 0)),
    _at(OVER_ALL, "exp(s) / Σ_nk exp(s)", lambda p: softmax(p.S, None)),
    _at(OVER_ALL, "exp(s − max_k s) / Σ_nk", lambda p: shifted_softmax(p.S, None)),
    _at(UNDIVIDED, "exp(s)", lambda p: np.exp(p.S)),
    _at(UNDIVIDED, "exp(s − max)", lambda p: np.exp(p.S - p.S.max(axis=1, keepdims=True))),
    _at(LOG_SOFTMAX, "log p", lambda p: np.log(p.P)),
    _at(SCORES_GIVEN, "s", lambda p: p.S),
    _at(NO_BIAS_IN_SCORES, "softmax(W x)", lambda p: softmax(p.S - p.b)),
    _at(SCORES_GIVEN, "W x", lambda p: p.S - p.b),
)


def _hits(p: Point, shift: int = 0) -> Any:
    return np.mean(p.S.argmax(axis=1) + shift == p.y)


ACCURACIES: Axis = (
    _at(None, "correct / N", _hits),
    _at(NOT_A_SHARE, "correct", lambda p: _hits(p) * len(p.y)),
    _at(ERROR_RATE, "1 − correct / N", lambda p: 1 - _hits(p)),
    _at(PER_CENT, "100 · correct / N", lambda p: 100 * _hits(p)),
    _at(NOT_A_SHARE, "correct / K", lambda p: _hits(p) * len(p.y) / len(p.W)),
    _at(MEAN_P, "mean of p_y", lambda p: np.mean((p.P * p.Y).sum(axis=1))),
    _at(WRONG_CHOICE, "argmin s", lambda p: np.mean(p.S.argmin(axis=1) == p.y)),
    _at(WRONG_CHOICE, "argmax s + 1", lambda p: _hits(p, 1)),
    _at(WRONG_CHOICE, "argmax of W x", lambda p: np.mean((p.S - p.b).argmax(axis=1) == p.y)),
)


Rows = Callable[[int, int], Sequence[slice]]
Gradient = Callable[[Point], tuple[Array, Array]]


@dataclass(frozen=True)
class Descent:
    """A variant of descent: the rows of each step, epochs, rate, factor of λ, fixed parameters."""

    slip: Slip | None
    formula: str
    rows: Rows
    epochs: int = EPOCHS
    rate: float = RATE
    l2: float = 1.0
    frozen: str = ""

    def end(self, p: Point, gradient: Gradient) -> Array:
        """Return the last parameters [W b] (K, D + 1)."""
        W, b = p.W, p.b
        for _ in range(self.epochs):
            for rows in self.rows(len(p.X), BATCH):
                if len(p.X[rows]):
                    at = replace(p, X=p.X[rows], y=p.y[rows], W=W, b=b, l2=self.l2 * p.l2)
                    dW, db = gradient(at)
                    W = W if "W" in self.frozen else W - self.rate * dW
                    b = b if "b" in self.frozen else b - self.rate * db
        return np.hstack([W, b[:, None]])


def _slices(first: int = 0, last: int = 0, start: int = 0, stop: int = 0) -> Callable[..., Any]:
    """Return batches without the `first` and `last` ones, with shifted ends of the slices."""

    def rows(N: int, B: int) -> list[slice]:
        firsts = range(first * B, N - last * B, B)
        return [slice(max(n + start, 0), n + B + stop) for n in firsts]

    return rows


DESCENTS = (
    Descent(None, "E epochs of N / B batches in order", _slices()),
    Descent(SAMPLE_MISSED, "without the last row of each batch", _slices(stop=-1)),
    Descent(SAMPLE_MISSED, "without the first row of each batch", _slices(start=1)),
    Descent(SAMPLE_MISSED, "one row of the next batch, too", _slices(stop=1)),
    Descent(SAMPLE_MISSED, "one row further on", _slices(start=1, stop=1)),
    Descent(BATCH_MISSED, "without the last batch", _slices(last=1)),
    Descent(BATCH_MISSED, "without the first batch", _slices(first=1)),
    Descent(WRONG_SLICE, "the first batch each time", lambda N, B: [slice(0, B)] * (N // B)),
    Descent(WRONG_SLICE, "the last batch each time", lambda N, B: [slice(N - B, N)] * (N // B)),
    Descent(WRONG_SLICE, "all rows each time", lambda N, B: [slice(0, N)] * (N // B)),
    Descent(WRONG_SLICE, "all rows, once an epoch", lambda N, B: [slice(0, N)]),
    Descent(WRONG_SLICE, "rows j to j + B", lambda N, B: [slice(j, j + B) for j in range(N // B)]),
    Descent(WRONG_SLICE, "up to each batch", lambda N, B: [slice(n + B) for n in range(0, N, B)]),
    Descent(WRONG_EPOCHS, "E − 1 epochs", _slices(), epochs=EPOCHS - 1),
    Descent(WRONG_EPOCHS, "E + 1 epochs", _slices(), epochs=EPOCHS + 1),
    Descent(WRONG_EPOCHS, "one epoch", _slices(), epochs=1),
    Descent(UPHILL, "W + η ∂J/∂W", _slices(), rate=-RATE),
    Descent(NOT_UPDATED, "W stays", _slices(), frozen="W"),
    Descent(NOT_UPDATED, "b stays", _slices(), frozen="b"),
    Descent(NOT_UPDATED, "W and b stay", _slices(), frozen="Wb"),
    Descent(RATE_CHANGED, "η B", _slices(), rate=RATE * BATCH),
    Descent(RATE_CHANGED, "η / B", _slices(), rate=RATE / BATCH),
    Descent(DECAY_IN_DESCENT, "λ = 0", _slices(), l2=0.0),
    Descent(DECAY_IN_DESCENT, "λW", _slices(), l2=0.5),
    Descent(DECAY_IN_DESCENT, "4λW", _slices(), l2=2.0),
    Descent(DECAY_IN_DESCENT, "−2λW", _slices(), l2=-1.0),
)


def _scaled(X: Array, of: Array, axis: int | None, ddof: int = 0) -> Array:
    mean = of.mean(axis=axis, keepdims=True)
    return np.asarray((X - mean) / of.std(axis=axis, ddof=ddof, keepdims=True))


_Scaling = Callable[[Array, Array], Array]
NORMALISATIONS: tuple[tuple[Slip | None, str, _Scaling], ...] = (
    (None, "(x − mean) / deviation", lambda X, T: _scaled(X, T, 0)),
    (None, "(x − mean) / deviation with N − 1", lambda X, T: _scaled(X, T, 0, 1)),
    (PER_IMAGE, "mean and deviation of each image", lambda X, T: _scaled(X, X, 1)),
    (PER_IMAGE, "mean of each image", lambda X, T: X - X.mean(axis=1, keepdims=True)),
    (OWN_MEAN, "mean and deviation of each split", lambda X, T: _scaled(X, X, 0)),
    (OWN_MEAN, "mean and deviation (N − 1) of each split", lambda X, T: _scaled(X, X, 0, 1)),
    (OWN_MEAN, "mean of each split", lambda X, T: X - X.mean(axis=0)),
    (OWN_MEAN, "mean of each split, deviation of training", lambda X, T: (
        X - X.mean(axis=0)) / T.std(axis=0)),
    (ONE_MEAN, "mean and deviation of all entries", lambda X, T: _scaled(X, T, None)),
    (HALF_SCALED, "x − mean", lambda X, T: X - T.mean(axis=0)),
    (HALF_SCALED, "x / deviation", lambda X, T: X / T.std(axis=0)),
    (HALF_SCALED, "(x − mean) / variance", lambda X, T: (X - T.mean(axis=0)) / T.var(axis=0)),
)  # fmt: skip


def _planes(order: tuple[int, ...], shape: tuple[int, ...] = (3, 32, 32)) -> Callable[[Array], Any]:
    return lambda W: W.reshape(-1, *shape).transpose(0, *(axis + 1 for axis in order))


PICTURES: tuple[tuple[Slip | None, str, Callable[[Array], Any]], ...] = (
    (None, "row → 3×32×32 → 32×32×3", _planes((1, 2, 0))),
    (PIXELS_MIXED, "row → 32×32×3", _planes((0, 1, 2), (32, 32, 3))),
    (PIXELS_MIXED, "row → 32×32×3, transposed", _planes((1, 0, 2), (32, 32, 3))),
    (PICTURE_TURNED, "row → 3×32×32, reversed axes", _planes((2, 1, 0))),
    (PICTURE_TURNED, "upside down", lambda W: _planes((1, 2, 0))(W)[:, ::-1]),
    (PICTURE_TURNED, "mirrored", lambda W: _planes((1, 2, 0))(W)[:, :, ::-1]),
    (PICTURE_TURNED, "colours reversed", lambda W: _planes((1, 2, 0))(W)[..., ::-1]),
)


def _nearest(
    answer: Answer, found: Any, made: Iterable[tuple[Slip | None, str, Any]]
) -> tuple[list[Finding], float]:
    """Return the slip nearest to an answer, and the distance of the answer from the right one.

    The first of `made` is the right one.
    """
    off, rough = np.inf, None
    for place, (slip, formula, value) in enumerate(made):
        distance = relative_distance(found, value)
        off = distance if place == 0 else off
        if off <= SINGLE:
            return [], off
        if slip and distance <= EXACT:
            return [Finding(slip, answer.function, formula)], off
        if slip and distance <= SINGLE:
            rough = rough or Finding(slip, answer.function, formula)
    unknown = NOT_KNOWN if np.isfinite(found).all() else NOT_FINITE
    return [rough or Finding(unknown, answer.function)], off


def _name_one(answer: Answer, found: Any, axis: Axis, point: Point) -> tuple[list[Finding], float]:
    return _nearest(answer, found, ((v.slip, v.formula, v.slope(point)) for v in axis if v.slope))


def judge_probabilities(answer: Answer) -> tuple[list[Finding], float]:
    """Name the slip of probabilities; then check shifted and large scores."""
    found = answer.of("base")["value"]
    findings, off = _name_one(answer, found, SOFTMAXES, answer.points["base"])
    shifted = answer.of("shifted").get("value")
    if not findings and shifted is not None and relative_distance(shifted, found) > SINGLE:
        findings.append(Finding(SHIFT, answer.function))
    if not findings:
        findings += law_of_large_scores(answer)
    return findings, off


def judge_forward(answer: Answer) -> tuple[list[Finding], float]:
    """Judge a forward pass, which may end at the scores, at probabilities or at their logarithm."""
    found, point = answer.of("base")["value"], answer.points["base"]
    off = min(relative_distance(found, scores) for scores in (point.S, np.log(point.P)))
    return ([], off) if off <= SINGLE else judge_probabilities(answer)


def judge_accuracy(answer: Answer) -> tuple[list[Finding], float]:
    """Name the slip of an accuracy."""
    found = np.asarray(answer.of("base")["value"], float)
    return _name_one(answer, found, ACCURACIES, answer.points["base"])


def judge_descent(answer: Answer, gradient: Gradient) -> tuple[list[Finding], float]:
    """Name the slip of a descent with this gradient; a single batch has only one order."""
    findings, off = _name_descent(answer, "epochs", DESCENTS, gradient)
    if findings and findings[0].slip is NOT_KNOWN and answer.of("one batch"):
        others = [each for each in DESCENTS if each.slip not in (BATCH_MISSED, WRONG_SLICE)]
        findings, _ = _name_descent(answer, "one batch", others, gradient)
        findings = findings or [Finding(SHUFFLED, answer.function)]
    return findings, off


def _name_descent(
    answer: Answer, question: str, descents: Sequence[Descent], gradient: Gradient
) -> tuple[list[Finding], float]:
    point = answer.points[question]
    made = ((each.slip, each.formula, each.end(point, gradient)) for each in descents)
    return _nearest(answer, _joined(answer, question), made)


def _joined(answer: Answer, question: str) -> Array:
    found = answer.of(question)
    b = found.get("db", answer.points[question].b)
    return np.hstack([found["dW"], b[:, None]])


def judge_normalisation(answer: Answer, columns: bool | None) -> tuple[list[Finding], float]:
    """Name the slips of a normalisation, split by split.

    If no other function shows whether samples are rows or columns, the better of both is taken.
    """
    sides = {None: ("N×D", "D×N"), False: ("N×D",), True: ("D×N",)}[columns]
    answered = [side for side in sides if answer.of(side)] or ["N×D" if columns else "D×N"]
    outcomes = [_named_splits(answer, side) for side in answered]
    return min(outcomes, key=lambda outcome: len(outcome[0]))


def _named_splits(answer: Answer, side: str) -> tuple[list[Finding], float]:
    given, found = splits(), answer.of(side)
    slips: dict[Slip, str] = {}
    off = 0.0
    for place, X in enumerate(given[: len(found)]):
        made = [
            (relative_distance(found[f"{place}"], scale(X, given[0])), slip, formula)
            for slip, formula, scale in NORMALISATIONS
        ]
        off = max(off, min(distance for distance, slip, _ in made if slip is None))
        near = [(slip, formula) for distance, slip, formula in made if distance <= SINGLE]
        slip, formula = near[0] if near else (NOT_KNOWN, "")
        if slip:
            slips[slip] = formula
    return [Finding(slip, answer.function, formula) for slip, formula in slips.items()], off


def judge_pictures(answer: Answer) -> tuple[list[Finding], float]:
    """Name the order of pixels in pictures, of any range; then check the range."""
    found, W = answer.of("base")["value"], images()
    for slip, formula, draw in PICTURES:
        off = relative_distance(_stretched(found), _stretched(np.asarray(draw(W))))
        if off <= 0.02:  # pictures may be of 256 levels
            return list(_of_pictures(answer, found, slip, formula)), off
    return [Finding(NOT_KNOWN, answer.function)], off


def _of_pictures(
    answer: Answer, found: Array, slip: Slip | None, formula: str
) -> Iterator[Finding]:
    flat = found.reshape(len(found), -1)
    lowest, highest = flat.min(axis=1), flat.max(axis=1)
    if slip:
        yield Finding(slip, answer.function, formula)
    elif not (np.ptp(lowest) <= 0.01 * np.ptp(flat) and np.ptp(highest) <= 0.01 * np.ptp(flat)):
        yield Finding(ONE_RANGE, answer.function, "pictures of different ranges")


def _stretched(pictures: Array) -> Array:
    low = pictures.min(axis=(1, 2, 3), keepdims=True)
    stretched: Array = (pictures - low) / np.maximum(
        np.ptp(pictures, axis=(1, 2, 3))[:, None, None, None], 1e-300
    )
    return stretched
