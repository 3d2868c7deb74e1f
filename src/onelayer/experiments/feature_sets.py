"""Feature sets to probe: they are found, named and loaded, and must have the same rows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.array_names import set_of
from onelayer.data.catalog import is_path
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.files import by_number
from onelayer.data.formats.array_files import ARRAYS, is_companion
from onelayer.data.formats.registry import feature_sets, set_of_file
from onelayer.errors import InputError
from onelayer.experiments.experiment import load_splits
from onelayer.experiments.spec import DataSpec
from onelayer.report.lettering import cut_apart

_NAME = 40  # letters of the name of a feature set


def load_feature_sets(sources: Sequence[str], **options: Any) -> dict[str, Dataset]:
    """Return the data set of each path or name, by a short name.

    A folder or file with several feature sets stands for all of them, and files of labels beside
    features are skipped: see list_sets. `options` are fields of DataSpec: validation, split_seed,
    and those of Reading.

    Raises
    ------
    InputError
        If a source cannot be read, or two are the same.
    """
    several = options.get("feature_set") is None
    sets = list_sets(sources) if several else [(source, None) for source in sources]
    names = name_sources([source if part is None else f"{source}/{part}" for source, part in sets])
    specs = [
        DataSpec(dataset=source, **options | ({"feature_set": part} if part else {}))
        for source, part in sets
    ]
    return {name: load_splits(spec) for name, spec in zip(names, specs, strict=True)}


def tell_sets(feature_sets: Mapping[str, Dataset]) -> Iterator[str]:
    """Yield the notes on how the data were read; one that several sets share comes once."""
    said: dict[str, dict[str, None]] = {}
    for note in (note for data in feature_sets.values() for note in data.notes):
        name, colon, words = note.partition(": ")
        said.setdefault(colon + words, {})[name] = None
    for words, (first, *others) in said.items():
        more = f" to {others[-1]} ({len(others) + 1} feature sets)" if others else ""
        yield f"{first}{more}{words}"


def list_sets(sources: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return the feature sets of all sources, each with its name if the source has several.

    Sources in alphabetical order, as a shell lists them, are sorted by their numbers.

    Raises
    ------
    InputError
        If a source has no known format.
    """
    if list(sources) == sorted(sources):
        sources = sorted(sources, key=by_number)
    paths = [Path(source) for source in sources if is_path(source)]
    beside = {path for path in paths if is_companion(path, paths)}
    found: dict[tuple[str, str | None], None] = {}
    for source in sources:
        path = Path(source)
        around = set_of_file(path) if path in paths else None
        if around and len(around[2]) > 1 and {*around[2]} <= {*paths}:
            found[str(around[0]), around[1]] = None
        elif path not in beside:
            parts = feature_sets(path) if path in paths else [(path, None)]
            found |= {(source if part == path else str(part), name): None for part, name in parts}
    return [*found]


def name_sources(sources: Sequence[str]) -> list[str]:
    """Return the stem of each path, with as many of its folders as make all names differ.

    Letters of a long name are left out where names still differ.

    Raises
    ------
    InputError
        If two sources are the same.
    """
    paths = [Path(source).resolve() if is_path(source) else Path(source) for source in sources]
    seen: set[Path] = set()
    for source, path in zip(sources, paths, strict=True):
        if path in seen:
            raise InputError(f"{source}: given twice; expected each feature set once")
        seen.add(path)
    names, depth = [_stem(path) for path in paths], 0
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    for letters in range(_NAME, max(map(len, names), default=0)):
        if cut := cut_apart(names, letters):
            return [*cut]
    return names


def _stem(path: Path) -> str:
    """Return the name of a folder, or of a file without its suffix, for arrays without a split."""
    if not path.is_file():
        return path.name
    return (path.suffix.lower() in ARRAYS and set_of(path.stem)) or path.stem


def check_same_rows(feature_sets: Mapping[str, Dataset]) -> None:
    """Raise InputError unless all have the same labels in all splits, and the splits they need.

    They need validation and test. Labels are compared by the names of their classes.
    """
    if not feature_sets:
        raise InputError("no feature sets to probe; give at least one")
    (first, reference), *others = feature_sets.items()
    rows = {name: sum(map(len, data.splits.values())) for name, data in feature_sets.items()}
    for name, why in (("validation", "to choose a setting on"), ("test", "to judge it on")):
        if name not in reference.splits:
            raise InputError(f"{first}: has no {name} split {why}")
    for other, data in others:
        both = f"{first} and {other} are not of the same rows"
        if reference.multilabel and data.class_names != reference.class_names:
            raise InputError(f"{both}: their labels differ, or stand in another order")
        for split in SPLIT_NAMES:
            sizes = [len(one.splits.get(split, ())) for one in (reference, data)]
            if sizes[0] != sizes[1]:
                raise InputError(
                    f"{both}: {sizes[0]:,} and {sizes[1]:,} in the {split} split, "
                    f"{rows[first]:,} and {rows[other]:,} in all"
                )
            expected, found = (_labels(one, split) for one in (reference, data))
            differ = np.flatnonzero((expected != found).any(axis=1))
            if differ.size:
                row = differ[0]
                raise InputError(
                    f"{both}: row {row} of the {split} split is of class "
                    f"{_words(reference, expected[row])} in one and {_words(data, found[row])} in "
                    "the other"
                )


def _labels(data: Dataset, split: str) -> NDArray[Any]:
    """Return the class name of every row of a split (N, 1), or its labels (N, L)."""
    y = data.splits[split].y if split in data.splits else np.empty(0, np.intp)
    return y if y.ndim == 2 else np.array(data.class_names)[y][:, None]


def _words(data: Dataset, labels: NDArray[Any]) -> str:
    """Return the name of a class, or of the labels of a row, for a message."""
    if data.multilabel:
        return " + ".join(itertools.compress(data.class_names, labels)) or "none of the labels"
    return str(labels[0])
