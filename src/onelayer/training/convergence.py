"""Convergence: the distance of trained models to the least cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from onelayer.records import check_arrays


@dataclass(frozen=True)
class Convergence:
    """The distance of M models to their least cost.

    `gradient_norm` (M,) is ‖(∂J/∂W, ∂J/∂b)‖. The cost is at most `excess` (M,) above its minimum;
    NaN for λ = 0, where there is no such bound.
    """

    gradient_norm: Annotated[NDArray[np.float64], "(M,)"]
    excess: Annotated[NDArray[np.float64], "(M,)"]

    def __post_init__(self) -> None:
        check_arrays(self)

    def take(self, models: NDArray[np.intp]) -> "Convergence":
        """Return the convergence of these models, in this order."""
        return Convergence(self.gradient_norm[models], self.excess[models])


def join_convergence(parts: Sequence[Convergence]) -> Convergence:
    """Return the convergence of all models as one."""
    return Convergence(
        np.concatenate([part.gradient_norm for part in parts]),
        np.concatenate([part.excess for part in parts]),
    )
