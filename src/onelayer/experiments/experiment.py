"""One experiment: check, train, repeat, choose, evaluate; nothing is written here."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import BLOCK, Dataset
from onelayer.data.fetching.cache import NoSourceError
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import fold_weights, split_off
from onelayer.errors import InputError
from onelayer.evaluation.confusions import Confusions, accuracies, confusion_matrices
from onelayer.evaluation.optimum import optima_of
from onelayer.evaluation.predictions import Ensemble, ask_together, keep_predictions
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.selection import Selection, choose
from onelayer.experiments.spec import DataSpec, GradientCheckSpec, Spec
from onelayer.model.gradient_check import check_layer, draw_place
from onelayer.progress import progress_bar
from onelayer.report.live import watched_training
from onelayer.training.checkpoint import NOWHERE, Checkpoints
from onelayer.training.cross_validation import CrossValidation, cross_validate, resampled
from onelayer.training.engine_check import EngineCheck, check_engine
from onelayer.training.epochs import OnEpoch
from onelayer.training.forecast import Forecast, forecast
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.job import Job, OnStack, initial_parameters
from onelayer.training.log import Curves
from onelayer.training.loop import train, weigh_samples
from onelayer.training.machine import HERE, Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.run import Run
from onelayer.training.world import alone

STAND_IN = "digits"
_LARGE = 10.0
_LONG = 60.0  # seconds of training of which one is told before
_SECONDS, _OWN_WORK = 5e-11, 1000  # about, of a feature of a score; a score in features


def load_data(spec: DataSpec, source: Path | None = None) -> Dataset:
    """Return the data set of the spec, or its stand-in with a notice that says so."""
    try:
        data = load_splits(spec, source)
    except NoSourceError as error:
        notice = (
            f"STAND-IN DATA: scikit-learn's {STAND_IN} instead of {spec.dataset}, "
            f"so no figure here is comparable with a published one. Reason: {error}"
        )
        return replace(load_dataset(STAND_IN), notice=notice)
    data.check_one_class("training")
    return data


def load_splits(spec: DataSpec, source: Path | None = None) -> Dataset:
    """Return the data set of the spec, with its own validation split or one that is split off."""
    data = load_dataset(
        spec.dataset,
        train=spec.train,
        validation=None if isinstance(spec.validation, float) else spec.validation,
        test=spec.test,
        source=source,
        **spec.given,
    )
    if not isinstance(spec.validation, float):
        return data
    rest, validation = split_off(data.train, spec.validation, spec.split_seed, data.class_names)
    return replace(data, train=rest, validation=validation)


def warn_of_scale(scaling: str, data: Dataset) -> str:
    """Return a sentence if features are far above 1 and not standardised, else nothing."""
    largest = np.abs(np.asarray(data.train.head(BLOCK).X)).max() / data.full_scale
    if scaling != "unit" or largest <= _LARGE:
        return ""
    return (
        f"note: features of up to {largest:.3g} are taken as they are; --scaling standardise gives "
        "each the mean 0 and the deviation 1, which mostly learns far better"
    )


def run_experiment(
    spec: Spec,
    data: Dataset,
    machine: Machine = HERE,
    *,
    optima: Path | None = None,
    follow: OnEpoch | None = None,
    on_stack: OnStack | None = None,
    checkpoints: Checkpoints = NOWHERE,
) -> Results:
    """Check the gradients, train, choose, repeat in shuffled orders, evaluate on the test split.

    `optima` is the file in which the least costs are kept that are found on the way (see
    optima_of). Where only the chosen setting may see the test split, only that one is repeated.
    `follow` is called after every epoch of the training, but not of the folds and repeats, and
    `on_stack` before it (see train). Stacks that the `checkpoints` have are not trained again.
    """
    checks = tuple(run_checks(spec, data))
    engine_checks = tuple(run_engine_checks(spec, data, machine))
    folds, run, selection, tested, repeats = train_all(
        spec, data, machine, checkpoints, follow, on_stack
    )
    repeat_accuracies = np.full((len(repeats), len(spec.settings)), np.nan)
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
        engine_checks=engine_checks,
        selection=selection,
        cross_validation=folds,
        predictions=keep_predictions(data, run, sound, selection.chosen),
        ensembles=tuple(_ensembles(data, run, repeats, sound, tested.index(selection.chosen))),
        optimal_costs=_optimal_costs(spec, data, run, optima),
        author=spec.author,
    )


class Trainings(NamedTuple):
    """What an experiment trains: on folds, on all rows, and again; `tested` see the test split."""

    folds: CrossValidation | None
    run: Run
    selection: Selection
    tested: list[int]
    repeats: tuple[Run, ...]


def train_all(
    spec: Spec,
    data: Dataset,
    machine: Machine = HERE,
    checkpoints: Checkpoints = NOWHERE,
    follow: OnEpoch | None = None,
    on_stack: OnStack | None = None,
) -> Trainings:
    """Train, choose and repeat; of several ranks all do this, and each gets the whole of it."""
    settings = [setting.hyperparameters for setting in spec.settings]
    folds = cross_validate_spec(spec, data, settings, machine, checkpoints)
    run = train_spec(
        spec,
        data,
        settings,
        machine,
        checkpoints=checkpoints,
        follow=follow,
        on_stack=on_stack,
    )
    selection = choose(run, folds, spec.training.select)
    all_tested = spec.training.test == "all"
    tested = list(range(len(settings))) if all_tested else [selection.chosen]
    again = [settings[model] for model in tested]
    repeats = tuple(
        train_spec(spec, data, again, machine, repeat, checkpoints=checkpoints)
        for repeat in range(1, spec.training.repeats + 1)
    )
    return Trainings(folds, run, selection, tested, repeats)


def warn_of_time(spec: Spec, data: Dataset, machine: Machine) -> str:
    """Return a sentence on the time of a training that takes a minute or more, else nothing."""
    training = spec.training
    models = len(spec.settings) * (1 + training.repeats + training.folds)
    scores = float(models) * data.n_classes * len(data.train) * training.options.epochs
    if scores * (data.n_features + _OWN_WORK) * _SECONDS < _LONG / 2:
        return ""
    seconds = forecast_spec(spec, data, machine).seconds
    if seconds < _LONG:
        return ""
    units = [(3600, "hours"), (60, "minutes"), (1, "seconds")]
    size, unit = next(each for each in units if seconds >= 2 * each[0] or each[0] == 1)
    return (
        f"note: training {data.n_classes:,} classes on {len(data.train):,} "
        f"samples will take about {seconds / size:,.0f} {unit}; --plan says so without training"
    )


def forecast_spec(spec: Spec, data: Dataset, machine: Machine) -> Forecast:
    """Predict the stacks, memory and time of training the spec, its repeats and its folds."""
    job = job_of(spec, data, machine)
    once, settings, options = forecast(job), job.settings, job.options
    seconds = (1 + spec.training.repeats) * once.seconds
    if not spec.training.folds:
        return replace(once, kept=once.kept * (1 + spec.training.repeats), seconds=seconds)
    # The held-out rows are scored as they come by, and once at the end.
    job = resampled(
        data, settings, _draw_folds(spec, data), replace(options, evaluate_every=0), machine
    )
    folds = forecast(job)
    return Forecast(
        once.stacks + folds.stacks,
        max(once.bytes, folds.bytes),
        once.kept * (1 + spec.training.repeats) + folds.kept,
        seconds + folds.seconds,
    )


def job_of(spec: Spec, data: Dataset, machine: Machine) -> Job:
    """Return the job of training all settings of the spec."""
    options = spec.training.options
    settings = [setting.hyperparameters for setting in spec.settings]
    weights = weigh_samples(data, len(settings), None, options)
    scaling = fit_scaling(options.scaling, data)
    return Job(data, settings, options, machine, scaling, weights)


def run_checks(spec: Spec, data: Dataset) -> Iterator[BatchCheck]:
    """Yield the spec's gradient checks, of every loss that it trains, all K·D + K partials each."""
    scaling, seed = fit_scaling(spec.training.scaling, data), spec.training.seed
    checks = [
        (check, l2, loss)
        for check in spec.gradient_checks
        for l2 in check.l2
        for loss in losses_of(spec)
    ]
    with progress_bar("gradient check", len(checks)) as update:
        for count, (check, l2, loss) in enumerate(checks, 1):
            _check_images(check, data)
            batch = data.train.head(check.images)
            X = scaling.apply(batch.X)
            if check.place == "initial":
                W, b = (p[0] for p in initial_parameters(data, [Hyperparameters()], seed))
            else:
                W, b = draw_place(X, data.n_classes, seed)
            outcome = check_layer(
                X,
                batch.y,
                W,
                b,
                l2,
                method=check.method,
                step=check.step,
                eps=check.eps,
                tolerance=check.tolerance,
                precision=check.precision,
                loss=loss,
            )
            update(count, check.name)
            yield BatchCheck(check.name, check.images, l2, loss, check.place, outcome)


