"""Counts, ranges, missing values and duplicates of a data set; no data is changed or refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Features, Split

_BLOCK = 1 << 22  # bytes read at once


@dataclass(frozen=True)
class SplitDescription:
    """Statistics of a split: samples of each class or label (K,), range, missing values.

    `duplicates` counts the samples whose features equal those of an earlier sample of the split.
    """

    samples: int
    class_counts: NDArray[np.intp]
    minimum: float
    maximum: float
    missing: int
    infinite: int
    duplicates: int


@dataclass(frozen=True)
class Description:
    """Statistics of every split, and the number of samples that each two splits share."""

    splits: Mapping[str, SplitDescription]
    shared: Mapping[tuple[str, str], int]


def describe(splits: Mapping[str, Split], n_classes: int) -> Description:
    """Return the statistics of all splits; two rows are equal if their bytes are equal.

    Splits are read in blocks, and rows are compared by hashes of 64 bits, 8 bytes a sample. Among N
    samples, two different ones count as equal with a probability of N²/2⁶⁵.
    """
    hashes = {name: _hash_rows(split) for name, split in splits.items()}
    return Description(
        {name: _describe_split(split, n_classes, hashes[name]) for name, split in splits.items()},
        {
            (one, other): int(np.isin(hashes[other], hashes[one]).sum())
            for one, other in combinations(splits, 2)
        },
    )


def _describe_split(split: Split, K: int, hashes: NDArray[np.int64]) -> SplitDescription:
    minimum, maximum, missing, infinite = np.inf, -np.inf, 0, 0
    for X in _read(split):
        finite = X[np.isfinite(X)]
        if finite.size:
            minimum, maximum = min(minimum, finite.min()), max(maximum, finite.max())
        missing += int(np.isnan(X).sum())
        infinite += int(np.isinf(X).sum())
    return SplitDescription(
        len(split),
        split.y.sum(axis=0) if split.y.ndim == 2 else np.bincount(split.y, minlength=K),
        float(minimum),
        float(maximum),
        missing,
        infinite,
        len(hashes) - len(np.unique(hashes)),
    )


def _hash_rows(split: Split) -> NDArray[np.int64]:
    rows = (hash(row.tobytes()) for X in _read(split) for row in np.asarray(X))
    return np.fromiter(rows, np.int64, len(split))


def _read(split: Split) -> Iterator[Features]:
    row = split.X.dtype.itemsize * split.X.shape[1]
    return (split.X[rows] for rows in split.blocks(max(1, _BLOCK // row)))
