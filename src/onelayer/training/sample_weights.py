"""What each model makes of each sample: folds, resamples and classes are weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SampleWeights:
    """Weights w ≥ 0 of N samples for M models: model m has the row `groups[m]` of `values`.

    `values` is (G, N) of any real type: models of one fold share a row.
    """

    values: NDArray[Any]
    groups: NDArray[np.intp]

    def of(self, rows: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return the weights (M, B) of these samples."""
        weights: NDArray[Any] = self.values[:, rows][self.groups]
        return weights

    def of_models(self, models: slice | Sequence[int]) -> "SampleWeights":
        """Return the weights of some of the models."""
        return SampleWeights(self.values, self.groups[models])

    @property
    def held_out(self) -> "SampleWeights":
        """Weight 1 for the samples that have none here, and 0 for all others."""
        return SampleWeights(self.values == 0, self.groups)
