"""CIFAR-10: its parts, and one reader for each version of its files.

Every reader returns the records of the official binary version, (N, 3073) bytes: the label, then
1,024 red, 1,024 green and 1,024 blue values, row by row.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import check_labels
from onelayer.data.files import read_file
from onelayer.data.formats import matlab, pickled
from onelayer.data.formats.picture import open_picture
from onelayer.errors import InputError

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
IMAGE_SHAPE = (3, 32, 32)
PIXELS = 3072
RECORD = 1 + PIXELS  # bytes
RECORDS = 10_000  # in each part
DIGESTS = {  # sha256 of the official binary version's files
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PARTS = tuple(DIGESTS)
DEFAULTS = {"train": "data_batch_1", "validation": "data_batch_2", "test": "test_batch"}
LARGEST_FILE = 40_000_000  # bytes; those of every version stay below 31.1 million

Records = NDArray[np.uint8]


@dataclass(frozen=True)
class Version:
    """One way in which CIFAR-10 is stored: the files that a part needs, and their reader.

    `read(folder, part, n)` returns the part's n records.
    """

    name: str
    files: Callable[[str], tuple[str, ...]]
    read: Callable[[Path, str, int], Records]


def read_binary(folder: Path, part: str, n: int) -> Records:
    """Read `<part>.bin`."""
    path = folder / f"{part}.bin"
    records = read_records(path, n, RECORD)
    check_labels(str(path), records[:, 0], len(CLASS_NAMES))
    return records


def read_records(path: Path, n: int, size: int) -> Records:
    """Read a binary file of n records as (n, size)."""
    content = read_file(path, limit=n * size)
    if len(content) != n * size:
        raise InputError(
            f"{path}: holds {len(content):,} bytes, expected {n * size:,} "
            f"({n:,} records of {size:,})"
        )
    return np.frombuffer(content, np.uint8).reshape(n, size)


def read_python(folder: Path, part: str, n: int) -> Records:
    """Read the pickled `<part>`, without unpickling it."""
    path = folder / part
    return _join(path, *pickled.read_batch(path, n, PIXELS))


def read_matlab(folder: Path, part: str, n: int) -> Records:
    """Read `<part>.mat`."""
    path = folder / f"{part}.mat"
    return _join(path, *matlab.read_batch(path, n, PIXELS))


def read_png(folder: Path, part: str, n: int) -> Records:
    """Read `<part>.png`, with a row for each image and a column for each pixel, and its labels."""
    colours = _decode_png(folder / f"{part}.png", width=PIXELS // 3, height=n)  # (n, 1024, 3)
    path = folder / _label_file(part)
    before = n * (PARTS.index(part) if part != "test_batch" else 0)
    labels = _read_labels(path, n if part == "test_batch" else 5 * n)
    return _join(path, colours.transpose(0, 2, 1).reshape(n, PIXELS), labels[before : before + n])


def _label_file(part: str) -> str:
    return "test_lables.json" if part == "test_batch" else "train_lables.json"  # sic


VERSIONS = (
    Version("binary", lambda part: (f"{part}.bin",), read_binary),
    Version("python", lambda part: (part,), read_python),
    Version("matlab", lambda part: (f"{part}.mat",), read_matlab),
    Version("png", lambda part: (f"{part}.png", _label_file(part)), read_png),
)
FILE_NAMES = frozenset(
    name for version in VERSIONS for part in PARTS for name in version.files(part)
)


def find_version(folder: Path) -> tuple[Version, Path]:
    """Return the version of CIFAR-10 in `folder` or directly within it, and that folder.

    Raises
    ------
    InputError
        If no version is complete. Names a missing file of the most complete one.
    """
    try:
        places = [folder, *sorted(inner for inner in folder.iterdir() if inner.is_dir())]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    nearest: tuple[int, str] | None = None
    for place in places:
        for version in VERSIONS:
            names = [name for part in PARTS for name in version.files(part)]
            missing = [name for name in names if not os.path.isfile(place / name)]
            if not missing:
                return version, place
            gap = f"the {version.name} version in {place} lacks {missing[0]}"
            if len(missing) < len(names) and (nearest is None or len(missing) < nearest[0]):
                nearest = len(missing), gap
    if nearest:
        raise InputError(f"{folder}: holds no complete CIFAR-10: {nearest[1]}")
    firsts = ", ".join(f"{v.files(PARTS[0])[0]} ({v.name} version)" for v in VERSIONS)
    raise InputError(f"{folder}: holds no CIFAR-10; expected {firsts} and so on")


def holds_cifar10(folder: Path) -> bool:
    """Return whether a folder looks like a copy of CIFAR-10, of any version."""
    return any((folder / version.files(PARTS[0])[0]).is_file() for version in VERSIONS)


def read_cifar10(folder: Path) -> Contents:
    """Read the default training, validation and test parts of a copy that is not verified.

    Raises
    ------
    InputError
        If no version is complete, or a file is damaged.
    """
    version, place = find_version(folder)
    parts = {}
    for split, part in DEFAULTS.items():
        records = version.read(place, part, RECORDS)
        parts[split] = Part(records[:, 1:], records[:, 0])
    return Contents(parts, CLASS_NAMES, IMAGE_SHAPE)


def _join(path: Path, pixels: NDArray[np.uint8], labels: Sequence[int]) -> Records:
    """Return records of pixels (N, 3072) and labels (N,)."""
    check_labels(str(path), labels, len(CLASS_NAMES))
    return np.ascontiguousarray(np.column_stack([np.asarray(labels, np.uint8), pixels]))


def _read_labels(path: Path, n: int) -> list[int]:
    try:
        labels = json.loads(read_file(path, LARGEST_FILE // 40))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(labels, list) or len(labels) != n:
        raise InputError(f"{path}: expected a list of {n:,} labels")
    for row, label in enumerate(labels):
        if type(label) is not int:
            raise InputError(f"{path}: label {row} is not a whole number")
    check_labels(str(path), labels, len(CLASS_NAMES))
    return labels


def _decode_png(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Return the colours (height, width, 3) of an RGB PNG of exactly that size."""
    with open_picture(path, LARGEST_FILE, ("PNG",)) as picture:
        image = picture.image
        if image.size != (width, height) or image.mode != "RGB":
            raise InputError(
                f"{path}: {image.mode} picture of {image.size[0]} × {image.size[1]}, "
                f"expected RGB of {width} × {height}"
            )
        return np.asarray(image)
