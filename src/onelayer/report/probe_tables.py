"""Tables of linear probes: one with all facts of each probe, and others cut from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.multilabel import LabelFeatures, LabelProbing
from onelayer.evaluation.optimism import DIVISIONS
from onelayer.evaluation.probing import Drawn, FeatureSet, Labelled, Probing
from onelayer.evaluation.statistics import Interval
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.labels import PER_CENT, count_of
from onelayer.report.per_class import CLASSES, class_table, scores_table
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.naming import setting_labels

CSV, CLASS_CSV = "probe.csv", "probe_classes.csv"
SHOWN = 60  # feature sets in figures and tables
_METRICS = {
    f"test_{name.replace('-', '_')}": (metric.heading, name)
    for name, metric in METRICS.items()
    if name != "accuracy"
}
# The columns with all facts of a probe: heading and kind.
COLUMNS = {
    "features": ("features", "words"),
    "n_features": ("D", "count"),
    "fraction": ("fraction", "number"),
    "labels": ("labels", "count"),
    "draws": ("draws", "count"),
    "setting": ("setting", "words"),
    "l2": ("λ", "number"),
    "learning_rate": ("η", "number"),
    "train_accuracy": ("train", "decimals"),
    "validation_accuracy": ("validation", "decimals"),
    "test_accuracy": ("test", "decimals"),
    "test_sd": ("sd", "decimals"),
    "test": (f"95{PER_CENT} interval", "range"),
    **{key: (title, "estimate") for key, (title, _) in _METRICS.items()},
    "optimism": ("optimism", "difference"),
    "p_against_best": ("p", "p"),
    "control_train_accuracy": ("control, train", "decimals"),
    "control_test_accuracy": ("control", "decimals"),
    "control_test_sd": ("control, sd", "decimals"),
    "selectivity": ("selectivity", "difference"),
}
CONTROL = ("control_train_accuracy", "control_test_accuracy", "selectivity")
CONTROL_CAPTION = "Each feature set with all labels, against shuffled labels (control)."
_TESTED = (
    "features", "n_features", "labels", "setting",
    "train_accuracy", "validation_accuracy", "test_accuracy", "test_sd", "test",
)  # fmt: skip


def probes_table(probing: Probing) -> Table:
    """Return all facts, a row for each feature set and number of labels."""
    names = setting_labels(probing.grid, probing.training["solver"])
    settings = dict(zip(probing.grid, names, strict=True))
    rows = [
        _of_labels(probing, settings, features, probe)
        | (_of_features(features) if probe is features.by_labels[-1] else {})
        for features, probe in probing.rows()
    ]
    return facts_table(COLUMNS, rows)


def facts_table(columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of all facts, by the key of their column."""
    return Table(
        "probes",
        "Every probe.",
        tuple(
            Column(name, kind, [row.get(key) for row in rows], key=key)
            for key, (name, kind) in columns.items()
        ),
    )


def _of_labels(
    probing: Probing,
    settings: Mapping[Hyperparameters, str],
    features: FeatureSet,
    probe: Labelled,
) -> dict[str, Any]:
    """Return the facts of a probe with any number of labels, by column."""
    draws = probe.draws
    found = facts_of_draws(features, probe, "accuracy") | {
        "setting": count_of(len(draws), "draw"),
        "validation_accuracy": probe.validation,
    }
    if len(draws) == 1:
        setting = draws[0].setting
        found |= {"setting": settings[setting], "l2": float(setting.l2)}
        found["test"] = probing.interval(draws[0].test)
        if probing.training["solver"] != "exact":
            found["learning_rate"] = setting.learning_rate
    return found


def facts_of_draws(
    features: FeatureSet | LabelFeatures, drawn: Drawn, measure: str
) -> dict[str, Any]:
    """Return the facts of a fraction of the labels, by column; `measure` is the metric's name."""
    return {
        "features": features.name,
        "n_features": features.n_features,
        "fraction": drawn.fraction,
        "labels": drawn.labels,
        "draws": len(drawn.draws),
        f"train_{measure}": drawn.train,
        f"test_{measure}": float(drawn.test.mean[0]),
        "test_sd": float(drawn.test.sd[0]),
    }


def _of_features(features: FeatureSet) -> dict[str, Any]:
    """Return the facts of only the probe with all labels, by column."""
    found = facts_of_comparison(features, "accuracy")
    found |= {key: ends_of(features.metrics.get(name)) for key, (_, name) in _METRICS.items()}
    if features.optimism is not None:
        found["optimism"] = features.optimism.size
    return found


def facts_of_comparison(features: FeatureSet | LabelFeatures, measure: str) -> dict[str, Any]:
    """Return p and the facts of the control, by column."""
    found: dict[str, Any] = {"p_against_best": features.p, "selectivity": features.selectivity}
    if features.control is not None:
        control = features.control.test
        found[f"control_train_{measure}"] = features.control.train
        found[f"control_test_{measure}"] = float(control.mean[0])
        found["control_test_sd"] = float(control.sd[0])
    return found


def ends_of(found: Interval | None) -> tuple[float, float, float] | None:
    """Return an estimate with the ends of its interval, for a table."""
    return None if found is None else (found.value, found.low, found.high)


def shown(probing: Probing) -> Probing:
    """Return the probing with at most SHOWN feature sets, those with the best probes."""
    sets = probing.feature_sets
    ranked = sorted(range(len(sets)), key=lambda number: -sets[number].probe.test)[:SHOWN]
    return replace(probing, feature_sets=tuple(sets[number] for number in sorted(ranked)))


