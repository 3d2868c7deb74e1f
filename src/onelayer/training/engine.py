"""What an engine offers to the epoch loop."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.training.hyperparameters import Hyperparameters

Rows = slice | NDArray[np.intp]
PerModel = NDArray[np.float64]  # (M,)


class Evaluation(NamedTuple):
    """Mean loss and accuracy of every model on one split, each (M,)."""

    loss: PerModel
    accuracy: PerModel


class HeldOut(NamedTuple):
    """Sums over the rows of a batch that have no weight: losses, right predictions, rows (M,)."""

    loss: PerModel
    hits: PerModel
    rows: PerModel


class Step(NamedTuple):
    """What a step found: the models that are sound (M,), and the scores of rows without weight."""

    sound: NDArray[np.bool_]
    held_out: HeldOut | None


class Engine(Protocol):
    """A stack of M models that steps and is evaluated as one."""

    def step(
        self, split: Split, rows: Rows, rates: PerModel, weights: NDArray[Any] | None = None
    ) -> Step:
        """Take one step of gradient descent on the batch `rows` with the learning `rates` (M,).

        With `weights` (M, B) of the samples the loss of a batch is Σ w l / Σ w, and what the models
        say of the rows they give no weight, before the step, comes along. A model whose rate is
        0 or whose weights are all 0 stays as it is. One with a score that is not finite is not
        sound: it keeps the parameters it had before this step, for good.
        """
        ...

    def evaluate(self, split: Split, weights: SampleWeights | None = None) -> Evaluation:
        """Return loss and accuracy of every model on the whole split, weighted if asked.

        A model whose weights are all 0 has NaN.
        """
        ...

    def penalties(self) -> PerModel:
        """Return λ Σ W² of every model, (M,)."""
        ...

    def parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of the weights (M, K, D) and the biases (M, K)."""
        ...


class MakeEngine(Protocol):
    """What builds an engine: the class itself."""

    def __call__(
        self,
        weights: NDArray[Any],
        biases: NDArray[Any],
        *,
        settings: Sequence[Hyperparameters],
        scaling: Scaling,
    ) -> Engine:
        """Return a stack of M models that starts from weights (M, K, D) and biases (M, K)."""
        ...
