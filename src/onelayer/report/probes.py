"""Linear probes as a table for other programs and as a page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.optimism import DIVISIONS
from onelayer.evaluation.parquet_export import write_parquet
from onelayer.evaluation.probing import FeatureSet, Labelled, Probing
from onelayer.evaluation.run_folder import PROBES_PAGE
from onelayer.evaluation.selection import edges_of
from onelayer.evaluation.statistics import Interval
from onelayer.report.blocks import (
    Block,
    Bullets,
    Column,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
    compose,
    make_table,
)
from onelayer.report.labels import PER_CENT, count_of
from onelayer.report.lettering import legend
from onelayer.report.markup import write_markup
from onelayer.report.options import provenance_table, tell_byline
from onelayer.report.page import figure_folder, write_page
from onelayer.report.per_class import CLASSES, class_table
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.naming import common_words, setting_labels

CSV, CLASS_CSV = "probe.csv", "probe_classes.csv"
_CONTROL = ("control, train", "control", "selectivity")
_CONTROLLED = ("setting", "train", "test", *_CONTROL)  # columns beside those of the control
SHOWN = 60  # feature sets in figures and tables


def write_probes(probing: Probing, folder: Path, form: str = "all") -> None:
    """Write the tables, figures/ and probe.html into an existing folder.

    The tables are probe.csv, .md and .tex and probe_classes.csv, and each .csv as .parquet, too,
    where pyarrow is installed.

    The same results give the same bytes. Of the form "html" there are no separate figures, of the
    form "none" there are the tables alone.
    """
    records = [_record(probing, *row) for row in probing.rows()]
    columns = {name: [record[name] for record in records] for name in records[0]}
    classes = _class_columns(probing)
    for name, values in ((CSV, columns), (CLASS_CSV, classes)):
        if values:
            write_csv(values, folder / name)
            write_parquet(values, (folder / name).with_suffix(".parquet"))
    write_markup(probe_table(probing), folder / "probe")
    if form == "none":
        return
    from onelayer.report.probe_figures import draw_probes
    from onelayer.report.style import save_all

    with figure_folder(folder, form) as figures:
        pictures = save_all(draw_probes(_shown(probing)), figures, dots=form == "all")
        write_page(report_of(probing, pictures), folder / PROBES_PAGE, figures=form == "all")


def _shown(probing: Probing) -> Probing:
    """Return the probing with at most SHOWN of its feature sets: those of the best probes."""
    sets = probing.feature_sets
    ranked = sorted(range(len(sets)), key=lambda number: -sets[number].probe.test)[:SHOWN]
    return replace(probing, feature_sets=tuple(sets[number] for number in sorted(ranked)))


def probe_table(probing: Probing) -> Table:
    """Return the accuracies of each feature set and number of labels; the best is set off."""
    every, probing = len(probing.feature_sets), _shown(probing)
    note = ""
    if every > SHOWN:
        note = f" Shown: the {SHOWN} of {every:,} feature sets with the highest; {CSV} has all."
    compared = ""
    if any(features.p is not None for features in probing.feature_sets):
        compared = " p: against the most accurate feature set (McNemar, Holm)."
    names = setting_labels(probing.grid, probing.training["solver"])
    labels = dict(zip(probing.grid, names, strict=True))
    rows = [_values(probing, labels, *row) for row in probing.rows()]
    interval = f"95{PER_CENT} interval"
    kinds = {
        "features": "words",
        "D": "count",
        "labels": "count",
        "setting": "words",
        "train": "decimals",
        "validation": "decimals",
        "test": "decimals",
        "sd": "decimals",
        interval: "range",
        probing.metric: "estimate",
        "p": "p",
        "control, train": "decimals",
        "control": "decimals",
        "selectivity": "difference",
    }
    columns = [Column(name, kind, [row.get(name) for row in rows]) for name, kind in kinds.items()]
    best = _best(probing)
    return make_table(
        "probes",
        f"Accuracy of the probes; test: on {probing.samples['test']:,} rows.{compared}{note}",
        *columns,
        strong=list(probing.rows()).index((best, best.by_labels[-1])),
        mark="the best with all labels",
    )


def tell_edges(probing: Probing) -> Iterator[str]:
    """Yield a warning for each probe with all labels whose setting is on an edge of the grid."""
    for features in probing.feature_sets:
        for edge in edges_of(probing.grid, features.probe.setting):
            yield f"{features.name}: {edge}"


def _best(probing: Probing) -> FeatureSet:
    return max(probing.feature_sets, key=lambda features: features.probe.test)


def _values(
    probing: Probing,
    labels: Mapping[Hyperparameters, str],
    features: FeatureSet,
    labelled: Labelled,
) -> dict[str, Any]:
    """Return a row of the table by heading, without what is not known."""
    draws, spread = labelled.draws, labelled.test
    alone = len(draws) == 1
    values: dict[str, Any] = {
        "features": features.name,
        "D": features.n_features,
        "labels": labelled.labels,
        "setting": labels[draws[0].setting] if alone else count_of(len(draws), "draw"),
        "train": labelled.train,
        "validation": labelled.validation,
        "test": float(spread.mean[0]),
        "sd": float(spread.sd[0]),
    }
    if alone:
        values[f"95{PER_CENT} interval"] = probing.interval(draws[0].test)
    if labelled is not features.by_labels[-1]:
        return values
    if probing.metric != "accuracy" and probing.metric in features.metrics:
        values[probing.metric] = ends_of(features.metrics[probing.metric])
    values |= {"p": features.p, "selectivity": features.selectivity}
    if features.control is not None:
        values["control, train"] = features.control.train
        values["control"] = float(features.control.test.mean[0])
    return values


def ends_of(found: Interval | None) -> tuple[float, float, float] | None:
    """Return an estimate with the ends of its interval, as a table has it."""
    return None if found is None else (found.value, found.low, found.high)


def metrics_table(probing: Probing) -> Table:
    """Return all metrics of each feature set with all labels, on the test split."""
    sets = _shown(probing).feature_sets
    columns = [Column("features", "words", [features.name for features in sets])]
    for name, metric in METRICS.items():
        found = [ends_of(features.metrics.get(name)) for features in sets]
        arrow = "↑" if metric.higher_is_better else "↓"
        columns.append(Column(f"{metric.title} {arrow}", "estimate", found, key=name))
    caption = (
        f"Metrics on the {probing.samples['test']:,} test rows with their 95{PER_CENT} intervals: "
        "Wilson's for shares of rows, else of the bootstrap. ↑: higher is better."
    )
    return make_table("metrics", caption, *columns)


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


def optimism_table(probing: Probing) -> Table | None:
    """Return how much better the best setting looks on the rows that chose it than on others."""
    whole, sets = probing.optimism, _shown(probing).feature_sets
    found = {f.name: f.optimism for f in sets if f.optimism is not None}
    if whole is None or not found:
        return None
    if len(probing.feature_sets) > 1:
        found["best of all"] = whole
    caption = (
        f"What a test split of {whole.rows:,} rows would have told of the best setting if it had "
        f"chosen it. Here validation rows stand for it: {whole.rows:,} choose and are judged on "
        f"(same), as many others judge (other); mean over {DIVISIONS} divisions of the validation "
        "split. The difference is optimism. No figure of the true test split is part of it."
    )
    shown = found.values()
    return make_table(
        "optimism",
        caption,
        Column("features", "words", [*found]),
        Column("settings", "count", [one.models for one in shown]),
        Column("same", "decimals", [one.same for one in shown]),
        Column("other", "decimals", [one.other for one in shown]),
        Column("optimism", "difference", [one.size for one in shown]),
    )


def _class_columns(probing: Probing) -> dict[str, list[Any]]:
    """Return the scores of each class of every feature set with their intervals, by column."""
    columns: dict[str, list[Any]] = {}
    for features in probing.feature_sets:
        if features.classes is None:
            continue
        scores = features.classes.scores
        own: dict[str, Any] = {
            "features": [features.name] * len(probing.class_names),
            "class": probing.class_names,
            **{name: counts.tolist() for name, counts in vars(scores).items()},
        }
        for name, ends in scores.intervals().items():
            own[name] = getattr(scores, name).tolist()
            own |= {f"{name}_low": ends[:, 0].tolist(), f"{name}_high": ends[:, 1].tolist()}
        for name, values in own.items():
            columns.setdefault(name, []).extend(values)
    return columns


def _control(features: FeatureSet, labelled: Labelled) -> Labelled | None:
    """Return the control of a feature set, which is that of the probe with all labels."""
    return features.control if labelled is features.by_labels[-1] else None


def _record(probing: Probing, features: FeatureSet, labelled: Labelled) -> dict[str, Any]:
    draws, spread = labelled.draws, labelled.test
    setting = draws[0].setting if len(draws) == 1 else None
    low, high = probing.interval(draws[0].test) if setting else (None, None)
    control, exact = _control(features, labelled), probing.training["solver"] == "exact"
    whole = features.optimism if labelled is features.by_labels[-1] else None
    return {
        "features": features.name,
        "n_features": features.n_features,
        "fraction": labelled.fraction,
        "labels": labelled.labels,
        "draws": len(draws),
        "l2": None if setting is None else float(setting.l2),
        "learning_rate": None if setting is None or exact else setting.learning_rate,
        "train_accuracy": labelled.train,
        "validation_accuracy": labelled.validation,
        "test_accuracy": float(spread.mean[0]),
        "test_sd": float(spread.sd[0]),
        "test_low": low,
        "test_high": high,
        **{
            f"test_{name.replace('-', '_')}{suffix}": getattr(features.metrics[name], field)
            if name in features.metrics and labelled is features.by_labels[-1]
            else None
            for name in METRICS
            if name != "accuracy"
            for suffix, field in (("", "value"), ("_low", "low"), ("_high", "high"))
        },
        "optimism": None if whole is None else whole.size,
        "p_against_best": features.p if labelled is features.by_labels[-1] else None,
        "control_train_accuracy": None if control is None else control.train,
        "control_test_accuracy": None if control is None else float(control.test.mean[0]),
        "control_test_sd": None if control is None else float(control.test.sd[0]),
        "selectivity": features.selectivity if control else None,
    }


@dataclass(frozen=True)
class _Facts:
    probing: Probing
    pictures: Mapping[str, Picture]


def _outcome(facts: _Facts) -> Iterator[Block]:
    probing = facts.probing
    sets, best = probing.feature_sets, _best(probing)
    low, high = probing.interval(best.probe.test)
    outcome = (
        f"With all labels, {best.name} is right on {100 * best.probe.test:.2f}{PER_CENT} of the "
        f"{count_of(probing.samples['test'], 'test sample')} (95{PER_CENT} Wilson interval "
        f"{100 * low:.2f} to {100 * high:.2f}{PER_CENT}), the most of "
        f"{count_of(len(sets), 'feature set')}. To always predict the most frequent training class "
        f"would be right on {100 * probing.majority:.2f}{PER_CENT}."
    )
    yield Paragraph(outcome, "summary")
    yield from (Paragraph(f"Warning: {edge}.") for edge in tell_edges(probing))
    yield probe_table(probing).without(("train", *_CONTROL))
    yield from facts.pictures.values()


def _control_table(facts: _Facts) -> Iterator[Block]:
    sets, table = facts.probing.feature_sets, probe_table(facts.probing)
    if sets[0].control:
        every = len(sets[0].by_labels)
        others = [name for name in table.header if name not in ("features", *_CONTROLLED)]
        whole = table.without(others).take(slice(every - 1, None, every))
        caption = "Each feature set with all labels, against shuffled labels (control)."
        yield replace(whole, stem="control", caption=caption, strong=None, mark="")


SECTIONS: tuple[Section[_Facts], ...] = (
    Section("Outcome", _outcome),
    Section("Metrics", lambda facts: [metrics_table(facts.probing)]),
    Section("Control", _control_table),
    Section("Errors by class", lambda facts: [scores_of_classes(facts.probing)]),
    Section("Optimism", lambda facts: [optimism_table(facts.probing)]),
    Section("Method", lambda facts: [Bullets(tuple(_tell_method(facts.probing)))], folded=True),
    Section(
        "Names",
        lambda facts: [legend([one.name for one in facts.probing.feature_sets])],
        folded=True,
    ),
    Section("Provenance", lambda facts: [provenance_table(facts.probing.provenance)], folded=True),
)


def report_of(probing: Probing, pictures: Mapping[str, Picture]) -> Report:
    """Return the report of probes with the figures that were drawn, by stem."""
    return Report(
        title=f"Linear probes of {count_of(len(probing.feature_sets), 'feature set')}",
        byline=tell_byline(probing.provenance),
        source="",
        notice="",
        sections=compose(SECTIONS, _Facts(probing, pictures)),
    )


def _tell_method(probing: Probing) -> Iterator[str]:
    training, samples, sets = probing.training, probing.samples, probing.feature_sets
    also = "".join(f", {word}" for word in common_words(probing.grid))
    if training["solver"] == "exact":
        how = f"at its least cost, to {training['tolerance']:g} of it, by the exact solver"
    else:
        how = (
            f"for {count_of(training['epochs'], 'epoch')} with mini-batches of "
            f"{training['batch_size']:,}{also}"
        )
    yield (
        f"A probe is one layer, trained on {samples['train']:,} rows {how}. Scaling of the "
        f"features: {probing.scaling}, estimated on all training rows."
    )
    metric = METRICS[probing.metric].title
    yield (
        f"{samples['validation']:,} validation rows select the best of "
        f"{count_of(len(probing.grid), 'setting')} for each probe by {metric}; only that "
        f"one is evaluated on the {samples['test']:,} test rows."
    )
    if probing.refit:
        yield (
            "The setting chosen with all labels is trained again, with the same C (λN), on the "
            "training and validation rows together; that probe is tested."
        )
    if len(sets[0].by_labels) > 1:
        yield (
            "Fewer labels: each class keeps the same share of its training rows. A smaller share "
            "is part of a larger one, and all feature sets use the same rows. Selection always "
            f"uses the labels of all {samples['validation']:,} validation rows."
        )
    if sets[0].control:
        yield (
            f"control: the same setting trained on shuffled labels, mean of "
            f"{count_of(len(sets[0].control.draws), 'shuffle')}. On the test split it is right by "
            "chance alone; on its own training rows (control, train) it shows how much the probe "
            "can memorise. selectivity: test accuracy minus the control's."
        )
