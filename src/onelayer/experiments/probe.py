"""Linear probes: what one layer can read from several feature sets over the same rows."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.catalog import without_validation
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.data.splitting import subset_weights
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import DivergedError, InputError, shown
from onelayer.evaluation.metrics import METRICS, Metric
from onelayer.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.optimism import best_of_halves, optimism_of, rows_to_choose
from onelayer.evaluation.probing import (
    ClassCounts,
    FeatureSet,
    Labelled,
    Probe,
    Probing,
    Tried,
    compare_with_best,
)
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.selection import check_choice, choose
from onelayer.evaluation.test_log import name_of_test
from onelayer.evaluation.unfinished import Asked, Probed, Unfinished, check_resumable
from onelayer.experiments.feature_sets import check_same_rows, load_feature_sets
from onelayer.experiments.multilabel import probe_labels
from onelayer.experiments.workload import Planned, Progress, Workload, plan
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.option import COUNT, Checked, option, takes
from onelayer.progress import progress_bar
from onelayer.report.multilabel import write_any_probes
from onelayer.report.page import check_form
from onelayer.thread_pools import limited
from onelayer.training.classifier import Classifier, model_of
from onelayer.training.epochs import Curves
from onelayer.training.hyperparameters import Hyperparameters, check_settings, grid
from onelayer.training.loop import train
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.path import MOST, follow_paths
from onelayer.training.provenance import provenance
from onelayer.training.run import Run

# The defaults of probes that differ from those of training: the exact answer, with a λ that is
# found. Of descent, standardised features need no wider grid; falling rates with momentum end near
# the least cost; only the end of a probe is looked at.
GRID: Mapping[str, Sequence[Any]] = {
    "l2": (0.0, 0.001, 0.01, 0.1, 1.0),
    "learning_rate": (0.1, 0.01, 0.001),
    "schedule": ("cosine",),
    "momentum": (0.9,),
}
DEFAULTS: Mapping[str, Any] = {
    "solver": "exact",
    "scaling": "standardise",
    "evaluate_every": 0,
}


def probe_grid(solver: str = "descent", **values: Sequence[Any]) -> list[Hyperparameters] | None:
    """Return the settings of a probe: GRID, with these `values` in place of its own.

    Of the exact solver, the values and the λ of GRID; None, so that λ is found, without values.
    """
    if solver == "exact":
        return grid(**{"l2": GRID["l2"], **values}) if values else None
    return grid(**{**GRID, **values})


ACCURACY = "accuracy"
SMALLEST_C, LARGEST_C = 1e-20, 1e20  # beyond, λ has no place in float32


def _read_C(given: Any) -> tuple[float, ...]:
    """Return the numbers of a list, or of a text with commas."""
    try:
        values = given.split(",") if isinstance(given, str) else list(given)
        read = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        read = ()
    if not read or not all(SMALLEST_C <= value <= LARGEST_C for value in read):
        raise InputError(
            f"C is {shown(given)}; expected numbers from {SMALLEST_C:g} to {LARGEST_C:g}: 0.1,1,10"
        )
    return read


@dataclass(frozen=True)
class ProbeOptions(Checked):
    """What is probed beside all training labels, and how a setting is chosen.

    Each C stands for λ = 1 / (2 N C), or 1 / (N C) of two classes, N being the labelled rows.
    """

    draws: int = option(
        5,
        "Number of random subsets per fraction, and of label shuffles.",
        least=1,
        most=1000,
    )
    metric: str | None = option(
        None,
        "Metric on the validation split that chooses (default: accuracy; log-loss where a row may "
        f"have several labels): {', '.join(METRICS)}.",
        kind=str,
        choices=METRICS,
    )
    control: bool = option(False, "Also probe with shuffled labels and report the selectivity.")
    C: tuple[float, ...] | None = option(
        None,
        "Values of LogisticRegression's C to try, in place of λ: 0.1,1,10.",
        kind=tuple,
        parse=_read_C,
    )
    halvings: int = option(
        0, "Number of times that the interval around the best C is halved.", least=0, most=20
    )
    refit: bool = option(
        False, "Train the setting chosen with all labels again, on training and validation rows."
    )
    iterations: int | None = option(
        None,
        "Number of mini-batches to train with, in place of epochs.",
        kind=int,
        least=1,
        most=10**9,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.halvings and len(self.C or ()) < 2:
            raise InputError(
                f"halvings is {self.halvings} and C is {shown(self.C)}; expected two values of C "
                "or more, to halve the interval between them"
            )


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
) -> Probing | LabelProbing:
    """Train the probes of every feature set and judge them on its test split.

    The feature sets, by name, hold the same rows: in every split their labels are the same. Of each
    the `settings` (by default probe_grid) are trained on `draws` subsets of every fraction of the
    labels, and once on all (see subset_weights). Each subset's setting is chosen on the validation
    split, and that one alone sees the test split. The scaling is that of all training rows,
    labelled or not. With `control` the setting that was chosen with all labels is trained again on
    the training labels in `draws` random orders. With `refit` it is trained again on training and
    validation rows, with the same C, before it sees the test split. The other keywords are those of
    train.

    With `out` that folder is filled as a whole, when all is done, with results, tables, figures and
    the page, as far as `report` asks: "all", "html" (the page alone) or "none". The probes with all
    labels are stored as models there, from which predict, evaluate and export go on. `force`
    replaces an earlier run. Until then each feature set is kept beside `out` as soon as it is
    finished; with `resume` those that are there are not trained again, and the result is the same.
    `announce` is told of that, and of a further look at the test split in the same folder or its
    neighbours; `show` is called with the outcome before the page is drawn.

    `on_model(name, model)` is called with the probe of all labels of each feature set.

    By default each probe is the exact optimum. Without settings its λ is found: see follow_paths,
    which also says what `C` and `halvings` try instead. load_protocol returns keywords with which
    probes of publications are chosen.
    With solver="descent" all settings are trained on all subsets in one pass, in which rows without
    a label have the weight 0; without settings they are those of probe_grid.

    Raises
    ------
    InputError
        If there are no feature sets, their labels differ (names the first row), one has no
        validation or test split, a fraction keeps no row of a class, every setting diverged, `out`
        is not free or what is to be resumed was asked for otherwise, or as train does.

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
    first = next(iter(feature_sets.values()))

    def store(folder: RunFolder, probing: Probing | LabelProbing) -> None:
        folder.save_probes(probing)
        tested = probing.tested
        if warning := folder.add_look(len(tested), max(tested), name_of_test(first)):
            announce(warning)
        if show is not None:
            show(probing)
        with progress_bar("drawing the page", None):
            write_any_probes(probing, folder.path, report)

    if first.multilabel:
        _check_several_labels(first, fractions, asked, resume)
        several = partial(probe_labels, feature_sets, settings, options, machine)
        if out is None:
            return several(metric=asked.metric, on_model=on_model)
        with RunFolder.create(Path(out), force=force) as folder:
            labels = several(metric=asked.metric, on_model=folder.save_probe)
            store(folder, labels)
        return labels
    work, options = _work(feature_sets, settings, fractions, options, asked)
    settings = work.settings

    def find(sets: Mapping[str, Dataset]) -> Iterator[Probed]:
        with progress_bar("probes", sum(map(work.of_set, sets.values())), share=True) as tell:
            progress = Progress(tell, work)
            for name, data in sets.items():
                yield _probe_features(name, data, asked, options, machine, progress)

    def compare(probed: Sequence[Probed]) -> Probing:
        if on_model is not None:
            for each in probed:
                on_model(each.features.name, each.model)
        return _compare(feature_sets, probed, settings, asked, options)

    if out is None:
        return compare([*find(feature_sets)])
    task = Asked(
        None if settings is None else tuple(settings),
        {"fractions": [*work.subsets], **asdict(asked), **asdict(options)},
    )
    with (
        Unfinished.hold(Path(out), task, force=force, resume=resume) as unfinished,
        RunFolder.create(Path(out), force=force) as folder,
    ):
        unfinished.check(feature_sets)
        engine = machine.find_engine(options.dtype, settings or grid())
        with limited(machine.threads):
            here = provenance() | {"engine": getattr(engine, "__name__", "")}
            for note in unfinished.tell(here):
                announce(f"note: {note}")
        try:
            missing = {n: d for n, d in feature_sets.items() if n not in unfinished.probed}
            for found in find(missing):
                unfinished.keep(found, missing[found.features.name])
        except BaseException:
            if count := len(unfinished.probed):
                of_all = f"{count} of {len(feature_sets)} feature sets"
                announce(f"note: {of_all} are finished; --resume goes on with the others")
            raise
        probed = [unfinished.probed[name] for name in feature_sets]
        probing = compare(probed)
        for each in probed:
            folder.save_probe(each.features.name, each.model)
        store(folder, probing)
    return probing


