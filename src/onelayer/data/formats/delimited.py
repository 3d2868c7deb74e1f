"""CSV and TSV: a line of column names, then a line a sample."""

import csv
from array import array
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np

from onelayer.data.dataset import BLOCK, Features
from onelayer.data.files import check_file
from onelayer.data.table import (
    LABEL_COLUMNS,
    LONGEST_NAME,
    Contents,
    Part,
    known_label_column,
    label_column,
)
from onelayer.errors import InputError

_LONGEST_LINE = 1 << 24  # characters
_MISSING = frozenset(("", "?", "NA", "N/A", "null"))


def read_csv(path: Path, label: str | None = None) -> Contents:
    """Read the columns of numbers as features and the column of labels, numbers or strings.

    Labels are in the column `label`; unless told, in the one called label, class, target or y, or
    else in the last. An empty cell, ?, NA and null are missing values.

    Raises
    ------
    InputError
        If there is no such column, a line has another number of cells than the first, or a feature
        is no number; names the row and the column.
    """
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            rows = csv.reader(_lines(path, file), delimiter=delimiter, strict=True)
            return _read(path, rows, label)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error


def read_csv_features(source: str, file: TextIO, delimiter: str = ",") -> Iterator[Features]:
    """Yield blocks of rows (n, D) of numbers without labels.

    A first line that is no numbers names the columns; one called label, class, target or y is left
    out. Empty cells, ?, NA and null are NaN.

    Raises
    ------
    InputError
        If a line has another number of cells than the first, or a cell is no number; names it.
    """
    try:
        rows = csv.reader(_lines(source, file), delimiter=delimiter, strict=True)
        filled: Iterator[list[str]] = (row for row in rows if row)
        first = next(filled, [])
        label = known_label_column(first)
        if first and all(_is_number(cell) or cell.strip() in _MISSING for cell in first):
            filled = chain([first], filled)
        count = 0
        while block := list(islice(filled, BLOCK)):
            X = np.empty((len(block), len(first)))
            for number, row in enumerate(block):
                where = f"{source}: row {count + number}"
                if len(row) != len(first):
                    raise InputError(f"{where} has {len(row)} cells, expected {len(first)}")
                if label is not None:
                    row[label] = ""
                X[number] = [_number(where, cell) for cell in row]
            yield X if label is None else np.delete(X, label, axis=1)
            count += len(block)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read as CSV: {error}") from error
    if not count:
        raise InputError(f"{source}: no rows in it")


def _lines(source: object, file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise InputError(f"{source}: a line has more than {_LONGEST_LINE:,} characters")
        yield line


def _read(path: Path, rows: Iterator[list[str]], label_name: str | None) -> Contents:
    names = next(rows, [])
    if len(names) < 2:
        raise InputError(f"{path}: expected a first line with the names of at least two columns")
    label = label_column(str(path), names, label_name)
    named = label_name is not None or names[label].strip().lower() in LABEL_COLUMNS
    for column, name in enumerate(names, 1):
        if not name.strip() or (_is_number(name) and not named):
            raise InputError(
                f"{path}: column {column} is called {name[:40]!r}; the first line must name the "
                "columns, one of them label, and none may be an index"
            )
    features = [*names[:label], *names[label + 1 :]]
    values, labels, known = array("d"), list[str](), dict[str, str]()
    for row in rows:
        if not row:
            continue
        where = f"{path}: row {len(labels)}"
        if len(row) != len(names):
            raise InputError(f"{where} has {len(row)} cells, expected {len(names)} as in line 1")
        text = row.pop(label).strip()
        if text in _MISSING or len(text) > LONGEST_NAME:
            raise InputError(f"{where} has no label, or a long one, in {names[label][:40]!r}")
        labels.append(known.setdefault(text, text))
        try:
            values.extend(list(map(float, row)))
        except ValueError:
            cells = zip(features, row, strict=True)
            numbers = [_number(f"{where}, column {name[:40]!r},", cell) for name, cell in cells]
            values.extend(numbers)
    X = np.frombuffer(values, np.float64) if labels else np.empty(0)
    return Contents({"train": Part(X.reshape(len(labels), len(names) - 1), labels)})


def _number(where: str, cell: str) -> float:
    if cell.strip() in _MISSING:
        return float("nan")
    if not _is_number(cell):
        raise InputError(f"{where} holds {cell[:40]!r}, expected a number")
    return float(cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
