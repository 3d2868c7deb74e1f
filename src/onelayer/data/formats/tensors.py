"""safetensors: named tensors after a JSON header whose offsets the library checks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part, find_arrays, find_features
from onelayer.data.files import check_file
from onelayer.errors import InputError

NAMES = "class_names"


def read_safetensors(path: Path) -> Contents:
    """Read the tensors X and y, or X_train, y_train and so on.

    The header's metadata may hold class_names, a list of strings as JSON.

    Raises
    ------
    InputError
        If the file is damaged or a tensor is of a type that NumPy does not have.
    """
    with _open(path) as file:
        found = find_arrays(str(path), file.keys())
        parts = {
            split: Part(file.get_tensor(pair["X"]), file.get_tensor(pair["y"]))
            for split, pair in found.items()
        }
        names = json.loads((file.metadata() or {}).get(NAMES, "null"))
    if names is None:
        return Contents(parts)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: {NAMES} in the metadata, expected a list of strings as JSON")
    return Contents(parts, tuple(names))


def safetensors_features(path: Path) -> list[NDArray[Any]]:
    """Read the tensors that find_features finds; InputError as read_safetensors."""
    with _open(path) as file:
        return [file.get_tensor(name) for name in find_features(str(path), file.keys())]


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
