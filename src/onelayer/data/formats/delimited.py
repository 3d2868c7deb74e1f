"""CSV and its dialects: a line of column names, then a line for each sample."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.cells import is_like_number, is_missing, is_number, read_number, with_point
from onelayer.data.columns import ENCODE, LABEL_COLUMNS, Choice, Columns, Tell, choose_columns
from onelayer.data.contents import LONGEST_NAME, Contents, Part
from onelayer.data.dataset import BLOCK
from onelayer.data.formats.text import Text, decoded, is_odd, naming, open_text
from onelayer.data.words import Words, leave_out
from onelayer.errors import InputError


def read_csv(
    path: Path,
    label: str | None = None,
    like: Columns | None = None,
    leave: Sequence[str] = (),
) -> Contents:
    """Read columns of numbers as features and one column of labels: see choose_columns.

    Columns in `leave` are not features. Missing values (see data.cells) are NaN. Columns of words
    are left out or refused: see data.words.

    Raises
    ------
    InputError
        If there is no such column, a line has more or fewer cells than the first, or a feature is
        not a number; names the row and the column.
    """
    notes = list[str]()
    with open_text(path) as text:
        rows = iter(text)
        names = _names(next(rows, []))
        choice = _choose(path, names, label, like, text.separator != ",", leave)
        numbers = _Numbers(str(path), text, choice, notes.append, words=like is None)
        values, labels, known = array("d"), list[Any](), dict[Any, Any]()
        for X, cells in _blocks(str(path), rows, names, choice, numbers):
            for cell in cells:
                if cell not in known:
                    known[cell] = numbers.read_labels(cell, len(labels))
                labels.append(known[cell])  # equal labels are one object
            values.frombytes(X.tobytes())
    X = np.frombuffer(values, np.float64) if labels else np.empty(0)
    X = X.reshape(len(labels), len(choice.features))
    columns, words = choice.columns, numbers.words
    if words:
        notes += numbers.settle()
        columns = columns.without(str(path), words, "words")
        X = np.delete(X, [*words], axis=1)
    several = tuple(names[column] for column in choice.several) or None
    part = Part(X, np.array(labels) if several else labels)
    return Contents({"train": part}, several, columns=columns, notes=(*choice.notes, *notes))


def csv_features(
    path: Path, label: str | None = None, *, like: Columns | None, tell: Tell
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of the features of a file: see stream_features."""
    with open_text(path) as text:
        yield from _features(str(path), text, label, like, tell)


