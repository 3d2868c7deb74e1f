"""The only epoch loop; it knows no engine by name."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.data.batches import batches
from onelayer.data.dataset import Dataset, Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.streams import Stream, random_stream
from onelayer.training.augmentation import Augmentation, augment
from onelayer.training.convergence import Convergence
from onelayer.training.engine import Engine, Models, Opened, PerModel, Rows
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.options import TrainingOptions
from onelayer.training.schedules import LearningRates
from onelayer.training.snapshots import Snapshots, as_halves, snapshot_epochs

Curves = dict[str, NDArray[np.float64]]
Parameters = tuple[NDArray[Any], NDArray[Any]]  # W (M, K, D) and b (M, K)
# Evaluates the stack after an epoch on its opened splits, with the weights of the training samples:
# values (M,) by name. "validation_accuracy" and "validation_loss" steer early stopping, the best
# epoch and plateaus.
Measure = Callable[[Engine, Mapping[str, Opened], SampleWeights | None], dict[str, PerModel]]
# Called with the epoch, the curves of one stack so far, and the numbers of its models.
OnEpoch = Callable[[int, Curves, range], None]


class Trained(NamedTuple):
    """What is left of one stack.

    `curves` are (M, C) in the C `measured` epochs; `kept` (M,) is the epoch that the parameters are
    of; `stopped` says where a model became non-finite for good, `ended` what else cut it short.
    Of the exact solver an epoch is one evaluation of all samples, and there is its `convergence`.
    """

    weights: NDArray[Any]
    biases: NDArray[Any]
    curves: Curves
    measured: NDArray[np.intp]
    kept: NDArray[np.intp]
    stopped: list[str]
    ended: list[str]
    convergence: Convergence | None = None
    snapshots: Snapshots | None = None


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
) -> Trained:
    """Step through all epochs and measure; `deadline` is a time of time.perf_counter.

    `models` are the numbers of this stack's models among all.
    """
    rates = LearningRates(settings, options.epochs)
    # The test split stays closed: it is evaluated once, after selection.
    seen = {name: split for name, split in data.splits.items() if name != "test"}
    opened = {name: stack.open(split) for name, split in seen.items()}
    log = _Log(len(settings), options)
    steps = 0
    for epoch in range(options.epochs + 1):
        began = log.running
        if epoch > 0:
            now = np.where(log.running, rates.of_epoch(epoch - 1), 0)
            first = steps
            for batch, rows, samples in feed(data, opened["train"], options, epoch):
                if time.perf_counter() > deadline:
                    place = f"epoch {epoch}, batch {steps - first + 1}"
                    log.end(log.running, f"{place}: the time was up")
                    break
                stack.step(batch, rows, now, None if weights is None else weights.of(samples))
                steps += 1
            log.stop(stack.steps_until_stopped(), epoch, first)
        if log.over or options.evaluates(epoch):
            measured = measure(stack, opened, weights)
            log.enter(epoch, began, measured, stack)
            if epoch > 0 and "validation_loss" in measured:
                rates.observe(measured["validation_loss"])
        log.keep(epoch, stack)
        if on_epoch is not None:
            on_epoch(epoch, log.curves, models)
        if log.over:
            break
    return log.close(stack)


def feed(
    data: Dataset, train: Opened, options: TrainingOptions, epoch: int
) -> Iterator[tuple[Opened, Rows, Rows]]:
    """Yield the batches of an epoch (from 1): a split, its rows that are the batch, their samples.

    The split is `train`, data.train as an engine opened it, or an augmented batch.

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


