"""Training: the only epoch loop."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onelayer.data.batches import ORDERS, batches
from onelayer.data.dataset import Dataset
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.errors import InputError, unknown_name
from onelayer.training.engine import Engine
from onelayer.training.engines import best_engine
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.plan import MEMORY, cut_into_stacks
from onelayer.training.provenance import provenance
from onelayer.training.run import CURVES, History, Run

Dtype = Literal["float32", "float64"]
DTYPES: tuple[str, ...] = get_args(Dtype)


class _Trained(NamedTuple):
    """What is left of one stack: parameters, curves (M, E + 1), where each model was stopped."""

    weights: NDArray[Any]
    biases: NDArray[Any]
    curves: dict[str, NDArray[np.float64]]
    stopped: list[str]
    engine: str


class OnEpoch(Protocol):
    """Called, stack by stack, before the first epoch and after every one with what was measured."""

    def __call__(self, epoch: int, curves: dict[str, NDArray[np.float64]]) -> None:
        """Each curve is (M, E + 1); columns up to `epoch` are filled."""
        ...


def train(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    *,
    batch_size: int = 100,
    epochs: int = 40,
    order: str = "file",
    seed: int = 0,
    scaling: str = "unit",
    dtype: str = "float32",
    threads: int | None = None,
    memory: int = MEMORY,
    engine: Callable[..., Engine] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Train one model for every setting, all in one pass over the mini-batches.

    Mini-batch gradient descent on equation (5). `order` is "file" (consecutive rows), "shuffled" (a
    fresh permutation each epoch, the same for all models) or "windowed" (shuffled within windows,
    for data larger than memory; see docs/data.md); the last batch may be smaller.
    Before the first epoch and after every epoch loss, cost and accuracy are measured on the whole
    training and validation splits. The outcome of a model does not depend on its neighbours in the
    stack: everything random is drawn from `seed` alone. `threads` defaults to all cores, `engine`
    to the fastest that this machine has. Where the models need more than `memory` bytes to train,
    they are cut into several stacks, one after another.

    A model whose scores or cost are no longer finite is stopped, and Run.stopped says where; the
    others go on.

    Raises
    ------
    InputError
        If there are no settings, the batch size is not in 1 … N, the epochs are negative, the
        threads fewer than one or far more than cores, a name is unknown, the memory does not
        suffice, or a mapped file has changed since it was opened.
    """
    check_protocol(data, settings, batch_size, epochs, order, dtype, threads)
    stacks = cut_into_stacks(len(settings), data.n_classes, data.n_features, batch_size, memory)
    begin = time.perf_counter()
    scale = fit_scaling(scaling, data)
    with threadpool_limits(threads):
        trained = [
            _run_epochs(
                build_stack(data, settings[models.start : models.stop], seed, scale, dtype, engine),
                data,
                batch_size,
                epochs,
                order,
                seed,
                on_epoch,
            )
            for models in stacks
        ]
        origin = provenance()
    return Run(
        settings=tuple(settings),
        protocol={
            "dataset": data.name,
            "train_samples": len(data.train),
            "validation_samples": len(data.validation),
            "batch_size": batch_size,
            "epochs": epochs,
            "order": order,
            "seed": seed,
            "dtype": dtype,
        },
        weights=np.concatenate([part.weights for part in trained]),
        biases=np.concatenate([part.biases for part in trained]),
        history=History(
            **{name: np.concatenate([part.curves[name] for part in trained]) for name in CURVES}
        ),
        stopped=tuple(place for part in trained for place in part.stopped),
        scaling=scale,
        class_names=data.class_names,
        image_shape=data.image_shape,
        provenance=origin
        | {
            "engine": trained[0].engine,
            "stacks": [len(models) for models in stacks],
            "seconds": time.perf_counter() - begin,
            "digests": dict(data.digests),
        },
    )


