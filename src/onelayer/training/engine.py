"""What an engine offers to the epoch loop."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split

Rows = slice | NDArray[np.intp]


class Evaluation(NamedTuple):
    """Mean loss and accuracy of every model on one split, each (M,)."""

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]


class Engine(Protocol):
    """A stack of M models that steps and is evaluated as one."""

    def step(self, split: Split, rows: Rows) -> NDArray[np.bool_]:
        """Take one step of gradient descent on the batch `rows`; say which models are sound (M,).

        A model with a score that is not finite is not sound: it keeps the weights it had before
        this step, for good.
        """
        ...

    def evaluate(self, split: Split) -> Evaluation:
        """Return loss and accuracy of every model on the whole split."""
        ...

    def penalties(self) -> NDArray[np.float64]:
        """Return λ Σ W² of every model, (M,)."""
        ...

    def parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of the weights (M, K, D) and the biases (M, K)."""
        ...
