"""Reading of untrusted files: their size is checked before they are read."""

import hashlib
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from onelayer.errors import InputError, printable

_BLOCK = 1 << 18  # bytes read at once
_LITTER = {  # files, besides hidden ones, that systems and zip tools leave in a folder
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information"),
}
_MOST_DIGESTS = 16  # more files share one digest


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


def read_blocks(stream: BinaryIO, size: int) -> bytearray:
    """Return the next `size` bytes of a stream, or fewer at its end, without a second copy."""
    content, filled = bytearray(size), 0
    with memoryview(content) as view:
        while block := stream.read(min(_BLOCK, size - filled)):
            view[filled : filled + len(block)] = block
            filled += len(block)
    del content[filled:]
    return content


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


def digests_of(files: Sequence[Path], source: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path in the folder `source` or in its own folder.

    Many files have one digest: that of the sorted lines that the command sha256sum writes for them.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    root = source if source.is_dir() else source.parent
    if not all(path.is_relative_to(root) for path in files):
        root = Path(os.path.commonpath(files))
    digests = {path.relative_to(root): sha256(path) for path in files}
    if len(digests) <= _MOST_DIGESTS:
        return {printable(str(name)): digest for name, digest in digests.items()}
    lines = sorted(b"%s  %s\n" % (digests[name].encode(), os.fsencode(name)) for name in digests)
    return {f"{len(lines):,} files": hashlib.sha256(b"".join(lines)).hexdigest()}


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the entries of a folder by name, without hidden files and files left by the system.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if fnmatchcase(path.name, pattern)]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    return sorted(path for path in found if not _is_litter(path.name.lower()))


def by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: layer2 comes before layer10.

    Examples
    --------
    >>> sorted(["layer10", "layer2", "layer"], key=by_number)
    ['layer', 'layer2', 'layer10']
    """
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [
        (int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts
    ]


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _LITTER or name.endswith(":zone.identifier")


def unpacked_limit(packed: int) -> int:
    """Return the largest size in bytes to which a file of `packed` bytes may unpack.

    Images and tables need less than a hundredfold, only a zip bomb needs more. The constant is for
    small files, such as a picture of one colour.
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
