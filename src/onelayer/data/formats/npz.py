"""NumPy's .npz: an archive of .npy files, each checked against its header before it is read."""

import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from onelayer.data.array_names import find_sets
from onelayer.data.arrays import read_features, read_labelled
from onelayer.data.contents import Contents
from onelayer.data.files import check_file, unpacked_limit
from onelayer.data.formats.zipped import is_plain, open_zip
from onelayer.data.npy import look_at, read_npy
from onelayer.errors import InputError


def read_npz(path: Path, **options: Any) -> Contents:
    """Read X and y, or X_train, y_train and so on, and class_names, if there is such an array.

    `options` are feature_set and pool.

    Raises
    ------
    InputError
        If the file is not an .npz archive, or an array has another size than its header promises.
    """
    with open_zip(path, ".npz") as archive:
        members = _members(path, archive)
        read, look = partial(_read, path, archive, members), partial(_look, archive, members)
        return read_labelled(str(path), members, read, look, **options)


def npz_sets(path: Path) -> list[str]:
    """Return the names of the feature sets, if there are several: see find_sets."""
    with open_zip(path, ".npz") as archive:
        members = _members(path, archive)
        return find_sets(members, partial(_look, archive, members))


def npz_features(path: Path, **options: Any) -> list[NDArray[Any]]:
    """Read the arrays that find_features finds; InputError as read_npz."""
    with open_zip(path, ".npz") as archive:
        members = _members(path, archive)
        read = partial(_read, path, archive, members)
        return read_features(str(path), members, read, **options)


def npz_arrays(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, NDArray[Any]]:
    """Read the arrays that `choose` selects by name; InputError as read_npz."""
    with open_zip(path, ".npz") as archive:
        members = _members(path, archive)
        return _read(path, archive, members, choose([*members]))


def _look(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str
) -> tuple[Sequence[int], str] | None:
    """Return shape and type of an array, or None if it does not hold plain values."""
    if not is_plain(members[name]):
        return None
    with archive.open(members[name]) as stream:
        return look_at(name, cast(BinaryIO, stream))


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the zip entries of the arrays, by name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if not name.isprintable() or {"/", "\\"} & {*name} or name in members:
            raise InputError(f"{path}: a member called {name[:40]!r}, expected names of arrays")
        members[name] = member
    if {"indices", "indptr", "shape"} <= {*members}:
        raise InputError(
            f"{path}: a sparse matrix of SciPy, without labels; numpy.savez(path, "
            "X=scipy.sparse.load_npz(path).toarray(), y=y) writes what is read"
        )
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
    """Return the array of a member whose size was checked."""
    if not is_plain(member):
        raise InputError(f"{where}: packed in a way that numpy.savez does not use")
    with archive.open(member) as stream:
        return read_npy(where, cast(BinaryIO, stream), member.file_size)
