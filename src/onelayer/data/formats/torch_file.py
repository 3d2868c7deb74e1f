"""PyTorch's .pt and .pth: tensors in a zip archive, read without PyTorch and without unpickling.

The archive holds one pickle, with the type, shape, strides and storage of each tensor, and the
storages as plain bytes. Format: torch.serialization.
"""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from onelayer.data.array_names import find_sets, means_labels
from onelayer.data.arrays import read_features, read_labelled
from onelayer.data.columns import NoLabelsError, listed
from onelayer.data.contents import Contents
from onelayer.data.derived import bfloat16
from onelayer.data.files import check_file, read_blocks, unpacked_limit
from onelayer.data.formats.pickle_machine import Global, RefusedError, Vocabulary, read_pickle
from onelayer.data.formats.zipped import is_plain, open_zip
from onelayer.errors import InputError

_STORAGES = {
    **{"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "u2", "Byte": "u1", "Char": "i1"},
    **{"Short": "i2", "Int": "i4", "Long": "i8", "Bool": "?"},
}
_TYPES = {f"torch {name}Storage": np.dtype(kind) for name, kind in _STORAGES.items()}
_BFLOAT16 = "torch BFloat16Storage"
_TENSOR = Global("torch._utils _rebuild_tensor_v2")
_PARAMETER = Global("torch._utils _rebuild_parameter")
_ORDERED = Global("collections OrderedDict")
_LARGEST_PICKLE, _MOST_OPCODES = 1 << 22, 500_000
_SAVE = 'torch.save({"X": X, "y": y}, path) writes what is read'
_PLAIN = _SAVE.replace("{", "{{").replace("}", "}}")  # in a format string


@dataclass(frozen=True, eq=False)
class _Storage:
    kind: str
    key: str
    numel: int


@dataclass(frozen=True, eq=False)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path, **options: Any) -> Contents:
    """Read a dictionary of tensors X and y, or X_train, y_train and so on, or a pair X, y.

    Labels and class_names may also be lists of strings or of whole numbers. A list of tensors holds
    rows, or batches of rows; or layers, if each tensor has a row for every label, as hidden_states
    has. A list of dictionaries, one for each sample, is read as a dictionary of lists. `options`
    are feature_set and pool.

    Raises
    ------
    InputError
        If the file holds something else, or is damaged.
    """
    with _open(path) as (held, read):
        if isinstance(held, _Tensor):
            raise NoLabelsError(f"{path}: one tensor, without labels; {_SAVE}")
        return read_labelled(str(path), held, read, partial(_look, held), **options)


def holds_one_tensor(path: Path) -> bool:
    """Return whether a file holds a single tensor; InputError as read_torch."""
    with _open(path) as (held, _):
        return isinstance(held, _Tensor)


def torch_sets(path: Path) -> list[str]:
    """Return the names of the feature sets, if there are several: see find_sets."""
    with _open(path) as (held, _):
        return [] if isinstance(held, _Tensor) else find_sets(held, partial(_look, held))


def look_at_tensor(path: Path) -> tuple[Sequence[int], str] | None:
    """Return shape and type of the single tensor in a file, or None."""
    with _open(path) as (held, _):
        return _look({"X": held}, "X")


def torch_features(path: Path, **options: Any) -> list[NDArray[Any]]:
    """Read the tensors that find_features finds, or a single one; InputError as read_torch."""
    with _open(path) as (held, read):
        names = ["X"] if isinstance(held, _Tensor) else held
        return read_features(str(path), names, read, **options)


def read_tensor(path: Path) -> Any:
    """Read a file that holds one tensor; InputError as read_torch."""
    with _open(path) as (held, read):
        if not isinstance(held, _Tensor):
            raise InputError(f"{path}: holds {listed([*held])}, expected one tensor")
        return read(["X"])["X"]


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Callable[[Sequence[str]], dict[str, Any]]]]:
    """Yield the tensor or dictionary that a file holds, and a function that reads its arrays."""
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not a PyTorch file as torch.save writes it since version 1.6, or damaged"
        )
    with open_zip(path, "PyTorch") as archive:
        members = {_key(member.filename): member for member in archive.infolist()}
        if "constants.pkl" in members:
            raise InputError(f"{path}: a TorchScript program, not data; {_SAVE}")
        content = _read_member(path, archive, members, "data.pkl", _LARGEST_PICKLE)
        held = read_pickle(str(path), bytes(content), _WORDS, _MOST_OPCODES, _arrays)
        named = {"X": held} if isinstance(held, _Tensor) else held
        yield held, partial(_read, path, archive, members, named)


