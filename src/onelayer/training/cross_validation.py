"""A grid of settings on folds or resamples of the training split, all in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights, check_sample_weights, class_weights
from onelayer.data.scaling import fit_scaling
from onelayer.errors import InputError
from onelayer.option import takes
from onelayer.records import SHARE, Within, check_arrays
from onelayer.training.checkpoint import Checkpoints
from onelayer.training.engine import Engine, PerModel
from onelayer.training.epochs import OnEpoch
from onelayer.training.hyperparameters import Hyperparameters, check_settings
from onelayer.training.job import Job
from onelayer.training.log import Trained
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions


@dataclass(frozen=True)
class CrossValidation:
    """M settings on R folds or resamples, judged on the rows that each of them held out.

    `accuracy` and `loss` (R, M) are those of the final models. `accuracy_curves` and `loss_curves`
    (R, M, E) come from the training itself: every held-out row is scored when its batch comes by,
    so a curve's epoch e averages over the models of that epoch. Models that were stopped have NaN.
    `n_train` and `n_held_out` are the mean numbers of distinct rows of the two kinds.
    """

    accuracy: Annotated[NDArray[np.float64], "(R, M)", SHARE]
    loss: Annotated[NDArray[np.float64], "(R, M)"]
    accuracy_curves: Annotated[NDArray[np.float64], "(R, M, E)", SHARE]
    loss_curves: Annotated[NDArray[np.float64], "(R, M, E)"]
    n_train: Annotated[int, Within(1)]
    n_held_out: Annotated[int, Within(1)]

    def __post_init__(self) -> None:
        check_arrays(self)


@takes(options=TrainingOptions, machine=Machine)
def cross_validate(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    weights: NDArray[Any],
    *,
    options: TrainingOptions,
    machine: Machine,
    held_out: NDArray[Any] | None = None,
    on_epoch: OnEpoch | None = None,
    folder: str | Path | Checkpoints | None = None,
) -> CrossValidation:
    """Train every setting on every fold or resample of the training split in one pass.

    `weights` (R, N) say how often each row counts in each of R resamples; the rows of weight 0 are
    held out (see fold_weights and bootstrap_weights). With `held_out` (R, N), final accuracy and
    loss weigh the rows by it instead, none of which may be trained on. A batch is the same rows for
    all of them, less those of weight 0, so a model equals one trained on its subset alone with
    these batches; on average they hold batch_size · (R − 1) / R rows of R folds. Standardisation is
    estimated on each resample's own rows, and so are balanced class weights; the rows that are held
    out count alike. The keywords are those of train.

    Raises
    ------
    InputError
        As train does; and if a resample holds nothing out or trains on it, or the options look at
        the validation split (patience, keep="best" and plateaus would look at the rows that judge).

    Examples
    --------
    >>> from onelayer.data.splitting import fold_weights
    >>> data = onelayer.load_dataset("digits")
    >>> folds = fold_weights(data.train.y, 5, seed=0)
    >>> cross_validate(data, onelayer.grid(l2=[0, 0.1]), folds, epochs=1).accuracy.shape
    (5, 2)
    """
    job = resampled(data, settings, weights, options, machine)
    weights = np.atleast_2d(weights)
    held_out = weights == 0 if held_out is None else _checked_held_out(held_out, weights)
    R, M = len(weights), len(settings)
    with Checkpoints.hold(folder, machine.own_checkpoint) as checkpoints:
        own = [
            _judge(stack, job, models, trained, held_out)
            for models, stack, trained in job.run(
                _measure_held_out, on_epoch, keeper=job.keeper(checkpoints)
            )
        ]
        judged = zip(*job.gather(own), strict=True)
    accuracy, loss, accuracy_curves, loss_curves = map(np.concatenate, judged)
    return CrossValidation(
        accuracy.reshape(R, M),
        loss.reshape(R, M),
        accuracy_curves.reshape(R, M, -1),
        loss_curves.reshape(R, M, -1),
        round(np.count_nonzero(weights) / R),
        round(np.count_nonzero(held_out) / R),
    )


def resampled(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    weights: NDArray[Any],
    options: TrainingOptions,
    machine: Machine,
) -> Job:
    """Return the job of cross_validate: the settings on each resample, one resample after another.

    Raises
    ------
    InputError
        As cross_validate does.
    """
    if options.keeps_best:
        raise InputError(
            "cross-validation would choose the best epoch on the rows that judge the models; "
            'leave out patience and keep="best"'
        )
    data.check_one_class("cross-validation")
    check_settings(len(settings), len(np.atleast_2d(weights)))
    values = _weighed_by_class(data, _checked(weights, len(data.train)), options)
    R, M = len(values), len(settings)
    own = SampleWeights(values, np.repeat(np.arange(R), M))
    scaling = None if options.scaling == "standardise" else fit_scaling(options.scaling, data)
    data = replace(data, validation=None)
    options = replace(options, snapshots=0)
    return Job(data, list(settings) * R, options, machine, scaling, own, kept=False)


def _weighed_by_class(
    data: Dataset, weights: NDArray[Any], options: TrainingOptions
) -> NDArray[Any]:
    """Return the weights (R, N) times the class weights of each resample's own rows."""
    if options.class_weight is None:
        return weights
    y = data.train.y
    of_classes = [
        class_weights(y[row > 0], data.class_names, options.class_weight) for row in weights
    ]
    return np.array([row * own[y] for row, own in zip(weights, of_classes, strict=True)])


def _checked(weights: NDArray[Any], n_samples: int) -> NDArray[Any]:
    """Return the weights (R, N), or raise InputError for what cannot judge a model."""
    weights = np.atleast_2d(weights)
    check_sample_weights(weights, len(weights), n_samples)
    for number in np.flatnonzero((weights > 0).all(axis=1)):
        raise InputError(f"resample {number} holds no row out, so nothing can judge its models")
    return weights


def _checked_held_out(held_out: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Return the weights (R, N) of the rows that judge, or raise InputError."""
    check_sample_weights(held_out, *weights.shape)
    held_out = np.broadcast_to(held_out, weights.shape)
    for number in np.flatnonzero(((held_out > 0) & (weights > 0)).any(axis=1)):
        raise InputError(f"resample {number} holds rows out that its models are trained on")
    return held_out


def _measure_held_out(stack: Engine, *_: Any) -> dict[str, PerModel]:
    """Return what this epoch's batches said of the held-out rows; nothing before the first."""
    held_out = stack.take_held_out()
    if held_out is None:
        return {}
    return {
        "held_out_accuracy": held_out.hits / held_out.rows,
        "held_out_loss": held_out.loss / held_out.rows,
    }


def _judge(
    stack: Engine, job: Job, models: range, trained: Trained, held_out: NDArray[Any]
) -> tuple[NDArray[np.float64], ...]:
    """Return final accuracy and loss (M,) and both curves (M, E); NaN where stopped."""
    assert job.weights is not None
    judges = SampleWeights(held_out, job.weights.groups[models.start : models.stop])
    final = stack.evaluate(stack.open(job.data.train), judges)
    sound = np.array([not place for place in trained.stopped])
    curves = np.full((2, len(sound), job.options.epochs + 1), np.nan)
    for filled, name in zip(curves, ("held_out_accuracy", "held_out_loss"), strict=True):
        if name in trained.curves:
            filled[:, trained.measured] = trained.curves[name]
    accuracy, loss = (np.where(sound, v, np.nan) for v in (final.accuracy, final.loss))
    return accuracy, loss, *curves[:, :, 1:]
