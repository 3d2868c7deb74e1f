"""Training: a grid of settings on a data set, in one pass."""

import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.arguments import checked
from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights, check_sample_weights, class_weights
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.errors import InputError
from onelayer.faces import face
from onelayer.option import takes
from onelayer.progress import in_notebook
from onelayer.thread_pools import limited
from onelayer.training.checkpoint import Checkpoints
from onelayer.training.convergence import Convergence, join_convergence
from onelayer.training.engine import Engine, Opened, PerModel
from onelayer.training.epochs import OnEpoch
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.job import Job, OnStack
from onelayer.training.log import Trained
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import origin_of
from onelayer.training.run import CURVES, History, Run
from onelayer.training.snapshots import Snapshots, join_snapshots
from onelayer.training.world import world


@takes(options=TrainingOptions, machine=Machine)
@checked
def train(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    *,
    options: TrainingOptions,
    machine: Machine,
    sample_weights: ArrayLike | None = None,
    fitted_scaling: Scaling | None = None,
    start: Run | None = None,
    on_epoch: OnEpoch | None = None,
    on_stack: OnStack | None = None,
    folder: str | Path | Checkpoints | None = None,
) -> Run:
    """Train one model for every setting, all in one pass over the mini-batches.

    Mini-batch gradient descent on equation (5). The keywords are the fields of TrainingOptions and
    Machine. The outcome of a model does not depend on its neighbours in the stack, but for
    rounding: everything random is a function of the seed. Where the models need more than `memory`
    GB to train, they are cut into several stacks, one after another.

    `sample_weights` (N,) or (M, N) weigh the training samples, `class_weight` their classes
    ("balanced", or a number for each class): the loss of a batch is then Σ w l / Σ w, and so are
    the curves of the training split. `fitted_scaling` is what fit_scaling returned for other rows.
    With `solver="exact"` every model gets the parameters of its least cost instead, where its loss
    has one: see docs/exact.md. From `start`, a run of as many models, training goes on with its
    weights, biases and scaling in place of new ones. `on_epoch(epoch, curves, models)` is called,
    stack by stack, before the first epoch and after every one: `models` is the range of the
    settings that are in the stack, and each of its curves is (len(models), E + 1), NaN where
    nothing is known. Without it a notebook shows curves that move, if the training takes a second.
    `on_stack(job, models, stack)` is called before that with each stack that descends, whose
    `parameters()` may then be read from `on_epoch`.

    With a `folder`, checkpoints are written into `<folder>.unfinished` as often as `checkpoint`
    says, and go when the run is returned. After a kill the same call goes on from the last one,
    to the same bits: see docs/resume.md. Work with several trainings gives its Checkpoints instead.

    A model whose scores or cost are no longer finite has diverged: it is stopped, Run.stopped says
    where, and the others go on.

    Raises
    ------
    InputError
        If an option is unknown, out of range or does not fit the data, weights are negative, not
        finite or all zero, the memory does not suffice, the start is of other shapes, a mapped
        file has changed since it was opened, or the folder holds checkpoints of something else.

    Examples
    --------
    >>> import numpy as np
    >>> from onelayer import dataset_from, grid, train
    >>> X = np.array([[0.0], [1.0], [0.2], [0.9]])
    >>> run = train(dataset_from(X, ["low", "high", "low", "high"]), grid(l2=[0, 0.1]), epochs=5)
    >>> run.weights.shape
    (2, 2, 1)
    """
    begin = time.perf_counter()
    weights = weigh_samples(data, len(settings), sample_weights, options)
    scaling = _find_scaling(data, options.scaling, weights, fitted_scaling, start)
    _check_start(start, (len(settings), data.n_classes, data.n_features))
    parameters = None if start is None else (start.weights, start.biases)
    job = Job(data, settings, options, machine, scaling, weights, parameters)
    own = []
    quiet = on_epoch is not None or not in_notebook()
    watched = nullcontext(on_epoch) if quiet else _watched(settings, options, "training: epoch")
    with Checkpoints.hold(folder, machine.own_checkpoint) as checkpoints, watched as follow:
        keeper = job.keeper(checkpoints)
        for _, _, part in job.run(measure_splits, follow, on_stack, keeper):
            own.append(part)
        trained = job.gather(own)
        if follow is not None:
            _retell(job, trained, follow)
    with limited(machine.threads):  # their number is part of it
        origin = origin_of(job.make_engine)
    if world().size > 1:
        origin |= {"processes": world().size, "shard": machine.shard}
    origin["seconds"] = keeper.seconds + time.perf_counter() - begin
    return gather(data, settings, options, scaling, trained, origin)


def _retell(job: Job, trained: Sequence[Trained], follow: OnEpoch) -> None:
    """Tell of the stacks that other ranks have trained, epoch by epoch, as of one's own."""
    for models, part in zip(job.stacks, trained, strict=True):
        if models in job.own:
            continue
        curves = {
            name: np.full((len(models), job.options.epochs + 1), np.nan) for name in part.curves
        }
        for column, epoch in enumerate(part.measured):
            for name, curve in curves.items():
                curve[:, epoch] = part.curves[name][:, column]
            follow(int(epoch), curves, models)


