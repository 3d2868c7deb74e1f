"""The probes of a feature set: trained, chosen by validation, judged on the test split."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.catalog import without_validation
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import DivergedError, InputError
from onelayer.evaluation.metrics import METRICS, Metric
from onelayer.evaluation.model_evaluation import ModelEvaluation, evaluate_model
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
from onelayer.evaluation.selection import check_choice, choose
from onelayer.evaluation.unfinished import Finished, Probed
from onelayer.experiments.probe_options import ProbeOptions
from onelayer.experiments.workload import Progress
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.training.checkpoint import NOWHERE, Checkpoints
from onelayer.training.classifier import Classifier, model_of
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Curves
from onelayer.training.loop import train
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.path import follow_paths
from onelayer.training.provenance import elsewhere, place_of
from onelayer.training.run import Run


def provenance_of(
    feature_sets: Mapping[str, Dataset], probed: Sequence[Finished]
) -> dict[str, Any]:
    """Return the provenance of the first feature set, and how that of the others differs."""
    here = place_of(probed[0].provenance)
    differs = "; ".join(
        f"{each.features.name}: {words}"
        for each in probed
        for words in elsewhere(each.provenance, here)
    )
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    return here | {"digests": digests} | ({"elsewhere": differs} if differs else {})


def probe_features(
    name: str,
    data: Dataset,
    asked: ProbeOptions,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
    checkpoints: Checkpoints = NOWHERE,
) -> Probed:
    """Return the probes of a feature set: only the chosen ones see the test split, once."""
    work, scale = progress.work, fit_scaling(options.scaling, data)
    rows = rows_to_choose(len(data.splits["validation"]), len(data.splits["test"]))
    run, models = _train_subsets(name, data, asked, options, machine, progress, scale, checkpoints)
    chosen, values, seen = list[int](), dict[int, float](), dict[int, ModelEvaluation]()
    for some in models:  # what is known of the last, which has all labels, is needed further down
        model, values, seen = _choose(name, run, some, data, METRICS[asked.chooses_by])
        chosen.append(model)
    best = model_of(run, chosen[-1])
    if asked.refit:
        found, kept = run.settings[chosen[-1]], checkpoints.of("refit")
        best = _refit(name, data, found, options, machine, progress, kept)
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
        for fraction, own in work.subsets.items()
    )
    control = None
    if work.shuffles:
        control = _train_controls(
            name, data, probes[-1].setting, scale, options, machine, progress, checkpoints
        )
    metrics = judged.intervals(seed=options.seed)
    tried = (seen.get(m) or evaluate_model(model_of(run, m), data, "validation") for m in values)
    halves = best_of_halves(np.stack([each.right for each in tried], axis=1), rows, options.seed)
    features = FeatureSet(
        name,
        data.n_features,
        by_labels,
        control,
        metrics=metrics,
        classes=ClassCounts.of(judged.class_scores),
        optimism=optimism_of([halves], len(values), rows),
        tried=tuple(Tried(run.settings[model], value) for model, value in values.items()),
    )
    return Probed(features, run.settings, judged.right, halves, best, run.provenance)


def _train_subsets(
    name: str,
    data: Dataset,
    asked: ProbeOptions,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
    scale: Scaling,
    checkpoints: Checkpoints,
) -> tuple[Run, list[list[int]]]:
    """Return the models of all subsets of the labels, and the numbers of those of each subset."""
    work = progress.work
    settings, weights = work.settings, np.concatenate([*work.subsets.values()])
    with progress.part(data, work.passes, name) as tell:
        if settings is None:
            done = np.cumsum([0, *work.shares]) / work.shares.sum()
            return follow_paths(
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
        M, R = len(settings), len(weights)
        every = np.repeat(weights, M, axis=0) if R > 1 else None
        kept = checkpoints.of("training")
        run = _train(data, list(settings) * R, scale, options, machine, tell, kept, every)
        return run, [list(range(M * r, M * (r + 1))) for r in range(R)]


def _train(
    data: Dataset,
    settings: list[Hyperparameters],
    scale: Scaling,
    options: TrainingOptions,
    machine: Machine,
    tell: Callable[[float], None],
    checkpoints: Checkpoints,
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
        folder=checkpoints,
    )


def _refit(
    name: str,
    data: Dataset,
    setting: Hyperparameters,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
    checkpoints: Checkpoints,
) -> Classifier:
    """Return the model of the setting on training and validation rows: λ N stays what it was."""
    both = without_validation(data)
    same = replace(setting, l2=setting.l2 * len(data.train) / len(both.train))
    scale = fit_scaling(options.scaling, both)
    with progress.part(data, 1, f"{name}, also validation rows") as tell:
        return model_of(_train(both, [same], scale, options, machine, tell, checkpoints))


def _choose(
    name: str, run: Run, models: Sequence[int], data: Dataset, metric: Metric
) -> tuple[int, dict[int, float], dict[int, ModelEvaluation]]:
    """Return the one of `models` with the best metric on validation, the first of equals.

    Also returns this metric for each model that did not diverge, and the evaluations that it took:
    none for the accuracy, which the run knows.
    """
    try:
        check_choice(run, models)
    except DivergedError as error:
        raise DivergedError(f"{name}: {error}") from error
    selection = choose(run, models=models)
    sound = [model for model in models if not run.stopped[model]]
    if metric.name == "accuracy":
        found = run.final("validation_accuracy")[sound].tolist()
        return models[selection.chosen], dict(zip(sound, found, strict=True)), {}
    judged = {m: evaluate_model(model_of(run, m), data, "validation", [metric]) for m in sound}
    if why := judged[sound[0]].left_out.get(metric.name):
        raise InputError(f"{name}: metric {metric.name}: {why}; choose by another one")
    values = {model: one.value(metric.name) for model, one in judged.items()}
    return max(values, key=lambda model: metric.merit(values[model])), values, judged


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
    checkpoints: Checkpoints,
) -> Labelled:
    """Return the probes of the setting on training labels in several random orders."""
    draws = progress.work.shuffles
    generator, probes = random_stream(options.seed, Stream.SHUFFLED_LABELS), []
    for number in range(1, draws + 1):
        labels = generator.permutation(data.train.y)
        shuffled = replace(data, train=replace(data.train, y=labels))
        with progress.part(data, 1, f"{name}, shuffled labels {number} of {draws}") as tell:
            kept = checkpoints.of(f"control-{number}")
            model = model_of(_train(shuffled, [setting], scale, options, machine, tell, kept))
        accuracies = (evaluate_model(model, shuffled, split).accuracy for split in SPLIT_NAMES)
        on_train, on_validation, on_test = accuracies
        probes.append(Probe(setting, on_train, on_validation, on_test))
    return Labelled(1.0, len(data.train), tuple(probes))


def compare_features(
    feature_sets: Mapping[str, Dataset],
    probed: Sequence[Probed],
    settings: Sequence[Hyperparameters] | None,
    asked: ProbeOptions,
    options: TrainingOptions,
) -> Probing:
    """Return the comparison of the probes of all feature sets."""
    first = next(iter(feature_sets.values()))
    found = {setting for each in probed for setting in each.settings}
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
        provenance=provenance_of(feature_sets, probed),
        metric=asked.chooses_by,
        refit=asked.refit,
        optimism=optimism_of([each.halves for each in probed], models, rows),
    )


def _majority(data: Dataset) -> float:
    """Return the share of test rows in the most frequent training class."""
    frequent = np.bincount(data.train.y).argmax()
    return float((data.splits["test"].y == frequent).mean())
