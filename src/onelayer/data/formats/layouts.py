"""Folders whose files and folders are splits, each of any format: train.csv beside test.csv.

What makes a split is a word of the name: train-00000-of-00002.parquet, mnist_test.csv, val. Files
that differ by a number alone are shards, which follow each other.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.array_names import split_of
from onelayer.data.columns import listed
from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import SPLIT_NAMES
from onelayer.data.files import by_number, entries
from onelayer.errors import InputError

WHOLE = ""  # stands for a split where a file or folder may have several
SUFFIXES = (
    *(".csv", ".tsv", ".parquet", ".feather", ".arrow", ".npz", ".safetensors", ".pt", ".pth"),
)
_LAYER = re.compile(r"(?i:layer|block|stage|depth)s?[-_. ]?[0-9]+")
_OF = re.compile(r"(\d+)-of-(\d+)$")
_NUMBER = re.compile(r"[-_. ]?\d+(-of-\d+)?$")


def find_members(folder: Path) -> dict[str, list[Path]]:
    """Return the files or folders of each split of a folder, in order; none without training.

    Files without a split in any name train if they are shards of one; a single file is WHOLE.

    Raises
    ------
    InputError
        If a split is there in two ways, or a shard is missing.
    """
    found: dict[str, list[Path]] = {}
    files = list(filter(_is_data, entries(folder)))
    for path in (*files, *filter(Path.is_dir, entries(folder))):
        if split := split_of(path.stem if path.is_file() else path.name):
            found.setdefault(split, []).append(path)
    if not found and len(files) == 1:
        return {WHOLE: files}
    if not found and len({_shards_of(path) for path in files}) == 1 and not find_layers(folder):
        found = {"train": files}
    if "train" not in found:
        return {}
    for split, members in found.items():
        _check_shards(folder, split, members)
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def find_layers(folder: Path) -> list[Path]:
    """Return files called like layers, layer1.npz and so on: sets of features of the same rows."""
    files = list(filter(_is_data, entries(folder)))
    named = [path for path in files if _LAYER.search(path.stem) and not split_of(path.stem)]
    return sorted(named, key=lambda path: by_number(path.name)) if len(named) > 1 else []


def join_contents(
    folder: Path, read: Sequence[tuple[str, Contents]], notes: Sequence[str]
) -> Contents:
    """Return contents of one split each as one, those of the same split under each other.

    Raises
    ------
    InputError
        If they have splits of their own, or class names, features or labels that differ.
    """
    first = read[0][1]
    parts: dict[str, list[Part]] = {}
    for split, contents in read:
        where = f"{folder}: {contents.files[0].name}"
        if set(contents.parts) != {"train"}:
            raise InputError(f"{where} has splits of its own: {', '.join(contents.parts)}")
        if contents.class_names != first.class_names:
            raise InputError(f"{where} has other class names than {first.files[0].name}")
        parts.setdefault(split, []).append(contents.parts["train"])
    files = [path for _, contents in read for path in contents.files]
    told = [note.replace(str(c.files[0]), str(folder)) for _, c in read for note in c.notes]
    unused = [p.name for p in entries(folder) if _is_data(p) and p not in files]
    if unused := [name for name in unused if not any(name in note for note in notes)]:
        notes = [*notes, f"{folder}: not used: {listed(unused)}"]
    return Contents(
        {split: _join(f"{folder}: {split}", some) for split, some in parts.items()},
        first.class_names,
        first.image_shape,
        files,
        first.columns,
        tuple(dict.fromkeys([*told, *notes])),
    )


def _join(where: str, parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    shapes = {part.X.shape[1:]: part for part in parts}
    kinds = {isinstance(part.labels, list) for part in parts}
    if len(shapes) > 1 or len(kinds) > 1:
        raise InputError(
            f"{where}: its files differ, in labels or in features, of the shapes "
            f"{', '.join(map(str, shapes))}"
        )
    labels = [part.labels for part in parts]
    joined: Any = (
        [label for some in labels for label in some] if True in kinds else np.concatenate(labels)
    )
    return Part(np.concatenate([part.X for part in parts]), joined)


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _shards_of(path: Path) -> tuple[str, str]:
    """Return what shards have in common: a name without a number at its end, and a suffix."""
    return _NUMBER.sub("", path.stem), path.suffix.lower()


def _check_shards(folder: Path, split: str, members: Sequence[Path]) -> None:
    several = len(members) > 1 and (
        members[0].is_dir() or any(_LAYER.search(path.stem) for path in members)
    )
    if several or len({_shards_of(path) for path in members}) > 1:
        names = listed([path.name for path in members])
        raise InputError(
            f"{folder}: {split} is there more than once: {names}; expected one, or shards: files "
            "that differ by a number alone and are not called like layers"
        )
    of = [match for path in members if (match := _OF.search(path.stem))]
    if of:
        there, total = {int(match[1]) for match in of}, int(of[0][2])
        missing = next((n for n in range(min(total, len(there) + 1)) if n not in there), None)
        if missing is not None:
            raise InputError(
                f"{folder}: of the {total:,} shards of {split} number {missing} is missing"
            )
