"""Run an experiment from its spec and leave everything in one folder."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from onelayer.arguments import checked
from onelayer.data.dataset import Dataset
from onelayer.errors import InputError, unknown_name, visible
from onelayer.evaluation.ablation import AblationRow, ablation_rows
from onelayer.evaluation.results import BatchCheck, Results, write_checks
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.task import Task
from onelayer.evaluation.test_log import name_of_test
from onelayer.evaluation.unfinished import Unfinished
from onelayer.experiments.experiment import (
    load_data,
    load_splits,
    run_checks,
    run_engine_checks,
    run_experiment,
    train_all,
    warn_of_scale,
    warn_of_time,
)
from onelayer.experiments.spec import Spec, load_spec
from onelayer.plain_values import to_json
from onelayer.progress import progress_bar
from onelayer.report.explore import write_explore
from onelayer.report.gradient_checks import write_checks_page
from onelayer.report.multilabel import write_any_probes
from onelayer.report.page import check_form, write_report
from onelayer.storage import atomic_file, check_output_file, output_folder
from onelayer.tracking.live import Live, check_live, open_live
from onelayer.tracking.trackers import open_tracker
from onelayer.training.checkpoint import Asked, Checkpoints
from onelayer.training.engine_check import EngineCheck
from onelayer.training.epochs import OnEpoch
from onelayer.training.log import Curves
from onelayer.training.machine import HERE, Machine

Show = Callable[[Results, Sequence[AblationRow]], None]


@checked
def reproduce(
    spec: Spec,
    out: Path,
    *,
    force: bool = False,
    source: Path | None = None,
    announce: Callable[[str], None] = print,
    show: Show | None = None,
    track: str | None = None,
    live: Callable[[str], None] | None = None,
    report: str = "all",
    machine: Machine = HERE,
    resume: bool = False,
) -> Results:
    """Run `spec` and fill the folder `out`: runs, checks, tables, figures, report.

    `source` is where the user keeps the data set, if not in the cache. `track` names a tracker (see
    open_tracker) of the training. `live` is called with the address of a page that shows it while
    it lasts. `report` is "all", "html" (the page alone) or
    "none"; redraw draws it later. If the data set cannot be had at all, scikit-learn's digits stand
    in; the notice of that goes to `announce` before anything else happens, and into every table.
    `show` is called with the results and the table of variants before the report is drawn.
    `out` gets all of it or, on any error, nothing. Until then checkpoints are kept beside it, as
    often as the machine says; with `resume` the training goes on from those of the same spec.

    Raises
    ------
    InputError
        If `out` exists and `force` is not given, the spec does not fit the data, or there is no
        such tracker or report, or the packages of the live page are missing; if something is
        unfinished and neither `resume` nor `force` is given, or it is something else.
    """
    check_form(report)
    if live is not None:
        check_live()
    task = task_of(spec, source=source, track=track, report=report, machine=machine, force=force)
    with (
        Unfinished.hold(
            out, task, every=machine.checkpoint, force=force, resume=resume, announce=announce
        ) as unfinished,
        RunFolder.create(out, force=force) as folder,
        _tracker(track, spec) as follow,
    ):
        kept = unfinished.checkpoints
        data = _load(spec, source, announce, machine)
        with _live(live, spec, data) as page:
            results = _run(spec, data, folder, machine, kept, follow, page)
            rows = _run_variants(spec, results, folder, source, announce, machine, kept)
        if results.evaluated.size:
            best = float(np.nanmax(results.test_accuracies))
            if warning := folder.add_look(len(results.evaluated), best, name_of_test(data)):
                announce(warning)
        if show is not None:
            show(results, rows)
        with progress_bar("drawing the report", None):
            write_report(results, folder.path, rows, folder.all_looks(), report)
            if report == "all":
                write_explore(results, folder.explorable_page, data)
    return results


def take_part(
    spec: Spec, out: Path, task: Task, *, source: Path | None = None, machine: Machine = HERE
) -> None:
    """Train this rank's part of what rank 0 reproduces at the same time; it writes checkpoints."""
    kept = Unfinished.share(out, task, machine.own_checkpoint)
    train_all(spec, load_data(spec.data, source), machine, kept)
    for variant, own in zip(spec.variants, spec.of_variants(), strict=True):
        train_all(own, load_data(own.data, source), machine, kept.of(variant.name))


def task_of(
    spec: Spec,
    *,
    source: Path | None,
    track: str | None,
    report: str,
    machine: Machine,
    force: bool,
) -> Task:
    """Return what is asked of reproduce, as resume takes it up."""
    call = {"track": track, "report": report, "machine": machine.plain, "force": force}
    call["source"] = None if source is None else str(source)
    return Task(Asked(None, spec.model_dump()), "reproduce", call)


def _tracker(target: str | None, spec: Spec) -> AbstractContextManager[OnEpoch | None]:
    if target is None:
        return nullcontext()
    settings = [setting.hyperparameters for setting in spec.settings]
    shared = {"dataset": spec.data.dataset} | vars(spec.training.options)
    return open_tracker(target, spec.name, settings, shared)