def _check_several_labels(
    data: Dataset, fractions: Sequence[float], asked: ProbeOptions, resume: bool
) -> None:
    """Raise InputError for what is asked of rows that may have several labels, and is of one."""
    wanted = {
        "fractions": len({*fractions, 1.0}) > 1,
        "control": asked.control,
        "C": asked.C is not None,
        "refit": asked.refit,
        "iterations": asked.iterations is not None,
        "resume": resume,
    }
    if named := ", ".join(name for name, given in wanted.items() if given):
        raise InputError(
            f"{data.name}: {named}: of one class a row, and here a row may have several labels; "
            "leave that out"
        )


def _work(
    feature_sets: Mapping[str, Dataset],
    settings: Sequence[Hyperparameters] | None,
    fractions: Sequence[float],
    options: TrainingOptions,
    asked: ProbeOptions,
) -> tuple[Workload, TrainingOptions]:
    """Return what is trained on each of the feature sets, which must be of the same rows, and how.

    The options come back with as many epochs as the iterations that were asked for.
    """
    settings = probe_grid(options.solver) if settings is None else settings
    _check_search(asked, settings, options)
    fractions = sorted({*map(float, fractions), 1.0})
    on_path = max(MOST, len(asked.C or ()) + 2 * asked.halvings)
    check_settings(on_path if settings is None else len(settings), len(fractions), asked.draws)
    first = next(iter(feature_sets.values()))
    options = _with_iterations(options, asked.iterations, len(first.train))
    subsets = _draw_subsets(first, fractions, asked.draws, options.seed)
    shuffles, judged = asked.draws if asked.control else 0, len(first.splits["validation"])
    work = Workload(settings, subsets, shuffles, judged, options.solver, int(asked.refit))
    return work, options


