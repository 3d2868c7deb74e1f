"""Linear probes of multi-label data: a probe of two classes for each label."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.data.splitting import rows_of
from onelayer.data.streams import Stream, random_stream
from onelayer.evaluation.multilabel import (
    LabelFeatures,
    LabelledRows,
    LabelProbe,
    LabelProbing,
    MeanPrecision,
    compare_label_sets,
    find_choice,
    judge_labels,
    mean_average_precision,
)
from onelayer.evaluation.unfinished import ProbedLabels
from onelayer.experiments.probe_options import ProbeOptions
from onelayer.experiments.probe_training import provenance_of
from onelayer.experiments.workload import Progress
from onelayer.thread_pools import limited
from onelayer.training.checkpoint import Checkpoints
from onelayer.training.exact.axes import Axes
from onelayer.training.machine import Machine
from onelayer.training.multilabel import (
    LabelModels,
    Settings,
    axes_of_rows,
    scores_of,
    train_labels,
)
from onelayer.training.options import TrainingOptions
from onelayer.training.provenance import provenance

Weights = NDArray[np.floating]


@dataclass(frozen=True)
class _Chosen:
    """One model of each of T labels: W (T, 2, D), b (T, 2), and its probe without metrics."""

    probes: Mapping[int, LabelProbe]
    weights: Weights
    biases: Weights


@dataclass(frozen=True)
class _Labels:
    """The labels of one feature set, which are trained several times on the same axes."""

    data: Dataset
    metric: str
    options: TrainingOptions
    machine: Machine
    scaling: Scaling
    axes: Axes | None

    def train(
        self,
        settings: Settings | Mapping[int, Settings] | None,
        tell: Callable[[float], None],
        weights: NDArray[np.uint8] | None = None,
    ) -> _Chosen:
        """Return the best model of each label; `tell` takes the share that is done."""
        found = train_labels(
            self.data,
            settings,
            options=self.options,
            machine=self.machine,
            scaling=self.scaling,
            weights=weights,
            axes=self.axes,
            on_label=lambda ended: tell(ended / self.data.n_classes),
        )
        probes, W, b = zip(*(self._choose(*each) for each in found.items()), strict=True)
        return _Chosen(dict(zip(found, probes, strict=True)), np.stack(W), np.stack(b))

    def _choose(self, label: int, models: LabelModels) -> tuple[LabelProbe, Weights, Weights]:
        """Return the first of a label's models with the best metric on the validation split."""
        y = self.data.splits["validation"].y[:, label]
        best = int(np.argmax(find_choice(self.metric)(models.scores, y)))
        tried = tuple(setting.l2 for setting in models.settings)
        probe = LabelProbe(models.settings[best], {}, models.shortfalls[best], tried)
        return probe, models.weights[best], models.biases[best]

    def scores(self, chosen: _Chosen, split: Split) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the scores (N, T) and the truth (N, T) of the labels with a model."""
        S = scores_of(split, chosen.weights, chosen.biases, self.scaling).T
        return S, split.y[:, [*chosen.probes]]

    def outcome(self, chosen: _Chosen, weights: NDArray[np.uint8] | None = None) -> MeanPrecision:
        """Return the mean average precision on training rows with a weight, and on test rows."""
        train = self.data.train
        if weights is not None and not weights.all():
            train = rows_of(train, np.flatnonzero(weights))
        splits = train, self.data.splits["test"]
        return MeanPrecision(*(mean_average_precision(*self.scores(chosen, s)) for s in splits))


def probe_labels(
    name: str,
    data: Dataset,
    asked: ProbeOptions,
    options: TrainingOptions,
    machine: Machine,
    progress: Progress,
    checkpoints: Checkpoints,
) -> ProbedLabels:
    """Return the probes of every label on a feature set, and their results on test rows.

    The setting of each label is the first with the best metric on the validation split; only its
    model sees the test split. Nothing is kept in the checkpoints: the exact solver has no epochs.

    Raises
    ------
    InputError
        As train_labels does.
    """
    work, scaling = progress.work, fit_scaling(options.scaling, data)
    more = work.draws + work.shuffles > 1
    with limited(machine.threads):
        axes = axes_of_rows(data, scaling) if more else None
        labels = _Labels(data, asked.chooses_labels_by, options, machine, scaling, axes)
        whole, by_labels = _train_fractions(name, labels, progress, judge=more)
        control = _train_controls(name, labels, whole, progress) if work.shuffles else None
        S, Y = labels.scores(whole, data.splits["test"])
        origin = provenance()
    overall, of_labels, drawn = judge_labels(S, Y, seed=options.seed)
    probes = [LabelProbe(None)] * data.n_classes
    for (label, probe), metrics in zip(whole.probes.items(), of_labels, strict=True):
        probes[label] = replace(probe, metrics=metrics)
    features = LabelFeatures(
        name, data.n_features, tuple(probes), overall, by_labels=by_labels, control=control
    )
    return ProbedLabels(features, whole.weights, whole.biases, scaling, drawn, origin)


def _train_fractions(
    name: str, labels: _Labels, progress: Progress, *, judge: bool
) -> tuple[_Chosen, tuple[LabelledRows, ...]]:
    """Return the models of all rows, and with `judge` the outcomes of every fraction of rows."""
    work, found = progress.work, list[LabelledRows]()
    ends = itertools.pairwise(np.cumsum([0, *work.shares]) / work.shares.sum())
    with progress.part(labels.data, work.passes, name) as tell:
        for fraction, own in work.subsets.items():
            outcomes = []
            for weights in own:
                chosen = labels.train(work.settings, _between(tell, *next(ends)), weights)
                outcomes += [labels.outcome(chosen, weights)] if judge else []
            found.append(LabelledRows(fraction, int(own[0].sum()), tuple(outcomes)))
    return chosen, tuple(found) if judge else ()


def _between(tell: Callable[[float], None], begin: float, end: float) -> Callable[[float], None]:
    """Return a function that takes the done share of a part from `begin` to `end` of the whole."""
    return lambda share: tell(begin + share * (end - begin))


def _train_controls(name: str, labels: _Labels, whole: _Chosen, progress: Progress) -> LabelledRows:
    """Return the outcomes of the same settings on rows of labels in several random orders."""
    data, draws, outcomes = labels.data, progress.work.shuffles, []
    generator = random_stream(labels.options.seed, Stream.SHUFFLED_LABELS)
    settings = {label: [probe.setting] for label, probe in whole.probes.items() if probe.setting}
    for number in range(1, draws + 1):
        Y = generator.permutation(data.train.y)  # whole rows: labels that go together stay so
        shuffled = replace(labels, data=replace(data, train=replace(data.train, y=Y)))
        with progress.part(data, 1, f"{name}, shuffled labels {number} of {draws}") as tell:
            outcomes.append(shuffled.outcome(shuffled.train(settings, tell)))
    return LabelledRows(1.0, len(data.train), tuple(outcomes))


def compare_labels(
    feature_sets: Mapping[str, Dataset],
    probed: Sequence[ProbedLabels],
    settings: Settings | None,
    asked: ProbeOptions,
    options: TrainingOptions,
) -> LabelProbing:
    """Return the comparison of the probes of all feature sets."""
    first = next(iter(feature_sets.values()))
    drawn = np.stack([each.drawn for each in probed], axis=1)
    return LabelProbing(
        feature_sets=compare_label_sets([each.features for each in probed], drawn),
        labels=first.class_names,
        positives={name: tuple(s.y.sum(axis=0).tolist()) for name, s in first.splits.items()},
        samples={name: len(split) for name, split in first.splits.items()},
        scaling=options.scaling,
        training=asdict(options),
        provenance=provenance_of(feature_sets, probed),
        metric=asked.chooses_labels_by,
    )
