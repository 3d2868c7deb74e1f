"""The data sets that are known by name."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.dataset import SPLIT_NAMES, Dataset, ImageShape, Split
from onelayer.data.derived import Derived
from onelayer.data.fetching import cache
from onelayer.data.formats import cifar
from onelayer.data.formats.registry import place_of, read_dataset
from onelayer.data.npy import Mapped, stamp
from onelayer.errors import InputError, unknown_name

Parts = str | tuple[str, ...]
DEFAULT = "default"  # stands for the default parts of a split


@dataclass(frozen=True)
class _Entry:
    """A data set: its parts, the default part of each split, and its reader.

    `read(parts, source)` returns each part's samples and the SHA-256 of each file.
    """

    parts: tuple[str, ...]
    defaults: Mapping[str, str]
    read: Callable[[Sequence[str], Path | None], tuple[dict[str, Split], dict[str, str]]]
    class_names: tuple[str, ...]
    image_shape: ImageShape
    full_scale: float


@checked
def load_dataset(
    name: str | Path,
    *,
    train: Parts = DEFAULT,
    validation: Parts | None = DEFAULT,
    test: Parts | None = DEFAULT,
    source: str | Path | None = None,
    **options: Any,
) -> Dataset:
    """Return the data set `name`: "cifar10", "digits", which needs no network, a file or a folder.

    Each split is a part of the data set or a sequence of parts, which follow each other;
    `validation` and `test` may be None. For "cifar10" the parts are data_batch_1 to data_batch_5
    and test_batch; by default data_batch_1 trains, data_batch_2 validates and test_batch tests.
    They are fetched if they are not on this machine, from `source` if it is given, and verified
    every time. If a split is a single part, its X stays on disk, mapped. For "digits" the parts are
    train, validation and test.

    Files and folders have the formats of docs/data.md. Their options are `validation=None`, which
    adds those samples to the training split, `test=None`, `seed`, which draws the splits that are
    missing, and those of their format: `resize=(height, width)` of pictures, `coarse=True` of
    CIFAR-100, `label="column"` of tables. A folder with a copy of CIFAR-10 is taken as its source.

    Raises
    ------
    NoSourceError
        If the data set is not on this machine and no source answers.
    InputError
        If a name is unknown, a part is named twice, a file differs from the published one, or
        `source` is not the data set.

    Examples
    --------
    >>> digits = onelayer.load_dataset("digits")
    >>> digits.n_features, digits.n_classes
    (64, 10)
    """
    source = None if source is None else Path(source)
    if is_path(name) and (copy := _copy_of_cifar10(Path(name))):
        name, source = "cifar10", copy
    if is_path(name):
        given = (train, validation or DEFAULT, test or DEFAULT, source)
        if given != (DEFAULT, DEFAULT, DEFAULT, None):
            raise InputError(f"{name}: a file or folder has no parts to choose from, and no source")
        data = read_dataset(Path(name), test=test is not None, **options)
        return data if validation else without_validation(data)
    name = str(name)
    if options:
        raise InputError(f"{name}: takes no option {next(iter(options))!r}")
    if name not in _ENTRIES:
        raise unknown_name("data set", name, _ENTRIES)
    _check_source(source)
    entry = _ENTRIES[name]
    asked = dict(zip(SPLIT_NAMES, (train, validation, test), strict=True))
    chosen = {
        split: _choose(name, split, entry, parts)
        for split, parts in asked.items()
        if parts is not None or split == "train"
    }
    _refuse_repeats(name, chosen)
    samples, digests = entry.read([part for parts in chosen.values() for part in parts], source)
    splits = {split: _join([samples[part] for part in parts]) for split, parts in chosen.items()}
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        entry.class_names,
        entry.full_scale,
        entry.image_shape,
        digests,
    )


def without_validation(data: Dataset) -> Dataset:
    """Return the data set with the validation samples after those of the training split."""
    if data.validation is None:
        return data
    parts = [data.train, data.validation]
    if isinstance(data.train.X, Derived) and (whole := data.train.X.joined(data.validation.X)):
        y, groups = _labels_and_groups(parts)
        return replace(data, train=Split(whole, y, data.train.files, groups), validation=None)
    return replace(data, train=_join(parts), validation=None)


def open_dataset(name: str, source: Path | None = None, **options: Any) -> Dataset:
    """Return the data set as `load_dataset` does, but allow missing and infinite values."""
    if is_path(name) and not _copy_of_cifar10(Path(name)):
        return read_dataset(Path(name), allow_missing=True, **options)
    return load_dataset(name, source=source, **options)


def _copy_of_cifar10(path: Path) -> Path | None:
    """Return the folder of a copy of CIFAR-10: `path` or the one data set in it, else None."""
    place = place_of(path)
    return place if cifar.holds_cifar10(place) else None


def is_path(name: str | Path) -> bool:
    """Return whether `name` means a file or folder, and not a data set known by that name."""
    path = Path(name)
    known = str(name) in _ENTRIES
    return not known and (os.sep in str(name) or bool(path.suffix) or os.path.lexists(path))


def fetch_dataset(name: str, source: Path | None = None) -> Path:
    """Fetch the data set `name` into the cache, replace damaged files, and return its folder.

    Raises
    ------
    NoSourceError
        If no source answers.
    InputError
        If the name is unknown, or the data set comes with a package and is not fetched at all.
    """
    if name not in _ENTRIES:
        raise unknown_name("data set", name, _ENTRIES)
    _check_source(source)
    if name == "digits":
        raise InputError("digits: comes with scikit-learn, there is nothing to fetch")
    return cache.fetch_cifar10(source)


def _check_source(source: Path | None) -> None:
    """Raise InputError if the source does not exist, even if the cache makes it unnecessary."""
    if source is not None and not source.exists():
        raise InputError(f"{source}: no such file or folder")


def _choose(name: str, split: str, entry: _Entry, parts: Parts | None) -> list[str]:
    """Return the names of the parts that `split` takes."""
    if parts == DEFAULT:
        return [entry.defaults[split]]
    listed = [parts] if isinstance(parts, str) else list(parts or ())
    if not listed:
        raise InputError(f"{name}: {split} needs at least one part: {', '.join(entry.parts)}")
    for part in listed:
        if part not in entry.parts:
            raise unknown_name(f"part of {name}", str(part), entry.parts)
    return listed


def _refuse_repeats(name: str, chosen: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError if a part is used twice: in two splits its samples would leak."""
    seen: dict[str, str] = {}
    for split, parts in chosen.items():
        for part in parts:
            if part in seen:
                raise InputError(f"{name}: {part} is named twice, in {seen[part]} and in {split}")
            seen[part] = split


