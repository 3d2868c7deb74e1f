"""CSV and TSV: a line of column names, then a line for each sample."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import (
    LABEL_COLUMNS,
    LONGEST_NAME,
    Contents,
    Part,
    known_label_column,
    label_column,
)
from onelayer.data.dataset import BLOCK
from onelayer.data.files import check_file
from onelayer.errors import InputError

_LONGEST_LINE = 1 << 24  # characters
_MISSING = frozenset(("", "?", "NA", "N/A", "null"))


def read_csv(path: Path, label: str | None = None) -> Contents:
    """Read the columns of numbers as features and one column of labels, numbers or strings.

    The labels are in the column `label`. Without it they are in the column called label, class,
    target or y, or else in the last one. Empty cells, ?, NA, N/A and null are missing values (NaN).

    Raises
    ------
    InputError
        If there is no such column, a line has more or fewer cells than the first, or a feature is
        not a number; names the row and the column.
    """
    with _open(path) as file:
        rows = _split(str(path), file, _delimiter(path))
        names = next(rows, [])
        place = _check_names(path, names, label)
        values, labels, known = array("d"), list[str](), dict[str, str]()
        for X, texts in _blocks(str(path), rows, names, place):
            for text in texts:
                if text in _MISSING or len(text) > LONGEST_NAME:
                    raise InputError(
                        f"{path}: row {len(labels)} has no label, or one longer than "
                        f"{LONGEST_NAME} characters, in the column {names[place][:40]!r}"
                    )
                labels.append(known.setdefault(text, text))  # equal labels are one object
            values.frombytes(X.data.cast("B"))
    X = np.frombuffer(values, np.float64) if labels else np.empty(0)
    return Contents({"train": Part(X.reshape(len(labels), len(names) - 1), labels)})


def csv_features(path: Path, label: str | None = None) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of the features of a file: see stream_features."""
    with _open(path) as file:
        yield from stream_features(str(path), file, _delimiter(path), label)


def stream_features(
    source: str, file: TextIO, delimiter: str = ",", label: str | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of numbers, n at most 1000.

    If the first line is not numbers, it names the columns, and the column `label` is left out, or
    one called label, class, target or y. Missing values, as in read_csv, are NaN.

    Raises
    ------
    InputError
        If a line has more or fewer cells than the first, or a cell is not a number; names it.
    """
    with _naming(source):
        rows = _split(source, file, delimiter)
        names = next(rows, [])
        if all(_is_number(cell) or cell.strip() in _MISSING for cell in names):
            rows = chain([names] if names else [], rows)
            names = [str(column) for column in range(1, len(names) + 1)]
        empty = True
        for X, _ in _blocks(source, rows, names, known_label_column(source, names, label)):
            yield X
            empty = False
    if empty:
        raise InputError(f"{source}: has no rows")


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    check_file(path)
    with _naming(str(path)), path.open(encoding="utf-8-sig", newline="") as file:
        yield file


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Turn what the csv module and the decoder raise into an InputError that names the source."""
    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read as CSV: {error}") from error


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _split(source: str, file: TextIO, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each line that is not empty."""
    return filter(None, csv.reader(_lines(source, file), delimiter=delimiter, strict=True))


def _lines(source: str, file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise InputError(f"{source}: a line has more than {_LONGEST_LINE:,} characters")
        yield line


def _check_names(path: Path, names: Sequence[str], label_name: str | None) -> int:
    """Return the place of the label column, after a look at the names of all columns."""
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
    return label


def _blocks(
    source: str, rows: Iterator[list[str]], names: Sequence[str], label: int | None
) -> Iterator[tuple[NDArray[np.float64], list[str]]]:
    """Yield the features (n, D) of up to 1000 rows at a time, and the texts in the label column."""
    features = [name for column, name in enumerate(names) if column != label]
    values, texts, n = array("d"), list[str](), 0

    def block() -> tuple[NDArray[np.float64], list[str]]:
        return np.array(values, np.float64).reshape((n - 1) % BLOCK + 1, len(features)), texts

    for n, row in enumerate(rows, 1):
        where = f"{source}: row {n - 1}"
        if len(row) != len(names):
            raise InputError(f"{where} has {len(row)} cells, expected {len(names)} as in line 1")
        if label is not None:
            texts.append(row.pop(label).strip())
        try:
            values.extend(list(map(float, row)))  # a list: a part of a row must not stay
        except ValueError:
            cells = zip(features, row, strict=True)
            values.extend(
                [_number(f"{where}, column {name[:40]!r},", cell) for name, cell in cells]
            )
        if n % BLOCK == 0:
            yield block()
            values, texts = array("d"), []
    if n % BLOCK:
        yield block()


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
