"""Linear probes: the accuracy of one layer on several feature sets of the same rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from onelayer.arguments import checked
from onelayer.data.dataset import Dataset
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.task import Task
from onelayer.evaluation.test_log import name_of_test
from onelayer.evaluation.unfinished import Finished, Unfinished, check_resumable
from onelayer.experiments.feature_sets import check_same_rows, load_feature_sets, tell_sets
from onelayer.experiments.probe_options import DEFAULTS, ProbeOptions
from onelayer.experiments.probe_sets import AnyProbing, Probes
from onelayer.experiments.workload import Planned, Workload, plan
from onelayer.option import build, takes
from onelayer.progress import progress_bar
from onelayer.report.multilabel import write_any_probes
from onelayer.report.page import check_form
from onelayer.thread_pools import limited
from onelayer.training.checkpoint import NOWHERE
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import origin_of, recorded
from onelayer.training.world import alone, world


@takes(DEFAULTS, options=TrainingOptions, machine=Machine, asked=ProbeOptions)
@checked
def probe(
    feature_sets: Mapping[str, Dataset],
    settings: Sequence[Hyperparameters] | None = None,
    *,
    options: TrainingOptions,
    machine: Machine,
    asked: ProbeOptions,
    fractions: Sequence[float] = (1.0,),
    out: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    report: str = "all",
    announce: Callable[[str], None] = print,
    show: Callable[[Any], None] | None = None,
    on_model: Callable[[str, Classifier], None] | None = None,
    call: Mapping[str, Any] | None = None,
) -> AnyProbing:
    """Train the probes of every feature set and judge them on its test split.

    The feature sets, by name, hold the same rows: in every split their labels are the same. On each
    set the `settings` (by default probe_grid) are trained on `draws` subsets of every fraction of
    the labels, and once on all labels (see subset_weights). The setting of each subset is chosen on
    the validation split, and only the chosen one is evaluated on the test split. The scaling is
    that of all training rows, labelled or not. With `control` the setting chosen with all labels is
    trained again on the training labels in `draws` random orders. With `refit` it is trained again
    on training and validation rows, with the same C, before the test. The other keywords are those
    of train.

    With `out` that folder is written as a whole at the end: results, tables, figures and the page,
    by `report`: "all", "html" (the page alone) or "none". It holds the probes with all labels as
    models, for predict, evaluate and export. `force` replaces an earlier run. Until the end each
    finished feature set is kept beside `out`; with `resume` these sets are not trained again, and
    the result is the same. `announce` gets a sentence on that, and on every further look at the
    test split in the same folder or its neighbours; `show` is called with the outcome before the
    page is drawn. Of several ranks each probes one feature set at a time, and rank 0 alone writes.

    `on_model(name, model)` is called with the probe of all labels of each feature set. `call` holds
    the arguments of the same call for onelayer.resume, if the data come from files.

    By default each probe is the exact optimum. Without settings λ is found by a search: see
    follow_paths, also for `C` and `halvings`. load_protocol returns the keywords for the protocols
    of publications.
    With solver="descent" all settings are trained on all subsets in one pass, in which rows without
    a label have the weight 0; without settings they are those of probe_grid.

    Raises
    ------
    InputError
        If there are no feature sets, their labels differ (names the first row), one has no
        validation or test split, a fraction keeps no row of a class, every setting diverged, `out`
        is not free, the work to resume was started with other arguments, or as train does.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> data = onelayer.dataset_from(X, (X[:, 0] > 0).astype(int))
    >>> probing = onelayer.probe({"layer 1": data})
    >>> [features.name for features in probing.feature_sets]
    ['layer 1']
    """
    check_form(report)
    check_same_rows(feature_sets)
    probes = Probes.of(feature_sets, settings, fractions, options, asked, machine)

    def store(folder: RunFolder, probing: AnyProbing, task: Task) -> None:
        folder.save_probes(probing)
        folder.save_task(task)
        tested = probing.tested
        if warning := folder.add_look(len(tested), max(tested), name_of_test(probes.first)):
            announce(warning)
        if show is not None:
            show(probing)
        with progress_bar("drawing the page", None):
            write_any_probes(probing, folder.path, report)

    task = Task(probes.request, "probe", call) if call else Task(probes.request)
    if out is None or not world().leads:
        kept = NOWHERE
        if out is not None:
            kept = Unfinished.share(Path(out), task, machine.checkpoint)
        probed = probes.find({}, kept)
        _hand_out(probed, feature_sets, on_model)
        return probes.compare(probed)
    with (
        Unfinished.hold(
            Path(out),
            task,
            every=machine.checkpoint,
            force=force,
            resume=resume,
            announce=announce,
        ) as unfinished,
        RunFolder.create(Path(out), force=force) as folder,
    ):
        unfinished.check(feature_sets)
        with limited(machine.threads):
            for note in unfinished.tell(origin_of(probes.make_engine)):
                announce(f"note: {note}")
        probed = probes.find(unfinished.probed, unfinished.checkpoints, unfinished.keep)
        probing = probes.compare(probed)
        _hand_out(probed, feature_sets, folder.save_probe, on_model)
        store(folder, probing, task)
    return probing


def _hand_out(
    probed: Sequence[Finished],
    feature_sets: Mapping[str, Dataset],
    *takers: Callable[[str, Classifier], None] | None,
) -> None:
    """Call every taker, if there is one, with the name and the model of each probe."""
    for each in probed:
        for name, model in each.models(feature_sets[each.features.name]):
            for take in filter(None, takers):
                take(name, model)


@checked
def probe_sources(
    sources: Sequence[str],
    out: Path,
    settings: Sequence[Hyperparameters] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    force: bool = False,
    resume: bool = False,
    announce: Callable[[str], None] = print,
    **options: Any,
) -> AnyProbing:
    """Probe files, folders or data sets and fill the folder `out`, as probe does.

    `data` holds the options for reading all of them (see load_feature_sets), `options` are those of
    probe. `announce` also gets sentences on how the data were read.

    Raises
    ------
    InputError
        As load_feature_sets and probe do.
    """
    with alone():  # the bits are those of one process, whatever the number of ranks
        call = {
            "sources": list(sources),
            "settings": None if settings is None else [vars(setting) for setting in settings],
            "data": dict(data or {}),
            "force": force,
            **{name: _plain(value) for name, value in options.items() if not callable(value)},
        }
    check_form(options.get("report", "all"))
    if world().leads:
        check_resumable(out, force=force, resume=resume)  # before the data are read
    feature_sets = load_feature_sets(sources, **data or {})
    for note in tell_sets(feature_sets):
        if world().leads:
            announce(f"note: {note}")
    return probe(
        feature_sets,
        settings,
        out=out,
        force=force,
        resume=resume,
        announce=announce,
        call=call,
        **options,
    )


def read_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of probe_sources that a task holds as plain values.

    Raises
    ------
    InputError
        If one is missing or of another type.
    """
    settings = recorded(call, "settings", list | NoneType)
    return {
        **call,
        "sources": recorded(call, "sources", list),
        "data": recorded(call, "data", Mapping),
        "fractions": recorded(call, "fractions", list),
        "settings": settings and [build(Hyperparameters, setting) for setting in settings],
        "options": build(TrainingOptions, recorded(call, "options", Mapping)),
        "asked": build(ProbeOptions, recorded(call, "asked", Mapping)),
        "machine": recorded(call, "machine", Mapping),
    }


