"""One network, equation by equation: pure functions that read beside docs/maths.md.

X is (N, D), y (N,) class indices, W (K, D), b (K,). The functions compute in the precision of their
arguments: usually float64, complex numbers and extended precision for the gradient check.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.links import SOFTMAX
from onelayer.model.losses import CROSS_ENTROPY, Labels, Loss

Array = NDArray[Any]


def scores(X: Array, W: Array, b: Array) -> Array:
    """Return S = X Wᵀ + b, shape (N, K): equation (1) for every row."""
    S: Array = X @ W.T + b
    return S


def probabilities(S: Array) -> NDArray[np.float64]:
    """Return the softmax of each row of S (N, K): equations (2) and (3).

    Each row is shifted by its maximum first: the result is the same, and nothing overflows.
    """
    return SOFTMAX.probabilities(S)


def predictions(S: Array) -> NDArray[np.intp]:
    """Return the class of the highest score of each row, shape (N,): equation (4)."""
    classes: NDArray[np.intp] = np.argmax(S, axis=1)
    return classes


def loss(S: Array, y: Labels, kind: Loss = CROSS_ENTROPY, weights: Array | None = None) -> Any:
    """Return the mean of l over the rows; with sample weights w (N,) it is Σ w l / Σ w."""
    return np.average(kind.values(S, y), weights=weights)


def cost(
    X: Array,
    y: Labels,
    W: Array,
    b: Array,
    l2: float,
    kind: Loss = CROSS_ENTROPY,
    weights: Array | None = None,
) -> Any:
    """Return J = loss + λ Σ W², equation (5): no factor ½, the bias is not penalised."""
    return _cost(scores(X, W, b), y, W, l2, kind, weights)


def gradients(
    X: Array,
    y: Labels,
    W: Array,
    b: Array,
    l2: float,
    kind: Loss = CROSS_ENTROPY,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Return ∂J/∂W (K, D) and ∂J/∂b (K,) of the batch: equations (10) and (11)."""
    return cost_and_gradients(X, y, W, b, l2, kind, weights)[1:]


def cost_and_gradients(
    X: Array,
    y: Labels,
    W: Array,
    b: Array,
    l2: float,
    kind: Loss = CROSS_ENTROPY,
    weights: Array | None = None,
) -> tuple[Any, Array, Array]:
    """Return J, ∂J/∂W and ∂J/∂b as `cost` and `gradients` do, from one product X Wᵀ."""
    S = scores(X, W, b)
    G = kind.slopes(S, y)
    if weights is None:
        G /= len(y)
    else:
        G *= (weights / weights.sum())[:, None]
    J = _cost(S, y, W, l2, kind, weights)
    return J, G.T @ X + 2 * l2 * W, G.sum(axis=0)


def _cost(S: Array, y: Labels, W: Array, l2: float, kind: Loss, weights: Array | None) -> Any:
    return loss(S, y, kind, weights) + l2 * np.sum(W * W)


def descend(
    X: Array,
    y: Labels,
    W: Array,
    b: Array,
    *,
    l2: float,
    learning_rate: float,
    kind: Loss = CROSS_ENTROPY,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Return W and b after one step of gradient descent on the batch: equations (8) and (9)."""
    dW, db = gradients(X, y, W, b, l2, kind, weights)
    return W - learning_rate * dW, b - learning_rate * db
