"""The amount of work of probes: for the time left, and for a plan without training."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.multilabel import has_both
from onelayer.data.scaling import fit_scaling
from onelayer.training.forecast import Forecast, forecast
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.job import Job
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.path import MOST, TOGETHER

# A path takes about as long as this number of models: each of its models starts at the last one.
PATH = 4.0
_OWN_WORK = 50  # the fixed work of a row, in features


@dataclass(frozen=True)
class Workload:
    """The models to train on each feature set.

    All `settings`, or a path of λ if they are None, are trained on each of the `subsets` (R, N) of
    the labels, by fraction; then one model for each of the `shuffles` of the labels and each of the
    `refits`. All are evaluated on `judged` rows of the validation split.
    """

    settings: Sequence[Hyperparameters] | None
    subsets: Mapping[float, NDArray[np.uint8]]
    shuffles: int
    judged: int
    solver: str
    refits: int = 0

    @property
    def alone(self) -> int:
        """The number of models that are trained on all rows after the choice."""
        return self.shuffles + self.refits

    @property
    def draws(self) -> int:
        """R, the number of subsets."""
        return sum(map(len, self.subsets.values()))

    @property
    def shares(self) -> NDArray[np.float64]:
        """The time of each subset (R,), as a share of the time of all rows.

        The exact solver skips rows without a label; all models see the validation rows.
        """
        if self.solver != "exact":
            return np.ones(self.draws)
        rows = np.concatenate([(own > 0).sum(axis=1) for own in self.subsets.values()])
        shares: NDArray[np.float64] = (rows + self.judged) / (rows.max() + self.judged)
        return shares

    @property
    def passes(self) -> float:
        """The time of all subsets, in units of one model on all rows."""
        models = PATH if self.settings is None else len(self.settings)
        return models * float(self.shares.sum())

    def of_set(self, data: Dataset) -> float:
        """Return the work of a feature set."""
        return (self.passes + self.alone) * one_pass(data)

    def forecast(self, data: Dataset, options: TrainingOptions, machine: Machine) -> Forecast:
        """Predict the memory and the time of a feature set, without a whole training.

        Models of several labels cost what as many models of one label do.
        """
        scaling, copies = fit_scaling(options.scaling, data), 1
        if data.multilabel:
            labels = has_both(data.train.y)
            data, copies = data.of_label(labels[0]), len(labels)

        def cost(settings: Sequence[Hyperparameters]) -> Forecast:
            return forecast(Job(data, [*settings] * copies, options, machine, scaling))

        if self.settings is None:
            one = cost(grid())
            seconds, models = (self.passes + self.alone) * one.seconds, MOST * self.draws
            together = tuple(TOGETHER * size for size in one.stacks)
            return Forecast(together, TOGETHER * one.bytes, models * one.kept, seconds)
        if self.solver == "exact":
            every = cost(self.settings)
            kept, times = self.draws * every.kept, float(self.shares.sum())
        else:
            every = cost([*self.settings] * self.draws)
            kept, times = every.kept, 1
        further = self.alone * cost(self.settings[:1]).seconds if self.alone else 0
        seconds = times * every.seconds + further
        return Forecast(every.stacks, every.bytes, kept, seconds)


@dataclass(frozen=True)
class Planned:
    """The plan of a feature set: its D features, its bytes in memory, and the forecast."""

    name: str
    n_features: int
    bytes: int
    forecast: Forecast


def plan(
    feature_sets: Mapping[str, Dataset],
    work: Workload,
    options: TrainingOptions,
    machine: Machine,
    finished: Collection[str] = (),
) -> Iterator[Planned]:
    """Yield the plan of every feature set; the time is measured once for each D.

    Of those that are `finished` only the features take memory.
    """
    known: dict[int, Forecast] = {}
    for name, data in feature_sets.items():
        D = data.n_features
        if D not in known and name not in finished:
            known[D] = work.forecast(data, options, machine)
        ahead = Forecast((), 0, 0, 0.0) if name in finished else known[D]
        yield Planned(name, D, _bytes_of(data), ahead)


def _bytes_of(data: Dataset) -> int:
    """Return the memory that the features take, none if they are mapped."""
    return sum(
        len(split) * data.n_features * split.X.dtype.itemsize
        for split in data.splits.values()
        if not split.files
    )


def one_pass(data: Dataset) -> float:
    """Return the work of one model on all rows, in rows times features."""
    return len(data.train) * (data.n_features + _OWN_WORK)


@dataclass
class Progress:
    """The progress of the probes of all feature sets: `show` takes the work done, and words."""

    show: Callable[[float, str], None]
    work: Workload
    done: float = 0.0

    @contextmanager
    def part(self, data: Dataset, passes: float, words: str) -> Iterator[Callable[[float], None]]:
        """Yield a function that takes the done share of a part; after the block all is done."""
        whole = passes * one_pass(data)
        self.show(self.done, words)
        yield lambda share: self.show(self.done + share * whole, words)
        self.done += whole
        self.show(self.done, words)
