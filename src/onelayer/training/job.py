"""A job: everything that a training is, and the machine that it runs on.

`train`, `cross_validate`, `probe` and `forecast` are readings of a job: they differ in the weights
of the samples, in what is measured after an epoch, and in what they make of the trained stacks.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling, fit_scaling, fit_scalings
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.thread_pools import limited
from onelayer.training.augmentation import Augmentation, check_augmentation
from onelayer.training.checkpoint import NOWHERE, Asked, Checkpoints
from onelayer.training.engine import Engine, MakeEngine, OnDevice
from onelayer.training.epochs import Measure, OnEpoch, Parameters, run_epochs
from onelayer.training.exact.solve import Solution, join_solutions
from onelayer.training.exact.stack import (
    bytes_to_solve,
    check_solvable,
    solve_models,
)
from onelayer.training.hyperparameters import Hyperparameters, check_settings
from onelayer.training.keeper import Keeper
from onelayer.training.lockstep import Lockstep
from onelayer.training.log import Trained
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import software_of
from onelayer.training.run import CURVES
from onelayer.training.schedules import LearningRates
from onelayer.training.stacks import check_device_memory, cut_into_stacks
from onelayer.training.world import world

T = TypeVar("T")
# Called with the numbers of a stack's models and the stack, before its first epoch.
OnStack = Callable[["Job", range, Engine], None]


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
        self.data.check_one_class("training")
        if self.data.allow_missing:
            self.data.check_finite()
        check_augmentation(Augmentation.parse(self.options.augmentation), self.data.image_shape)
        self._check_validation()
        self._check_shard()
        if self.options.solver == "exact":
            check_solvable(self.settings)

    def _check_shard(self) -> None:
        """Refuse what cannot be done where each rank has a part of the rows."""
        if self.machine.shard != "rows":
            return
        if self.options.solver == "exact":
            raise InputError("shard is rows, and solver exact; it takes shard models")
        if self.options.time_limit is not None:
            raise InputError("shard is rows, and there is a time_limit; it takes shard models")

    def _facts(self) -> dict[str, Any]:
        """Return what of versions and the machine must be the same on all ranks, by name."""
        own = {"shard": self.machine.shard, "stacks": str(self.stacks)}
        return software_of(self.make_engine) | own

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
        if options.solver == "exact":
            return bytes_to_solve(data.n_classes, data.n_features)
        return self.make_engine.model_bytes(data.n_classes, data.n_features, rows)

    @property
    def kept_bytes(self) -> int:
        """The memory that one model takes after its training: curves, weights, snapshots."""
        curves = 8 * len(CURVES) * (self.options.epochs + 1)
        one = np.dtype(self.options.dtype).itemsize
        if self.kept:
            one += 2 * min(self.options.snapshots, self.options.epochs + 1)
        return curves + self.kept * self.data.n_classes * (self.data.n_features + 1) * one

    @cached_property
    def stacks(self) -> list[range]:
        """The models of each stack: together they fit into the memory, that of the device too."""
        one = self.model_bytes
        stacks = cut_into_stacks(
            len(self.settings),
            one,
            self.kept_bytes,
            self.machine.memory_bytes,
            self.machine.stacks or self.machine.together,
        )
        if isinstance(self.make_engine, OnDevice) and self.options.solver == "descent":
            check_device_memory(max(map(len, stacks)), one, self.make_engine.free_bytes())
        return stacks

    @property
    def own(self) -> list[range]:
        """The stacks that this rank trains: all, or its share of them."""
        return self.stacks[world().rank :: world().size] if self._shares else self.stacks

    @property
    def _shares(self) -> bool:
        """Whether each rank trains stacks of its own."""
        return self.machine.shard == "models"

    def gather(self, own: Sequence[T]) -> list[T]:
        """Return what all ranks found of their stacks, in the order of the stacks."""
        if not self._shares:
            return list(own)
        found, size = world().gather(own), world().size
        return [found[number % size][number // size] for number in range(len(self.stacks))]

    def weights_of(self, models: range) -> SampleWeights | None:
        """Return the sample weights of some of the models."""
        some = slice(models.start, models.stop)
        return None if self.weights is None else self.weights.of_models(some)

    def parts_of(self, models: range) -> list[tuple[range, Scaling]]:
        """Return the models that share a scaling, and that scaling."""
        if self.scaling is not None or self.weights is None:
            return [(models, self.scaling or fit_scaling(self.options.scaling, self.data))]
        groups, firsts = np.unique(
            self.weights.groups[models.start : models.stop], return_index=True
        )
        ends = [*(models.start + firsts).tolist(), models.stop]
        parts = [range(first, end) for first, end in itertools.pairwise(ends)]
        scalings = fit_scalings(self.options.scaling, self.data, self.weights.values[groups])
        return list(zip(parts, scalings, strict=True))

    def build(self, models: range) -> Engine:
        """Return a stack of these models before training."""
        weights, biases = self._start(models)
        return self._build(self.parts_of(models), weights, biases)

    def _start(self, models: range) -> Parameters:
        some = slice(models.start, models.stop)
        if self.start is not None:
            weights, biases = self.start
            return weights[some], biases[some]
        return initial_parameters(self.data, self.settings[some], self.options.seed)

    def _build(
        self, parts: list[tuple[range, Scaling]], weights: NDArray[Any], biases: NDArray[Any]
    ) -> Engine:
        """Return a stack of the models of these parts, with parameters for all of them."""
        dtype, first = self.options.dtype, parts[0][0].start
        stacks = []
        for models, scaling in parts:
            own = slice(models.start - first, models.stop - first)
            stacks.append(
                self.make_engine(
                    weights[own].astype(dtype),
                    biases[own].astype(dtype),
                    settings=self.settings[models.start : models.stop],
                    scaling=scaling,
                )
            )
        return stacks[0] if len(stacks) == 1 else Lockstep(stacks, [len(part) for part, _ in parts])

    def keeper(self, checkpoints: Checkpoints) -> Keeper:
        """Return what keeps this job in the checkpoints of a piece of work."""
        given: dict[str, Any] = {f"data, {name}": split for name, split in self.data.splits.items()}
        if self.weights is not None:
            given["sample weights"] = (self.weights.values, self.weights.groups)
        if self.scaling is not None:
            given["scaling"] = (self.scaling.shift, self.scaling.factor)
        if self.start is not None:
            given["start"] = self.start
        asked = Asked(tuple(self.settings), asdict(self.options))
        return Keeper(checkpoints, asked, given, self.make_engine)

    def run(
        self,
        measure: Measure,
        on_epoch: OnEpoch | None = None,
        on_stack: OnStack | None = None,
        keeper: Keeper | None = None,
    ) -> Iterator[tuple[range, Engine, Trained]]:
        """Train stack after stack; yield its models, its engine and what is left of it.

        What the `keeper` has of them is not trained again. Of several ranks each trains its own.
        """
        begin, keeper = time.perf_counter(), keeper or self.keeper(NOWHERE)
        with limited(self.machine.threads):
            if world().size > 1:
                world().agree(self._facts() | keeper.facts)
            for number, models in enumerate(self.own, 1):
                trained = keeper.trained(models)
                self._all_have(models, trained is not None)
                if trained:
                    parameters = trained.weights, trained.biases
                    yield models, self._build(self.parts_of(models), *parameters), trained
                    continue
                if self.options.solver == "exact":
                    stack, trained = self._solve(models, measure, on_epoch)
                else:
                    end = self.options.deadline(begin - keeper.seconds, number / len(self.own))
                    stack, trained = self._descend(models, measure, on_epoch, on_stack, end, keeper)
                keeper.finish(models, trained)
                yield models, stack, trained

    def _descend(
        self,
        models: range,
        measure: Measure,
        on_epoch: OnEpoch | None,
        on_stack: OnStack | None,
        deadline: float,
        keeper: Keeper,
    ) -> tuple[Engine, Trained]:
        """Train a stack by mini-batches, from its last checkpoint if there is one."""
        stack = self.build(models)
        log = keeper.resume(models, stack)
        self._all_have(models, log and (log.epoch, log.batches))
        if on_stack is not None:
            on_stack(self, models, stack)
        with keeper.watch():
            trained = run_epochs(
                stack,
                self.data,
                self.settings[models.start : models.stop],
                self.options,
                measure,
                models=models,
                weights=self.weights_of(models),
                on_epoch=on_epoch,
                deadline=deadline,
                log=log,
                pause=partial(keeper.pause, models),
            )
        return stack, trained

    def _all_have(self, models: range, kept: Any) -> None:
        """Raise InputError unless the ranks that train a stack together have the same of it."""
        if not self._shares:
            world().agree({f"what is kept of {models}": kept})

    def _solve(
        self, models: range, measure: Measure, on_epoch: OnEpoch | None
    ) -> tuple[Engine, Trained]:
        """Find the least cost of every model; what they are worth is measured once."""
        parts = self.parts_of(models)
        solved = join_solutions(
            solve_models(
                self.data,
                self.settings[part.start : part.stop],
                scaling,
                self.weights_of(part),
                tolerance=self.options.tolerance,
                in_float64=self.options.dtype == "float64",
                memory=self.machine.memory_bytes,
            )
            for part, scaling in parts
        )
        stack = self._build(parts, solved.weights, solved.biases)
        weights = self.weights_of(models)
        trained = judge_solution(stack, solved, self.data, self.options, measure, weights)
        if on_epoch is not None:
            on_epoch(int(trained.measured[-1]), {}, models)
        return stack, trained


def judge_solution(
    stack: Engine,
    solved: Solution,
    data: Dataset,
    options: TrainingOptions,
    measure: Measure,
    weights: SampleWeights | None,
) -> Trained:
    """Return what is left of a stack that holds a solution, after measuring it once."""
    seen = {name: split for name, split in data.splits.items() if name != "test"}
    opened = {name: stack.open(split) for name, split in seen.items()}
    measured, end = measure(stack, opened, weights), int(solved.evaluations.max())
    return Trained(
        *stack.parameters(),
        curves={name: values[:, None] for name, values in measured.items()},
        measured=np.array([end]),
        kept=np.full(len(solved.cost), end),
        stopped=("",) * len(solved.cost),
        ended=tuple(solved.shortfalls(options.tolerance)),
        convergence=solved.convergence,
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
