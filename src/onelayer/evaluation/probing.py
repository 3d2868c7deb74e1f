"""Results of linear probes of several feature sets over the same rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.evaluation.comparison import holm_against, mcnemar_test
from onelayer.evaluation.metrics import find_metric
from onelayer.evaluation.optimism import Optimism
from onelayer.evaluation.per_class import ClassScores
from onelayer.evaluation.statistics import Interval, Spread, spread, wilson_interval
from onelayer.faces import face
from onelayer.option import build
from onelayer.records import FINITE, SHARE, Kind, Within, only_more_fields
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.options import TrainingOptions


@dataclass(frozen=True)
class Probe:
    """One probe: its setting, and its accuracies on its training rows and on two splits."""

    setting: Hyperparameters
    train: Annotated[float, SHARE]
    validation: Annotated[float, SHARE]
    test: Annotated[float, SHARE]


@dataclass(frozen=True)
class Tried:
    """A setting, and its value of the metric that chooses, on the validation split."""

    setting: Hyperparameters
    value: Annotated[float, FINITE]


class Outcome(Protocol):
    """The value of one metric on the training rows of a draw and on the test split."""

    @property
    def train(self) -> float:
        """The value on the training rows."""

    @property
    def test(self) -> float:
        """The value on the test split."""


@dataclass(frozen=True)
class Drawn:
    """The outcomes of training on `labels` rows, a `fraction` of all: one for each draw.

    A draw chooses these rows or, for a control, shuffles the labels.
    """

    fraction: Annotated[float, SHARE]
    labels: Annotated[int, Within(1)]
    draws: tuple[Outcome, ...]

    @property
    def test(self) -> Spread:
        """The metric on the test split over the draws, each field (1,)."""
        return spread(np.array([[draw.test] for draw in self.draws]))

    @property
    def train(self) -> float:
        """The mean of the metric on the labelled rows."""
        return float(np.mean([draw.train for draw in self.draws]))


@dataclass(frozen=True)
class Labelled(Drawn):
    """The probes on `labels` training rows, a `fraction` of all, and their accuracies."""

    draws: tuple[Probe, ...]

    @property
    def validation(self) -> float:
        """The mean accuracy on the validation split."""
        return float(np.mean([draw.validation for draw in self.draws]))


@dataclass(frozen=True)
class ClassCounts:
    """The numbers of right, predicted and true rows of each class, each (K,).

    Raises
    ------
    InputError
        If the counts do not match.
    """

    right: tuple[int, ...]
    predicted: tuple[int, ...]
    support: tuple[int, ...]

    def __post_init__(self) -> None:
        K = len(self.right)
        if not len(self.predicted) == len(self.support) == K:
            raise InputError("counts of other numbers of classes")
        for right, *whole in zip(self.right, self.predicted, self.support, strict=True):
            if not 0 <= right <= min(whole):
                raise InputError(f"{right} right rows of a class of {whole[1]}, {whole[0]} called")

    @classmethod
    def of(cls, scores: ClassScores) -> "ClassCounts":
        """Return the counts behind the scores (K,)."""
        counts = (scores.right, scores.predicted, scores.support)
        return cls(*(tuple(each.tolist()) for each in counts))

    @property
    def scores(self) -> ClassScores:
        """Precision, recall and F1 of each class."""
        return ClassScores(*(np.array(each) for each in vars(self).values()))


@dataclass(frozen=True)
class FeatureSet:
    """A feature set of D `n_features`: probes by the fraction of labels, the last with all of them.

    Each probe has the setting that did best on the validation split. `control`, if it was asked
    for, is the setting of the last probe trained on shuffled labels: its `train` accuracies are for
    those labels, its `validation` and `test` accuracies for the true ones. `p` is the p-value of
    McNemar's test against the feature set with the best probe, on the same test rows and corrected
    for all pairs of feature sets (Holm); None for the best one. `metrics` are those of the probe on
    the test split, by name, without those that its loss or its classes do not allow. `classes`
    counts the test rows of each class, `optimism` is that of the best setting, and `tried` are all
    settings that did not diverge, with all labels; these are None or empty in a file of an earlier
    format.
    """

    name: str
    n_features: Annotated[int, Within(1)]
    by_labels: tuple[Labelled, ...]
    control: Labelled | None
    p: Annotated[float, SHARE] | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    classes: ClassCounts | None = None
    optimism: Optimism | None = None
    tried: tuple[Tried, ...] = ()

    @property
    def probe(self) -> Probe:
        """The probe with all labels."""
        return self.by_labels[-1].draws[0]

    @property
    def selectivity(self) -> float | None:
        """The test accuracy minus the mean test accuracy of the control."""
        if self.control is None:
            return None
        return float(self.probe.test - self.control.test.mean[0])


@dataclass(frozen=True)
class Probing:
    """The results of `onelayer probe`, from which its tables, figures and page are made.

    `samples` are the numbers of rows of each split, `majority` the share of test rows that are of
    the most frequent training class, `grid` the settings that were tried, `training` the options of
    their training, and `metric` the name of the metric that chose among them. With `refit` the
    setting chosen with all labels was trained again on training and validation rows before it was
    tested; its `train` and `validation` accuracies are those of the choice. `optimism` is that of
    the best of all settings of all feature sets.

    Raises
    ------
    InputError
        If there is no feature set, one has no probe, or the size of a split is missing.
    """

    feature_sets: tuple[FeatureSet, ...]
    class_names: tuple[str, ...]
    samples: Mapping[str, Annotated[int, Within(1)]]
    majority: Annotated[float, SHARE]
    scaling: str
    grid: tuple[Hyperparameters, ...]
    training: Mapping[str, Any]
    provenance: Mapping[str, Any]
    metric: str = "accuracy"
    refit: bool = False
    optimism: Optimism | None = None

    def __post_init__(self) -> None:
        find_metric(self.metric)
        drawn = [len(labelled.draws) for _, labelled in self.rows()]
        if not drawn or not all(drawn) or not all(one.by_labels for one in self.feature_sets):
            raise InputError("feature sets without a probe")
        if missing := {"train", "validation", "test"} - self.samples.keys():
            raise InputError(f"samples: no number of {', '.join(sorted(missing))} samples")
        object.__setattr__(self, "training", vars(build(TrainingOptions, self.training)))
        for name in ("onelayer", "cpu"):
            if not isinstance(self.provenance.get(name), str):
                raise InputError(f"provenance: {name} is missing or no text")
        for features, labelled in self.rows():
            if not {draw.setting for draw in labelled.draws} <= {*self.grid}:
                raise InputError(f"feature_sets: {features.name[:40]!r} has a setting of no grid")
        for features in self.feature_sets:
            if features.classes and len(features.classes.right) != len(self.class_names):
                raise InputError(
                    f"feature_sets: {features.name[:40]!r} has scores of other classes"
                )

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: the table of feature sets."""

    @property
    def preferred(self) -> int:
        """The number of the feature set with the best validation accuracy, the first of equals."""
        sets = self.feature_sets
        return max(range(len(sets)), key=lambda number: sets[number].probe.validation)

    def interval(self, accuracy: float) -> tuple[float, float]:
        """Return Wilson's 95 % interval of an accuracy on the test split."""
        return wilson_interval(accuracy, self.samples["test"])

    @property
    def tested(self) -> list[float]:
        """The accuracy of every probe on the test split."""
        return [draw.test for _, labelled in self.rows() for draw in labelled.draws]

    def rows(self) -> Iterator[tuple[FeatureSet, Labelled]]:
        """Yield every feature set with each fraction of labels."""
        for features in self.feature_sets:
            for labelled in features.by_labels:
                yield features, labelled


def compare_with_best(
    feature_sets: Sequence[FeatureSet], right: NDArray[np.bool_]
) -> tuple[FeatureSet, ...]:
    """Return the feature sets with their p against the best, from their right test rows (N, S).

    The best one has the most right test rows; of equal ones it is the first.
    """
    best = int(right.sum(axis=0).argmax())
    p = holm_against(mcnemar_test(right).p, best)
    return tuple(replace(one, p=value) for one, value in zip(feature_sets, p, strict=True))


PROBING = Kind("probes", Probing, format=4, upgrades={2: only_more_fields, 3: only_more_fields})
