"""Multi-label data: a model of two classes for each label, with a λ of its own.

All labels are targets of one problem of the exact solver, so they share its axes and its products.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Dataset, Split
from onelayer.data.multilabel import has_both
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.thread_pools import limited
from onelayer.training.classifier import Classifier
from onelayer.training.exact.axes import Axes, Floats, principal_axes
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.solve import solve
from onelayer.training.exact.stack import bytes_to_solve, check_solvable
from onelayer.training.hyperparameters import Hyperparameters, check_settings
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.path import NOTHING_LEARNT, TOGETHER, Walk
from onelayer.training.provenance import provenance

Settings = Sequence[Hyperparameters]
ANSWERS = ("0", "1")  # the classes of the model of a label


@dataclass(frozen=True)
class LabelModels:
    """The models of one label, each of least cost for its λ, and their validation scores.

    Attributes
    ----------
    settings
        Their M settings, the largest λ of a path first.
    weights, biases
        W (M, 2, D) and b (M, 2) on scaled features.
    scores
        The score of 1 minus the score of 0 for each validation row, (M, N).
    shortfalls
        The reason why the least cost of a model is not proven, or empty.
    """

    settings: tuple[Hyperparameters, ...]
    weights: NDArray[np.floating]
    biases: NDArray[np.floating]
    scores: NDArray[np.float32]
    shortfalls: tuple[str, ...]


def train_labels(
    data: Dataset,
    settings: Settings | Mapping[int, Settings] | None,
    *,
    options: TrainingOptions,
    machine: Machine,
    scaling: Scaling,
    weights: NDArray[np.uint8] | None = None,
    axes: Axes | None = None,
    on_label: Callable[[int], None] = lambda ended: None,
) -> dict[int, LabelModels]:
    """Return the models of each label that can be learned, with its settings or on a path of λ.

    The settings are the same for all labels, or those of each. A path is that of follow_paths; each
    label's path has its own end. The models are those that `train` gives for the column of the
    label alone, with the classes 0 and 1: λ means the same. Rows with the weight 0 (N,) are left
    out. `axes` may come from more rows. `on_label` receives the number of labels that are done.

    Raises
    ------
    InputError
        If a setting has no use in the exact solver, its loss is not the cross-entropy, classes are
        weighed, or no label can be learned.
    """
    _check(data, None if isinstance(settings, Mapping) else settings, options)
    labels = has_both(data.train.y)
    each = dict.fromkeys(labels.tolist(), settings) if isinstance(settings, Sequence) else settings
    most = machine.memory_bytes // bytes_to_solve(2, data.n_features)
    count = max(1, most // (TOGETHER if each is None else max(map(len, each.values()))))
    shares = np.ones(len(data.train)) if weights is None else weights.astype(np.float64)
    found: dict[int, LabelModels] = {}
    with limited(machine.threads):
        for first in range(0, len(labels), count):
            some = labels[first : first + count]
            split = replace(data.train, y=data.train.y[:, some])
            problem = Problem(
                split,
                shares,
                scaling,
                CROSS_ENTROPY,
                2,
                axes=axes,
                memory=machine.memory_bytes,
            )
            axes = problem.axes
            on_label(first)
            group = _Group(data, some, problem, options, scaling)
            own = None if each is None else [each[label] for label in some.tolist()]
            found |= group.solve_all(own, partial(_count, on_label, first))
    return found


def axes_of_rows(data: Dataset, scaling: Scaling) -> Axes:
    """Return the principal axes of all training rows, which serve every training of train_labels.

    Raises
    ------
    InputError
        If a feature is missing.
    """
    if data.allow_missing:
        data.check_finite()
    return principal_axes(data.train, np.arange(len(data.train)), scaling)


def label_model(
    data: Dataset,
    setting: Hyperparameters,
    weights: NDArray[np.floating],
    biases: NDArray[np.floating],
    scaling: Scaling,
) -> Classifier:
    """Return the model of a label from W (2, D) and b (2,): 1 is the class of rows that have it."""
    return Classifier(
        weights=weights,
        biases=biases,
        scaling=scaling,
        class_names=ANSWERS,
        image_shape=data.image_shape,
        full_scale=data.full_scale,
        hyperparameters=setting,
        dataset=data.name,
        digests=dict(data.digests),
        version=provenance()["onelayer"],
        columns=data.columns,
    )


def scores_of(
    split: Split, weights: NDArray[np.floating], biases: NDArray[np.floating], scaling: Scaling
) -> NDArray[np.float32]:
    """Return the score of 1 minus the score of 0, (M, N), from W (M, 2, D) and b (M, 2)."""
    W, b = weights[:, 1] - weights[:, 0], biases[:, 1] - biases[:, 0]
    scores = np.empty((len(W), len(split)), np.float32)
    for rows in split.blocks(BLOCK):
        scores[:, rows] = W @ scaling.apply(split.X[rows], W.dtype).T + b[:, None]
    return scores


class _Group:
    """Labels that are solved together, each on its own path."""

    def __init__(
        self,
        data: Dataset,
        labels: NDArray[np.intp],
        problem: Problem,
        options: TrainingOptions,
        scaling: Scaling,
    ) -> None:
        self._data, self._labels, self._problem = data, labels, problem
        self._options, self._scaling = options, scaling
        self._parts: dict[int, list[LabelModels]] = {target: [] for target in range(len(labels))}

    def solve_all(
        self, settings: Sequence[Settings] | None, on_label: Callable[[int], None]
    ) -> dict[int, LabelModels]:
        """Return the models of each label, with its settings or on a path."""
        if settings is not None:
            self._solve({n: [one.l2 for one in own] for n, own in enumerate(settings)})
        else:
            self._follow(on_label)
        return {int(label): _join(self._parts[target]) for target, label in enumerate(self._labels)}

    def _follow(self, on_label: Callable[[int], None]) -> None:
        assert self._data.validation is not None
        y, start = self._data.validation.y[:, self._labels].T, self._problem.start()
        walks = [Walk(most, y.shape[1]) for most in self._problem.largest_l2(NOTHING_LEARNT)]
        while going := [target for target, walk in enumerate(walks) if not walk.ended]:
            on_label(len(walks) - len(going))
            ends = self._solve({target: walks[target].next(TOGETHER) for target in going}, start)
            for target in going:
                start[target] = ends[target]
                S = self._parts[target][-1].scores
                walks[target].add(((S > 0) == y[target]).mean(axis=1), _log_losses(S, y[target]))

    def _solve(self, l2: dict[int, list[float]], start: Floats | None = None) -> dict[int, Floats]:
        """Add models of these λ to the targets; return the parameters of the last, in axes."""
        assert self._data.validation is not None
        targets = [target for target, values in l2.items() for _ in values]
        solution, U = solve(
            self._problem,
            [value for values in l2.values() for value in values],
            targets,
            tolerance=self._options.tolerance,
            start=None if start is None else start[targets],
            fast=self._options.dtype != "float64",
        )
        W, b = (a.astype(self._options.dtype) for a in (solution.weights, solution.biases))
        scores = scores_of(self._data.validation, W, b, self._scaling)
        shortfalls, ends = solution.shortfalls(self._options.tolerance), {}
        place = 0
        for target, values in l2.items():
            own = slice(place, place + len(values))
            place += len(values)
            chunk = tuple(Hyperparameters(l2=value) for value in values)
            self._parts[target].append(
                LabelModels(chunk, W[own], b[own], scores[own], tuple(shortfalls[own]))
            )
            ends[target] = U[place - 1]
        return ends


def _count(on_label: Callable[[int], None], before: int, ended: int) -> None:
    on_label(before + ended)


def _log_losses(S: NDArray[np.float32], y: NDArray[np.intp]) -> Floats:
    signed = np.where(y == 1, -S, S).astype(np.float64)
    losses: Floats = np.logaddexp(0, signed).mean(axis=1)
    return losses


def _join(parts: Sequence[LabelModels]) -> LabelModels:
    return LabelModels(
        tuple(setting for part in parts for setting in part.settings),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.biases for part in parts]),
        np.concatenate([part.scores for part in parts]),
        tuple(why for part in parts for why in part.shortfalls),
    )


def _check(data: Dataset, settings: Settings | None, options: TrainingOptions) -> None:
    """Raise InputError for options that do not work with multi-label data."""
    if data.allow_missing:
        data.check_finite()
    several = f"{data.name}: rows of several labels"
    if options.solver != "exact":
        raise InputError(f"{several} are probed by solver exact alone; found {options.solver}")
    if options.class_weight is not None:
        raise InputError(f"{several} have no classes to weigh; leave class_weight out")
    if settings is not None:
        check_settings(len(settings), len(data.class_names))
        check_solvable(settings)
    for setting in settings or ():
        if setting.loss != CROSS_ENTROPY.name:
            raise InputError(
                f"{several} have the {CROSS_ENTROPY.name} of each label; found {setting.loss}"
            )
    if not len(has_both(data.train.y)):
        raise InputError(f"{several}: each of them is in all training rows or in none")
