"""Output on a terminal, or into a pipe."""

from collections.abc import Iterable

import rich.table
from rich.console import Console

from onelayer.report.blocks import F, Paragraph, Section, Table
from onelayer.report.labels import MISSING

_NAME = 14  # letters that a column of names keeps


def show_sections(sections: Iterable[Section[F]], facts: F) -> None:
    """Print the paragraphs and the tables of the sections that apply to these facts."""
    blocks = (block for section in sections for block in section.of(facts).blocks)
    for number, block in enumerate(blocks):
        if isinstance(block, Table):
            show_table(block)
        elif isinstance(block, Paragraph):
            plain_console().print("\n" * (number > 0) + block.text, soft_wrap=True)


def show_table(table: Table) -> None:
    """Print a table of the report below its caption."""
    lines = plain_table()
    words = table.text_columns
    for place, name in enumerate(table.header):
        add_column(lines, name, number=place >= words)
    for number, row in enumerate(table.rows):
        cells = [*row[:words], *("" if cell == MISSING else cell for cell in row[words:])]
        if number == table.strong and table.mark:
            cells[0] += " *"
        lines.add_row(*cells)
    mark = f" *: {table.mark}." if table.mark else ""
    plain_console().print(f"\n{table.caption}{mark}")
    print_table(lines)


def add_column(table: rich.table.Table, name: str, *, number: bool) -> None:
    """Add a column of numbers, or one of words, which are folded into lines if room is short."""
    if number:
        table.add_column(name, justify="right", no_wrap=True)
    else:
        table.add_column(name, overflow="fold")


def print_table(table: rich.table.Table) -> None:
    """Print a table whose columns were added by `add_column`, names and numbers in full.

    A terminal that is too narrow breaks the lines, which is better than to leave parts out.
    """
    room = [
        max(map(len, (str(column.header), *map(str, column.cells)))) if column.no_wrap else _NAME
        for column in table.columns
    ]
    console = plain_console()
    console.width = max(console.width, sum(room) + 3 * len(room) + 1)  # with lines between
    console.print(table)


def plain_console() -> Console:
    """Return a console that prints texts unchanged: no markup, no emoji codes."""
    return Console(highlight=False, markup=False, emoji=False)


def plain_table() -> rich.table.Table:
    """Return a table without lines."""
    return rich.table.Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
