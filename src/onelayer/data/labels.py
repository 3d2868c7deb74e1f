"""Labels of every format as class indices, one for each sample.

Labels are whole numbers, True and False, or texts, and are compared as texts: 1, 1.0, "1" and "1.0"
are one label, so that the same samples have the same classes in every format.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.cells import is_missing, read_number
from onelayer.data.columns import listed
from onelayer.data.dataset import Split
from onelayer.errors import InputError

MOST_CLASSES = 100_000
_SHARED = 0.9  # labels a sample: with more they cannot be classes
_FEW = 3  # samples of a class
_EXACT = 2**53  # from here on float64 lacks some whole numbers
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,19})", re.ASCII)
_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_NOTHING = ("NoneType", "NAType", "NaTType")  # types of missing values in Python and pandas


@dataclass(frozen=True)
class _Labels:
    """Labels of a split: the different `texts`, and the index of each row's text in them (N,)."""

    texts: list[str]
    places: NDArray[np.intp]
    numeric: bool


def encode_labels(
    source: str,
    labels: Mapping[str, Any],
    class_names: tuple[str, ...] | None = None,
    column: str | None = None,
) -> tuple[dict[str, NDArray[np.intp]], tuple[str, ...]]:
    """Return the class indices (N,) of the labels of each split, and the names of the classes.

    The classes are the different labels, sorted. With `class_names`, a text is one of the names and
    a whole number is the index of a name. `column` is the label column of a table.

    Raises
    ------
    InputError
        If a label is missing, a decimal number or not one of the classes; names the row.

    Examples
    --------
    >>> y, names = encode_labels("data", {"train": ["10", "2.0", "2"], "test": np.array([10.0])})
    >>> names, y["train"].tolist(), y["test"].tolist()
    (('2', '10'), [1, 0, 0], [1])
    """
    if class_names is not None and all(map(_are_places, labels.values())):
        return {split: y.astype(np.intp, copy=False) for split, y in labels.items()}, class_names
    found = {split: _find(source, some) for split, some in labels.items()}
    texts = {text for some in found.values() for text in some.texts}
    known = {name: place for place, name in enumerate(class_names or ())}
    if texts <= known.keys() and not any(some.numeric for some in found.values()):
        return _indices(found, known.__getitem__), class_names or ()
    for split, some in found.items():
        _check(source, f"{split}, " if len(found) > 1 else "", column, some, "+" in texts)
    read = next(way for way in (_boolean, _whole, str) if all(way(t) is not None for t in texts))
    if read is str and any(some.numeric for some in found.values()):
        raise InputError(f"{source}: labels of one split are numbers, and of another are not")
    if class_names is not None:
        if read is str:
            stranger = min(texts - known.keys())
            raise InputError(f"{source}: the label {stranger[:40]!r} is not one of the classes")
        return _indices(found, lambda text: max(-1, min(int(read(text) or 0), 2**62))), class_names
    ordered: list[Any] = sorted({read(text) for text in texts})
    if len(ordered) > MOST_CLASSES:
        raise InputError(f"{source}: {len(ordered):,} classes, expected at most {MOST_CLASSES:,}")
    places = {label: place for place, label in enumerate(ordered)}
    return _indices(found, lambda text: places[read(text)]), tuple(map(str, ordered))


def check_label_shape(source: str, shape: Sequence[int]) -> None:
    """Raise InputError unless labels have the shape (N,), or (N, L) for multi-label data."""
    if len(shape) not in (1, 2) or 0 in shape[1:]:
        raise InputError(
            f"{source}: labels of the shape {(*shape,)}, expected (N,), or (N, L) of 0 and 1"
        )


def check_shared(source: str, y: Mapping[str, NDArray[np.intp]], column: str | None = None) -> None:
    """Raise InputError if nearly every training sample has a label of its own, like an id.

    One training sample of each class is accepted if the other splits have samples of all classes.
    """
    N, K = len(y["train"]), len(np.unique(y["train"]))
    if K <= _SHARED * N or sum(map(len, y.values())) >= 2 * K:
        return
    of = "each" if K == N else f"nearly each ({K:,} labels)"
    where = "" if column is None else f" in the column {column[:40]!r}"
    raise InputError(
        f"{source}: {of} of the {N:,} samples has a label of its own{where}, like an id, a row "
        "number or a number to predict; expected several samples of a class"
    )


def notes_on_classes(
    source: str, splits: Mapping[str, Split], class_names: tuple[str, ...]
) -> tuple[str, ...]:
    """Return notes on classes that cannot be learned, or are probably not classes.

    Labels that are no index of a class name are ignored here: the Dataset refuses them.
    """
    K, notes = len(class_names), []
    counts = {
        split: np.bincount(some.y[(some.y >= 0) & (some.y < K)], minlength=K)
        for split, some in splits.items()
    }
    total = np.sum(list(counts.values()), axis=0)

    def classes(chosen: NDArray[np.bool_]) -> str:
        names = [class_names[k] for k in np.flatnonzero(chosen)]
        return f"{len(names):,} of the {K:,} classes ({listed(names)})"

    if (absent := counts["train"] == 0).any():
        others = [f"{counts[split][absent].sum():,} of {split}" for split in counts]
        notes.append(
            f"{source}: without a training sample, so it cannot be learned: {classes(absent)}; "
            f"samples of them elsewhere: {', '.join(others[1:]) or 'none'}"
        )
    if doubt := _doubt(class_names, total):
        notes.append(f"{source}: {doubt}")
    elif (single := total == 1).any():
        notes.append(f"{source}: with one sample only: {classes(single)}")
    return tuple(notes)


