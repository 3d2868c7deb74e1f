"""What training would cost, measured in a second or two instead of paid in full."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import fit_scaling
from onelayer.training.engine import Engine
from onelayer.training.epochs import feed
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.loop import build_stack, make_protocol, weigh_samples
from onelayer.training.plan import MEMORY, cut_into_stacks, model_bytes
from onelayer.training.protocol import Protocol, check_threads
from onelayer.training.schedules import LearningRates

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
    scaling: str = "unit",
    sample_weights: NDArray[Any] | None = None,
    class_weight: str | Mapping[str, float] | Sequence[float] | None = None,
    threads: int | None = None,
    memory: int = MEMORY,
    **protocol: Any,
) -> Forecast:
    """Predict what onelayer.train would take with the same arguments; trains nothing to the end.

    A stack of each size that occurs steps and is evaluated for half a second each.

    Raises
    ------
    InputError
        As train does, before anything is allocated.
    """
    shared = make_protocol(protocol)
    shared.check(data, settings)
    check_threads(threads)
    stacks = cut_into_stacks(
        len(settings), data.n_classes, data.n_features, shared.batch_size, memory
    )
    weights = weigh_samples(data, len(settings), sample_weights, class_weight)
    sizes = tuple(map(len, stacks))
    scale = fit_scaling(scaling, data)
    n_steps = -(-len(data.train) // shared.batch_size)
    n_rows = sum(len(split) for split in (data.train, data.validation) if split is not None)
    n_measured = sum(map(shared.measures, range(shared.epochs + 1)))
    seconds = 0.0
    for size in set(sizes):
        with threadpool_limits(threads):
            stack = build_stack(data, settings[:size], shared, scale)
            own = None if weights is None else weights.of_models(slice(size))
            step, row = _time_step_and_row(stack, data, settings[:size], shared, own)
        seconds += sizes.count(size) * (shared.epochs * n_steps * step + n_measured * n_rows * row)
    one = model_bytes(data.n_classes, data.n_features, shared.batch_size)
    return Forecast(sizes, max(sizes) * one, seconds)


def _time_step_and_row(
    stack: Engine,
    data: Dataset,
    settings: Sequence[Hyperparameters],
    protocol: Protocol,
    weights: SampleWeights | None,
) -> tuple[float, float]:
    """Return the seconds of one step and of the evaluation of one row."""
    rates = LearningRates(settings, protocol.epochs).of_epoch(0)
    some = list(itertools.islice(next(feed(data, protocol)), _BATCHES))

    def take_step(call: int) -> None:
        batch, rows, samples = some[call % len(some)]
        stack.step(batch, rows, rates, None if weights is None else weights.of(samples))

    step = _time_of(take_step)
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
