"""One picture file as a viewer shows it: PNG, JPEG, GIF, BMP or WebP, by its first bytes.

Comments, profiles, EXIF and further frames are removed before Pillow opens a picture: they are not
needed to show it, may be corrupt in a picture that every viewer shows, or may unpack to a bomb.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.files import read_file, unpacked_limit
from onelayer.errors import InputError

_READ = {  # Pillow's name of each format, and a file's first bytes
    "PNG": rb"\x89PNG",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{4}\0{4}",
    "WebP": rb"RIFF.{4}WEBP",
}
_OTHERS = {
    "a TIFF picture": rb"II\*\0|MM\0\*",
    "a HEIC picture": rb".{4}ftyp(?:hei|hev|mif1|msf1)",
    "an AVIF picture": rb".{4}ftypavi",
    "a JPEG 2000 picture": rb"\0\0\0\x0cjP|\xff\x4f\xff\x51",
    "a JPEG XL picture": rb"\0\0\0\x0cJXL|\xff\x0a",
    "a DICOM picture": rb".{128}DICM",
    "a Photoshop picture": rb"8BPS",
    "an icon": rb"\0\0\x01\0",
    "an SVG drawing": rb"\s*(?:<\?xml.*)?<svg",
    "a web page": rb"\s*<(?:!(?i:doctype) )?(?i:html)",
    "a PDF document": rb"%PDF",
    "a PostScript document": rb"%!PS",
    "a zip archive": rb"PK\x03\x04",
    "a video": rb".{4}ftyp",
    "a pointer of Git LFS instead of the file": rb"version https://git-lfs",
    "a text": rb"[\t\n\r -\xff]+\Z",
}
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp"),
    *(
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".jxl",
        ".dcm",
        ".svg",
    ),  # refused by name
)
_HEAD = 1000  # bytes that identify the type of a file
_LARGEST_FILE = 1 << 28  # bytes
_MOST_PARTS = 100_000  # chunks, segments or blocks of a file, each of which takes time
_MOST_SCANS = 100  # of a JPEG, each of which takes time; encoders write 10
_WIDE, _GREY = ("I", "I;16", "I;16B"), ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # its tag in EXIF
_TURNS = {  # how a picture of each orientation is shown
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclass(frozen=True)
class Encoded:
    """A picture within another file: its name in messages, and its bytes."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Picture:
    """An open picture: Pillow's image as it is stored, and its orientation in EXIF, 1 to 8."""

    image: Any
    orientation: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """(height, width), as shown."""
        width, height = self.image.size
        return (width, height) if self.orientation > 4 else (height, width)

    @property
    def is_grey(self) -> bool:
        """Whether the picture has a single channel."""
        return self.image.mode in _GREY + _WIDE

    def upright(self, mode: str) -> Any:
        """Return Pillow's image of 8 bits in mode "L" or "RGB", turned as a viewer turns it.

        Transparency is dropped: a pixel keeps its stored colour, as Pillow's `convert` does.
        """
        from PIL import Image

        image, turn = self.image, _TURNS.get(self.orientation)
        if image.mode in _WIDE:
            image = Image.fromarray(_eight_bits(np.asarray(image)))
        image = image.convert(mode)
        return image if turn is None else image.transpose(Image.Transpose[turn])

    @property
    def is_transparent(self) -> bool:
        """Whether any pixel is not opaque."""
        if not self.image.mode.endswith("A") and "transparency" not in self.image.info:
            return False
        if self.image.mode in _WIDE:
            return False
        return bool(self.image.convert("RGBA").getextrema()[3][0] < 255)


def is_picture(head: bytes, name: str) -> bool:
    """Return whether a file's first bytes or its name are those of a picture."""
    return name.lower().endswith(SUFFIXES) or any(_begins(head, magic) for magic in _READ.values())


