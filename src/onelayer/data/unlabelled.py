"""Unlabelled samples to classify: a picture, or rows of a table or an array."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.columns import Columns, Tell, ignore
from onelayer.data.contents import unlabelled_rows
from onelayer.data.dataset import BLOCK, ImageShape
from onelayer.data.formats.delimited import stream_features
from onelayer.data.formats.images import look_at_picture, told_of_transparent
from onelayer.data.formats.picture import Encoded
from onelayer.data.formats.registry import find_format
from onelayer.errors import InputError

STANDARD_INPUT = "-"


def read_unlabelled(
    source: str,
    n_features: int,
    image_shape: ImageShape | None,
    full_scale: float,
    columns: Columns | None = None,
    tell: Tell = ignore,
    **options: Any,
) -> Iterator[NDArray[Any]]:
    """Yield blocks of rows (n, D) of stored features, n at most 1000, from a file or folder.

    The source has any format that training reads; labels may be missing and are not used. Splits
    follow each other: train, validation, test. A single picture or .npy file is read, too. A
    picture of any size becomes a row of `image_shape` in which white is `full_scale`. Arrays and
    tables hold D = `n_features` stored values a row; "-" is CSV from standard input. The columns of
    a table are found by the names in `columns`, those of the training data; if one of the two has
    no names, by their order. `label` names a column of labels, which is not used. `tell` receives
    each note on how the source was read.

    Raises
    ------
    InputError
        If a file has no known format, is damaged, or does not fit the model; names it.
    """
    if source == STANDARD_INPUT:
        if others := options.keys() - {"label"}:
            raise InputError(f"standard input: CSV, which takes no option {min(others)!r}")
        rows = stream_features(
            "standard input", sys.stdin.buffer, **options, like=columns, tell=tell
        )
        yield from _blocks("standard input", rows, n_features, None)
        return
    path = Path(source)
    form = find_format(path, options)
    pictures = form.pictures(path) if form.pictures else []
    if not pictures:
        samples = form.read_features(path, columns, tell, **options)
        yield from _blocks(source, samples, n_features, image_shape)
        return
    transparent = 0
    for picture in pictures:
        stored, see_through = _look_at(picture, image_shape, full_scale)
        transparent += see_through
        yield stored.reshape(1, -1)
    if transparent:
        tell(f"{source}: {told_of_transparent(transparent)}")


def expand_pictures(source: str) -> list[str]:
    """Return the pictures of a folder of pictures, each as a source; else the source itself.

    Raises
    ------
    InputError
        If the source is a folder without a data set.
    """
    path = Path(source)
    listed = find_format(path).pictures if path.is_dir() else None
    pictures = listed(path) if listed else []
    files = [str(picture) for picture in pictures if isinstance(picture, Path)]
    return files if files and len(files) == len(pictures) else [source]


def stored_picture(
    path: Path | Encoded, image_shape: ImageShape | None, full_scale: float
) -> NDArray[Any]:
    """Return a picture as it would be stored in the training data, (C, H, W).

    Raises
    ------
    InputError
        If the samples are not images, or the file is not a picture.
    """
    return _look_at(path, image_shape, full_scale)[0]


def _look_at(
    path: Path | Encoded, image_shape: ImageShape | None, full_scale: float
) -> tuple[NDArray[Any], bool]:
    """Return a picture as stored_picture does, and whether parts of it are transparent."""
    if image_shape is None:
        raise InputError(f"{path}: a picture, but the model was trained on rows of features")
    pixels, transparent = look_at_picture(path, image_shape)
    return pixels if full_scale == 255 else pixels * (full_scale / 255), transparent


def _blocks(
    source: str, samples: Iterable[Any], n_features: int, image_shape: ImageShape | None
) -> Iterator[NDArray[Any]]:
    for some in samples:
        X = unlabelled_rows(source, some, n_features, image_shape)
        yield from (np.asarray(X[n : n + BLOCK]) for n in range(0, len(X), BLOCK))
