"""The default engine: BLAS products over the stacked weights.

The K·M score rows of all models are the columns of one matrix V (D, M·K), so that a batch costs
two products whatever M is: S = X V (B, M·K) and ∇ = Xᵀ G (D, M·K). Held this way round both
products read X and V along their rows, which BLAS does fastest for the thin shapes of this problem
(measured at B = 100, D = 3072, M·K = 10 to 1000).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.model.losses import Labels, Loss, find_loss
from onelayer.training.engine import Evaluation, HeldOut, Models, PerModel, Rows, State
from onelayer.training.hyperparameters import Hyperparameters

Array = NDArray[Any]
_EVALUATION_ROWS = 500  # a block of scaled features then stays in cache


class NumpyEngine:
    """A stack of M networks in NumPy.

    Parameters
    ----------
    weights, biases
        (M, K, D) and (M, K); their dtype is the precision of all that follows.
    settings
        Of every model; learning rates are given to every step instead.
    scaling
        Applied to stored features as they are read.
    """

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        settings: Sequence[Hyperparameters],
        scaling: Scaling,
    ) -> None:
        M, K, D = weights.shape
        self._shape = (M, K, D)
        self._dtype = weights.dtype
        self._V = weights.reshape(M * K, D).T.copy(order="C")  # (D, M·K)
        self._biases = biases.reshape(M * K).copy()
        self._gradient = np.empty_like(self._V)
        self._l2 = np.array([setting.l2 for setting in settings])
        self._losses = _models_of_losses(settings)
        self._momenta = self._momenta_at_rest(settings)
        self._steps, self._stopped = 0, np.zeros(M, np.int64)
        self._held_out: HeldOut | None = None
        self._best: tuple[Array, Array] | None = None  # of the layout of V and the biases
        self._reader = _FeatureReader(scaling, self._dtype)

    def open(self, split: Split) -> Split:
        """See Engine.open."""
        return split

    def step(self, data: Split, rows: Rows, rates: PerModel, weights: Array | None = None) -> None:
        """See Engine.step: equations (8) to (11) for all models at once."""
        M, K, _ = self._shape
        self._steps += 1
        with np.errstate(over="ignore", invalid="ignore"):
            X, y = self._reader.read(data.X[rows]), data.y[rows]
            S = self._scores(X).reshape(len(y), M, K)
            self._stop_unsound(S)
            G, rates = self._slopes(S, y), np.where(self._stopped == 0, rates, 0)
            if weights is None:
                G /= len(y)
            else:
                totals = weights.sum(axis=1, dtype=np.float64)
                rates = np.where(totals > 0, rates, 0)
                G *= (weights / np.where(totals > 0, totals, 1)[:, None]).T[:, :, None]
                self._hold_out(S, y, weights == 0)
            self._descend(X, G, rates)

    def steps_until_stopped(self) -> NDArray[np.int64]:
        """See Engine.steps_until_stopped."""
        return self._stopped.copy()

    def take_held_out(self) -> HeldOut | None:
        """See Engine.take_held_out."""
        taken, self._held_out = self._held_out, None
        return taken

    def evaluate(self, data: Split, weights: SampleWeights | None = None) -> Evaluation:
        """See Engine.evaluate: block by block, summed in float64."""
        M, K, _ = self._shape
        losses, hits, totals = np.zeros(M), np.zeros(M), np.zeros(M)
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in data.blocks(_EVALUATION_ROWS):
                X, y = self._reader.read(data.X[rows]), data.y[rows]
                w = np.ones((M, len(y))) if weights is None else weights.of(rows)
                S = self._scores(X).reshape(len(y), M, K)
                losses += (w * self._values(S, y).T).sum(axis=1, dtype=np.float64)
                hits += (w * _hits(S, y).T).sum(axis=1, dtype=np.float64)
                totals += w.sum(axis=1)
            return Evaluation(losses / totals, hits / totals)

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

    def remember(self, models: Models) -> None:
        """See Engine.remember."""
        if self._best is None:
            self._best = self._V.copy(), self._biases.copy()
        columns = np.repeat(models, self._shape[1])
        for best, now in zip(self._best, (self._V, self._biases), strict=True):
            np.copyto(best, now, where=columns)

    def recall(self, models: Models) -> None:
        """See Engine.recall."""
        if self._best is not None:
            columns = np.repeat(models, self._shape[1])
            for best, now in zip(self._best, (self._V, self._biases), strict=True):
                np.copyto(now, best, where=columns)

    def state(self) -> State:
        """See Engine.state."""
        M, K, _ = self._shape
        kept = {
            name: array.T.reshape(M, K, *array.shape[:-1]).copy()
            for name, array in self._parts().items()
        }
        if self._held_out is not None:
            kept["held_out"] = np.stack(self._held_out)
        return kept | {"steps": np.array(self._steps), "stopped": self._stopped.copy()}

    def load(self, state: Mapping[str, Array]) -> None:
        """See Engine.load."""
        if "best_weights" in state and self._best is None:
            self._best = np.empty_like(self._V), np.empty_like(self._biases)
        for name, array in self._parts().items():
            array[...] = state[name].reshape(len(self._biases), *array.shape[:-1]).T
        self._steps, self._stopped = int(state["steps"]), state["stopped"].copy()
        self._held_out = HeldOut(*state["held_out"]) if "held_out" in state else None

    @staticmethod
    def model_bytes(n_classes: int, n_features: int, batch_size: int) -> int:
        """See MakeEngine.model_bytes.

        A weight takes, in float64, the initial draw, its copy in the models' precision, the
        engine's own, its gradient, its velocity, the best ones, and the copy that is handed back.
        """
        return n_classes * (n_features * 7 * 8 + 8 * 8 * batch_size)

    def _parts(self) -> dict[str, Array]:
        """Return the arrays (D, M·K) and (M·K,) that change, by their names in the state."""
        parts = {"weights": self._V, "biases": self._biases}
        if self._momenta is not None:
            W, b = self._momenta
            parts |= {"velocity_weights": W.velocity, "velocity_biases": b.velocity}
        if self._best is not None:
            parts |= {"best_weights": self._best[0], "best_biases": self._best[1]}
        return parts

    def _scores(self, X: Array) -> Array:
        S: Array = X @ self._V
        S += self._biases
        return S

    def _stop_unsound(self, S: Array) -> None:
        """Stop the models with a score (B, M, K) that is not finite."""
        unsound = ~np.isfinite(S).all(axis=(0, 2))
        self._stopped[unsound & (self._stopped == 0)] = self._steps
        if self._stopped.any():
            S[:, self._stopped > 0] = 0

    def _values(self, S: Array, y: Labels) -> Array:
        """Return l (B, M) of scores (B, M, K), each model by its own loss."""
        values = np.empty(S.shape[:2], S.dtype)
        for loss, models in self._losses:
            values[:, models] = loss.values(*_as_rows(S[:, models], y)).reshape(len(y), -1)
        return values

    def _slopes(self, S: Array, y: Labels) -> Array:
        """Return dl/ds (B, M, K) of scores (B, M, K), each model by its own loss."""
        G = np.empty_like(S)
        for loss, models in self._losses:
            chosen = S[:, models]
            G[:, models] = loss.slopes(*_as_rows(chosen, y)).reshape(chosen.shape)
        return G

    def _hold_out(self, S: Array, y: Labels, held_out: NDArray[np.bool_]) -> None:
        """Add the sums over the rows that are held out, (M, B)."""
        losses = np.where(held_out, self._values(S, y).T, 0).sum(axis=1, dtype=np.float64)
        hits = (held_out & _hits(S, y).T).sum(axis=1, dtype=np.float64)
        before = self._held_out or HeldOut(*np.zeros((3, self._shape[0])))
        new = losses, hits, held_out.sum(axis=1, dtype=np.float64)
        self._held_out = HeldOut(*(old + more for old, more in zip(before, new, strict=True)))

    def _descend(self, X: Array, G: Array, rates: PerModel) -> None:
        """Take the step of X (B, D) and G (B, M, K); a rate of 0 leaves its model as it is."""
        if self._momenta is None:
            G *= rates.astype(self._dtype)[:, None]
        G = G.reshape(len(X), -1)
        np.matmul(X.T, G, out=self._gradient)
        if self._momenta is None:
            self._V *= self._columns(1 - 2 * rates * self._l2)
            self._V -= self._gradient
            self._biases -= G.sum(axis=0)
        else:
            steps = self._columns(rates)
            self._gradient += self._columns(2 * self._l2) * self._V
            self._V -= steps * self._momenta[0].follow(self._gradient, steps)
            self._biases -= steps * self._momenta[1].follow(G.sum(axis=0), steps)

    def _momenta_at_rest(
        self, settings: Sequence[Hyperparameters]
    ) -> "tuple[_Momentum, _Momentum] | None":
        """Return those of W and b, None where no model has momentum."""
        momentum = np.array([setting.momentum for setting in settings])
        if not momentum.any():
            return None
        nesterov = np.array([setting.nesterov for setting in settings])
        columns = self._columns(momentum), self._columns(nesterov) > 0
        return _Momentum(*columns, self._V), _Momentum(*columns, self._biases)

    def _columns(self, per_model: NDArray[Any]) -> Array:
        """Return a number a model as one a column, (M·K,)."""
        return np.repeat(per_model, self._shape[1]).astype(self._dtype)


class _Momentum:
    """The velocity of every column: v ← μ v + g, as in PyTorch's SGD."""

    def __init__(self, momentum: Array, nesterov: NDArray[np.bool_], parameters: Array) -> None:
        self._momentum, self._nesterov = momentum, nesterov
        self.velocity = np.zeros_like(parameters)

    def follow(self, gradient: Array, steps: Array) -> Array:
        """Return the direction to go: v, Nesterov's is g + μ v; where the step is 0, v stays."""
        v, momentum = self.velocity, self._momentum
        np.copyto(v, momentum * v + gradient, where=steps > 0)
        return np.where(self._nesterov, gradient + momentum * v, v)


