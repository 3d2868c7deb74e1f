"""Rows of a problem: held in memory, or read and scaled block by block."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.data.scaling import Scaling
from onelayer.training.exact.axes import Axes


class Rows(Protocol):
    """Rows [x, 1] of one type, read block by block."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        ...

    def read(self, some: slice) -> NDArray[Any]:
        """Return these rows (n, P)."""
        ...


@dataclass(frozen=True)
class Held:
    """Rows that are in memory."""

    Z: NDArray[np.float32]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return self.Z.dtype

    def read(self, some: slice) -> NDArray[np.float32]:
        """See Rows.read."""
        return self.Z[some]


@dataclass(frozen=True)
class Stored:
    """Rows that are scaled as they are read: in float64, or in axes in float32."""

    X: Any
    rows: NDArray[np.intp]
    scaling: Scaling
    axes: Axes | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 in axes, else float64."""
        return np.dtype(np.float64 if self.axes is None else np.float32)

    def read(self, some: slice) -> NDArray[Any]:
        """See Rows.read."""
        stored = self.X[self.rows[some]]
        if self.axes is not None:
            return self.axes.turn(self.scaling.apply(stored))
        rows = np.ones((len(stored), stored.shape[1] + 1))
        rows[:, :-1] = stored
        with np.errstate(over="ignore", invalid="ignore"):
            self.scaling.scale(rows[:, :-1])
        return rows


def bytes_to_hold(n_samples: int, width: int) -> int:
    """Return the memory in bytes of `n_samples` rows [z, 1] in float32."""
    return 4 * n_samples * width
