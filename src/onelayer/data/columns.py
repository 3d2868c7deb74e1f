"""Columns of a table: features, labels, and columns that only number the rows."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any

import numpy as np

from onelayer.errors import InputError
from onelayer.plain_values import check_text

LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "target", "targets", "y", "category", "species",
)  # fmt: skip
ENCODE = "leave out a column of words or dates, or encode it: for each word a column of 0 and 1"
_INDEX = re.compile(r"|Unnamed: [0-9]+|__index_level_[0-9]+__")  # names that pandas gives
_ROW_NAME = re.compile(  # id, sample_id, PassengerId, row, index, …
    r"(?i:(?:.*[\W_])?(?:id|idx)|index|#|rows?|row[\W_]?(?:index|name|no|num|number))|.*[a-z]I[dD]"
)
_ONE_OF_LABELS = re.compile(r"labels?[_.:/ -].", re.IGNORECASE)
_SHOWN = 5  # names in a message
_WIDTH = 40  # letters of a name in a message
MOST_LETTERS = 4_000_000  # of all names together: every record of a model holds them

Tell = Callable[[str], None]  # receives each note on how a source was read


class NoLabelsError(InputError):
    """The samples have no labels."""


def ignore(note: str) -> None:
    """Drop a note."""


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns: of the features (D,), in order, and of the labels, if any.

    Raises
    ------
    InputError
        If two columns have one name, or names are too long to be stored.
    """

    features: Annotated[tuple[str, ...], "(D,)"]
    label: str | None = None

    def __post_init__(self) -> None:
        names = [*self.features, *([] if self.label is None else [self.label])]
        if (letters := sum(map(len, names))) > MOST_LETTERS:
            raise InputError(
                f"names of columns of {letters:,} letters in all, expected at most {MOST_LETTERS:,}"
            )
        seen: set[str] = set()
        for name in names:
            check_text(name, f"the column {name[:_WIDTH]!r}: ")
            if name in seen:
                raise InputError(f"two columns are called {name[:_WIDTH]!r}; names must differ")
            seen.add(name)

    def without(self, source: str, places: Collection[int], what: str) -> "Columns":
        """Return the columns without the features at these indices, which hold `what`.

        Raises
        ------
        InputError
            If no feature is left; names `source`.
        """
        left = tuple(name for place, name in enumerate(self.features) if place not in places)
        if not left:
            raise InputError(
                f"{source}: no columns of features, only {what}: {listed(self.features)}; "
                "expected columns of numbers beside the labels"
            )
        return Columns(left, self.label)

    def places_in(self, source: str, names: Sequence[str]) -> list[int]:
        """Return the index of each feature among the columns `names` of `source`.

        Raises
        ------
        InputError
            If some are missing; names them.

        Examples
        --------
        >>> Columns(("a", "b")).places_in("t.csv", ["b", "id", "a"])
        [2, 0]
        """
        places = {name: place for place, name in enumerate(names)}
        missing = [name for name in self.features if name not in places]
        if missing:
            raise InputError(
                f"{source}: lacks {len(missing):,} of the {len(self.features):,} columns that the "
                f"model was trained on: {listed(missing)}; it has {listed(names)}"
            )
        return [places[name] for name in self.features]


@dataclass(frozen=True)
class Choice:
    """The columns of a table that are read, by index: features (D,) and label; with `notes`.

    `words` are columns of words, which are only examined. `several` are the label columns of
    multi-label data, in place of `label`.
    """

    features: Sequence[int]
    label: int | None
    columns: Columns
    notes: tuple[str, ...] = ()
    words: Sequence[int] = ()
    several: Sequence[int] = ()


