"""Several stacks that see the same batches at the same time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.training.engine import Engine, Evaluation, HeldOut, PerModel, Rows, Step


class Lockstep:
    """Stacks of models as one: each may scale the features in its own way.

    A batch is read once and handed to one after another while it is in the cache. `sizes` are the
    models of each stack.
    """

    def __init__(self, stacks: Sequence[Engine], sizes: Sequence[int]) -> None:
        ends = np.cumsum(sizes).tolist()
        self._parts = [
            (stack, slice(end - size, end))
            for stack, size, end in zip(stacks, sizes, ends, strict=True)
        ]

    def step(
        self, split: Split, rows: Rows, rates: PerModel, weights: NDArray[Any] | None = None
    ) -> Step:
        """See Engine.step."""
        steps = [
            stack.step(split, rows, rates[own], None if weights is None else weights[own])
            for stack, own in self._parts
        ]
        held_out = [step.held_out for step in steps if step.held_out is not None]
        return Step(
            np.concatenate([step.sound for step in steps]),
            HeldOut(*map(np.concatenate, zip(*held_out, strict=True))) if held_out else None,
        )

    def evaluate(self, split: Split, weights: SampleWeights | None = None) -> Evaluation:
        """See Engine.evaluate."""
        found = [
            stack.evaluate(split, None if weights is None else weights.of_models(own))
            for stack, own in self._parts
        ]
        return Evaluation(*map(np.concatenate, zip(*found, strict=True)))

    def penalties(self) -> PerModel:
        """See Engine.penalties."""
        return np.concatenate([stack.penalties() for stack, _ in self._parts])

    def parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """See Engine.parameters."""
        weights, biases = zip(*(stack.parameters() for stack, _ in self._parts), strict=True)
        return np.concatenate(weights), np.concatenate(biases)
