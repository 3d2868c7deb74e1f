"""One picture as a viewer shows it: its bytes are those computed by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from onelayer.data.formats.images import read_picture
from onelayer.data.formats.picture import open_picture
from onelayer.errors import InputError

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (6, 4), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (6, 4, 3), dtype=np.uint8)
ALPHA = GENERATOR.integers(0, 255, (6, 4), dtype=np.uint8)


def encode(pixels, kind, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def shown(path, content, mode="RGB"):
    """Return the pixels (H, W) or (H, W, 3) that are read of a file's bytes."""
    path.write_bytes(content)
    with open_picture(path) as picture:
        return np.asarray(picture.upright(mode))


def exif_of(orientation, order="II"):
    letter = {"II": "<", "MM": ">"}[order]
    entry = struct.pack(f"{letter}HHIHH", 0x0112, 3, 1, orientation, 0)
    return order.encode() + struct.pack(f"{letter}HIH", 42, 8, 1) + entry + bytes(4)


def jpeg_with_exif(pixels, exif):
    """Return a JPEG that has this EXIF behind its first marker, however broken."""
    content = encode(pixels, "JPEG")
    exif = b"Exif\0\0" + exif
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def jpeg_of_bits(bits):
    content = encode(RGB, "JPEG")
    place = content.index(b"\xff\xc0") + 4
    return content[:place] + bytes([bits]) + content[place + 1 :]


def bmp_of_moves():
    """Return a BMP of run lengths, each of which moves on by 255 rows of 5,000,000 pixels."""
    header = struct.pack("<IIIHHIIIIII", 40, 5_000_000, 1, 1, 8, 1, 0, 1, 1, 256, 0)
    moves = b"\0\2\xff\xff" * 1000
    return b"BM" + struct.pack("<III", 1078 + len(moves), 0, 1078) + header + bytes(1024) + moves


def png_chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


TURNED = {  # EXIF's definition: where row 0 and column 0 of what is stored are when it is shown
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored[::-1].swapaxes(0, 1),  # right, top
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, order):
    path, exif = tmp_path / "a", exif_of(orientation, order)
    stored = shown(path, jpeg_with_exif(RGB, b""))
    found = shown(path, jpeg_with_exif(RGB, exif))
    np.testing.assert_array_equal(found, TURNED[orientation](stored))
    with open_picture(path) as picture:
        assert picture.extent == found.shape[:2]
    png = encode(RGB, "PNG")
    for place in (33, len(png) - 12):  # behind the header, behind the pixels
        content = png[:place] + png_chunk(b"eXIf", exif) + png[place:]
        np.testing.assert_array_equal(shown(path, content), TURNED[orientation](RGB))
    webp = encode(RGB, "WebP", lossless=True, exif=exif)
    np.testing.assert_array_equal(shown(path, webp), TURNED[orientation](RGB))
    for_a_model = read_picture(path, (3, *found.shape[:2]))
    np.testing.assert_array_equal(for_a_model, TURNED[orientation](RGB).transpose(2, 0, 1))


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0\x08\0\0\0\xff\xff", b"", b"XX*\0", b"II*\0\xff\xff\xff\xff", exif_of(0), exif_of(9),
        exif_of(6)[:-14], b"MM\0*\0\0\0\x08" + b"\xff" * 60_000,
    ],
    ids=["cut", "none", "order", "place", "zero", "nine", "value", "entries"],
)  # fmt: skip
def test_broken_exif_turns_nothing(tmp_path, exif):
    expected = np.asarray(Image.open(io.BytesIO(encode(RGB, "JPEG"))))
    np.testing.assert_array_equal(shown(tmp_path / "a", jpeg_with_exif(RGB, exif)), expected)


def test_sixteen_bits_become_the_nearest_of_eight(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values / 257)  # 65,535 is white, as 255 is
    content = encode(values, "PNG")
    np.testing.assert_array_equal(shown(tmp_path / "a", content, "L"), expected)
    np.testing.assert_array_equal(
        shown(tmp_path / "a", content), np.repeat(expected[..., None], 3, axis=2)
    )


def test_sixteen_bits_of_colour_are_within_one_of_the_nearest(tmp_path):
    values = GENERATOR.integers(0, 65536, (5, 4, 3)).astype(">u2")
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 5, 16, 2, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    content = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows))
    found = shown(tmp_path / "a", content + png_chunk(b"IEND", b""))
    assert np.abs(found - values / 257).max() <= 1


PALETTE = GENERATOR.integers(0, 256, (16, 3), dtype=np.uint8)
PLACES = GENERATOR.integers(0, 16, (6, 4), dtype=np.uint8)