def columns_called(source: str, names: Iterable[object]) -> Columns:
    """Return the Columns of these names, without white space around the names.

    Raises
    ------
    InputError
        If two have one name; names `source`.
    """
    try:
        return Columns(tuple(str(name).strip() for name in names))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def choose_columns(
    source: str,
    names: Sequence[str],
    label: str | Sequence[str] | None = None,
    *,
    like: Columns | None = None,
    labelled: bool = True,
    index: Collection[str] = (),
    leave: Collection[str] = (),
) -> Choice:
    """Return the columns of a table that hold features, and the one that holds the labels.

    The labels are in the column `label`; else in that of `like`, the columns of a model; else in
    the first of LABEL_COLUMNS, in upper or lower case; else, if there must be labels (`labelled`),
    in the last column. A row may have several labels: see _find_several. Features are the columns
    of `like`, by name, or else all others except the index of a frame: the columns in `index`, and
    those with a name that pandas gives. Columns in `leave` are left out without a note.

    Raises
    ------
    InputError
        If there is no such column, or two have one name; names `source`.

    Examples
    --------
    >>> choice = choose_columns("t.csv", ["Unnamed: 0", "width", "height", "kind"])
    >>> choice.columns
    Columns(features=('width', 'height'), label='kind')
    """
    names = [str(name).strip() for name in names]
    known = set() if like is None else {*like.features}
    for name in leave:
        if name not in names:
            raise InputError(f"{source}: no column {name!r}, only {listed(names)}")
    unnamed = [
        column
        for column, name in enumerate(names)
        if name not in known and (name in index or _INDEX.fullmatch(name))
    ]
    several = _find_several(source, names, label, known)
    one = None if label is None else str(label)
    place = None if several else _find_label(source, names, unnamed, one, like, labelled)
    own = {place, *several}
    unnamed = [column for column in unnamed if column not in own]
    columns_called(source, (name for c, name in enumerate(names) if c not in unnamed))
    found = None if place is None else names[place]
    if like is not None:
        choice = _choose_like(source, names, place, found, like, labelled, several)
        return replace(choice, several=several)
    places = [
        c for c in range(len(names)) if c not in own and c not in unnamed and names[c] not in leave
    ]
    columns = Columns(tuple(names[c] for c in places), found)
    plain = labelled and label is None and not several
    notes = _notes_on_labels(source, columns) if plain else []
    if label is not None and (also := [c for c in columns.features if _ONE_OF_LABELS.match(c)]):
        notes.append(f"{source}: called like labels, but taken for features: {listed(also)}")
    if unnamed:
        notes.append(
            f"{source}: columns that have no name, or are the index of a frame, are left out: "
            f"{listed([repr(names[c]) for c in unnamed])}"
        )
    return Choice(places, place, columns, tuple(notes), several=several)


def _choose_like(
    source: str,
    names: Sequence[str],
    label: int | None,
    found: str | None,
    like: Columns,
    labelled: bool,
    several: Sequence[int],
) -> Choice:
    """Return the columns of a model, by name, and the column `label`, called `found`."""
    places = like.places_in(source, names)
    if label in places:
        raise InputError(f"{source}: {found!r} is a feature of the model, not its labels")
    notes, used = [], {label, *places, *(several if labelled else ())}
    if label is not None and not labelled:
        notes.append(f"{source}: the column {found!r} holds labels, which are not used")
    unused = [name for column, name in enumerate(names) if name and column not in used]
    if unused:
        notes.append(
            f"{source}: {len(unused):,} columns that the model does not know are not used: "
            f"{listed(unused)}"
        )
    return Choice(places, label, Columns(like.features, found), tuple(notes))


def judge_features(
    source: str, X: Any, columns: Columns
) -> tuple[list[int] | None, Columns, tuple[str, ...]]:
    """Return the columns of features X (N, D) to keep (None: all), their names, and notes.

    A column that numbers the rows is left out: its name says so, and each row has a different whole
    number. Notes name other columns that rise by one from row to row, and columns that hold one
    value or none.
    """
    names = columns.features
    if X.dtype.kind not in "biuf" or X.shape[1:] != (len(names),):
        return None, columns, ()
    low, high = np.fmin.reduce(X), np.fmax.reduce(X)
    numbering, counting = row_numbers(X, names)
    said: dict[str, Sequence[int]] = {
        "left out, as they only number the rows": numbering,
        "kept, but rising by one from row to row; leave them out if they number the rows": counting,
        "of no value": np.flatnonzero(np.isnan(low)).tolist(),
        "of one value in all rows": np.flatnonzero(low == high).tolist(),
    }
    notes = tuple(
        f"{source}: columns {what}: {listed([names[c] for c in places])}"
        for what, places in said.items()
        if places
    )
    if not numbering:
        return None, columns, notes
    kept = [c for c in range(len(names)) if c not in numbering]
    return kept, columns.without(source, numbering, "row numbers"), notes


