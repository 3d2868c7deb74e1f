"""Samples without labels, to be classified: a picture, or rows of a table or an array."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK
from onelayer.data.files import check_file
from onelayer.data.formats.arrow import read_parquet_features
from onelayer.data.formats.delimited import read_csv_features
from onelayer.data.formats.images import read_picture
from onelayer.data.formats.npz import read_npz_features
from onelayer.data.formats.registry import begins, named
from onelayer.data.npy import map_npy
from onelayer.data.table import unlabelled_rows
from onelayer.errors import InputError

STANDARD_INPUT = "-"
_LOOKS = "PNG, JPEG, .npy, .npz, .parquet, .csv or .tsv"
_PICTURES = (begins(b"\x89PNG"), begins(b"\xff\xd8\xff"), named(".png", ".jpg", ".jpeg"))
_ARRAYS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Any]], ...] = (
    (begins(b"\x93NUMPY"), lambda path: map_npy(path).array),
    (begins(b"PK\x03\x04"), read_npz_features),
    (begins(b"PAR1"), read_parquet_features),
)
ImageShape = tuple[int, int, int]


def read_unlabelled(
    source: str, n_features: int, image_shape: ImageShape | None, full_scale: float
) -> Iterator[NDArray[Any]]:
    """Yield blocks of rows (n, D) of stored features, n at most 1000.

    A picture of any size becomes one row, of `image_shape` and with white as `full_scale`. Arrays
    and tables hold D = `n_features` numbers a row, as stored; "-" is CSV from standard input.

    Raises
    ------
    InputError
        If a file is of no such format, is damaged, or holds something else; names it.
    """
    if source == STANDARD_INPUT:
        with io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline="") as file:
            yield from _of_csv("standard input", file, ",", n_features)
        return
    path = Path(source)
    check_file(path)
    if any(suits(path) for suits in _PICTURES):
        yield stored_picture(path, image_shape, full_scale).reshape(1, -1)
        return
    for suits, read in _ARRAYS:
        if suits(path):
            X = unlabelled_rows(source, read(path), n_features)
            yield from (np.asarray(X[n : n + BLOCK]) for n in range(0, len(X), BLOCK))
            return
    if not named(".csv", ".tsv")(path):
        raise InputError(f"{path}: of no known format; expected {_LOOKS}")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _of_csv(source, file, delimiter, n_features)


def stored_picture(path: Path, image_shape: ImageShape | None, full_scale: float) -> NDArray[Any]:
    """Return a PNG or JPEG as it would be stored in the training data, (C, H, W).

    Raises
    ------
    InputError
        If the samples are no images, or the file is no picture.
    """
    if image_shape is None:
        raise InputError(f"{path}: a picture, but the model was trained on rows of features")
    pixels = read_picture(path, image_shape)
    return pixels if full_scale == 255 else pixels * (full_scale / 255)


def _of_csv(source: str, file: TextIO, delimiter: str, n_features: int) -> Iterator[NDArray[Any]]:
    for block in read_csv_features(source, file, delimiter):
        yield np.asarray(unlabelled_rows(source, block, n_features))
