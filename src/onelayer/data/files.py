"""Reading files that may be anything: how large they can be is known beforehand."""

import hashlib
from pathlib import Path

from onelayer.errors import InputError


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes.

    Raises
    ------
    InputError
        If there is no such file, it is a device or a pipe, cannot be read, or is larger.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        size = path.stat().st_size
        if size > limit:
            raise InputError(f"{path}: holds {size:,} bytes, expected at most {limit:,}")
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def unpacked_limit(packed: int) -> int:
    """Return how many bytes a file of `packed` bytes may unpack to: images and tables take fewer.

    Only a bomb is packed a hundredfold; small files may be of one colour.
    """
    return 100 * packed + (16 << 20)


def check_file(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises
    ------
    InputError
        If there is no such file, or it is a folder, a device or a pipe.
    """
    try:
        if path.is_file():
            return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    raise InputError(f"{path}: no such file or folder, or a device or pipe")
