"""The batches of CIFAR-10's matlab version.

They use a small part of the MATLAB 5 format, which is read here: on a damaged file scipy's reader
can crash the process or fill the memory. Format: "MAT-File Format", The MathWorks.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.files import read_file
from onelayer.errors import InputError

_HEADER = 128  # bytes before the first element
_BYTES, _INT32, _UINT32, _MATRIX, _COMPRESSED = 2, 5, 6, 14, 15  # types of elements
_UINT8_CLASS = 9


def read_batch(
    path: Path, rows: int, columns: int, labels: str = "labels"
) -> tuple[NDArray[np.uint8], list[int]]:
    """Return "data" (rows, columns) uint8 and the list `labels` of a MATLAB 5 file.

    Raises
    ------
    InputError
        If the file is anything else. Names the file.
    """
    limit = rows * (columns + 1024) + 65536
    content = read_file(path, limit)
    try:
        arrays = dict(_arrays(content, limit))
        data = _of_shape(arrays, "data", (rows, columns))
        column = _of_shape(arrays, labels, (rows, 1))
    except (ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: not a MATLAB 5 file of CIFAR, or damaged: {error}") from error
    return data, column[:, 0].tolist()


def _of_shape(
    arrays: dict[str, NDArray[np.uint8]], name: str, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    if name not in arrays or arrays[name].shape != shape:
        raise ValueError(f"expected {name!r}, {shape[0]:,} × {shape[1]:,} of class uint8")
    return arrays[name]


def _arrays(content: bytes, limit: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and values of every array of unsigned bytes; other variables are skipped."""
    orders = {b"IM": "<", b"MI": ">"}
    mark = content[_HEADER - 2 : _HEADER]
    if mark not in orders:
        raise ValueError("it has no MATLAB 5 header")
    for kind, value in _elements(content[_HEADER:], orders[mark]):
        if kind == _COMPRESSED:
            inflated = zlib.decompressobj().decompress(value, limit)
            kind, value = next(_elements(inflated, orders[mark]), (0, b""))
        if kind == _MATRIX and (array := _array(value, orders[mark])):
            yield array


def _array(matrix: bytes, order: str) -> tuple[str, NDArray[np.uint8]] | None:
    """Return name and values of a matrix, or None if it is not of plain unsigned bytes."""
    parts = list(islice(_elements(matrix, order), 5))
    if [kind for kind, _ in parts[:2]] != [_UINT32, _INT32] or len(parts) != 4:
        return None
    (_, flags), (_, extents), (_, name), (kind, values) = parts
    if struct.unpack_from(f"{order}I", flags)[0] & 0xFF != _UINT8_CLASS or kind != _BYTES:
        return None
    if len(extents) != 8:
        return None
    rows, columns = struct.unpack(f"{order}2i", extents)
    if rows < 0 or rows * columns != len(values):
        return None
    return name.decode("latin-1"), np.frombuffer(values, np.uint8).reshape(columns, rows).T


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each element in `content`."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start, padding = place + 8, 8
        if kind >> 16:  # four bytes or fewer share the tag's eight
            kind, size = kind & 0xFFFF, kind >> 16
            start, padding = place + 4, 4
        if start + size > len(content):
            raise ValueError(f"cut short at byte {place} of {len(content)}")
        yield kind, content[start : start + size]
        place = start + size if kind == _COMPRESSED else start + -(-size // padding) * padding
