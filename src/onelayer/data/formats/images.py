"""A folder of pictures: a folder for each class, with or without splits, all of one size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import SPLIT_NAMES, SPLIT_WORDS, ImageShape
from onelayer.data.files import check_file, entries, unpacked_limit
from onelayer.data.formats.picture import SUFFIXES, Encoded, Picture, open_picture
from onelayer.errors import InputError, printable


@dataclass(frozen=True)
class Layout:
    """The class folders of each split, splits without class folders, and other folders."""

    classes: dict[str, list[Path]]
    loose: dict[str, Path]
    others: list[Path]


def find_layout(folder: Path) -> Layout:
    """Return the class folders of each split; without folders of splits all are "train".

    A folder with the name of a split, in upper or lower case, is a split. If no such folder holds
    class folders and others lie beside it, it is a class.

    Raises
    ------
    InputError
        If the names of two folders mean the same split.
    """
    found: dict[str, Path] = {}
    others = []
    for place in _folders(folder):
        split = SPLIT_WORDS.get(place.name.lower())
        if split is None:
            others.append(place)
        elif split in found:
            raise InputError(f"{folder}: both {found[split].name} and {place.name} mean {split}")
        else:
            found[split] = place
    classes = {split: inner for split, place in found.items() if (inner := _folders(place))}
    if others and not classes:
        return Layout({"train": sorted([*others, *found.values()])}, {}, [])
    loose = {split: place for split, place in found.items() if split not in classes}
    return Layout(classes, loose, others)


def holds_pictures(folder: Path) -> bool:
    """Return whether a class or split folder in `folder` holds files with names of pictures."""
    layout = find_layout(folder)
    places = [place for inner in layout.classes.values() for place in inner]
    return any(map(holds_loose_pictures, [*places, *layout.loose.values()]))


def holds_loose_pictures(folder: Path) -> bool:
    """Return whether a file directly in `folder` has the name of a picture."""
    return any(entry.suffix.lower() in SUFFIXES for entry in entries(folder))


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures of all splits, class by class, in the order of read_images."""
    layout = find_layout(folder)
    places = [
        place
        for split in SPLIT_NAMES
        for place in layout.classes.get(split) or filter(None, [layout.loose.get(split)])
    ]
    return [picture for place in places for picture in list_pictures(place)]


def list_pictures(folder: Path) -> list[Path]:
    """Return the files in `folder` by name; InputError if it holds a folder."""
    found = entries(folder)
    for entry in found:
        if entry.is_dir():
            raise InputError(
                f"{entry}: a folder among the pictures of {folder.name}; expected them to lie "
                "directly in the folder of their class"
            )
    return found


def read_images(folder: Path, resize: tuple[int, int] | None = None) -> Contents:
    """Read folder/class/picture.png, or folder/train/class/…, validation and test likewise.

    X (N, C, H, W) uint8: one channel if all pictures are grey, else three. With `resize` every
    picture is scaled to (H, W), bilinearly.

    Raises
    ------
    InputError
        If a file is not a picture, is damaged, or has another size than the first; names it.
    """
    layout = find_layout(folder)
    _check_training(folder, layout)
    names = sorted({place.name for places in layout.classes.values() for place in places})
    labels = {name: label for label, name in enumerate(names)}
    pictures = {
        split: [(entry, labels[place.name]) for place in places for entry in list_pictures(place)]
        for split, places in layout.classes.items()
    }
    paths = [path for listed in pictures.values() for path, _ in listed]
    if not pictures["train"]:
        raise InputError(f"{folder}: no pictures to train on in the folders of its classes")
    shape = _measure(paths, resize)
    parts, transparent = {}, 0
    for split, listed in pictures.items():
        X, see_through = _stack([path for path, _ in listed], shape, resize)
        transparent += see_through
        if listed:
            parts[split] = Part(X, np.array([label for _, label in listed], np.intp))
    notes = tuple(map(printable, _notes(folder, layout, transparent)))
    return Contents(parts, tuple(names), shape, paths, notes=notes)


def stack_pictures(
    pictures: Sequence[Path | Encoded], resize: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], int]:
    """Return pictures as (N, C, H, W), as read_images does; and how many have transparent parts."""
    return _stack(pictures, _measure(pictures, resize), resize)


def told_of_transparent(pictures: int) -> str:
    """Return a note on the number of pictures with transparent parts."""
    return f"pictures of which parts are transparent, read as the colour there: {pictures:,}"


