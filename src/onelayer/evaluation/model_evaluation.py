"""What a single model is worth on a split of any data set with its classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import as_seen
from onelayer.data.dataset import BLOCK, SPLIT_NAMES, Dataset
from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.calibration import Reliability, bin_confidences
from onelayer.evaluation.metrics import Confusions, accuracies
from onelayer.evaluation.per_class import ClassScores, class_scores
from onelayer.evaluation.statistics import wilson_interval
from onelayer.model import network
from onelayer.training.classifier import Classifier


@dataclass(frozen=True)
class ModelEvaluation:
    """What a model calls the rows of a split, counted.

    `reliability` compares confidence with accuracy; None for a loss without probabilities.
    """

    data: str
    split: str
    class_names: tuple[str, ...]
    counts: Confusions
    reliability: Reliability | None

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

    @property
    def class_scores(self) -> ClassScores:
        """Precision, recall and F1 of each class."""
        return class_scores(self.counts[0])


def evaluate_model(model: Classifier, data: Dataset, split: str = "test") -> ModelEvaluation:
    """Count what `model` predicts on a split of `data`; classes and columns go by their names.

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
    try:
        for rows in samples.blocks(BLOCK):
            S = model.scores(samples.X[rows][:, columns], rows.start)
            predicted.append(network.predictions(S))
            if model.link is not None:
                P = model.link.probabilities(S)
                confidence.append(P.max(axis=1))
                likeliest.append(network.predictions(P))
    except InputError as error:
        raise InputError(f"{data.name}: {split} split: {error}") from error
    counts = Confusions.of_rows(y, np.concatenate(predicted), K)
    calibration = None
    if model.link is not None:
        right = np.concatenate(likeliest) == y
        calibration = bin_confidences(np.concatenate(confidence), right)
    return ModelEvaluation(data.name, split, model.class_names, counts, calibration)


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
