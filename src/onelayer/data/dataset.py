"""Labelled samples, in memory or mapped from files."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.arguments import check_fields
from onelayer.data.columns import Columns
from onelayer.data.derived import Derived, are_finite, as_stored, kind_of
from onelayer.data.npy import Mapped
from onelayer.data.shards import Shards
from onelayer.errors import InputError, unknown_name
from onelayer.faces import face
from onelayer.plain_values import check_text

Features = NDArray[np.generic] | Shards | Derived
ImageShape = tuple[int, int, int]  # channels, height, width
BLOCK = 1000  # rows read at once: the memory does not grow with N
SPLIT_NAMES = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Split:
    """N labelled samples: X (N, D) as stored, y (N,) class indices, or 0 and 1 of L labels (N, L).

    `files` are the mapped files of X, in order; empty if X is in memory. `groups` (N,) is the group
    number of each row: the rows of a group are held out together.
    """

    X: Features
    y: NDArray[np.intp]
    files: tuple[Mapped, ...] = ()
    groups: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def head(self, samples: int) -> "Split":
        """Return the first `samples` samples, without a copy if they lie in one file."""
        groups = None if self.groups is None else self.groups[:samples]
        return Split(self.X[:samples], self.y[:samples], self.files, groups)

    def blocks(self, rows: int) -> Iterator[slice]:
        """Yield slices of `rows` consecutive rows; the last one may be shorter.

        A whole split is read this way. The blocks do not depend on the files, so sums over blocks
        are the same to the bit.

        Raises
        ------
        InputError
            If a mapped file has changed since it was opened.
        """
        self.check_unchanged()
        return (slice(n, min(n + rows, len(self))) for n in range(0, len(self), rows))

    def digest(self) -> str:
        """Return the SHA-256 of all labels and rows, the rows in the type in which they are stored.

        The format of the files does not matter.

        Raises
        ------
        InputError
            If a mapped file has changed since it was opened.
        """
        found = hashlib.sha256(f"{kind_of(self.X)} {self.X.shape}".encode())
        found.update(np.asarray(self.y, np.int64).tobytes())
        for rows in self.blocks(BLOCK):
            found.update(np.ascontiguousarray(as_stored(self.X, rows)).data)
        return found.hexdigest()

    def check_unchanged(self) -> None:
        """Raise InputError if a file that X is mapped from has changed since."""
        for file in self.files:
            file.check_unchanged()

    def place(self, row: int) -> str:
        """Return the name of a row for a message: its file and its row there, if X is mapped."""
        row = self.X.stored_row(row) if isinstance(self.X, Derived) else row
        ends = list(accumulate(len(file.array) for file in self.files))
        if not ends:
            return f"row {row}"
        file = self.files[bisect_right(ends, row)]
        return f"{file.path}: row {row - ends[bisect_right(ends, row)] + len(file.array)}"


@dataclass(frozen=True)
class Dataset:
    """The splits of one data set, its class names and its scale.

    `class_names` name the K classes, or the L labels of multi-label data. `full_scale` is the
    stored value that stands for 1 (255 for 8-bit pixels), `image_shape` is (channels, height,
    width) of a row of X or None, `digests` the SHA-256 of each source file, `columns` the names of
    a table's columns, `pool` the pooling of tokens, `notice` a sentence shown with all results, or
    empty, and `notes` are sentences shown when the data is read. With `allow_missing` values of X
    may be missing or infinite: such a data set can be described, but not trained on.

    Raises
    ------
    InputError
        If shapes disagree, a split is empty, a label is not one of the classes, a value of X is
        missing or infinite, or the full scale is not positive. Names the split and the row.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split | None
    class_names: tuple[str, ...]
    full_scale: float = 1.0
    image_shape: ImageShape | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    columns: Columns | None = None
    notes: tuple[str, ...] = ()
    allow_missing: bool = False
    pool: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_text(self.name, f"the name {self.name[:40]!r}: ")
        if not 0 < self.full_scale < float("inf"):
            raise InputError(f"{self.name}: full scale {self.full_scale}, expected a positive one")
        if self.columns is not None and len(self.columns.features) != self.n_features:
            named = len(self.columns.features)
            raise InputError(f"{self.name}: {named} names of columns, {self.n_features} features")
        for split_name, split in self.splits.items():
            where = f"{self.name}, {split_name}"
            check_split(where, split, self.n_features, self.n_classes)
        if not self.allow_missing:
            self.check_finite()
        if self.image_shape is not None and int(np.prod(self.image_shape)) != self.n_features:
            raise InputError(
                f"{self.name}: image shape {self.image_shape}, but {self.n_features} features"
            )

    def check_finite(self) -> None:
        """Raise InputError if a value of X is missing or infinite; names split, row and column."""
        for split_name, split in self.splits.items():
            check_finite(f"{self.name}, {split_name}", split, self.columns)

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: splits, classes and, for images, a few samples."""

    @property
    def multilabel(self) -> bool:
        """Whether a row may have several labels, in y (N, L)."""
        return self.train.y.ndim == 2

    def check_one_class(self, what: str) -> None:
        """Raise InputError for multi-label data, which `what`, the name of a task, cannot use."""
        if self.multilabel:
            raise InputError(
                f"{self.name}: {self.n_classes:,} labels, of which a row may have several, and "
                f"{what} takes one class a row; onelayer probe takes several labels"
            )

    def of_label(self, label: int) -> "Dataset":
        """Return multi-label data, y (N, L), with one label as its classes 0 and 1, y (N,)."""
        alone = {name: replace(split, y=split.y[:, label]) for name, split in self.splits.items()}
        changed: dict[str, Any] = alone | {"class_names": ("0", "1")}
        return replace(self, **changed)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        named = {name: getattr(self, name) for name in SPLIT_NAMES}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def n_features(self) -> int:
        """D, the length of a row of X."""
        return int(self.train.X.shape[-1]) if self.train.X.ndim else 0

    @property
    def n_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)


def check_split(where: str, split: Split, n_features: int, n_classes: int) -> None:
    """Raise InputError unless X (N, D) and y (N,) match and y holds classes; names the row."""
    X, y = split.X, split.y
    if np.ma.is_masked(X) or np.ma.is_masked(y):
        raise InputError(f"{where}: masked values; expected none, or NaN among the features")
    if X.ndim != 2 or X.shape[1] != n_features:
        raise InputError(f"{where}: X has the shape {X.shape}, expected (N, {n_features})")
    several = y.ndim == 2
    if y.shape != ((len(X), n_classes) if several else (len(X),)) or len(X) == 0:
        raise InputError(f"{where}: {len(X)} rows of X and labels of the shape {y.shape}")
    if X.dtype.kind not in "biuf" or y.dtype.kind not in "iu":
        raise InputError(
            f"{where}: X of {X.dtype} and labels of {y.dtype}, "
            "expected real numbers and whole numbers"
        )
    if several:
        check_labels(where, y.min(axis=1), 2, split.place)
        check_labels(where, y.max(axis=1), 2, split.place)
    else:
        check_labels(where, y, n_classes, split.place)


def check_labels(
    where: str,
    labels: ArrayLike,
    n_classes: int,
    place: Callable[[int], str] = "record {}".format,
) -> None:
    """Raise InputError unless all labels (N,) are from 0 to K − 1; `place` names a row."""
    y = np.asarray(labels)
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if wrong.size:
        raise InputError(
            f"{where}: {place(int(wrong[0]))} has the label {y[wrong[0]]}, "
            f"expected 0 to {n_classes - 1}"
        )


def check_finite(where: str, split: Split, columns: Columns | None = None) -> None:
    """Raise InputError if a value of X is missing or infinite; names row and column."""
    for rows in split.blocks(BLOCK) if split.X.dtype.kind == "f" else ():
        finite = are_finite(split.X, rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            name = column if columns is None else repr(columns.features[column][:40])
            place = f"{split.place(rows.start + int(row))}, column {name},"
            raise InputError(f"{where}: {place} holds a value that is not finite")


def find_split(data: Dataset, split: str) -> Split:
    """Return the split of this name; InputError if there is none, or for multi-label data."""
    data.check_one_class("evaluate")
    if split not in SPLIT_NAMES:
        raise unknown_name("split", split, SPLIT_NAMES)
    if split not in data.splits:
        raise InputError(f"{data.name}: has no {split} split, only {', '.join(data.splits)}")
    return data.splits[split]
