"""The evaluation of one model: its sections, for a terminal and for a page, and its metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.evaluation.statistics import Interval
from onelayer.report.blocks import (
    Block,
    Column,
    Paragraph,
    Report,
    Section,
    Table,
    make_table,
)
from onelayer.report.labels import MOST_ROWS, count_of
from onelayer.report.page import render_html
from onelayer.report.per_class import CLASSES, class_table, confused_table
from onelayer.storage import atomic_file

_MATRIX = 12  # with at most this number of classes, a confusion matrix fits a line
_CONFUSIONS = 10  # shown for more classes


@dataclass(frozen=True)
class Facts:
    """The facts for the sections; `notice` is that of the data."""

    evaluation: ModelEvaluation
    measured: Mapping[str, Interval]
    notice: str = ""
    remarks: tuple[str, ...] = ()


def _answer(facts: Facts) -> Iterator[Block]:
    evaluation = facts.evaluation
    low, high = evaluation.interval
    yield Paragraph(
        f"accuracy {evaluation.accuracy:.4f} (95 % Wilson interval {low:.4f} to "
        f"{high:.4f}) on {count_of(evaluation.samples, f'{evaluation.split} sample')} of "
        f"{evaluation.data}",
        "summary",
    )


def _metrics(facts: Facts) -> Iterator[Block]:
    evaluation, measured = facts.evaluation, facts.measured
    if measured:
        names = [name for name in METRICS if name in measured or name in evaluation.left_out]
        table = metrics_table(evaluation, {name: measured.get(name) for name in names})
        headings = {"title": "metric", "method": "interval", "low": "from", "high": "to"}
        columns = table.pick(("title", "method", "value", "low", "high"), headings)
        caption = "Metrics with 95 % intervals; ↑: higher is better, ↓: lower is better."
        yield make_table("metrics", caption, *columns)


def _classes(facts: Facts) -> Iterator[Block | None]:
    evaluation, names = facts.evaluation, facts.evaluation.class_names
    limit = CLASSES if len(names) > MOST_ROWS else MOST_ROWS
    yield class_table("Each class.", evaluation.class_scores, names, limit)
    if len(names) <= _MATRIX:
        yield confusion_table(evaluation)
    else:
        caption = "Most frequent confusions."
        yield confused_table(caption, evaluation.counts[0], names, _CONFUSIONS)


SECTIONS: tuple[Section[Facts], ...] = (
    Section("Answer", _answer),
    Section("Metrics", _metrics),
    Section("Errors by class", _classes),
    Section("Remarks", lambda facts: map(Paragraph, filter(None, (facts.notice, *facts.remarks)))),
)


def write_evaluation(facts: Facts, path: Path) -> None:
    """Write the metrics as CSV, exact and with their methods, or all sections as an HTML page."""
    evaluation = facts.evaluation
    if path.suffix.lower() == ".html":
        parts = tuple(part for part in (s.of(facts) for s in SECTIONS) if part.blocks)
        title = f"Evaluation on the {evaluation.split} split of {evaluation.data}"
        page = render_html(Report(title, "", facts.notice, parts))
        with atomic_file(path) as temporary:
            temporary.write_text(page, "utf-8", newline="\n")
        return
    table = metrics_table(evaluation, facts.measured).without(("title",))
    write_csv(table.exact, path)


def confusion_table(evaluation: ModelEvaluation) -> Table:
    """Return the confusion matrix C (K, K)."""
    numbered = enumerate(evaluation.class_names)
    names = [name if name == f"{k}" else f"{k} {name}" for k, name in numbered]
    columns = (Column(f"{k}", "count", counts) for k, counts in enumerate(evaluation.confusion.T))
    return Table(
        "confusion",
        "Confusion: rows are true classes, columns predicted ones.",
        (Column("", "words", names, key="class"), *columns),
    )


def metrics_table(evaluation: ModelEvaluation, found: Mapping[str, Interval | None]) -> Table:
    """Return all facts of each metric, or the reason why it has none."""
    metrics = [METRICS[name] for name in found]
    directions = ["higher" if metric.higher_is_better else "lower" for metric in metrics]
    methods = [one.method if one else evaluation.left_out[name] for name, one in found.items()]
    return Table(
        "metrics",
        "Metrics.",
        (
            Column("title", "words", [metric.heading for metric in metrics]),
            Column("metric", "words", [*found]),
            Column("better", "words", directions),
            *(
                Column(field, "decimals", [getattr(one, field, None) for one in found.values()])
                for field in ("value", "low", "high")
            ),
            Column("method", "words", methods),
            Column("data", "words", [evaluation.data] * len(found)),
            Column("split", "words", [evaluation.split] * len(found)),
            Column("samples", "count", [evaluation.samples] * len(found)),
        ),
    )
