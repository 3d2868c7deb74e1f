"""Contents of a file or folder, and the Dataset made from them: labels become class indices."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.columns import MOST_LETTERS, Columns, judge_features
from onelayer.data.dataset import SPLIT_NAMES, Dataset, Features, ImageShape, Split, check_finite
from onelayer.data.derived import Derived, kind_of, take, widened
from onelayer.data.labels import (
    MOST_CLASSES,
    check_label_shape,
    check_shared,
    encode_labels,
    notes_on_classes,
)
from onelayer.data.multilabel import encode_matrix, is_matrix, notes_on_labels
from onelayer.data.npy import Mapped
from onelayer.data.splitting import (
    check_groups_apart,
    draw_stratified,
    label_groups,
    number_groups,
    rows_of_splits,
    strata_of,
)
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError, is_hidden

FRACTION = 0.15  # share of all samples in a drawn validation split, and in a drawn test split
FEWEST = 4  # samples: with fewer a drawn split would be empty
LONGEST_NAME = 100  # characters
_PIXEL = re.compile(r"(?:(?:pixel|pix|px)[-_ ]?|(?=[0-9]+x))([0-9]{1,4})(?:[x_-]([0-9]{1,4}))?")
# Joiners, variation selectors, fillers and a blank: invisible parts of a name.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0]")


@dataclass(frozen=True)
class Part:
    """Samples as they are stored: X (N, D), or images, and labels (N,) or several a row, (N, L).

    Images are (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels. Labels are an array or
    a list, not encoded yet. `files` are the mapped files of X, `groups` (N,) is the group number of
    each row.
    """

    X: Any
    labels: Any
    files: tuple[Mapped, ...] = ()
    groups: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Arrays:
    """The names of the arrays that were found: features, labels, split and group of each row.

    `pool` is the pooling of tokens. Features are `certain` if their name has no other meaning. They
    were stored as numbers of the type `kind`, each sample of the `shape` (…).
    """

    features: str
    labels: str = ""
    pool: str | None = None
    split: str = ""
    groups: str = ""
    certain: bool = True
    kind: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contents:
    """Samples of a file or folder by split, at least "train", with class names and image shape.

    With class names, each label is one of the names or its index; for multi-label data they are the
    names of the labels. `files` are the files that were read, if the source is not the only one;
    `columns` are the names of a table's columns, one for each feature or a single one for all;
    `notes` are sentences on how the source was read; `of_rows` are the "split" and the "groups" of
    the rows of a single part, not encoded yet; `arrays` are the names of the arrays.
    """

    parts: Mapping[str, Part]
    class_names: tuple[str, ...] | None = None
    image_shape: ImageShape | None = None
    files: Sequence[Path] = ()
    columns: Columns | None = None
    notes: tuple[str, ...] = ()
    of_rows: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays | None = None


def make_dataset(
    source: str,
    contents: Contents,
    *,
    name: str,
    seed: int = 0,
    test: bool = True,
    full_scale: float | None = None,
    keep: bool = False,
    allow_missing: bool = False,
    **fields: Any,
) -> Dataset:
    """Return the samples of `contents` as splits, their labels as class indices.

    Labels (N,) are encoded by encode_labels, multi-label matrices (N, L) by encode_matrix. If there
    is only a training part, 15% of all samples become the test split; without a validation part 15%
    become the validation split. Both are drawn from `seed`, stratified by class, but not for
    multi-label data. Features X become (N, D): uint8, float32 and float64 stay as they are; other
    numbers become float32 or, where that could round them, float64. The full scale of uint8 is 255,
    of other types 1. Without `test` the test split is left out. So are columns that number the rows
    of a table, unless `keep`: see judge_features. Other `fields` are those of Dataset.

    Raises
    ------
    InputError
        If shapes, types, labels or class names do not fit labelled samples; names `source`.
    """
    columns, notes = contents.columns, contents.notes
    labels = {split: part.labels for split, part in contents.parts.items()}
    column = None if columns is None else columns.label
    several = any(map(is_matrix, labels.values()))
    kind = "labels" if several else "classes"
    if several:
        indices, class_names = encode_matrix(source, labels, contents.class_names)
    else:
        indices, class_names = encode_labels(source, labels, contents.class_names, column)
    check_class_names(source, class_names)
    for split, part in contents.parts.items():
        if 0 in part.X.shape or len(part.X) != len(indices[split]):
            raise InputError(
                f"{source}: features of the shape {part.X.shape}, labels of {len(indices[split]):,}"
            )
    notes = (*notes, *_note_on_arrays(source, contents, f"{len(class_names):,} {kind}"))
    all_rows = len(indices["train"])
    contents = _assign_rows(source, contents, indices)
    if "split" in contents.of_rows and (
        left := all_rows - sum(len(part.labels) for part in contents.parts.values())
    ):
        notes += (f"{source}: {left:,} rows are in no split and not used",)
    indices = {split: part.labels for split, part in contents.parts.items()}
    if contents.class_names is None and not several and len(indices["train"]) >= FEWEST:
        check_shared(source, indices, column)
    train = contents.parts["train"].X
    image_shape = contents.image_shape or _image_shape(source, train)
    kept: list[int] | None = None
    if columns is not None and not keep:
        kept, columns, said = judge_features(source, train, columns)
        notes += said
    if image_shape is None and (
        pixels := _pixels_of(columns, len(kept) if kept else train.shape[1])
    ):
        image_shape = 1, *pixels
        values = train if kept is None else np.asarray(train)[:, kept]
        full_scale = full_scale or (255.0 if values.min() >= 0 and values.max() == 255 else None)
        white = ", in which 255 stands for 1" if full_scale == 255 else ""
        notes += (f"{source}: columns of pixels: images of {pixels[0]} × {pixels[1]}{white}",)
    splits: dict[str, Split] = {}
    for split, part in contents.parts.items():
        _image_shape(source, part.X)
        X, y = _flatten(part.X), indices[split]
        if split == "train" and "validation" not in contents.parts:
            if not allow_missing:  # here rows are still those of the source
                used = X if kept is None else np.asarray(X)[:, kept]
                check_finite(name, Split(used, y), _fitting(columns, used.shape[1]))
            whole = replace(part, X=X)
            for drawn, rows in _draw(source, whole, "test" not in contents.parts, seed).items():
                some = part_of(whole, rows)
                taken = some.X if kept is None else np.asarray(some.X)[:, kept]
                splits[drawn] = Split(
                    _as_features(source, taken), some.labels, some.files, some.groups
                )
        else:
            X = X if kept is None else np.asarray(X)[:, kept]
            splits[split] = Split(_as_features(source, X), y, part.files, part.groups)
    if not several and np.ptp(splits["train"].y) == 0:
        raise InputError(f"{source}: all training samples are of one class, expected several")
    tell = notes_on_labels if several else notes_on_classes
    notes += tell(source, splits, class_names)
    bytes_ = splits["train"].X.dtype == np.uint8
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test") if test else None,
        class_names,
        full_scale or (255.0 if bytes_ else 1.0),
        image_shape,
        columns=_fitting(columns, splits["train"].X.shape[1]),
        notes=notes,
        allow_missing=allow_missing,
        pool=contents.arrays.pool if contents.arrays else None,
        **fields,
    )


def _fitting(columns: Columns | None, n_features: int) -> Columns | None:
    """Return the column names if there is one for each feature, else None."""
    return columns if columns and len(columns.features) == n_features else None


def _pixels_of(columns: Columns | None, n_features: int) -> tuple[int, int] | None:
    """Return (height, width) of images if all columns have the names of pixels, in order.

    pixel0, pixel1 and so on belong to a square; 1x1, 1x2 or pixel_0_0 have the row and the column.
    """
    columns = _fitting(columns, n_features)
    found = [_PIXEL.fullmatch(name) for name in columns.features] if columns else []
    places = [tuple(map(int, match.groups(default=0))) for match in found if match]
    if not places or len(places) < len(found):
        return None
    side = math.isqrt(n_features)
    (top, left), (bottom, right) = places[0], places[-1]
    in_rows = list(product(range(top, bottom + 1), range(left, right + 1)))
    if left == right == 0 and side**2 == n_features:
        return (side, side) if places == in_rows else None
    return (bottom - top + 1, right - left + 1) if places == in_rows and right > left else None


def check_shapes(source: str, X: Sequence[int], y: Sequence[int]) -> None:
    """Raise InputError, before values are read, for shapes that labelled samples cannot have."""
    _image_shape(source, np.broadcast_to(np.uint8(), X))
    if 0 in X or y[:1] != X[:1]:
        raise InputError(f"{source}: features of the shape {(*X,)}, labels of {(*y,)}")
    check_label_shape(source, y)


def part_of(part: Part, rows: NDArray[np.intp]) -> Part:
    """Return some rows of a part whose labels are an array; features in a file are not read."""
    X = take(part.X, rows)
    groups = None if part.groups is None else part.groups[rows]
    return Part(X, part.labels[rows], part.files if isinstance(X, Derived) else (), groups)


def _assign_rows(
    source: str, contents: Contents, indices: Mapping[str, NDArray[np.intp]]
) -> Contents:
    """Return contents with the labels as `indices`, and the splits and groups from other arrays.

    Raises
    ------
    InputError
        If the contents already have splits, or a group is in two splits; as number_groups and
        rows_of_splits.
    """
    parts = {split: replace(part, labels=indices[split]) for split, part in contents.parts.items()}
    told = contents.arrays
    if not contents.of_rows or told is None:
        return replace(contents, parts=parts)
    if set(parts) != {"train"}:
        raise InputError(
            f"{source}: has splits of its own, {', '.join(parts)}, so {told.split or told.groups} "
            "cannot say where a row belongs"
        )
    whole = parts["train"]
    if "groups" in contents.of_rows:
        groups = number_groups(told.groups, contents.of_rows["groups"], len(whole.labels))
        whole = replace(whole, groups=groups)
    parts = {"train": whole}
    if "split" in contents.of_rows:
        rows = rows_of_splits(told.split, contents.of_rows["split"], len(whole.labels))
        parts = {split: part_of(whole, some) for split, some in rows.items()}
        groups_of = {split: part.groups for split, part in parts.items() if part.groups is not None}
        check_groups_apart(f"{told.split} and {told.groups}", groups_of)
    return replace(contents, parts=parts)


def _note_on_arrays(source: str, contents: Contents, classes: str) -> tuple[str, ...]:
    """Return a note that describes the arrays, unless their names and types are clear."""
    told, X = contents.arrays, contents.parts["train"].X
    if told is None:
        return ()
    kind = told.kind or kind_of(X)
    plain = told.certain and not (told.pool or told.split or told.groups)
    if plain and kind not in ("float16", "bfloat16"):
        return ()
    sides = " × ".join(f"{side:,}" for side in told.shape or X.shape[1:])
    parts = contents.parts
    counts = " + ".join(f"{len(parts[split].X):,}" for split in SPLIT_NAMES if split in parts)
    words = [f"{counts} × {sides} {kind}"]
    words += [f"as {', '.join(filter(parts.get, SPLIT_NAMES))}"] if len(parts) > 1 else []
    words += [f"pooled by {told.pool}"] if told.pool else []
    words += [f"labels from {told.labels} ({classes})"] if told.labels else []
    words += [f"split by {told.split}"] if told.split else []
    words += [f"groups of rows from {told.groups}"] if told.groups else []
    return (f"{source if told.certain else told.features}: {', '.join(words)}",)


def _draw(source: str, part: Part, with_test: bool, seed: int) -> dict[str, NDArray[np.intp]]:
    """Return the rows of the training, validation and, if asked, test split; groups stay whole."""
    if part.groups is not None:
        labels, members = label_groups(part.groups, strata_of(part.labels))
        drawn = _draw_rows(f"{source}, groups", labels, with_test, seed)
        return {split: np.flatnonzero(np.isin(members, some)) for split, some in drawn.items()}
    return _draw_rows(source, strata_of(part.labels), with_test, seed)


def _draw_rows(
    source: str, y: NDArray[np.intp], with_test: bool, seed: int
) -> dict[str, NDArray[np.intp]]:
    if len(y) < FEWEST:
        raise InputError(f"{source}: {len(y)} samples are too few to split, expected {FEWEST}")
    generator = random_stream(seed, Stream.DEFAULT_SPLITS)
    rest, drawn, count = np.arange(len(y)), {}, round(FRACTION * len(y))
    for split in ("test", "validation") if with_test else ("validation",):
        _, places, sizes = np.unique(y[rest], return_inverse=True, return_counts=True)
        others = sizes[places] > 1  # the last sample of a class stays in the training split
        if others.sum() < 2 * count:
            others[:] = True
        taken = np.zeros(len(rest), bool)
        taken[others] = draw_stratified(y[rest[others]], count, generator)
        drawn[split], rest = rest[taken], rest[~taken]
    return {"train": rest, **drawn}


def _image_shape(source: str, X: Any) -> ImageShape | None:
    """Return (channels, height, width) of images (N, H, W), (N, C, H, W) or (N, H, W, C)."""
    if X.ndim == 3:
        return 1, int(X.shape[1]), int(X.shape[2])
    if X.ndim == 4 and X.shape[1] in (1, 3):
        return int(X.shape[1]), int(X.shape[2]), int(X.shape[3])
    if X.ndim == 4 and X.shape[3] in (1, 3):
        return int(X.shape[3]), int(X.shape[1]), int(X.shape[2])
    if X.ndim != 2:
        raise InputError(
            f"{source}: features of the shape {X.shape}, expected (N, D), (N, H, W), or images "
            "with 1 or 3 channels"
            + "; of maps (N, C, H, W), X.mean(axis=(2, 3)) gives (N, C)"
            * (X.ndim == 4)
        )
    return None


def unlabelled_rows(
    source: str, X: Any, n_features: int, image_shape: ImageShape | None
) -> Features:
    """Return unlabelled samples, or a single one, as rows (N, D).

    A single sample has the shape (D,), or that of an image: (C, H, W), (H, W, C) or (H, W).

    Raises
    ------
    InputError
        If they are not real numbers, or do not have `n_features` each; names `source`.
    """
    channels, *sides = image_shape or (0,)
    single = (n_features,), image_shape, (*sides, channels), tuple(sides) if channels == 1 else None
    samples = X[None] if X.shape in single else X
    _image_shape(source, samples)
    rows = _flatten(samples)
    if rows.shape[1] != n_features or not len(rows):
        raise InputError(
            f"{source}: samples of {rows.shape[1]:,} features, expected {n_features:,}"
        )
    return _as_features(source, rows)


def _flatten(X: Any) -> Features:
    """Return images as rows (N, D), channel by channel; 16-bit decimals are widened when read."""
    X = widened(X)
    if X.ndim != 2 and isinstance(X, Derived):
        X = X[:]
    if X.ndim == 4 and X.shape[1] not in (1, 3):
        X = X.transpose(0, 3, 1, 2)
    flat: Features = X if X.ndim == 2 else X.reshape(len(X), math.prod(X.shape[1:]))
    return flat


def _as_features(source: str, X: Features) -> Features:
    """Return X as uint8, float32 or float64, each row contiguous in memory."""
    if X.dtype.kind not in "biuf":
        raise InputError(f"{source}: features of {str(X.dtype)[:40]}, expected real numbers")
    dtype = feature_type([X.dtype])
    if isinstance(X, Derived):
        return X
    if X.dtype == dtype and X.strides[1] == dtype.itemsize:
        return X
    with np.errstate(over="ignore"):  # a value too large becomes infinite, and is reported
        return np.asarray(X).astype(dtype, order="C")


def feature_type(types: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the common type for features of these types: uint8, float32 or float64."""
    kinds = set(types)
    if kinds == {np.dtype(np.uint8)}:
        return np.dtype(np.uint8)
    exact = all(kind.itemsize <= 2 or kind.newbyteorder("=") == np.float32 for kind in kinds)
    return np.dtype(np.float32 if exact else np.float64)


def check_class_names(source: str, names: Sequence[str]) -> None:
    """Raise InputError unless all class names are visible and no two of them look the same."""
    if len(names) > MOST_CLASSES:
        raise InputError(f"{source}: {len(names):,} classes, expected at most {MOST_CLASSES:,}")
    if (letters := sum(map(len, names))) > MOST_LETTERS:
        raise InputError(
            f"{source}: class names of {letters:,} letters in all, expected at most "
            f"{MOST_LETTERS:,}"
        )
    known: dict[str, str] = {}
    for name in names:
        hidden = next(filter(is_hidden, name), None)
        if hidden:
            raise InputError(
                f"{source}: the class name {name[:40]!a} holds a character that cannot be "
                f"seen, U+{ord(hidden):04X}"
            )
        seen = as_seen(name)
        if not seen or len(name) > LONGEST_NAME:
            raise InputError(
                f"{source}: the class name {name[:40]!r} has {len(name):,} characters, "
                f"expected 1 to {LONGEST_NAME} that can be seen"
            )
        other = known.get(seen)
        if other == name:
            raise InputError(f"{source}: two classes are called {name[:40]!r}")
        if other is not None:
            raise InputError(
                f"{source}: the classes {other!a} and {name!a} look the same: they differ only in "
                "blanks, invisible characters or how accents are stored (Unicode NFC or NFD); "
                "call one class by one name"
            )
        known[seen] = name


def as_seen(name: str) -> str:
    """Return the normal form of a name: two names that look the same have the same form.

    Examples
    --------
    >>> as_seen("the \N{NO-BREAK SPACE}cafe\N{COMBINING ACUTE ACCENT} ")
    'the café'
    """
    if name.isascii():
        return " ".join(name.split())
    return " ".join(_UNSEEN.sub("", unicodedata.normalize("NFC", name)).split())
