"""How near trained models are to the least cost that there is."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from onelayer.records import check_arrays


@dataclass(frozen=True)
class Convergence:
    """How near M models are to their least cost.

    `gradient_norm` (M,) is ‖(∂J/∂W, ∂J/∂b)‖. The cost is at most `excess` (M,) above its minimum;
    NaN for λ = 0, where nothing bounds it.
    """

    gradient_norm: Annotated[NDArray[np.float64], "(M,)"]
    excess: Annotated[NDArray[np.float64], "(M,)"]

    def __post_init__(self) -> None:
        check_arrays(self)
