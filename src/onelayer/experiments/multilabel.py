"""Linear probes of multi-label data: a probe of two classes for each label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from onelayer.data.dataset import Dataset
from onelayer.data.scaling import fit_scaling
from onelayer.evaluation.multilabel import (
    LabelFeatures,
    LabelProbe,
    LabelProbing,
    compare_label_sets,
    find_choice,
    judge_labels,
)
from onelayer.evaluation.unfinished import LABELS, ProbedLabels
from onelayer.experiments.probe_options import ProbeOptions, check_several_labels
from onelayer.experiments.probe_training import Probes
from onelayer.progress import progress_bar
from onelayer.thread_pools import limited
from onelayer.training.checkpoint import Asked, Checkpoints
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine
from onelayer.training.multilabel import LabelModels, scores_of, train_labels
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import provenance

# A metric of the ranking alone is often best with a λ so large that no probability exceeds 0.5.
DEFAULT = "log-loss"


def probes_of_labels(
    feature_sets: Mapping[str, Dataset],
    settings: Sequence[Hyperparameters] | None,
    fractions: Sequence[float],
    options: TrainingOptions,
    machine: Machine,
    asked: ProbeOptions,
) -> Probes:
    """Return the probes of several labels a row that these arguments of probe ask for.

    Raises
    ------
    InputError
        If an option needs one class a row, or the metric is not one of a single label.
    """
    first, metric = next(iter(feature_sets.values())), asked.metric or DEFAULT
    check_several_labels(first, fractions, asked)
    find_choice(metric)

    def find(sets: Mapping[str, Dataset], _: Checkpoints) -> Iterator[ProbedLabels]:
        for name, data in sets.items():
            yield _probe_labels(name, data, settings, metric, options, machine)

    return Probes(
        Asked(
            None if settings is None else tuple(settings),
            {LABELS: first.class_names, **asdict(asked), **asdict(options)},
        ),
        find,
        lambda probed: _compare(feature_sets, probed, metric, options),
        provenance,
    )


def _probe_labels(
    name: str,
    data: Dataset,
    settings: Sequence[Hyperparameters] | None,
    metric: str,
    options: TrainingOptions,
    machine: Machine,
) -> ProbedLabels:
    """Return the probes of every label on a feature set, and their results on test rows.

    The setting of each label is the first with the best `metric` on the validation split; only its
    model sees the test split.
    """
    scaling, L = fit_scaling(options.scaling, data), data.n_classes
    with progress_bar(f"{name}: label", L) as update:
        found = train_labels(
            data,
            settings,
            options=options,
            machine=machine,
            scaling=scaling,
            on_label=lambda ended: update(ended, ""),
        )
    chosen = {label: _choose(data, label, models, metric) for label, models in found.items()}
    W = np.stack([models.weights[chosen[label]] for label, models in found.items()])
    b = np.stack([models.biases[chosen[label]] for label, models in found.items()])
    assert data.test is not None
    S = scores_of(data.test, W, b, scaling).T
    overall, of_labels, drawn = judge_labels(S, data.test.y[:, [*found]], seed=options.seed)
    probes = [LabelProbe(None)] * L
    for (label, models), metrics in zip(found.items(), of_labels, strict=True):
        number = chosen[label]
        tried = tuple(setting.l2 for setting in models.settings)
        setting, shortfall = models.settings[number], models.shortfalls[number]
        probes[label] = LabelProbe(setting, metrics, shortfall, tried)
    features = LabelFeatures(name, data.n_features, tuple(probes), overall)
    with limited(machine.threads):
        return ProbedLabels(features, W, b, scaling, drawn, provenance())


def _compare(
    feature_sets: Mapping[str, Dataset],
    probed: Sequence[ProbedLabels],
    metric: str,
    options: TrainingOptions,
) -> LabelProbing:
    """Return the comparison of the probes of all feature sets."""
    first = next(iter(feature_sets.values()))
    drawn = np.stack([each.drawn for each in probed], axis=1)
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    return LabelProbing(
        feature_sets=compare_label_sets([each.features for each in probed], drawn),
        labels=first.class_names,
        positives={name: tuple(s.y.sum(axis=0).tolist()) for name, s in first.splits.items()},
        samples={name: len(split) for name, split in first.splits.items()},
        scaling=options.scaling,
        training=asdict(options),
        provenance=provenance() | {"digests": digests},
        metric=metric,
    )


def _choose(data: Dataset, label: int, models: LabelModels, metric: str) -> int:
    """Return the first of a label's models with the best metric on the validation split."""
    assert data.validation is not None
    return int(np.argmax(find_choice(metric)(models.scores, data.validation.y[:, label])))
