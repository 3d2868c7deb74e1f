"""A folder with a file for each array: X.npy and y.npy, or features.pt and labels.txt."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.array_names import (
    ROW_COLUMNS,
    SAMPLE_TABLES,
    find_sets,
    means_features,
    means_labels,
    role_of_rows,
    set_of,
    split_of,
    tells_of_rows,
)
from onelayer.data.arrays import poolable, read_features, read_labelled
from onelayer.data.columns import LABEL_COLUMNS
from onelayer.data.contents import Contents
from onelayer.data.dataset import SPLIT_WORDS
from onelayer.data.files import entries, read_file
from onelayer.data.formats.torch_file import look_at_tensor, read_tensor
from onelayer.data.npy import Mapped, look_at, map_or_load
from onelayer.errors import InputError
from onelayer.plain_values import parse_json, read_text

_LARGEST_TEXT = 1 << 28  # bytes
_CLASSES = "classes"
ARRAYS = {".npy": map_or_load, ".pt": read_tensor}
_TEXTS = (".txt", ".csv", ".json")


def holds_array_files(folder: Path) -> bool:
    """Return whether array files in `folder` have names of features, or lie beside labels."""
    files = _find_files(folder)
    arrays = {name for name, path in files.items() if path.suffix.lower() in ARRAYS}
    if any(means_features(name) and look_at_array(files[name]) for name in arrays):
        return True
    others = [
        name
        for name in arrays
        if not means_labels(name) and not tells_of_rows(name) and look_at_array(files[name])
    ]
    return bool(others) and any(map(means_labels, files.keys() - {"class_names"}))


def look_at_array(path: Path) -> tuple[Sequence[int], str] | None:
    """Return shape and type of the one array in a file; None if it holds something else."""
    try:
        return _look({"": path}, "")
    except InputError:  # the reader will report it
        return None


def loose_arrays(folder: Path) -> list[str]:
    """Return the names of the array files in a folder, which may have no labels."""
    return [path.name for path in entries(folder) if path.suffix.lower() in ARRAYS]


def read_array_files(folder: Path, **options: Any) -> Contents:
    """Read the arrays that find_arrays finds among the files, by their names without suffix.

    Arrays are .npy files, or .pt files of one tensor, in the folder or in the folders of its
    splits. Labels may also be a .txt with one a line, a list in a .json, or a .csv with or without
    column names, which may also hold the split and the group of each row; classes.txt holds the
    class names. `options` are feature_set and pool.

    Raises
    ------
    InputError
        If two files mean the same, one is missing, or a file is damaged.
    """
    files = _find_files(folder)

    def title(name: str) -> str:
        return str(files[name].relative_to(folder))

    used: list[str] = []

    def read(wanted: Sequence[str]) -> dict[str, Any]:
        used.extend(wanted)
        return _read(files, wanted)

    look = partial(_look, files)
    contents = read_labelled(str(folder), files, read, look, title=title, **options)
    return replace(contents, files=[files[name] for name in used])


def lies_beside_labels(path: Path) -> bool:
    """Return whether a file, whose own name does not mean labels, lies beside labels."""
    names = _find_files(_root_of(path)).keys() - {"class_names"}
    own = _name_of(path)
    return not (means_labels(own) or tells_of_rows(own)) and any(map(means_labels, names))


def is_companion(path: Path, others: Iterable[Path]) -> bool:
    """Return whether a file is read along with another: labels, or a split of its feature set."""
    if path.suffix.lower() not in (*ARRAYS, *_TEXTS) or not path.is_file():
        return False
    root, name = _root_of(path), _name_of(path)
    beside = [other for other in others if other != path and _root_of(other) == root]
    if _tells_of_samples(path):
        return bool(beside)
    split = split_of(name) not in (None, "train")
    return split and any(set_of(_name_of(other)) == set_of(name) for other in beside)


def labels_beside(path: Path) -> dict[str, tuple[Path, Any]]:
    """Return the files of labels, splits and groups beside an archive, with their values, by name.

    Beside an archive of one split they are the labels of that split.
    """
    root, own = _root_of(path), split_of(_name_of(path))
    files = {name: file for name, file in _find_files(root).items() if _tells_of_samples(file)}
    if own is not None:
        files = {
            set_of(name): file
            for name, file in files.items()
            if split_of(name) == own and _means_labels(file)
        }
    values = _read(files, [*files])
    return {name: (file, values[name]) for name, file in files.items()}


def read_array_file(path: Path, **options: Any) -> Contents:
    """Read one file of features, with the files of its labels and of its other splits."""
    return read_array_files(_root_of(path), feature_set=_name_of(path), **options)


def array_file_sets(folder: Path) -> list[str]:
    """Return the names of the feature sets, if there are several: see find_sets."""
    files = _find_files(folder)
    return find_sets(files, partial(_look, files))


def array_file_features(folder: Path, **options: Any) -> list[Any]:
    """Read the arrays of features alone; errors as read_array_files."""
    files = _find_files(folder)
    return read_features(str(folder), files, partial(_read, files), **options)


def one_array_features(path: Path, pool: str | None = None) -> list[Any]:
    """Return the features in a file of one array, mapped if possible."""
    opened = ARRAYS[path.suffix.lower()](path)
    X = opened.array if isinstance(opened, Mapped) else opened
    return [poolable(str(path.parent), path.name, X, pool)]


def find_beside(source: Path, name: str) -> Path | None:
    """Return the file of this name, here or beside `source`, if there is one."""
    beside = (source if source.is_dir() else source.parent) / name
    return next((path for path in (Path(name), beside) if path.is_file()), None)


def read_of_rows(source: Path, name: str) -> Any:
    """Return one value for each row, read from a file like labels: see find_beside."""
    path = find_beside(source, name)
    if path is None or path.suffix.lower() not in (*ARRAYS, *_TEXTS):
        raise InputError(
            f"{name}: expected a file .npy, .txt, .json or .csv with a line for each row of "
            f"{source}, in this folder or beside it"
        )
    (values,) = _read({name: path}, [name]).values()
    return np.array(values.array) if isinstance(values, Mapped) else values


def _root_of(path: Path) -> Path:
    """Return the folder of a feature file's data set: the folder above, if its own is a part."""
    return path.parent.parent if _is_part(path.parent) else path.parent