def best_of(probing: Probing) -> FeatureSet:
    """Return the feature set with the best probe of all labels."""
    return max(probing.feature_sets, key=lambda features: features.probe.test)


def probe_table(probing: Probing) -> Table:
    """Return the accuracies of each feature set and number of labels; the best is set off."""
    every, probing = len(probing.feature_sets), shown(probing)
    note = ""
    if every > SHOWN:
        note = f" Shown: the {SHOWN} of {every:,} feature sets with the highest; {CSV} has all."
    chosen_by = {key: name for key, (_, name) in _METRICS.items() if name == probing.metric}
    compared = ""
    if any(features.p is not None for features in probing.feature_sets):
        compared = " p: against the most accurate (McNemar's test, Holm over all pairs)."
    best = best_of(probing)
    return make_table(
        "probes",
        f"Accuracy on {probing.samples['test']:,} test rows, with Wilson's 95{PER_CENT} interval. "
        f"{tell_roles(probing, 'each setting')}{compared}{note}",
        *probes_table(probing).pick([*_TESTED, *chosen_by, "p_against_best", *CONTROL], chosen_by),
        **set_off(
            len(probing.feature_sets),
            list(probing.rows()).index((best, best.by_labels[-1])),
            "the most accurate with all labels",
        ),
    )


def set_off(sets: int, row: int, mark: str) -> dict[str, Any]:
    """Return how a table sets off the row of the best feature set, if there are several `sets`."""
    return {"strong": row, "mark": mark} if sets > 1 else {}


def tell_roles(probing: Probing | LabelProbing, chosen: str) -> str:
    """Return sentences for a caption: which rows train and choose, and of what sd is."""
    train, validation = (probing.samples[name] for name in ("train", "validation"))
    sd = " sd: over the draws of labelled rows." * (len(probing.feature_sets[0].by_labels) > 1)
    return f"{train:,} rows train, {validation:,} validation rows choose {chosen}.{sd}"


def control_table(probing: Probing) -> Table | None:
    """Return each feature set with all labels beside its control, if there are controls."""
    if not probing.feature_sets[0].control:
        return None
    keys = ["features", "setting", "train_accuracy", "test_accuracy", *CONTROL]
    return make_table("control", CONTROL_CAPTION, *_of_all_labels(probing).pick(keys))


def _of_all_labels(probing: Probing) -> Table:
    """Return the rows of the probes with all labels, of the feature sets that have room."""
    table, every = probes_table(shown(probing)), len(probing.feature_sets[0].by_labels)
    return table.take(range(every - 1, len(table.rows), every))


def metrics_table(probing: Probing) -> Table:
    """Return all metrics of each feature set with all labels, on the test split."""
    headings = {"test_accuracy": METRICS["accuracy"].heading}
    caption = (
        f"Metrics on the {probing.samples['test']:,} test rows with their 95{PER_CENT} intervals: "
        "Wilson's for shares of rows, else of the bootstrap. ↑: higher is better."
    )
    keys = ("features", "test_accuracy", "test", *_METRICS)
    return make_table("metrics", caption, *_of_all_labels(probing).pick(keys, headings))


def scores_of_classes(probing: Probing) -> Table | None:
    """Return precision, recall and F1 of each class, of the feature set preferred by validation."""
    preferred = probing.feature_sets[probing.preferred]
    if preferred.classes is None:
        return None
    caption = (
        f"Each class on the {probing.samples['test']:,} test rows, of {preferred.name}, the most "
        f"accurate on the validation rows. {CLASS_CSV} has all feature sets."
    )
    scores, names = preferred.classes.scores, probing.class_names
    return class_table(caption, scores, names, CLASSES, intervals=True)


def classes_table(probing: Probing) -> Table | None:
    """Return the scores of each class of every feature set, with their intervals."""
    judged = [(one.name, one.classes.scores) for one in probing.feature_sets if one.classes]
    if not judged:
        return None
    tables = [scores_table(scores, probing.class_names) for _, scores in judged]
    features = [name for name, _ in judged for _ in probing.class_names]
    columns = (
        replace(column, values=[v for table in tables for v in table.columns[place].values])
        for place, column in enumerate(tables[0].columns)
    )
    return Table("classes", "Each class.", (Column("features", "words", features), *columns))


def optimism_table(probing: Probing) -> Table | None:
    """Return the optimism: the best setting on the rows that chose it, and on other rows."""
    whole, sets = probing.optimism, shown(probing).feature_sets
    found = {f.name: f.optimism for f in sets if f.optimism is not None}
    if whole is None or not found:
        return None
    if len(probing.feature_sets) > 1:
        found["best of all"] = whole
    caption = (
        f"How much too high the best accuracy is if the rows that judge it also chose its setting. "
        f"{whole.rows:,} validation rows choose the setting and judge it (same), as many others "
        f"judge it again (other): means over {DIVISIONS} divisions of the validation split. The "
        "difference is the optimism. No test row takes part."
    )
    sizes = found.values()
    return make_table(
        "optimism",
        caption,
        Column("features", "words", [*found]),
        Column("settings", "count", [one.models for one in sizes]),
        Column("same", "decimals", [one.same for one in sizes]),
        Column("other", "decimals", [one.other for one in sizes]),
        Column("optimism", "difference", [one.size for one in sizes]),
    )
