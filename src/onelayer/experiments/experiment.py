"""One experiment: check, train, repeat, choose, evaluate; nothing is written here."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import BLOCK, Dataset
from onelayer.data.fetching.cache import NoSourceError
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import fold_weights, split_off
from onelayer.errors import InputError
from onelayer.evaluation.metrics import accuracies, confusion_matrices
from onelayer.evaluation.optimum import optima_of
from onelayer.evaluation.predictions import Ensemble, ask_together, keep_predictions
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.selection import choose
from onelayer.experiments.spec import DataSpec, GradientCheckSpec, Spec
from onelayer.model.gradient_check import check_layer
from onelayer.progress import progress_bar
from onelayer.training.cross_validation import CrossValidation, cross_validate
from onelayer.training.epochs import Curves, OnEpoch
from onelayer.training.forecast import Forecast, forecast
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.loop import initial_parameters, train
from onelayer.training.run import Run

STAND_IN = "digits"
_LARGE = 10.0


def load_data(spec: DataSpec, source: Path | None = None) -> Dataset:
    """Return the data set of the spec, or its stand-in with a notice that says so."""
    try:
        return load_splits(spec, source)
    except NoSourceError as error:
        notice = (
            f"STAND-IN DATA: scikit-learn's {STAND_IN} instead of {spec.dataset}, "
            f"so no figure here is comparable with a published one. Reason: {error}"
        )
        return replace(load_dataset(STAND_IN), notice=notice)


def load_splits(spec: DataSpec, source: Path | None = None) -> Dataset:
    """Return the data set of the spec, with its own validation split or one that is split off."""
    data = load_dataset(
        spec.dataset,
        train=spec.train,
        validation=None if isinstance(spec.validation, float) else spec.validation,
        test=spec.test,
        source=source,
        **spec.reading,
    )
    if not isinstance(spec.validation, float):
        return data
    rest, validation = split_off(data.train, spec.validation, spec.split_seed, data.class_names)
    return replace(data, train=rest, validation=validation)


def warn_of_scale(spec: DataSpec, data: Dataset) -> str:
    """Return a sentence if features are far above 1 and not standardised, else nothing."""
    largest = np.abs(np.asarray(data.train.head(BLOCK).X)).max() / data.full_scale
    if spec.scaling != "unit" or largest <= _LARGE:
        return ""
    return (
        f"note: features of up to {largest:.3g} are taken as they are; --scaling standardise gives "
        "each the mean 0 and the deviation 1, which mostly learns far better"
    )


def run_experiment(
    spec: Spec,
    data: Dataset,
    *,
    optima: Path | None = None,
    follow: OnEpoch | None = None,
    **resources: Any,
) -> Results:
    """Check the gradients, train, choose, repeat in shuffled orders, evaluate on the test split.

    `optima` is the file in which the least costs are kept that are found on the way (see
    optima_of). Where only the chosen setting may see the test split, only that one is repeated.
    `follow` is called after every epoch of the training, but not of the folds and repeats.
    """
    checks = tuple(run_checks(spec, data))
    settings = [setting.hyperparameters for setting in spec.settings]
    folds = _cross_validate(spec, data, settings, **resources)
    order, seed = spec.training.order, spec.training.seed
    title = "training: epoch"
    run = _train(spec, data, settings, order, seed, title, follow=follow, **resources)
    selection = choose(run, folds, spec.training.select)
    all_tested = spec.training.test == "all"
    tested = list(range(len(settings))) if all_tested else [selection.chosen]
    repeats = tuple(_repeat(spec, data, [settings[model] for model in tested], **resources))
    repeat_accuracies = np.full((len(repeats), len(settings)), np.nan)
    for row, repeat in zip(repeat_accuracies, repeats, strict=True):
        row[tested] = accuracies(_evaluate_on_test(data, repeat, list(range(len(tested)))))
    sound = [model for model in tested if not run.stopped[model]]
    published = [setting.published_accuracy for setting in spec.settings]
    return Results(
        title=spec.title if not data.notice else f"{spec.title} (stand-in: {data.name})",
        source=spec.source,
        notice=data.notice,
        published=_published(published, comparable=not data.notice),
        run=run,
        repeats=repeats,
        confusion=_evaluate_on_test(data, run, tested),
        repeat_accuracies=repeat_accuracies,
        checks=checks,
        selection=selection,
        cross_validation=folds,
        predictions=keep_predictions(data, run, sound, selection.chosen),
        ensembles=tuple(_ensembles(data, run, repeats, sound, tested.index(selection.chosen))),
        optimal_costs=_optimal_costs(spec, data, run, optima),
    )


def forecast_spec(spec: Spec, source: Path | None = None, **resources: Any) -> Forecast:
    """Predict the stacks, memory and time of training the spec, its repeats and its folds."""
    data, training = load_data(spec.data, source), spec.training
    settings = [setting.hyperparameters for setting in spec.settings]
    options = {"scaling": spec.data.scaling, **training.protocol, **resources}
    once = forecast(data, settings, class_weight=training.class_weight, **options)
    seconds = (1 + training.orders) * once.seconds
    if not training.folds:
        return replace(once, seconds=seconds)
    weights = _draw_folds(spec, data)
    # Standardised, each fold has a scaling of its own, and so a stack.
    together = 1 if spec.data.scaling == "standardise" else len(weights)
    times = len(weights) // together
    options["evaluate_every"] = 0  # what is held out is judged as it comes by, and at the end
    folds = forecast(
        replace(data, validation=None),
        settings * together,
        sample_weights=np.repeat(weights[:together], len(settings), axis=0),
        **options,
    )
    return Forecast(
        once.stacks + folds.stacks * times,
        max(once.bytes, folds.bytes * times),
        seconds + folds.seconds * times,
    )


def run_checks(spec: Spec, data: Dataset) -> Iterator[BatchCheck]:
    """Yield the spec's gradient checks at the initial W and b, all K·D + K partials each."""
    scaling = fit_scaling(spec.data.scaling, data)
    weights, biases = initial_parameters(data, [Hyperparameters()], spec.training.seed)
    checks = [(check, l2) for check in spec.gradient_checks for l2 in check.l2]
    with progress_bar("gradient check", len(checks)) as update:
        for count, (check, l2) in enumerate(checks, 1):
            _check_images(check, data)
            batch = data.train.head(check.images)
            outcome = check_layer(
                scaling.apply(batch.X),
                batch.y,
                weights[0],
                biases[0],
                l2,
                method=check.method,
                step=check.step,
                eps=check.eps,
                tolerance=check.tolerance,
                precision=check.precision,
            )
            update(count, check.name)
            yield BatchCheck(check.name, check.images, l2, outcome)