def _is_part(folder: Path) -> bool:
    """Return whether a folder is a split, or lacks labels while the folder above has some."""
    return folder.name.lower() in SPLIT_WORDS or (
        not _holds_labels(folder) and _holds_labels(folder.parent)
    )


def _holds_labels(folder: Path) -> bool:
    try:
        names = entries(folder)
    except InputError:  # the folder above was not asked for: it may be unreadable
        return False
    return any(path.suffix.lower() in (*ARRAYS, *_TEXTS) and _means_labels(path) for path in names)


def _name_of(path: Path) -> str:
    return path.with_suffix("").relative_to(_root_of(path)).as_posix()


def _find_files(folder: Path) -> dict[str, Path]:
    """Return the files of arrays, and text files of labels, by their names without suffix."""
    found: dict[str, Path] = {}
    inner = [path for path in entries(folder) if path.is_dir() and _is_part(path)]
    for path in (path for place in (folder, *inner) for path in entries(place)):
        suffix = path.suffix.lower()
        array, name = suffix in ARRAYS, path.with_suffix("").relative_to(folder).as_posix()
        if not path.is_file() or not (array or (suffix in _TEXTS and _tells_of_samples(path))):
            continue
        name = "class_names" if path.stem == _CLASSES and not array else name
        name = "labels" if path.stem.lower() in SAMPLE_TABLES and not array else name
        if name in found:
            raise InputError(f"{folder}: both {found[name].name} and {path.name} mean the same")
        found[name] = path
    told = {role for name in found if (role := role_of_rows(name))}
    for path in [path for path in found.values() if path.suffix.lower() == ".csv"]:
        columns = {role: name for name in _header(path) if (role := role_of_rows(name))}
        if _means_labels(path) and path.parent == folder:
            found |= {name: path for role, name in columns.items() if role not in told}
    return found


def _means_labels(path: Path) -> bool:
    table = path.suffix.lower() == ".csv" and path.stem.lower() in SAMPLE_TABLES
    return table or means_labels(path.stem)


def _tells_of_samples(path: Path) -> bool:
    return _means_labels(path) or tells_of_rows(path.stem)


def _labels(texts: list[str]) -> Any:
    """Return labels as whole numbers if all of them are, else as texts."""
    whole = all(re.fullmatch(r"-?[0-9]{1,18}", text) for text in texts)
    return np.array(texts, np.int64) if whole else texts


def _look(files: dict[str, Path], name: str) -> tuple[Sequence[int], str] | None:
    """Return shape and type of an array; None for a text file."""
    path = files[name]
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return look_at(str(path), file)
    return look_at_tensor(path) if path.suffix.lower() in ARRAYS else None


def _read(files: dict[str, Path], wanted: Sequence[str]) -> dict[str, Any]:
    readers = ARRAYS | {".txt": _read_lines, ".json": _read_json}
    read = {
        name: _read_column(path, name)
        if (path := files[name]).suffix.lower() == ".csv"
        else readers[path.suffix.lower()](path)
        for name in wanted
    }
    return {name: _labels(a) if isinstance(a, list) else a for name, a in read.items()}


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text, without empty lines at its end."""
    try:
        lines = read_file(path, _LARGEST_TEXT).decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    labels = [line.strip() for line in lines]
    if "" in labels:
        raise InputError(f"{path}: line {labels.index('') + 1} is empty, expected a label")
    return labels


def _read_json(path: Path) -> Any:
    """Return a list of labels, or of the splits of the rows, or lists of the rows of each split."""
    try:
        value = parse_json(read_text(path, _LARGEST_TEXT))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if isinstance(value, dict) and tells_of_rows(path.stem):
        splits = {split_of(name): np.array(rows) for name, rows in value.items()}
        if splits and None not in splits and len(splits) == len(value):
            return splits
    if not isinstance(value, list) or {*map(type, value)} not in ({str}, {int}):
        raise InputError(f"{path}: expected a list of texts or of whole numbers, one for each row")
    return [str(one) for one in value]


def _header(path: Path) -> list[str]:
    """Return the cells in the first line of a .csv, which may be column names."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [name.strip().lower() for name in next(csv.reader([file.readline(1 << 16)]), [])]
    except (OSError, UnicodeDecodeError, csv.Error):  # the reader will report it
        return []


def _read_column(path: Path, asked: str) -> list[str]:
    """Return a column of a .csv: its only one, or the one for `asked`, a role or labels."""
    try:
        rows = list(csv.reader(_read_lines(path), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    called = ROW_COLUMNS if tells_of_rows(asked.rpartition("/")[2]) else LABEL_COLUMNS
    called = (asked, *called) if asked in ROW_COLUMNS else called
    alike = [name for name in names if called is LABEL_COLUMNS and means_labels(name)]
    column = next((names.index(name) for name in (*called, *alike) if name in names), None)
    if column is None and len(names) != 1:
        raise InputError(f"{path}: expected one column, or one called {', '.join(called)}")
    try:
        return [row[column or 0].strip() for row in rows[column is not None :]]
    except IndexError as error:
        raise InputError(f"{path}: a line has fewer cells than the first") from error
