"""The batches of CIFAR-10's matlab version."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.files import read_file
from onelayer.errors import InputError

_HEADER = 128
_COMPRESSED = 15  # the type number of a zlib stream that holds one variable


def read_batch(path: Path, rows: int, columns: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Return "data" (rows, columns) uint8 and "labels" of a MATLAB 5 file.

    Raises
    ------
    InputError
        If scipy is not installed, or the file is anything else. Names the file.
    """
    try:
        from scipy.io import loadmat, whosmat
    except ImportError as error:
        raise InputError(
            f"{path}: MATLAB files need scipy: pip install 'onelayer[sklearn]'"
        ) from error
    limit = rows * (columns + 1024) + 65536
    try:
        content = _inflate(read_file(path, limit), limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            listed = whosmat(io.BytesIO(content))
            # What is listed is known to be flat before it is read: a nested cell could exhaust
            # the stack of scipy's reader.
            found = sorted(entry for entry in listed if entry[0] in ("data", "labels"))
            expected = [("data", (rows, columns), "uint8"), ("labels", (rows, 1), "uint8")]
            if found != expected:
                raise InputError(f"{path}: holds {found[:3]}, expected {expected}")
            arrays = loadmat(io.BytesIO(content), variable_names=("data", "labels"))
    except InputError:
        raise
    except Exception as error:  # scipy's reader lets through whatever its parts raise
        raise InputError(f"{path}: not a MATLAB 5 file, or damaged: {error}") from error
    return np.asarray(arrays["data"], np.uint8), [int(label) for label in arrays["labels"][:, 0]]


def _inflate(content: bytes, limit: int) -> bytes:
    """Return a MATLAB 5 file with its variables decompressed, `limit` bytes at most.

    scipy would decompress whatever size the file declares.
    """
    mark = content[126:_HEADER]
    if mark not in (b"IM", b"MI"):
        raise ValueError("no MATLAB 5 header")
    tag = struct.Struct("<II" if mark == b"IM" else ">II")
    pieces, total, place = [content[:_HEADER]], 0, _HEADER
    while place < len(content):
        kind, size = tag.unpack_from(content, place)
        end = place + tag.size + size
        if end > len(content):
            raise ValueError(f"cut short at byte {len(content)}")
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            piece = stream.decompress(content[place + tag.size : end], limit - total + 1)
        else:
            piece = content[place:end]
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise ValueError(f"holds more than {limit:,} bytes of variables")
        place = end
    return b"".join(pieces)
