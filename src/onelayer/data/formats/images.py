"""A folder of pictures: one folder a class, PNG or JPEG, all of one size."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import SPLIT_NAMES, ImageShape
from onelayer.data.files import check_file, read_file, unpacked_limit
from onelayer.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")
_LARGEST_FILE = 1 << 28  # bytes


@dataclass(frozen=True)
class Encoded:
    """A picture that lies within another file: how it is called in messages, and its bytes."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Return the folders of classes in each split, or in "train" if there are no splits."""
    named = {
        split: [folder / name for name in names if (folder / name).is_dir()]
        for split, names in _SPLITS.items()
    }
    places = {split: found[0] for split, found in named.items() if found} or {"train": folder}
    return {
        split: sorted(entry for entry in _entries(place) if entry.is_dir())
        for split, place in places.items()
    }


def holds_pictures(folder: Path) -> bool:
    """Return whether a folder of a class in `folder` holds a file with a picture's name."""
    return any(
        entry.suffix.lower() in SUFFIXES
        for folders in find_classes(folder).values()
        for place in folders
        for entry in _entries(place)
    )


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures of all splits, class by class, in the order of read_images."""
    places = find_classes(folder)
    folders = [place for split in SPLIT_NAMES for place in places.get(split, ())]
    return [picture for place in folders for picture in _pictures(place)]


def read_images(folder: Path, resize: tuple[int, int] | None = None) -> Contents:
    """Read folder/class/picture.png, or folder/train/class/…, validation and test likewise.

    X (N, C, H, W) uint8: one channel if all pictures are grey, else three; transparency is
    dropped. With `resize` every picture is scaled to (H, W), bilinearly.

    Raises
    ------
    InputError
        If a file is no picture, is damaged, or is of another size than the first; names it.
    """
    if resize and (len(resize) != 2 or not all(1 <= side <= 10_000 for side in resize)):
        raise InputError(f"resize is {resize}, expected (height, width), from 1 to 10,000")
    found = find_classes(folder)
    names = sorted({place.name for folders in found.values() for place in folders})
    labels = {name: label for label, name in enumerate(names)}
    pictures = {
        split: [(entry, labels[place.name]) for place in folders for entry in _pictures(place)]
        for split, folders in found.items()
    }
    paths = [path for listed in pictures.values() for path, _ in listed]
    if not paths:
        raise InputError(f"{folder}: no pictures in it")
    shape = _measure(paths, resize)
    parts = {}
    for split, listed in pictures.items():
        X = np.empty((len(listed), *shape), np.uint8)
        for row, (path, _) in zip(X, listed, strict=True):
            row[:] = _decode(path, shape, resize)
        parts[split] = Part(X, np.array([label for _, label in listed], np.intp))
    if "train" not in parts:
        raise InputError(f"{folder}: no folder train in it, only {', '.join(parts)}")
    return Contents(parts, tuple(names), shape, paths)


def stack_pictures(
    pictures: Sequence[Path | Encoded], resize: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Return pictures as (N, C, H, W), resized if asked, as read_images does; errors as there."""
    shape = _measure(pictures, resize)
    X = np.empty((len(pictures), *shape), np.uint8)
    for row, picture in zip(X, pictures, strict=True):
        row[:] = _decode(picture, shape, resize)
    return X


def read_picture(path: Path | Encoded, image_shape: ImageShape) -> NDArray[np.uint8]:
    """Return one PNG or JPEG as (C, H, W), converted to so many channels and scaled bilinearly.

    Raises
    ------
    InputError
        If the file is no picture or is damaged, or the channels are neither 1 nor 3.
    """
    if image_shape[0] not in (1, 3):
        raise InputError(f"{path}: no picture has the {image_shape[0]} channels that are expected")
    picture: NDArray[np.uint8] = _decode(path, image_shape, image_shape[1:])
    return picture


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error


def _pictures(folder: Path) -> list[Path]:
    entries = sorted(_entries(folder))
    for entry in entries:
        if entry.suffix.lower() not in SUFFIXES:
            raise InputError(f"{entry}: expected only {', '.join(SUFFIXES)} in a class's folder")
    return entries


def _measure(paths: Sequence[Path | Encoded], resize: tuple[int, int] | None) -> ImageShape:
    """Return (C, H, W) from the headers of all pictures, before any is decoded."""
    grey, size, extents = True, 0, set[tuple[int, int]]()
    for path in paths:
        size += check_file(path) if isinstance(path, Path) else len(path.content)
        with open_picture(path) as picture:
            grey &= picture.mode in _GREY
            extents.add((picture.height, picture.width))
        if resize is None and len(extents) > 1:
            raise InputError(
                f"{path}: height and width {(picture.height, picture.width)}, unlike {paths[0]}; "
                f"--resize {picture.height},{picture.width} makes them equal, "
                f"in Python resize=({picture.height}, {picture.width})"
            )
    H, W = resize or extents.pop()
    C = 1 if grey else 3
    if resize is None and len(paths) * C * H * W > unpacked_limit(size):
        raise InputError(
            f"{paths[0]}: {len(paths)} pictures of {W} × {H} take more than "
            f"{unpacked_limit(size):,} bytes, which is all that files of their size can hold"
        )
    return C, H, W


def _decode(path: Path | Encoded, shape: ImageShape, resize: tuple[int, int] | None) -> Any:
    """Return the picture as (C, H, W)."""
    from PIL import Image

    with open_picture(path) as picture:
        converted = picture.convert("L" if shape[0] == 1 else "RGB")
        if resize is not None:
            converted = converted.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
        if converted.size != (shape[2], shape[1]):
            raise InputError(f"{path}: has changed while it was read")
        return np.asarray(converted).reshape(shape[1], shape[2], shape[0]).transpose(2, 0, 1)


@contextmanager
def open_picture(
    path: Path | Encoded, largest: int = _LARGEST_FILE, formats: tuple[str, ...] = ("PNG", "JPEG")
) -> Iterator[Any]:
    """Open a PNG or JPEG, whatever its name; an error while it is open names the file.

    Raises
    ------
    InputError
        If the file is larger than `largest` bytes, of another format, damaged, or not of 8 bits.
    """
    from PIL import Image, UnidentifiedImageError

    encoded = path.content if isinstance(path, Encoded) else read_file(path, largest)
    content, kind = io.BytesIO(encoded), " or ".join(formats)
    try:
        # Pillow only warns of a picture that is too large: here that is an error like the others.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(content, formats=formats) as picture:
                if picture.mode not in _GREY + _COLOUR:
                    raise InputError(f"{path}: a picture of mode {picture.mode}, expected 8 bits")
                if 3 * picture.width * picture.height > unpacked_limit(len(content.getvalue())):
                    raise InputError(
                        f"{path}: a picture of {picture.width} × {picture.height}, more than a "
                        "file of its size can hold"
                    )
                yield picture
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a {kind}, or damaged") from error
    except Exception as error:  # Pillow's readers raise whatever their parts do
        raise InputError(f"{path}: not a {kind}, or damaged: {error}") from error
