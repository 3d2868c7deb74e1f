"""Training: a grid of settings on a data set, in one pass."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights, check_sample_weights, class_weights
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.errors import InputError, unknown_name
from onelayer.training.engine import Engine, HeldOut, MakeEngine, PerModel
from onelayer.training.engines import best_engine
from onelayer.training.epochs import OnEpoch, Trained, run_epochs
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.plan import MEMORY, cut_into_stacks
from onelayer.training.protocol import Protocol, check_threads
from onelayer.training.provenance import provenance
from onelayer.training.run import CURVES, History, Run


def train(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    *,
    scaling: str | Scaling = "unit",
    sample_weights: NDArray[Any] | None = None,
    class_weight: str | Mapping[str, float] | Sequence[float] | None = None,
    threads: int | None = None,
    memory: int = MEMORY,
    engine: MakeEngine | None = None,
    start: Run | None = None,
    on_epoch: OnEpoch | None = None,
    **protocol: Any,
) -> Run:
    """Train one model for every setting, all in one pass over the mini-batches.

    Mini-batch gradient descent on equation (5). `protocol` are the fields of Protocol: batch_size,
    epochs, order, seed and so on. The outcome of a model does not depend on its neighbours in the
    stack: everything random is drawn from the seed alone.

    `scaling` is a method of fit_scaling, or what it returned.
    `sample_weights` (N,) or (M, N) weigh the training samples, `class_weight` their classes
    ("balanced", or a number for each class): the loss of a batch is then Σ w l / Σ w, and so are
    the curves of the training split. `threads` defaults to all cores, `engine` to the fastest that
    this machine has. Where the models need more than `memory` bytes to train, they are cut into
    several stacks, one after another. From `start`, a run of as many models, training goes on with
    its weights, biases and scaling in place of new ones. `on_epoch(epoch, curves, models)` is
    called, stack by stack, before the first epoch and after every one: `models` is the range of the
    settings that are in the stack, and each of its curves is (len(models), E + 1), NaN where
    nothing is known.

    A model whose scores or cost are no longer finite is stopped, and Run.stopped says where; the
    others go on.

    Raises
    ------
    InputError
        If the protocol cannot be trained (see Protocol), weights are negative, not finite or all
        zero, the threads fewer than one or far more than cores, the memory does not suffice, the
        start is of other shapes, or a mapped file has changed since it was opened.
    """
    shared = make_protocol(protocol)
    shared.check(data, settings)
    _check_start(start, (len(settings), data.n_classes, data.n_features))
    check_threads(threads)
    weights = weigh_samples(data, len(settings), sample_weights, class_weight)
    stacks = cut_into_stacks(
        len(settings), data.n_classes, data.n_features, shared.batch_size, memory
    )
    begin = time.perf_counter()
    if start is not None:
        scale = start.scaling
    elif isinstance(scaling, Scaling):
        scale = scaling
    else:
        scale = fit_scaling(scaling, data, _common(weights, scaling))
    with threadpool_limits(threads):
        trained = []
        for models in stacks:
            some, own = slice(models.start, models.stop), None
            if weights is not None:
                own = weights.of_models(some)
            first = None if start is None else (start.weights[some], start.biases[some])
            stack = build_stack(data, settings[some], shared, scale, engine, first)
            trained.append(
                run_epochs(
                    stack,
                    data,
                    settings[some],
                    shared,
                    partial(_measure_splits, data=data, weights=own),
                    models=models,
                    weights=own,
                    on_epoch=on_epoch,
                    deadline=shared.deadline(begin, models.stop / len(settings)),
                )
            )
        origin = provenance()
    return Run(
        settings=tuple(settings),
        protocol={
            "dataset": data.name,
            "full_scale": data.full_scale,
            "train_samples": len(data.train),
            "validation_samples": 0 if data.validation is None else len(data.validation),
            **asdict(shared),
        },
        weights=np.concatenate([part.weights for part in trained]),
        biases=np.concatenate([part.biases for part in trained]),
        history=_history(trained),
        kept=np.concatenate([part.kept for part in trained]),
        stopped=tuple(place for part in trained for place in part.stopped),
        ended=tuple(reason for part in trained for reason in part.ended),
        scaling=scale,
        class_names=data.class_names,
        image_shape=data.image_shape,
        provenance=origin
        | {
            "engine": type(stack).__name__,
            "stacks": [len(models) for models in stacks],
            "seconds": time.perf_counter() - begin,
            "digests": dict(data.digests),
        },
    )


def make_protocol(fields: Mapping[str, Any]) -> Protocol:
    """Return the Protocol with these fields.

    Raises
    ------
    InputError
        If a name is not one of its fields; suggests the nearest.
    """
    for name in fields:
        if name not in Protocol.__dataclass_fields__:
            raise unknown_name("argument of training", name, Protocol.__dataclass_fields__)
    return Protocol(**fields)


def build_stack(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    protocol: Protocol,
    scaling: Scaling,
    engine: MakeEngine | None = None,
    first: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Engine:
    """Return an engine that holds one model for every setting, before training.

    They start from the `first` W (M, K, D) and b (M, K), else from initial_parameters.
    """
    weights, biases = first or initial_parameters(data, settings, protocol.seed)
    return (engine or best_engine(protocol.dtype, settings))(
        weights.astype(protocol.dtype),
        biases.astype(protocol.dtype),
        settings=settings,
        scaling=scaling,
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
        generator = np.random.default_rng((seed, 0, init_seed) if init_seed else (seed, 0))
        W, b = generator.standard_normal((K, D)), generator.standard_normal(K)
        for model, setting in enumerate(settings):
            if setting.init_seed == init_seed:
                deviations = setting.init_deviation(D, K)
                weights[model], biases[model] = deviations[0] * W, deviations[1] * b
    return weights, biases


def _check_start(start: Run | None, shape: tuple[int, int, int]) -> None:
    if start is not None and start.weights.shape != shape:
        raise InputError(
            f"start holds weights of the shape {start.weights.shape}, expected {shape}: "
            "settings, classes, features"
        )


def weigh_samples(
    data: Dataset,
    n_models: int,
    sample_weights: NDArray[Any] | None,
    class_weight: str | Mapping[str, float] | Sequence[float] | None,
) -> SampleWeights | None:
    """Return the product of both weights of the training samples, None where there are none.

    Raises
    ------
    InputError
        As train does for them.
    """
    if sample_weights is None and class_weight is None:
        return None
    values = np.ones(len(data.train))
    if class_weight is not None:
        values = class_weights(data.train.y, data.class_names, class_weight)[data.train.y]
    if sample_weights is not None:
        check_sample_weights(sample_weights, n_models, len(data.train))
        values = values * np.asarray(sample_weights, np.float64)
    values = np.atleast_2d(values)
    groups = np.arange(n_models) if len(values) > 1 else np.zeros(n_models, np.intp)
    return SampleWeights(values, groups)


def _common(weights: SampleWeights | None, scaling: str) -> NDArray[Any] | None:
    """Return the weights (N,) that the scaling is estimated with."""
    if weights is None or scaling != "standardise":
        return None
    if (weights.values != weights.values[0]).any():
        raise InputError(
            'scaling "standardise" with sample weights that differ from model to model: each '
            "would need a scaling of its own; cross_validate gives it one"
        )
    return np.asarray(weights.values[0])


def _measure_splits(
    stack: Engine, _: HeldOut | None, *, data: Dataset, weights: SampleWeights | None
) -> dict[str, PerModel]:
    """Return loss, cost and accuracy on the whole training and validation splits."""
    penalties = stack.penalties()
    evaluations = {"train": stack.evaluate(data.train, weights)}
    if data.validation is not None:
        evaluations["validation"] = stack.evaluate(data.validation)
    measured = {}
    for split, evaluation in evaluations.items():
        measured[f"{split}_loss"] = evaluation.loss
        measured[f"{split}_cost"] = evaluation.loss + penalties
        measured[f"{split}_accuracy"] = evaluation.accuracy
    return measured


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
