"""Data sets as folders of .npy files, for the tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onelayer.data.dataset import Dataset


def write_folder(folder: Path, data: Dataset, sizes: Mapping[str, Sequence[int]]) -> Path:
    """Write the splits of `data`, each in shards of the given sizes or else as single files."""
    for name, split in data.splits.items():
        if name not in sizes:
            write_pair(folder / name, split.X, split.y)
            continue
        (folder / name).mkdir(parents=True)
        ends = np.cumsum(sizes[name])
        assert ends[-1] == len(split)
        for count, (X, y) in enumerate(
            zip(np.split(split.X, ends[:-1]), np.split(split.y, ends[:-1]), strict=True)
        ):
            write_pair(folder / name / f"{count:03}", X, y)
    return folder


def write_pair(path: Path, X: np.ndarray, y: np.ndarray) -> None:
    """Write X and y beside each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{path}.X.npy", X)
    np.save(f"{path}.y.npy", y)
