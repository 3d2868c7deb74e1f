"""The predictions of one model on a terminal or in a pipe."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from onelayer.errors import is_hidden, printable
from onelayer.evaluation.csv_export import write_rows
from onelayer.evaluation.ranking import Ranking
from onelayer.report.labels import decimals
from onelayer.report.terminal import add_column, plain_table, print_table

FORMATS = ("table", "csv", "json")
WIDEST = 50  # classes of a row in a table


def show_rankings(rankings: Iterable[Ranking], quantity: str) -> None:
    """Print a table with a line for each row and two columns for each rank."""
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
    """Write CSV, a line for each rank, or JSON, a line for each row, of a named `quantity`."""
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
        if number == 0:  # not before: the first file may be invalid
            yield "file", "row", "rank", "class", quantity
        ranked = zip(ranking.classes, ranking.values, strict=True)
        for rank, (name, value) in enumerate(ranked, 1):
            yield ranking.file, ranking.row, rank, name, float(f"{value:.6g}")
