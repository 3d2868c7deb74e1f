"""The gradient as a product of a few ideas, with the frequent mistakes in each.

    ∂J/∂W = place( average · Gᵀ X + penalty ),   ∂J/∂b = place( average · bias(G) + penalty )

with G of slopes.py over the chosen rows. A wrong formula takes one or more of these from a list of
slips; the cost has the same ideas, so that a cost and a gradient can be compared idea by idea.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.points import Point
from onelayer.model.doctor.slips import CODES, Axis, Variant
from onelayer.model.doctor.slopes import CHANGES, SCALED_FORWARD

Array = NDArray[Any]

NOT_AVERAGED = CODES["G01"]
AVERAGED_TWICE = CODES["G02"]
AVERAGED_OVER_CLASSES = CODES["G03"]
WRONG_COUNT = CODES["G04"]
ROW_LOST = CODES["G05"]
ONE_ROW = CODES["G06"]
WEIGHTS_FOR_X = CODES["G07"]
OTHER_FEATURES = CODES["G08"]

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
    """Return weights of the rows: 0 for one; with `shrink` the mean is over the others only."""

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

HALF_DECAY = CODES["G40"]
DOUBLE_DECAY = CODES["G41"]
NO_DECAY = CODES["G42"]
DECAY_TURNED = CODES["G43"]
NORM_DECAY = CODES["G44"]
SIGN_DECAY = CODES["G45"]
AVERAGED_DECAY = CODES["G46"]
SUMMED_DECAY = CODES["G47"]
LAMBDA_LOST = CODES["G48"]
DECAY_IS_NUMBER = CODES["G49"]
DECAY_OTHER = CODES["G50"]
DECAY_PARTLY = CODES["G51"]
BIAS_DECAYS = CODES["G52"]

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

BIAS_ZERO = CODES["G60"]
BIAS_RECIPROCAL = CODES["G61"]
BIAS_FROM_W = CODES["G62"]
BIAS_SCALAR = CODES["G63"]

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

NEGATED = CODES["G70"]
RESHAPED = CODES["G71"]
TURNED = CODES["G72"]
DOUBLED = CODES["G73"]


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
