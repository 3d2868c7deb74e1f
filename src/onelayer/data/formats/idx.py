"""IDX, the format of MNIST and its family: four files in a folder, plain or gzipped.

Format: http://yann.lecun.com/exdb/mnist: two zero bytes, the type, the number of dimensions, each
length as a big-endian 32-bit number, then the values.
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from onelayer.data.columns import listed
from onelayer.data.contents import Contents, Part
from onelayer.data.files import check_file, entries, read_blocks, unpacked_limit
from onelayer.errors import InputError

_NAME = re.compile(r"(.*?)-?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_UNSIGNED_BYTES = 8

Pair = tuple[Path, Path]  # the files of images and of labels


def find_idx(folder: Path) -> dict[str, dict[str, Pair]]:
    """Return the files of each split of each data set in `folder`, complete or not.

    The set of train-images-idx3-ubyte is "", that of emnist-digits-train-images-idx3-ubyte is
    emnist-digits.
    """
    found: dict[str, dict[str, Pair]] = {}
    for path in reversed(entries(folder, "*-ubyte*")):  # the first of two spellings counts
        if match := _NAME.fullmatch(path.name):
            whole, part, kind, _ = match.groups()
            stem = f"{whole}-{part}".removeprefix("-")
            missing = folder / f"{stem}-images-idx3-ubyte", folder / f"{stem}-labels-idx1-ubyte"
            splits = found.setdefault(whole, {})
            split = "train" if part == "train" else "test"
            images, labels = splits.get(split, missing)
            splits[split] = (path, labels) if kind == "images" else (images, path)
    return dict(sorted(found.items()))


def read_idx_folder(folder: Path) -> Contents:
    """Read train-images-idx3-ubyte, train-labels-idx1-ubyte and the two of t10k, the test split.

    Raises
    ------
    InputError
        If there are several sets, one of the files of training is missing, or a file is not of the
        format or cut short.
    """
    sets = find_idx(folder)
    if len(sets) > 1:
        raise InputError(
            f"{folder}: holds several sets: {listed([*sets])}; name the images of one: "
            f"{next(iter(sets.values()))['train'][0]}"
        )
    (splits,) = sets.values()
    return _read_set(splits, folder)


def read_idx_set(images: Path) -> Contents:
    """Read the set that a file of images belongs to, both splits; errors as read_idx_folder."""
    for splits in find_idx(images.parent).values():
        if images in [pair[0] for pair in splits.values()]:
            return _read_set(splits, images.parent)
    raise InputError(f"{images}: expected a name like train-images-idx3-ubyte")


def idx_features(images: Path) -> list[NDArray[np.uint8]]:
    """Read a single file of images."""
    return [_read_images(images)]


def _read_set(splits: Mapping[str, Pair], folder: Path) -> Contents:
    if "train" not in splits:
        raise InputError(f"{folder / 'train-images-idx3-ubyte'}: no such file")
    parts = {
        split: Part(_read_images(images), read_idx(labels, 1))
        for split, (images, labels) in splits.items()
    }
    files = [path for pair in splits.values() for path in pair]
    turned = f"{folder}: EMNIST's pictures are stored on their side, and were turned upright"
    notes = (turned,) if any(_lie_on_their_side(images) for images, _ in splits.values()) else ()
    return Contents(parts, files=files, notes=notes)


def _read_images(path: Path) -> NDArray[np.uint8]:
    """Return pictures (N, H, W) upright: EMNIST's come from MATLAB, rows and columns exchanged."""
    X = read_idx(path, 3)
    return np.ascontiguousarray(X.transpose(0, 2, 1)) if _lie_on_their_side(path) else X


def _lie_on_their_side(path: Path) -> bool:
    return path.name.lower().startswith("emnist")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX file with this number of dimensions."""
    size = check_file(path)
    limit = unpacked_limit(size) if path.suffix == ".gz" else size
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as unpacked:
                return _read(path, unpacked, dimensions, limit)  # type: ignore[arg-type]
        with path.open("rb") as file:
            return _read(path, file, dimensions, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read, or damaged: {error}") from error


def _read(path: Path, file: BinaryIO, dimensions: int, limit: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    if header[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)):
        raise InputError(
            f"{path}: begins with {header[:4].hex(' ') or 'nothing'}, expected 00 00 08 "
            f"{dimensions:02x}: unsigned bytes in {dimensions} dimensions"
        )
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path}: cut short in its header")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    promised = math.prod(shape)
    if promised > limit:
        raise InputError(
            f"{path}: its header promises {promised:,} bytes, expected at most {limit:,} from a "
            "file of this size"
        )
    content = read_blocks(file, promised)
    if len(content) < promised or file.read(1):
        found = "more" if len(content) == promised else f"{len(content):,}"
        raise InputError(f"{path}: its header promises {promised:,} bytes, but {found} follow")
    return np.frombuffer(content, np.uint8).reshape(shape)
