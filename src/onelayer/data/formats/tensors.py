"""safetensors: named tensors after a JSON header whose offsets the library checks."""

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.arrays import read_features, read_labelled
from onelayer.data.contents import Contents
from onelayer.data.files import check_file
from onelayer.errors import InputError

NAMES = "class_names"
_TYPES = ("BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64", "F16", "F32", "F64")
_BFLOAT16 = "BF16"


def read_safetensors(path: Path) -> Contents:
    """Read the tensors X and y, or X_train, y_train and so on.

    The header's metadata may hold class_names, a list of strings as JSON.

    Raises
    ------
    InputError
        If the file is damaged or a tensor is of a type that is not read.
    """
    with _open(path) as file:
        contents = read_labelled(
            str(path),
            file.keys(),
            partial(_read, path, file),
            lambda name: file.get_slice(name).get_shape(),
        )
        names = json.loads((file.metadata() or {}).get(NAMES, "null"))
    if names is None:
        return contents
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: {NAMES} in the metadata, expected a list of strings as JSON")
    return replace(contents, class_names=tuple(names))


def safetensors_features(path: Path) -> list[NDArray[Any]]:
    """Read the tensors that find_features finds; InputError as read_safetensors."""
    with _open(path) as file:
        return read_features(str(path), file.keys(), partial(_read, path, file))


def widen(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the values of bfloat16, which is the upper half of a float32."""
    values = halves.astype(np.uint32)
    values <<= 16
    return values.view(np.float32)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from safetensors import safe_open

    check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the library raises its own, and what NumPy and JSON do
        raise InputError(f"{path}: not a safetensors file, or damaged: {error}") from error


def _read(path: Path, file: Any, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    kinds = {name: file.get_slice(name).get_dtype() for name in wanted}
    for name, kind in kinds.items():
        if kind not in (_BFLOAT16, *_TYPES):
            raise InputError(
                f"{path}: {name} is of {kind}, expected {_BFLOAT16} or {', '.join(_TYPES)}; "
                "in PyTorch tensor.float() makes it F32"
            )
    return {
        name: _read_bfloat16(path, name) if kind == _BFLOAT16 else file.get_tensor(name)
        for name, kind in kinds.items()
    }


def _read_bfloat16(path: Path, name: str) -> NDArray[np.float32]:
    """Return a tensor of the type that NumPy lacks, where the header, which was checked, says."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        tensor = json.loads(file.read(size))[name]
        start, end = tensor["data_offsets"]
        file.seek(8 + size + start)
        halves = np.fromfile(file, "<u2", (end - start) // 2)
    return widen(halves.astype(np.uint16, copy=False)).reshape(tensor["shape"])
