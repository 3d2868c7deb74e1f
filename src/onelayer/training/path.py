"""A search for λ with the validation split: downwards until it is worse, or around the best C."""

import itertools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.model.losses import find_loss
from onelayer.thread_pools import limited
from onelayer.training.conversions import l2_from_C
from onelayer.training.exact.axes import Floats, principal_axes
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.solve import solve
from onelayer.training.exact.stack import bytes_to_solve
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.job import judge_solution
from onelayer.training.log import Trained
from onelayer.training.loop import gather, measure_splits, weigh_samples
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import origin_of
from onelayer.training.run import Run

STEPS = 2  # λ in each power of ten
TOGETHER = 2  # number of λ in one stack; more would go further beyond the best one
BEYOND = 2  # number of λ below the best one after which a path ends
MOST = 16  # number of λ on a path, at most: eight powers of ten
MATTERS = 1e-3  # the share by which a smaller λ must lower the loss on the validation split
NOTHING_LEARNT = 0.01  # for the first λ, W = 0 costs at most this share more than the optimum


def follow_paths(
    data: Dataset,
    loss: str,
    weights: NDArray[np.uint8],
    *,
    options: TrainingOptions,
    machine: Machine,
    scaling: Scaling,
    C: Sequence[float] = (),
    halvings: int = 0,
    on_path: Callable[[int], None] = lambda number: None,
) -> tuple[Run, list[list[int]]]:
    """Return the models of least cost on a path of λ for each row of the weights (R, N).

    A path begins where W = 0 is optimal to one per cent and goes down in steps of √10, at round
    numbers. It ends when in BEYOND steps neither the loss on the validation split has become better
    nor the accuracy there by more than half of its standard error. With `C` (of scikit-learn's
    LogisticRegression) each of these is tried instead; then, `halvings` times, the geometric means
    of the most accurate one with its neighbours on both sides. Each row of the weights trains on
    its own samples, with the class weights of the options. The lists are the models of each path
    in the run, the largest λ first. `on_path` is called with the number of each path that begins.
    """
    if data.allow_missing:
        data.check_finite()
    weighed = weigh_samples(data, len(weights), weights, options)
    assert weighed is not None
    begin, settings = time.perf_counter(), list[Hyperparameters]()
    trained, paths = list[Trained](), list[list[int]]()
    axes = None
    if len(weights) > 1:
        every = np.flatnonzero(weights.any(axis=0))
        axes = principal_axes(data.train, every, scaling)
    with limited(machine.threads):
        for number, group in enumerate(weighed.groups):
            own = weighed.values[group]
            on_path(number)
            problem = Problem(
                data.train,
                own,
                scaling,
                find_loss(loss),
                data.n_classes,
                axes=axes,
                memory=machine.memory_bytes,
            )
            path = _Path(data, problem, loss, own, options, machine, scaling)
            if C:
                strength = 1 / own.sum(dtype=np.float64)
                path.halve([strength * l2_from_C(one, 1, data.n_classes) for one in C], halvings)
            else:
                path.go_down()
            paths.append([len(settings) + place for place in path.ranked()])
            settings += path.settings
            trained += path.parts
            origin = origin_of(path.make_engine)
    origin["seconds"] = time.perf_counter() - begin
    return gather(data, settings, options, scaling, trained, origin), paths


class Walk:
    """The λ of one path, downwards, until the scores on the validation split (n rows) get worse."""

    def __init__(self, largest: float, rows: int) -> None:
        self._place, self._rows = math.ceil(STEPS * math.log10(max(largest, 1e-12))), rows
        self._accuracy, self._loss = np.empty(0), np.empty(0)

    def next(self, count: int) -> list[float]:
        """Return the next λ, the largest first."""
        places = range(self._place, self._place - count, -1)
        self._place -= count
        return [float(f"{10 ** (place / STEPS):.3g}") for place in places]

    def add(self, accuracy: ArrayLike, loss: ArrayLike) -> None:
        """Add the accuracy and the loss on the validation split for the next λ."""
        self._accuracy = np.append(self._accuracy, accuracy)
        self._loss = np.append(self._loss, loss)

    @property
    def ended(self) -> bool:
        """Whether the last steps improved neither loss nor accuracy, or the path is at its end."""
        if len(self._accuracy) <= BEYOND:
            return False
        best, loss = self._accuracy[:-BEYOND].max(), self._loss[:-BEYOND].min()
        error = math.sqrt(best * (1 - best) / self._rows)
        more_right = self._accuracy[-BEYOND:].max() > best + error / 2
        less_loss = self._loss[-BEYOND:].min() < loss * (1 - MATTERS)
        return len(self._accuracy) >= MOST or not (more_right or less_loss)


