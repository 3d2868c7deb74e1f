"""Linear probes of multi-label data, as tables for other programs and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onelayer.data.columns import listed
from onelayer.evaluation.multilabel import OF_LABEL, OVERALL, LabelFeatures, LabelProbing
from onelayer.evaluation.probing import Probing
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
from onelayer.report.markup import write_data, write_markup
from onelayer.report.options import provenance_table, tell_byline
from onelayer.report.probe_tables import (
    COLUMNS,
    CONTROL_CAPTION,
    CSV,
    ends_of,
    facts_of_comparison,
    facts_of_draws,
    facts_table,
    set_off,
    tell_roles,
)
from onelayer.report.probes import Facts, tell_of_draws, write_probe_page, write_probes

LABELS_CSV = "labels.csv"
SHOWN = 60  # feature sets, and labels of one, in tables
# The columns of all labels together: those of probes of one class, of mAP in place of accuracy.
_COLUMNS = {
    **{key: COLUMNS[key] for key in ("features", "n_features", "fraction")},
    "labels": ("rows", "count"),
    "draws": COLUMNS["draws"],
    "train_map": COLUMNS["train_accuracy"],
    "test_map": ("mAP", "decimals"),
    **{key: COLUMNS[key] for key in ("test_sd", "test")},
    **{name.replace("-", "_"): (t, "estimate") for name, t in OVERALL.items() if name != "map"},
    "p_against_best": COLUMNS["p_against_best"],
    "control_train_map": COLUMNS["control_train_accuracy"],
    "control_test_map": COLUMNS["control_test_accuracy"],
    **{key: COLUMNS[key] for key in ("control_test_sd", "selectivity")},
}
LABEL_CONTROL = ("control_train_map", "control_test_map", "selectivity")


def write_label_probes(probing: LabelProbing, folder: Path, form: str = "all") -> None:
    """Write the tables, figures/ and probe.html into an existing folder: see write_probes.

    The tables are probe.csv, .md and .tex and labels.csv, which has a line for each label on each
    feature set.
    """
    write_data(sets_table(probing), folder / CSV)
    write_data(labels_table(probing), folder / LABELS_CSV)
    write_markup(overall_table(probing), folder / "probe")
    drawn = replace(probing, feature_sets=tuple(probing.feature_sets[n] for n in _shown(probing)))
    write_probe_page(folder, form, drawn, lambda pictures: report_of(probing, pictures))


def write_any_probes(probing: Probing | LabelProbing, folder: Path, form: str = "all") -> None:
    """Write probes of classes or of multi-label data: see write_probes, write_label_probes."""
    if isinstance(probing, LabelProbing):
        write_label_probes(probing, folder, form)
    else:
        write_probes(probing, folder, form)


def sets_table(probing: LabelProbing) -> Table:
    """Return the metrics of all labels together, for each feature set and number of rows."""
    rows = []
    for features in probing.feature_sets:
        found = [facts_of_draws(features, drawn, "map") for drawn in features.by_labels]
        found = found or [{"features": features.name, "n_features": features.n_features}]
        found[-1] |= _of_all_rows(features) | facts_of_comparison(features, "map")
        rows += found
    return facts_table(_COLUMNS, rows)


def _of_all_rows(features: LabelFeatures) -> dict[str, Any]:
    """Return the metrics of the probes of all rows, by column."""
    found: dict[str, Any] = {_key(name): ends_of(features.metrics.get(name)) for name in OVERALL}
    if whole := found.pop("map"):
        found |= {"test_map": whole[0], "test": whole[1:]}
    return found


def labels_table(probing: LabelProbing) -> Table:
    """Return all facts of each label, a row for each label on each feature set."""
    sets, names = probing.feature_sets, probing.labels
    probes = [probe for features in sets for probe in features.probes]
    return Table(
        "labels",
        "Every label.",
        (
            Column("features", "words", [features.name for features in sets for _ in names]),
            Column("label", "words", [*names] * len(sets)),
            *(
                Column("rows", "count", [*rows] * len(sets), key=f"{split}_rows")
                for split, rows in probing.positives.items()
            ),
            Column("λ", "number", [p.setting and float(p.setting.l2) for p in probes], key="l2"),
            *_metrics(OF_LABEL, [probe.metrics for probe in probes]),
        ),
    )


def _metrics(titles: Mapping[str, str], rows: Sequence[Mapping[str, Interval]]) -> Iterator[Column]:
    for name, title in titles.items():
        values = [ends_of(found.get(name)) for found in rows]
        yield Column(title, "estimate", values, key=_key(name))


def _key(metric: str) -> str:
    return metric.replace("-", "_")


def overall_table(probing: LabelProbing) -> Table:
    """Return the metrics of all labels together for each feature set; the best is set off.

    With fractions each of them has a row.
    """
    shown, every, compared = _shown(probing), len(probing.feature_sets), ""
    if any(features.p is not None for features in probing.feature_sets):
        compared = " p: against the highest mAP (paired bootstrap, Holm over all pairs)."
    note = f" Shown: {SHOWN} of {every:,} feature sets; {CSV} has all." if every > SHOWN else ""
    table = sets_table(probing)
    of_each = len(table.rows) // every
    rows = [number * of_each + row for number in shown for row in range(of_each)]
    return make_table(
        "probes",
        f"Probes of {len(probing.labels):,} labels on {probing.samples['test']:,} test rows, with "
        f"95{PER_CENT} bootstrap intervals. {tell_roles(probing, 'each λ')} mAP: mean average "
        f"precision.{compared}{note}",
        *table.take(rows).without(("fraction", "draws", "control_test_sd")).columns,
        **set_off(every, (shown.index(probing.best) + 1) * of_each - 1, "the highest mAP"),
    )


def label_control_table(probing: LabelProbing) -> Table | None:
    """Return each feature set with all rows beside its control, if there are controls."""
    if probing.feature_sets[0].control is None:
        return None
    table, every = sets_table(probing), len(probing.feature_sets[0].by_labels)
    rows = [(number + 1) * every - 1 for number in _shown(probing)]
    keys = ("features", "train_map", "test_map", *LABEL_CONTROL)
    return make_table("control", CONTROL_CAPTION, *table.take(rows).pick(keys))


def label_table(probing: LabelProbing, number: int) -> Table:
    """Return the metrics of each label on a feature set, the most frequent labels first."""
    positives, name = probing.positives["test"], probing.feature_sets[number].name
    order = sorted(range(len(positives)), key=lambda label: -positives[label])[:SHOWN]
    more = len(positives) - len(order)
    note = f" Shown: the {SHOWN} most frequent labels; {LABELS_CSV} has all." if more else ""
    rows = labels_table(probing).take(number * len(positives) + label for label in order)
    return make_table(
        "labels",
        f"Each label, by {name}; rows: test rows that have it.{note}",
        *rows.without(("features", "train_rows", "validation_rows")).columns,
    )


def tell_of_labels(probing: LabelProbing) -> Iterator[str]:
    """Yield sentences on labels that were not learned or have no metric, and on edges of λ."""
    first = probing.feature_sets[0]
    unlearned = [n for n, probe in _named(probing, first) if probe.setting is None]
    if unlearned:
        yield f"all training rows have it or none, so it is not learned: {listed(unlearned)}"
    unjudged = [n for n, p in _named(probing, first) if p.setting and "auroc" not in p.metrics]
    if unjudged:
        yield (
            "all test rows have it or none, so it has no average precision and no AUROC, and mAP "
            f"is the mean without it: {listed(unjudged)}"
        )
    counted = zip(probing.labels, probing.positives["validation"], strict=True)
    blind = [name for name, count in counted if count in (0, probing.samples["validation"])]
    if blind and probing.metric in ("average-precision", "auroc"):
        yield f"all validation rows have it or none, so log loss chose its λ: {listed(blind)}"
    for features in probing.feature_sets:
        for end, side, better in ((min, "smallest", "smaller"), (max, "largest", "larger")):
            names = [
                name
                for name, p in _named(probing, features)
                if p.setting and len(p.tried) > 1 and p.setting.l2 == end(p.tried) > 0
            ]
            if names:
                yield (
                    f"{features.name}: the chosen λ is the {side} of those tried, the best may be "
                    f"{better}, for {count_of(len(names), 'label')}: {listed(names)}"
                )
        short = [name for name, probe in _named(probing, features) if probe.shortfall]
        if short:
            why = next(probe.shortfall for probe in features.probes if probe.shortfall)
            yield f"{features.name}: {why}: {count_of(len(short), 'label')}: {listed(short)}"


def _named(probing: LabelProbing, features: LabelFeatures) -> Iterator[tuple[str, Any]]:
    return zip(probing.labels, features.probes, strict=True)


def _shown(probing: LabelProbing) -> list[int]:
    """Return the numbers of at most SHOWN feature sets, those with the highest mAP, in order."""
    sets = probing.feature_sets
    return sorted(sorted(range(len(sets)), key=lambda number: -sets[number].merit)[:SHOWN])


def _outcome(facts: Facts[LabelProbing]) -> Iterator[Block]:
    probing = facts.probing
    best, sets = probing.feature_sets[probing.best], len(probing.feature_sets)
    highest = f", the highest of {sets:,} feature sets" if sets > 1 else ""
    yield Paragraph(
        f"The mAP of {best.name} is {best.merit:.4f}{highest}.",
        "summary",
    )
    yield overall_table(probing).without(("train_map", *LABEL_CONTROL))
    yield from (Paragraph(f"Note: {note}.") for note in tell_of_labels(probing))
    yield from facts.pictures.values()


def _labels(facts: Facts[LabelProbing]) -> list[Table]:
    return [label_table(facts.probing, number) for number in _shown(facts.probing)]


def _names(facts: Facts[LabelProbing]) -> list[Block | None]:
    return [legend([features.name for features in facts.probing.feature_sets])]


SECTIONS: tuple[Section[Facts[LabelProbing]], ...] = (
    Section("Outcome", _outcome),
    Section("Control", lambda facts: [label_control_table(facts.probing)]),
    Section("Labels", _labels),
    Section("Method", lambda facts: [Bullets(tuple(_tell_method(facts.probing)))], folded=True),
    Section("Names", _names, folded=True),
    Section("Provenance", lambda facts: [provenance_table(facts.probing.provenance)], folded=True),
)


def report_of(probing: LabelProbing, pictures: Mapping[str, Picture]) -> Report:
    """Return the report of probes of multi-label data with the figures that were drawn, by stem."""
    title = f"Linear probes of {count_of(len(probing.labels), 'label')}"
    byline = tell_byline(probing.provenance)
    return Report(title, "", "", compose(SECTIONS, Facts(probing, pictures)), byline)


def _tell_method(probing: LabelProbing) -> Iterator[str]:
    training, samples = probing.training, probing.samples
    yield (
        f"Each label is a question of its own, answered by a probe of two classes trained on "
        f"{samples['train']:,} rows at its least cost, to {training['tolerance']:g} of it, by the "
        f"exact solver. Scaling of the features: {probing.scaling}."
    )
    yield (
        f"Each label has its own λ, the one with the best {probing.metric} on "
        f"{samples['validation']:,} validation rows; only that probe is evaluated on the "
        f"{samples['test']:,} test rows."
    )
    yield (
        "A label is predicted where its probability is above 0.5: F1 and accuracy are of these "
        "predictions. micro-F1 counts all answers together, macro-F1 is the mean over the labels, "
        "accuracy the share of all answers that are right. Average precision and AUROC are of "
        "labels that some test rows have and others have not, and mAP is the mean of these."
    )
    kept = "rows are drawn from all alike; each label keeps at least one with it and one without"
    shuffled = "rows of labels in random order, so that labels that go together stay together"
    yield from tell_of_draws(probing, kept, shuffled)
    if len(probing.feature_sets) > 1:
        yield (
            "p compares the mAP of a feature set with the highest one on the same test rows: their "
            "difference over its standard deviation in resamples of these rows, the same for both, "
            "against the normal distribution, corrected for all pairs of feature sets (Holm), as "
            "the same rows say which one is the highest."
        )
