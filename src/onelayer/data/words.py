"""Text and date columns of a table: left out if they cannot be features, else refused.

An identifier, a file name, a time or a free text differs in most rows, and a constant column holds
no information: such columns are left out. Repeated words are a category, which only a person can
encode; numbers among words are damage or a code.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from onelayer.data.cells import is_like_number, is_missing
from onelayer.data.columns import ENCODE, is_row_name, listed
from onelayer.errors import InputError

_MOST = 1000  # different words of a column that are counted
_FEWEST = 4  # values needed to judge a column
_SHOWN = 40  # letters in a message


class Words:
    """A column of texts or dates, examined value by value.

    Raises
    ------
    InputError
        From `add` for a number among words or a word among numbers, from `check` if the column may
        be a feature; names row and column.
    """

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self._first: tuple[int, str] | None = None
        self._numeric = self._gaps = False
        self._type = ""
        self._seen: set[int] = set()  # hashes, as texts may be long
        self._rows = 0  # rows with a value, counted until _MOST different ones were seen

    def add(self, value: Any, row: int) -> None:
        """Examine one value: a text, a time or a missing value."""
        text = value if isinstance(value, str) else str(value)[: 2 * _SHOWN]
        if is_missing(text):
            self._gaps = True
            return
        if hasattr(value, "__len__") and not isinstance(value, str):
            raise InputError(f"{self._place(row, text)}, expected a number or a text")
        numeric = is_like_number(text)
        if self._first is None:
            self._first, self._numeric = (row, text[: 2 * _SHOWN]), numeric
            self._type = type(value).__name__
        if numeric != self._numeric:
            found = "a number among words" if numeric else "expected a number"
            raise InputError(f"{self._place(row, text)}, {found}; {ENCODE}")
        if len(self._seen) < _MOST:
            self._seen.add(hash(text))
            self._rows += 1

    def add_all(self, values: Iterable[Any], start: int = 0) -> None:
        """Examine the values of consecutive rows, the first of which is row `start`."""
        for row, value in enumerate(values, start):
            self.add(value, row)

    def check(self) -> None:
        """Raise InputError if the column may be a feature."""
        if self._first is None:
            return
        place, different = self._place(*self._first), len(self._seen)
        names_rows = self._rows >= _FEWEST and 2 * different > self._rows
        says_nothing = self._rows >= _FEWEST and different == 1 and not self._gaps
        if self._numeric and not (names_rows and is_row_name(self.name)):
            raise InputError(
                f"{place} of the type {self._type}; expected a column of a numeric type"
            )
        if not names_rows and not says_nothing:
            raise InputError(f"{place}, expected a number; {ENCODE}")

    def _place(self, row: int, text: str) -> str:
        column, found = self.name[:_SHOWN], text.strip()[:_SHOWN]
        return f"{self.source}: row {row}, column {column!r}, holds {found!r}"


def leave_out(source: str, columns: Sequence[Words]) -> tuple[str, ...]:
    """Return a note that these columns are left out; empty without columns.

    Raises
    ------
    InputError
        If one of them may be a feature; names it.
    """
    for words in columns:
        words.check()
    if not columns:
        return ()
    names = listed([words.name for words in columns])
    return (f"{source}: columns of words, dates or nothing are left out, as no features: {names}",)
