"""Several stacks that see the same batches at the same time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.training.engine import (
    Engine,
    Evaluation,
    HeldOut,
    Models,
    Opened,
    PerModel,
    Rows,
    State,
)


class Lockstep:
    """Stacks of models as one engine: each may scale the features in its own way.

    A batch is read once and passed to one stack after another while it is in the cache. `sizes` are
    the numbers of models of the stacks.
    """

    def __init__(self, stacks: Sequence[Engine], sizes: Sequence[int]) -> None:
        ends = np.cumsum(sizes).tolist()
        self._parts = [
            (stack, slice(end - size, end))
            for stack, size, end in zip(stacks, sizes, ends, strict=True)
        ]

    def open(self, split: Split) -> Opened:
        """See Engine.open: one handle for each stack."""
        return [stack.open(split) for stack, _ in self._parts]

    def step(
        self, data: Opened, rows: Rows, rates: PerModel, weights: NDArray[Any] | None = None
    ) -> None:
        """See Engine.step."""
        for (stack, own), opened in zip(self._parts, self._each(data), strict=True):
            stack.step(opened, rows, rates[own], None if weights is None else weights[own])

    def steps_until_stopped(self) -> NDArray[np.int64]:
        """See Engine.steps_until_stopped."""
        return np.concatenate([stack.steps_until_stopped() for stack, _ in self._parts])

    def take_held_out(self) -> HeldOut | None:
        """See Engine.take_held_out."""
        taken = [stack.take_held_out() for stack, _ in self._parts]
        known = [sums for sums in taken if sums is not None]
        return HeldOut(*map(np.concatenate, zip(*known, strict=True))) if known else None

    def evaluate(self, data: Opened, weights: SampleWeights | None = None) -> Evaluation:
        """See Engine.evaluate."""
        found = [
            stack.evaluate(opened, None if weights is None else weights.of_models(own))
            for (stack, own), opened in zip(self._parts, self._each(data), strict=True)
        ]
        return Evaluation(*map(np.concatenate, zip(*found, strict=True)))

    def penalties(self) -> PerModel:
        """See Engine.penalties."""
        return np.concatenate([stack.penalties() for stack, _ in self._parts])

    def parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """See Engine.parameters."""
        weights, biases = zip(*(stack.parameters() for stack, _ in self._parts), strict=True)
        return np.concatenate(weights), np.concatenate(biases)

    def remember(self, models: Models) -> None:
        """See Engine.remember."""
        for stack, own in self._parts:
            stack.remember(models[own])

    def recall(self, models: Models) -> None:
        """See Engine.recall."""
        for stack, own in self._parts:
            stack.recall(models[own])

    def state(self) -> State:
        """See Engine.state: names begin with the number of the stack."""
        return {
            f"{number}_{name}": array
            for number, (stack, _) in enumerate(self._parts)
            for name, array in stack.state().items()
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See Engine.load."""
        for number, (stack, _) in enumerate(self._parts):
            own = f"{number}_"
            stack.load(
                {name.removeprefix(own): state[name] for name in state if name.startswith(own)}
            )

    def _each(self, data: Opened) -> Sequence[Opened]:
        """Return the data for each stack: its own handle, or the same split without a handle."""
        return [data] * len(self._parts) if isinstance(data, Split) else data
