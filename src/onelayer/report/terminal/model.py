"""The evaluation and the predictions of one model, for a terminal or a pipe."""

import csv
import json
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.evaluation.ranking import Ranking
from onelayer.report.labels import count_of, decimals
from onelayer.report.mistakes import CLASSES, class_table, confused_table
from onelayer.report.terminal import MANY, plain_table, show_table

FORMATS = ("table", "csv", "json")
WIDEST = 50  # classes of a row in a table
_MATRIX = 12  # classes up to which a confusion matrix fits a terminal
_CONFUSIONS = 10  # shown of more classes


def show_evaluation(evaluation: ModelEvaluation) -> None:
    """Print accuracy, calibration, the scores of each class and the confusion matrix."""
    low, high = evaluation.interval
    samples = count_of(evaluation.samples, f"{evaluation.split} sample")
    console = Console(highlight=False)
    console.print(
        f"accuracy {evaluation.accuracy:.4f} (95 % Wilson interval {low:.4f} to {high:.4f}) on "
        f"{samples} of {evaluation.data}",
        markup=False,
        soft_wrap=True,
    )
    if evaluation.reliability is None:
        console.print("expected calibration error: none, the loss has no probabilities")
    else:
        bins = len(evaluation.reliability.count)
        error = evaluation.reliability.expected_calibration_error
        console.print(f"expected calibration error {error:.4f} ({bins} bins)")
    confusion, names = evaluation.counts[0], evaluation.class_names
    show_table(class_table("Each class.", confusion, names, CLASSES if len(names) > MANY else MANY))
    if len(evaluation.class_names) <= _MATRIX:
        console.print("\nconfusion: rows are true classes, columns predicted ones")
        console.print(_confusion_table(evaluation))
    else:
        table = confused_table("most frequent confusions", confusion, names, _CONFUSIONS)
        if table is not None:
            show_table(table)


def _confusion_table(evaluation: ModelEvaluation) -> Table:
    table = plain_table()
    table.add_column("")
    for k in range(len(evaluation.class_names)):
        table.add_column(f"{k}", justify="right")
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
    table.add_column("file", overflow="fold")
    if several:
        table.add_column("row", justify="right")
    for _ in shown[0].classes if shown else ():
        table.add_column("class", overflow="fold")
        table.add_column(quantity, justify="right")
    for ranking in shown:
        cells = [Text(ranking.file), *([Text(f"{ranking.row}")] if several else [])]
        for name, value in zip(ranking.classes, ranking.values, strict=True):
            cells += [Text(name), Text(decimals(value))]
        table.add_row(*cells)
    Console(highlight=False).print(table)


def write_rankings(
    rankings: Iterable[Ranking], quantity: str, file: TextIO, *, as_json: bool
) -> None:
    """Write CSV, a line a rank, or JSON, a line a row; `quantity` names the values."""
    writer = csv.writer(file, lineterminator="\n")
    for number, ranking in enumerate(rankings):
        if number == 0 and not as_json:  # not before: the first file may be no data
            writer.writerow(("file", "row", "rank", "class", quantity))
        ranked = list(zip(ranking.classes, ranking.values, strict=True))
        if as_json:
            classes = [{"class": name, quantity: value} for name, value in ranked]
            record = {"file": ranking.file, "row": ranking.row, "classes": classes}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            for rank, (name, value) in enumerate(ranked, 1):
                writer.writerow((ranking.file, ranking.row, rank, name, f"{value:.6g}"))
