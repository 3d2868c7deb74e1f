"""The only epoch loop; it knows no engine by name."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.data.batches import batches
from onelayer.data.dataset import Dataset, Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.training.augmentation import Augmentation, augment
from onelayer.training.engine import Engine, HeldOut, PerModel, Rows
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.protocol import Protocol
from onelayer.training.schedules import LearningRates

Curves = dict[str, NDArray[np.float64]]
# What is to be known after an epoch, by name, each (M,); "validation_accuracy" and
# "validation_loss" steer early stopping, the best epoch and plateaus.
Measure = Callable[[Engine, HeldOut | None], dict[str, PerModel]]
# Told the epoch, the curves of one stack so far, and which of all models they belong to.
OnEpoch = Callable[[int, Curves, range], None]


class Trained(NamedTuple):
    """What is left of one stack.

    `curves` are (M, C) in the C `measured` epochs; `kept` (M,) is the epoch that the parameters are
    of; `stopped` says where a model became non-finite for good, `ended` what else cut it short.
    """

    weights: NDArray[Any]
    biases: NDArray[Any]
    curves: Curves
    measured: NDArray[np.intp]
    kept: NDArray[np.intp]
    stopped: list[str]
    ended: list[str]


def run_epochs(
    stack: Engine,
    data: Dataset,
    settings: Sequence[Hyperparameters],
    protocol: Protocol,
    measure: Measure,
    *,
    models: range,
    weights: SampleWeights | None = None,
    on_epoch: OnEpoch | None = None,
    deadline: float = math.inf,
) -> Trained:
    """Step through all epochs and measure; `deadline` is a time of time.perf_counter.

    `models` says which of all models are in this stack.
    """
    rates = LearningRates(settings, protocol.epochs)
    epochs = feed(data, protocol)
    log = _Log(len(settings), protocol)
    held_out: HeldOut | None = None
    for epoch in range(protocol.epochs + 1):
        began = log.running
        if epoch > 0:
            held_out = None
            now = np.where(log.running, rates.of_epoch(epoch - 1), 0)
            for count, (batch, rows, samples) in enumerate(next(epochs), 1):
                if time.perf_counter() > deadline:
                    log.end(log.running, f"epoch {epoch}, batch {count}: the time was up")
                    break
                weighed = None if weights is None else weights.of(samples)
                step = stack.step(batch, rows, now, weighed)
                if not step.sound.all():
                    log.stop(~step.sound, f"epoch {epoch}, batch {count}")
                held_out = _added(held_out, step.held_out)
        if log.over or protocol.measures(epoch):
            measured = measure(stack, held_out)
            log.enter(epoch, began, measured, stack)
            if epoch > 0 and "validation_loss" in measured:
                rates.observe(measured["validation_loss"])
        if on_epoch is not None:
            on_epoch(epoch, log.curves, models)
        if log.over:
            break
    return log.close(stack)


def feed(data: Dataset, protocol: Protocol) -> Iterator[Iterator[tuple[Split, Rows, Rows]]]:
    """Yield the batches of each epoch: a split, its rows that are the batch, and their samples."""
    orders = np.random.default_rng((protocol.seed, 1))
    draws = np.random.default_rng((protocol.seed, 2))
    augmentation = Augmentation.parse(protocol.augmentation)
    shape, train = data.image_shape, data.train
    while True:
        train.check_unchanged()
        epoch = batches(len(train), protocol.batch_size, protocol.order, orders)
        if shape is None or augmentation == Augmentation():
            yield ((train, rows, rows) for rows in epoch)
        else:
            augmented = partial(
                augment,
                image_shape=shape,
                augmentation=augmentation,
                generator=draws,
                full_scale=data.full_scale,
            )
            yield (
                (Split(augmented(train.X[rows]), train.y[rows]), slice(None), rows)
                for rows in epoch
            )


def _added(before: HeldOut | None, new: HeldOut | None) -> HeldOut | None:
    if before is None or new is None:
        return new
    return HeldOut(*(old + more for old, more in zip(before, new, strict=True)))


class _Log:
    """What is known of M models while they train."""

    def __init__(self, models: int, protocol: Protocol) -> None:
        self.running = np.ones(models, dtype=bool)
        self.curves: Curves = {}
        self._protocol = protocol
        self._measured: list[int] = []
        self._sound = np.ones(models, dtype=bool)
        self._stopped, self._ended = [""] * models, [""] * models
        self._best = _Best(models) if protocol.keeps_best else None

    @property
    def over(self) -> bool:
        """Whether no model is left to train."""
        return not self.running.any()

    def stop(self, unsound: NDArray[np.bool_], place: str) -> None:
        """Note the models that have just become non-finite."""
        for model in np.flatnonzero(self._sound & unsound):
            self._stopped[model] = place
        self._sound = self._sound & ~unsound
        self.running = self.running & ~unsound

    def end(self, models: NDArray[np.bool_], reason: str) -> None:
        """Let models end although they are sound."""
        for model in np.flatnonzero(models):
            self._ended[model] = reason
        self.running = self.running & ~models

    def enter(
        self,
        epoch: int,
        began: NDArray[np.bool_],
        measured: dict[str, PerModel],
        stack: Engine,
    ) -> None:
        """Fill column `epoch` of every curve for the models that `began` it and are sound."""
        self._measured.append(epoch)
        finite = np.all([np.isfinite(values) for values in measured.values()], axis=0)
        self.stop(self._sound & began & ~finite, f"the evaluation after epoch {epoch}")
        current = began & self._sound
        for name, values in measured.items():
            if name not in self.curves:
                shape = (len(current), self._protocol.epochs + 1)
                self.curves[name] = np.full(shape, math.nan)
            self.curves[name][current, epoch] = values[current]
        if self._best is not None:
            self._best.update(epoch, current, measured["validation_accuracy"], stack)
            self._end_the_patient(epoch, self._best.waited)

    def _end_the_patient(self, epoch: int, waited: NDArray[np.intp]) -> None:
        patience = self._protocol.patience
        if patience is not None:
            reason = f"epoch {epoch}: no better validation accuracy in {patience} measurements"
            self.end(self.running & (waited >= patience), reason)

    def close(self, stack: Engine) -> Trained:
        """Return what is left: the last parameters of every model, or its best ones."""
        weights, biases = stack.parameters()
        kept = np.full(len(weights), self._measured[-1])
        for model, best in () if self._best is None else self._best.parameters.items():
            weights[model], biases[model], kept[model] = best
            if self._stopped[model]:
                self._ended[model] = f"{self._stopped[model]}: no longer finite"
                self._stopped[model] = ""
        measured = np.array(self._measured)
        curves = {name: curve[:, measured] for name, curve in self.curves.items()}
        return Trained(weights, biases, curves, measured, kept, self._stopped, self._ended)


class _Best:
    """W, b and the epoch of each model's best measurement so far, by validation accuracy."""

    def __init__(self, models: int) -> None:
        self.parameters: dict[int, tuple[NDArray[Any], NDArray[Any], int]] = {}
        self.waited = np.zeros(models, dtype=np.intp)  # measurements since
        self._accuracies = np.full(models, -1.0)

    def update(
        self, epoch: int, current: NDArray[np.bool_], accuracies: PerModel, stack: Engine
    ) -> None:
        """Take over what is better than before."""
        better = current & (accuracies > self._accuracies)
        self.waited = np.where(better, 0, self.waited + current)
        self._accuracies[better] = accuracies[better]
        if better.any():
            weights, biases = stack.parameters()
            for model in map(int, np.flatnonzero(better)):
                self.parameters[model] = weights[model].copy(), biases[model].copy(), epoch
