"""A grid of settings on folds or resamples of the training split, all in one pass."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights, check_sample_weights
from onelayer.data.scaling import fit_scaling, fit_scalings
from onelayer.errors import InputError
from onelayer.training.engine import Engine, HeldOut, MakeEngine, PerModel
from onelayer.training.epochs import OnEpoch, Trained, run_epochs
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.lockstep import Lockstep
from onelayer.training.loop import build_stack, make_protocol
from onelayer.training.plan import MEMORY, cut_into_stacks
from onelayer.training.protocol import Protocol, check_threads


@dataclass(frozen=True)
class CrossValidation:
    """M settings on R folds or resamples, judged on the rows that each of them held out.

    `accuracy` and `loss` (R, M) are those of the final models. `accuracy_curves` and `loss_curves`
    (R, M, E) come from the training itself: every held-out row is scored when its batch comes by,
    so a curve's epoch e averages over the models of that epoch. Models that were stopped have NaN.
    `n_train` and `n_held_out` are the mean numbers of distinct rows of the two kinds.
    """

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy_curves: NDArray[np.float64]
    loss_curves: NDArray[np.float64]
    n_train: int
    n_held_out: int


def cross_validate(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    weights: NDArray[Any],
    *,
    held_out: NDArray[Any] | None = None,
    scaling: str = "unit",
    threads: int | None = None,
    memory: int = MEMORY,
    engine: MakeEngine | None = None,
    on_epoch: OnEpoch | None = None,
    **protocol: Any,
) -> CrossValidation:
    """Train every setting on every fold or resample of the training split in one pass.

    `weights` (R, N) say how often each row counts in each of R resamples; the rows of weight 0 are
    held out (see fold_weights and bootstrap_weights). With `held_out` (R, N), final accuracy and
    loss weigh the rows by it instead, none of which may be trained on. A batch is the same rows for
    all of them, less those of weight 0, so a model equals one trained on its subset alone with
    these batches; on average they hold batch_size · (R − 1) / R rows of R folds. Standardisation is
    estimated on each resample's own rows. `protocol` and the rest as in train.

    Raises
    ------
    InputError
        As train does; and if a resample holds nothing out or trains on it, or the protocol looks at
        the validation split (patience, keep="best" and plateaus would look at the rows that judge).
    """
    shared = make_protocol(protocol)
    if shared.keeps_best:
        raise InputError(
            "cross-validation would choose the best epoch on the rows that judge the models; "
            'leave out patience and keep="best"'
        )
    data = replace(data, validation=None)
    shared.check(data, settings)
    check_threads(threads)
    weights = _checked(weights, len(data.train))
    held_out = weights == 0 if held_out is None else _checked_held_out(held_out, weights)
    R, M = len(weights), len(settings)
    models = list(settings) * R  # resample by resample
    stacks = cut_into_stacks(
        len(models), data.n_classes, data.n_features, shared.batch_size, memory
    )
    groups, begin = np.repeat(np.arange(R), M), time.perf_counter()
    judged = []
    with threadpool_limits(threads):
        for chosen in stacks:
            some = slice(chosen.start, chosen.stop)
            own = SampleWeights(weights, groups[some])
            stack = _build(data, models[some], own, shared, scaling, engine)
            trained = run_epochs(
                stack,
                data,
                models[some],
                shared,
                _measure_held_out,
                models=chosen,
                weights=own,
                on_epoch=on_epoch,
                deadline=shared.deadline(begin, chosen.stop / len(models)),
            )
            judges = SampleWeights(held_out, groups[some])
            judged.append(_judge(stack, data, trained, judges, shared.epochs))
    accuracy, loss, accuracy_curves, loss_curves = map(np.concatenate, zip(*judged, strict=True))
    return CrossValidation(
        accuracy.reshape(R, M),
        loss.reshape(R, M),
        accuracy_curves.reshape(R, M, -1),
        loss_curves.reshape(R, M, -1),
        round(np.count_nonzero(weights) / R),
        round(np.count_nonzero(held_out) / R),
    )


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


def _build(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    weights: SampleWeights,
    protocol: Protocol,
    scaling: str,
    engine: MakeEngine | None,
) -> Engine:
    """Return one stack; or, where the scaling depends on the rows, one for each resample."""
    if scaling != "standardise":
        return build_stack(data, settings, protocol, fit_scaling(scaling, data), engine)
    resamples, firsts = np.unique(weights.groups, return_index=True)
    parts = [
        settings[first:last]
        for first, last in itertools.pairwise([*firsts.tolist(), len(settings)])
    ]
    scalings = fit_scalings(scaling, data, weights.values[resamples])
    stacks = [
        build_stack(data, part, protocol, own, engine)
        for part, own in zip(parts, scalings, strict=True)
    ]
    return Lockstep(stacks, [len(part) for part in parts])


def _measure_held_out(_: Engine, held_out: HeldOut | None) -> dict[str, PerModel]:
    """Return what this epoch's batches said of the held-out rows; nothing before the first."""
    if held_out is None:
        return {}
    return {
        "held_out_accuracy": held_out.hits / held_out.rows,
        "held_out_loss": held_out.loss / held_out.rows,
    }


def _judge(
    stack: Engine, data: Dataset, trained: Trained, held_out: SampleWeights, epochs: int
) -> tuple[NDArray[np.float64], ...]:
    """Return final accuracy and loss (M,) and both curves (M, E); NaN where stopped."""
    final = stack.evaluate(data.train, held_out)
    sound = np.array([not place for place in trained.stopped])
    curves = np.full((2, len(sound), epochs + 1), np.nan)
    for filled, name in zip(curves, ("held_out_accuracy", "held_out_loss"), strict=True):
        if name in trained.curves:
            filled[:, trained.measured] = trained.curves[name]
    accuracy, loss = (np.where(sound, v, np.nan) for v in (final.accuracy, final.loss))
    return accuracy, loss, *curves[:, :, 1:]
