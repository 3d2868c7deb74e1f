"""The state of the epoch loop: the progress of the models of a stack, as a record."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.records import COUNT, check_arrays
from onelayer.training.convergence import Convergence
from onelayer.training.engine import Engine, Models, PerModel
from onelayer.training.options import TrainingOptions
from onelayer.training.schedules import Plateaus
from onelayer.training.snapshots import Snapshots, as_halves, snapshot_epochs

Curves = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Trained:
    """The outcome of the training of one stack.

    `curves` are (M, C) in the C `measured` epochs; `kept` (M,) is the epoch of the parameters;
    `stopped` says where a model became non-finite, `ended` why else it ended early. With the exact
    solver an epoch is one evaluation of all samples, and `convergence` is its record.
    """

    weights: Annotated[NDArray[Any], "(M, K, D)"]
    biases: Annotated[NDArray[Any], "(M, K)"]
    curves: Curves
    measured: Annotated[NDArray[np.intp], "(C,)", COUNT]
    kept: Annotated[NDArray[np.intp], "(M,)"]
    stopped: Annotated[tuple[str, ...], "(M,)"]
    ended: Annotated[tuple[str, ...], "(M,)"]
    convergence: Convergence | None = None
    snapshots: Snapshots | None = None


@dataclass
class Best:
    """The epoch of each model's best evaluation so far, by validation accuracy; -1 before any."""

    epochs: Annotated[NDArray[np.intp], "(M,)"]
    waited: Annotated[NDArray[np.intp], "(M,)", COUNT]  # evaluations since then
    accuracies: Annotated[NDArray[np.float64], "(M,)"]

    @classmethod
    def of(cls, models: int) -> "Best":
        """Return the start: `models` models before their first evaluation."""
        return cls(np.full(models, -1), np.zeros(models, np.intp), np.full(models, -1.0))

    def update(self, epoch: int, current: Models, accuracies: PerModel, stack: Engine) -> None:
        """Let the engine remember the models that improved."""
        better = current & (accuracies > self.accuracies)
        self.waited = np.where(better, 0, self.waited + current)
        self.accuracies[better] = accuracies[better]
        self.epochs[better] = epoch
        if better.any():
            stack.remember(better)