class _Log:
    """The curves of M models while they train, and where each of them stopped or ended."""

    def __init__(self, models: int, options: TrainingOptions) -> None:
        self.running = np.ones(models, dtype=bool)
        self.curves: Curves = {}
        self._options = options
        self._measured: list[int] = []
        self._sound = np.ones(models, dtype=bool)
        self._stopped, self._ended = [""] * models, [""] * models
        self._best = _Best(models) if options.keeps_best else None
        self._planned = snapshot_epochs(options.snapshots, options.epochs)
        self._snapshots: dict[int, Parameters] = {}

    @property
    def over(self) -> bool:
        """Whether no model is left to train."""
        return not self.running.any()

    def stop(self, stopped: NDArray[np.int64], epoch: int, first: int) -> None:
        """Note the models that diverged in this epoch, which began after step `first`."""
        for model in np.flatnonzero(self._sound & (stopped > 0)):
            self._stopped[model] = f"epoch {epoch}, batch {stopped[model] - first}"
        self._mark(stopped > 0)

    def _mark(self, unsound: Models) -> None:
        self._sound = self._sound & ~unsound
        self.running = self.running & ~unsound

    def end(self, models: Models, reason: str) -> None:
        """Let models end although they are sound."""
        for model in np.flatnonzero(models):
            self._ended[model] = reason
        self.running = self.running & ~models

    def enter(
        self,
        epoch: int,
        began: Models,
        measured: dict[str, PerModel],
        stack: Engine,
    ) -> None:
        """Fill column `epoch` of every curve for the models that `began` it and are sound."""
        self._measured.append(epoch)
        finite = np.all([np.isfinite(values) for values in measured.values()], axis=0)
        diverged = self._sound & began & ~finite
        for model in np.flatnonzero(diverged):
            self._stopped[model] = f"the evaluation after epoch {epoch}"
        self._mark(diverged)
        current = began & self._sound
        for name, values in measured.items():
            if name not in self.curves:
                shape = (len(current), self._options.epochs + 1)
                self.curves[name] = np.full(shape, math.nan)
            self.curves[name][current, epoch] = values[current]
        if self._best is not None:
            self._best.update(epoch, current, measured["validation_accuracy"], stack)
            self._end_the_patient(epoch, self._best.waited)

    def _end_the_patient(self, epoch: int, waited: NDArray[np.intp]) -> None:
        patience = self._options.patience
        if patience is not None:
            reason = f"epoch {epoch}: no better validation accuracy in {patience} evaluations"
            self.end(self.running & (waited >= patience), reason)

    def keep(self, epoch: int, stack: Engine) -> None:
        """Keep the parameters after an epoch that is planned for it, or the last of all."""
        if epoch in self._planned or (self.over and self._planned):
            weights, biases = stack.parameters()
            self._snapshots[epoch] = as_halves(weights), as_halves(biases)

    def close(self, stack: Engine) -> Trained:
        """Return what is left: the last parameters of every model, or its best ones."""
        kept = np.full(len(self.running), self._measured[-1])
        if self._best is not None:
            # What diverged before it got better than it began has not been trained.
            diverged = np.array([place != "" for place in self._stopped])
            found = np.where(diverged, self._best.epochs > 0, self._best.epochs >= 0)
            stack.recall(found)
            kept[found] = self._best.epochs[found]
            for model in np.flatnonzero(found):
                if self._stopped[model]:
                    self._ended[model] = f"{self._stopped[model]}: diverged"
                    self._stopped[model] = ""
        weights, biases = stack.parameters()
        measured = np.array(self._measured)
        curves = {name: curve[:, measured] for name, curve in self.curves.items()}
        return Trained(
            weights,
            biases,
            curves,
            measured,
            kept,
            self._stopped,
            self._ended,
            snapshots=self._kept_snapshots(),
        )

    def _kept_snapshots(self) -> Snapshots | None:
        if not self._snapshots:
            return None
        weights, biases = zip(*self._snapshots.values(), strict=True)
        return Snapshots(np.array(list(self._snapshots)), np.stack(weights), np.stack(biases))


class _Best:
    """The epoch of each model's best evaluation so far, by validation accuracy; -1 before any."""

    def __init__(self, models: int) -> None:
        self.epochs = np.full(models, -1)
        self.waited = np.zeros(models, dtype=np.intp)  # evaluations since then
        self._accuracies = np.full(models, -1.0)

    def update(self, epoch: int, current: Models, accuracies: PerModel, stack: Engine) -> None:
        """Let the engine remember the models that are better than before."""
        better = current & (accuracies > self._accuracies)
        self.waited = np.where(better, 0, self.waited + current)
        self._accuracies[better] = accuracies[better]
        self.epochs[better] = epoch
        if better.any():
            stack.remember(better)
