"""The contract of an engine: the methods of a stack of models that the epoch loop calls."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.training.hyperparameters import Hyperparameters

Rows = slice | NDArray[np.intp]
PerModel = NDArray[np.float64]  # (M,)
Models = NDArray[np.bool_]  # (M,), true for the chosen ones
# A handle from the engine's `open`; or a Split itself, made for one batch.
Opened = Any
State = dict[str, NDArray[Any]]


class Evaluation(NamedTuple):
    """Mean loss and accuracy of every model on one split, each (M,)."""

    loss: PerModel
    accuracy: PerModel


class HeldOut(NamedTuple):
    """Sums over rows without weight: losses, correct predictions, number of rows, each (M,)."""

    loss: PerModel
    hits: PerModel
    rows: PerModel


class Engine(Protocol):
    """A stack of M models that steps and is evaluated as one.

    `step` waits for no result, so an engine on a device may run ahead of Python. The loop asks for
    results (stopped models, held-out rows) once an epoch.
    """

    def open(self, split: Split) -> Opened:
        """Return the split for `step` and `evaluate`; an engine on the CPU returns it unchanged.

        An engine with memory of its own copies the split there if it fits.
        """
        ...

    def step(
        self, data: Opened, rows: Rows, rates: PerModel, weights: NDArray[Any] | None = None
    ) -> None:
        """Take one step of gradient descent on the batch `rows` with the learning `rates` (M,).

        With `weights` (M, B) of the samples the loss of a batch is Σ w l / Σ w, and the scores of
        the rows without weight, before the step, are added to `held_out`. A model whose rate is 0
        or whose weights are all 0 stays as it is. One with a score that is not finite is stopped:
        it keeps the parameters from before this step to the end.
        """
        ...

    def steps_until_stopped(self) -> NDArray[np.int64]:
        """Return the number (from 1) of the step in which each model was stopped, else 0, (M,)."""
        ...

    def take_held_out(self) -> HeldOut | None:
        """Return the sums over held-out rows since the last call; None if no step had weights."""
        ...

    def evaluate(self, data: Opened, weights: SampleWeights | None = None) -> Evaluation:
        """Return loss and accuracy of every model on the whole split, with `weights` if given.

        A model whose weights are all 0 has NaN.
        """
        ...

    def penalties(self) -> PerModel:
        """Return λ Σ W² of every model, (M,)."""
        ...

    def parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of the weights (M, K, D) and the biases (M, K)."""
        ...

    def remember(self, models: Models) -> None:
        """Store the present parameters of these models, in the memory of the engine."""
        ...

    def recall(self, models: Models) -> None:
        """Restore the last remembered parameters of these models."""
        ...

    def state(self) -> State:
        """Return copies of all arrays on which the next step depends, by name.

        Weights (M, K, D), biases (M, K), velocities where there are any, steps and stopped models,
        and, if there are any, the remembered parameters and the sums over held-out rows (3, M):
        the same for every engine.
        """
        ...

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the state of an engine with the same settings.

        If that engine is of this class, the next steps are bit-identical.
        """
        ...


class MakeEngine(Protocol):
    """The class of an engine: builds a stack, and knows its need of memory."""

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

    def model_bytes(self, n_classes: int, n_features: int, batch_size: int) -> int:
        """Return an upper bound on the memory of one model of a stack in training, in bytes."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """Further methods of the class of an engine on a device with memory of its own."""

    precision: str
    """The name of the type to which its products round their factors, and the unit of rounding; 0
    where they keep the models' own type."""
    rounding: float

    def origin(self) -> dict[str, str]:
        """Return the entries for the provenance: device, precision, version of the library."""
        ...

    def free_bytes(self) -> int | None:
        """Return the free memory of the device; None if it shares that of the processor."""
        ...
