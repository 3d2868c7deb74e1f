"""Variants of the slope of the loss, G = ∂l/∂s (N, K): the right one and the slips.

A variant computes G by `slope`, and the losses l (N,) of the same idea, if any, by `value`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from onelayer.model.doctor.points import Point
from onelayer.model.doctor.slips import CODES, Axis, Slip, Variant
from onelayer.model.losses import LOSSES, CrossEntropy, Hinge, Loss

Array = NDArray[Any]
_EPSILONS = [10.0**-n for n in range(2, 9)]


def softmax(S: Array, axis: int | None = 1) -> Array:
    """Return exp(S) (N, K) divided by its sum along the axis, or by the sum of all entries."""
    P: Array = special.softmax(S, axis=axis)
    return P


def shifted_softmax(S: Array, axis: int | None) -> Array:
    """Return the same, (N, K), but with the shift along axis 1, which changes the result."""
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P: Array = E / E.sum(axis=axis, keepdims=True)
    return P


def sigmoid(S: Array) -> Array:
    """Return 1 / (1 + exp(−s)), (N, K)."""
    P: Array = special.expit(S)
    return P


def _through_softmax(P: Array, g: Array) -> Array:
    """Return the slope of a loss by s, from its slope g by p (chain rule)."""
    slopes: Array = P * (g - (P * g).sum(axis=1, keepdims=True))
    return slopes


def _margins(p: Point, margin: float = 1.0) -> Array:
    M: Array = p.S - (p.S * p.Y).sum(axis=1, keepdims=True) + margin
    margins: Array = M * (1 - p.Y)
    return margins


def _counted(violated: Array, p: Point) -> Array:
    slopes: Array = violated - p.Y * violated.sum(axis=1, keepdims=True)
    return slopes


def _worst_margin(p: Point) -> Array:
    M = _margins(p)
    worst = (M.max(axis=1, keepdims=True) <= M) & (M > 0)
    return _counted(worst.astype(float), p)


def _rolled(step: int) -> Callable[[Point], Array]:
    return lambda p: p.P - np.roll(p.Y, step, axis=1)


def _moved(step: int) -> Callable[[Point], Array]:
    return lambda p: p.P - np.eye(len(p.W), k=step)[p.y]


def _smoothed(epsilon: float) -> Variant:
    return Variant(
        SMOOTHED,
        f"l = −log(p_y + {epsilon:g})",
        lambda p: (p.P * p.Y).sum(1)[:, None] / ((p.P * p.Y).sum(1)[:, None] + epsilon) * _ce(p),
        lambda p: -np.log((p.P * p.Y).sum(1) + epsilon),
    )


def _clipped(epsilon: float) -> Variant:
    return Variant(
        CLIPPED,
        f"p cut to [{epsilon:g}, 1 − {epsilon:g}]",
        lambda p: np.clip(p.P, epsilon, 1 - epsilon) - p.Y,
        lambda p: -np.log(np.clip((p.P * p.Y).sum(1), epsilon, 1 - epsilon)),
    )


def _stopped(epsilon: float) -> Variant:
    """Return the slope of a loss with clipped p: 0 where p is clipped."""
    return Variant(
        CLIPPED,
        f"G = 0 where p_y is cut at {epsilon:g}",
        lambda p: np.where((p.P * p.Y).sum(1)[:, None] > epsilon, _ce(p), 0),
    )


def _ce(p: Point) -> Array:
    return p.P - p.Y


def _log_p(p: Point) -> Array:
    return np.log(np.maximum(p.P, np.finfo(float).tiny))


def _of_label(A: Array, p: Point) -> Array:
    values: Array = (A * p.Y).sum(axis=1)
    return values


SWAPPED = CODES["G10"]
NO_LABELS = CODES["G11"]
NO_PROBABILITIES = CODES["G12"]
NUMBERS = CODES["G13"]
SHIFTED = CODES["G14"]
PERMUTED = CODES["G15"]
SIGMOID_SLOPE = CODES["G16"]
SQUARED = CODES["G17"]
DIAGONAL = CODES["G18"]
SIGMOID = CODES["G19"]
OVER_BATCH = CODES["G20"]
OVER_ALL = CODES["G21"]
SMOOTHED = CODES["G22"]
CLIPPED = CODES["G23"]
UNDIVIDED = CODES["G24"]
LOG_SOFTMAX = CODES["G25"]
OTHER_BASE = CODES["G26"]
OTHER_LOSS = CODES["G27"]
HINGE_OWN = CODES["G28"]
HINGE_COUNTS = CODES["G29"]
HINGE_MARGIN = CODES["G30"]
HINGE_SQUARED = CODES["G31"]
HINGE_WORST = CODES["G32"]
NO_BIAS_IN_SCORES = CODES["G33"]
ALL_CLASSES = CODES["G34"]
NO_LOG = CODES["G35"]
SCALED_FORWARD = CODES["G36"]
TWICE_SOFTMAX = CODES["G38"]
HALF_DIFFERENCE = CODES["G37"]

CHANGES: dict[str, Callable[[Array], Array]] = {
    "x − mean over the samples": lambda X: X - X.mean(axis=0),
    "x / deviation": lambda X: X / _safe(X.std(axis=0)),
    "(x − mean) / deviation": lambda X: (X - X.mean(axis=0)) / _safe(X.std(axis=0)),
    "x − mean of its own": lambda X: X - X.mean(axis=1, keepdims=True),
    "(x − mean of its own) / its deviation": lambda X: (
        (X - X.mean(axis=1, keepdims=True)) / _safe(X.std(axis=1, keepdims=True))
    ),
    "x / 255": lambda X: X / 255,
    "x / largest": lambda X: X / _safe(X.max()),
    "x / ‖x‖": lambda X: X / _safe(np.linalg.norm(X, axis=1, keepdims=True)),
}


def _safe(size: Any) -> Any:
    return np.where(size == 0, 1.0, size)


def _scores_of(change: Callable[[Array], Array]) -> Callable[[Point], Array]:
    return lambda p: change(p.X) @ p.W.T + p.b


def _other_scores(slip: Slip, formula: str, scores: Callable[[Point], Array]) -> Variant:
    return Variant(
        slip,
        formula,
        lambda p: softmax(scores(p)) - p.Y,
        lambda p: -_of_label(np.log(softmax(scores(p))), p),
    )


def _other_link(slip: Slip, formula: str, link: Callable[[Array], Array]) -> Variant:
    return Variant(
        slip, formula, lambda p: link(p.S) - p.Y, lambda p: -_of_label(np.log(link(p.S)), p)
    )


_CROSS_ENTROPY: Axis = (
    Variant(SWAPPED, "G = y − p", lambda p: p.Y - p.P, lambda p: _of_label(_log_p(p), p)),
    Variant(NO_LABELS, "G = p", lambda p: p.P),
    Variant(NO_PROBABILITIES, "G = −y", lambda p: -p.Y),
    Variant(NUMBERS, "G = p − label", lambda p: p.P - p.y[:, None]),
    Variant(SHIFTED, "G = p − y, one class on", _rolled(1)),
    Variant(SHIFTED, "G = p − y, one class back", _rolled(-1)),
    Variant(SHIFTED, "G = p − y, one class on, the last lost", _moved(1)),
    Variant(SHIFTED, "G = p − y, one class back, class 0 lost", _moved(-1)),
    Variant(PERMUTED, "G = p − y of the classes reversed", lambda p: p.P - p.Y[:, ::-1]),
    Variant(PERMUTED, "G = p − y of the samples reversed", lambda p: p.P - p.Y[::-1]),
    Variant(
        PERMUTED,
        "G = p − y of the sorted labels",
        lambda p: p.P - np.eye(len(p.W))[np.sort(p.y)],
    ),
    Variant(PERMUTED, "G = p − y of the sample before", lambda p: p.P - np.roll(p.Y, 1, axis=0)),
    Variant(PERMUTED, "G = p − y of the next sample", lambda p: p.P - np.roll(p.Y, -1, axis=0)),
    Variant(PERMUTED, "G = p − Y reshaped", lambda p: p.P - p.Y.T.reshape(p.Y.shape)),
    Variant(PERMUTED, "G = p − Y reshaped back", lambda p: p.P - p.Y.reshape(p.Y.shape[::-1]).T),
    Variant(SIGMOID_SLOPE, "G = (p − y) p (1 − p)", lambda p: _ce(p) * p.P * (1 - p.P)),
    Variant(
        SQUARED,
        "G = pᵀ-Jacobian of (p − y)",
        lambda p: _through_softmax(p.P, _ce(p)),
        lambda p: (_ce(p) ** 2).sum(axis=1) / 2,
    ),
    Variant(
        SQUARED,
        "G = 2 · pᵀ-Jacobian of (p − y)",
        lambda p: 2 * _through_softmax(p.P, _ce(p)),
        lambda p: (_ce(p) ** 2).sum(axis=1),
    ),
    Variant(
        SQUARED,
        "G = s − y",
        lambda p: p.S - p.Y,
        lambda p: ((p.S - p.Y) ** 2).sum(axis=1) / 2,
    ),
    Variant(
        SQUARED,
        "G = 2 (s − y)",
        lambda p: 2 * (p.S - p.Y),
        lambda p: ((p.S - p.Y) ** 2).sum(axis=1),
    ),
    Variant(DIAGONAL, "G = −y (1 − p)", lambda p: -p.Y * (1 - p.P)),
    _other_link(SIGMOID, "p = 1 / (1 + exp(−s))", sigmoid),
    _other_link(OVER_BATCH, "p = exp(s) / Σ_n exp(s_n)", partial(softmax, axis=0)),
    _other_link(OVER_BATCH, "p = exp(s − max_k s) / Σ_n", partial(shifted_softmax, axis=0)),
    _other_link(OVER_ALL, "p = exp(s) / Σ_nk exp(s)", partial(softmax, axis=None)),
    _other_link(OVER_ALL, "p = exp(s − max_k s) / Σ_nk", partial(shifted_softmax, axis=None)),
    Variant(SMOOTHED, "G = p + 1e-6 − y", lambda p: _ce(p) + 1e-6),
    *map(_smoothed, _EPSILONS),
    *map(_clipped, _EPSILONS),
    *map(_stopped, [10.0**-n for n in range(2, 17)]),
    _other_link(UNDIVIDED, "p = exp(s)", np.exp),
    _other_link(TWICE_SOFTMAX, "p = softmax(softmax(s))", lambda S: softmax(softmax(S))),
    Variant(
        TWICE_SOFTMAX,
        "l = −log softmax(p)_y",
        lambda p: _through_softmax(p.P, softmax(p.P) - p.Y),
        lambda p: -_of_label(np.log(softmax(p.P)), p),
    ),
    Variant(LOG_SOFTMAX, "G = log p − y", lambda p: _log_p(p) - p.Y),
    *(
        Variant(
            OTHER_BASE,
            f"l = −log{sub} p_y",
            lambda p, base=base: _ce(p) / np.log(base),
            lambda p, base=base: -_of_label(_log_p(p), p) / np.log(base),
        )
        for base, sub in ((2, "₂"), (10, "₁₀"))
    ),
    _other_scores(NO_BIAS_IN_SCORES, "s = W x", lambda p: p.S - p.b),
    Variant(
        ALL_CLASSES,
        "l = −Σ_k log p_k",
        lambda p: len(p.W) * p.P - 1,
        lambda p: -_log_p(p).sum(axis=1),
    ),
    Variant(
        NO_LOG,
        "l = −p_y",
        lambda p: _through_softmax(p.P, -p.Y),
        lambda p: -_of_label(p.P, p),
    ),
    Variant(
        NO_LOG,
        "l = 1 − p_y",
        None,
        lambda p: 1 - _of_label(p.P, p),
    ),
    *(
        _other_scores(SCALED_FORWARD, f"s = W x + b of {name}", _scores_of(change))
        for name, change in CHANGES.items()
    ),
)

_HINGE: Axis = (
    Variant(HINGE_OWN, "g_y = 0", lambda p: (_margins(p) > 0) * 1.0),
    Variant(HINGE_OWN, "g_y = −1", lambda p: (_margins(p) > 0) - p.Y),
    Variant(SWAPPED, "G turned round", lambda p: -_counted((_margins(p) > 0) * 1.0, p)),
    Variant(
        HINGE_COUNTS,
        "all j, y too",
        lambda p: (_margins(p) > 0) - p.Y * ((_margins(p) > 0).sum(1, keepdims=True) + 1.0),
        lambda p: np.maximum(_margins(p), 0).sum(axis=1) + 1,
    ),
    Variant(
        HINGE_COUNTS,
        "g_y = 1 − Σ_j g_j",
        lambda p: (_margins(p) > 0) - p.Y * ((_margins(p) > 0).sum(1, keepdims=True) - 1.0),
    ),
    *(
        Variant(
            HINGE_MARGIN,
            f"s_j − s_y{f' + {margin:g}' if margin else ''} > 0",
            lambda p, m=margin: _counted((_margins(p, m) > 0) * 1.0, p),
            lambda p, m=margin: np.maximum(_margins(p, m), 0).sum(axis=1),
        )
        for margin in (0.0, 0.1, 0.5, 2.0)
    ),
    Variant(
        HINGE_MARGIN,
        "s_j − s_y − 1 > 0",
        lambda p: _counted((_margins(p, -1.0) > 0) * 1.0, p),
        lambda p: np.maximum(_margins(p, -1.0), 0).sum(axis=1),
    ),
    Variant(
        HINGE_SQUARED,
        "l = Σ_j max(0, m)²",
        lambda p: _counted(2 * np.maximum(_margins(p), 0), p),
        lambda p: (np.maximum(_margins(p), 0) ** 2).sum(axis=1),
    ),
    Variant(HINGE_SQUARED, "G = max(0, m)", lambda p: _counted(np.maximum(_margins(p), 0), p)),
    Variant(
        HINGE_WORST,
        "l = max_j max(0, m)",
        _worst_margin,
        lambda p: np.maximum(_margins(p), 0).max(axis=1),
    ),
)


def slope_axis(loss: Loss) -> Axis:
    """Return the slopes of the loss: the right one first, then the known slips."""
    own = {Hinge.name: _HINGE, CrossEntropy.name: _CROSS_ENTROPY}.get(loss.name, _CROSS_ENTROPY[:9])
    others = (
        Variant(OTHER_LOSS, f"the {other.title}", _slopes_of(other), _values_of(other))
        for other in LOSSES.values()
        if other is not loss
    )
    right = Variant(None, f"the {loss.title}", _slopes_of(loss), _values_of(loss))
    twice = (
        Variant(HALF_DIFFERENCE, f"{sign} G", _slopes_of(loss, size), _values_of(loss, size))
        for sign, size in (("2", 2.0), ("½", 0.5))
    )
    return (right, *own, *others, *twice)


def _slopes_of(loss: Loss, size: float = 1.0) -> Callable[[Point], Array]:
    return lambda p: size * loss.slopes(p.S, p.y)


def _values_of(loss: Loss, size: float = 1.0) -> Callable[[Point], Array]:
    return lambda p: size * loss.values(p.S, p.y)