def _doubt(class_names: tuple[str, ...], counts: NDArray[np.intp]) -> str:
    """Return a question if labels with these counts are hardly classes, else nothing.

    Whole numbers are rather numbers to predict if most of them are rare, or if they are many and do
    not count from 0 or 1: so are ages, years and prices, but not the numbers of a long list.
    """
    seen = counts[counts > 0]
    K, N, few = len(seen), int(seen.sum()), int(np.count_nonzero(seen < _FEW))
    found = f"{K:,} classes for {N:,} samples"
    found += f", {few:,} of them with fewer than {_FEW}" if few else ""
    values = [value for name in class_names if (value := _whole(name)) is not None]
    if not values or len(values) < len(class_names):
        return f"{found}: are the labels names of single samples?" if N < _FEW * K else ""
    least, most = min(values), max(values)
    counted = least in (0, 1) and most - least == len(values) - 1
    if 2 * few <= K and (counted or math.sqrt(N) >= K):
        return ""
    return (
        f"{found}, whole numbers from {least:,} to {most:,}: if they are numbers to predict, that "
        "is a regression, which onelayer does not do"
    )


def _indices(
    found: Mapping[str, _Labels], place: Callable[[str], int]
) -> dict[str, NDArray[np.intp]]:
    return {
        split: np.array([place(text) for text in some.texts], np.intp)[some.places]
        for split, some in found.items()
    }


def _are_places(labels: Any) -> bool:
    return isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu"


def _find(source: str, labels: Any) -> _Labels:
    """Return labels of any kind as texts."""
    if not isinstance(labels, list):
        y: NDArray[Any] = np.asarray(labels)
        check_label_shape(source, y.shape)
        y = y[:, 0] if y.ndim == 2 else y
        if y.dtype.kind in "biuf":
            values = np.unique(y)
            return _Labels(list(map(str, values.tolist())), np.searchsorted(values, y), True)
        if y.dtype.kind not in "OUST":
            raise InputError(
                f"{source}: labels of {str(y.dtype)[:40]}, expected whole numbers or strings"
            )
        labels = y.tolist()
    places: dict[str, int] = {}
    found = (places.setdefault(_text(source, v), len(places)) for v in labels)
    of_rows = np.fromiter(found, np.intp, len(labels))
    return _Labels(list(places), of_rows, False)


def _text(source: str, value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if not isinstance(value, str | Number | np.bool_) and type(value).__name__ not in _NOTHING:
        raise InputError(
            f"{source}: a label of the type {type(value).__name__:.40}, "
            "expected whole numbers or strings"
        )
    return str(value).strip()


def _check(source: str, split: str, column: str | None, labels: _Labels, plus: bool) -> None:
    """Raise InputError if a label is missing or a decimal number; with `plus`, "-" is a class."""
    where = "" if column is None else f", column {column[:40]!r},"

    def first(wrong: list[bool]) -> tuple[str, str, int]:
        """Return the first wrong row, its label, and the number of wrong rows."""
        rows = np.array(wrong, bool)[labels.places]
        row = int(rows.argmax())
        place = f"{source}: {split}row {row}{where}"
        return place, labels.texts[labels.places[row]], int(rows.sum())

    missing = [is_missing(text) and not (plus and text == "-") for text in labels.texts]
    if any(missing):
        place, text, count = first(missing)
        raise InputError(
            f"{place} has no label: {text!r} is a missing value; {count:,} of "
            f"{len(labels.places):,} rows have none: leave them out"
        )
    decimal = list(map(_is_decimal, labels.texts))
    if any(decimal):
        place, text, _ = first(decimal)
        raise InputError(
            f"{place} has the label {text[:40]}: classes are whole numbers or strings; numbers "
            "to predict are a regression, which onelayer does not do"
        )


def _boolean(text: str) -> bool | None:
    return _BOOLEANS.get(text.lower())


def _whole(text: str) -> int | None:
    """Return a text as a whole number, else None; with leading zeros, like 007, it is a name."""
    if _DIGITS.fullmatch(text):
        return int(text) if _WHOLE.fullmatch(text) else None
    number = read_number(text)
    whole = number is not None and number.is_integer() and abs(number) < _EXACT
    return int(number) if whole and number is not None else None


def _is_decimal(text: str) -> bool:
    is_number = read_number(text) is not None and not is_missing(text)
    return is_number and _whole(text) is None and not _DIGITS.fullmatch(text)