def _compare(
    feature_sets: Mapping[str, Dataset],
    probed: Sequence[Probed],
    settings: Sequence[Hyperparameters] | None,
    asked: ProbeOptions,
    options: TrainingOptions,
) -> Probing:
    """Return what the probes of all feature sets say together."""
    first = next(iter(feature_sets.values()))
    found = {setting for each in probed for setting in each.settings}
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    right = np.stack([each.right for each in probed], axis=1)
    known = [each.features.optimism for each in probed if each.features.optimism]
    models, rows = sum(one.models for one in known), known[0].rows if known else 0
    return Probing(
        feature_sets=compare_with_best([each.features for each in probed], right),
        class_names=first.class_names,
        samples={name: len(split) for name, split in first.splits.items()},
        majority=_majority(first),
        scaling=options.scaling,
        grid=tuple(settings or sorted(found, key=lambda setting: -setting.l2)),
        training=asdict(options),
        provenance=provenance() | {"digests": digests},
        metric=asked.metric or ACCURACY,
        refit=asked.refit,
        optimism=optimism_of([each.halves for each in probed], models, rows),
    )


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
) -> Probing | LabelProbing:
    """Probe files, folders or data sets and fill the folder `out`, as probe does.

    `data` says how all of them are read (see load_feature_sets), `options` are those of probe.
    `announce` is also told what was understood of the data.

    Raises
    ------
    InputError
        As load_feature_sets and probe do.
    """
    check_form(options.get("report", "all"))
    check_resumable(out, force=force, resume=resume)  # before the data are read
    feature_sets = load_feature_sets(sources, **data or {})
    for note in (note for some in feature_sets.values() for note in some.notes):
        announce(f"note: {note}")
    return probe(
        feature_sets,
        settings,
        out=out,
        force=force,
        resume=resume,
        announce=announce,
        **options,
    )


