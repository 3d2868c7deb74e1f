"""Columns of numbers as CSV for other programs: exact, and empty where nothing is known."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onelayer.storage import atomic_file

Columns = Mapping[str, Sequence[Any]]


def write_csv(columns: Columns, path: Path, notice: str = "") -> None:
    """Write `columns` under their names, below the notice as a comment if there is one."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        if notice:
            file.write(f"# {notice}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(exact, row) for row in zip(*columns.values(), strict=True))


def exact(value: Any) -> str:
    """Write a value so that reading it gives the same back; nothing for NaN and None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
