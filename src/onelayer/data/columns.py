"""Columns of tables: which hold features and which the labels, found by their names."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from onelayer.errors import InputError, printable

LABEL_COLUMNS = ("label", "labels", "class", "target", "targets", "y")
_SHOWN = 5  # names in a message
_WIDTH = 40  # letters of a name in a message

Tell = Callable[[str], None]  # is given each sentence on what was understood


class NoLabelsError(InputError):
    """Samples are there, but no labels."""


def ignore(note: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns: of the features (D,), in order, and of the labels, if any.

    Raises
    ------
    InputError
        If two columns have one name.
    """

    features: Annotated[tuple[str, ...], "(D,)"]
    label: str | None = None

    def __post_init__(self) -> None:
        names = [*self.features, *([] if self.label is None else [self.label])]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise InputError(f"two columns are called {name[:_WIDTH]!r}; names must differ")
            seen.add(name)

    def places_in(self, source: str, names: Sequence[str]) -> list[int]:
        """Return the place of each of the features among the columns `names` of `source`.

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
    """The columns of one table that are read, by place: features (D,) and labels; with `notes`."""

    features: Sequence[int]
    label: int | None
    columns: Columns
    notes: tuple[str, ...] = ()


def columns_called(source: str, names: Iterable[object]) -> Columns:
    """Return columns of these names, without white space around them.

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
    label: str | None = None,
    *,
    like: Columns | None = None,
    labelled: bool = True,
) -> Choice:
    """Return which of a table's columns hold features, and which one the labels.

    The labels are in the column `label`; else in that of `like`, the columns of a model; else in
    the first of LABEL_COLUMNS; else, if there must be labels (`labelled`), in the last. Features
    are the columns of `like`, by name, or else all others.

    Raises
    ------
    InputError
        If there is no such column, or two have one name; names `source`.
    """
    names = columns_called(source, names).features
    place = _find_label(source, names, label, like, labelled)
    found = None if place is None else names[place]
    if like is None:
        places = [column for column in range(len(names)) if column != place]
        return Choice(places, place, Columns(tuple(names[c] for c in places), found))
    places = like.places_in(source, names)
    used = {place, *places}
    if place in places:
        raise InputError(f"{source}: {found!r} is a feature of the model, not its labels")
    notes = []
    if place is not None and not labelled:
        notes.append(f"{source}: the column {found!r} holds labels, which are not used")
    unused = [name for column, name in enumerate(names) if column not in used]
    if unused:
        notes.append(
            f"{source}: {len(unused):,} columns that the model does not know are not used: "
            f"{listed(unused)}"
        )
    return Choice(places, place, Columns(like.features, found), tuple(map(printable, notes)))


def listed(names: Sequence[str]) -> str:
    """Return the first of the names for a message."""
    return ", ".join(name[:_WIDTH] for name in names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


def _find_label(
    source: str, names: Sequence[str], label: str | None, like: Columns | None, labelled: bool
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
    last = len(names) - 1
    if last >= 0 and names[last] in features:
        raise NoLabelsError(f"{source}: has no column of labels; --label names it")
    return last if last >= 0 else None
