"""Labelled samples in memory or mapped from disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """N labelled samples: X (N, D) as stored, y (N,) class indices."""

    X: NDArray[np.generic]
    y: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.y)

    def head(self, samples: int) -> "Split":
        """Return the first `samples` samples, without copying."""
        return Split(self.X[:samples], self.y[:samples])


@dataclass(frozen=True)
class Dataset:
    """The splits of one data set and what its numbers mean.

    `full_scale` is the stored value that stands for 1 (255 for 8-bit pixels), `image_shape` is
    (channels, height, width) of a row of X or None, `digests` the sha256 of each file it came from,
    and `notice` says in a sentence what a reader of any result must know, if anything.

    Raises
    ------
    InputError
        If shapes disagree, a split is empty, a label is not one of the classes, a value of X is
        no number or not finite, or the full scale is not positive. Names the split and the row.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    class_names: tuple[str, ...]
    full_scale: float = 1.0
    image_shape: tuple[int, int, int] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.full_scale < float("inf"):
            raise InputError(f"{self.name}: full scale {self.full_scale}, expected a positive one")
        for split_name, split in self.splits.items():
            _check_split(f"{self.name}, {split_name}", split, self.n_features, self.n_classes)
        if self.image_shape is not None and int(np.prod(self.image_shape)) != self.n_features:
            raise InputError(
                f"{self.name}: image shape {self.image_shape}, but {self.n_features} features"
            )

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


def _check_split(where: str, split: Split, n_features: int, n_classes: int) -> None:
    X, y = split.X, split.y
    if X.ndim != 2 or X.shape[1] != n_features:
        raise InputError(f"{where}: X has the shape {X.shape}, expected (N, {n_features})")
    if y.shape != (len(X),) or len(X) == 0:
        raise InputError(f"{where}: {len(X)} rows of X and labels of the shape {y.shape}")
    if X.dtype.kind not in "biuf" or y.dtype.kind not in "iu":
        raise InputError(
            f"{where}: X of {X.dtype} and labels of {y.dtype}, "
            "expected real numbers and whole numbers"
        )
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if wrong.size:
        raise InputError(
            f"{where}: row {wrong[0]} has the label {y[wrong[0]]}, expected 0 to {n_classes - 1}"
        )
    if X.dtype.kind == "f":
        broken = np.flatnonzero(~np.isfinite(X).all(axis=1))
        if broken.size:
            raise InputError(f"{where}: row {broken[0]} holds a value that is not finite")
