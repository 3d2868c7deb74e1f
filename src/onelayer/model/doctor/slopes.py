"""What may stand where the slope of the loss, G = ∂l/∂s (N, K), belongs.

A variant computes G by `slope`, and by `value` the losses l (N,) of the same idea, if it has any.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.points import Point
from onelayer.model.doctor.slips import Axis, Slip, Variant, declare
from onelayer.model.losses import LOSSES, Loss

Array = NDArray[Any]
_G = "G = p − y"
_EPSILONS = [10.0**-n for n in range(2, 9)]


def softmax(S: Array, axis: int | None = 1) -> Array:
    """Return exp(S) over its sum along the axis, of all entries where that is None."""
    E = np.exp(S - S.max(axis=axis, keepdims=True))
    P: Array = E / E.sum(axis=axis, keepdims=True)
    return P


def shifted_softmax(S: Array, axis: int | None) -> Array:
    """Return the same along another axis than that of the shift, which then matters."""
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P: Array = E / E.sum(axis=axis, keepdims=True)
    return P


def sigmoid(S: Array) -> Array:
    """Return 1 / (1 + exp(−s))."""
    P: Array = np.exp(-np.logaddexp(0, -S))
    return P


def _through_softmax(P: Array, g: Array) -> Array:
    """Return the slope by s of what has the slope g by p."""
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
    """Return the slope of a loss whose p is cut: none where it is."""
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


SWAPPED = declare(
    "G10",
    "difference turned round",
    "The difference of probabilities and labels has the wrong sign.",
    "For the true class, should a step down the gradient raise its score or lower it?",
    _G,
)
NO_LABELS = declare(
    "G11",
    "labels not subtracted",
    "The labels do not enter the slope of the scores.",
    "What would the gradient be if every label were another one?",
    _G,
)
NO_PROBABILITIES = declare(
    "G12",
    "probabilities left out",
    "The probabilities do not enter the slope of the scores.",
    "What should the gradient be once the network is sure and right?",
    _G,
)
NUMBERS = declare(
    "G13",
    "labels as numbers, not one-hot",
    "The number of the class is subtracted, where a 1 in its place belongs.",
    "Print the labels that are subtracted: is there one number a sample, or one a class?",
    _G,
)
SHIFTED = declare(
    "G14",
    "one-hot shifted by one class",
    "The 1 of each one-hot label stands beside its class.",
    "Does your first class have the number 0 or 1? Print one label beside its one-hot form.",
    _G,
)
PERMUTED = declare(
    "G15",
    "one-hot labels permuted",
    "The one-hot labels belong to other samples or classes.",
    "Print the label of the first and of the last sample beside their columns of Y.",
    _G,
)
SIGMOID_SLOPE = declare(
    "G16",
    "derivative of the sigmoid kept",
    "A factor p (1 − p) is left over, which belongs to a sigmoid under a squared error.",
    "The logarithm of the loss and the exponential of the softmax cancel much. What is left?",
    _G,
)
SQUARED = declare(
    "G17",
    "squared error instead of the loss",
    "This is the gradient of a squared error.",
    "Which loss does equation (6) name? Derive it by s again.",
    _G,
)
DIAGONAL = declare(
    "G18",
    "only the diagonal of the softmax's Jacobian",
    "Each probability is differentiated by its own score alone.",
    "If the score of one class rises, what happens to the probabilities of the others?",
    _G,
)
SIGMOID = declare(
    "G19",
    "sigmoid instead of softmax",
    "Each score has a sigmoid of its own where the softmax belongs.",
    "Do your probabilities of one sample sum to 1?",
    "p = exp(s) / Σ exp(s)",
)
OVER_BATCH = declare(
    "G20",
    "softmax over the batch",
    "The softmax sums over the samples where it should sum over the classes.",
    "Which axis do your probabilities sum to 1 along?",
    "p = exp(s) / Σ_k exp(s_k)",
)
OVER_ALL = declare(
    "G21",
    "softmax over all scores at once",
    "The softmax divides by the sum over all samples and classes.",
    "What is the sum of all probabilities of a batch of N samples?",
    "p = exp(s) / Σ_k exp(s_k)",
)
SMOOTHED = declare(
    "G22",
    "a small number added to p",
    "A small number is added to the probabilities.",
    "What keeps log p finite without changing p? Think of the largest score.",
    "l = −log p_y",
)
CLIPPED = declare(
    "G23",
    "probabilities clipped",
    "The probabilities are cut before they are used, and there the gradient is lost or changed.",
    "What does a sample learn whose probability was cut?",
    "l = −log p_y",
)
UNDIVIDED = declare(
    "G24",
    "exponentials not divided by their sum",
    "The exponentials of the scores are used as probabilities.",
    "Print one column of your probabilities and its sum.",
    "p = exp(s) / Σ exp(s)",
)
LOG_SOFTMAX = declare(
    "G25",
    "log p in place of p",
    "The logarithm of the softmax stands where the softmax belongs.",
    "Which values can a probability have? Print yours.",
    _G,
)
OTHER_BASE = declare(
    "G26",
    "logarithm of another base",
    "The loss uses a logarithm that is not the natural one.",
    "Which base does your log have, and which one does the softmax's exponential have?",
    "l = −ln p_y",
)
OTHER_LOSS = declare(
    "G27",
    "another loss of the course",
    "This is the gradient of another loss.",
    "Which loss was asked for: a margin, a softmax or K sigmoids?",
    "the slope of the loss that was asked for",
)
HINGE_OWN = declare(
    "G28",
    "hinge: the own class gets nothing",
    "The violated margins never reach the score of the true class.",
    "Each violated margin holds two scores. Which ones?",
    "g_y = −Σ_j g_j",
)
HINGE_COUNTS = declare(
    "G29",
    "hinge: the own class counts as a violation",
    "The sum over j includes the true class, whose margin is always 1.",
    "What is s_j − s_y + 1 for j = y?",
    "j ≠ y",
)
HINGE_MARGIN = declare(
    "G30",
    "hinge: another margin",
    "The margin is not 1.",
    "How much higher than the others should the true score be?",
    "s_j − s_y + 1 > 0",
)
HINGE_SQUARED = declare(
    "G31",
    "hinge: squared",
    "This is the gradient of the squared hinge.",
    "Is a margin that is violated twice as much worth twice, or four times?",
    "max(0, m)",
)
HINGE_WORST = declare(
    "G32",
    "hinge: only the worst class",
    "Only the largest violation of a sample counts.",
    "Is the loss a sum over the classes or their maximum?",
    "Σ_j max(0, s_j − s_y + 1)",
)
NO_BIAS_IN_SCORES = declare(
    "G33",
    "bias left out of the scores",
    "The scores are computed without b.",
    "With b = 0 this cannot be seen. Where does b enter equation (1)?",
    "s = W x + b",
)
ALL_CLASSES = declare(
    "G34",
    "all classes counted, not the true one",
    "The loss sums −log p over all classes; the label does not choose one.",
    "How many terms of a sample's loss are not 0?",
    "l = −log p_y",
)
NO_LOG = declare(
    "G35",
    "logarithm forgotten",
    "The probability of the true class is used without its logarithm.",
    "What is the loss of a sample whose true class has the probability 0?",
    "l = −log p_y",
)
SCALED_FORWARD = declare(
    "G36",
    "features changed on one side only",
    "Scores and gradient do not see the same features: one side is scaled or centred.",
    "Follow X from the file to the scores, then to the gradient. Is it the same array?",
    "the same X in s = W x + b and in Gᵀ X",
)
TWICE_SOFTMAX = declare(
    "G38",
    "softmax taken twice",
    "The softmax is applied to probabilities, as where a model ends in a softmax and the loss has "
    "one of its own.",
    "What does your loss expect: scores or probabilities?",
    "p = exp(s) / Σ exp(s)",
)
HALF_DIFFERENCE = declare(
    "G37",
    "a factor 2 too much or too few",
    "The data part of the gradient is twice or half as large as it should be.",
    "A square brings a 2 when it is derived. Is there a square in this loss?",
    _G,
)

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
    """Return the slopes of the loss: the right one first, then what was found instead."""
    own = {"hinge": _HINGE, "cross-entropy": _CROSS_ENTROPY}.get(loss.name, _CROSS_ENTROPY[:9])
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
