"""Extraction of the expected files, and nothing else, from an archive."""

import gzip
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from onelayer.errors import InputError
from onelayer.progress import progress_bar

LARGEST_CONTENT = 256_000_000  # bytes unpacked; the archive may declare any size
_BLOCK = 1 << 20
_DAMAGE = (  # errors of gzip and tarfile for damaged archives
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
)


def unpack(archive: Path, folder: Path, names: Collection[str], largest: int) -> None:
    """Write the members of a .tar.gz whose base name is in `names` flat into the new `folder`.

    Only regular files of at most `largest` bytes are taken, wherever the archive places them;
    nothing else is ever written.

    Raises
    ------
    InputError
        If the archive is damaged, holds one of the names twice, or is too large. Names it.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such file or folder")
    folder.mkdir()
    try:
        packed = archive.open("rb")
    except OSError as error:
        raise InputError(f"{archive}: cannot be read: {error.strerror}") from error
    try:
        with packed:
            _unpack(packed, folder, names, largest)
    except _DAMAGE as error:
        what = error if isinstance(error, InputError) else f"no .tar.gz, or damaged: {error}"
        raise InputError(f"{archive}: {what}") from error


def _unpack(packed: BinaryIO, folder: Path, names: Collection[str], largest: int) -> None:
    size = packed.seek(0, 2)
    packed.seek(0)
    with (
        _BoundedGzip(fileobj=packed) as content,
        tarfile.open(fileobj=content, mode="r|", bufsize=_BLOCK) as members,
        progress_bar("Unpacking", size, bytes_=True) as update,
    ):
        for member in members:
            name = member.name.rpartition("/")[2]
            update(packed.tell(), name)
            if name not in names or not member.isreg() or member.issparse():
                continue
            if member.size > largest:
                raise InputError(f"{name} has {member.size:,} bytes, expected at most {largest:,}")
            if (folder / name).exists():
                raise InputError(f"holds {name} twice")
            source = members.extractfile(member)
            assert source is not None  # a regular file has content
            with (folder / name).open("wb") as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    update(packed.tell(), name)


class _BoundedGzip(gzip.GzipFile):
    """A gzip stream that raises InputError after LARGEST_CONTENT bytes."""

    given = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.given += len(block)
        if self.given > LARGEST_CONTENT:
            raise InputError(f"unpacks to more than {LARGEST_CONTENT:,} bytes")
        return block
