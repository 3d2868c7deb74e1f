"""One network, equation by equation: pure functions that read beside docs/maths.md.

X is (N, D), y (N,) class indices, W (K, D), b (K,). The precision that comes in is the one that is
computed in: float64 as a rule, complex numbers and extended precision for the gradient check.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def scores(X: Array, W: Array, b: Array) -> Array:
    """Return S = X Wᵀ + b, shape (N, K): equation (1) for every row."""
    S: Array = X @ W.T + b
    return S


def probabilities(S: Array) -> Array:
    """Return the softmax of each row of S (N, K): equations (2) and (3).

    Each row is shifted by its maximum first, which changes nothing and cannot overflow.
    """
    E = np.exp(_shifted(S))
    P: Array = E / E.sum(axis=1, keepdims=True)
    return P


def predictions(S: Array) -> NDArray[np.intp]:
    """Return the class of the highest score of each row, shape (N,): equation (4)."""
    classes: NDArray[np.intp] = np.argmax(S, axis=1)
    return classes


def losses(S: Array, y: NDArray[np.intp]) -> Array:
    """Return the cross-entropy −log p_y of each row, shape (N,): equation (6).

    log p_y = s_y − log Σ exp(s) is computed as it stands, never as the logarithm of a probability
    that may have underflowed.
    """
    Z = _shifted(S)
    each: Array = np.log(np.exp(Z).sum(axis=1)) - Z[np.arange(len(y)), y]
    return each


def loss(S: Array, y: NDArray[np.intp]) -> Any:
    """Return the mean cross-entropy: equation (6) averaged over the rows."""
    return np.mean(losses(S, y))


def cost(X: Array, y: NDArray[np.intp], W: Array, b: Array, l2: float) -> Any:
    """Return J = loss + λ Σ W², equation (5): no factor ½, the bias is not penalised."""
    return loss(scores(X, W, b), y) + l2 * np.sum(W * W)


def score_gradients(S: Array, y: NDArray[np.intp]) -> Array:
    """Return G = ∂l/∂s = P − Y, shape (N, K): the derivative of each row's own loss."""
    G = probabilities(S)
    G[np.arange(len(y)), y] -= 1
    return G


def gradients(X: Array, y: NDArray[np.intp], W: Array, b: Array, l2: float) -> tuple[Array, Array]:
    """Return ∂J/∂W (K, D) and ∂J/∂b (K,) of the batch: equations (10) and (11)."""
    G = score_gradients(scores(X, W, b), y)
    G /= len(y)
    return G.T @ X + 2 * l2 * W, G.sum(axis=0)


def descend(
    X: Array, y: NDArray[np.intp], W: Array, b: Array, *, l2: float, learning_rate: float
) -> tuple[Array, Array]:
    """Return W and b after one step of gradient descent on the batch: equations (8) and (9)."""
    dW, db = gradients(X, y, W, b, l2)
    return W - learning_rate * dW, b - learning_rate * db


def _shifted(S: Array) -> Array:
    """Subtract each row's largest (real) score."""
    Z: Array = S - S.real.max(axis=1, keepdims=True)
    return Z
