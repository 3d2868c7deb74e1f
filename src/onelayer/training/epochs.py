"""The only epoch loop, for all engines."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.batches import batches
from onelayer.data.dataset import Dataset, Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.streams import Stream, random_stream
from onelayer.training.augmentation import Augmentation, augment
from onelayer.training.engine import Engine, Opened, PerModel, Rows
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Curves, Log, Trained
from onelayer.training.options import TrainingOptions
from onelayer.training.schedules import LearningRates

Parameters = tuple[NDArray[Any], NDArray[Any]]  # W (M, K, D) and b (M, K)
# Evaluates the stack after an epoch on its opened splits, with the weights of the training samples:
# values (M,) by name. "validation_accuracy" and "validation_loss" steer early stopping, the best
# epoch and plateaus.
Measure = Callable[[Engine, Mapping[str, Opened], SampleWeights | None], dict[str, PerModel]]
# Called where the log agrees with the stack: between two batches, and after an epoch.
Pause = Callable[[Log, Engine], None]
# Called with the epoch, the curves of one stack so far, and the numbers of its models.
OnEpoch = Callable[[int, Curves, range], None]


def run_epochs(
    stack: Engine,
    data: Dataset,
    settings: Sequence[Hyperparameters],
    options: TrainingOptions,
    measure: Measure,
    *,
    models: range,
    weights: SampleWeights | None = None,
    on_epoch: OnEpoch | None = None,
    deadline: float = math.inf,
    log: Log | None = None,
    pause: Pause = lambda log, stack: None,
) -> Trained:
    """Step through all epochs and measure; `deadline` is a time of time.perf_counter.

    `models` are the numbers of this stack's models among all. The training continues from `log` and
    the state of the stack. `pause` is called after every batch and every epoch, where the two
    agree.
    """
    log = log or Log.begin(len(settings), options)
    rates = LearningRates(settings, options.epochs, log.plateaus)
    # The test split stays closed: it is evaluated once, after selection.
    seen = {name: split for name, split in data.splits.items() if name != "test"}
    opened = {name: stack.open(split) for name, split in seen.items()}
    while log.epoch < options.epochs and not log.over:
        epoch, began = log.epoch + 1, log.running
        if epoch > 0:
            now = np.where(log.running, rates.of_epoch(epoch - 1), 0)
            every = feed(data, opened["train"], options, epoch)
            for batch, rows, samples in islice(every, log.batches, None):
                if time.perf_counter() > deadline:
                    place = f"epoch {epoch}, batch {log.batches + 1}"
                    log.end(log.running, f"{place}: the time was up")
                    break
                stack.step(batch, rows, now, None if weights is None else weights.of(samples))
                log.batches, log.steps = log.batches + 1, log.steps + 1
                pause(log, stack)
            log.stop(stack.steps_until_stopped(), epoch)
        if log.over or options.evaluates(epoch):
            measured = measure(stack, opened, weights)
            log.enter(epoch, began, measured, stack, options)
            if epoch > 0 and "validation_loss" in measured:
                rates.observe(measured["validation_loss"])
        log.keep(epoch, stack, options)
        log.epoch, log.batches = epoch, 0
        if on_epoch is not None:
            on_epoch(epoch, log.curves, models)
        pause(log, stack)
    return log.close(stack)


def feed(
    data: Dataset, train: Opened, options: TrainingOptions, epoch: int
) -> Iterator[tuple[Opened, Rows, Rows]]:
    """Yield the batches of an epoch (from 1): a split, the rows of the batch in it, their samples.

    The split is `train`, the engine's handle of data.train, or an augmented batch.

    Raises
    ------
    InputError
        If a mapped file has changed since it was opened.
    """
    data.train.check_unchanged()
    order = random_stream(options.seed, Stream.ORDER, epoch)
    draws = random_stream(options.seed, Stream.AUGMENTATION, epoch)
    augmentation = Augmentation.parse(options.augmentation)
    X, y, shape = data.train.X, data.train.y, data.image_shape
    for rows in batches(len(data.train), options.batch_size, options.order, order):
        if shape is None or augmentation == Augmentation():
            yield train, rows, rows
        else:
            images = augment(X[rows], shape, augmentation, draws, data.full_scale)
            yield Split(images, y[rows]), slice(None), rows
