"""Text tables in their dialects: packed or not, UTF-8 or UTF-16, and several separators."""

import codecs
import csv
import gzip
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from onelayer.data.cells import is_number
from onelayer.data.files import check_file, unpacked_limit
from onelayer.data.formats.zipped import BoundedFile, is_plain
from onelayer.errors import InputError

SUFFIXES = (".csv", ".tsv", ".txt")
PACKED = tuple(suffix + packing for suffix in SUFFIXES for packing in (".gz", ".zip"))
_LONGEST_LINE = 1 << 24  # characters
_HEAD = 20, 1 << 20  # lines and characters that are examined to find the separator
_SEPARATORS = "\t;|,"
_EXCEL = re.compile(rf'"?sep=([{_SEPARATORS}])"?\s*', re.IGNORECASE)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_DAMAGE = (  # errors of decoders and unpackers for damaged files
    OSError, EOFError, UnicodeError, csv.Error, zlib.error, zipfile.BadZipFile,
    LookupError, RuntimeError, ArithmeticError, struct.error,
)  # fmt: skip


def is_odd(text: str) -> bool:
    """Return whether float() may accept characters of a text that no number in a table has."""
    return not text.isascii() or "_" in text


class Text:
    """The rows of cells of one table, in order, and the `separator` of its cells.

    A line that is_odd sets `odd`; the reader of the row clears it.
    """

    def __init__(self, file: io.TextIOBase, limit: float) -> None:
        self.odd = False
        lines = _limited(file, limit)
        head = list(_head(lines))
        excel = _EXCEL.fullmatch(head[0]) if head else None
        self.separator = excel[1] if excel else _separator(head)
        self._lines = self._checked(chain(head, lines), skipped=1 if excel else 0)

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the cells of each line that is not empty."""
        return filter(None, csv.reader(self._lines, delimiter=self.separator, strict=True))

    def _checked(self, lines: Iterable[str], skipped: int) -> Iterator[str]:
        for number, line in enumerate(islice(lines, skipped, None), 1 + skipped):
            if is_odd(line):
                self.odd = True
                if byte := _NOT_UTF8.search(line):
                    raise csv.Error(
                        f"line {number} holds the byte 0x{ord(byte[0]) - 0xDC00:02X}, which is not "
                        "UTF-8; iconv -f CP1252 -t UTF-8 converts what Windows writes"
                    )
            if "\0" in line:
                raise csv.Error(f"line {number} holds a zero byte, as no text in UTF-8 does")
            yield line


@contextmanager
def open_text(path: Path) -> Iterator[Text]:
    """Open a table, or the only one in a .gz or .zip.

    Raises
    ------
    InputError
        If it cannot be read or unpacked; also while it is open.
    """
    size = check_file(path)
    with naming(str(path)), path.open("rb") as raw, ExitStack() as stack:
        packing, unpacked, limit = raw.peek(4)[:4], cast(BinaryIO, raw), math.inf
        if packing.startswith(b"\x1f\x8b"):
            unpacked = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
        elif packing == b"PK\x03\x04":
            file = cast(BinaryIO, stack.enter_context(BoundedFile(path)))
            archive = stack.enter_context(zipfile.ZipFile(file))
            unpacked = cast(BinaryIO, stack.enter_context(archive.open(_only_member(archive))))
        if unpacked is not raw:
            limit = unpacked_limit(size)
        yield stack.enter_context(decoded(unpacked, limit))


@contextmanager
def decoded(raw: BinaryIO, limit: float = math.inf) -> Iterator[Text]:
    """Read the table in a stream of bytes, at most `limit` characters, and close the stream."""
    source: Any = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    if source.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        file = io.TextIOWrapper(source, "utf-16", newline="")
    else:
        file = io.TextIOWrapper(source, "utf-8-sig", "surrogateescape", newline="")
    with file:
        yield Text(file, limit)


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Turn errors of decoders, unpackers and csv into an InputError that names the source."""
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f"{source}: cannot be read as CSV: {error}") from error


def holds_table(path: Path) -> bool:
    """Return whether an archive .zip holds a table of text and nothing else."""
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(cast(BinaryIO, file)) as archive:
            return _only_member(archive).filename.lower().endswith(SUFFIXES)
    except (*_DAMAGE, ValueError):
        return False


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [member for member in archive.infolist() if not member.is_dir()]
    files = [member for member in files if not member.filename.startswith("__MACOSX/")]
    if len(files) != 1:
        raise zipfile.BadZipFile(f"the archive holds {len(files)} files, expected one table")
    if not is_plain(files[0]):
        raise zipfile.BadZipFile("packed in a way that few programs can unpack")
    return files[0]


def _limited(file: io.TextIOBase, limit: float) -> Iterator[str]:
    read = 0
    while line := file.readline(_LONGEST_LINE):
        read += len(line)
        if len(line) == _LONGEST_LINE:
            raise csv.Error(f"a line has more than {_LONGEST_LINE:,} characters")
        if read > limit:
            raise csv.Error(f"unpacks to more than {limit:,} characters; unpack it first")
        yield line


def _head(lines: Iterator[str]) -> Iterator[str]:
    """Yield the first lines, within the limits of _HEAD."""
    most, characters = _HEAD
    for line in islice(lines, most):
        yield line
        characters -= len(line)
        if characters < 0:
            return


def _separator(head: Sequence[str]) -> str:
    """Return the separator that gives the first two rows the same number of cells, two or more.

    Of several, it is the one that gives the most numbers; without any, the one that gives the first
    row the most cells.
    """
    rows = {separator: _first_rows(head, separator) for separator in _SEPARATORS}
    alike = [s for s, some in rows.items() if len(some[0]) > 1 and len({*map(len, some)}) == 1]
    if alike:
        return max(alike, key=lambda s: sum(is_number(cell, s != ",") for cell in rows[s][-1]))
    return max(reversed(rows), key=lambda separator: len(rows[separator][0]))


def _first_rows(head: Sequence[str], separator: str) -> list[list[str]]:
    """Return the cells of the first two rows, empty for a row that cannot be split."""
    rows = filter(None, csv.reader(head, delimiter=separator, strict=True))
    found = []
    try:
        for row in islice(rows, 2):
            found.append(row)
    except csv.Error:  # quotes that do not fit this separator, or are not closed
        found.append([])
    return found or [[]]
