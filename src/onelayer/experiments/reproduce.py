"""Run an experiment from its spec and leave everything in one folder."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.ablation import FILE as ABLATION
from onelayer.evaluation.ablation import AblationRow, ablation_rows, load_ablation, save_ablation
from onelayer.evaluation.probing import FILE as PROBES
from onelayer.evaluation.results import BatchCheck, Results, load_results, save_checks
from onelayer.evaluation.test_log import FILE as TEST_LOG
from onelayer.evaluation.test_log import (
    TestEvaluation,
    read_test_log,
    warn_of_second_look,
    write_test_log,
)
from onelayer.experiments.experiment import (
    load_data,
    run_checks,
    run_engine_checks,
    run_experiment,
    warn_of_scale,
)
from onelayer.experiments.probe import redraw_probes
from onelayer.experiments.spec import Spec
from onelayer.progress import progress_bar
from onelayer.report.figures import draw_checks
from onelayer.report.page import write_report
from onelayer.storage import atomic_file, output_folder
from onelayer.tracking.trackers import open_tracker
from onelayer.training.classifier import save_model_of
from onelayer.training.engine_check import EngineCheck
from onelayer.training.epochs import OnEpoch
from onelayer.training.machine import HERE, Machine

SPEC_FILE = "spec.json"
OPTIMA_FILE = "optima.json"


def reproduce(
    spec: Spec,
    out: Path,
    *,
    force: bool = False,
    source: Path | None = None,
    announce: Callable[[str], None] = print,
    track: str | None = None,
    machine: Machine = HERE,
) -> Results:
    """Run `spec` and fill the folder `out`: runs, checks, tables, figures, report.

    `source` is where the user keeps the data set, if not in the cache. `track` names a tracker (see
    open_tracker) of the training. If the data set cannot be had at all, scikit-learn's digits stand
    in; the notice of that goes to `announce` before anything else happens, and into every table.
    `out` gets all of it or, on any error, nothing.

    Raises
    ------
    InputError
        If `out` exists and `force` is not given, the spec does not fit the data, or there is no
        such tracker.
    """
    looks = read_test_log(out)
    with output_folder(out, force=force) as staging, _tracker(track, spec) as follow:
        if (out / OPTIMA_FILE).is_file():  # what an earlier run found
            shutil.copy(out / OPTIMA_FILE, staging)
        results = _run(spec, staging, source, announce, machine, follow)
        rows = _run_variants(spec, results, staging, source, announce, machine)
        _log_look(results, looks, staging, announce)
        with progress_bar("drawing the report", None):
            write_report(results, staging, rows, looks)
    return results


def _tracker(target: str | None, spec: Spec) -> AbstractContextManager[OnEpoch | None]:
    if target is None:
        return nullcontext()
    settings = [setting.hyperparameters for setting in spec.settings]
    shared = {"dataset": spec.data.dataset} | vars(spec.training.training)
    return open_tracker(target, spec.name, settings, shared)


def _run(
    spec: Spec,
    folder: Path,
    source: Path | None,
    announce: Callable[[str], None],
    machine: Machine,
    follow: OnEpoch | None = None,
) -> Results:
    """Run one experiment and write its results, and the spec, into `folder`."""
    data = load_data(spec.data, source)
    for words in (data.notice, warn_of_scale(spec.training.scaling, data)):
        if words:
            announce(words)
    results = run_experiment(spec, data, machine, optima=folder / OPTIMA_FILE, follow=follow)
    results.save(folder)
    save_model_of(results.run, results.selected, folder)
    with atomic_file(folder / SPEC_FILE) as path:
        path.write_text(spec.model_dump_json(indent=1) + "\n", "utf-8")
    return results


def _run_variants(
    spec: Spec,
    base: Results,
    folder: Path,
    source: Path | None,
    announce: Callable[[str], None],
    machine: Machine,
) -> list[AblationRow]:
    """Run every variant into a folder of its own; return their table, which is written, too."""
    variants = []
    for variant, own in zip(spec.variants, spec.of_variants(), strict=True):
        announce(f"variant {variant.name}: {variant.title}")
        where = folder / "variants" / variant.name
        results = _run(own, where, source, lambda _: None, machine)
        variants.append((variant.name, variant.title, results))
    rows = ablation_rows(base, variants) if variants else []
    if rows:
        save_ablation(folder, rows)
    return rows


def _log_look(
    results: Results,
    looks: list[TestEvaluation],
    folder: Path,
    announce: Callable[[str], None],
) -> None:
    """Add this look at the test split to the earlier ones, and say so if there were any."""
    if results.evaluated.size:
        best = float(np.nanmax(results.test_accuracies))
        looks.append(TestEvaluation.now(len(results.evaluated), best))
        if len(looks) > 1:
            announce(warn_of_second_look(looks))
    write_test_log(folder, looks)


def check_gradients(
    spec: Spec,
    out: Path | None,
    *,
    preset: str | None = None,
    force: bool = False,
    source: Path | None = None,
    announce: Callable[[str], None] = print,
) -> tuple[tuple[BatchCheck, ...], tuple[EngineCheck, ...]]:
    """Run the spec's gradient checks, or the one named `preset`, and those of the engine.

    They are written to `out` if it is given.

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
        asked = spec.model_copy(update={"gradient_checks": chosen})
        checks = tuple(run_checks(asked, data))
        engine_checks = tuple(run_engine_checks(asked, data))
        if staging:
            save_checks(staging, checks, engine_checks)
            draw_checks(checks, staging)
    return checks, engine_checks


def redraw(folder: Path, out: Path | None = None, *, force: bool = False) -> Path:
    """Draw the report of the results in `folder` anew, there or with a copy of them in `out`.

    Returns the page. The folder may be that of probes, too.
    """
    if (folder / PROBES).is_file():
        return redraw_probes(folder, out, force=force)
    results, rows, looks = load_results(folder), load_ablation(folder), read_test_log(folder)
    if out is None:
        with output_folder(folder, force=True, add=True) as staging:
            write_report(results, staging, rows, looks)
    else:
        with output_folder(out, force=force) as staging:
            results.save(staging)
            for name in (SPEC_FILE, TEST_LOG, ABLATION):
                if (folder / name).is_file():
                    shutil.copy(folder / name, staging)
            write_report(results, staging, rows, looks)
    return (out or folder) / "report.html"
