"""Results of linear probes on multi-label data: each label alone, and all together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.multilabel import has_both
from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.comparison import bootstrap_z_test, holm_against
from onelayer.evaluation.one_versus_rest import (
    AUROC,
    AVERAGE_PRECISION,
    EXACT,
    Area,
    Ranked,
    first_order,
)
from onelayer.evaluation.per_class import mean_of_known, ratio
from onelayer.evaluation.probing import Drawn
from onelayer.evaluation.statistics import RESAMPLES, Interval, percentiles, resampled
from onelayer.faces import face
from onelayer.option import build
from onelayer.records import SHARE, Kind, Within, only_more_fields
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.options import TrainingOptions
from onelayer.training.path import MATTERS

OVERALL = {
    "map": "mAP",
    "micro-f1": "micro-F1",
    "macro-f1": "macro-F1",
    "auroc": "mean AUROC",
    "accuracy": "accuracy",
}
OF_LABEL = {"average-precision": "average precision", "auroc": "AUROC", "f1": "F1"}

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Found = dict[str, Interval]


def _log_loss(S: Array, y: Array) -> Float64:
    """Return minus the log losses; losses within the share MATTERS of the least equal the least."""
    losses: Float64 = np.logaddexp(0, np.where(y, -S, S).astype(np.float64)).mean(axis=1)
    least = losses.min()
    return -np.where(losses <= least * (1 + MATTERS), least, losses)


def _area(area: Area) -> Callable[[Array, Array], Float64]:
    def merits(S: Array, y: Array) -> Float64:
        return area.values(Ranked(S, np.broadcast_to(y, S.shape)), np.ones(len(y), np.intp))

    return merits


# Merits (M,) of M models with scores (M, N) for one label y (N,), 0 or 1; larger is better.
CHOICES: Mapping[str, Callable[[Array, Array], Float64]] = {
    "average-precision": _area(AVERAGE_PRECISION),
    "auroc": _area(AUROC),
    "accuracy": lambda S, y: np.mean((S > 0) == y, axis=1),
    "log-loss": _log_loss,
}


def find_choice(metric: str) -> Callable[[Array, Array], Float64]:
    """Return the function of merits by which a label's λ is chosen, for this metric.

    If all rows have the label, or none, it uses the log loss.

    Raises
    ------
    InputError
        If the metric is not one of a single label.
    """
    if metric not in CHOICES:
        raise unknown_name("metric of several labels a row", metric, CHOICES)

    def merits(S: Array, y: Array) -> Float64:
        return CHOICES[metric if len(has_both(y[:, None])) else "log-loss"](S, y.astype(bool))

    return merits


def judge_labels(
    S: NDArray[np.floating], Y: NDArray[np.integer], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Found, list[Found], Float64]:
    """Return the metrics of scores S (N, L) and labels Y (N, L): of all labels, and of each.

    A label is predicted where its score is above 0, that is where its probability is above 0.5.
    Average precision and AUROC exist for labels that some rows have and others lack, F1 for labels
    that some row has or is predicted to have; the means are over these labels. The accuracy is the
    share of the N L predictions that are right. A metric without a value is missing. Intervals come
    from a bootstrap over rows, with the same resamples for all: see statistics.bootstrap. The last
    array has the mean average precision in each resample, (R,), NaN where it has no value.

    Examples
    --------
    >>> S, Y = np.array([[1.0, -2], [3, 1], [-1, -1]]), np.array([[1, 0], [1, 1], [0, 1]])
    >>> overall, (first, second), _ = judge_labels(S, Y)
    >>> overall["map"].value, first["f1"].value, round(second["f1"].value, 4)
    (1.0, 1.0, 0.6667)
    """
    figures = _Figures(S, Y.astype(bool))
    value = figures(np.ones(len(Y), np.intp))
    drawn = np.array([figures(counts) for counts in resampled(len(Y), resamples, seed)])
    low, high = percentiles(drawn)
    method = f"bootstrap, {resamples:,} resamples"
    found = [
        None if np.isnan(v) else Interval(float(v), float(a), float(b), method)
        for v, a, b in zip(value, low, high, strict=True)
    ]
    L, first = Y.shape[1], len(OVERALL)
    of_labels = [dict(zip(OF_LABEL, found[first + label :: L], strict=True)) for label in range(L)]
    overall = _known(dict(zip(OVERALL, found, strict=False)))
    return overall, list(map(_known, of_labels)), drawn[:, [*OVERALL].index("map")]


def mean_average_precision(S: NDArray[np.floating], Y: NDArray[np.integer]) -> float:
    """Return the mean average precision of scores S (N, L) and labels Y (N, L).

    It is over the labels that some rows have and others lack, NaN without such a label.

    Examples
    --------
    >>> S, Y = np.array([[1.0, -2], [3, 1], [-1, -1]]), np.array([[1, 0], [1, 1], [0, 1]])
    >>> mean_average_precision(S, Y)
    1.0
    """
    once = np.ones(len(Y), np.intp)
    values = [  # label by label, as the order of all would take several times the memory of S
        AVERAGE_PRECISION.values(Ranked(S[None, :, label], Y[None, :, label] == 1), once)[0]
        for label in has_both(Y)
    ]
    return float(mean_of_known(np.array(values)))


def _known(found: Mapping[str, Interval | None]) -> Found:
    return {name: interval for name, interval in found.items() if interval is not None}


class _Figures:
    """All metrics (5 + 3 L,) as a function of the counts of the rows (N,)."""

    def __init__(self, S: Array, Y: NDArray[np.bool_]) -> None:
        called = S > 0
        self._L = Y.shape[1]
        self._counted = np.concatenate([called & Y, called, Y], axis=1).astype(np.float64)
        self._right = (called == Y).mean(axis=1)
        self._known = has_both(Y)
        self._areas = [_areas(a, S, Y, self._known) for a in (AVERAGE_PRECISION, AUROC)]

    def __call__(self, counts: NDArray[np.intp]) -> Float64:
        hits, calls, support = (counts @ self._counted).reshape(3, self._L)
        f1 = ratio(2 * hits, calls + support)
        micro = ratio(2 * hits.sum(), np.array(calls.sum() + support.sum()))
        precision, auroc = np.full((2, self._L), np.nan)
        for filled, area in zip((precision, auroc), self._areas, strict=True):
            filled[self._known] = area(counts)
        means = map(mean_of_known, (f1, auroc))
        overall = [mean_of_known(precision), micro, *means, counts @ self._right / counts.sum()]
        return np.concatenate([overall, precision, auroc, f1])


def _areas(
    area: Area, S: Array, Y: NDArray[np.bool_], known: NDArray[np.intp]
) -> Callable[[Array], Float64]:
    """Return the area of each of the `known` labels as a function of counts (N,).

    With more than EXACT scores a resample gets the area of first order.
    """
    if len(S) * len(known) <= EXACT:
        ranked = Ranked(S[:, known].T, Y[:, known].T)
        return lambda counts: area.values(ranked, counts)
    pairs = [first_order(area, S[:, label], Y[:, label]) for label in known]
    values, slopes = np.array([v for v, _ in pairs]), np.array([each for _, each in pairs])
    return lambda counts: np.clip(values + slopes @ counts / counts.sum(), 0, 1)


@dataclass(frozen=True)
class LabelProbe:
    """The probe of one label: the setting chosen on validation rows, its metrics on test rows.

    A label without a setting could not be learned: all training rows have it, or none. `shortfall`
    is the reason if the least cost was not surely reached, else empty.
    """

    setting: Hyperparameters | None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    shortfall: str = ""
    tried: tuple[float, ...] = ()


@dataclass(frozen=True)
class MeanPrecision:
    """The mean average precision on the training rows of a draw and on the test split."""

    train: Annotated[float, SHARE]
    test: Annotated[float, SHARE]


@dataclass(frozen=True)
class LabelledRows(Drawn):
    """The mean average precision of probes of all labels on `labels` training rows."""

    draws: tuple[MeanPrecision, ...]


@dataclass(frozen=True)
class LabelFeatures:
    """A feature set of D `n_features`: a probe for each label, and metrics of all together.

    `p` is that of the test against the feature set with the highest mean average precision on the
    same test rows, corrected for all pairs (Holm): see compare_label_sets. `by_labels` has
    the fractions of the training rows, the last with all of them, if fractions or a control were
    asked for. `control` is the settings of the probes trained on shuffled rows of labels: its train
    values are for these, its test values for the true ones.
    """

    name: str
    n_features: Annotated[int, Within(1)]
    probes: tuple[LabelProbe, ...]
    metrics: Mapping[str, Interval]
    p: Annotated[float, SHARE] | None = None
    by_labels: tuple[LabelledRows, ...] = ()
    control: LabelledRows | None = None

    @property
    def merit(self) -> float:
        """The mean average precision, −1 where no label has one."""
        return self.metrics["map"].value if "map" in self.metrics else -1.0

    @property
    def selectivity(self) -> float | None:
        """The mean average precision minus the mean of that of the control."""
        return None if self.control is None else float(self.merit - self.control.test.mean[0])


@dataclass(frozen=True)
class LabelProbing:
    """The results of multi-label probes, from which tables and the page are made.

    `labels` are the names of the L labels, `positives` the numbers of rows with each label in each
    split, `samples` the numbers of rows of each split, `training` the options of the training, and
    `metric` the name of the metric that chose each label's λ.

    Raises
    ------
    InputError
        If a part is missing, or has another number of labels.
    """

    feature_sets: tuple[LabelFeatures, ...]
    labels: tuple[str, ...]
    positives: Mapping[str, tuple[int, ...]]
    samples: Mapping[str, Annotated[int, Within(1)]]
    scaling: str
    training: Mapping[str, Any]
    provenance: Mapping[str, Any]
    metric: str

    def __post_init__(self) -> None:
        find_choice(self.metric)
        if missing := {"train", "validation", "test"} - (self.samples.keys() & {*self.positives}):
            raise InputError(f"samples: no number of {', '.join(sorted(missing))} samples")
        of_each = [*(features.probes for features in self.feature_sets), *self.positives.values()]
        if not self.feature_sets or any(len(each) != len(self.labels) for each in of_each):
            raise InputError(f"expected feature sets with a probe for each of {len(self.labels)}")
        sets = self.feature_sets
        if any("accuracy" not in one.metrics for one in sets):
            raise InputError("feature_sets: one has no accuracy")
        parts = {(len(one.by_labels), one.control is not None) for one in sets}
        drawn = [part for one in sets for part in (*one.by_labels, one.control) if part]
        if len(parts) > 1 or (0, True) in parts or not all(part.draws for part in drawn):
            raise InputError("feature sets with other fractions, or a fraction without a draw")
        object.__setattr__(self, "training", vars(build(TrainingOptions, self.training)))
        for name in ("onelayer", "cpu"):
            if not isinstance(self.provenance.get(name), str):
                raise InputError(f"provenance: {name} is missing or no text")

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: the table of feature sets."""

    @property
    def tested(self) -> list[float]:
        """The accuracy of each feature set on the test split, over all labels."""
        return [features.metrics["accuracy"].value for features in self.feature_sets]

    @property
    def best(self) -> int:
        """The number of the feature set with the highest mean average precision on test rows."""
        return best_label_set(self.feature_sets)


def best_label_set(feature_sets: Sequence[LabelFeatures]) -> int:
    """Return the number of the set with the highest mean average precision, the first of equals."""
    return max(range(len(feature_sets)), key=lambda number: feature_sets[number].merit)


def compare_label_sets(
    feature_sets: Sequence[LabelFeatures], drawn: NDArray[np.float64]
) -> tuple[LabelFeatures, ...]:
    """Return the feature sets with their p against the best, from a paired bootstrap.

    `drawn` (R, S) is the mean average precision of each set in the same R resamples of the test
    rows, from judge_labels.
    """
    best, merits = best_label_set(feature_sets), np.array([one.merit for one in feature_sets])
    p = [bootstrap_z_test(merits - merits[n], drawn - drawn[:, [n]]) for n in range(len(merits))]
    corrected = holm_against(np.array(p), best)
    return tuple(replace(one, p=value) for one, value in zip(feature_sets, corrected, strict=True))


LABEL_PROBING = Kind("probes of labels", LabelProbing, format=2, upgrades={1: only_more_fields})
