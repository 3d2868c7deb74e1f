"""safetensors: named tensors after a JSON header whose offsets the library checks."""

import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.array_names import find_sets
from onelayer.data.arrays import read_features, read_labelled
from onelayer.data.contents import Contents
from onelayer.data.derived import bfloat16
from onelayer.data.files import check_file
from onelayer.data.npy import Mapped, stamp
from onelayer.errors import InputError

NAMES = "class_names"
_TYPES = ("BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64", "F16", "F32", "F64")
_BFLOAT16 = "BF16"
_STAY = {_BFLOAT16: "<u2", "F16": "<f2"}  # types that stay in the file, and NumPy's names


def read_safetensors(path: Path, **options: Any) -> Contents:
    """Read the tensors X and y, or X_train, y_train and so on; `options` are feature_set and pool.

    16-bit decimals and tensors of three dimensions stay in the file, mapped. The header's metadata
    may hold class_names, a list of strings as JSON.

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
            partial(_look, file),
            sound=True,
            **options,
        )
        names = json.loads((file.metadata() or {}).get(NAMES, "null"))
    if names is None:
        return contents
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: {NAMES} in the metadata, expected a list of strings as JSON")
    return replace(contents, class_names=tuple(names))


def safetensors_sets(path: Path) -> list[str]:
    """Return the names of the feature sets, if there are several: see find_sets."""
    with _open(path) as file:
        return find_sets(file.keys(), partial(_look, file))


def safetensors_features(path: Path, **options: Any) -> list[NDArray[Any]]:
    """Read the tensors that find_features finds; InputError as read_safetensors."""
    with _open(path) as file:
        return read_features(str(path), file.keys(), partial(_read, path, file), **options)


def safetensors_arrays(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, Any]:
    """Read the tensors that `choose` selects by name; InputError as read_safetensors."""
    with _open(path) as file:
        read = _read(path, file, choose([*file.keys()]))
        return {
            name: np.asarray(X.array[:] if isinstance(X, Mapped) else X) for name, X in read.items()
        }


def safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the metadata in the header of a file."""
    with _open(path) as file:
        return file.metadata() or {}


def _look(file: Any, name: str) -> tuple[Sequence[int], str]:
    """Return shape and type of a tensor."""
    tensor = file.get_slice(name)
    kind = tensor.get_dtype()
    return (*tensor.get_shape(),), {"BF16": "bfloat16", "U8": "uint8", "I8": "int8"}.get(
        kind, f"float{kind[1:]}" if kind.startswith("F") else kind
    )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from safetensors import safe_open

    check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (InputError, MemoryError):
        raise
    except Exception as error:  # errors of the library, of NumPy and of JSON
        raise InputError(f"{path}: not a safetensors file, or damaged: {error}") from error


def _read(path: Path, file: Any, wanted: Sequence[str]) -> dict[str, Any]:
    kinds = {name: file.get_slice(name).get_dtype() for name in wanted}
    for name, kind in kinds.items():
        if kind not in (_BFLOAT16, *_TYPES):
            raise InputError(
                f"{path}: {name} is of {kind}, expected {_BFLOAT16} or {', '.join(_TYPES)}; "
                "in PyTorch tensor.float() makes it F32"
            )
    return {
        name: _map(path, name)
        if kind in _STAY or (kind == "F32" and len(file.get_slice(name).get_shape()) == 3)
        else file.get_tensor(name)
        for name, kind in kinds.items()
    }


def _map(path: Path, name: str) -> Mapped:
    """Map a tensor at its offset in the header, which was checked."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        tensor = json.loads(file.read(size))[name]
        start, _ = tensor["data_offsets"]
        shape = tuple(tensor["shape"])
        stored = np.memmap(file, _STAY.get(tensor["dtype"], "<f4"), "r", 8 + size + start, shape)
        status = os.fstat(file.fileno())
    array: Any = np.asarray(stored)
    array = bfloat16(array) if tensor["dtype"] == _BFLOAT16 else array
    return Mapped(path, array, stamp(status))
