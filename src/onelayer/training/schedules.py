"""How the learning rate of each model changes from epoch to epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError, unknown_name

_FORMS = {
    "constant": "constant",
    "exponential": "exponential:FACTOR",
    "step": "step:EPOCHS:FACTOR",
    "cosine": "cosine",
    "plateau": "plateau:EPOCHS:FACTOR",
}
_THRESHOLD = 1e-4  # a loss that falls by a smaller share has stalled, as in PyTorch


@dataclass(frozen=True)
class Schedule:
    """η of an epoch divided by η of the first epoch.

    `constant`; `exponential:f`: times f every epoch; `step:n:f`: times f after every n epochs;
    `cosine`: (1 + cos(π e / E)) / 2 in epoch e = 0 … E − 1 (Loshchilov and Hutter 2017);
    `plateau:n:f`: times f whenever the validation loss has not fallen for more than n epochs.
    Epochs and factors as in PyTorch's schedulers of these names.
    """

    kind: str
    epochs: int = 0
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read one of the forms above.

        Raises
        ------
        InputError
            If the text is none of them, or a factor is not in (0, 1], or a count below 1.
        """
        kind, *values = text.split(":")
        if kind not in _FORMS:
            raise unknown_name("schedule", kind, _FORMS)
        form = _FORMS[kind]
        names = form.split(":")[1:]
        try:
            numbers = [
                {"EPOCHS": int, "FACTOR": float}[name](value)
                for name, value in zip(names, values, strict=True)
            ]
        except ValueError as error:
            raise InputError(f"schedule {text!r:.60}: expected {form}") from error
        schedule = cls(kind, **dict(zip(map(str.lower, names), numbers, strict=True)))
        if not 0 < schedule.factor <= 1 or (names[:1] == ["EPOCHS"] and schedule.epochs < 1):
            raise InputError(f"schedule {text!r:.60}: expected {form}, EPOCHS ≥ 1, 0 < FACTOR ≤ 1")
        return schedule

    def share(self, epoch: int, epochs: int) -> float:
        """Return η of `epoch` (from 0) of `epochs`, divided by the first η; 1 for a plateau."""
        if self.kind == "exponential":
            return self.factor**epoch
        if self.kind == "step":
            return float(self.factor ** (epoch // self.epochs))
        if self.kind == "cosine":
            return (1 + math.cos(math.pi * epoch / epochs)) / 2
        return 1.0


class Scheduled(Protocol):
    """The settings from which the learning rates of a model follow."""

    @property
    def learning_rate(self) -> float:
        """η."""
        ...

    @property
    def schedule(self) -> str:
        """The text of a Schedule."""
        ...

    @property
    def warmup(self) -> int:
        """The epochs over which the rate rises linearly to its full size."""
        ...


@dataclass
class Plateaus:
    """The effect of validation losses on the rates of M models, the state of LearningRates."""

    lowest: Annotated[NDArray[np.float64], "(M,)"]
    stalled: Annotated[NDArray[np.intp], "(M,)"]  # evaluations since the lowest loss
    reduced: Annotated[NDArray[np.float64], "(M,)"]  # factor of the rate

    @classmethod
    def of(cls, models: int) -> "Plateaus":
        """Return the start: `models` models before their first evaluation."""
        return cls(np.full(models, math.inf), np.zeros(models, np.intp), np.ones(models))


class LearningRates:
    """The rates of M models, from schedules, warm-ups and, with plateaus, validation losses."""

    def __init__(
        self, settings: Sequence[Scheduled], epochs: int, plateaus: Plateaus | None = None
    ) -> None:
        self._settings = settings
        self._schedules = [Schedule.parse(setting.schedule) for setting in settings]
        self._epochs = epochs
        self._plateaus = plateaus or Plateaus.of(len(settings))

    @property
    def need_validation(self) -> bool:
        """Whether a schedule depends on the validation loss."""
        return any(schedule.kind == "plateau" for schedule in self._schedules)

    def of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Return η (M,) of an epoch, counted from 0."""
        return self._plateaus.reduced * [
            setting.learning_rate
            * schedule.share(epoch, self._epochs)
            * min(1.0, (epoch + 1) / (setting.warmup + 1))
            for setting, schedule in zip(self._settings, self._schedules, strict=True)
        ]

    def observe(self, validation_losses: NDArray[np.float64]) -> None:
        """Use the losses (M,) after an epoch: a model on a plateau gets a lower rate."""
        seen = self._plateaus
        better = validation_losses < seen.lowest * (1 - _THRESHOLD)
        seen.lowest = np.where(better, validation_losses, seen.lowest)
        seen.stalled = np.where(better, 0, seen.stalled + 1)
        for model, schedule in enumerate(self._schedules):
            if schedule.kind == "plateau" and seen.stalled[model] > schedule.epochs:
                seen.reduced[model] *= schedule.factor
                seen.stalled[model] = 0
