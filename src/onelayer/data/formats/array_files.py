"""A folder of arrays in files of their own: X.npy and y.npy, or features.pt and labels.txt."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.arrays import means_features, means_labels, read_features, read_labelled
from onelayer.data.columns import LABEL_COLUMNS
from onelayer.data.contents import Contents
from onelayer.data.files import entries, read_file
from onelayer.data.formats.torch_file import read_tensor
from onelayer.data.npy import load_npy
from onelayer.errors import InputError

_LARGEST_TEXT = 1 << 28  # bytes
_CLASSES = "classes"
_ARRAYS = {".npy": load_npy, ".pt": read_tensor}


def holds_array_files(folder: Path) -> bool:
    """Return whether a file of an array in `folder` is called like features."""
    return any(means_features(p.stem) for p in entries(folder) if p.suffix.lower() in _ARRAYS)


def read_array_files(folder: Path) -> Contents:
    """Read the arrays that find_arrays finds among the files, by their names without suffix.

    Arrays are .npy files, or .pt files of one tensor. Labels, one a line, and the names of the
    classes in classes.txt may also be .txt; labels may be a .csv with or without column names.

    Raises
    ------
    InputError
        If two files mean the same, one is missing, or a file is damaged.
    """
    files = _find_files(folder)
    contents = read_labelled(str(folder), files, partial(_read, files))
    return replace(contents, files=[*files.values()])


def array_file_features(folder: Path) -> list[Any]:
    """Read the arrays of features alone; errors as read_array_files."""
    files = _find_files(folder)
    return read_features(str(folder), files, partial(_read, files))


def _find_files(folder: Path) -> dict[str, Path]:
    """Return the files of arrays, by their names without suffix; of labels also those of text."""
    found: dict[str, Path] = {}
    for path in entries(folder):
        suffix = path.suffix.lower()
        array = suffix in _ARRAYS
        if not array and not (suffix in (".txt", ".csv") and means_labels(path.stem)):
            continue
        name = "class_names" if path.stem == _CLASSES and not array else path.stem
        if name in found:
            raise InputError(f"{folder}: both {found[name].name} and {path.name} mean the same")
        found[name] = path
    return found


def _labels(texts: list[str]) -> Any:
    """Return labels as whole numbers, if all of them are."""
    whole = all(re.fullmatch(r"-?[0-9]{1,18}", text) for text in texts)
    return np.array(texts, np.int64) if whole else texts


def _read(files: dict[str, Path], wanted: Sequence[str]) -> dict[str, Any]:
    readers = _ARRAYS | {".txt": _read_lines, ".csv": _read_column}
    read = {name: readers[files[name].suffix.lower()](files[name]) for name in wanted}
    return {name: _labels(a) if isinstance(a, list) else a for name, a in read.items()}


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text, which may end in empty ones."""
    try:
        lines = read_file(path, _LARGEST_TEXT).decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    labels = [line.strip() for line in lines]
    if "" in labels:
        raise InputError(f"{path}: line {labels.index('') + 1} is empty, expected a label")
    return labels


def _read_column(path: Path) -> list[str]:
    """Return the labels of a .csv: its only column, or the one that is called like labels."""
    try:
        rows = list(csv.reader(_read_lines(path), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    if column is None and len(names) != 1:
        raise InputError(f"{path}: expected one column, or one called {', '.join(LABEL_COLUMNS)}")
    try:
        return [row[column or 0].strip() for row in rows[column is not None :]]
    except IndexError as error:
        raise InputError(f"{path}: a line has fewer cells than the first") from error
