"""Files with the array of one sample, in a folder for each class: cat/0001.npy."""

from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.contents import Arrays, Contents, Part
from onelayer.data.derived import kind_of, widened
from onelayer.data.files import entries
from onelayer.data.formats.array_files import ARRAYS, look_at_array
from onelayer.data.npy import Mapped
from onelayer.errors import InputError


def holds_sample_arrays(folder: Path) -> bool:
    """Return whether folders in `folder` hold only arrays, and their first ones one sample each."""
    firsts = [_files(place)[0] for place in _classes(folder)]
    looks = [look_at_array(path) for path in firsts]
    return len(looks) > 1 and all(
        look is not None and len(look[0]) == 1 and "float" in look[1] for look in looks
    )


def read_sample_arrays(folder: Path) -> Contents:
    """Read the arrays (D,) of all samples; the folders are the classes.

    Raises
    ------
    InputError
        If a file is damaged, or the samples differ in shape.
    """
    rows, labels, files = list[Any](), list[str](), list[Path]()
    for place in _classes(folder):
        for path in _files(place):
            opened = ARRAYS[path.suffix.lower()](path)
            row = np.asarray(opened.array if isinstance(opened, Mapped) else opened)
            if rows and row.shape != rows[0].shape:
                raise InputError(
                    f"{path}: an array of the shape {row.shape}, that of {files[0].name} has "
                    f"{rows[0].shape}; expected one sample a file, all of one shape"
                )
            rows.append(np.array(row))
            labels.append(place.name)
            files.append(path)
    X = np.stack(rows)
    arrays = Arrays(folder.name, kind=kind_of(X), shape=X.shape[1:])
    note = f"{folder}: {len(rows):,} arrays of one sample each, in a folder for each class"
    return Contents({"train": Part(widened(X), labels)}, files=files, notes=(note,), arrays=arrays)


def sample_array_features(folder: Path) -> list[Any]:
    """Read the arrays of all samples; errors as read_sample_arrays."""
    return [read_sample_arrays(folder).parts["train"].X]


def _classes(folder: Path) -> list[Path]:
    return [place for place in entries(folder) if place.is_dir() and _files(place)]


def _files(folder: Path) -> list[Path]:
    """Return the array files in a folder; none if it also holds other files."""
    inside = entries(folder)
    return inside if all(p.is_file() and p.suffix.lower() in ARRAYS for p in inside) else []