@face("report.live:watched_training")
def _watched(settings: Sequence[Hyperparameters], options: TrainingOptions, title: str) -> Any:
    """Show the training while it goes on."""


def gather(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    options: TrainingOptions,
    scaling: Scaling,
    trained: Sequence[Trained],
    origin: Mapping[str, Any],
) -> Run:
    """Return the run of all trained stacks; `origin` is the provenance known so far."""
    return Run(
        settings=tuple(settings),
        training={
            "dataset": data.name,
            "full_scale": data.full_scale,
            "train_samples": len(data.train),
            "validation_samples": 0 if data.validation is None else len(data.validation),
            **asdict(options),
        },
        weights=np.concatenate([part.weights for part in trained]),
        biases=np.concatenate([part.biases for part in trained]),
        history=_history(trained),
        kept=np.concatenate([part.kept for part in trained]),
        stopped=tuple(place for part in trained for place in part.stopped),
        ended=tuple(reason for part in trained for reason in part.ended),
        scaling=scaling,
        class_names=data.class_names,
        image_shape=data.image_shape,
        columns=data.columns,
        pool=data.pool,
        convergence=_convergence(trained),
        snapshots=_snapshots(trained),
        provenance={
            **origin,
            "date": datetime.now(UTC).date().isoformat(),
            "stacks": [len(part.kept) for part in trained],
            "digests": dict(data.digests),
        },
    )


def _check_start(start: Run | None, shape: tuple[int, int, int]) -> None:
    if start is not None and start.weights.shape != shape:
        raise InputError(
            f"start holds weights of the shape {start.weights.shape}, expected {shape}: "
            "settings, classes, features"
        )


def weigh_samples(
    data: Dataset,
    n_models: int,
    sample_weights: ArrayLike | None,
    options: TrainingOptions,
) -> SampleWeights | None:
    """Return the product of both weights of the training samples, None where there are none."""
    data.check_one_class("training")
    if sample_weights is None and options.class_weight is None:
        return None
    values = np.ones(len(data.train))
    if options.class_weight is not None:
        values = class_weights(data.train.y, data.class_names, options.class_weight)[data.train.y]
    if sample_weights is not None:
        check_sample_weights(sample_weights, n_models, len(data.train))
        values = values * np.asarray(sample_weights, np.float64)
    values = np.atleast_2d(values)
    if len(values) == 1:
        return SampleWeights(values, np.zeros(n_models, np.intp))
    # Neighbours with the same weights share them, and the exact solver's products.
    new = np.array([True, *((row != last).any() for last, row in itertools.pairwise(values))])
    return SampleWeights(values[new], np.cumsum(new) - 1)


def _find_scaling(
    data: Dataset,
    method: str,
    weights: SampleWeights | None,
    fitted: Scaling | None,
    start: Run | None,
) -> Scaling:
    """Return the one scaling of all models: the fitted one, that of the start, or a new one."""
    if start is not None:
        return start.scaling
    if fitted is not None:
        return fitted
    if weights is None or method != "standardise":
        return fit_scaling(method, data)
    if (weights.values != weights.values[0]).any():
        raise InputError(
            'scaling "standardise" with sample weights that differ from model to model: each '
            "would need a scaling of its own; cross_validate gives it one"
        )
    return fit_scaling(method, data, np.asarray(weights.values[0]))


def measure_splits(
    stack: Engine, opened: Mapping[str, Opened], weights: SampleWeights | None
) -> dict[str, PerModel]:
    """Return loss, cost and accuracy on the whole training and validation splits."""
    penalties = stack.penalties()
    measured = {}
    for name, split in opened.items():
        evaluation = stack.evaluate(split, weights if name == "train" else None)
        measured[f"{name}_loss"] = evaluation.loss
        measured[f"{name}_cost"] = evaluation.loss + penalties
        measured[f"{name}_accuracy"] = evaluation.accuracy
    return measured


def _convergence(trained: Sequence[Trained]) -> Convergence | None:
    """Join what the exact solver knows of all stacks; None after descent."""
    parts = [part.convergence for part in trained if part.convergence is not None]
    return join_convergence(parts) if parts else None


def _snapshots(trained: Sequence[Trained]) -> Snapshots | None:
    """Join the snapshots of all stacks; None where none were asked for."""
    parts = [part.snapshots for part in trained if part.snapshots is not None]
    return join_snapshots(parts) if parts else None


def _history(trained: Sequence[Trained]) -> History:
    """Join the curves of all stacks; one that ended early has NaN in the others' epochs."""
    measured = np.unique(np.concatenate([part.measured for part in trained]))
    curves: dict[str, list[NDArray[np.float64]]] = {name: [] for name in CURVES}
    for part in trained:
        columns = np.searchsorted(measured, part.measured)
        for name in CURVES:
            filled = np.full((len(part.kept), len(measured)), np.nan)
            if name in part.curves:
                filled[:, columns] = part.curves[name]
            curves[name].append(filled)
    return History(measured, **{name: np.concatenate(parts) for name, parts in curves.items()})
