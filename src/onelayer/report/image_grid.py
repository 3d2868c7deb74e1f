"""Images in rows on a figure, for weights, mistakes, evidence and training images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[Any]
_DPI = 180
_WHITE = 255
_SPACE = 0.1  # between images, as a share of their width
_TALLEST = 1.5  # height over width; a taller image is made smaller
_FINE = 2  # pixels a dot; more would not be visible
_SLIMMEST = 8  # length over width; a slimmer image is stretched


@dataclass(frozen=True)
class ImageGrid:
    """A figure with axes for each block of images, in units of pixels."""

    figure: Figure
    blocks: tuple[Axes, ...]
    starts: NDArray[np.intp]  # first pixel of each column
    height: int  # pixels of an image
    width: int

    def write(
        self, block: int, column: int, text: str, points: float, *, ha: str = "center", **look: Any
    ) -> None:
        """Write text above the images of a column, or below them if `points` is negative."""
        x = self.starts[column] - 0.5 + (self.width / 2 if ha == "center" else 0)
        place: dict[str, Any] = {
            "xycoords": self.blocks[block].get_xaxis_transform(),
            "textcoords": "offset points",
            "va": "bottom" if points >= 0 else "top",
            "ha": ha,
        }
        edge = 1 if points >= 0 else 0
        self.blocks[block].annotate(text, (x, edge), (0, points), parse_math=False, **place, **look)


def image_grid(
    blocks: Sequence[Array],
    columns: int,
    *,
    slot: float,
    pixel: float | None = None,
    rows: int = 1,
    above: float = 0.0,
    below: float = 0.0,
    margins: tuple[float, float, float, float] = (0.05, 0.05, 0.05, 0.05),
    apart: bool = False,
    make: Callable[..., Figure] = Figure,
) -> ImageGrid:
    """Draw blocks of images (n, H, W, C) in [0, 1], each `rows` by `columns`, under each other.

    Lengths are inches: `slot` from one image to the next, `above` and `below` a block for its text,
    `margins` (left, right, top, bottom) around all. Without `pixel`, the size of a pixel, images
    are fitted into the slot. `apart` sets the first column off. Missing images stay white. `make`
    builds the figure.
    """
    if pixel is None:
        blocks = [fit(images, math.ceil(_FINE * _TALLEST * slot * _DPI)) for images in blocks]
    _, H, W, _ = blocks[0].shape
    side = max(W, H / _TALLEST)
    pixel = pixel or slot / (side + max(1.0, _SPACE * side))
    gap = max(1, int(slot / pixel + 1e-6) - W)
    pages = [_join(images, rows, columns, gap, apart) for images in blocks]
    height, width = (pixels * pixel for pixels in pages[0].shape[:2])
    left, right, top, bottom = margins
    spare = (slot - W * pixel) / 2  # text below a slim image is as wide as its slot
    left, right = max(left, spare), max(right, spare)
    size = (left + width + right, top + len(blocks) * (above + height + below) + bottom)
    figure = make(figsize=size, dpi=_DPI)
    axes = []
    for number, page in enumerate(pages):
        floor = size[1] - top - number * (above + height + below) - above - height
        place = (left / size[0], floor / size[1], width / size[0], height / size[1])
        ax = figure.add_axes(place, frameon=False)
        smooth = "nearest" if pixel * _DPI >= 1 else "antialiased"
        ax.imshow(page, aspect="auto", interpolation=smooth)
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        axes.append(ax)
    starts = np.arange(columns) * (W + gap)
    if apart:
        starts[1:] += gap
    return ImageGrid(figure, tuple(axes), starts, H, W)


def fit(images: Array, side: int) -> Array:
    """Return images (n, H, W, C) with sides of at most `side` pixels, by means over pixels.

    If one side is more than 8 times the other, the pixels of the shorter side are repeated.
    """
    for axis in (1, 2):
        if (length := images.shape[axis]) > side:
            ends = np.arange(side + 1) * length // side
            sums = np.add.reduceat(images, ends[:-1], axis=axis)
            images = sums / np.expand_dims(np.diff(ends), [i for i in range(4) if i != axis])
    _, H, W, _ = images.shape
    tall, wide = (max(1, round(this / (_SLIMMEST * other))) for this, other in ((W, H), (H, W)))
    fitted: Array = images.repeat(tall, axis=1).repeat(wide, axis=2)
    return fitted


def stretched(shape: tuple[int, int, int]) -> str:
    """Return a sentence if images (C, H, W) are drawn stretched, else an empty text."""
    _, H, W = shape
    if max(H, W) <= _SLIMMEST * min(H, W):
        return ""
    return f" Images of {H:,} × {W:,} pixels are drawn broader than they are."


def as_images(X: Array, shape: tuple[int, int, int], full_scale: float) -> NDArray[np.float64]:
    """Return samples (n, D) of images (C, H, W) as light in [0, 1], (n, H, W, C)."""
    light = np.clip(np.asarray(X, np.float64) / full_scale, 0, 1)
    return light.reshape(-1, *shape).transpose(0, 2, 3, 1)


def in_colour(images: Array) -> Array:
    """Return images (…, C) as (…, 3), in grey unless they have three channels."""
    if images.shape[-1] == 3:
        return images
    grey: Array = images.mean(axis=-1, keepdims=True)
    return grey.repeat(3, axis=-1)


def _join(images: Array, rows: int, columns: int, gap: int, apart: bool) -> Array:
    """Return images (n, H, W, C) as one page (height, width, 3) of bytes, white between them."""
    n, H, W, _ = images.shape
    tiles = np.full((rows * columns, H + gap, W + gap, 3), _WHITE, np.uint8)
    tiles[:n, :H, :W] = np.rint(_WHITE * in_colour(images))  # matplotlib would cut, not round
    page = tiles.reshape(rows, columns, H + gap, W + gap, 3).swapaxes(1, 2)
    page = page.reshape(rows * (H + gap), columns * (W + gap), 3)[:-gap, :-gap]
    return np.insert(page, [W + gap] * gap, _WHITE, axis=1) if apart else page