def stream_features(
    source: str, stream: Any, label: str | None = None, *, like: Columns | None, tell: Tell
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of rows (n, D) of numbers from a stream of bytes, n at most 1000.

    The first line names the columns, among which choose_columns chooses; if it holds numbers, all
    columns are features. Missing values are NaN. Columns with words in their first 1000 rows are
    left out, unless a model names its columns.

    Raises
    ------
    InputError
        If a line has more or fewer cells than the first, or a cell is not a number; names it.
    """
    with naming(source), decoded(stream) as text:
        yield from _features(source, text, label, like, tell)


def _features(
    source: str, text: Text, label: str | None, like: Columns | None, tell: Tell
) -> Iterator[NDArray[np.float64]]:
    rows = iter(text)
    cells = next(rows, [])
    names = _names(cells)
    if _names_columns(names, like, text.separator != ","):
        choice = choose_columns(source, names, label, like=like, labelled=False)
    else:
        rows = chain([cells] if cells else [], rows)
        names = [str(column) for column in range(1, len(names) + 1)]
        choice = Choice(range(len(names)), None, Columns(tuple(names)))
        if like is not None:
            tell(f"{source}: has no names of columns, so they were taken in their order")
    for note in choice.notes:
        tell(note)
    empty = True
    numbers = _Numbers(source, text, choice, tell, words=like is None)
    for X, _ in _blocks(source, rows, names, choice, numbers):
        if empty:
            for note in numbers.settle():
                tell(note)
        yield np.delete(X, [*numbers.words], axis=1) if numbers.words else X
        empty = False
    if empty:
        raise InputError(f"{source}: has no rows")


def _names(cells: Sequence[str]) -> list[str]:
    """Return the names in the first line, which some programs begin with a # like a comment."""
    names = [name.strip() for name in cells]
    return [names[0].removeprefix("#").strip(), *names[1:]] if names else []


def _names_columns(cells: Sequence[str], like: Columns | None, comma: bool) -> bool:
    """Return whether the first line of a table has names; the names of a model may be numbers."""
    known = set() if like is None else {*like.features, like.label}
    return not all(is_number(cell, comma) for cell in cells) or (
        bool(known) and known.issuperset(cells)
    )


def _choose(
    path: Path,
    names: Sequence[str],
    label: str | None,
    like: Columns | None,
    comma: bool,
    leave: Sequence[str],
) -> Choice:
    """Return the choice of columns, after a check of their names."""
    if len(names) < 2:
        raise InputError(
            f"{path}: expected a first line with the names of at least two columns, between "
            f"commas, semicolons, tabs or |; found {(names or [''])[0][:40]!r}"
        )
    if label is None and not any(name.lower() in LABEL_COLUMNS for name in names):
        for column, name in enumerate(names, 1):
            if is_number(name, comma) and not is_missing(name):
                raise InputError(
                    f"{path}: column {column} is called {name[:40]!r}; the first line must name "
                    "the columns, one of them label"
                )
    return choose_columns(str(path), names, label, like=like, leave=leave)


class _Numbers:
    """A reader of numbers in rows of cells: with decimal points or, in all rows, decimal commas.

    A comma is a decimal comma only if commas do not separate cells. Columns that begin with a word
    are `words`, by index, and read as 0; without `words` they are refused.
    """

    def __init__(self, source: str, text: Text, choice: Choice, tell: Tell, *, words: bool) -> None:
        self._source, self._text, self._tell = source, text, tell
        self.words: dict[int, Words] = {}
        self._may_be_words = set(range(len(choice.features))) if words else set()
        self._columns = choice.columns
        self._mark = "." if text.separator == "," else ""  # "": unknown until a number has one

    def read(self, cells: Sequence[str], row: int) -> list[float]:
        """Return the features of a row, missing ones as NaN."""
        if self.words:
            cells = self._without_words(cells, row)
        plain = cells
        if self._mark != ".":
            self._find_mark(cells)
            plain = list(map(with_point, cells)) if self._mark == "," else cells
        odd, self._text.odd = self._text.odd and is_odd("".join(cells)), False
        try:
            numbers = list(map(float, plain))
            if not odd and math.isfinite(sum(numbers)):
                self._may_be_words.clear()
                return numbers
        except ValueError:
            pass
        pairs = enumerate(zip(cells, plain, strict=True))
        return [self._number(row, column, *pair, odd) for column, pair in pairs]

    def settle(self) -> tuple[str, ...]:
        """Return the note on columns of words; from now on a word among numbers is an error."""
        self._may_be_words.clear()
        return leave_out(self._source, [*self.words.values()])

    def read_labels(self, cells: Any, row: int) -> Any:
        """Return the label of a row, or a tuple of its labels."""
        if isinstance(cells, str):
            return self.read_label(cells, row)
        return tuple(self.read_label(cell, row) for cell in cells)

    def read_label(self, cell: str, row: int) -> str:
        """Return a label, with a decimal point if it is a number with a decimal comma."""
        if len(cell) > LONGEST_NAME:
            raise InputError(
                f"{self._source}: row {row}, column {self._columns.label!r:.42}, has a label of "
                f"{len(cell):,} characters, expected at most {LONGEST_NAME}"
            )
        number = self._mark != "." and read_number(with_point(cell)) is not None
        return with_point(cell) if number else cell

    def _without_words(self, cells: Sequence[str], row: int) -> list[str]:
        rest = list(cells)
        for column, words in self.words.items():
            words.add(rest[column], row)
            rest[column] = "0"
        return rest

    def _find_mark(self, cells: Sequence[str]) -> None:
        if self._mark or not any("." in cell or "," in cell for cell in cells):
            return
        numbers = "".join(cell for cell in cells if is_number(cell, comma=True))
        if "." in numbers or "," in numbers:
            self._mark = "." if "." in numbers else ","
            if self._mark == ",":
                self._tell(f"{self._source}: numbers are read with decimal commas: 1,234 is 1.234")

    def _number(self, row: int, column: int, cell: str, plain: str, odd: bool) -> float:
        try:
            if not odd and math.isfinite(number := float(plain)):
                self._may_be_words.discard(column)
                return number
        except ValueError:
            pass
        name, found = self._columns.features[column], read_number(plain)
        if found is None and column in self._may_be_words and not is_like_number(cell):
            self.words[column] = Words(self._source, name)
            self.words[column].add(cell, row)
            return 0.0
        if found is None or not math.isnan(found):
            self._may_be_words.discard(column)
        where = f"{self._source}: row {row}, column {name[:40]!r}, holds {cell[:40]!r}"
        if found is None:
            example = "-1234,5" if self._mark == "," else "-1234.5"
            raise InputError(f"{where}, expected a number like {example} or 1e-3; {ENCODE}")
        if math.isinf(found) and "inf" not in plain.lower():
            raise InputError(f"{where}, which is too large for a number of 64 bits")
        return found


def _blocks(
    source: str,
    rows: Iterator[list[str]],
    names: Sequence[str],
    choice: Choice,
    numbers: _Numbers,
) -> Iterator[tuple[NDArray[np.float64], list[Any]]]:
    """Yield the features (n, D) of up to 1000 rows at a time, and the texts in the label column.

    With several label columns, each row has a tuple of texts.
    """
    D, label, several = len(choice.features), choice.label, choice.several
    pick = _picker(choice, len(names))
    values, texts, n = array("d"), list[Any](), 0

    def block() -> tuple[NDArray[np.float64], list[Any]]:
        return np.array(values, np.float64).reshape((n - 1) % BLOCK + 1, D), texts

    for n, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise _odd_row(source, row, n - 1, names)
        if label is not None:
            texts.append(row[label].strip())
        elif several:
            texts.append(tuple(row[column].strip() for column in several))
        values.extend(numbers.read(pick(row), n - 1))
        if n % BLOCK == 0:
            yield block()
            values, texts = array("d"), []
    if n % BLOCK:
        yield block()


def _odd_row(source: str, row: Sequence[str], number: int, names: Sequence[str]) -> InputError:
    """Return the error for a row with more or fewer cells than there are names."""
    found = (
        f"{source}: row {number} has {len(row)} cells, expected {len(names)} as in the first line"
    )
    if number == 0 and len(row) == len(names) + 1 and row[-1].strip():
        return InputError(
            f"{found}. R's write.table leaves it so: names of rows without a name of their column; "
            "write the table with row.names = FALSE, or begin the first line with a separator"
        )
    return InputError(f"{found}; it begins with {row[0][:20]!r}")


def _picker(choice: Choice, columns: int) -> Callable[[list[str]], Sequence[str]]:
    """Return a function that selects the feature cells of a row."""
    places = list(choice.features)
    if places == list(range(columns)):
        return lambda row: row
    return itemgetter(*places) if len(places) > 1 else lambda row: [row[c] for c in places]