def _plain(value: Any) -> Any:
    """Return an argument of probe as a plain value: options become a dict by name."""
    if isinstance(value, Machine):
        return value.plain
    return vars(value) if isinstance(value, ProbeOptions | TrainingOptions) else value


def plan_sources(
    sources: Sequence[str],
    settings: Sequence[Hyperparameters] | None = None,
    *,
    options: TrainingOptions,
    machine: Machine,
    asked: ProbeOptions,
    data: Mapping[str, Any] | None = None,
    fractions: Sequence[float] = (1.0,),
    resumed: Path | None = None,
    announce: Callable[[str], None] = print,
) -> tuple[Workload, list[Planned]]:
    """Return the work of probe_sources, and the time and memory for each feature set.

    Sets that are finished in what is `resumed`, an output folder, are announced and take no time.

    Raises
    ------
    InputError
        As load_feature_sets and probe do, before they train.
    """
    feature_sets = load_feature_sets(sources, **data or {})
    check_same_rows(feature_sets)
    probes = Probes.of(feature_sets, settings, fractions, options, asked, machine)
    finished: Collection[str] = ()
    if resumed is not None:
        kept = Unfinished.find(resumed, Task(probes.request))
        kept.check(feature_sets)
        for note in kept.tell({}):
            announce(f"note: {note}")
        finished = kept.probed
    with progress_bar("measuring", len(feature_sets)) as update:
        planned = []
        for each in plan(feature_sets, probes.work, probes.options, machine, finished):
            planned.append(each)
            update(len(planned), "")
    return probes.work, planned
