"""Augmentation of images: one mini-batch at a time, the same for all models."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onelayer.data.dataset import ImageShape
from onelayer.errors import InputError, unknown_name

Array = NDArray[Any]
_OFF = "none"
_FLIP = 0.5  # the probability of "flip" without a number


@dataclass(frozen=True)
class Augmentation:
    """The random changes of an image each time that it is trained on; by default none.

    `flip` is the probability of mirroring left and right. `shift` is the largest number of pixels
    by which an image moves in x and in y, each uniformly; the border is repeated to fill the gap.
    `brightness` multiplies all values by a factor uniform in 1 ± brightness, `contrast` their
    distance from the image's own mean by a factor uniform in 1 ± contrast.

    Raises
    ------
    InputError
        If the shift is not a whole number from 0, or another value is not from 0 to 1.
    """

    flip: float = 0.0
    shift: int = 0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.shift, int) or self.shift < 0:
            raise InputError(f"augmentation: shift is {self.shift}; expected whole pixels, 0 or up")
        for name in ("flip", "brightness", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"augmentation: {name} is {getattr(self, name)}; expected a number from 0 to 1"
                )

    @classmethod
    def parse(cls, text: str) -> "Augmentation":
        """Read a text like "flip,shift:2,brightness:0.2,contrast:0.2", or "none".

        "flip" alone flips every second image on average, "flip:0.3" three of ten.

        Raises
        ------
        InputError
            If a part is unknown, comes twice, or its value is missing or out of range.
        """
        values: dict[str, Any] = {}
        for part in text.split(",") if text.strip() != _OFF else ():
            name, colon, value = (piece.strip() for piece in part.partition(":"))
            if name not in _PARTS:
                raise unknown_name("augmentation", name, _PARTS)
            if name in values:
                raise InputError(f"augmentation {text!r:.60}: {name} comes twice")
            values[name] = _FLIP if (name, colon) == ("flip", "") else _number(name, value)
        return cls(**values)

    def __str__(self) -> str:
        """Return the parts that are on, as a text for `parse`."""
        on = {name: value for name, value in vars(self).items() if value}
        texts = (
            name if (name, value) == ("flip", _FLIP) else f"{name}:{value}"
            for name, value in on.items()
        )
        return ",".join(texts) or _OFF


_PARTS = tuple(field.name for field in fields(Augmentation))


def _number(name: str, text: str) -> float:
    """Read the value of a part: pixels of a shift, a number otherwise."""
    try:
        return int(text) if name == "shift" else float(text)
    except ValueError as error:
        right = (
            "a whole number, as in shift:2" if name == "shift" else f"a number, as in {name}:0.2"
        )
        raise InputError(f"augmentation: {name} is {text!r:.60}; expected {right}") from error


def check_augmentation(augmentation: Augmentation, image_shape: ImageShape | None) -> None:
    """Raise InputError if rows of X are not images, or images not larger than the shift."""
    if augmentation == Augmentation():
        return
    if image_shape is None:
        raise InputError(f"augmentation {augmentation}: the features of this data are not images")
    if augmentation.shift >= min(image_shape[1:]):
        raise InputError(
            f"augmentation: shift is {augmentation.shift}; "
            f"expected 0 to {min(image_shape[1:]) - 1} for images of {image_shape[1:]} pixels"
        )


def augment(
    X: Array,
    image_shape: ImageShape,
    augmentation: Augmentation,
    generator: np.random.Generator,
    full_scale: float,
) -> Array:
    """Return stored rows X (B, D) augmented, in a new array of the same dtype.

    `image_shape` is (channels, height, width). Each image is shifted, then flipped, then brightness
    and contrast change; these values are clipped to 0 … full_scale, and rounded unless the dtype is
    a float. The arguments must pass `check_augmentation`.

    Every image takes five numbers from the generator, also for parts that are off: so one part does
    not change the effect of the others, and the batch size does not change an image.
    """
    flip, right, down, brightness, contrast = generator.random((len(X), 5)).T
    images = X.reshape(len(X), *image_shape)
    if most := augmentation.shift:
        images = _shift(images, _offsets(right, most), _offsets(down, most), most)
    else:
        images = np.array(images, order="C")
    flipped = flip < augmentation.flip
    images[flipped] = images[flipped][..., ::-1]
    rows = images.reshape(X.shape)
    if augmentation.brightness or augmentation.contrast:
        light = _factors(brightness, augmentation.brightness)
        spread = _factors(contrast, augmentation.contrast)
        rows = _relight(rows, light, spread, full_scale)
    return rows


def _offsets(uniform: Array, most: int) -> NDArray[np.intp]:
    """Map numbers uniform in [0, 1) to whole ones uniform in −most … most."""
    offsets: NDArray[np.intp] = np.floor(uniform * (2 * most + 1)).astype(np.intp)
    return offsets - most


def _factors(uniform: Array, most: float) -> Array:
    """Map numbers uniform in [0, 1) to factors uniform in 1 ± most, a column."""
    return (1 + most * (2 * uniform - 1))[:, None]


def _shift(images: Array, right: Array, down: Array, most: int) -> Array:
    """Move each image (C, H, W) by its pixels right and down, repeating its border.

    With rows repeated above and below, a moved channel is contiguous in memory, H·W long. Only the
    columns that wrapped around to the other side are then wrong, and are replaced.
    """
    B, C, H, W = images.shape
    above, below = images[:, :, :1], images[:, :, -1:]
    margin = most + 1  # one row more than the shift, for the move by `right` elements
    tall = np.concatenate([above] * margin + [images] + [below] * margin, axis=2)
    runs = sliding_window_view(tall.reshape(B, C, (H + 2 * margin) * W), H * W, axis=2)
    moved: Array = runs[np.arange(B), :, (margin - down) * W - right].reshape(B, C * H, W)
    for column in reversed(range(most)):
        uncovered = right > column
        moved[uncovered, :, column] = moved[uncovered, :, column + 1]
        uncovered = right < -column
        moved[uncovered, :, -1 - column] = moved[uncovered, :, -2 - column]
    return moved.reshape(images.shape)


def _relight(rows: Array, light: Array, spread: Array, full_scale: float) -> Array:
    """Return m + spread · (light · x − m) for each row x, where m is the mean of light · x."""
    mean: Array = rows.mean(axis=1, keepdims=True)
    relit: Array = rows.astype(np.result_type(rows, np.float32))
    relit *= (light * spread).astype(relit.dtype)
    relit += (light * (1 - spread) * mean).astype(relit.dtype)
    if rows.dtype.kind != "f":
        np.rint(relit, out=relit)
    return np.clip(relit, 0, full_scale, out=relit).astype(rows.dtype)
