"""Named arrays and files: which hold features and which the labels, of which split, by their names.

A name is its words: X_train, trainX, x-train and train.X mean the same.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onelayer.data.columns import LABEL_COLUMNS, NoLabelsError, listed
from onelayer.data.contents import SPLIT_WORDS, Contents, Part, check_shapes
from onelayer.data.dataset import SPLIT_NAMES
from onelayer.errors import InputError

CLASS_NAMES = ("class_names", "label_names", "target_names")
_FEATURES = (
    *("x", "data", "features", "feature", "feats", "feat", "embeddings", "embedding", "embeds"),
    *("images", "image", "imgs", "img", "inputs", "input", "pixels", "vectors", "activations"),
)
_CLASSES = ("class", "classes", "category", "categories")  # or what the classes are called
_UNNAMED = ("arr_0", "arr_1")  # as numpy.savez(path, X, y) calls them
_ROLE_WORDS = dict.fromkeys(_FEATURES, "X") | dict.fromkeys((*LABEL_COLUMNS, *_CLASSES), "y")

ShapeOf = Callable[[str], Sequence[int]]
Read = Callable[[Sequence[str]], Mapping[str, Any]]  # arrays, by name


@dataclass(frozen=True)
class Found:
    """The names of the features and labels of each split, and of the class names, if any."""

    parts: Mapping[str, tuple[str, str]]
    class_names: str | None
    notes: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Return the split that a word of `name` means, if any and if only one.

    Examples
    --------
    >>> split_of("mnist_train-00000-of-00002"), split_of("X_val"), split_of("data")
    ('train', 'validation', None)
    """
    splits = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def means_features(name: str) -> bool:
    """Return whether an array or column of this name holds features."""
    return _meaning(name)[0] == "X"


def means_labels(name: str) -> bool:
    """Return whether an array or file of this name holds labels, or the names of classes."""
    return _meaning(name)[0] == "y" or name.lower() in CLASS_NAMES


def find_arrays(source: str, names: Iterable[str]) -> Found:
    """Return which of the arrays hold features and labels of each split, of "train" if none.

    X, y, data, labels and the like count, alone or beside a split: X_train, val_labels. A test
    split without labels is left out, and so are arrays that mean none of these, with a note.

    Raises
    ------
    NoLabelsError
        If there are features and no labels.
    InputError
        If two names mean the same, or a split lacks one of the two.
    """
    names = list(names)
    seen = f"arrays: {listed(names) or 'none'}"
    if sorted(names) == [*_UNNAMED]:
        note = f"{source}: arrays without names are taken for features and labels, in their order"
        return Found({"train": _UNNAMED}, None, (note,))
    roles = _find_roles(source, names)
    unlabelled = []
    if "X" in roles.get("test", ()) and "y" not in roles["test"] and len(roles) > 1:
        unlabelled = [roles.pop("test")["X"]]
    if roles and not any("y" in pair for pair in roles.values()):
        raise NoLabelsError(f"{source}: features without labels; {seen}; expected X and y")
    for split, pair in roles.items():
        if len(pair) < 2:
            missing = "labels" if "X" in pair else "features"
            beside = next(iter(pair.values()))
            raise InputError(f"{source}: {split} has no {missing} beside {beside!r}; {seen}")
    if "train" not in roles:
        raise InputError(f"{source}: {seen}; expected X and y, or X_train and y_train and so on")
    parts = {split: (pair["X"], pair["y"]) for split, pair in roles.items()}
    class_names = next((name for name in names if name.lower() in CLASS_NAMES), None)
    used = {class_names, *unlabelled, *(name for pair in parts.values() for name in pair)}
    notes = [f"{source}: {name!r} has no labels and is not used" for name in unlabelled]
    if unused := [name for name in names if name not in used]:
        pairs = ", ".join(f"{X!r} and {y!r}" for X, y in parts.values())
        notes.append(f"{source}: features and labels are {pairs}; not used: {listed(unused)}")
    return Found(parts, class_names, tuple(notes))