@contextmanager
def open_picture(
    path: Path | Encoded, largest: int = _LARGEST_FILE, kinds: tuple[str, ...] = tuple(_READ)
) -> Iterator[Picture]:
    """Open a picture by its first bytes, not its name; errors while it is open name the file.

    Raises
    ------
    InputError
        If the file is larger than `largest` bytes, of no kind in `kinds`, damaged, cut short, or
        takes far more memory or time than a file of its size should.
    """
    from PIL import Image, UnidentifiedImageError

    content = path.content if isinstance(path, Encoded) else read_file(path, largest)
    kind = next((kind for kind in kinds if _begins(content, _READ[kind])), None)
    if kind is None:
        raise InputError(f"{path}: {_describe(content)}; expected {_listed(kinds)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of pictures that every viewer shows
            shown, exif = _STRIP.get(kind, _as_it_is)(content)
            with Image.open(io.BytesIO(shown), formats=(kind,)) as image:
                if image.mode not in _GREY + _COLOUR + _WIDE:
                    raise InputError(f"{path}: of mode {image.mode}, expected 8 or 16 bits")
                if kind == "BMP" and image.tile[0][0] == "bmp_rle":
                    raise InputError(f"{path}: a BMP of run lengths; expected one without")
                if 3 * image.width * image.height > unpacked_limit(len(content)):
                    raise InputError(
                        f"{path}: a picture of {image.width} × {image.height}, more than a "
                        "file of its size can hold"
                    )
                yield Picture(image, _orientation(exif or image.info.get("exif", b"")))
    except (InputError, MemoryError):
        raise
    except _RefusedError as error:
        raise InputError(f"{path}: a {kind} {error}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: a {kind} of too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: a damaged {kind}: its header cannot be read") from error
    except Exception as error:  # Pillow's readers raise errors of many types
        if isinstance(error, IndexError) or "truncated" in str(error):
            raise InputError(f"{path}: a {kind} cut short: {error}") from error
        raise InputError(f"{path}: a damaged {kind}: {error}") from error


class _RefusedError(Exception):
    """A file has too many parts, or lacks one; the message names them."""


def _begins(content: bytes, magic: bytes) -> bool:
    return re.match(magic, content[:_HEAD], re.DOTALL) is not None


def _describe(content: bytes) -> str:
    """Return a description of a file that cannot be read as a picture."""
    if not content:
        return "an empty file"
    known = {f"a {kind} picture": magic for kind, magic in _READ.items()} | _OTHERS
    found = (words for words, magic in known.items() if _begins(content, magic))
    return next(found, "no picture, or one damaged at its beginning")


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return values of 16 bits as the nearest of 8 bits: 65,535 is white, as 255 is."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _orientation(exif: bytes) -> int:
    """Return the orientation in EXIF; 1 (as stored) if it is missing or broken."""
    exif = exif.removeprefix(b"Exif\0\0")
    big = exif[:2] == b"MM"

    def number(place: int, size: int) -> int:
        return int.from_bytes(exif[place : place + size], "big" if big else "little")

    entries = number(4, 4) + 2
    for entry in range(entries, min(entries + 12 * number(entries - 2, 2), len(exif)), 12):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if value in _TURNS else 1
    return 1


def _as_it_is(content: bytes) -> tuple[bytes, bytes]:
    return content, b""


def _strip_png(content: bytes) -> tuple[bytes, bytes]:
    """Return the chunks that define the pixels, and EXIF."""
    kept, exif, place = [content[:8]], b"", 8
    for _ in range(_MOST_PARTS):
        if place >= len(content):
            return b"".join(kept), exif
        kind = content[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(content[place:end])
        elif kind == b"eXIf":
            exif = content[place + 8 : end - 4]
        place = end
    raise _RefusedError(f"of more than {_MOST_PARTS:,} chunks")


_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # none is within the data of a scan
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of an image's header
_NOT_SHOWN = {0xFE, *range(0xE1, 0xEE), 0xEF}  # comments, and all of applications but Adobe's, JFIF


def _strip_jpeg(content: bytes) -> tuple[bytes, bytes]:
    """Return the segments that define the pixels, and EXIF; refuse a file of too many scans."""
    kept, exif, place, scans, first = [content[:2]], b"", 2, 0, 0
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(content, place)
        if found is None:
            raise _RefusedError("cut short: its end is missing")
        marker, start = found[1][0], found.start()
        if marker == _END:
            return b"".join(kept) + content[first or start : found.end()], exif
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
        if marker == _START_OF_SCAN:
            first, scans = first or start, scans + 1
        if scans > _MOST_SCANS:
            raise _RefusedError(f"of more than {_MOST_SCANS} scans, which would take too much time")
        if not first and marker not in _NOT_SHOWN:
            kept.append(content[start:place])
        if marker == 0xE1 and content.startswith(b"Exif\0\0", start + 4):
            exif = exif or content[start + 4 : place]
        if marker in _FRAMES and content[start + 4] != 8:
            raise _RefusedError(f"of {content[start + 4]} bits a value, expected 8")
    raise _RefusedError(f"of more than {_MOST_PARTS:,} segments")


def _strip_gif(content: bytes) -> tuple[bytes, bytes]:
    """Return the header, the transparent colour and all from the first image on; no EXIF."""
    place = 13 + (6 << (content[10] & 7) if content[10] & 0x80 else 0)
    kept, blocks = [content[:place]], 0
    while content[place] == ord("!"):
        start, place = place, place + 2
        while content[place] and blocks < _MOST_PARTS:
            place, blocks = place + 1 + content[place], blocks + 1
        if blocks == _MOST_PARTS:
            raise _RefusedError(f"of more than {_MOST_PARTS:,} blocks before its image")
        place += 1
        if content[start + 1] == 0xF9:
            kept.append(content[start:place])
    return b"".join(kept) + content[place:], b""


_STRIP: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "PNG": _strip_png,
    "JPEG": _strip_jpeg,
    "GIF": _strip_gif,
}
