"""Untrusted zip archives: no number in them can cause a large allocation."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from onelayer.errors import InputError

_BLOCK = 1 << 18  # bytes; the list of members is read at once, so their number is limited, too
_DAMAGE = (  # errors of zipfile for damaged files, unknown compressions and passwords
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
    """A file that refuses large reads, which only damaged archives ask for."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most 256 KiB; BadZipFile if more are asked for."""
        if size is not None and size > _BLOCK:
            raise zipfile.BadZipFile(f"asks for {size:,} bytes at once")
        return super().read(_BLOCK if size is None or size < 0 else size)


@contextmanager
def open_zip(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open the archive `path`; errors while it is open name the file and its `kind`.

    Raises
    ------
    InputError
        If it is not a zip archive, or damaged.
    """
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(cast(BinaryIO, file)) as archive:
            yield archive
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path}: not a {kind} file, or damaged: {error}") from error


def is_plain(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is stored or deflated, as NumPy and PyTorch do."""
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
