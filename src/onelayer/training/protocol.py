"""How all models of a run are trained: what they share."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from onelayer.data.batches import ORDERS
from onelayer.data.dataset import Dataset
from onelayer.errors import InputError, unknown_name
from onelayer.training.augmentation import Augmentation, check_augmentation
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.schedules import LearningRates

Dtype = Literal["float32", "float64"]
DTYPES: tuple[str, ...] = get_args(Dtype)
Keep = Literal["last", "best"]
KEEPS: tuple[str, ...] = get_args(Keep)


@dataclass(frozen=True)
class Protocol:
    """The part of training that is the same for all models.

    Parameters
    ----------
    batch_size, epochs
        Samples in a mini-batch, all if there are fewer (the last one may be smaller); passes over
        the training split.
    order
        "file" (consecutive rows), "shuffled" (a fresh permutation each epoch, the same for all
        models) or "windowed" (shuffled within windows, for data larger than memory; docs/data.md).
    seed
        Everything random is drawn from it.
    dtype
        "float32" or "float64".
    augmentation
        What is done to the images of every batch, as text (see Augmentation), or "none".
    evaluate_every
        Loss, cost and accuracy are measured on the whole training and validation splits before the
        first epoch, after every so many epochs and after the last; 0: after the last alone.
    keep
        The parameters that are left of each model: those of the "last" epoch, or of the "best" one
        measured, which is that of the highest validation accuracy (the first of equals).
    patience
        A model ends after so many measurements without a better one, and its best epoch is kept.
    time_limit
        Seconds after which no further batch is begun. None: no limit.
    """

    batch_size: int = 100
    epochs: int = 40
    order: str = "file"
    seed: int = 0
    dtype: str = "float32"
    augmentation: str = "none"
    evaluate_every: int = 1
    keep: str = "last"
    patience: int | None = None
    time_limit: float | None = None

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch's parameters are left instead of the last one's."""
        return self.keep == "best" or self.patience is not None

    def measures(self, epoch: int) -> bool:
        """Whether loss and accuracy are measured after `epoch`."""
        if epoch == self.epochs:
            return True
        return self.evaluate_every > 0 and epoch % self.evaluate_every == 0

    def deadline(self, begin: float, share: float) -> float:
        """Return the time by which `share` of all models must be trained, or infinity."""
        return math.inf if self.time_limit is None else begin + share * self.time_limit

    def check(self, data: Dataset, settings: Sequence[Hyperparameters]) -> None:
        """Raise InputError for the first part of the protocol that cannot be trained."""
        if not settings:
            raise InputError("no settings to train; give at least one")
        least = {"batch_size": 1, "epochs": 0, "evaluate_every": 0, "patience": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise InputError(f"{name} {value}: expected {lowest} or more")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"time_limit {self.time_limit}: expected seconds above 0")
        for name, known in (("order", ORDERS), ("dtype", DTYPES), ("keep", KEEPS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        check_augmentation(Augmentation.parse(self.augmentation), data.image_shape)
        self._check_validation(data, LearningRates(settings, self.epochs))

    def _check_validation(self, data: Dataset, rates: LearningRates) -> None:
        """Refuse what looks at the validation split where there is none, or too seldom."""
        wants = {
            "patience": self.patience is not None,
            'keep="best"': self.keep == "best",
            "a plateau schedule": rates.need_validation,
        }
        for name in (name for name, wanted in wants.items() if wanted):
            if data.validation is None:
                raise InputError(f"{name} needs validation data, and {data.name} has none")
            if self.evaluate_every == 0:
                raise InputError(f"{name} needs measurements; evaluate_every is 0")


def check_threads(threads: int | None) -> None:
    """Raise InputError unless `threads` is None or a number that this machine can use."""
    most = 16 * (os.cpu_count() or 1)
    if threads is not None and not 1 <= threads <= most:
        raise InputError(f"threads {threads}: expected 1 to {most}")