def _join(splits: Sequence[Split]) -> Split:
    """Return the samples of all `splits`, without a copy if there is only one."""
    if len(splits) == 1:
        return splits[0]
    y, groups = _labels_and_groups(splits)
    return Split(np.concatenate([split.X[:] for split in splits]), y, groups=groups)


def _labels_and_groups(
    splits: Sequence[Split],
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Return the labels and the groups of several splits, concatenated."""
    groups = [split.groups for split in splits if split.groups is not None]
    y = np.concatenate([split.y for split in splits])
    return y, np.concatenate(groups) if len(groups) == len(splits) else None


def _read_cifar10(
    parts: Sequence[str], source: Path | None
) -> tuple[dict[str, Split], dict[str, str]]:
    if not all(cache.part_file(part).exists() for part in parts):
        cache.fetch_cifar10(source)
    samples = {part: _map_records(cache.check_part(part)) for part in parts}
    return samples, {f"{part}.bin": cifar.DIGESTS[part] for part in parts}


def _map_records(path: Path) -> Split:
    """Return the samples of a binary part: X is a view of the mapped file."""
    mapped = np.memmap(path, np.uint8, mode="r").reshape(-1, cifar.RECORD)
    records: NDArray[np.uint8] = mapped.view(np.ndarray)
    file = Mapped(path, records, stamp(path.stat()))
    return Split(records[:, 1:], records[:, 0].astype(np.intp), (file,))


_DIGITS_ROWS = {"train": slice(0, 1000), "validation": slice(1000, 1397), "test": slice(1397, None)}


def _read_digits(
    parts: Sequence[str], source: Path | None
) -> tuple[dict[str, Split], dict[str, str]]:
    if source is not None:
        raise InputError("digits: comes with scikit-learn; it takes no source")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    X, y = pixels.astype(np.uint8), labels.astype(np.intp)
    samples = {part: Split(X[_DIGITS_ROWS[part]], y[_DIGITS_ROWS[part]]) for part in parts}
    digest = hashlib.sha256(X.tobytes() + y.astype(np.uint8).tobytes()).hexdigest()
    return samples, {"digits": digest}


_ENTRIES = {
    "cifar10": _Entry(
        parts=cifar.PARTS,
        defaults=cifar.DEFAULTS,
        read=_read_cifar10,
        class_names=cifar.CLASS_NAMES,
        image_shape=cifar.IMAGE_SHAPE,
        full_scale=255,
    ),
    "digits": _Entry(
        parts=SPLIT_NAMES,
        defaults={name: name for name in SPLIT_NAMES},
        read=_read_digits,
        class_names=tuple("0123456789"),
        image_shape=(1, 8, 8),
        full_scale=16,
    ),
}