def _look(held: Mapping[str, Any], name: str) -> tuple[Sequence[int], str] | None:
    """Return shape and type of a tensor, or the length of a list of labels."""
    value = held[name]
    if isinstance(value, _Tensor):
        kind = value.storage.kind
        return value.shape, "bfloat16" if kind == _BFLOAT16 else str(_TYPES[kind])
    if tensors := _tensors(value):
        _, kind = _look({"": tensors[0]}, "") or ((), "")
        single = len(tensors[0].shape) < 2
        inner = tensors[0].shape[0 if single else 1 :]
        return (len(tensors) if single else _n_rows(value), *inner), kind
    return ((len(value),), "list") if isinstance(value, list) else None


def _key(name: str) -> str:
    """Return the name of a member without the folder that holds all members."""
    return name.partition("/")[2]


def _arrays(value: Any) -> _Tensor | dict[str, Any]:
    """Return a value as a tensor, or as a dictionary of tensors and lists, by name."""
    if isinstance(value, _Tensor):
        return value
    if isinstance(value, list) and value and _are_samples(value):
        value = {name: [sample[name] for sample in value] for name in value[0]}
    if isinstance(value, list | tuple):
        if len(value) != 2 or not all(isinstance(item, _Tensor) for item in value):
            raise RefusedError(f"a sequence of {len(value):,} items; {_SAVE}")
        return dict(zip("Xy", value, strict=True))
    if not isinstance(value, dict):
        raise RefusedError(f"holds a value of type {type(value).__name__}; {_SAVE}")
    flat: dict[str, Any] = {}
    for name, item in value.items():
        inner = item if isinstance(item, dict) else {"": item}
        flat |= {f"{name}_{key}" if key else name: held for key, held in inner.items()}
    labels = [held for name, held in flat.items() if means_labels(name)]
    rows = {_n_rows(held) for held in labels if isinstance(held, _Tensor | list | tuple)}
    for name, held in [*flat.items()]:
        tensors = _tensors(held)
        if len(tensors) > 1 and all(len(t.shape) > 1 and {t.shape[0]} == rows for t in tensors):
            del flat[name]
            flat |= {f"{name}_{place}": tensor for place, tensor in enumerate(tensors)}
    return flat


def _are_samples(value: list[Any]) -> bool:
    return all(isinstance(one, dict) and one.keys() == value[0].keys() for one in value)


def _tensors(value: Any) -> Sequence[_Tensor]:
    """Return the tensors of a sequence; none if it also holds other values."""
    tensors = isinstance(value, list | tuple) and all(isinstance(one, _Tensor) for one in value)
    return value if tensors else ()


def _n_rows(value: Any) -> int:
    """Return the number of rows of an array or list of labels."""
    tensors = _tensors([value]) or _tensors(value)
    return sum(t.shape[0] if t.shape else 1 for t in tensors) or len(value)


def _read(
    path: Path,
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    held: Mapping[str, Any],
    wanted: Sequence[str],
) -> dict[str, Any]:
    limit = unpacked_limit(check_file(path))
    arrays: dict[str, Any] = {}
    storages: dict[str, bytearray] = {}  # several tensors may be parts of one
    for name in wanted:
        where, value = f"{path}: {name}", held[name]
        if isinstance(value, _Tensor):
            arrays[name] = _read_tensor(path, where, archive, members, value, limit, storages)
        elif tensors := _tensors(value):
            values = sum(math.prod(tensor.shape) for tensor in tensors)
            if values * _TYPES[tensors[0].storage.kind].itemsize > limit:
                raise InputError(f"{where}: {values:,} values, more than a file of this size holds")
            read = [
                _read_tensor(path, where, archive, members, tensor, limit, storages)
                for tensor in tensors
            ]
            arrays[name] = _concatenate(where, name, read)
        elif isinstance(value, list) and {str} == set(map(type, value)):
            arrays[name] = np.array(value)
        elif isinstance(value, list) and {int} == set(map(type, value)):
            arrays[name] = np.array(value, np.int64)
        else:
            raise InputError(f"{where} is a {type(value).__name__}, expected a tensor")
    return arrays