def run_engine_checks(spec: Spec, data: Dataset, machine: Machine = HERE) -> Iterator[EngineCheck]:
    """Yield a check of the engine that trains the spec, for each of its losses.

    None for a spec without gradient checks.
    """
    if not spec.gradient_checks:
        return
    training, settings = spec.training, [setting.hyperparameters for setting in spec.settings]
    for loss in losses_of(spec):
        with alone():
            check = check_engine(
                machine.find_engine(training.dtype, settings),
                data.train,
                data.n_classes,
                fit_scaling(training.scaling, data),
                loss=loss,
                dtype=training.dtype,
                images=min(training.batch_size, 100),
                seed=training.seed,
            )
        yield check


def losses_of(spec: Spec) -> list[str]:
    """Return the names of the losses that the spec trains, each once."""
    return list(dict.fromkeys(setting.loss for setting in spec.settings))


def _check_images(check: GradientCheckSpec, data: Dataset) -> None:
    if check.images > len(data.train):
        raise InputError(
            f"gradient check {check.name!r}: {check.images} images, "
            f"but {data.name} has {len(data.train)} training samples"
        )


def train_spec(
    spec: Spec,
    data: Dataset,
    settings: list[Hyperparameters],
    machine: Machine,
    repeat: int = 0,
    *,
    checkpoints: Checkpoints = NOWHERE,
    follow: OnEpoch | None = None,
    on_stack: OnStack | None = None,
) -> Run:
    """Train settings as the spec says, or a repeat from 1, where one can watch it.

    `follow` is told of every epoch, too.
    """
    repeats, options = spec.training.repeats, _options_of(spec.training.options, repeat)
    title = f"repeat {repeat} of {repeats}: epoch" if repeat else "training: epoch"
    with watched_training(settings, options, title) as show:

        def on_epoch(epoch: int, curves: Curves, models: range) -> None:
            show(epoch, curves, models)
            if follow is not None:
                follow(epoch, curves, models)

        return train(
            data,
            settings,
            options=options,
            machine=machine,
            on_epoch=on_epoch,
            on_stack=on_stack,
            folder=checkpoints.of(f"repeat-{repeat}" if repeat else "training"),
        )