def plan_sources(
    sources: Sequence[str],
    settings: Sequence[Hyperparameters] | None = None,
    *,
    options: TrainingOptions,
    machine: Machine,
    asked: ProbeOptions,
    data: Mapping[str, Any] | None = None,
    fractions: Sequence[float] = (1.0,),
) -> tuple[Workload, list[Planned]]:
    """Return what probe_sources would train, and what each feature set would take.

    Raises
    ------
    InputError
        As load_feature_sets and probe do, before they train.
    """
    feature_sets = load_feature_sets(sources, **data or {})
    check_same_rows(feature_sets)
    next(iter(feature_sets.values())).check_one_class("a plan of probes")
    work, options = _work(feature_sets, settings, fractions, options, asked)
    with progress_bar("measuring", len(feature_sets)) as update:
        planned = []
        for each in plan(feature_sets, work, options, machine):
            planned.append(each)
            update(len(planned), "")
    return work, planned


def _check_search(
    asked: ProbeOptions, settings: Sequence[Hyperparameters] | None, options: TrainingOptions
) -> None:
    """Raise InputError if options are asked for that mean nothing beside each other."""
    exact = options.solver == "exact"
    if asked.C and (settings is not None or not exact):
        other = "settings of its own (--l2, --loss)" if exact else "solver descent"
        raise InputError(
            f"C is {shown(asked.C)}, which the exact solver tries in place of settings, and there "
            f"is {other}; leave one of them out"
        )
    if asked.iterations is None:
        return
    if exact:
        raise InputError(
            f"iterations is {asked.iterations}; the exact solver takes no mini-batches: leave it "
            "out, or ask for solver descent"
        )
    if options.epochs != TrainingOptions().epochs:
        raise InputError(
            f"iterations is {asked.iterations} and epochs is {options.epochs}; give one of them"
        )


def _with_iterations(
    options: TrainingOptions, iterations: int | None, rows: int
) -> TrainingOptions:
    """Return the options with as many epochs as so many mini-batches of these rows take."""
    if iterations is None:
        return options
    epochs = math.ceil(iterations / math.ceil(rows / options.batch_size))
    return replace(options, epochs=min(epochs, COUNT))


def _majority(data: Dataset) -> float:
    """Return the share of test rows that are of the most frequent training class."""
    frequent = np.bincount(data.train.y).argmax()
    return float((data.splits["test"].y == frequent).mean())


def _draw_subsets(
    data: Dataset, fractions: Sequence[float], draws: int, seed: int
) -> dict[float, NDArray[np.uint8]]:
    """Return the weights (R, N) of each fraction's subsets; all labels are drawn once."""
    weights = subset_weights(
        data.train.y, fractions, draws=draws, seed=seed, class_names=data.class_names
    )
    return {
        fraction: weights[: draws if fraction < 1 else 1, place]
        for place, fraction in enumerate(fractions)
    }


def _probe_features(
    name: str,
    data: Dataset,
    asked: ProbeOptions,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
) -> Probed:
    """Return the probes of a feature set: the chosen ones alone look at the test split, once."""
    work, scale = progress.work, fit_scaling(options.scaling, data)
    rows = rows_to_choose(len(data.splits["validation"]), len(data.splits["test"]))
    settings, subsets = work.settings, work.subsets
    weights = np.concatenate([*subsets.values()])
    with progress.part(data, work.passes, name) as tell:
        if settings is None:
            done = np.cumsum([0, *work.shares]) / work.shares.sum()
            run, models = follow_paths(
                data,
                CROSS_ENTROPY.name,
                weights,
                options=options,
                machine=machine,
                scaling=scale,
                C=asked.C or (),
                halvings=asked.halvings,
                on_path=lambda number: tell(float(done[number])),
            )
        else:
            M, R = len(settings), len(weights)
            every = np.repeat(weights, M, axis=0) if R > 1 else None
            run = _train(data, list(settings) * R, scale, options, machine, tell, every)
            models = [list(range(M * r, M * (r + 1))) for r in range(R)]
    metric = METRICS[asked.metric or ACCURACY]
    chosen, values = zip(*(_choose(name, run, some, data, metric) for some in models), strict=True)
    best = model_of(run, chosen[-1])
    if asked.refit:
        best = _refit(name, data, run.settings[chosen[-1]], options, machine, progress)
    judged = evaluate_model(best, data, metrics=METRICS.values())
    others = (evaluate_model(model_of(run, model), data) for model in chosen[:-1])
    probes = [
        _probe(run, model, evaluation)
        for model, evaluation in zip(chosen, (*others, judged), strict=True)
    ]
    draws, more = iter(probes), len(data.splits["validation"]) if asked.refit else 0
    by_labels = tuple(
        Labelled(
            fraction,
            int(own[0].sum()) + more * (fraction == 1),
            tuple(itertools.islice(draws, len(own))),
        )
        for fraction, own in subsets.items()
    )
    control = None
    if work.shuffles:
        control = _train_controls(name, data, probes[-1].setting, scale, options, machine, progress)
    metrics = judged.intervals(seed=options.seed)
    sound = [*values[-1]]
    seen = (evaluate_model(model_of(run, model), data, "validation") for model in sound)
    halves = best_of_halves(np.stack([each.right for each in seen], axis=1), rows, options.seed)
    features = FeatureSet(
        name,
        data.n_features,
        by_labels,
        control,
        metrics=metrics,
        classes=ClassCounts.of(judged.class_scores),
        optimism=optimism_of([halves], len(sound), rows),
        tried=tuple(Tried(run.settings[model], value) for model, value in values[-1].items()),
    )
    return Probed(features, run.settings, judged.right, halves, best, run.provenance)


