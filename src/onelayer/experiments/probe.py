"""Linear probes: what one layer can read from several feature sets over the same rows."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.data.splitting import subset_weights
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import DivergedError, InputError
from onelayer.evaluation.metrics import METRICS, Metric
from onelayer.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import (
    FeatureSet,
    Labelled,
    Probe,
    Probing,
    compare_with_best,
)
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.selection import check_choice, choose
from onelayer.evaluation.test_log import name_of_test
from onelayer.experiments.feature_sets import check_same_rows, load_feature_sets
from onelayer.experiments.multilabel import probe_labels
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.option import Checked, option, takes
from onelayer.progress import progress_bar
from onelayer.report.multilabel import write_any_probes
from onelayer.report.page import check_form
from onelayer.training.classifier import Classifier, model_of
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


@dataclass(frozen=True)
class ProbeOptions(Checked):
    """What is probed beside all training labels."""

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
    on_model: Callable[[str, Classifier], None] | None = None,
) -> Probing | LabelProbing:
    """Train the probes of every feature set and judge them on its test split.

    The feature sets, by name, hold the same rows: in every split their labels are the same. Of each
    the `settings` (by default probe_grid) are trained on `draws` subsets of every fraction of the
    labels, and once on all (see subset_weights). Each subset's setting is chosen on the validation
    split, and that one alone sees the test split. The scaling is that of all training rows,
    labelled or not. With `control` the setting that was chosen with all labels is trained again on
    the training labels in `draws` random orders. The other keywords are those of train.

    `on_model(name, model)` is called with the chosen probe of a feature set as soon as it is found.

    Where a row may have several labels, each is probed alone, with the exact solver and a λ of its
    own, on all rows: see train_labels. Of these the name is that of the feature set and the label.

    By default each probe is the exact optimum. Without settings its λ is found: see follow_paths.
    With solver="descent" all settings are trained on all subsets in one pass, in which rows without
    a label have the weight 0; without settings they are those of probe_grid.

    Raises
    ------
    InputError
        If there are no feature sets, their labels differ (names the first row), one has no
        validation or test split, a fraction keeps no row of a class, every setting diverged, or as
        train does.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> data = onelayer.dataset_from(X, (X[:, 0] > 0).astype(int))
    >>> probing = onelayer.probe({"layer 1": data})
    >>> [features.name for features in probing.feature_sets]
    ['layer 1']
    """
    metric = asked.metric or "accuracy"
    settings = probe_grid(options.solver) if settings is None else settings
    fractions = sorted({*fractions, 1.0})
    check_settings(MOST if settings is None else len(settings), len(fractions), asked.draws)
    check_same_rows(feature_sets)
    first = next(iter(feature_sets.values()))
    if first.multilabel:
        if len(fractions) > 1 or asked.control:
            raise InputError(
                f"{first.name}: fractions and the control are of one class a row; here a row may "
                "have several labels"
            )
        return probe_labels(
            feature_sets, settings, options, machine, metric=asked.metric, on_model=on_model
        )
    subsets = _draw_subsets(first, fractions, asked.draws, options.seed)
    shuffles = asked.draws if asked.control else 0
    probed, right, found = [], [], set[Hyperparameters]()
    for name, data in feature_sets.items():
        features, run, model, judged = _probe_features(
            name, data, settings, subsets, shuffles, METRICS[metric], options, machine
        )
        probed.append(features)
        found.update(run.settings)
        right.append(judged.right)
        if on_model is not None:
            on_model(name, model)
    samples = {name: len(split) for name, split in first.splits.items()}
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    return Probing(
        feature_sets=compare_with_best(probed, np.stack(right, axis=1)),
        class_names=first.class_names,
        samples=samples,
        majority=_majority(first),
        scaling=options.scaling,
        grid=tuple(settings or sorted(found, key=lambda setting: -setting.l2)),
        training=asdict(options),
        provenance=provenance() | {"digests": digests},
        metric=metric,
    )


def probe_sources(
    sources: Sequence[str],
    out: Path,
    settings: Sequence[Hyperparameters] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    force: bool = False,
    announce: Callable[[str], None] = print,
    show: Callable[[Probing | LabelProbing], None] | None = None,
    report: str = "all",
    **options: Any,
) -> Probing | LabelProbing:
    """Probe files, folders or data sets and fill the folder `out`: results, tables, figures, page.

    `data` says how all of them are read (see load_feature_sets), `options` are those of probe.
    `report` selects the files drawn: "all", "html" (the page alone) or "none". The probes with all
    labels are stored as models, from which predict, evaluate and export go on. `out` gets all of it
    or, on any error, nothing. `announce` is told what was understood of the data, and of a further
    look at the test split in the same folder or its neighbours; `show` is called with the outcome
    before the page is drawn.

    Raises
    ------
    InputError
        If `out` exists and `force` is not given, or there is no such report; as load_feature_sets
        and probe do.
    """
    check_form(report)
    with RunFolder.create(out, force=force) as folder:
        feature_sets = load_feature_sets(sources, **data or {})
        for note in (note for some in feature_sets.values() for note in some.notes):
            announce(f"note: {note}")
        probing = probe(feature_sets, settings, on_model=folder.save_probe, **options)
        folder.save_probes(probing)
        test = name_of_test(next(iter(feature_sets.values())))
        if warning := folder.add_look(len(probing.tested), max(probing.tested), test):
            announce(warning)
        if show is not None:
            show(probing)
        with progress_bar("drawing the page", None):
            write_any_probes(probing, folder.path, report)
    return probing


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
    settings: Sequence[Hyperparameters] | None,
    subsets: Mapping[float, NDArray[np.uint8]],
    shuffles: int,
    metric: Metric,
    options: TrainingOptions,
    machine: Machine,
) -> tuple[FeatureSet, Run, Classifier, ModelEvaluation]:
    """Return the probes of a feature set, all that was trained, and the model with all labels.

    That model comes with its evaluation on the test split, which nothing else looks at for it.
    """
    scale = fit_scaling(options.scaling, data)
    weights = np.concatenate([*subsets.values()])
    if settings is None:
        run, models = _find_l2(name, data, weights, scale, options, machine)
    else:
        M, R = len(settings), len(weights)
        every = np.repeat(weights, M, axis=0) if R > 1 else None
        run = _train(name, data, list(settings) * R, scale, options, machine, every)
        models = [range(M * r, M * (r + 1)) for r in range(R)]
    chosen = [_choose(name, run, some, data, metric) for some in models]
    best = model_of(run, chosen[-1])
    judged = evaluate_model(best, data, metrics=METRICS.values())
    others = (evaluate_model(model_of(run, model), data) for model in chosen[:-1])
    probes = [
        _probe(run, model, evaluation)
        for model, evaluation in zip(chosen, (*others, judged), strict=True)
    ]
    draws = iter(probes)
    by_labels = tuple(
        Labelled(fraction, int(own[0].sum()), tuple(itertools.islice(draws, len(own))))
        for fraction, own in subsets.items()
    )
    control = None
    if shuffles:
        setting = probes[-1].setting
        control = _train_controls(name, data, setting, scale, shuffles, options, machine)
    metrics = judged.intervals(seed=options.seed)
    features = FeatureSet(name, data.n_features, by_labels, control, metrics=metrics)
    return features, run, best, judged


def _find_l2(
    title: str,
    data: Dataset,
    weights: NDArray[np.uint8],
    scale: Scaling,
    options: TrainingOptions,
    machine: Machine,
) -> tuple[Run, list[range]]:
    with progress_bar(f"{title}: path", len(weights)) as update:
        return follow_paths(
            data,
            CROSS_ENTROPY.name,
            weights,
            options=options,
            machine=machine,
            scaling=scale,
            on_path=lambda number: update(number, ""),
        )


def _train(
    title: str,
    data: Dataset,
    settings: list[Hyperparameters],
    scale: Scaling,
    options: TrainingOptions,
    machine: Machine,
    weights: NDArray[np.uint8] | None = None,
) -> Run:
    with progress_bar(f"{title}: epoch", options.known_epochs) as update:
        return train(
            data,
            settings,
            options=options,
            machine=machine,
            fitted_scaling=scale,
            sample_weights=weights,
            on_epoch=lambda epoch, *_: update(epoch, ""),
        )


def _choose(name: str, run: Run, models: range, data: Dataset, metric: Metric) -> int:
    """Return the one of `models` that is best on the validation split, the first of equals."""
    some = slice(models.start, models.stop)
    try:
        check_choice(run, some)
    except DivergedError as error:
        raise DivergedError(f"{name}: {error}") from error
    selection = choose(run, models=some)
    if metric.name == "accuracy":
        return models[selection.chosen]
    sound = [model for model in models if not run.stopped[model]]
    found = [evaluate_model(model_of(run, m), data, "validation", [metric]) for m in sound]
    if why := found[0].left_out.get(metric.name):
        raise InputError(f"{name}: metric {metric.name}: {why}; choose by another one")
    merits = [metric.merit(evaluation.value(metric.name)) for evaluation in found]
    return sound[int(np.argmax(merits))]


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
    draws: int,
    options: TrainingOptions,
    machine: Machine,
) -> Labelled:
    """Return the probe of the setting on training labels in `draws` random orders."""
    generator, probes = random_stream(options.seed, Stream.SHUFFLED_LABELS), []
    for number in range(1, draws + 1):
        labels = generator.permutation(data.train.y)
        shuffled = replace(data, train=replace(data.train, y=labels))
        title = f"{name}, shuffled labels {number} of {draws}"
        model = model_of(_train(title, shuffled, [setting], scale, options, machine))
        accuracies = (evaluate_model(model, shuffled, split).accuracy for split in SPLIT_NAMES)
        on_train, on_validation, on_test = accuracies
        probes.append(Probe(setting, on_train, on_validation, on_test))
    return Labelled(1.0, len(data.train), tuple(probes))
