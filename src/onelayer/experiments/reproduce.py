"""Run an experiment from its spec and leave everything in one folder."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.cache import NoSourceError
from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import Dataset
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import split_off
from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.metrics import accuracies, confusion_matrices
from onelayer.evaluation.predictions import Ensemble, ask_together, keep_predictions
from onelayer.evaluation.results import BatchCheck, Results, load_results, save_checks
from onelayer.evaluation.selection import choose
from onelayer.experiments.spec import DataSpec, GradientCheckSpec, Spec
from onelayer.model.gradient_check import check_layer
from onelayer.progress import progress_bar
from onelayer.report.figures import draw_checks
from onelayer.report.page import write_report
from onelayer.storage import atomic_file, output_folder
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.forecast import Forecast, forecast
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.loop import initial_parameters, train
from onelayer.training.run import Run

STAND_IN = "digits"
SPEC_FILE = "spec.json"


def reproduce(
    spec: Spec,
    out: Path,
    *,
    force: bool = False,
    source: Path | None = None,
    announce: Callable[[str], None] = print,
    **resources: Any,
) -> Results:
    """Run `spec` and fill the folder `out`: runs, checks, tables, figures, report.

    `source` is where the user keeps the data set, if not in the cache; `resources` are the threads
    and the memory of onelayer.train. If the data set cannot be
    had at all, scikit-learn's digits stand in; the notice of that goes to `announce` before
    anything else happens, and into every table. `out` gets all of it or, on any error, nothing.

    Raises
    ------
    InputError
        If `out` exists and `force` is not given, or the spec does not fit the data.
    """
    with output_folder(out, force=force) as staging:
        data = load_data(spec.data, source)
        if data.notice:
            announce(data.notice)
        results = run_experiment(spec, data, **resources)
        results.save(staging)
        with atomic_file(staging / SPEC_FILE) as path:
            path.write_text(spec.model_dump_json(indent=1) + "\n", "utf-8")
        with progress_bar("drawing the report", None):
            write_report(results, staging)
    return results


def check_gradients(
    spec: Spec,
    out: Path | None,
    *,
    preset: str | None = None,
    force: bool = False,
    source: Path | None = None,
    announce: Callable[[str], None] = print,
) -> tuple[BatchCheck, ...]:
    """Run the spec's gradient checks, or the one named `preset`; write them to `out` if given.

    Raises
    ------
    InputError
        If the spec has no such check, or `out` exists and `force` is not given.
    """
    names = [check.name for check in spec.gradient_checks]
    if not names:
        raise InputError(f"{spec.name}: the spec has no [[gradient_checks]]")
    if preset is not None and preset not in names:
        raise unknown_name(f"gradient check of {spec.name}", preset, names)
    chosen = tuple(check for check in spec.gradient_checks if preset in (None, check.name))
    with output_folder(out, force=force) if out else nullcontext() as staging:
        data = load_data(spec.data, source)
        if data.notice:
            announce(data.notice)
        checks = tuple(run_checks(spec.model_copy(update={"gradient_checks": chosen}), data))
        if staging:
            save_checks(staging, checks)
            draw_checks(checks, staging)
    return checks


def redraw(folder: Path, out: Path | None = None, *, force: bool = False) -> None:
    """Draw the report of the results in `folder` anew, there or with a copy of them in `out`."""
    results = load_results(folder)
    if out is None:
        with output_folder(folder, force=True, add=True) as staging:
            write_report(results, staging)
    else:
        with output_folder(out, force=force) as staging:
            results.save(staging)
            shutil.copy(folder / SPEC_FILE, staging)
            write_report(results, staging)


def load_data(spec: DataSpec, source: Path | None = None) -> Dataset:
    """Return the data set of the spec, or its stand-in with a notice that says so."""
    try:
        data = load_dataset(
            spec.dataset,
            train=spec.train,
            validation=None if isinstance(spec.validation, float) else spec.validation,
            test=spec.test,
            source=source,
        )
    except NoSourceError as error:
        notice = (
            f"STAND-IN DATA: scikit-learn's {STAND_IN} instead of {spec.dataset}, "
            f"so no figure here is comparable with a published one. Reason: {error}"
        )
        try:
            return replace(load_dataset(STAND_IN), notice=notice)
        except InputError as missing:
            raise NoSourceError(f"{error}; no stand-in either: {missing}") from error
    if not isinstance(spec.validation, float):
        return data
    rest, validation = split_off(data.train, spec.validation, spec.split_seed)
    return replace(data, train=rest, validation=validation)


def run_experiment(
    spec: Spec,
    data: Dataset,
    *,
    rule: str = "best",
    cross_validation: CrossValidation | None = None,
    **resources: Any,
) -> Results:
    """Check the gradients, train, repeat in shuffled orders, choose and evaluate on the test split.

    `rule` chooses a setting (see selection.select) by the `cross_validation` if there is one.
    """
    checks = tuple(run_checks(spec, data))
    seed, orders = spec.training.seed, spec.training.orders
    run = _train(spec, data, spec.training.order, seed, "training: epoch", **resources)
    again = "windowed" if spec.training.order == "windowed" else "shuffled"
    repeats = tuple(
        _train(spec, data, again, seed + n, f"order {n} of {orders}: epoch", **resources)
        for n in range(1, orders + 1)
    )
    selection = choose(run, cross_validation, rule)
    tested = _tested_models(spec, run, selection.chosen)
    sound = [model for model in tested if not run.stopped[model]]
    repeat_confusion = [_evaluate_on_test(data, repeat, tested) for repeat in repeats]
    published = [setting.published_accuracy for setting in spec.settings]
    return Results(
        title=spec.title if not data.notice else f"{spec.title} (stand-in: {data.name})",
        source=spec.source,
        notice=data.notice,
        published=_published(published, comparable=not data.notice),
        run=run,
        repeats=repeats,
        confusion=_evaluate_on_test(data, run, tested),
        repeat_accuracies=np.array(
            [accuracies(confusion) for confusion in repeat_confusion]
        ).reshape(-1, len(spec.settings)),
        checks=checks,
        selection=selection,
        cross_validation=cross_validation,
        predictions=keep_predictions(data, run, sound, selection.chosen),
        ensembles=tuple(_ensembles(data, run, repeats, sound, selection.chosen)),
        optimal_costs=np.full(len(run.settings), np.nan),
    )


def forecast_spec(spec: Spec, source: Path | None = None, **resources: Any) -> Forecast:
    """Predict the stacks, memory and time of training the spec and its repeats."""
    data, protocol = load_data(spec.data, source), spec.training
    once = forecast(
        data,
        [setting.hyperparameters for setting in spec.settings],
        scaling=spec.data.scaling,
        **protocol.protocol,
        **resources,
    )
    return replace(once, seconds=(1 + protocol.orders) * once.seconds)


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


def _train(spec: Spec, data: Dataset, order: str, seed: int, title: str, **resources: Any) -> Run:
    protocol = spec.training
    with progress_bar(title, protocol.epochs) as update:

        def show(epoch: int, curves: dict[str, NDArray[np.float64]]) -> None:
            losses = curves["train_loss"][:, epoch]
            shown = " ".join(f"{loss:.3f}" for loss in losses[:4])
            update(epoch, f"loss {shown}{' …' if len(losses) > 4 else ''}")

        return train(
            data,
            [setting.hyperparameters for setting in spec.settings],
            scaling=spec.data.scaling,
            class_weight=protocol.class_weight,
            on_epoch=show,
            **protocol.protocol | {"order": order, "seed": seed},
            **resources,
        )


def _tested_models(spec: Spec, run: Run, selected: int) -> list[int]:
    """Return the models that may see the test split."""
    return [selected] if spec.training.test == "selected" else list(range(len(run.settings)))


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
    data: Dataset, run: Run, repeats: tuple[Run, ...], sound: list[int], selected: int
) -> Iterator[Ensemble]:
    """Yield that of the settings that saw the test split, and of the chosen one's repeats."""
    again = [(repeat, [selected]) for repeat in repeats if not repeat.stopped[selected]]
    if data.test is not None and len(sound) > 1:
        yield ask_together("settings", [(run, sound)], data.test)
    if data.test is not None and selected in sound and len(again) > 1:
        yield ask_together("repeats", again, data.test)


def _published(figures: list[float | None], *, comparable: bool) -> NDArray[np.float64]:
    known = [np.nan if figure is None or not comparable else figure for figure in figures]
    return np.array(known, dtype=np.float64)
