"""IDX, the format of MNIST and its family: four files in a folder, plain or gzipped.

Format: http://yann.lecun.com/exdb/mnist: two zero bytes, the type, the number of dimensions, each
length as a big-endian 32-bit number, then the values.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part
from onelayer.data.files import check_file, unpacked_limit
from onelayer.errors import InputError

_PREFIXES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 8
_BLOCK = 1 << 20


def find_idx(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files of images and of labels of each split that `folder` has, whole or not."""
    found = {}
    for split, prefix in _PREFIXES.items():
        images, labels = (
            [path for path in _spellings(folder, prefix, kind) if path.exists()]
            for kind in ("images{}idx3-ubyte", "labels{}idx1-ubyte")
        )
        if images or labels:
            plain = folder / f"{prefix}-images-idx3-ubyte", folder / f"{prefix}-labels-idx1-ubyte"
            found[split] = (images or plain[:1])[0], (labels or plain[1:])[0]
    return found


def _spellings(folder: Path, prefix: str, kind: str) -> Iterator[Path]:
    for dash in "-.":
        for packing in ("", ".gz"):
            yield folder / f"{prefix}-{kind.format(dash)}{packing}"


def read_idx_folder(folder: Path) -> Contents:
    """Read train-images-idx3-ubyte, train-labels-idx1-ubyte and the two of t10k, the test split.

    Raises
    ------
    InputError
        If one of the files of training is missing, or a file is not of the format or cut short.
    """
    found = find_idx(folder)
    if "train" not in found:
        raise InputError(f"{folder / 'train-images-idx3-ubyte'}: no such file")
    parts = {}
    for split, (images, labels) in found.items():
        parts[split] = Part(read_idx(images, 3), read_idx(labels, 1))
    return Contents(parts, files=[path for pair in found.values() for path in pair])


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX file of that many dimensions."""
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
    content = bytearray(promised)
    view, filled = memoryview(content), 0
    while block := file.read(min(_BLOCK, promised - filled)):
        view[filled : filled + len(block)] = block
        filled += len(block)
    if filled < promised or file.read(1):
        found = "more" if filled == promised else f"{filled:,}"
        raise InputError(f"{path}: its header promises {promised:,} bytes, but {found} follow")
    return np.frombuffer(content, np.uint8).reshape(shape)
