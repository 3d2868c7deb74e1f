"""Linear probes: what one layer can read from several feature sets over the same rows."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.arrays import set_of
from onelayer.data.catalog import is_path
from onelayer.data.dataset import BLOCK, SPLIT_NAMES, Dataset
from onelayer.data.files import by_number
from onelayer.data.formats.array_files import ARRAYS, is_companion
from onelayer.data.formats.registry import feature_sets
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.data.splitting import subset_weights
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.evaluation.metrics import METRICS, Metric
from onelayer.evaluation.model_evaluation import evaluate_model
from onelayer.evaluation.probing import (
    FeatureSet,
    Labelled,
    Probe,
    Probing,
    compare_with_best,
)
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.selection import choose
from onelayer.experiments.experiment import load_splits
from onelayer.experiments.spec import DataSpec
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.option import Checked, option, takes
from onelayer.progress import progress_bar
from onelayer.report.page import check_form
from onelayer.report.probes import write_probes
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
_NAME = 40  # letters of the name of a feature set


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
    metric: str = option(
        "accuracy",
        f"Metric on the validation split that chooses: {', '.join(METRICS)}.",
        choices=METRICS,
    )
    control: bool = option(False, "Also probe with shuffled labels and report the selectivity.")


def load_feature_sets(sources: Sequence[str], **options: Any) -> dict[str, Dataset]:
    """Return the data set of each path or name, by a short name of its own.

    A folder or file of several sets of features stands for all of them, and files of labels beside
    features are passed over: see list_sets. `options` are fields of DataSpec: validation,
    split_seed, and those of Reading.

    Raises
    ------
    InputError
        If one cannot be read, or two are the same.
    """
    several = options.get("feature_set") is None
    sets = list_sets(sources) if several else [(source, None) for source in sources]
    names = name_sources([source if part is None else f"{source}/{part}" for source, part in sets])
    specs = [
        DataSpec(dataset=source, **options | ({"feature_set": part} if part else {}))
        for source, part in sets
    ]
    return {name: load_splits(spec) for name, spec in zip(names, specs, strict=True)}


def list_sets(sources: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return the sets of features of all sources, each with its name if the source has several.

    Sources that are sorted letter by letter, as a shell lists them, are sorted by their numbers.

    Raises
    ------
    InputError
        If one has no known format.
    """
    if list(sources) == sorted(sources):
        sources = sorted(sources, key=by_number)
    paths = [Path(source) for source in sources if is_path(source)]
    beside = {path for path in paths if is_companion(path, paths)}
    return [
        (source if path == Path(source) else str(path), part)
        for source in sources
        if Path(source) not in beside
        for path, part in (
            feature_sets(Path(source)) if is_path(source) else [(Path(source), None)]
        )
    ]


def name_sources(sources: Sequence[str]) -> list[str]:
    """Return the stem of each path, or as many of its folders as tell all of them apart.

    Of a long name the middle is left out, as far as names still differ.

    Raises
    ------
    InputError
        If two are the same.
    """
    paths = [Path(source).resolve() if is_path(source) else Path(source) for source in sources]
    seen: set[Path] = set()
    for source, path in zip(sources, paths, strict=True):
        if path in seen:
            raise InputError(f"{source}: given twice; expected each feature set once")
        seen.add(path)
    names, depth = [_stem(path) for path in paths], 0
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    for letters in range(_NAME, max(map(len, names), default=0)):
        cut = [_without_middle(name, letters) for name in names]
        if len(set(cut)) == len(cut):
            return cut
    return names


def _stem(path: Path) -> str:
    """Return the name of a folder, of a file without suffix, of an array without its split."""
    if not path.is_file():
        return path.name
    return (path.suffix.lower() in ARRAYS and set_of(path.stem)) or path.stem


def _without_middle(name: str, letters: int) -> str:
    """Return a name of so many letters at most, its beginning and its end."""
    if len(name) <= letters:
        return name
    return f"{name[: (letters - 1) // 2]}…{name[len(name) - letters // 2 :]}"


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
) -> Probing:
    """Train the probes of every feature set and judge them on its test split.

    The feature sets, by name, hold the same rows: in every split their labels are the same. Of each
    the `settings` (by default probe_grid) are trained on `draws` subsets of every fraction of the
    labels, and once on all (see subset_weights). Each subset's setting is chosen on the validation
    split, and that one alone sees the test split. The scaling is that of all training rows,
    labelled or not. With `control` the setting that was chosen with all labels is trained again on
    the training labels in `draws` random orders. The other keywords are those of train.

    `on_model(name, model)` is called with the chosen probe of a feature set as soon as it is found.

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
    settings = probe_grid(options.solver) if settings is None else settings
    fractions = sorted({*fractions, 1.0})
    check_settings(MOST if settings is None else len(settings), len(fractions), asked.draws)
    check_same_rows(feature_sets)
    first = next(iter(feature_sets.values()))
    subsets = _draw_subsets(first, fractions, asked.draws, options.seed)
    shuffles = asked.draws if asked.control else 0
    probed, right = [], []
    for name, data in feature_sets.items():
        features, tried, model = _probe_features(
            name, data, settings, subsets, shuffles, METRICS[asked.metric], options, machine
        )
        probed.append((features, tried))
        right.append(_right_rows(model, data))
        if on_model is not None:
            on_model(name, model)
    samples = {name: len(split) for name, split in first.splits.items()}
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    return Probing(
        feature_sets=compare_with_best(
            [features for features, _ in probed], np.stack(right, axis=1)
        ),
        class_names=first.class_names,
        samples=samples,
        majority=_majority(first),
        scaling=options.scaling,
        grid=_grid_of(tried for _, tried in probed),
        training=asdict(options),
        provenance=provenance() | {"digests": digests},
        metric=asked.metric,
    )


def probe_sources(
    sources: Sequence[str],
    out: Path,
    settings: Sequence[Hyperparameters] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    force: bool = False,
    announce: Callable[[str], None] = print,
    report: str = "all",
    **options: Any,
) -> Probing:
    """Probe files, folders or data sets and fill the folder `out`: results, tables, figures, page.

    `data` says how all of them are read (see load_feature_sets), `options` are those of probe.
    `report` selects the files drawn: "all", "html" (the page alone) or "none". The probes with all
    labels are stored as models, from which predict, evaluate and export go on. `out` gets all of it
    or, on any error, nothing. `announce` is told what was understood of the data, and of a further
    look at the test split in the same folder.

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
        tested = [draw.test for _, labelled in probing.rows() for draw in labelled.draws]
        if warning := folder.add_look(len(tested), max(tested)):
            announce(warning)
        with progress_bar("drawing the page", None):
            write_probes(probing, folder.path, report)
    return probing