@dataclass
class Log:
    """Progress of M models: the last complete `epoch`, −1 before any, and the `batches` after it.

    `steps` counts all batches so far. `curves` are (M, E + 1), NaN where not measured. Models that
    are `running` train on; those that are `sound` have not diverged. The next step depends on this
    log and the state of the engine alone: from both the training resumes.
    """

    running: Annotated[NDArray[np.bool_], "(M,)"]
    sound: Annotated[NDArray[np.bool_], "(M,)"]
    stopped: Annotated[tuple[str, ...], "(M,)"]
    ended: Annotated[tuple[str, ...], "(M,)"]
    plateaus: Plateaus
    best: Best | None
    curves: Curves
    measured: tuple[int, ...] = ()
    snapshots: Snapshots | None = None
    epoch: int = -1
    batches: Annotated[int, COUNT] = 0
    steps: Annotated[int, COUNT] = 0

    @classmethod
    def begin(cls, models: int, options: TrainingOptions) -> "Log":
        """Return the log of `models` models before their training."""
        return cls(
            running=np.ones(models, dtype=bool),
            sound=np.ones(models, dtype=bool),
            stopped=("",) * models,
            ended=("",) * models,
            plateaus=Plateaus.of(models),
            best=Best.of(models) if options.keeps_best else None,
            curves={},
        )

    def check(self, models: int, epochs: int) -> None:
        """Raise InputError unless this is a log of so many models and epochs."""
        check_arrays(self, self.plateaus, *([self.best] if self.best else []), M=models)
        for name, curve in self.curves.items():
            if curve.shape != (models, epochs + 1) or curve.dtype != np.float64:
                raise InputError(f"curves.{name}: {curve.dtype} of the shape {curve.shape}")
        if not self.epoch < epochs + 1 or not {*self.measured} <= {*range(self.epoch + 1)}:
            raise InputError(f"measured: expected epochs from 0 to {self.epoch}, up to {epochs}")

    @property
    def over(self) -> bool:
        """Whether no model is left to train."""
        return not self.running.any()

    def stop(self, stopped: NDArray[np.int64], epoch: int) -> None:
        """Stop the models that diverged in a step of this epoch, after its last batch."""
        first = self.steps - self.batches
        places = [f"epoch {epoch}, batch {step - first}" for step in stopped]
        self.stopped = _with(self.stopped, self.sound & (stopped > 0), places)
        self._mark(stopped > 0)

    def _mark(self, unsound: Models) -> None:
        self.sound = self.sound & ~unsound
        self.running = self.running & ~unsound

    def end(self, models: Models, reason: str) -> None:
        """End the training of `models`, which have not diverged, for this reason."""
        self.ended = _with(self.ended, models, [reason] * len(models))
        self.running = self.running & ~models

    def enter(
        self,
        epoch: int,
        began: Models,
        measured: Mapping[str, PerModel],
        stack: Engine,
        options: TrainingOptions,
    ) -> None:
        """Fill column `epoch` of every curve for the models that `began` it and are sound."""
        self.measured = (*self.measured, epoch)
        finite = np.all([np.isfinite(values) for values in measured.values()], axis=0)
        diverged = self.sound & began & ~finite
        place = f"the evaluation after epoch {epoch}"
        self.stopped = _with(self.stopped, diverged, [place] * len(diverged))
        self._mark(diverged)
        current = began & self.sound
        for name, values in measured.items():
            if name not in self.curves:
                self.curves[name] = np.full((len(current), options.epochs + 1), math.nan)
            self.curves[name][current, epoch] = values[current]
        if self.best is not None:
            self.best.update(epoch, current, measured["validation_accuracy"], stack)
            self._end_the_patient(epoch, self.best.waited, options.patience)

    def _end_the_patient(self, epoch: int, waited: NDArray[np.intp], patience: int | None) -> None:
        if patience is not None:
            reason = f"epoch {epoch}: no better validation accuracy in {patience} evaluations"
            self.end(self.running & (waited >= patience), reason)

    def keep(self, epoch: int, stack: Engine, options: TrainingOptions) -> None:
        """Take a snapshot after an epoch that is planned for one, and after the last epoch."""
        planned = snapshot_epochs(options.snapshots, options.epochs)
        if epoch in planned or (self.over and planned):
            weights, biases = map(as_halves, stack.parameters())
            new = Snapshots(np.array([epoch]), weights[None], biases[None])
            self.snapshots = new if self.snapshots is None else self.snapshots.followed_by(new)

    def close(self, stack: Engine) -> Trained:
        """Return the outcome, with the last parameters of every model or its best ones."""
        kept = np.full(len(self.running), self.measured[-1])
        stopped, ended = list(self.stopped), list(self.ended)
        if self.best is not None:
            # A model that diverged before it improved on its start has not been trained.
            diverged = np.array([place != "" for place in stopped])
            found = np.where(diverged, self.best.epochs > 0, self.best.epochs >= 0)
            stack.recall(found)
            kept[found] = self.best.epochs[found]
            for model in np.flatnonzero(found & diverged):
                ended[model], stopped[model] = f"{stopped[model]}: diverged", ""
        measured = np.array(self.measured)
        return Trained(
            *stack.parameters(),
            {name: curve[:, measured] for name, curve in self.curves.items()},
            measured,
            kept,
            tuple(stopped),
            tuple(ended),
            snapshots=self.snapshots,
        )


def _with(texts: Sequence[str], models: Models, new: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of all models, with new ones for the chosen models."""
    return tuple(n if one else text for one, text, n in zip(models, texts, new, strict=True))