def _options_of(options: TrainingOptions, repeat: int) -> TrainingOptions:
    """Return how a repeat, from 1, is trained: it has its own seed, for order and first weights."""
    if not repeat:
        return options
    order = "windowed" if options.order == "windowed" else "shuffled"
    return replace(options, order=order, seed=options.seed + repeat, snapshots=0)


def _draw_folds(spec: Spec, data: Dataset) -> NDArray[np.uint8]:
    """Return the weights (R, N) of the spec's folds."""
    training = spec.training
    return fold_weights(
        data.train.y,
        training.folds,
        repeats=training.fold_repeats,
        seed=training.seed,
        groups=data.train.groups,
    )


def cross_validate_spec(
    spec: Spec,
    data: Dataset,
    settings: list[Hyperparameters],
    machine: Machine,
    checkpoints: Checkpoints = NOWHERE,
) -> CrossValidation | None:
    """Cross-validate settings on the folds of the spec; None if it has none."""
    if not spec.training.folds:
        return None
    weights = _draw_folds(spec, data)
    with progress_bar(f"{len(weights)} folds: epoch", spec.training.options.known_epochs) as update:
        return cross_validate(
            data,
            settings,
            weights,
            options=spec.training.options,
            machine=machine,
            on_epoch=lambda epoch, *_: update(epoch, ""),
            folder=checkpoints.of("folds"),
        )


def _optimal_costs(spec: Spec, data: Dataset, run: Run, cache: Path | None) -> NDArray[np.float64]:
    """Return the least training cost of every setting, NaN where it is not asked for or known."""
    if not spec.training.optimum or spec.training.class_weight is not None:
        return np.full(len(run.settings), np.nan)
    return optima_of(run, data.train, cache)


def _evaluate_on_test(data: Dataset, run: Run, models: list[int]) -> Confusions:
    """Return what the sound ones of `models` make of the test split."""
    sound = [model for model in models if not run.stopped[model]]
    return confusion_matrices(run, data.test, sound)


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
