"""A sheet of training images, class by class, to look at before a training."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.report.image_grid import as_images, fit, image_grid
from onelayer.report.lettering import legible, told_apart
from onelayer.report.style import MUTED, look
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.augmentation import Augmentation, augment, check_augmentation

COLUMNS = 10  # images in a row
CLASSES = 20  # that fit on a sheet
_DPI = 180
_SIDE = 96  # dots: the longer side of an image, about
_MARGIN, _HEAD, _LETTER = 30, 114, 14  # dots: the margin, above the images, a letter's width
_LETTERS = 20  # of a class name
_WIDE = 5.0  # inches: the least width, for the title


def write_contact_sheet(
    data: Dataset, path: Path, augmentation: Augmentation, *, rows: int, seed: int, force: bool
) -> None:
    """Draw `rows` rows of training images of each class into the PNG file `path`.

    Without augmentation a row holds ten images that `seed` chose; with it, one image and nine
    augmented versions of it.

    Raises
    ------
    InputError
        If the data are not images, the augmentation does not suit them, or `path` does not end in
        .png or exists while `force` is not given.
    """
    check_output_file(path, (".png",), force=force)
    with look(), atomic_file(path) as temporary:
        figure = draw_contact_sheet(data, augmentation, rows, seed)
        figure.savefig(temporary, format="png", dpi=_DPI)


def draw_contact_sheet(data: Dataset, augmentation: Augmentation, rows: int, seed: int) -> Figure:
    """Return the sheet of `write_contact_sheet`, drawn so that small pixels stay squares."""
    classes = [fit(images, 2 * _SIDE) for images in _choose(data, augmentation, rows, seed)]
    names = told_apart(data.class_names, _LETTERS)[: len(classes)]
    _, H, W, _ = classes[0].shape
    gap, side = max(1, round(W / 12)), max(H, W)
    zoom = _SIDE // side if side <= _SIDE else _SIDE / side
    augmented = augmentation != Augmentation()
    dots = (_MARGIN + _LETTER * max(map(len, names)), _MARGIN, _HEAD, _MARGIN)
    left, right, top, bottom = (number / _DPI for number in dots)
    slot = (W + gap) * zoom / _DPI
    right = max(right, _WIDE - left - COLUMNS * slot)
    grid = image_grid(
        classes,
        COLUMNS,
        rows=rows,
        pixel=zoom / _DPI,
        slot=slot,
        below=(3 if rows > 1 else 1) * gap * zoom / _DPI,
        margins=(left, right, top, bottom),
        apart=augmented,
    )
    for ax, name in zip(grid.blocks, names, strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8, parse_math=False)
    grid.write(0, 0, _title(data), 22, ha="left", fontweight="bold", fontsize=10)
    if augmented:
        grid.write(0, 0, "original", 6, ha="left", color=MUTED)
        grid.write(0, 1, f"augmented: {augmentation}", 6, ha="left", color=MUTED)
    else:
        grid.write(0, 0, f"chosen at random, seed {seed}", 6, ha="left", color=MUTED)
    last = len(grid.blocks) - 1
    grid.write(last, 0, _light(data), -3, ha="left", color=MUTED, fontsize=7)
    return grid.figure


def _light(data: Dataset) -> str:
    """Return a text with the stored values of black and white."""
    scale = f"0 is black, {data.full_scale:g} white"
    grey = data.image_shape is None or data.image_shape[0] != 3
    return scale if grey else f"red, green, blue: {scale}"


def _choose(
    data: Dataset, augmentation: Augmentation, rows: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the images (n, H, W, C) of each class, row by row, at most `rows` rows."""
    if data.image_shape is None:
        raise InputError(f"{data.name}: its features are not images, there is nothing to show")
    check_augmentation(augmentation, data.image_shape)
    streams = Stream.SHOWN_IMAGES, Stream.SHOWN_AUGMENTATION
    choice, draws = (random_stream(seed, stream) for stream in streams)
    for k in range(min(CLASSES, data.n_classes)):
        chosen = choice.permutation(np.flatnonzero(data.train.y == k))
        if augmentation == Augmentation():
            X = np.asarray(data.train.X[chosen[: rows * COLUMNS]])
        else:
            originals = np.asarray(data.train.X[chosen[:rows]].repeat(COLUMNS, axis=0))
            X = augment(originals, data.image_shape, augmentation, draws, data.full_scale)
            X[::COLUMNS] = originals[::COLUMNS]
        yield as_images(X, data.image_shape, data.full_scale)


def _title(data: Dataset) -> str:
    title = f"{legible(data.name)}: training images"
    if data.n_classes > CLASSES:
        return f"{title}, the first {CLASSES} of {data.n_classes} classes"
    return title