def with_palette():
    image = Image.fromarray(PLACES).convert("P")
    image.putpalette(PALETTE.tobytes())
    return image


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encode(GREY > 127, "PNG"), np.where(GREY > 127, 255, 0)),
        (encode(GREY, "GIF"), GREY),
        (encode(GREY, "BMP"), GREY),
        (encode(np.dstack([GREY, ALPHA]), "PNG"), GREY),
        (encode(RGB, "PNG"), RGB),
        (encode(RGB, "BMP"), RGB),
        (encode(RGB, "WebP", lossless=True), RGB),
        (encode(np.dstack([RGB, ALPHA]), "PNG"), RGB),
        (encode(with_palette(), "PNG"), PALETTE[PLACES]),
        (encode(with_palette(), "PNG", transparency=bytes(range(16))), PALETTE[PLACES]),
        (encode(with_palette(), "GIF", transparency=3), PALETTE[PLACES]),
        (encode(RGB, "PNG", transparency=tuple(map(int, RGB[0, 0]))), RGB),
        (encode(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB),
        (
            encode(with_palette(), "GIF", save_all=True, append_images=[Image.fromarray(GREY)]),
            PALETTE[PLACES],
        ),
    ],
    ids=[
        *("one-bit", "grey-gif", "grey-bmp", "grey-alpha", "rgb", "bmp", "webp", "rgba", "palette"),
        *("palette-alpha", "gif-alpha", "colour-key", "animated-png", "animated-gif"),
    ],
)
def test_pixels_are_those_that_are_stored(tmp_path, content, expected):
    if expected.ndim == 2:
        np.testing.assert_array_equal(shown(tmp_path / "a.jpg", content, "L"), expected)
        expected = np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(shown(tmp_path / "a.jpg", content), expected)


INK = (10, 100, 200, 50)


def cmyk(values, transform=0):
    """Return a CMYK JPEG, which stores 255 − values; Adobe's marker says how they are coded."""
    image = Image.new("CMYK", (16, 16), values)
    content = encode(image, "JPEG", quality=100, subsampling=0)
    end = content.index(b"Adobe") + 11
    return content[:end] + bytes([transform]) + content[end + 1 :]


def test_cmyk_is_ink_on_white_however_it_is_coded(tmp_path):
    expected = (255 - np.array(INK[:3])) * (255 - INK[3]) / 255
    y, blue, red = Image.new("RGB", (1, 1), INK[:3]).convert("YCbCr").getpixel((0, 0))
    ycck = cmyk((255 - y, 255 - blue, 255 - red, INK[3]), transform=2)
    unmarked = cmyk(INK).replace(b"\xff\xee\x00\x0eAdobe", b"\xff\xe2\x00\x0eOther")
    for content in (cmyk(INK), ycck, unmarked):
        found = shown(tmp_path / "a", content)
        assert np.abs(found - expected).max() <= 3


def test_what_a_viewer_does_not_need_may_be_corrupt(tmp_path):
    png = encode(RGB, "PNG")
    for kind in (b"tEXt", b"zTXt", b"iCCP", b"pHYs", b"gAMA", b"acTL", b"prVt"):
        damaged = png_chunk(kind, b"\xff" * 9)[:-1] + b"?"
        np.testing.assert_array_equal(shown(tmp_path / "a", png[:33] + damaged + png[33:]), RGB)
    jpeg = encode(RGB, "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(jpeg)))
    for marker, content in (
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"), (0xE2, b"ICC_PROFILE\0\x09\x01"),
        (0xED, b"Photoshop"), (0xFE, b"\xff\xda\xff\xd9"),
    ):  # fmt: skip
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        for some in (jpeg[:2] + segment + jpeg[2:], jpeg + b"behind its end"):
            np.testing.assert_array_equal(shown(tmp_path / "a", some), expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file; expected PNG, JPEG, GIF, BMP or WebP"),
        ("straße\n".encode(), "a text;"),
        (b"<!DOCTYPE html>\n<html>", "a web page;"),
        (b'<?xml version="1.0"?>\n<svg width="9">', "an SVG drawing;"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture;"),
        (encode(GREY, "TIFF"), "a TIFF picture;"),
        (bytes(128) + b"DICM", "a DICOM picture;"),
        (bytes(100), "no picture, or one damaged at its beginning;"),
        (encode(RGB, "JPEG")[:-30], "a JPEG cut short"),
        (encode(RGB, "PNG")[:-30], "a PNG cut short"),
        (encode(with_palette(), "GIF")[:-9], "a GIF cut short"),
        (encode(RGB, "BMP")[:-1], "a BMP cut short"),
        (jpeg_of_bits(12), "a JPEG of 12 bits a value"),
        (b"\xff\xd8" + b"\xff\xfe\0\2" * 100_001, "a JPEG of more than 100,000 segments"),
        (encode(RGB, "PNG")[:8] + png_chunk(b"none", b"") * 100_001, "a PNG of more than 100,000"),
        (b"GIF89a" + bytes(7) + b"!\xfe\1x\0" * 100_001, "a GIF of more than 100,000 blocks"),
        (bmp_of_moves(), "a BMP of run lengths"),
    ],
    ids=[
        *("empty", "text", "html", "svg", "lfs", "heic", "tiff", "dicom", "zeros", "jpeg", "png"),
        *("gif", "bmp", "twelve", "segments", "chunks", "blocks", "runs"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_found(tmp_path, content, words):
    path = tmp_path / "a b\nc.png"
    with pytest.raises(InputError) as caught:
        shown(path, content)
    assert str(caught.value).startswith(f"{path}: {words}")