def find_features(source: str, names: Iterable[str]) -> list[str]:
    """Return the names of the features: X, or X_train and so on in the order of the splits.

    Labels may be missing. If no name means features, a single array is taken for them.

    Raises
    ------
    InputError
        If two names mean the same, or there are several arrays and none is called like features.
    """
    names = list(names)
    meanings = {name: _meaning(name) for name in names}
    found = {name: split for name, (role, split) in meanings.items() if role == "X"}
    if sorted(names) == [*_UNNAMED]:
        found = {_UNNAMED[0]: "train"}
    if not found:
        found = {name: split_of(name) or "train" for name in names if meanings[name][0] != "y"}
    if not found or len(set(found.values())) < len(found):
        seen = listed(names) or "none"
        raise InputError(f"{source}: arrays: {seen}; expected X, or X_train, X_test and so on")
    return sorted(found, key=lambda name: SPLIT_NAMES.index(found[name]))


def read_labelled(
    source: str, names: Iterable[str], read: Read, shape_of: ShapeOf | None = None
) -> Contents:
    """Return the samples of the arrays that find_arrays finds, which `read` reads.

    With `shape_of`, their shapes are judged before anything is read.

    Raises
    ------
    InputError
        As find_arrays and `read`, or if the class names are no strings.
    """
    found = find_arrays(source, names)
    wanted = [name for pair in found.parts.values() for name in pair]
    if shape_of is not None:
        for X, y in found.parts.values():
            check_shapes(source, shape_of(X), shape_of(y))
    arrays = read([*wanted, *filter(None, [found.class_names])])
    parts = {split: Part(arrays[X], arrays[y]) for split, (X, y) in found.parts.items()}
    if found.class_names is None:
        return Contents(parts, notes=found.notes)
    called = np.asarray(arrays[found.class_names])
    if called.dtype.kind not in "UT" or called.ndim != 1:
        raise InputError(f"{source}: {found.class_names} of {called.dtype}, expected strings")
    return Contents(parts, tuple(map(str, called.tolist())), notes=found.notes)


def read_features(source: str, names: Iterable[str], read: Read) -> list[Any]:
    """Return the arrays that find_features finds, which `read` reads."""
    wanted = find_features(source, names)
    arrays = read(wanted)
    return [arrays[name] for name in wanted]


def _find_roles(source: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the names of the features "X" and labels "y" of each split, as far as they are."""
    found: dict[str, dict[str, str]] = {}
    certain_first = sorted(names, key=lambda name: bool(set(_words(name)) & set(_CLASSES)))
    for name in certain_first:
        role, split = _meaning(name)
        if role is None:
            continue
        pair = found.setdefault(split, {})
        if role in pair and _words(name)[-1] not in _CLASSES:
            raise InputError(
                f"{source}: both {pair[role]!r} and {name!r} mean the same, "
                f"{'features' if role == 'X' else 'labels'}; expected one of them"
            )
        pair.setdefault(role, name)
    return found


def _meaning(name: str) -> tuple[str | None, str]:
    """Return the role of an array, "X", "y" or None, and its split: of roles the last one counts.

    So image_features are features, and image_labels labels.
    """
    words = _words(name)
    roles = [_ROLE_WORDS[word] for word in words if word in _ROLE_WORDS]
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    if not roles or len(splits) > 1 or len(words) != len(roles) + len(splits):
        return None, ""
    return roles[-1], splits[0] if splits else "train"


def _words(name: str) -> list[str]:
    """Return the words of a name: trainX, train_X and X-Train are train and x."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+", name[:200])
    words = []
    for part in map(str.lower, parts):
        glued = part[:1] in "xy" and part[1:] in SPLIT_WORDS  # xtrain
        words += [part[0], part[1:]] if glued else [part]
    return words