def check_same_rows(feature_sets: Mapping[str, Dataset]) -> None:
    """Raise InputError unless all have the same labels in every split, one to choose and to test.

    Labels are compared by the names of their classes.
    """
    if not feature_sets:
        raise InputError("no feature sets to probe; give at least one")
    (first, reference), *others = feature_sets.items()
    for name, why in (("validation", "to choose a setting on"), ("test", "to judge it on")):
        if name not in reference.splits:
            raise InputError(f"{first}: has no {name} split {why}")
    for other, data in others:
        both = f"{first} and {other} are not of the same rows"
        for split in SPLIT_NAMES:
            expected, found = (_labels(one, split) for one in (reference, data))
            if len(expected) != len(found):
                raise InputError(f"{both}: {len(expected)} and {len(found)} in the {split} split")
            differ = np.flatnonzero(expected != found)
            if differ.size:
                row = differ[0]
                raise InputError(
                    f"{both}: row {row} of the {split} split is of class {expected[row]} in one "
                    f"and {found[row]} in the other"
                )


def _labels(data: Dataset, split: str) -> NDArray[np.str_]:
    """Return the class name of every row of a split, none if there is no such split."""
    y = data.splits[split].y if split in data.splits else np.empty(0, np.intp)
    return np.array(data.class_names)[y]


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


def _grid_of(tried: Iterable[Sequence[Hyperparameters]]) -> tuple[Hyperparameters, ...]:
    """Return all settings that were tried, each once; those that were found, by λ."""
    every = dict.fromkeys(setting for settings in tried for setting in settings)
    return tuple(every)


def _probe_features(
    name: str,
    data: Dataset,
    settings: Sequence[Hyperparameters] | None,
    subsets: Mapping[float, NDArray[np.uint8]],
    shuffles: int,
    metric: Metric,
    options: TrainingOptions,
    machine: Machine,
) -> tuple[FeatureSet, Sequence[Hyperparameters], Classifier]:
    """Return the probes of a feature set, the settings that were tried, and the best's model."""
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
    probes = [_judge(run, model, data) for model in chosen]
    draws = iter(probes)
    by_labels = tuple(
        Labelled(fraction, int(own[0].sum()), tuple(itertools.islice(draws, len(own))))
        for fraction, own in subsets.items()
    )
    control = None
    if shuffles:
        best = probes[-1].setting
        control = _train_controls(name, data, best, scale, shuffles, options, machine)
    tried = settings or sorted(set(run.settings), key=lambda setting: -setting.l2)
    model = model_of(run, chosen[-1])
    metrics = evaluate_model(model, data, metrics=METRICS.values()).intervals(seed=options.seed)
    features = FeatureSet(name, data.n_features, by_labels, control, metrics=metrics)
    return features, tried, model


def _right_rows(model: Classifier, data: Dataset) -> NDArray[np.bool_]:
    """Return which rows of the test split the model is right on."""
    test = data.splits["test"]
    predicted = [model.predict(test.X[rows]) for rows in test.blocks(BLOCK)]
    return np.asarray(np.concatenate(predicted) == test.y)


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
    total = options.epochs if options.solver == "descent" else None
    with progress_bar(f"{title}: epoch", total) as update:
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
    selection = choose(run, models=slice(models.start, models.stop))
    if not selection.informed:
        raise InputError(
            f"{name}: every setting was no longer finite, the first in "
            f"{run.stopped[models.start]}; expected smaller learning rates or --scaling standardise"
        )
    if metric.name == "accuracy":
        return models[selection.chosen]
    sound = [model for model in models if not run.stopped[model]]
    found = [evaluate_model(model_of(run, m), data, "validation", [metric]) for m in sound]
    if why := found[0].left_out.get(metric.name):
        raise InputError(f"{name}: metric {metric.name}: {why}; choose by another one")
    merits = [metric.merit(evaluation.value(metric.name)) for evaluation in found]
    return sound[int(np.argmax(merits))]


def _judge(run: Run, model: int, data: Dataset) -> Probe:
    return Probe(
        run.settings[model],
        train=float(run.final("train_accuracy")[model]),
        validation=float(run.final("validation_accuracy")[model]),
        test=evaluate_model(model_of(run, model), data).accuracy,
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
