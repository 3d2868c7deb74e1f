"""What a single model is worth on a split of any data set with its classes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import as_seen
from onelayer.data.dataset import BLOCK, SPLIT_NAMES, Dataset
from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.calibration import Reliability, bin_confidences
from onelayer.evaluation.confusions import Confusions, accuracies
from onelayer.evaluation.metrics import Metric, intervals, value_of
from onelayer.evaluation.per_class import ClassScores, class_scores
from onelayer.evaluation.predictions import MOST_SCORES
from onelayer.evaluation.statistics import RESAMPLES, Interval, Statistic, wilson_interval
from onelayer.model import network
from onelayer.training.classifier import Classifier

Keep = Callable[..., NDArray[Any]]  # of each row, as Metric.rows


@dataclass(frozen=True)
class ModelEvaluation:
    """What a model calls the rows of a split, counted; `right` (N,) says of which it is right.

    `reliability` compares confidence with accuracy; None for a loss without probabilities.
    `statistics` are the metrics that were asked for, by their names; `left_out` says why one of
    them is none of these.
    """

    data: str
    split: str
    class_names: tuple[str, ...]
    counts: Confusions
    reliability: Reliability | None
    right: NDArray[np.bool_]
    statistics: Mapping[str, Statistic] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def confusion(self) -> NDArray[np.intp]:
        """C (K, K): C[i, j] rows of class i that the model calls class j."""
        return np.asarray(self.counts[0].toarray())

    @property
    def samples(self) -> int:
        """N, the number of rows."""
        return int(self.counts.samples[0])

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(accuracies(self.counts)[0])

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.accuracy, self.samples)

    def value(self, metric: str) -> float:
        """Return a metric of those that were asked for."""
        return value_of(self.statistics[metric], self.samples)

    def intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
        """Return each metric that was asked for with its 95 % interval: see metrics.intervals."""
        return intervals(self.statistics, self.samples, resamples, seed)

    @property
    def class_scores(self) -> ClassScores:
        """Precision, recall and F1 of each class."""
        return class_scores(self.counts[0])


def evaluate_model(
    model: Classifier, data: Dataset, split: str = "test", metrics: Iterable[Metric] = ()
) -> ModelEvaluation:
    """Count what `model` predicts on a split of `data`; classes and columns go by their names.

    Of the `metrics`, those are left out that take probabilities where the loss has none, that say
    nothing of so few classes, or that must keep more than MOST_SCORES scores.

    Raises
    ------
    InputError
        If there is no such split, a class is none of the model's, or the features are others.
    """
    if split not in SPLIT_NAMES:
        raise unknown_name("split", split, SPLIT_NAMES)
    if split not in data.splits:
        raise InputError(f"{data.name}: has no {split} split, only {', '.join(data.splits)}")
    samples, K = data.splits[split], len(model.class_names)
    places = _find_classes(model, data)
    columns = _find_columns(model, data)
    y = places[samples.y]
    predicted, confidence, likeliest = [], [], []
    asked = list(metrics)
    left_out = {m.name: why for m in asked if (why := _why_not(m, model, len(samples)))}
    chosen = [metric for metric in asked if metric.name not in left_out]
    kept: dict[Keep, list[NDArray[Any]]] = {metric.rows: [] for metric in chosen}
    chooses: dict[Keep, Callable[..., Any]] = {metric.rows: metric.choose for metric in chosen}
    try:
        for rows in samples.blocks(BLOCK):
            S = model.scores(samples.X[rows][:, columns], rows.start)
            predicted.append(network.predictions(S))
            P = None
            if model.link is not None:
                P = model.link.probabilities(S)
                confidence.append(P.max(axis=1))
                likeliest.append(network.predictions(P))
            for keep, blocks in kept.items():  # metrics that keep the same share it
                blocks.append(keep(chooses[keep](S, P), y[rows]))
    except InputError as error:
        raise InputError(f"{data.name}: {split} split: {error}") from error
    called = np.concatenate(predicted)
    counts = Confusions.of_rows(y, called, K)
    calibration = None
    if model.link is not None:
        likely_right = np.concatenate(likeliest) == y
        calibration = bin_confidences(np.concatenate(confidence), likely_right)
    whole = {keep: np.concatenate(blocks) for keep, blocks in kept.items()}
    statistics = {metric.name: metric.statistic(whole[metric.rows], y) for metric in chosen}
    return ModelEvaluation(
        data.name,
        split,
        model.class_names,
        counts,
        calibration,
        called == y,
        statistics,
        left_out,
    )


def _why_not(metric: Metric, model: Classifier, rows: int) -> str:
    """Return why a model has no such metric of so many rows; nothing if it has."""
    K = len(model.class_names)
    if model.link is None and "scores" not in metric.takes:
        return "the loss has no probabilities"
    if metric.fewest_classes > K:
        return f"takes {metric.fewest_classes} classes"
    if metric.keeps_all and rows * K > MOST_SCORES:
        return f"more than {MOST_SCORES:,} scores"
    return ""


def _find_columns(model: Classifier, data: Dataset) -> slice | list[int]:
    """Return the columns of X that hold the model's features: by name, where both have names."""
    if model.columns is not None and data.columns is not None:
        if data.columns.features != model.columns.features:
            return model.columns.places_in(data.name, data.columns.features)
    elif data.n_features != model.n_features:
        raise InputError(
            f"{data.name}: samples of {data.n_features:,} features, the model was trained on "
            f"{model.n_features:,}"
        )
    return slice(None)


def _find_classes(model: Classifier, data: Dataset) -> NDArray[np.intp]:
    """Return the model's class index of each class of `data`."""
    places = {as_seen(name): k for k, name in enumerate(model.class_names)}
    for name in data.class_names:
        if as_seen(name) not in places:
            known = ", ".join(model.class_names[:5]) + ", …" * (len(model.class_names) > 5)
            raise InputError(
                f"{data.name}: the class {name!r} is none of those the model knows: {known}"
            )
    return np.array([places[as_seen(name)] for name in data.class_names], np.intp)
