"""The batches of CIFAR's python version, as Python 2 pickled them, read without unpickling them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.files import read_file
from onelayer.data.formats.pickle_machine import Global, RefusedError, Vocabulary, read_pickle

_RECONSTRUCT = Global("numpy.core.multiarray _reconstruct")
_NDARRAY = Global("numpy ndarray")
_DTYPE = Global("numpy dtype")


@dataclass(frozen=True)
class _ByteType:
    """A stand-in for numpy.dtype("u1")."""


@dataclass(eq=False)
class _Array:
    """A stand-in for the array that numpy's _reconstruct would make; BUILD sets its state."""

    state: object = None


def read_batch(
    path: Path, rows: int, columns: int, labels: str = "labels"
) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the "data" (rows, columns) uint8 and the list `labels` of a pickled batch.

    Raises
    ------
    InputError
        If the file is anything else. Names the file and the byte.
    """
    content = read_file(path, limit=rows * (columns + 1024) + 65536)
    most = 10 * rows + 1000  # a real batch has about 3 a row; this limits the time
    return read_pickle(
        str(path),
        content,
        _WORDS,
        most,
        lambda batch: (_pixels(batch, rows, columns), _labels(batch, rows, labels)),
    )


def _reduce(function: Any, arguments: Any) -> object:
    # The constants stand on the left: a hostile tuple is compared no deeper than they go.
    if function == _RECONSTRUCT and arguments == (_NDARRAY, (0,), "b"):
        return _Array()
    if function == _DTYPE and arguments == ("u1", 0, 1):
        return _ByteType()
    raise RefusedError("refuses to make anything but an array of unsigned bytes")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Array):
        target.state = state
    elif not isinstance(target, _ByteType):  # the state of a one-byte type has no meaning
        raise RefusedError("refuses to build anything but an array and its type")


_WORDS = Vocabulary(
    {known.name: known for known in (_RECONSTRUCT, _NDARRAY, _DTYPE)}, _reduce, _build
)


def _pixels(batch: Any, rows: int, columns: int) -> NDArray[np.uint8]:
    array = batch.get("data") if isinstance(batch, dict) else None
    state = array.state if isinstance(array, _Array) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise RefusedError('no array under the key "data"')
    _, shape, kind, fortran, content = state
    if (rows, columns) != shape or not isinstance(kind, _ByteType):
        raise RefusedError(f"expected an array of {rows:,} × {columns:,} unsigned bytes")
    if not isinstance(content, str) or len(content) != rows * columns:
        raise RefusedError(f"expected {rows * columns:,} bytes of pixels")
    pixels = np.frombuffer(content.encode("latin-1"), np.uint8)
    return pixels.reshape(columns, rows).T if fortran is True else pixels.reshape(rows, columns)


def _labels(batch: dict[str, Any], rows: int, name: str) -> list[int]:
    labels = batch.get(name)
    if not isinstance(labels, list) or len(labels) != rows:
        raise RefusedError(f'expected a list of {rows:,} numbers under the key "{name}"')
    if not all(type(label) is int for label in labels):
        raise RefusedError(f'the list "{name}" holds something else than whole numbers')
    return labels