def row_numbers(X: Any, names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the columns of X (N, D) that number the rows by name, and others that rise by one."""
    numbering = [
        c
        for c, name in enumerate(names)
        if _INDEX.fullmatch(name) or (is_row_name(name) and _differs_in_all_rows(X[:, c]))
    ]
    counting = [c for c in range(len(names)) if c not in numbering and _counts(X[:, c])]
    return numbering, counting


def is_row_name(name: str) -> bool:
    """Return whether the name of a column is one for row names: id, index, row and so on."""
    return bool(_ROW_NAME.fullmatch(name))


def _differs_in_all_rows(column: Any) -> bool:
    return len(np.unique(column)) == len(column) and bool((column == np.rint(column)).all())


def _counts(column: Any) -> bool:
    """Return whether each number is one more than the number before it."""
    first, last = float(column[0]), float(column[-1])
    if len(column) < 3 or last - first != len(column) - 1 or not first.is_integer():
        return False
    return bool((column == np.arange(first, last + 1)).all())


def listed(names: Sequence[str]) -> str:
    """Return the first names as a text for a message."""
    return ", ".join(name[:_WIDTH] for name in names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


def _notes_on_labels(source: str, columns: Columns) -> list[str]:
    """Return notes on a label column that the user did not name."""
    also = [name for name in columns.features if name.lower() in LABEL_COLUMNS]
    if str(columns.label).lower() not in LABEL_COLUMNS:
        return [f"{source}: no column is called label, so the last, {columns.label!r}, holds them"]
    if also:
        return [f"{source}: {columns.label!r} holds the labels; taken for features: {listed(also)}"]
    return []


def _find_several(
    source: str, names: Sequence[str], label: str | Sequence[str] | None, known: Collection[str]
) -> list[int]:
    """Return the indices of several label columns; empty if a single column holds the labels.

    `label` names them, separated by commas or with a star. Without `label` they are all columns
    called label_… or labels_…, if no column has a name of LABEL_COLUMNS. Features that are `known`
    are excluded.
    """
    if label is None:
        free = [column for column, name in enumerate(names) if name not in known]
        found = [column for column in free if _ONE_OF_LABELS.match(names[column])]
        single = any(names[column].lower() in LABEL_COLUMNS for column in free)
        return found if len(found) > 1 and not single else []
    if isinstance(label, str) and label.strip() in names:
        return []
    asked = [part.strip() for part in (label.split(",") if isinstance(label, str) else label)]
    chosen = [
        [c for c, name in enumerate(names) if name == part or _fits(name, part)] for part in asked
    ]
    missing = [part for part, places in zip(asked, chosen, strict=True) if not places]
    if missing and len(asked) > 1:
        raise InputError(f"{source}: no column {listed(missing)}, only {listed(names)}")
    places = list(dict.fromkeys(place for some in chosen for place in some))
    return places if len(places) > 1 else []


def _fits(name: str, pattern: str) -> bool:
    return "*" in pattern and fnmatchcase(name, pattern)


def _find_label(
    source: str,
    names: Sequence[str],
    unnamed: Sequence[int],
    label: str | None,
    like: Columns | None,
    labelled: bool,
) -> int | None:
    if label is not None:
        if label.strip() not in names:
            raise NoLabelsError(f"{source}: no column {label!r}, only {listed(names)}")
        return names.index(label.strip())
    features = set() if like is None else set(like.features)
    if like is not None and like.label in names:
        return names.index(like.label)
    lowered = [name.lower() if name not in features else "" for name in names]
    known = next((lowered.index(name) for name in LABEL_COLUMNS if name in lowered), None)
    if known is not None or not labelled:
        return known
    last = max(set(range(len(names))).difference(unnamed), default=None)
    if last is None or names[last] in features:
        raise NoLabelsError(f"{source}: has no column of labels; --label names it")
    return last
