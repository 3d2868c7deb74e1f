"""Links: how scores become probabilities. A loss has one link, or none.

Every part that shows a probability uses the link of the model's loss, so a model has only one
probability for a row.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float64 = NDArray[np.float64]


class Link(ABC):
    """A function from scores to probabilities.

    The probabilities of a row are from 0 to 1 and sum to 1, and a larger score has the larger
    probability: so the most likely class is that of equation (4).
    """

    name: str

    @abstractmethod
    def log_probabilities(self, S: Array) -> Float64:
        """Return log p of scores S (N, K); finite where p itself underflows."""

    def probabilities(self, S: Array) -> Float64:
        """Return p of scores S (N, K), in float64."""
        P: Float64 = np.exp(self.log_probabilities(S))
        return P


class Softmax(Link):
    """p = exp(s) / Σ exp(s): equations (2) and (3)."""

    name = "softmax"

    def log_probabilities(self, S: Array) -> Float64:
        """Return s − log Σ exp(s), after subtracting the largest score."""
        Z = shifted(S.astype(np.float64))
        log_p: Float64 = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        return log_p


class Sigmoids(Link):
    """p_k = σ(s_k) / Σ_j σ(s_j), σ(s) = 1 / (1 + exp(−s)): one-versus-rest, as in scikit-learn."""

    name = "normalised sigmoids"

    def log_probabilities(self, S: Array) -> Float64:
        """Return the logarithm of the softmax of log σ(s), which equals log p."""
        S = S.astype(np.float64)
        return SOFTMAX.log_probabilities(np.minimum(S, 0) - np.log1p(np.exp(-np.abs(S))))


SOFTMAX, SIGMOIDS = Softmax(), Sigmoids()


def shifted(S: Array) -> Array:
    """Return S minus each row's largest (real) score, so that no exponential overflows."""
    Z: Array = S - S.real.max(axis=1, keepdims=True)
    return Z
