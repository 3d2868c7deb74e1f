"""The evaluation and the predictions of one model, for a terminal or a pipe."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from onelayer.errors import is_hidden, printable
from onelayer.evaluation.csv_export import write_rows
from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.evaluation.ranking import Ranking
from onelayer.evaluation.statistics import Interval
from onelayer.report.labels import count_of, decimals
from onelayer.report.metrics import metric_table
from onelayer.report.per_class import CLASSES, class_table, confused_table
from onelayer.report.terminal import (
    MANY,
    add_column,
    plain_console,
    plain_table,
    print_table,
    show_table,
)

FORMATS = ("table", "csv", "json")
WIDEST = 50  # classes of a row in a table
_MATRIX = 12  # classes up to which a confusion matrix fits a terminal
_CONFUSIONS = 10  # shown of more classes


def show_evaluation(evaluation: ModelEvaluation, measured: Mapping[str, Interval]) -> None:
    """Print accuracy, metrics, the scores of each class and the confusion matrix."""
    low, high = evaluation.interval
    samples = count_of(evaluation.samples, f"{evaluation.split} sample")
    console = plain_console()
    console.print(
        f"accuracy {evaluation.accuracy:.4f} (95 % Wilson interval {low:.4f} to {high:.4f}) on "
        f"{samples} of {evaluation.data}",
        soft_wrap=True,
    )
    if measured:
        show_table(metric_table(evaluation, measured))
    confusion, names = evaluation.counts[0], evaluation.class_names
    limit = CLASSES if len(names) > MANY else MANY
    show_table(class_table("Each class.", evaluation.class_scores, names, limit))
    if len(evaluation.class_names) <= _MATRIX:
        console.print("\nconfusion: rows are true classes, columns predicted ones")
        print_table(_confusion_table(evaluation))
    else:
        table = confused_table("most frequent confusions", confusion, names, _CONFUSIONS)
        if table is not None:
            show_table(table)


def _confusion_table(evaluation: ModelEvaluation) -> Table:
    table = plain_table()
    table.add_column("")
    for k in range(len(evaluation.class_names)):
        add_column(table, f"{k}", number=True)
    for k, (name, counts) in enumerate(
        zip(evaluation.class_names, evaluation.confusion, strict=True)
    ):
        cells = (Text(f"{n}", "bold" if j == k else "") for j, n in enumerate(counts))
        table.add_row(Text(f"{k} {name}", overflow="ellipsis", no_wrap=True), *cells)
    return table


def show_rankings(rankings: Iterable[Ranking], quantity: str) -> None:
    """Print a table with a line a row and two columns a rank."""
    shown = list(rankings)
    several = any(ranking.row for ranking in shown)
    table = plain_table()
    add_column(table, "file", number=False)
    if several:
        add_column(table, "row", number=True)
    for _ in shown[0].classes if shown else ():
        add_column(table, "class", number=False)
        add_column(table, quantity, number=True)
    for ranking in shown:
        cells = [printable(ranking.file), *([f"{ranking.row}"] if several else [])]
        for name, value in zip(ranking.classes, ranking.values, strict=True):
            cells += [name, decimals(value)]
        table.add_row(*cells)
    print_table(table)


def write_rankings(
    rankings: Iterable[Ranking], quantity: str, file: TextIO, *, as_json: bool
) -> None:
    """Write CSV, a line a rank, or JSON, a line a row; `quantity` names the values."""
    if not as_json:
        write_rows(_ranking_rows(rankings, quantity), file)
        return
    for ranking in rankings:
        ranked = zip(ranking.classes, ranking.values, strict=True)
        classes = [{"class": name, quantity: value} for name, value in ranked]
        record = {"file": ranking.file, "row": ranking.row, "classes": classes}
        line = json.dumps(record, ensure_ascii=False)
        file.write("".join(json.dumps(c)[1:-1] if is_hidden(c) else c for c in line) + "\n")


def _ranking_rows(rankings: Iterable[Ranking], quantity: str) -> Iterator[tuple[Any, ...]]:
    for number, ranking in enumerate(rankings):
        if number == 0:  # not before: the first file may be no data
            yield "file", "row", "rank", "class", quantity
        ranked = zip(ranking.classes, ranking.values, strict=True)
        for rank, (name, value) in enumerate(ranked, 1):
            yield ranking.file, ranking.row, rank, name, float(f"{value:.6g}")
