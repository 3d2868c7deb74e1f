"""What training would cost, measured in a second or two instead of paid in full."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onelayer.data.derived import kept_bytes
from onelayer.data.scaling import fit_scaling
from onelayer.model.losses import find_loss
from onelayer.thread_pools import limited
from onelayer.training.engine import OnDevice
from onelayer.training.epochs import feed
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.rows import bytes_to_hold
from onelayer.training.job import Job
from onelayer.training.schedules import LearningRates
from onelayer.training.world import alone

_SECONDS = 0.5  # to measure steps, and again to measure evaluation
_BATCHES = 100  # of an epoch are stepped on, over and over
_ROWS = 2000  # are evaluated, over and over
_EVALUATIONS = 60  # of the exact solver; models of a small λ take more, others far fewer


@dataclass(frozen=True)
class Forecast:
    """Sizes of the stacks, memory in bytes, and the time of all in seconds.

    The memory is that of the largest stack, and of the weights and curves that all stacks leave.
    """

    stacks: tuple[int, ...]
    bytes: int
    kept: int
    seconds: float


@dataclass(frozen=True)
class Sharing:
    """What processes would share, in bytes: all `rows`, or the `gradient` that a step sends.

    `devices` is the number of devices that together hold the rows and an order of them, each beside
    a stack; 1 where a device has no memory of its own.
    """

    rows: int
    gradient: int
    devices: int


def sharing(job: Job) -> Sharing:
    """Return what the processes of a job would share, in one way or the other."""
    data = job.data
    splits = [split for split in (data.train, data.validation) if split is not None]
    rows = sum(len(split) * (kept_bytes(split.X) + split.y.itemsize) for split in splits)
    models = max(map(len, job.stacks))
    gradient = 4 * len(job.settings) * (data.n_classes * (data.n_features + 1) + 1)
    free = job.make_engine.free_bytes() if isinstance(job.make_engine, OnDevice) else None
    order = np.intp().itemsize * sum(map(len, splits))
    devices = 1 if free is None else -(-(rows + order) // max(1, free - models * job.model_bytes))
    return Sharing(rows, gradient, devices)


def forecast(job: Job) -> Forecast:
    """Predict the cost of running a job; trains nothing to the end.

    A stack of each size that occurs steps and is evaluated for half a second each.

    Raises
    ------
    InputError
        If the memory does not suffice, before anything is allocated.
    """
    if job.options.solver == "exact":
        return _forecast_solving(job)
    with alone():
        return _forecast_descent(job)


def _forecast_descent(job: Job) -> Forecast:
    """Predict mini-batches from some of them, and from the evaluation of some rows."""
    data, options = job.data, job.options
    n_steps = -(-len(data.train) // options.batch_size)
    n_rows = sum(len(split) for split in (data.train, data.validation) if split is not None)
    n_evaluations = sum(map(options.evaluates, range(options.epochs + 1)))
    sizes = tuple(map(len, job.stacks))
    seconds = 0.0
    for size in set(sizes):
        with limited(job.machine.threads):
            step, row = _time_step_and_row(job, range(size))
        evaluation = n_evaluations * n_rows * row
        seconds += sizes.count(size) * (options.epochs * n_steps * step + evaluation)
    kept = len(job.settings) * job.kept_bytes
    return Forecast(sizes, max(sizes) * job.model_bytes, kept, seconds)


def _forecast_solving(job: Job) -> Forecast:
    """Predict the exact solver from the time of one evaluation of some rows."""
    data, sizes = job.data, tuple(map(len, job.stacks))
    kept = len(job.settings) * job.kept_bytes
    split, loss = data.train.head(_ROWS), find_loss(job.settings[0].loss)
    scaling = job.scaling or fit_scaling("none", data)
    with limited(job.machine.threads):
        begin = time.perf_counter()
        # Rows of which all together are too many to be held are read at each evaluation.
        width = min(data.n_features, len(data.train)) + 1
        held = bytes_to_hold(len(data.train), width) <= job.machine.memory_bytes
        memory = job.machine.memory_bytes if held else 0
        problem = Problem(split, np.ones(len(split)), scaling, loss, data.n_classes, memory=memory)
        prepared = time.perf_counter() - begin
        row = {size: problem.time_evaluation(size, _time_of) / len(split) for size in set(sizes)}
    seconds = prepared + len(data.train) * sum(_EVALUATIONS * row[size] for size in sizes)
    return Forecast(sizes, max(sizes) * job.model_bytes, kept, seconds)


def _time_step_and_row(job: Job, models: range) -> tuple[float, float]:
    """Return the seconds of one step and of the evaluation of one row."""
    stack, weights = job.build(models), job.weights_of(models)
    rates = LearningRates(job.settings[: len(models)], job.options.epochs).of_epoch(0)
    train, head = stack.open(job.data.train), job.data.train.head(_ROWS)
    some = list(itertools.islice(feed(job.data, train, job.options, 1), _BATCHES))

    def take_step(call: int) -> None:
        batch, rows, samples = some[call % len(some)]
        stack.step(batch, rows, rates, None if weights is None else weights.of(samples))

    # A device may be behind: the steps are done when it answers.
    step, opened = _time_of(take_step, stack.steps_until_stopped), stack.open(head)
    return step, _time_of(lambda _: stack.evaluate(opened)) / len(head)


def _time_of(work: Callable[[int], object], wait: Callable[[], object] = int) -> float:
    """Return the mean seconds of one call, over half a second of calls after three to warm up.

    They end when `wait` returns.
    """
    for n in range(3):
        work(n)
    wait()
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < _SECONDS or not calls:
        work(calls)
        calls += 1
    wait()
    return (time.perf_counter() - begin) / calls