def _train(
    data: Dataset,
    settings: list[Hyperparameters],
    scale: Scaling,
    options: TrainingOptions,
    machine: Machine,
    tell: Callable[[float], None],
    weights: NDArray[np.uint8] | None = None,
) -> Run:
    def follow(epoch: int, _: Curves, models: range) -> None:
        done = 1.0 if options.known_epochs is None else epoch / options.epochs
        tell((models.start + done * len(models)) / len(settings))

    return train(
        data,
        settings,
        options=options,
        machine=machine,
        fitted_scaling=scale,
        sample_weights=weights,
        on_epoch=follow,
    )


def _refit(
    name: str,
    data: Dataset,
    setting: Hyperparameters,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
) -> Classifier:
    """Return the model of the setting on training and validation rows: λ N stays what it was."""
    both = without_validation(data)
    same = replace(setting, l2=setting.l2 * len(data.train) / len(both.train))
    scale = fit_scaling(options.scaling, both)
    with progress.part(data, 1, f"{name}, also validation rows") as tell:
        return model_of(_train(both, [same], scale, options, machine, tell))


def _choose(
    name: str, run: Run, models: Sequence[int], data: Dataset, metric: Metric
) -> tuple[int, dict[int, float]]:
    """Return the one of `models` that is best on the validation split, the first of equals.

    With it comes the metric there of each model that did not diverge.
    """
    try:
        check_choice(run, models)
    except DivergedError as error:
        raise DivergedError(f"{name}: {error}") from error
    selection = choose(run, models=models)
    sound = [model for model in models if not run.stopped[model]]
    if metric.name == "accuracy":
        found = run.final("validation_accuracy")[sound].tolist()
        return models[selection.chosen], dict(zip(sound, found, strict=True))
    judged = [evaluate_model(model_of(run, m), data, "validation", [metric]) for m in sound]
    if why := judged[0].left_out.get(metric.name):
        raise InputError(f"{name}: metric {metric.name}: {why}; choose by another one")
    values = {m: one.value(metric.name) for m, one in zip(sound, judged, strict=True)}
    return max(values, key=lambda model: metric.merit(values[model])), values


def _probe(run: Run, model: int, on_test: ModelEvaluation) -> Probe:
    return Probe(
        run.settings[model],
        train=float(run.final("train_accuracy")[model]),
        validation=float(run.final("validation_accuracy")[model]),
        test=on_test.accuracy,
    )


def _train_controls(
    name: str,
    data: Dataset,
    setting: Hyperparameters,
    scale: Scaling,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
) -> Labelled:
    """Return the probe of the setting on training labels in several random orders."""
    draws = progress.work.shuffles
    generator, probes = random_stream(options.seed, Stream.SHUFFLED_LABELS), []
    for number in range(1, draws + 1):
        labels = generator.permutation(data.train.y)
        shuffled = replace(data, train=replace(data.train, y=labels))
        with progress.part(data, 1, f"{name}, shuffled labels {number} of {draws}") as tell:
            model = model_of(_train(shuffled, [setting], scale, options, machine, tell))
        accuracies = (evaluate_model(model, shuffled, split).accuracy for split in SPLIT_NAMES)
        on_train, on_validation, on_test = accuracies
        probes.append(Probe(setting, on_train, on_validation, on_test))
    return Labelled(1.0, len(data.train), tuple(probes))
