"""NumPy's .npy files, mapped: a header is checked before anything is mapped or allocated."""

import math
import os
import sys
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from onelayer.data.files import check_file, read_blocks
from onelayer.errors import InputError


@dataclass(frozen=True)
class Mapped:
    """An array that stays in its file, and a stamp of the file when it was mapped."""

    path: Path
    array: NDArray[np.generic]
    stamp: tuple[int, ...]

    def check_unchanged(self) -> None:
        """Check that the file is still the one that was mapped.

        Reading past the end of a file that became shorter would kill the process (SIGBUS).

        Raises
        ------
        InputError
            If it has vanished, or has another size, time of change or identity.
        """
        try:
            now = stamp(os.stat(self.path))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}, while it was in use") from error
        if now != self.stamp:
            raise InputError(
                f"{self.path}: changed while it was in use: "
                f"{self.stamp[0]:,} bytes when it was opened, now {now[0]:,}"
            )


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return size, time of change and identity of a file: if it changes, one of them does."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def map_npy(path: Path) -> Mapped:
    """Map the numbers of a .npy file as numpy.save writes them, read-only.

    Raises
    ------
    InputError
        If there is no such file, it is not a .npy file, holds no plain numbers, is in Fortran
        order, or has another size than its header promises.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            shape, dtype = _read_mappable_header(path, file)
            start = file.tell()
            promised = start + math.prod(shape) * dtype.itemsize
            if promised != status.st_size:
                raise InputError(
                    f"{path}: holds {status.st_size:,} bytes, its header promises {promised:,}"
                )
            array = np.asarray(np.memmap(file, dtype, "r", start, shape))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return Mapped(path, array, stamp(status))


def read_header(
    where: str, file: BinaryIO, kinds: str = "biuf"
) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Return shape and type of the array that follows in `file`, and whether in Fortran order.

    Raises
    ------
    InputError
        If it is not a .npy header, the array has no rows, or its type is not one of the `kinds`.
    """
    try:
        # Version 1 alone: it is all that plain numbers need, and its header is at most 64 KiB.
        if npy_format.read_magic(file) != (1, 0):
            raise ValueError("not of version 1.0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of headers that only Python 2 wrote
            shape, in_fortran_order, dtype = npy_format.read_array_header_1_0(file)
    except OSError:
        raise
    except Exception as error:  # from a damaged header the parser raises nearly anything
        raise InputError(f"{where}: not a .npy file as numpy.save writes it: {error}") from error
    if dtype.kind not in kinds or dtype.names or dtype.subdtype or not dtype.itemsize:
        raise InputError(
            f"{where}: holds {str(dtype)[:40]}, expected plain numbers"
            + "; it is a pickle, which could run code: if you trust it, numpy.load(path, "
            "allow_pickle=True) opens it, and numpy.savez(path, X=X, y=y) writes what is read"
            * (dtype.kind == "O")
        )
    if not shape or min(shape) < 1:
        raise InputError(f"{where}: an array of the shape {shape}, expected at least one row")
    return shape, dtype, in_fortran_order


def look_at(where: str, file: BinaryIO) -> tuple[tuple[int, ...], str] | None:
    """Return shape and type of a .npy file, or None if it holds neither numbers nor texts."""
    try:
        shape, dtype, _ = read_header(where, file, "biufU")
    except (InputError, zipfile.BadZipFile, zlib.error, EOFError):  # the reader will report it
        return None
    return shape, str(dtype.newbyteorder("="))


def read_npy(where: str, stream: BinaryIO, size: int) -> NDArray[Any]:
    """Return the numbers or texts of a .npy file of `size` bytes, block by block.

    Raises
    ------
    InputError
        If it is not a .npy file, or has another size than its header promises.
    """
    shape, dtype, in_fortran_order = read_header(where, stream, "biufU")
    promised = stream.tell() + math.prod(shape) * dtype.itemsize
    if promised != size:
        raise InputError(f"{where}: holds {size:,} bytes, its header promises {promised:,}")
    content = read_blocks(stream, math.prod(shape) * dtype.itemsize)
    if stream.read(1):  # at the end of a packed file zipfile compares the checksum
        raise InputError(f"{where}: holds more than its header promises")
    values: NDArray[Any] = np.frombuffer(content, dtype)
    if dtype.kind == "U" and (values.view(dtype.byteorder + "u4") > sys.maxunicode).any():
        raise InputError(f"{where}: holds invalid Unicode")
    return values.reshape(shape[::-1]).T if in_fortran_order else values.reshape(shape)


def load_npy(path: Path) -> NDArray[Any]:
    """Return the numbers or texts of a .npy file, in memory; errors as read_npy."""
    size = check_file(path)
    try:
        with path.open("rb") as file:
            return read_npy(str(path), file, size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def map_or_load(path: Path) -> Mapped | NDArray[Any]:
    """Map the numbers of a .npy file, or read those in Fortran order, and texts, into memory.

    Raises
    ------
    InputError
        As map_npy and load_npy.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            _, dtype, in_fortran_order = read_header(str(path), file, "biufU")
            aligned = file.tell() % dtype.itemsize == 0
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return (
        map_npy(path) if aligned and dtype.kind != "U" and not in_fortran_order else load_npy(path)
    )


def open_npy(path: Path) -> NDArray[Any]:
    """Map the numbers of a .npy file, or read those in Fortran order; errors as map_npy."""
    opened = map_or_load(path)
    return opened.array if isinstance(opened, Mapped) else opened


def _read_mappable_header(
    path: Path, file: BinaryIO
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    shape, dtype, in_fortran_order = read_header(str(path), file)
    if in_fortran_order:
        raise InputError(f"{path}: in Fortran order, expected C order")
    if file.tell() % dtype.itemsize:
        raise InputError(f"{path}: its numbers do not start at a multiple of their size")
    return shape, dtype