def build_stack(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    seed: int,
    scaling: Scaling,
    dtype: str,
    engine: Callable[..., Engine] | None = None,
) -> Engine:
    """Return an engine that holds one model for every setting, before training."""
    weights, biases = initial_parameters(data, settings, seed)
    return (engine or best_engine(dtype))(
        weights.astype(dtype),
        biases.astype(dtype),
        l2=np.array([setting.l2 for setting in settings]),
        learning_rates=np.array([setting.learning_rate for setting in settings]),
        scaling=scaling,
    )


def initial_parameters(
    data: Dataset, settings: Sequence[Hyperparameters], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return W (M, K, D) and b (M, K) from N(0, init_sd²), W drawn first.

    Every model gets the same standard normal draw, so neighbours differ by their settings alone.
    """
    generator = np.random.default_rng((seed, 0))
    W = generator.standard_normal((data.n_classes, data.n_features))
    b = generator.standard_normal(data.n_classes)
    deviations = np.array([setting.init_sd for setting in settings])
    return deviations[:, None, None] * W, deviations[:, None] * b


def _run_epochs(
    stack: Engine,
    data: Dataset,
    batch_size: int,
    epochs: int,
    order: str,
    seed: int,
    on_epoch: OnEpoch | None,
) -> _Trained:
    """Step and measure, epoch by epoch."""
    generator = np.random.default_rng((seed, 1))
    sound = np.ones(len(stack.penalties()), dtype=bool)
    stopped = [""] * len(sound)
    curves = {name: np.full((len(sound), epochs + 1), math.nan) for name in CURVES}
    for epoch in range(epochs + 1):
        if epoch > 0:
            data.train.check_unchanged()
            for count, rows in enumerate(batches(len(data.train), batch_size, order, generator), 1):
                now_sound = stack.step(data.train, rows)
                for model in np.flatnonzero(sound & ~now_sound):
                    stopped[model] = f"epoch {epoch}, batch {count}"
                sound &= now_sound
        for model in np.flatnonzero(sound & ~_measure(stack, data, curves, epoch, sound)):
            stopped[model] = f"the evaluation after epoch {epoch}"
            sound[model] = False
        if on_epoch is not None:
            on_epoch(epoch, curves)
    weights, biases = stack.parameters()
    return _Trained(weights, biases, curves, stopped, type(stack).__name__)


def _measure(
    stack: Engine,
    data: Dataset,
    curves: dict[str, NDArray[np.float64]],
    epoch: int,
    sound: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Fill column `epoch` of every curve and say whose costs are finite; others' stay NaN."""
    penalties = stack.penalties()
    measured = {
        "train": stack.evaluate(data.train),
        "validation": stack.evaluate(data.validation),
    }
    finite = sound.copy()
    for evaluation in measured.values():
        finite &= np.isfinite(evaluation.loss + penalties)
    for name, evaluation in measured.items():
        columns = (
            ("loss", evaluation.loss),
            ("cost", evaluation.loss + penalties),
            ("accuracy", evaluation.accuracy),
        )
        for quantity, values in columns:
            curves[f"{name}_{quantity}"][finite, epoch] = values[finite]
    return finite


def check_protocol(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    batch_size: int,
    epochs: int,
    order: str,
    dtype: str,
    threads: int | None,
) -> None:
    """Raise InputError for the first part of the protocol that cannot be trained."""
    if not settings:
        raise InputError("no settings to train; give at least one")
    if not 1 <= batch_size <= len(data.train):
        raise InputError(
            f"batch size {batch_size}: expected 1 to {len(data.train)}, "
            f"the samples in the training split of {data.name}"
        )
    if epochs < 0:
        raise InputError(f"epochs {epochs}: expected 0 or more")
    most = 16 * (os.cpu_count() or 1)
    if threads is not None and not 1 <= threads <= most:
        raise InputError(f"threads {threads}: expected 1 to {most}")
    if order not in ORDERS:
        raise unknown_name("order", order, ORDERS)
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
