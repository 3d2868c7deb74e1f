"""The default engine: BLAS products over the stacked weights.

The K·M score rows of all models are the columns of one matrix V (D, M·K), so that a batch costs
two products whatever M is: S = X V (B, M·K) and ∇ = Xᵀ G (D, M·K). Held this way round both
products read X and V along their rows, which BLAS does fastest for the thin shapes of this problem
(measured at B = 100, D = 3072, M·K = 10 to 1000).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.training.engine import Evaluation, Rows

Array = NDArray[Any]
_EVALUATION_ROWS = 500  # a block of scaled features then stays in cache


class NumpyEngine:
    """A stack of M networks in NumPy.

    Parameters
    ----------
    weights, biases
        (M, K, D) and (M, K); their dtype is the precision of all that follows.
    l2, learning_rates
        λ and η of every model, (M,).
    scaling
        Applied to stored features as they are read.
    """

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        l2: Array,
        learning_rates: Array,
        scaling: Scaling,
    ) -> None:
        M, K, D = weights.shape
        self._shape = (M, K, D)
        self._dtype = weights.dtype
        self._V = weights.reshape(M * K, D).T.copy(order="C")  # (D, M·K)
        self._biases = biases.reshape(M * K).copy()
        self._gradient = np.empty_like(self._V)
        self._l2 = np.asarray(l2, dtype=np.float64)
        self._rates = np.asarray(learning_rates, dtype=np.float64)
        self._sound = np.ones(M, dtype=bool)
        self._reader = _FeatureReader(scaling, D, self._dtype)
        self._set_factors()

    def step(self, split: Split, rows: Rows) -> NDArray[np.bool_]:
        """See Engine.step: equations (8) to (11) for all models at once."""
        M, K, _ = self._shape
        X, y = self._reader.read(split.X[rows]), split.y[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            S = self._scores(X).reshape(len(y), M, K)
            self._stop_unsound(S)
            G = _softmax(S)
            G[np.arange(len(y)), :, y] -= 1
            G *= self._steps / len(y)
            G = G.reshape(len(y), M * K)
            np.matmul(X.T, G, out=self._gradient)
            self._V *= self._decays
            self._V -= self._gradient
            self._biases -= G.sum(axis=0)
        return self._sound

    def evaluate(self, split: Split) -> Evaluation:
        """See Engine.evaluate: block by block, summed in float64."""
        M, K, _ = self._shape
        losses, hits = np.zeros(M), np.zeros(M, dtype=np.intp)
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in split.blocks(_EVALUATION_ROWS):
                X, y = self._reader.read(split.X[rows]), split.y[rows]
                S = self._scores(X).reshape(len(y), M, K)
                hits += (S.argmax(axis=2) == y[:, None]).sum(axis=0)
                S -= S.max(axis=2, keepdims=True)
                of_label = S[np.arange(len(y)), :, y]
                losses += (np.log(np.exp(S).sum(axis=2)) - of_label).sum(axis=0, dtype=np.float64)
        return Evaluation(losses / len(split), hits / len(split))

    def penalties(self) -> NDArray[np.float64]:
        """See Engine.penalties."""
        M, K, _ = self._shape
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("dm,dm->m", self._V, self._V, dtype=np.float64)
            return np.asarray(self._l2 * squares.reshape(M, K).sum(axis=1))

    def parameters(self) -> tuple[Array, Array]:
        """See Engine.parameters."""
        M, K, D = self._shape
        return self._V.T.reshape(M, K, D).copy(), self._biases.reshape(M, K).copy()

    def _scores(self, X: Array) -> Array:
        S: Array = X @ self._V
        S += self._biases
        return S

    def _stop_unsound(self, S: Array) -> None:
        """Freeze the models with a score (B, M, K) that is not finite."""
        sound = self._sound & np.isfinite(S).all(axis=(0, 2))
        if not sound.all():
            S[:, ~sound] = 0
        if (sound != self._sound).any():
            self._sound = sound
            self._set_factors()

    def _set_factors(self) -> None:
        """Lay out η (1, M, 1) and the weight decay 1 − 2ηλ (M·K,); a frozen model has 0 and 1."""
        rates = np.where(self._sound, self._rates, 0.0)
        decays = 1 - 2 * rates * self._l2
        with np.errstate(over="ignore"):  # a model that overflows is found out and stopped
            self._steps = rates[None, :, None].astype(self._dtype)
            self._decays = np.repeat(decays, self._shape[1]).astype(self._dtype)


class _FeatureReader:
    """Scale stored features into a buffer that is used again and again."""

    def __init__(self, scaling: Scaling, n_features: int, dtype: np.dtype[Any]) -> None:
        self._shift = scaling.shift.astype(dtype) if scaling.shift.any() else None
        same = bool((scaling.factor == scaling.factor[0]).all())
        self._factor = scaling.factor.astype(dtype)[: 1 if same else None]
        self._buffer = np.empty((0, n_features), dtype)

    def read(self, stored: Array) -> Array:
        """Return x (B, D) of equation (1); valid until the next call."""
        if len(stored) > len(self._buffer):
            self._buffer = np.empty(stored.shape, self._buffer.dtype)
        X: Array = self._buffer[: len(stored)]
        X[...] = stored
        if self._shift is not None:
            X -= self._shift
        X *= self._factor
        return X


def _softmax(S: Array) -> Array:
    """Turn scores (B, M, K) into probabilities, in place."""
    S -= S.max(axis=2, keepdims=True)
    np.exp(S, out=S)
    S /= S.sum(axis=2, keepdims=True)
    return S
