"""What linear probes of several feature sets over the same rows are worth."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.errors import InputError
from onelayer.evaluation.statistics import Spread, spread, wilson_interval
from onelayer.storage import atomic_file
from onelayer.training.hyperparameters import Hyperparameters

FILE = "probe.json"
FORMAT = 1


@dataclass(frozen=True)
class Probe:
    """One probe: its setting, and its accuracies on the rows it learnt from and on two splits."""

    setting: Hyperparameters
    train: float
    validation: float
    test: float


@dataclass(frozen=True)
class Labelled:
    """The probes on `labels` training rows, a `fraction` of all: one for each draw.

    What is drawn is which rows these are, or which row gets which label.
    """

    fraction: float
    labels: int
    draws: tuple[Probe, ...]

    @property
    def test(self) -> Spread:
        """The test accuracies over the draws, each field (1,)."""
        return spread(np.array([[draw.test] for draw in self.draws]))

    @property
    def train(self) -> float:
        """The mean accuracy on the labelled rows."""
        return float(np.mean([draw.train for draw in self.draws]))

    @property
    def validation(self) -> float:
        """The mean accuracy on the validation split."""
        return float(np.mean([draw.validation for draw in self.draws]))


@dataclass(frozen=True)
class FeatureSet:
    """A feature set of D `n_features`: probes by the fraction of labels, the last with all of them.

    Each probe has the setting that did best on the validation split. `control` is, if it was asked
    for, the last one's setting trained on shuffled labels: its `train` accuracies are of those
    labels, its `validation` and `test` accuracies of the true ones.
    """

    name: str
    n_features: int
    by_labels: tuple[Labelled, ...]
    control: Labelled | None

    @property
    def probe(self) -> Probe:
        """The probe with all labels."""
        return self.by_labels[-1].draws[0]

    @property
    def selectivity(self) -> float | None:
        """Test accuracy less the mean of the control's."""
        if self.control is None:
            return None
        return float(self.probe.test - self.control.test.mean[0])


@dataclass(frozen=True)
class Probing:
    """Everything that tables, figures and the page of `onelayer probe` are made from.

    `samples` are the rows of each split, `majority` the share of test rows that are of the most
    frequent training class, `grid` the settings that were tried, `protocol` how they were trained.
    """

    feature_sets: tuple[FeatureSet, ...]
    class_names: tuple[str, ...]
    samples: Mapping[str, int]
    majority: float
    scaling: str
    grid: tuple[Hyperparameters, ...]
    protocol: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def interval(self, accuracy: float) -> tuple[float, float]:
        """Return Wilson's 95 % interval of an accuracy on the test split."""
        return wilson_interval(accuracy, self.samples["test"])

    def rows(self) -> Iterator[tuple[FeatureSet, Labelled]]:
        """Yield every feature set with each fraction of labels."""
        for features in self.feature_sets:
            for labelled in features.by_labels:
                yield features, labelled

    def save(self, folder: Path) -> None:
        """Write probe.json into `folder`, whole or not at all."""
        record = {"format": FORMAT, **asdict(self)}
        with atomic_file(folder / FILE) as path:
            path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_probing(folder: Path) -> Probing:
    """Read what Probing.save wrote.

    Raises
    ------
    InputError
        If the file cannot be read; names it.
    """
    path = folder / FILE
    try:
        record = json.loads(path.read_text("utf-8"))
        if record.pop("format") != FORMAT:
            raise InputError(f"{path}: expected format {FORMAT}")
        sets = tuple(_feature_set(entry) for entry in record.pop("feature_sets"))
        if not sets:
            raise InputError(f"{path}: holds no feature sets")
        grid = tuple(Hyperparameters(**setting) for setting in record.pop("grid"))
        names = tuple(record.pop("class_names"))
        return Probing(feature_sets=sets, grid=grid, class_names=names, **record)
    except (OSError, RecursionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not results of probes that can be read ({error!r})") from error


def _feature_set(entry: Mapping[str, Any]) -> FeatureSet:
    by_labels = tuple(map(_labelled, entry["by_labels"]))
    control = entry["control"] and _labelled(entry["control"])
    return FeatureSet(entry["name"], entry["n_features"], by_labels, control)


def _labelled(entry: Mapping[str, Any]) -> Labelled:
    return Labelled(entry["fraction"], entry["labels"], tuple(map(_probe, entry["draws"])))


def _probe(entry: Mapping[str, Any]) -> Probe:
    figures = {name: float(entry[name]) for name in ("train", "validation", "test")}
    return Probe(Hyperparameters(**entry["setting"]), **figures)
