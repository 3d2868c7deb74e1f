"""A data set as a folder of .npy files, which may be larger than memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.arrays import poolable
from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import SPLIT_NAMES, Split
from onelayer.data.files import entries, read_file
from onelayer.data.npy import Mapped, map_npy, open_npy
from onelayer.data.shards import Shards
from onelayer.errors import InputError

CLASSES = "classes.txt"
_TYPES = (np.uint8, np.float16, np.float32, np.float64)
_CLASSES_LIMIT = 1 << 24  # bytes
_UNNAMED_LIMIT = 100_000  # one stray label must not make a stack of a billion classes


def suits_folder(folder: Path) -> bool:
    """Return whether a folder, or one directly in it, has a file *.X.npy or *.y.npy."""
    places = [folder, *filter(Path.is_dir, entries(folder))]
    return any(entries(place, "*.[Xy].npy") for place in places)


def read_folder(folder: Path) -> Contents:
    """Read the splits in `folder`: X mapped, never read as a whole; y (N,) in memory.

    A split is a folder of shards, train/a.X.npy (n, D) with train/a.y.npy (n,), in the order of
    their names, or one pair train.X.npy, train.y.npy; likewise validation and, if it exists, test.
    Features are uint8 (255 then stands for 1), float16, float32 or float64. A line of classes.txt
    names a class; without it the names are the class numbers.

    Raises
    ------
    InputError
        If a split or a file is missing, or a file does not match the others; names the file.
    """
    found = {name: _find_features(folder, name) for name in SPLIT_NAMES}
    features = {name: [map_npy(path) for path in paths] for name, paths in found.items() if paths}
    for shards in features.values():
        for shard in shards:
            _check_alike(shard, features["train"][0])
    splits = {name: _join(shards) for name, shards in features.items()}
    parts = {name: Part(split.X, split.y, split.files) for name, split in splits.items()}
    files = [path for paths in found.values() for X in paths for path in (X, _labels_of(X))]
    names = _class_names(folder, splits)
    return Contents(parts, names, files=[*files, *filter(Path.exists, [folder / CLASSES])])


def read_pair(path: Path) -> Contents:
    """Read a single pair of files, a.X.npy with a.y.npy, as the training part."""
    features = map_npy(path)
    _check_alike(features, features)
    labels = map_npy(_labels_of(path)).array
    return Contents(
        {"train": Part(features.array, labels, (features,))}, files=(path, _labels_of(path))
    )


def npy_features(path: Path, pool: str | None = None) -> list[Any]:
    """Map the features of a .npy file, or read them, if they are in Fortran order."""
    return [poolable(str(path.parent), path.name, open_npy(path), pool)]


def _find_features(folder: Path, split: str) -> list[Path]:
    """Return the feature files of a split, by name; none for a test split that does not exist."""
    shards, single = folder / split, folder / f"{split}.X.npy"
    if shards.is_dir() and single.exists():
        raise InputError(f"{folder}: holds both {split} and {single.name}, expected one of them")
    if not shards.is_dir():
        if split != "test" or single.exists() or _labels_of(single).exists():
            return [single]
        return []
    found = entries(shards, "*.X.npy")
    for labels in entries(shards, "*.y.npy"):
        if not labels.with_name(labels.name.removesuffix("y.npy") + "X.npy").exists():
            raise InputError(f"{labels}: labels without features, {labels.name[:-5]}X.npy")
    if not found:
        raise InputError(f"{shards}: no file *.X.npy in it")
    return found


def _labels_of(features: Path) -> Path:
    return features.with_name(features.name.removesuffix("X.npy") + "y.npy")


def _check_alike(shard: Mapped, first: Mapped) -> None:
    """Raise InputError unless X holds features of the number and type in the first file."""
    X, expected = shard.array, first.array
    if X.ndim != 2 or X.dtype not in _TYPES:
        raise InputError(
            f"{shard.path}: {X.dtype} of the shape {X.shape}, "
            "expected uint8, float16, float32 or float64 of the shape (N, D)"
        )
    if X.shape[1] != expected.shape[1] or X.dtype != expected.dtype:
        raise InputError(
            f"{shard.path}: {X.shape[1]} features of {X.dtype}, "
            f"but {expected.shape[1]} of {expected.dtype} in {first.path}"
        )


def _join(shards: Sequence[Mapped]) -> Split:
    """Return the samples of all shards; X of a single one is its mapped array."""
    arrays = [shard.array for shard in shards]
    y = np.concatenate([_read_labels(shard) for shard in shards])
    return Split(arrays[0] if len(arrays) == 1 else Shards(arrays), y, tuple(shards))


def _read_labels(shard: Mapped) -> NDArray[np.intp]:
    """Return y (n,) of a shard."""
    path = _labels_of(shard.path)
    y = map_npy(path).array
    if y.dtype.kind not in "iu" or y.shape != (len(shard.array),):
        raise InputError(
            f"{path}: {y.dtype} of the shape {y.shape}, "
            f"expected whole numbers of the shape ({len(shard.array)},)"
        )
    return y.astype(np.intp)


def _class_names(folder: Path, splits: dict[str, Split]) -> tuple[str, ...]:
    """Return the lines of classes.txt, or the numbers of the classes as names."""
    path = folder / CLASSES
    if path.exists():
        return _read_names(path)
    largest = {name: int(split.y.argmax()) for name, split in splits.items()}
    for name, row in largest.items():
        if splits[name].y[row] >= _UNNAMED_LIMIT:
            raise InputError(
                f"{splits[name].place(row)} has the label {splits[name].y[row]}; "
                f"more than {_UNNAMED_LIMIT:,} classes need a file {path}"
            )
    K = max(int(splits[name].y[row]) for name, row in largest.items()) + 1
    return tuple(map(str, range(max(K, 1))))


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        lines = read_file(path, _CLASSES_LIMIT).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    names = tuple(line.strip() for line in lines)
    if not all(names) or not names:
        empty = names.index("") + 1 if names else 1
        raise InputError(f"{path}: line {empty} is empty, expected the name of a class")
    return names
