"""What training would cost, measured in a second or two instead of paid in full."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from onelayer.data.batches import batches
from onelayer.data.dataset import Dataset
from onelayer.data.scaling import fit_scaling
from onelayer.training.engine import Engine, Rows
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.loop import build_stack, check_protocol
from onelayer.training.plan import MEMORY, cut_into_stacks, model_bytes

_SECONDS = 0.5  # to measure steps, and again to measure evaluation
_BATCHES = 100  # of an epoch are stepped on, over and over
_ROWS = 2000  # are evaluated, over and over


@dataclass(frozen=True)
class Forecast:
    """Sizes of the stacks, memory of the largest in bytes, and the time of all in seconds."""

    stacks: tuple[int, ...]
    bytes: int
    seconds: float


def forecast(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    *,
    batch_size: int = 100,
    epochs: int = 40,
    order: str = "file",
    scaling: str = "unit",
    dtype: str = "float32",
    threads: int | None = None,
    memory: int = MEMORY,
) -> Forecast:
    """Predict what onelayer.train would take with the same arguments; trains nothing to the end.

    A stack of each size that occurs steps and is evaluated for half a second each.

    Raises
    ------
    InputError
        As train does, before anything is allocated.
    """
    check_protocol(data, settings, batch_size, epochs, order, dtype, threads)
    stacks = cut_into_stacks(len(settings), data.n_classes, data.n_features, batch_size, memory)
    sizes = tuple(map(len, stacks))
    scale = fit_scaling(scaling, data)
    n_steps = -(-len(data.train) // batch_size)
    n_evaluated = (epochs + 1) * (len(data.train) + len(data.validation))
    seconds = 0.0
    for size in set(sizes):
        with threadpool_limits(threads):
            stack = build_stack(data, settings[:size], 0, scale, dtype)
            epoch = batches(len(data.train), batch_size, order, np.random.default_rng(0))
            step, row = _time_step_and_row(stack, data, list(itertools.islice(epoch, _BATCHES)))
        seconds += sizes.count(size) * (epochs * n_steps * step + n_evaluated * row)
    one = model_bytes(data.n_classes, data.n_features, batch_size)
    return Forecast(sizes, max(sizes) * one, seconds)


def _time_step_and_row(stack: Engine, data: Dataset, some: list[Rows]) -> tuple[float, float]:
    """Return the seconds of one step and of the evaluation of one row."""
    step = _time_of(lambda call: stack.step(data.train, some[call % len(some)]))
    head = data.train.head(_ROWS)
    return step, _time_of(lambda _: stack.evaluate(head)) / len(head)


def _time_of(work: Callable[[int], object]) -> float:
    """Return the mean seconds of one call, over half a second of calls after three to warm up."""
    for n in range(3):
        work(n)
    begin, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < _SECONDS or not calls:
        work(calls)
        calls += 1
    return elapsed / calls