def _live(
    tell: Callable[[str], None] | None, spec: Spec, data: Dataset
) -> AbstractContextManager[Live | None]:
    if tell is None:
        return nullcontext()
    settings = [setting.hyperparameters for setting in spec.settings]
    return open_live(spec.title, data, settings, spec.training.options, tell)


def _load(
    spec: Spec, source: Path | None, announce: Callable[[str], None], machine: Machine
) -> Dataset:
    """Return the data of the spec; `announce` is told what is to be known of it."""
    data = load_data(spec.data, source)
    notes = [f"note: {note}" for note in data.notes]
    for words in (
        data.notice,
        *notes,
        warn_of_scale(spec.training.scaling, data),
        warn_of_time(spec, data, machine),
    ):
        if words:
            announce(words)
    return data


def _run(
    spec: Spec,
    data: Dataset,
    folder: RunFolder,
    machine: Machine,
    checkpoints: Checkpoints,
    follow: OnEpoch | None = None,
    page: Live | None = None,
) -> Results:
    """Run one experiment on its data and write its results, and the spec, into `folder`."""

    def on_epoch(epoch: int, curves: Curves, models: range) -> None:
        if follow is not None:
            follow(epoch, curves, models)
        if page is not None:
            page.on_epoch(epoch, curves, models)

    results = run_experiment(
        spec,
        data,
        machine,
        optima=folder.optima_file,
        follow=on_epoch,
        on_stack=None if page is None else page.on_stack,
        checkpoints=checkpoints,
    )
    folder.save_results(results)
    folder.save_model(results.run, results.selected)
    with atomic_file(folder.spec_file) as path:
        path.write_text(to_json(spec.model_dump(), 1) + "\n", "utf-8")
    return results


def _run_variants(
    spec: Spec,
    base: Results,
    folder: RunFolder,
    source: Path | None,
    announce: Callable[[str], None],
    machine: Machine,
    checkpoints: Checkpoints,
) -> list[AblationRow]:
    """Run every variant into a folder of its own; return their table, which is written, too."""
    variants = []
    for variant, own in zip(spec.variants, spec.of_variants(), strict=True):
        announce(f"variant {variant.name}: {visible(variant.title)}")
        data = _load(own, source, lambda _: None, machine)
        kept = checkpoints.of(variant.name)
        results = _run(own, data, folder.variant(variant.name), machine, kept)
        variants.append((variant.name, variant.title, results))
    rows = ablation_rows(base, variants) if variants else []
    if rows:
        folder.save_ablation(rows)
    return rows


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
        for words in (data.notice, *(f"note: {note}" for note in data.notes)):
            if words:
                announce(words)
        asked = spec.model_copy(update={"gradient_checks": chosen})
        checks = tuple(run_checks(asked, data))
        engine_checks = tuple(run_engine_checks(asked, data))
        if staging:
            write_checks(checks, engine_checks, staging)
            write_checks_page(f"Gradient check: {spec.title}", checks, engine_checks, staging)
    return checks, engine_checks


def redraw(folder: Path, out: Path | None = None, *, force: bool = False) -> Path:
    """Draw the report of the results in `folder` anew, there or with a copy of them in `out`.

    Returns the page. The folder may be that of probes, too.
    """
    stored = RunFolder.open(folder)
    found = stored.probes() if stored.has_probes else stored.results()
    rows, looks = stored.ablation(), stored.all_looks()
    with stored.extend() if out is None else stored.copy(out, force=force) as target:
        if isinstance(found, Results):
            write_report(found, target.path, rows, looks)
        else:
            write_any_probes(found, target.path)
    return RunFolder.open(out or folder).page


def explore(
    folder: Path,
    out: Path | None = None,
    *,
    source: Path | None = None,
    force: bool = False,
    announce: Callable[[str], None] = print,
) -> Path:
    """Write the explorable page of the results in `folder`, there or to the file `out`.

    Returns the page. It has test pictures where the data can be had and is what was trained on;
    `announce` is told why it has none.

    Raises
    ------
    InputError
        If the folder holds no results, or `out` does not end in .html or exists while `force` is
        not given.
    """
    stored = RunFolder.open(folder)
    results = stored.results()
    if out is not None:
        check_output_file(out, (".html",), force=force)
    data = _data_of(stored, results, source, announce)
    if out is not None:
        write_explore(results, out, data)
        return out
    with stored.extend() as more:
        write_explore(results, more.explorable_page, data)
    return stored.explorable_page


def _data_of(
    stored: RunFolder, results: Results, source: Path | None, announce: Callable[[str], None]
) -> Dataset | None:
    """Return the data that the results come from, None if it is not to be had any more."""
    try:
        data = load_splits(load_spec(str(stored.spec_file)).data, source)
    except (InputError, OSError) as error:
        announce(f"no test pictures on the page: {error}")
        return None
    if data.digests != results.run.provenance.get("digests", data.digests):
        announce(f"no test pictures on the page: {data.name} changed since the training")
        return None
    return data