def read_picture(path: Path | Encoded, image_shape: ImageShape) -> NDArray[np.uint8]:
    """Return one picture as (C, H, W) = `image_shape`: channels converted, scaled bilinearly.

    Raises
    ------
    InputError
        As look_at_picture.
    """
    return look_at_picture(path, image_shape)[0]


def look_at_picture(
    path: Path | Encoded, image_shape: ImageShape
) -> tuple[NDArray[np.uint8], bool]:
    """Return one picture as read_picture does, and whether parts of it are transparent.

    Raises
    ------
    InputError
        If the file is not a picture or is damaged, or the channels are neither 1 nor 3.
    """
    if image_shape[0] not in (1, 3):
        raise InputError(f"{path}: no picture has the {image_shape[0]} channels that are expected")
    with open_picture(path) as picture:
        return _pixels(picture, image_shape, image_shape[1:]), picture.is_transparent


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in entries(folder) if entry.is_dir()]


def _check_training(folder: Path, layout: Layout) -> None:
    """Raise InputError if the training split has no class folders."""
    if "train" in layout.loose:
        raise InputError(f"{layout.loose['train']}: no folders in it, expected one for each class")
    if "train" not in layout.classes:
        found = ", ".join(layout.classes | layout.loose)
        raise InputError(f"{folder}: no folder train in it, only {found}")


def _notes(folder: Path, layout: Layout, transparent: int) -> Iterator[str]:
    """Yield a note on everything that is left out, or that a person may have meant otherwise."""
    for place in layout.loose.values():
        if holds_loose_pictures(place):
            yield (
                f"{place} is left out: its pictures lie in no folders of classes, so they have no "
                "labels; onelayer predict takes them"
            )
        else:
            yield f"{place} is left out: no pictures in it"
    for place in layout.others:
        if any(map(holds_loose_pictures, [place, *_folders(place)])):
            yield f"{place} is left out: its name is that of no split"
    classes = [place for places in layout.classes.values() for place in places]
    for place in sorted({place.parent for place in classes} | {folder}):
        if holds_loose_pictures(place):
            yield f"the pictures directly in {place} are left out: they have no labels"
    if called := [place.name for place in classes if place.name.lower() in SPLIT_WORDS]:
        yield f"{', '.join(called)}: taken for a class, since it lies beside folders of classes"
    if transparent:
        yield told_of_transparent(transparent)


def _measure(paths: Sequence[Path | Encoded], resize: tuple[int, int] | None) -> ImageShape:
    """Return (C, H, W) from the headers of all pictures, before any is decoded."""
    grey, size, extents = True, 0, set[tuple[int, int]]()
    for path in paths:
        size += check_file(path) if isinstance(path, Path) else len(path.content)
        with open_picture(path) as picture:
            grey &= picture.is_grey
            extents.add(picture.extent)
            H, W = picture.extent
        if resize is None and len(extents) > 1:
            raise InputError(
                f"{path}: height and width {(H, W)}, unlike {paths[0]}; "
                f"--resize {H},{W} makes them equal, in Python resize=({H}, {W})"
            )
    H, W = resize or extents.pop()
    C = 1 if grey else 3
    if resize is None and len(paths) * C * H * W > unpacked_limit(size):
        raise InputError(
            f"{paths[0]}: {len(paths)} pictures of {W} × {H} take more than "
            f"{unpacked_limit(size):,} bytes, which is all that files of their size can hold"
        )
    return C, H, W


def _stack(
    pictures: Sequence[Path | Encoded], shape: ImageShape, resize: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], int]:
    """Return pictures as (N, C, H, W), and how many have transparent parts."""
    X, transparent = np.empty((len(pictures), *shape), np.uint8), 0
    for row, path in zip(X, pictures, strict=True):
        with open_picture(path) as picture:
            row[:] = _pixels(picture, shape, resize)
            transparent += picture.is_transparent
    return X, transparent


def _pixels(picture: Picture, shape: ImageShape, resize: tuple[int, int] | None) -> Any:
    """Return the picture as (C, H, W)."""
    from PIL import Image

    C, H, W = shape
    image = picture.upright("L" if C == 1 else "RGB")
    if resize is not None:
        image = image.resize((W, H), Image.Resampling.BILINEAR)
    if image.size != (W, H):
        raise InputError("a picture has changed while it was read")
    return np.asarray(image).reshape(H, W, C).transpose(2, 0, 1)
