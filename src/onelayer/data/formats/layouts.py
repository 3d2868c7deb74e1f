"""Folders with a file or folder for each split, of any format: train.csv beside test.csv.

A word in the name is the split: train-00000-of-00002.parquet, mnist_test.csv, val. Files whose
names differ only by a number are shards, read one after another. Several feature sets of the same
rows may lie side by side: layer1_train.npz, or layer1.npz in train.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.array_names import SAMPLE_TABLES, means_labels, set_of, several_sets, split_of
from onelayer.data.columns import listed
from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import SPLIT_NAMES, SPLIT_WORDS
from onelayer.data.files import by_number, entries
from onelayer.errors import InputError

WHOLE = ""  # in place of a split: a file or folder that may hold several splits
_ARCHIVES = (".npz", ".safetensors", ".pt", ".pth")
SUFFIXES = (".csv", ".tsv", ".parquet", ".feather", ".arrow", *_ARCHIVES)
_LAYER = re.compile(r"(?i:layer|block|stage|depth)s?[-_. ]?[0-9]+")
_OF = re.compile(r"(\d+)-of-(\d+)$")
_NUMBER = re.compile(r"[-_. ]?\d+(-of-\d+)?$")


def find_members(folder: Path, feature_set: str | None = None) -> dict[str, list[Path]]:
    """Return the files or folders of each split, in order; empty without a training split.

    If no name has a split, the shards of one file are the training split, and a single file is
    WHOLE. Of several feature sets, the files of `feature_set` are returned.

    Raises
    ------
    InputError
        If a split exists twice, a shard is missing, or there is no such feature set.
    """
    if sets := find_sets(folder):
        if feature_set not in sets:
            raise several_sets(str(folder), sets)
        for name, members in sets[feature_set].items():
            _check_shards(folder, name, members)
        return sets[feature_set]
    found: dict[str, list[Path]] = {}
    files = _data_files(folder)
    for path in (*files, *filter(Path.is_dir, entries(folder))):
        if split := split_of(path.stem if path.is_file() else path.name):
            found.setdefault(split, []).append(path)
    if not found and len(files) == 1:
        return {WHOLE: files}
    if not found and len({_shards_of(path) for path in files}) == 1 and _are_shards(files):
        found = {"train": files}
    if "train" not in found:
        return {}
    for split, members in found.items():
        _check_shards(folder, split, members)
    return {split: found[split] for split in SPLIT_NAMES if split in found}


Sets = dict[str, dict[str, list[Path]]]  # the files of each feature set, by split


def find_sets(folder: Path) -> Sets:
    """Return the files of each feature set, if a folder holds several for the same rows.

    Names of different feature sets differ in more than the number of a shard, or name layers.
    """
    sets = _find_sets(folder)
    return sets if len(sets) > 1 else {}


def set_around(path: Path) -> tuple[Path, str | None, list[Path]] | None:
    """Return folder, name and files of the feature set to which a file belongs, or None.

    The name is None if the folder holds no other feature set.
    """
    root = path.parent.parent if path.parent.name.lower() in SPLIT_WORDS else path.parent
    sets = _find_sets(root) if split_of(_name_in(root, path)) else {}
    for name, splits in sets.items():
        files = [file for some in splits.values() for file in some]
        if path in files:
            return root, name if len(sets) > 1 else None, files
    return None


def _find_sets(folder: Path) -> Sets:
    """Return the files of every feature set that has a training split; see find_sets."""
    inner = [path for path in entries(folder) if path.is_dir() and path.name.lower() in SPLIT_WORDS]
    alike: dict[tuple[str, str], list[Path]] = {}
    for path in (path for place in (folder, *inner) for path in _data_files(place)):
        name, layer = _name_in(folder, path), _LAYER.search(path.stem)
        split = split_of(name) or WHOLE
        if split or layer or path.suffix.lower() in _ARCHIVES:
            key = set_of(name if layer else _NUMBER.sub("", name))
            alike.setdefault((key, split), []).append(path)
    found: Sets = {}
    for (name, split), paths in alike.items():
        for path in paths:
            own = name if _are_shards(paths) else set_of(_name_in(folder, path))
            found.setdefault(own, {}).setdefault(split, []).append(path)
    trained = {name: splits for name, splits in found.items() if "train" in splits}
    found = trained or {name: splits for name, splits in found.items() if WHOLE in splits}
    if "" in found or any(map(means_labels, found)):
        return {}
    return {name: found[name] for name in sorted(found, key=by_number)}


def _name_in(folder: Path, path: Path) -> str:
    return path.with_suffix("").relative_to(folder).as_posix()


def _are_shards(paths: Sequence[Path]) -> bool:
    """Return whether files are shards: a single file, or names that end in consecutive numbers."""
    if len(paths) == 1 or any(_OF.search(path.stem) for path in paths):
        return True  # _check_shards reports a missing shard
    ends = [_NUMBER.search(path.stem) for path in paths]
    numbers = sorted(int(end[0].lstrip("-_. ")) for end in ends if end)
    return numbers in ([*range(len(paths))], [*range(1, len(paths) + 1)])


def join_contents(
    folder: Path, read: Sequence[tuple[str, Contents]], notes: Sequence[str]
) -> Contents:
    """Return contents of one split each as one; those of the same split are concatenated.

    Raises
    ------
    InputError
        If one has several splits, or class names, features or labels differ.
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
        arrays=first.arrays,
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


def _data_files(folder: Path) -> list[Path]:
    """Return the files of samples; beside archives, files of labels are not among them."""
    files = list(filter(_is_data, entries(folder)))
    if not any(path.suffix.lower() in _ARCHIVES for path in files):
        return files
    labels = {p for p in files if means_labels(p.stem) or p.stem.lower() in SAMPLE_TABLES}
    return [path for path in files if path not in labels]


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _shards_of(path: Path) -> tuple[str, str]:
    """Return the common part of shards: the name without its last number, and the suffix."""
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
