"""NumPy's .npz: an archive of .npy files, each checked against its header before it is read."""

import io
import math
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part, find_arrays, find_features
from onelayer.data.files import check_file, unpacked_limit
from onelayer.data.npy import read_header
from onelayer.errors import InputError

_BLOCK = 1 << 18  # bytes; the list of members is read as one, so it bounds how many there are
_DAMAGE = (  # what zipfile raises for bytes that are none of its own, packings and passwords
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    ArithmeticError,
)
NAMES = "class_names"


class _BoundedFile(io.FileIO):
    """A file of which no damaged number can ask for much at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _BLOCK:
            raise zipfile.BadZipFile(f"asks for {size:,} bytes at once")
        return super().read(_BLOCK if size is None or size < 0 else size)


def read_npz(path: Path) -> Contents:
    """Read X and y, or X_train, y_train and so on, and class_names, if there is such an array.

    Raises
    ------
    InputError
        If the file is no such archive, or an array is of another size than its header promises.
    """
    with _open(path) as archive:
        members = _members(path, archive)
        found = find_arrays(str(path), members)
        wanted = [name for pair in found.values() for name in pair.values()]
        wanted += [name for name in (NAMES,) if name in members]
        arrays = _read(path, archive, members, wanted)
    parts = {split: Part(arrays[pair["X"]], arrays[pair["y"]]) for split, pair in found.items()}
    names = arrays.get(NAMES)
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise InputError(f"{path}: {NAMES} of {names.dtype}, expected strings")
    return Contents(parts, None if names is None else tuple(names.tolist()))


def npz_features(path: Path) -> list[NDArray[Any]]:
    """Read the arrays that find_features finds.

    Raises
    ------
    InputError
        As `read_npz`, or if there are no such arrays.
    """
    with _open(path) as archive:
        members = _members(path, archive)
        wanted = find_features(str(path), members)
        arrays = _read(path, archive, members, wanted)
    return [arrays[name] for name in wanted]


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with _BoundedFile(path) as file, zipfile.ZipFile(cast(BinaryIO, file)) as archive:
            yield archive
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path}: not a .npz file, or damaged: {error}") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return what the archive says of its arrays, by their names."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if not name.replace("_", "").replace("-", "").isalnum() or name in members:
            raise InputError(f"{path}: a member called {name[:40]!r}, expected names of arrays")
        members[name] = member
    return members


def _read(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    wanted: Sequence[str],
) -> dict[str, NDArray[Any]]:
    limit = unpacked_limit(check_file(path))
    promised = sum(members[name].file_size for name in wanted)
    if promised > limit:
        raise InputError(
            f"{path}: unpacks to {promised:,} bytes, expected at most {limit:,} from a file of "
            "this size; numpy.savez writes it unpacked"
        )
    return {name: _read_member(f"{path}: {name}", archive, members[name]) for name in wanted}


def _read_member(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return the array of a member whose size in the archive is known to be acceptable."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{where}: packed in a way that numpy.savez does not use")
    with archive.open(member) as stream:
        shape, dtype, in_fortran_order = read_header(where, cast(BinaryIO, stream), "biufU")
        promised = stream.tell() + math.prod(shape) * dtype.itemsize
        if promised != member.file_size:
            raise InputError(
                f"{where}: holds {member.file_size:,} bytes, its header promises {promised:,}"
            )
        content = bytearray(math.prod(shape) * dtype.itemsize)
        view = memoryview(content)
        for start in range(0, len(content), _BLOCK):
            block = stream.read(min(_BLOCK, len(content) - start))
            view[start : start + len(block)] = block
        if stream.read(1):  # at its end the checksum is compared
            raise InputError(f"{where}: holds more than its header promises")
    values: NDArray[Any] = np.frombuffer(content, dtype)
    if dtype.kind == "U" and (values.view(dtype.byteorder + "u4") > sys.maxunicode).any():
        raise InputError(f"{where}: holds invalid Unicode")
    return values.reshape(shape[::-1]).T if in_fortran_order else values.reshape(shape)
