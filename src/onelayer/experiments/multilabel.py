"""Linear probes of multi-label data: a probe of two classes for each label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from onelayer.data.dataset import Dataset
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.evaluation.multilabel import (
    LabelFeatures,
    LabelProbe,
    LabelProbing,
    find_choice,
    judge_labels,
)
from onelayer.evaluation.statistics import Interval
from onelayer.progress import progress_bar
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine
from onelayer.training.multilabel import LabelModels, label_model, scores_of, train_labels
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import provenance

OnModel = Callable[[str, Classifier], None]
# A metric of the ranking alone is often best with a λ so large that no probability exceeds 0.5.
DEFAULT = "log-loss"


def probe_labels(
    feature_sets: Mapping[str, Dataset],
    settings: Sequence[Hyperparameters] | None,
    options: TrainingOptions,
    machine: Machine,
    *,
    metric: str | None = None,
    on_model: OnModel | None = None,
) -> LabelProbing:
    """Return the probes of every label on every feature set, and their results on test rows.

    The setting of each label is the first with the best `metric` on the validation split; only its
    model sees the test split.

    Raises
    ------
    InputError
        As train_labels does, or if the metric is not one of a single label.
    """
    metric = metric or DEFAULT
    find_choice(metric)
    first = next(iter(feature_sets.values()))
    probed = [
        _probe_features(name, data, settings, metric, options, machine, on_model)
        for name, data in feature_sets.items()
    ]
    digests = {name: dict(data.digests) for name, data in feature_sets.items()}
    return LabelProbing(
        feature_sets=tuple(probed),
        labels=first.class_names,
        positives={name: tuple(s.y.sum(axis=0).tolist()) for name, s in first.splits.items()},
        samples={name: len(split) for name, split in first.splits.items()},
        scaling=options.scaling,
        training=asdict(options),
        provenance=provenance() | {"digests": digests},
        metric=metric,
    )


def _probe_features(
    name: str,
    data: Dataset,
    settings: Sequence[Hyperparameters] | None,
    metric: str,
    options: TrainingOptions,
    machine: Machine,
    on_model: OnModel | None,
) -> LabelFeatures:
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
    overall, of_labels = _judge(data, found, chosen, scaling, options.seed)
    probes = [LabelProbe(None)] * L
    for label, models in found.items():
        number = chosen[label]
        tried = tuple(setting.l2 for setting in models.settings)
        probes[label] = LabelProbe(
            models.settings[number], of_labels[label], models.shortfalls[number], tried
        )
        if on_model is not None:
            model = label_model(data, models, number, scaling)
            on_model(f"{name}/{data.class_names[label]}", model)
    return LabelFeatures(name, data.n_features, tuple(probes), overall)


def _choose(data: Dataset, label: int, models: LabelModels, metric: str) -> int:
    """Return the first of a label's models with the best metric on the validation split."""
    assert data.validation is not None
    return int(np.argmax(find_choice(metric)(models.scores, data.validation.y[:, label])))


def _judge(
    data: Dataset,
    found: Mapping[int, LabelModels],
    chosen: Mapping[int, int],
    scaling: Scaling,
    seed: int,
) -> tuple[dict[str, Interval], dict[int, dict[str, Interval]]]:
    """Return the metrics of the chosen models on the test split: of all labels, and of each."""
    assert data.test is not None
    W = np.stack([models.weights[chosen[label]] for label, models in found.items()])
    b = np.stack([models.biases[chosen[label]] for label, models in found.items()])
    S = scores_of(data.test, W, b, scaling).T
    overall, of_labels = judge_labels(S, data.test.y[:, [*found]], seed=seed)
    return overall, dict(zip(found, of_labels, strict=True))