def _check_images(check: GradientCheckSpec, data: Dataset) -> None:
    if check.images > len(data.train):
        raise InputError(
            f"gradient check {check.name!r}: {check.images} images, "
            f"but {data.name} has {len(data.train)} training samples"
        )


def _train(
    spec: Spec,
    data: Dataset,
    settings: list[Hyperparameters],
    order: str,
    seed: int,
    title: str,
    *,
    follow: OnEpoch | None = None,
    **resources: Any,
) -> Run:
    protocol = spec.training
    with progress_bar(title, protocol.epochs) as update:

        def show(epoch: int, curves: Curves, models: range) -> None:
            known = curves.get("train_loss", np.empty((0, epoch + 1)))[:4, epoch]
            words = " ".join(f"{loss:.3f}" for loss in known if np.isfinite(loss))
            update(epoch, f"loss {words}{' …' if len(settings) > 4 else ''}" if words else "")
            if follow is not None:
                follow(epoch, curves, models)

        return train(
            data,
            settings,
            scaling=spec.data.scaling,
            class_weight=protocol.class_weight,
            on_epoch=show,
            **protocol.protocol | {"order": order, "seed": seed},
            **resources,
        )


def _repeat(
    spec: Spec, data: Dataset, settings: list[Hyperparameters], **resources: Any
) -> Iterator[Run]:
    """Yield the repeats: each has a seed of its own, for the order as for the first weights."""
    seed, orders = spec.training.seed, spec.training.orders
    order = "windowed" if spec.training.order == "windowed" else "shuffled"
    for n in range(1, orders + 1):
        title = f"order {n} of {orders}: epoch"
        yield _train(spec, data, settings, order, seed + n, title, **resources)


def _draw_folds(spec: Spec, data: Dataset) -> NDArray[np.uint8]:
    """Return the weights (R, N) of the spec's folds."""
    training = spec.training
    if training.class_weight is not None:
        raise InputError(
            "folds with class weights: choose by the validation split, or by folds alone"
        )
    return fold_weights(
        data.train.y, training.folds, repeats=training.fold_repeats, seed=training.seed
    )


def _cross_validate(
    spec: Spec, data: Dataset, settings: list[Hyperparameters], **resources: Any
) -> CrossValidation | None:
    protocol = spec.training
    if not protocol.folds:
        return None
    weights = _draw_folds(spec, data)
    with progress_bar(f"{len(weights)} folds: epoch", protocol.epochs) as update:
        return cross_validate(
            data,
            settings,
            weights,
            scaling=spec.data.scaling,
            on_epoch=lambda epoch, *_: update(epoch, ""),
            **protocol.protocol,
            **resources,
        )


def _optimal_costs(spec: Spec, data: Dataset, run: Run, cache: Path | None) -> NDArray[np.float64]:
    """Return the least training cost of every setting, NaN where it is not asked for or known."""
    if not spec.training.optimum or spec.training.class_weight is not None:
        return np.full(len(run.settings), np.nan)
    convex = [setting.loss == "cross-entropy" for setting in run.settings]
    return np.where(convex, optima_of(run, data.train, cache), np.nan)


def _evaluate_on_test(data: Dataset, run: Run, models: list[int]) -> NDArray[np.intp]:
    """Return the confusion matrices (M, K, K) on the test split.

    They are zero for all but `models`, and for those that were stopped.
    """
    K = data.n_classes
    confusion = np.zeros((len(run.settings), K, K), dtype=np.intp)
    sound = [model for model in models if not run.stopped[model]]
    if data.test is not None and sound:
        confusion[sound] = confusion_matrices(run, data.test)[sound]
    return confusion


def _ensembles(
    data: Dataset, run: Run, repeats: tuple[Run, ...], sound: list[int], chosen: int
) -> Iterator[Ensemble]:
    """Yield that of the settings that saw the test split, and that of the repeats' `chosen`."""
    again = [(repeat, [chosen]) for repeat in repeats if not repeat.stopped[chosen]]
    if data.test is not None and len(sound) > 1:
        yield ask_together("settings", [(run, sound)], data.test)
    if data.test is not None and len(again) > 1:
        yield ask_together("repeats", again, data.test)


def _published(figures: list[float | None], *, comparable: bool) -> NDArray[np.float64]:
    known = [np.nan if figure is None or not comparable else figure for figure in figures]
    return np.array(known, dtype=np.float64)
