"""Tables as CSV for other programs: numbers are exact, and no text becomes a formula."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from onelayer.errors import visible
from onelayer.storage import atomic_file

Columns = Mapping[str, Sequence[Any]]
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# The places where a spreadsheet may begin to read a formula: before a text, or after a comma or
# semicolon, which may end a cell. Apostrophes count, so that removing one gives the text back.
_FORMULA = re.compile(r"(^|[,;])(?=['\s]*[=+\-@＝＋－＠])")


def write_csv(columns: Columns, path: Path, notice: str = "") -> None:
    """Write `columns` under their names, below the notice as a comment if there is one."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        if notice:
            file.write(f"# {neutral(notice)}\n")
        write_rows([columns], file)
        write_rows(zip(*columns.values(), strict=True), file)


def write_rows(rows: Iterable[Iterable[Any]], file: TextIO) -> None:
    """Write rows one by one: numbers as `exact`, texts as `neutral`."""
    cells = (
        [neutral(value) if isinstance(value, str) else exact(value) for value in row]
        for row in rows
    )
    csv.writer(file, lineterminator="\n").writerows(cells)


def exact(value: Any) -> str:
    """Return a value as a text that reads back as the same value; empty for NaN and None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def neutral(text: str) -> str:
    """Return the text with an apostrophe before anything that a spreadsheet reads as a formula.

    A text that is a number stays as it is. Invisible characters become escapes.

    Examples
    --------
    >>> neutral("=1+1"), neutral("-1"), neutral("a = b")
    ("'=1+1", '-1', 'a = b')
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", visible(text))
