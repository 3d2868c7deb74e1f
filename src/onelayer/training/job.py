"""A job: everything that a training is, and the machine that it runs on.

`train`, `cross_validate`, `probe` and `forecast` are readings of a job: they differ in the weights
of the samples, in what is measured after an epoch, and in what they make of the trained stacks.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling, fit_scaling, fit_scalings
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.training.augmentation import Augmentation, check_augmentation
from onelayer.training.engine import Engine, MakeEngine
from onelayer.training.epochs import Measure, OnEpoch, Trained, run_epochs
from onelayer.training.hyperparameters import Hyperparameters, check_settings
from onelayer.training.lockstep import Lockstep
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.run import CURVES
from onelayer.training.schedules import LearningRates
from onelayer.training.stacks import cut_into_stacks

Parameters = tuple[NDArray[Any], NDArray[Any]]  # W (M, K, D) and b (M, K)


@dataclass(frozen=True)
class Job:
    """M settings to train on one data set with shared options, on one machine.

    `weights` say how much each training sample counts for each model. Without a `scaling` it is
    estimated as the options say, for each group of the weights on its own rows. The models begin
    with `start`, else with `initial_parameters`. Their weights are `kept`, or only judged.

    Raises
    ------
    InputError
        If there are no settings, or the options do not fit the data.
    """

    data: Dataset
    settings: Sequence[Hyperparameters]
    options: TrainingOptions
    machine: Machine
    scaling: Scaling | None
    weights: SampleWeights | None = None
    start: Parameters | None = None
    kept: bool = True

    def __post_init__(self) -> None:
        if not self.settings:
            raise InputError("no settings to train; give at least one")
        check_settings(len(self.settings))
        if self.data.allow_missing:
            self.data.check_finite()
        check_augmentation(Augmentation.parse(self.options.augmentation), self.data.image_shape)
        self._check_validation()

    def _check_validation(self) -> None:
        """Refuse what needs the validation split where there is none, or it is not evaluated."""
        wants = {
            "patience": self.options.patience is not None,
            'keep="best"': self.options.keep == "best",
            "a plateau schedule": LearningRates(self.settings, 1).need_validation,
        }
        for name in (name for name, wanted in wants.items() if wanted):
            if self.data.validation is None:
                raise InputError(f"{name} needs validation data, and {self.data.name} has none")
            if self.options.evaluate_every == 0:
                raise InputError(f"{name} needs evaluations; evaluate_every is 0")

    @property
    def make_engine(self) -> MakeEngine:
        """The class of the engine that trains."""
        return self.machine.find_engine(self.options.dtype, self.settings)

    @property
    def model_bytes(self) -> int:
        """The memory that one model takes while it trains, in bytes, at most."""
        data, options = self.data, self.options
        rows = min(options.batch_size, len(data.train))
        return self.make_engine.model_bytes(data.n_classes, data.n_features, rows)

    @property
    def kept_bytes(self) -> int:
        """The memory that one model takes after its training, in bytes: curves and weights."""
        curves = 8 * len(CURVES) * (self.options.epochs + 1)
        one = np.dtype(self.options.dtype).itemsize
        return curves + self.kept * self.data.n_classes * (self.data.n_features + 1) * one

    @cached_property
    def stacks(self) -> list[range]:
        """The models of each stack: together they fit into the memory."""
        return cut_into_stacks(
            len(self.settings), self.model_bytes, self.kept_bytes, self.machine.memory_bytes
        )

    def weights_of(self, models: range) -> SampleWeights | None:
        """Return the sample weights of some of the models."""
        some = slice(models.start, models.stop)
        return None if self.weights is None else self.weights.of_models(some)

    def build(self, models: range) -> Engine:
        """Return a stack of these models before training."""
        if self.scaling is not None or self.weights is None:
            return self._build(models, self.scaling or fit_scaling(self.options.scaling, self.data))
        groups, firsts = np.unique(
            self.weights.groups[models.start : models.stop], return_index=True
        )
        ends = [*(models.start + firsts).tolist(), models.stop]
        parts = [range(first, end) for first, end in itertools.pairwise(ends)]
        scalings = fit_scalings(self.options.scaling, self.data, self.weights.values[groups])
        stacks = [self._build(part, own) for part, own in zip(parts, scalings, strict=True)]
        return Lockstep(stacks, [len(part) for part in parts])

    def _build(self, models: range, scaling: Scaling) -> Engine:
        some = slice(models.start, models.stop)
        settings = self.settings[some]
        if self.start is not None:
            weights, biases = (array[some] for array in self.start)
        else:
            weights, biases = initial_parameters(self.data, settings, self.options.seed)
        dtype = self.options.dtype
        return self.make_engine(
            weights.astype(dtype), biases.astype(dtype), settings=settings, scaling=scaling
        )

    def run(
        self, measure: Measure, on_epoch: OnEpoch | None = None
    ) -> Iterator[tuple[range, Engine, Trained]]:
        """Train stack after stack; yield its models, its engine and what is left of it."""
        begin = time.perf_counter()
        with threadpool_limits(self.machine.threads):
            for models in self.stacks:
                stack = self.build(models)
                yield (
                    models,
                    stack,
                    run_epochs(
                        stack,
                        self.data,
                        self.settings[models.start : models.stop],
                        self.options,
                        measure,
                        models=models,
                        weights=self.weights_of(models),
                        on_epoch=on_epoch,
                        deadline=self.options.deadline(begin, models.stop / len(self.settings)),
                    ),
                )


def initial_parameters(
    data: Dataset, settings: Sequence[Hyperparameters], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return W (M, K, D) and b (M, K) as every setting's `init` says, W drawn first.

    Models of one init_seed get the same standard normal draw, so that neighbours differ by their
    settings alone.
    """
    M, K, D = len(settings), data.n_classes, data.n_features
    weights, biases = np.empty((M, K, D)), np.empty((M, K))
    for init_seed in {setting.init_seed for setting in settings}:
        generator = random_stream(seed, Stream.INITIAL_PARAMETERS, init_seed)
        W, b = generator.standard_normal((K, D)), generator.standard_normal(K)
        for model, setting in enumerate(settings):
            if setting.init_seed == init_seed:
                deviations = setting.init_deviation(D, K)
                weights[model], biases[model] = deviations[0] * W, deviations[1] * b
    return weights, biases