def _concatenate(where: str, name: str, read: Sequence[Any]) -> NDArray[Any]:
    """Return tensors joined to one array: rows, or batches of rows or of labels."""
    try:
        if means_labels(name):
            return np.concatenate([np.atleast_1d(one) for one in read])
        return np.stack(read) if read[0].ndim == 1 else np.concatenate(read)
    except ValueError as error:
        shapes = listed([*dict.fromkeys(str(one.shape) for one in read)])
        raise InputError(f"{where}: tensors of the shapes {shapes}, expected equal rows") from error


def _read_tensor(
    path: Path,
    where: str,
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    tensor: _Tensor,
    limit: int,
    storages: dict[str, bytearray],
) -> Any:
    dtype, storage = _TYPES[tensor.storage.kind], tensor.storage
    size, values = storage.numel * dtype.itemsize, math.prod(tensor.shape)
    last = tensor.offset + sum(
        (side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if not values or last >= storage.numel:
        raise InputError(f"{where}: a tensor of the shape {tensor.shape}, more than is stored")
    if values * dtype.itemsize > limit:
        raise InputError(
            f"{where}: takes {values * dtype.itemsize:,} bytes, expected at most {limit:,} from a "
            "file of this size"
        )
    content = storages.get(storage.key)
    if content is None:
        content = _read_member(path, archive, members, f"data/{storage.key}", limit)
        storages[storage.key] = content
    if len(content) != size:
        raise InputError(f"{where}: {len(content):,} bytes are stored, expected {size:,}")
    if "byteorder" in members and _read_member(path, archive, members, "byteorder", 16) == b"big":
        dtype = dtype.newbyteorder(">")
    stored = np.frombuffer(content, dtype, offset=tensor.offset * dtype.itemsize)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    array = np.ascontiguousarray(as_strided(stored, tensor.shape, strides, writeable=False))
    return bfloat16(array) if storage.kind == _BFLOAT16 else array


def _read_member(
    path: Path,
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    name: str,
    limit: int,
) -> bytearray:
    if name not in members:
        raise InputError(f"{path}: not a PyTorch file: no {name[:40]!r} in it")
    member = members[name]
    if member.file_size > limit or not is_plain(member):
        raise InputError(
            f"{path}: {name[:40]!r} unpacks to {member.file_size:,} bytes, expected at most "
            f"{limit:,}, and packed as torch.save does"
        )
    with archive.open(member) as stream:
        content = read_blocks(cast(BinaryIO, stream), member.file_size)
        stream.read(1)  # at the end zipfile compares the checksum
    return content


def _reduce(function: Any, arguments: Any) -> Any:
    match arguments:
        case () if function == _ORDERED:
            return {}
        case (_Tensor() as tensor, _, _) if function == _PARAMETER:
            return tensor
        case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _) if (
            function == _TENSOR
            and len(shape) == len(strides) <= 4
            and all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
        ):
            return _Tensor(storage, offset, shape, strides)
    name = function.name if isinstance(function, Global) else type(function).__name__
    raise RefusedError(f"refuses a call of {name}")


def _build(target: Any, state: Any) -> None:
    if not isinstance(target, dict):  # a module's state has its versions in an OrderedDict's
        raise RefusedError(f"refuses to build a {type(target).__name__}")


def _persistent(key: Any) -> _Storage:
    match key:
        case ("storage", Global(kind), str(name), str(), int(numel)) if (
            kind in _TYPES and 0 <= numel < 1 << 48
        ):
            return _Storage(kind, name, numel)
    raise RefusedError("refuses what is not the storage of a plain tensor")


_WORDS = Vocabulary(
    {known.name: known for known in (_TENSOR, _PARAMETER, _ORDERED, *map(Global, _TYPES))},
    _reduce,
    _build,
    persistent=_persistent,
    numbers=("LONG1", "BINFLOAT"),
    unknown=f"holds {{!r}}, expected tensors alone; {_PLAIN}",
)
