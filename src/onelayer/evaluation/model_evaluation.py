"""Evaluation of a single model on a split of any data set with its classes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import as_seen
from onelayer.data.dataset import BLOCK, Dataset, find_split
from onelayer.errors import InputError
from onelayer.evaluation.calibration import Reliability, bin_confidences
from onelayer.evaluation.confusions import Confusions, accuracies
from onelayer.evaluation.foreign import ForeignPredictions
from onelayer.evaluation.metrics import Metric, intervals, value_of
from onelayer.evaluation.per_class import ClassScores, class_scores
from onelayer.evaluation.predictions import MOST_SCORES
from onelayer.evaluation.statistics import RESAMPLES, Interval, Statistic, wilson_interval
from onelayer.model import network
from onelayer.training.classifier import Classifier

Array = NDArray[Any]
Keep = Callable[..., Array]  # of each row, as Metric.rows


@dataclass(frozen=True)
class ModelEvaluation:
    """The counted predictions of a model on a split; `right` (N,) marks the right rows.

    `reliability` compares confidence with accuracy; None for a loss without probabilities.
    `statistics` are the metrics that were asked for, by name; `left_out` has the reason for each
    one that is missing.
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
        """C (K, K): C[i, j] counts the rows of class i that the model predicts as class j."""
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
        """Return the value of one of the metrics that were asked for."""
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
    """Count the predictions of `model` on a split of `data`; classes and columns match by name.

    A metric is left out if it needs probabilities and the loss has none, if it is not defined for
    so few classes, or if it must keep more than MOST_SCORES scores.

    Raises
    ------
    InputError
        If there is no such split, a class is not one of the model's, or the features differ.
    """
    samples = find_split(data, split)
    places, columns = _find_classes(model, data), _find_columns(model, data)

    def answer(rows: slice) -> tuple[Array, Array | None]:
        try:
            S = model.scores(samples.X[rows][:, columns], rows.start)
        except InputError as error:
            raise InputError(f"{data.name}: {split} split: {error}") from error
        return S, None if model.link is None else model.link.probabilities(S)

    K, lacks = len(model.class_names), "" if model.link else "the loss has no probabilities"
    asked = _Asked(metrics, K, len(samples), lambda m: lacks if "scores" not in m.takes else "")
    return _evaluate(data, split, model.class_names, places[samples.y], answer, asked)


def evaluate_predictions(
    predictions: ForeignPredictions, data: Dataset, split: str, metrics: Iterable[Metric] = ()
) -> ModelEvaluation:
    """Count predictions of another program on a split of `data`.

    For predicted labels alone, only metrics of labels are computed.
    """
    K, samples = data.n_classes, find_split(data, split)
    P = predictions.probabilities

    def answer(rows: slice) -> tuple[Array | None, Array | None]:
        return (np.eye(K)[predictions.called[rows]], None) if P is None else (None, P[rows])

    lacks = "takes more than labels" if P is None else ""
    asked = _Asked(metrics, K, len(samples), lambda m: lacks if not m.of_labels else "")
    return _evaluate(data, split, data.class_names, samples.y, answer, asked)


class _Asked:
    """The metrics that were asked for: those to compute, and the reasons to leave out others."""

    def __init__(
        self, metrics: Iterable[Metric], K: int, rows: int, lacks: Callable[[Metric], str]
    ) -> None:
        asked = list(metrics)
        reasons = {metric.name: lacks(metric) or _why_not(metric, K, rows) for metric in asked}
        self.left_out = {name: why for name, why in reasons.items() if why}
        self.metrics = [metric for metric in asked if metric.name not in self.left_out]


def _evaluate(
    data: Dataset,
    split: str,
    class_names: tuple[str, ...],
    y: NDArray[np.intp],
    answer: Callable[[slice], tuple[Array | None, Array | None]],
    asked: _Asked,
) -> ModelEvaluation:
    """Count predictions from the scores, probabilities or both that `answer` returns for rows."""
    predicted, confidence, likeliest = [], [], []
    kept: dict[Keep, list[Array]] = {metric.rows: [] for metric in asked.metrics}
    chooses: dict[Keep, Callable[..., Any]] = {m.rows: m.choose for m in asked.metrics}
    for rows in data.splits[split].blocks(BLOCK):
        S, P = answer(rows)
        known = P if S is None else S
        assert known is not None  # one of both
        predicted.append(network.predictions(known))
        if P is not None:
            confidence.append(P.max(axis=1))
            likeliest.append(network.predictions(P))
        for keep, blocks in kept.items():  # metrics that keep the same share it
            blocks.append(keep(chooses[keep](S, P), y[rows]))
    called = np.concatenate(predicted)
    calibration = None
    if confidence:
        likely_right = np.concatenate(likeliest) == y
        calibration = bin_confidences(np.concatenate(confidence), likely_right)
    whole = {keep: np.concatenate(blocks) for keep, blocks in kept.items()}
    return ModelEvaluation(
        data.name,
        split,
        class_names,
        Confusions.of_rows(y, called, len(class_names)),
        calibration,
        called == y,
        {metric.name: metric.statistic(whole[metric.rows], y) for metric in asked.metrics},
        asked.left_out,
    )


def _why_not(metric: Metric, K: int, rows: int) -> str:
    """Return the reason to leave out a metric for K classes and these rows, or ""."""
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
