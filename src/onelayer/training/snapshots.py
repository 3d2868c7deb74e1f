"""Snapshots: the weights after a few epochs, kept to show their development."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.records import COUNT


@dataclass(frozen=True)
class Snapshots:
    """Weights and biases of M models after S `epochs`, in half precision.

    NaN means that the training had ended; beyond 65,504 a weight is infinite.
    """

    epochs: Annotated[NDArray[np.intp], "(S,)", COUNT]
    weights: Annotated[NDArray[np.float16], "(S, M, K, D)"]
    biases: Annotated[NDArray[np.float16], "(S, M, K)"]

    def followed_by(self, later: "Snapshots") -> "Snapshots":
        """Return these snapshots followed by those of later epochs."""
        pairs = zip(vars(self).values(), vars(later).values(), strict=True)
        return Snapshots(*map(np.concatenate, pairs))


def snapshot_epochs(snapshots: int, epochs: int) -> list[int]:
    """Return the epochs of the snapshots, from 0 to `epochs`, denser at the start.

    Examples
    --------
    >>> snapshot_epochs(6, 40)
    [0, 1, 3, 8, 19, 40]
    """
    S = min(snapshots, epochs + 1)
    if S < 2:
        return [epochs] * S
    spaced = np.geomspace(1, epochs + 1, S) - 1
    return np.maximum(np.floor(spaced + 0.5).astype(int), np.arange(S)).tolist()  # type: ignore[no-any-return]


def as_halves(array: NDArray[Any]) -> NDArray[np.float16]:
    """Return the numbers in half precision; too large ones become infinite."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def join_snapshots(stacks: Sequence[Snapshots]) -> Snapshots:
    """Join the snapshots of all stacks; a stack that ended early has NaN in later epochs."""
    epochs = np.unique(np.concatenate([stack.epochs for stack in stacks]))
    weights, biases = (
        np.concatenate([_at(epochs, stack.epochs, array) for stack, array in parts], axis=1)
        for parts in (
            [(stack, stack.weights) for stack in stacks],
            [(stack, stack.biases) for stack in stacks],
        )
    )
    return Snapshots(epochs, weights, biases)


def _at(
    epochs: NDArray[np.intp], known: NDArray[np.intp], array: NDArray[np.float16]
) -> NDArray[np.float16]:
    filled = np.full((len(epochs), *array.shape[1:]), np.nan, np.float16)
    filled[np.searchsorted(epochs, known)] = array
    return filled