class _Path:
    """One path, for one row of weights, with the models so far."""

    def __init__(
        self,
        data: Dataset,
        problem: Problem,
        loss: str,
        weights: Floats,
        options: TrainingOptions,
        machine: Machine,
        scaling: Scaling,
    ) -> None:
        self.settings, self.parts = list[Hyperparameters](), list[Trained]()
        chosen = [Hyperparameters(loss=loss)]
        self.make_engine = machine.find_engine(options.dtype, chosen)
        self._data, self._problem, self._loss = data, problem, loss
        self._weights = weights[None] if (weights != weights.max()).any() else None
        self._options, self._scaling = options, scaling
        fit = machine.memory_bytes // bytes_to_solve(data.n_classes, data.n_features)
        self._together = max(1, fit)
        self._found = list[NDArray[np.float32]]()  # parameters for each λ; later ones start there
        self._accuracy = np.empty(0)

    def go_down(self) -> None:
        """Try smaller and smaller λ until the scores on the validation split get worse."""
        assert self._data.validation is not None
        (largest,) = self._problem.largest_l2(NOTHING_LEARNT)
        walk = Walk(largest, len(self._data.validation))
        while not walk.ended:
            before = len(self.parts)
            self._try(walk.next(TOGETHER))
            for part in self.parts[before:]:
                walk.add(part.curves["validation_accuracy"], part.curves["validation_loss"])

    def halve(self, l2: Sequence[float], halvings: int) -> None:
        """Try these λ; then, `halvings` times, those between the best one and its neighbours."""
        self._try(sorted(set(l2), reverse=True))
        for _ in range(halvings):
            ranked = self.ranked()
            tried = [self.settings[model].l2 for model in ranked]
            best = int(self._accuracy[ranked].argmax())
            around = tried[max(best - 1, 0) : best + 2]
            between = [math.sqrt(one * other) for one, other in itertools.pairwise(around)]
            self._try([value for value in between if value not in tried])

    def ranked(self) -> list[int]:
        """Return the indices of all settings, the largest λ first."""
        return sorted(range(len(self.settings)), key=lambda model: -self.settings[model].l2)

    def _try(self, l2: Sequence[float]) -> None:
        """Add the models of least cost for these λ, as many at once as fit into the memory."""
        for first in range(0, len(l2), self._together):
            self._solve(l2[first : first + self._together])

    def _solve(self, l2: Sequence[float]) -> None:
        solution, U = solve(
            self._problem,
            l2,
            tolerance=self._options.tolerance,
            start=self._nearest(l2),
            fast=self._options.dtype != "float64",
        )
        chunk = [Hyperparameters(l2=value, loss=self._loss) for value in l2]
        stack = self.make_engine(
            solution.weights.astype(self._options.dtype),
            solution.biases.astype(self._options.dtype),
            settings=chunk,
            scaling=self._scaling,
        )
        weights = None
        if self._weights is not None:
            weights = SampleWeights(self._weights, np.zeros(len(chunk), np.intp))
        part = judge_solution(stack, solution, self._data, self._options, measure_splits, weights)
        self.settings += chunk
        self._found += [*U.astype(np.float32)]
        self._accuracy = np.append(self._accuracy, part.curves["validation_accuracy"])
        self.parts.append(part)

    def _nearest(self, l2: Sequence[float]) -> Floats | None:
        """Return for each λ the parameters of the nearest λ so far, None if there is none."""
        if not self.settings:
            return None
        tried = np.log([setting.l2 for setting in self.settings])
        nearest = [int(np.abs(tried - math.log(value)).argmin()) for value in l2]
        return np.stack([self._found[place] for place in nearest]).astype(np.float64)
