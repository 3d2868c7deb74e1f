"""What is printed on a terminal, or into a pipe."""

from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from onelayer.report.blocks import Table
from onelayer.report.labels import MISSING

MANY = 1000  # rows up to which all are printed


def show_table(table: Table) -> None:
    """Print a table of the report below its caption."""
    lines = plain_table()
    for place, name in enumerate(table.header):
        lines.add_column(
            name, justify="left" if place < table.text_columns else "right", no_wrap=True
        )
    for number, row in enumerate(table.rows):
        cells = ["" if cell == MISSING else cell for cell in row]
        if number == table.strong and table.mark:
            cells[0] += " *"
        lines.add_row(*map(Text, cells))
    mark = f" *: {table.mark}." if table.mark else ""
    console = Console(highlight=False)
    console.print(f"\n{table.caption}{mark}", markup=False)
    console.print(lines)


def plain_table(*columns: str, **options: Any) -> rich.table.Table:
    """Return a table without lines; `options` are those of rich's Table."""
    return rich.table.Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False, **options)
