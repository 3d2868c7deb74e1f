"""CSV and TSV: a line of column names, then a line for each sample."""

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from onelayer.data.columns import LABEL_COLUMNS, Choice, Columns, Tell, choose_columns
from onelayer.data.contents import LONGEST_NAME, Contents, Part
from onelayer.data.dataset import BLOCK
from onelayer.data.files import check_file
from onelayer.errors import InputError

_LONGEST_LINE = 1 << 24  # characters
_MISSING = frozenset(("", "?", "NA", "N/A", "null"))


def read_csv(path: Path, label: str | None = None, like: Columns | None = None) -> Contents:
    """Read columns of numbers as features and one column of labels: see choose_columns.

    Empty cells, ?, NA, N/A and null are missing values (NaN).

    Raises
    ------
    InputError
        If there is no such column, a line has more or fewer cells than the first, or a feature is
        not a number; names the row and the column.
    """
    with _open(path) as file:
        rows = _split(str(path), file, _delimiter(path))
        names = next(rows, [])
        choice = _choose(path, names, label, like)
        values, labels, known = array("d"), list[str](), dict[str, str]()
        for X, texts in _blocks(str(path), rows, names, choice):
            for text in texts:
                if text in _MISSING or len(text) > LONGEST_NAME:
                    raise InputError(
                        f"{path}: row {len(labels)} has no label, or one longer than "
                        f"{LONGEST_NAME} characters, in the column {choice.columns.label!r:.42}"
                    )
                labels.append(known.setdefault(text, text))  # equal labels are one object
            values.frombytes(X.data.cast("B"))
    X = np.frombuffer(values, np.float64) if labels else np.empty(0)
    part = Part(X.reshape(len(labels), len(choice.features)), labels)
    return Contents({"train": part}, columns=choice.columns, notes=choice.notes)


def csv_features(
    path: Path, label: str | None = None, *, like: Columns | None, tell: Tell
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of the features of a file: see stream_features."""
    with _open(path) as file:
        yield from stream_features(str(path), file, _delimiter(path), label, like=like, tell=tell)


def stream_features(
    source: str,
    file: TextIO,
    delimiter: str = ",",
    label: str | None = None,
    *,
    like: Columns | None,
    tell: Tell,
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of numbers, n at most 1000.

    The first line names the columns, of which choose_columns says what they hold, unless it is
    itself of numbers; then all columns are features. Missing values, as in read_csv, are NaN.

    Raises
    ------
    InputError
        If a line has more or fewer cells than the first, or a cell is not a number; names it.
    """
    with _naming(source):
        rows = _split(source, file, delimiter)
        names = [name.strip() for name in next(rows, [])]
        if _names_columns(names, like):
            choice = choose_columns(source, names, label, like=like, labelled=False)
        else:
            rows = chain([names] if names else [], rows)
            names = [str(column) for column in range(1, len(names) + 1)]
            choice = Choice(range(len(names)), None, Columns(tuple(names)))
            if like is not None:
                tell(f"{source}: has no names of columns, so they were taken in their order")
        for note in choice.notes:
            tell(note)
        empty = True
        for X, _ in _blocks(source, rows, names, choice):
            yield X
            empty = False
    if empty:
        raise InputError(f"{source}: has no rows")


def _names_columns(cells: Sequence[str], like: Columns | None) -> bool:
    """Return whether the first line of a table has names: they may be numbers that are known."""
    known = set() if like is None else {*like.features, like.label}
    return not all(_is_number(cell) or cell in _MISSING for cell in cells) or (
        bool(known) and known.issuperset(cells)
    )


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


def _choose(path: Path, names: Sequence[str], label: str | None, like: Columns | None) -> Choice:
    """Return what the columns hold, after a look at their names."""
    if len(names) < 2:
        raise InputError(f"{path}: expected a first line with the names of at least two columns")
    choice = choose_columns(str(path), names, label, like=like)
    named = label is not None or str(choice.columns.label).lower() in LABEL_COLUMNS
    for column, name in enumerate(names, 1):
        if not name.strip() or (_is_number(name) and not named):
            raise InputError(
                f"{path}: column {column} is called {name[:40]!r}; the first line must name the "
                "columns, one of them label, and none may be an index"
            )
    return choice


def _blocks(
    source: str, rows: Iterator[list[str]], names: Sequence[str], choice: Choice
) -> Iterator[tuple[NDArray[np.float64], list[str]]]:
    """Yield the features (n, D) of up to 1000 rows at a time, and the texts in the label column."""
    D, label = len(choice.features), choice.label
    pick = _picker(choice, len(names))
    values, texts, n = array("d"), list[str](), 0

    def block() -> tuple[NDArray[np.float64], list[str]]:
        return np.array(values, np.float64).reshape((n - 1) % BLOCK + 1, D), texts

    for n, row in enumerate(rows, 1):
        where = f"{source}: row {n - 1}"
        if len(row) != len(names):
            raise InputError(f"{where} has {len(row)} cells, expected {len(names)} as in line 1")
        if label is not None:
            texts.append(row[label].strip())
        cells = pick(row)
        try:
            values.extend(list(map(float, cells)))  # a list: a part of a row must not stay
        except ValueError:
            named = zip(choice.columns.features, cells, strict=True)
            values.extend(
                [_number(f"{where}, column {name[:40]!r},", cell) for name, cell in named]
            )
        if n % BLOCK == 0:
            yield block()
            values, texts = array("d"), []
    if n % BLOCK:
        yield block()


def _picker(choice: Choice, columns: int) -> Callable[[list[str]], Sequence[str]]:
    """Return what takes the features out of the cells of a row."""
    places = list(choice.features)
    if places == list(range(columns)):
        return lambda row: row
    return itemgetter(*places) if len(places) > 1 else lambda row: [row[c] for c in places]


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
