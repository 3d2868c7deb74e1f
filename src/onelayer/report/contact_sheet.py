"""A sheet of training images, class by class, to look at before anything is trained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.report.labels import shortened
from onelayer.report.style import MUTED, look
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.augmentation import Augmentation, augment, check_augmentation

COLUMNS = 10  # images in a row
CLASSES = 20  # that fit a sheet
_DPI = 180
_SIDE = 96  # dots: the longer side of an image, about
_MARGIN, _HEAD, _LETTER = 30, 114, 14  # dots: around, above the images, a letter's width
_LETTERS = 20  # of a class name
_WHITE = 255


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
        draw_contact_sheet(data, augmentation, rows, seed).savefig(temporary, format="png")


def draw_contact_sheet(data: Dataset, augmentation: Augmentation, rows: int, seed: int) -> Figure:
    """Return the sheet of `write_contact_sheet`, drawn so that small pixels stay squares."""
    classes = list(_choose(data, augmentation, rows, seed))
    names = [shortened(name, _LETTERS) for name in data.class_names[: len(classes)]]
    _, H, W, _ = classes[0].shape
    gap = max(1, round(W / 12))
    blocks = [_lay_out(images, rows, gap) for images in classes]
    page = np.concatenate(blocks)
    augmented = augmentation != Augmentation()
    if augmented:  # the originals stand apart
        page = np.insert(page, [W + gap] * gap, _WHITE, axis=1)
    figure, ax = _pin_up(page, max(H, W), _LETTER * max(map(len, names)))
    middle = (rows * (H + gap) - gap) / 2 - 0.5
    ticks = [k * len(blocks[0]) + middle for k in range(len(names))]
    ax.set_yticks(ticks, names, parse_math=False)
    _write_above(ax, 0, 22, _title(data), fontweight="bold", fontsize=10)
    if augmented:
        _write_above(ax, 0, 6, "original", color=MUTED)
        _write_above(ax, W + 2 * gap, 6, f"augmented: {augmentation}", color=MUTED)
    else:
        _write_above(ax, 0, 6, f"chosen at random, seed {seed}", color=MUTED)
    return figure


def _choose(
    data: Dataset, augmentation: Augmentation, rows: int, seed: int
) -> Iterator[NDArray[Any]]:
    """Yield the 8-bit images (n, H, W, 3 or 1) of each class, row by row, at most `rows` rows."""
    if data.image_shape is None:
        raise InputError(f"{data.name}: its features are not images, there is nothing to show")
    check_augmentation(augmentation, data.image_shape)
    streams = Stream.SHOWN_IMAGES, Stream.SHOWN_AUGMENTATION
    choice, draws = (random_stream(seed, stream) for stream in streams)
    C, H, W = data.image_shape
    for k in range(min(CLASSES, data.n_classes)):
        chosen = choice.permutation(np.flatnonzero(data.train.y == k))
        if augmentation == Augmentation():
            X = np.asarray(data.train.X[chosen[: rows * COLUMNS]])
        else:
            originals = np.asarray(data.train.X[chosen[:rows]].repeat(COLUMNS, axis=0))
            X = augment(originals, data.image_shape, augmentation, draws, data.full_scale)
            X[::COLUMNS] = originals[::COLUMNS]
        light = np.clip(X / data.full_scale, 0, 1).reshape(-1, C, H, W).transpose(0, 2, 3, 1)
        light = light if C == 3 else light.mean(axis=-1, keepdims=True)
        yield np.rint(_WHITE * light).astype(np.uint8)


def _lay_out(images: NDArray[Any], rows: int, gap: int) -> NDArray[Any]:
    """Return the images (n, H, W, C) of one class in rows, white between and where they end."""
    _, H, W, _ = images.shape
    tiles = np.full((rows * COLUMNS, H + gap, W + gap, 3), _WHITE, np.uint8)
    tiles[: len(images), :H, :W] = images
    block = tiles.reshape(rows, COLUMNS, H + gap, W + gap, 3).swapaxes(1, 2)
    block = block.reshape(rows * (H + gap), COLUMNS * (W + gap), 3)
    return np.pad(block, ((0, 2 * gap * (rows > 1)), (0, 0), (0, 0)), constant_values=_WHITE)


def _pin_up(page: NDArray[Any], side: int, names_width: int) -> tuple[Figure, Axes]:
    """Show the page on a figure of its own, `side` pixels of it about `_SIDE` dots long."""
    zoom = _SIDE // side if side <= _SIDE else _SIDE / side
    width, height = (round(pixels * zoom) for pixels in (page.shape[1], page.shape[0]))
    left = _MARGIN + names_width
    whole = (left + width + _MARGIN, _MARGIN + height + _HEAD)
    figure = Figure(figsize=(whole[0] / _DPI, whole[1] / _DPI), dpi=_DPI)
    place = (left / whole[0], _MARGIN / whole[1], width / whole[0], height / whole[1])
    ax = figure.add_axes(place, frameon=False)
    ax.imshow(page, aspect="auto", interpolation="nearest" if zoom >= 1 else "antialiased")
    ax.grid(False)
    ax.tick_params(length=0, labelbottom=False, pad=8)
    return figure, ax


def _title(data: Dataset) -> str:
    shown = f", the first {CLASSES} of {data.n_classes} classes"
    return f"{data.name}: training images{shown if data.n_classes > CLASSES else ''}"


def _write_above(ax: Axes, x: float, points: float, text: str, **style: Any) -> None:
    """Write text above the images, starting at the pixel `x`."""
    place: dict[str, Any] = {
        "xycoords": ax.get_xaxis_transform(),
        "textcoords": "offset points",
        "va": "bottom",
    }
    ax.annotate(text, (x - 0.5, 1), (0, points), parse_math=False, **place, **style)
