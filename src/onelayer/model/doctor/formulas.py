"""The gradient as a product of few ideas, and the wrong ones that may stand in place of each.

    ∂J/∂W = place( average · Gᵀ X + penalty ),   ∂J/∂b = place( average · bias(G) + penalty )

with G of slopes.py over the chosen rows. A wrong formula takes one or more of these from a list of
slips; the cost has the same ideas, so that a cost and a gradient can be compared idea by idea.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.points import Point
from onelayer.model.doctor.slips import Axis, Variant, declare
from onelayer.model.doctor.slopes import CHANGES, SCALED_FORWARD

Array = NDArray[Any]
_MEAN, _DECAY, _SUM = "(1/N) Σ", "2λW", "(1/N) Σ_n g_n"

NOT_AVERAGED = declare(
    "G01",
    "1/N missing",
    "The sum over the samples is not divided by their number.",
    "What happens to your gradient if the batch is given twice? What should happen?",
    _MEAN,
)
AVERAGED_TWICE = declare(
    "G02",
    "divided by N twice",
    "The mean over the samples is divided by their number once more.",
    "Count the places where a division by N, or a mean, happens.",
    _MEAN,
)
AVERAGED_OVER_CLASSES = declare(
    "G03",
    "divided by N and K",
    "The mean is taken over the classes, too.",
    "A mean without an axis divides by the number of all entries. How many are there?",
    _MEAN,
)
WRONG_COUNT = declare(
    "G04",
    "divided by the wrong number",
    "The sum over the samples is divided by a number that is not theirs.",
    "Print the number that you divide by. Which side of the array is it?",
    _MEAN,
)
ROW_LOST = declare(
    "G05",
    "a sample dropped",
    "One sample of the batch does not count.",
    "Which samples does your loop or slice see? Python counts from 0 and stops before the end.",
    "all N samples",
)
ONE_ROW = declare(
    "G06",
    "only one sample counts",
    "The gradient is that of a single sample.",
    "Does your loop add to the gradient, or write over it?",
    "all N samples",
)
WEIGHTS_FOR_X = declare(
    "G07",
    "W in the place of X",
    "The slopes are multiplied by the weights, where the features belong.",
    "How does s = W x + b change if one entry of W does?",
    "Gᵀ X",
)
OTHER_FEATURES = declare(
    "G08",
    "other features in the gradient",
    "The features in the gradient are not those of the scores.",
    "If x_d is negative, which way does a larger weight push the score?",
    "Gᵀ X",
)

AVERAGES: Axis = (
    Variant(None, "1/N", lambda N, D, K: 1 / N),
    Variant(NOT_AVERAGED, "Σ without 1/N", lambda N, D, K: 1.0),
    Variant(AVERAGED_TWICE, "1/N²", lambda N, D, K: 1 / N**2),
    Variant(AVERAGED_OVER_CLASSES, "1/(N K)", lambda N, D, K: 1 / (N * K)),
    Variant(WRONG_COUNT, "1/K", lambda N, D, K: 1 / K),
    Variant(WRONG_COUNT, "1/D", lambda N, D, K: 1 / D),
    Variant(WRONG_COUNT, "1/(N D)", lambda N, D, K: 1 / (N * D)),
    Variant(WRONG_COUNT, "1/(N − 1)", lambda N, D, K: 1 / (N - 1) if N > 1 else np.inf),
    Variant(WRONG_COUNT, "1/(N + 1)", lambda N, D, K: 1 / (N + 1)),
    Variant(WRONG_COUNT, "N", lambda N, D, K: float(N)),
)


def _all_but(row: int, shrink: int = 0) -> Callable[[int], Array]:
    """Return weights of the rows: 0 at one; with `shrink` the mean is of the others alone."""

    def weights(N: int) -> Array:
        kept = np.full(N, N / max(N - shrink, 1))
        kept[row] = 0
        return kept

    return weights


def _only(row: int, size: int = 0) -> Callable[[int], Array]:
    def weights(N: int) -> Array:
        kept = np.zeros(N)
        kept[row] = size * N or 1
        return kept

    return weights


ROWS: Axis = (
    Variant(None, "Σ over all rows", np.ones),
    Variant(ROW_LOST, "without the last row, over N", _all_but(-1)),
    Variant(ROW_LOST, "without the last row, over N − 1", _all_but(-1, 1)),
    Variant(ROW_LOST, "without the first row, over N", _all_but(0)),
    Variant(ROW_LOST, "without the first row, over N − 1", _all_but(0, 1)),
    Variant(ONE_ROW, "the last row alone, over N", _only(-1)),
    Variant(ONE_ROW, "the last row alone", _only(-1, 1)),
    Variant(ONE_ROW, "the first row alone, over N", _only(0)),
    Variant(ONE_ROW, "the first row alone", _only(0, 1)),
)

FEATURES: Axis = (
    Variant(None, "Gᵀ X", lambda p, G: G.T @ p.X),
    Variant(WEIGHTS_FOR_X, "Σ g · W", lambda p, G: G.sum(axis=0)[:, None] * p.W),
    *(
        Variant(SCALED_FORWARD, f"Gᵀ X of {name}", lambda p, G, c=change: G.T @ c(p.X))
        for name, change in CHANGES.items()
    ),
    Variant(OTHER_FEATURES, "Gᵀ |X|", lambda p, G: G.T @ np.abs(p.X)),
    Variant(OTHER_FEATURES, "Gᵀ X²", lambda p, G: G.T @ p.X**2),
    Variant(OTHER_FEATURES, "Gᵀ 1", lambda p, G: G.T @ np.ones_like(p.X)),
    Variant(OTHER_FEATURES, "Gᵀ X of the samples reversed", lambda p, G: G.T @ p.X[::-1]),
    Variant(OTHER_FEATURES, "Gᵀ X reshaped", lambda p, G: G.T @ p.X.reshape(p.X.shape[::-1]).T),
    Variant(OTHER_FEATURES, "Gᵀ X reshaped back", lambda p, G: G.T @ p.X.T.reshape(p.X.shape)),
)

HALF_DECAY = declare(
    "G40",
    "factor 2 of λ missing",
    "The weight decay's gradient is λW; the derivative of λ Σ W² is twice that.",
    "Derive λ w² by w. (If your cost has ½λ, say so: then this is right.)",
    _DECAY,
)
DOUBLE_DECAY = declare(
    "G41",
    "λ twice too strong",
    "The weight decay's gradient is 4λW.",
    "Is the weight decay added in two places, or a factor 2 taken twice?",
    _DECAY,
)
NO_DECAY = declare(
    "G42",
    "weight decay forgotten",
    "λ does not enter.",
    "A check with λ = 0 cannot see this. What does λ change in your function?",
    _DECAY,
)
DECAY_TURNED = declare(
    "G43",
    "weight decay of the wrong sign",
    "The weight decay pushes the weights away from 0.",
    "Should a large weight become larger or smaller?",
    _DECAY,
)
NORM_DECAY = declare(
    "G44",
    "norm without its square",
    "The penalty is the norm of W, the root of the sum of squares.",
    "Which power of the norm does equation (5) have?",
    "λ Σ W²",
)
SIGN_DECAY = declare(
    "G45",
    "sum of sizes, not of squares",
    "The penalty is the sum of |W|.",
    "Is it L1 or L2 that was asked for?",
    "λ Σ W²",
)
AVERAGED_DECAY = declare(
    "G46",
    "λ divided by N, too",
    "The weight decay is divided by the number of samples, like the loss.",
    "Which of the two terms of the cost depends on the number of samples?",
    _DECAY,
)
SUMMED_DECAY = declare(
    "G47",
    "λ multiplied by N",
    "The weight decay is added once a sample.",
    "Is the weight decay inside the loop over the samples?",
    _DECAY,
)
LAMBDA_LOST = declare(
    "G48",
    "λ or W left out of its term",
    "The term of the weight decay lacks λ or W, or has another power of it.",
    "What is your gradient for λ = 0?",
    _DECAY,
)
DECAY_IS_NUMBER = declare(
    "G49",
    "one number for all weights",
    "The penalty is summed before it is added: all weights get the same number.",
    "How many entries has the gradient of λ Σ W²?",
    _DECAY,
)
DECAY_OTHER = declare(
    "G50",
    "another function of W as penalty",
    "The weight decay is not linear in W, or leaves out some weights.",
    "Derive λ w² by w, for a negative w, too.",
    _DECAY,
)
DECAY_PARTLY = declare(
    "G51",
    "weight decay on some classes only",
    "One class of W has no weight decay.",
    "Which rows of W does your slice take?",
    _DECAY,
)
BIAS_DECAYS = declare(
    "G52",
    "weight decay on the bias",
    "The bias is penalised, too.",
    "Over which parameters does the sum of equation (5) go?",
    _SUM,
)

_Part = Callable[[Point], Any]


def _powers(size: float) -> tuple[_Part, _Part]:
    return lambda p: 2 * size * p.l2 * p.W, lambda p: size * p.l2 * (p.W**2).sum()


def _norm(p: Point) -> Any:
    return np.sqrt((p.W**2).sum())


PENALTIES: Axis = (
    Variant(None, "2λW", *_powers(1.0)),
    Variant(HALF_DECAY, "λW", *_powers(0.5)),
    Variant(DOUBLE_DECAY, "4λW", *_powers(2.0)),
    Variant(NO_DECAY, "no λ", *_powers(0.0)),
    Variant(DECAY_TURNED, "−2λW", *_powers(-1.0)),
    Variant(DECAY_TURNED, "−λW", *_powers(-0.5)),
    Variant(NORM_DECAY, "λ W / ‖W‖", lambda p: p.l2 * p.W / _norm(p), lambda p: p.l2 * _norm(p)),
    Variant(NORM_DECAY, "2λ W / ‖W‖", lambda p: 2 * p.l2 * p.W / _norm(p)),
    Variant(NORM_DECAY, "λ ‖W‖", lambda p: p.l2 * _norm(p)),
    Variant(
        SIGN_DECAY,
        "λ sign(W)",
        lambda p: p.l2 * np.sign(p.W),
        lambda p: p.l2 * np.abs(p.W).sum(),
    ),
    Variant(SIGN_DECAY, "2λ sign(W)", lambda p: 2 * p.l2 * np.sign(p.W)),
    Variant(
        AVERAGED_DECAY,
        "2λW / N",
        lambda p: 2 * p.l2 * p.W / len(p.X),
        lambda p: p.l2 * (p.W**2).sum() / len(p.X),
    ),
    Variant(
        AVERAGED_DECAY,
        "λW / N",
        lambda p: p.l2 * p.W / len(p.X),
        lambda p: p.l2 * (p.W**2).sum() / len(p.X) / 2,
    ),
    Variant(
        SUMMED_DECAY,
        "2λW N",
        lambda p: 2 * p.l2 * p.W * len(p.X),
        lambda p: p.l2 * (p.W**2).sum() * len(p.X),
    ),
    Variant(LAMBDA_LOST, "2W", lambda p: 2 * p.W, lambda p: (p.W**2).sum()),
    Variant(LAMBDA_LOST, "W", lambda p: p.W, lambda p: (p.W**2).sum() / 2),
    Variant(LAMBDA_LOST, "2λ", lambda p: 2 * p.l2),
    Variant(LAMBDA_LOST, "λ", lambda p: p.l2, lambda p: p.l2 * p.W.sum()),
    Variant(LAMBDA_LOST, "2λ²W", lambda p: 2 * p.l2**2 * p.W, lambda p: p.l2**2 * (p.W**2).sum()),
    Variant(
        DECAY_IS_NUMBER, "2λ ΣW", lambda p: 2 * p.l2 * p.W.sum(), lambda p: p.l2 * p.W.sum() ** 2
    ),
    Variant(DECAY_IS_NUMBER, "λ ΣW²", lambda p: p.l2 * (p.W**2).sum()),
    Variant(DECAY_IS_NUMBER, "2λ mean(W)", lambda p: 2 * p.l2 * p.W.mean()),
    Variant(
        DECAY_OTHER,
        "2λ W / (K D)",
        lambda p: 2 * p.l2 * p.W / p.W.size,
        lambda p: p.l2 * (p.W**2).mean(),
    ),
    Variant(DECAY_OTHER, "2λ |W|", lambda p: 2 * p.l2 * np.abs(p.W)),
    Variant(DECAY_OTHER, "2λ W²", lambda p: 2 * p.l2 * p.W**2),
    Variant(DECAY_OTHER, "λ W²", lambda p: p.l2 * p.W**2),
    Variant(
        DECAY_PARTLY,
        "2λW but for the last class",
        lambda p: 2 * p.l2 * p.W * (np.arange(len(p.W)) < len(p.W) - 1)[:, None],
        lambda p: p.l2 * (p.W[:-1] ** 2).sum(),
    ),
    Variant(
        DECAY_PARTLY,
        "2λW but for class 0",
        lambda p: 2 * p.l2 * p.W * (np.arange(len(p.W)) > 0)[:, None],
        lambda p: p.l2 * (p.W[1:] ** 2).sum(),
    ),
    Variant(
        BIAS_DECAYS,
        "λ (Σ W² + Σ b²)",
        None,
        lambda p: p.l2 * ((p.W**2).sum() + (p.b**2).sum()),
    ),
)

BIAS_ZERO = declare(
    "G60",
    "gradient of the bias is 0",
    "The bias never learns.",
    "If b_k grows by a little, what happens to the score of class k?",
    _SUM,
)
BIAS_RECIPROCAL = declare(
    "G61",
    "bias: divided the wrong way round",
    "The gradient of the bias is the reciprocal of what it should be.",
    "Which of the two stands above the line?",
    _SUM,
)
BIAS_FROM_W = declare(
    "G62",
    "bias: taken from the weights or features",
    "The gradient of the bias is made of W, X or b, which do not enter it.",
    "What does the score of class k gain if b_k grows by 1?",
    _SUM,
)
BIAS_SCALAR = declare(
    "G63",
    "bias: one number for all classes",
    "All classes get the same gradient of the bias.",
    "Along which axis do you sum?",
    _SUM,
)

BIASES: Axis = (
    Variant(None, "Σ_n g_n", lambda p, G: G.sum(axis=0)),
    Variant(BIAS_ZERO, "0", lambda p, G: np.zeros(len(p.W))),
    Variant(BIAS_RECIPROCAL, "N / Σ_n g_n", lambda p, G: len(G) ** 2 / _nonzero(G.sum(axis=0))),
    Variant(BIAS_RECIPROCAL, "1 / Σ_n g_n", lambda p, G: len(G) / _nonzero(G.sum(axis=0))),
    Variant(BIAS_FROM_W, "Σ_d of Gᵀ X", lambda p, G: (G.T @ p.X).sum(axis=1)),
    Variant(BIAS_FROM_W, "mean_d of Gᵀ X", lambda p, G: (G.T @ p.X).mean(axis=1)),
    Variant(BIAS_FROM_W, "first column of Gᵀ X", lambda p, G: (G.T @ p.X)[:, 0]),
    Variant(BIAS_FROM_W, "Σ_n g_n · b", lambda p, G: G.sum(axis=0) * p.b),
    Variant(BIAS_FROM_W, "b", lambda p, G: p.b * len(G)),
    Variant(BIAS_SCALAR, "Σ_n g_ny", lambda p, G: np.full(len(p.W), (G * p.Y).sum())),
)

BIAS_PENALTIES: Axis = (
    Variant(None, "no λ", lambda p: 0.0),
    Variant(BIAS_DECAYS, "+ 2λb", lambda p: 2 * p.l2 * p.b),
    Variant(BIAS_DECAYS, "+ λb", lambda p: p.l2 * p.b),
    Variant(BIAS_DECAYS, "− 2λb", lambda p: -2 * p.l2 * p.b),
    Variant(BIAS_DECAYS, "+ 2λb / N", lambda p: 2 * p.l2 * p.b / len(p.X)),
    Variant(BIAS_DECAYS, "+ 2λ Σ_d W", lambda p: 2 * p.l2 * p.W.sum(axis=1)),
    Variant(BIAS_DECAYS, "+ λ", lambda p: p.l2),
)

NEGATED = declare(
    "G70",
    "whole gradient of the wrong sign",
    "Every entry has the wrong sign: this points uphill.",
    "Is a minus of the loss, or of the update, counted twice?",
    "∂J/∂W",
)
RESHAPED = declare(
    "G71",
    "reshaped where it should be transposed",
    "The values are right and their order is not: the array was reshaped, not transposed.",
    "Print a 2×3 array, its transpose, and its reshape to 3×2.",
    "∂J/∂W",
)
TURNED = declare(
    "G72",
    "classes or features in another order",
    "The values are right, in the rows of other classes or the columns of other features.",
    "Which class does the first row of your gradient belong to?",
    "∂J/∂W",
)
DOUBLED = declare(
    "G73",
    "whole gradient doubled or halved",
    "Every entry is twice, or half, what it should be.",
    "Is the gradient added to itself, or was it not set to 0 before?",
    "∂J/∂W",
)


def _nonzero(values: Array) -> Array:
    return np.where(values == 0, np.inf, values)


PLACES: Axis = (
    Variant(None, "in place", lambda A: A),
    Variant(NEGATED, "−∂J", lambda A: -A),
    Variant(DOUBLED, "2 ∂J", lambda A: 2 * A),
    Variant(DOUBLED, "½ ∂J", lambda A: A / 2),
    Variant(RESHAPED, "(∂J)ᵀ reshaped", lambda A: A.T.reshape(A.shape)),
    Variant(RESHAPED, "∂J reshaped, transposed", lambda A: A.reshape(A.shape[::-1]).T),
    Variant(TURNED, "classes reversed", lambda A: A[::-1]),
    Variant(TURNED, "features reversed", lambda A: A[..., ::-1]),
    Variant(TURNED, "one class on", lambda A: np.roll(A, 1, axis=0)),
    Variant(TURNED, "one class back", lambda A: np.roll(A, -1, axis=0)),
)
BIAS_PLACES: Axis = tuple(v for v in PLACES if v.slip is not RESHAPED)