class _FeatureReader:
    """Scale stored features in buffers that are used again and again."""

    def __init__(self, scaling: Scaling, dtype: np.dtype[Any]) -> None:
        self._scaling, self._dtype = scaling, dtype
        self._buffers: dict[np.dtype[Any], Array] = {}

    def read(self, stored: Array) -> Array:
        """Return x (B, D) of equation (1); valid until the next call."""
        X = self._copy(stored, self._scaling.precision(stored.dtype, self._dtype))
        self._scaling.scale(X)
        return X if X.dtype == self._dtype else self._copy(X, self._dtype)

    def _copy(self, X: Array, dtype: np.dtype[Any]) -> Array:
        if dtype not in self._buffers or len(X) > len(self._buffers[dtype]):
            self._buffers[dtype] = np.empty(X.shape, dtype)
        copy = self._buffers[dtype][: len(X)]
        copy[...] = X
        return copy


def _models_of_losses(settings: Sequence[Hyperparameters]) -> list[tuple[Loss, Any]]:
    """Return each loss that occurs, with the models it is for; a slice where it is for all."""
    names = np.array([setting.loss for setting in settings])
    if (names == names[0]).all():
        return [(find_loss(names[0]), slice(None))]
    return [(find_loss(name), np.flatnonzero(names == name)) for name in np.unique(names)]


def _as_rows(S: Array, y: Labels) -> tuple[Array, Labels]:
    """Return scores (B, M, K) as rows (B·M, K), and their labels."""
    B, M, K = S.shape
    return S.reshape(B * M, K), np.repeat(y, M)


def _hits(S: Array, y: Labels) -> NDArray[np.bool_]:
    """Return whether the prediction from scores (B, M, K) is right, (B, M)."""
    hits: NDArray[np.bool_] = S.argmax(axis=2) == y[:, None]
    return hits
