"""Zip archives that may hold anything: what is said in them bounds no memory."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

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


class BoundedFile(io.FileIO):
    """A file of which no damaged number can ask for much at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most 256 KiB; BadZipFile if more are asked for."""
        if size is not None and size > _BLOCK:
            raise zipfile.BadZipFile(f"asks for {size:,} bytes at once")
        return super().read(_BLOCK if size is None or size < 0 else size)


@contextmanager
def open_zip(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open the archive `path`; an error while it is open says that it is no `kind`.

    Raises
    ------
    InputError
        If it is no zip archive, or damaged.
    """
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(cast(BinaryIO, file)) as archive:
            yield archive
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path}: not a {kind} file, or damaged: {error}") from error


def is_plain(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is stored as it is or deflated, as NumPy and PyTorch do."""
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
