"""Roles of arrays and files, by their names: features or labels, and of which split.

A name is a list of words: X_train, trainX, x-train and train.X mean the same. Words that are
neither a role nor a split name one of several feature sets: train_layer1, or layer1 in the folder
train.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from onelayer.data.columns import LABEL_COLUMNS, NoLabelsError, listed
from onelayer.data.dataset import SPLIT_NAMES, SPLIT_WORDS
from onelayer.data.files import by_number
from onelayer.errors import InputError

CLASS_NAMES = ("class_names", "label_names", "target_names")
_FEATURES = (
    *("x", "data", "features", "feature", "feats", "feat", "embeddings", "embedding", "embeds"),
    *("inputs", "input", "vectors", "activations", "acts", "hidden", "states", "state"),
    *("representations", "representation", "reps", "latents", "latent", "emb", "embs", "embed"),
)
_PICTURES = ("images", "image", "imgs", "img", "pixels")
_CLASSES = ("class", "classes", "category", "categories")  # labels, or names of the classes
ROW_COLUMNS = ("split", "splits", "group", "groups")
_INDICES = ("idx", "idxs", "ids", "index", "indexes", "indices", "inds", "rows", "mask", "masks")
SAMPLE_TABLES = ("metadata", "meta", "annotations", "manifest")  # .csv with a column of labels
NOTHING: Mapping[str, str] = MappingProxyType({})
_UNNAMED = ("arr_0", "arr_1")  # the names that numpy.savez(path, X, y) gives
_ROLE_WORDS = {
    **dict.fromkeys((*_FEATURES, *_PICTURES), "X"),
    **dict.fromkeys((*LABEL_COLUMNS, *_CLASSES), "y"),
    **dict(zip(ROW_COLUMNS, ("split", "split", "groups", "groups"), strict=True)),
}

Look = Callable[[str], tuple[Sequence[int], str] | None]  # shape and type of an array, or None


@dataclass(frozen=True)
class Found:
    """The names of the arrays of features and labels of each split, and of class names, if any.

    `of_rows` names the arrays that hold the "split" and the "groups" of each row; `rows` names
    those that list the row numbers of each split.
    """

    parts: Mapping[str, tuple[str, str]]
    class_names: str | None
    notes: tuple[str, ...] = ()
    of_rows: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Meaning:
    """The meaning of a name: the role of the array, its split, and the other words."""

    role: str | None
    split: str
    others: tuple[str, ...]
    key: tuple[str, ...]  # all words except that of the split


def split_of(name: str) -> str | None:
    """Return the split that a word of `name` means; None for no split or several.

    Examples
    --------
    >>> split_of("mnist_train-00000-of-00002"), split_of("X_val"), split_of("data")
    ('train', 'validation', None)
    """
    splits = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def means_features(name: str) -> bool:
    """Return whether an array or column of this name holds features."""
    meaning = _meaning(name)
    return meaning.role == "X" and not meaning.others


def means_labels(name: str) -> bool:
    """Return whether an array or file of this name holds labels, or the names of classes."""
    return _meaning(name).role == "y" or name.lower() in CLASS_NAMES


def tells_of_rows(name: str) -> bool:
    """Return whether an array or file of this name assigns rows to splits or groups.

    It holds the split or group of each row, or the row numbers of a split, as train_idx does.
    """
    return bool(split_of_rows(name) or role_of_rows(name))


def role_of_rows(name: str) -> str | None:
    """Return "split" or "groups" if an array of this name holds one of them for each row."""
    meaning = _meaning(name)
    of_rows = meaning.role in ("split", "groups") and meaning.key == (*_words(name),)
    return meaning.role if of_rows and not meaning.others else None


def split_of_rows(name: str) -> str | None:
    """Return the split whose row numbers an array of this name lists; None if it lists none.

    Examples
    --------
    >>> split_of_rows("train_idx"), split_of_rows("val_mask"), split_of_rows("idx")
    ('train', 'validation', None)
    """
    meaning = _meaning(name)
    return split_of(name) if meaning.role == "rows" and not meaning.others else None


def set_of(name: str) -> str:
    """Return the name of a feature set: the name of an array or file without its split and X.

    Examples
    --------
    >>> set_of("train_layer1"), set_of("layer1-test"), set_of("val/layer1"), set_of("layer1/X")
    ('layer1', 'layer1', 'layer1', 'layer1')
    """
    for word in _words(name):
        if word in SPLIT_WORDS:
            name = re.sub(word, "", name, count=1, flags=re.IGNORECASE)
    name = re.sub(r"([-_. /])[-_. /]+", r"\1", name).strip("-_. /")
    return "/".join(part for part in name.split("/") if not means_features(part)) or name


def find_sets(names: Iterable[str], look: Look) -> list[str]:
    """Return the names of the feature sets among the arrays; empty unless there are several.

    A name like X means the only features. Other arrays are feature sets if they hold decimals or
    bytes in at least two dimensions and have a training part.
    """
    names = list(names)
    if any(map(means_features, names)):
        return []
    sets = _sets_among(names, look)
    return [set_of(split["train"]) for split in sets.values()] if len(sets) > 1 else []


def several_sets(source: str, names: Iterable[str]) -> InputError:
    """Return the error for several feature sets where one is expected."""
    called = sorted(names, key=by_number)
    return InputError(
        f"{source}: {len(called):,} sets of features: {listed(called)}; --feature-set names one of "
        "them, and onelayer probe takes them all"
    )


def find_arrays(
    source: str,
    names: Iterable[str],
    look: Look | None = None,
    feature_set: str | None = None,
    of_rows: Mapping[str, str] = NOTHING,
) -> Found:
    """Return the arrays that hold the features and labels of each split; without splits "train".

    Names like X, y, data and labels count, alone or with a split: X_train, val_labels. Without such
    features they are the `feature_set`, or the only other array that may be one (see find_sets);
    labels that share words with it belong to it. `of_rows` names the arrays of the "groups" and the
    "split" of the rows, if their own names do not say so. A test split without labels and arrays
    without a role are left out, with a note.

    Raises
    ------
    NoLabelsError
        If there are features and no labels.
    InputError
        If two names mean the same, a split lacks features or labels, `feature_set` does not exist,
        or several exist and none is chosen.
    """
    names = list(names)
    seen = f"arrays: {listed(names) or 'none'}"
    if sorted(names) == [*_UNNAMED] and feature_set is None:
        note = f"{source}: arrays without names are taken for features and labels, in their order"
        return Found({"train": _UNNAMED}, None, (note,))
    chosen = _choose_set(source, names, look, feature_set)
    roles = _find_roles(source, names, chosen)
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
    of_rows = _find_of_rows(source, names, of_rows) if len(parts) == 1 or of_rows else {}
    rows = {} if "split" in of_rows or len(parts) > 1 else _find_rows(source, names)
    used = {class_names, *unlabelled, *of_rows.values(), *rows.values()}
    used |= {name for pair in parts.values() for name in pair}
    notes = [f"{source}: {name!r} has no labels and is not used" for name in unlabelled]
    sets = _sets_among(names, look) if look and chosen else {}
    used |= {name for some in sets.values() for name in some.values()}
    used |= {name for name in names if any(_is_own(name, {*key}) for key in sets)}
    if unused := [name for name in names if name not in used]:
        pairs = ", ".join(f"{X!r} and {y!r}" for X, y in parts.values())
        notes.append(f"{source}: features and labels are {pairs}; not used: {listed(unused)}")
    return Found(parts, class_names, tuple(notes), of_rows, rows)


def find_features(source: str, names: Iterable[str], feature_set: str | None = None) -> list[str]:
    """Return the names of the features: X, or X_train and so on in the order of the splits.

    Labels may be missing. If no name means features, a single array is taken as the features.

    Raises
    ------
    InputError
        If two names mean the same, or there are several arrays and no name means features.
    """
    names = list(names)
    meanings = {name: _meaning(name) for name in names}
    if feature_set is not None:
        found = {name: split for split, name in _named(source, names, feature_set).items()}
        return sorted(found, key=lambda name: SPLIT_NAMES.index(found[name]))
    found = {
        name: meaning.split
        for name, meaning in meanings.items()
        if meaning.role == "X" and not meaning.others
    }
    if sorted(names) == [*_UNNAMED]:
        found = {_UNNAMED[0]: "train"}
    if not found:
        rest = [n for n in names if meanings[n].role in (None, "X") and not tells_of_rows(n)]
        found = {name: split_of(name) or "train" for name in rest}
    if not found or len(set(found.values())) < len(found):
        seen = listed(names) or "none"
        raise InputError(f"{source}: arrays: {seen}; expected X, or X_train, X_test and so on")
    return sorted(found, key=lambda name: SPLIT_NAMES.index(found[name]))


def means_pictures(name: str) -> bool:
    """Return whether an array of this name holds pictures."""
    return any(word in _PICTURES for word in _words(name))


def _sets_among(names: Sequence[str], look: Look) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the arrays of each feature set by split; see find_sets."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        meaning = _meaning(name)
        if meaning.role not in (None, "X") or not meaning.split or name.lower() in CLASS_NAMES:
            continue
        looks = look(name)
        if looks and len(looks[0]) >= 2 and ("float" in looks[1] or looks[1] in ("uint8", "int8")):
            found.setdefault(meaning.key, {}).setdefault(meaning.split, name)
    return {key: split for key, split in found.items() if "train" in split}


def _choose_set(
    source: str, names: Sequence[str], look: Look | None, feature_set: str | None
) -> dict[str, str]:
    """Return the arrays of the chosen feature set by split; empty if a name like X exists."""
    if feature_set is not None:
        return _named(source, names, feature_set)
    if look is None or any(map(means_features, names)) or not any(map(means_labels, names)):
        return {}
    sets = _sets_among(names, look)
    if len(sets) > 1:
        raise several_sets(source, (set_of(split["train"]) for split in sets.values()))
    return next(iter(sets.values()), {})


def _named(source: str, names: Sequence[str], feature_set: str) -> dict[str, str]:
    """Return the arrays of this feature set by split; InputError if there are none."""
    wanted, found = _meaning(feature_set).key, dict[str, str]()
    meanings = {name: m for name in names if (m := _meaning(name)).split and m.role in (None, "X")}
    exact = [name for name, meaning in meanings.items() if meaning.key == wanted]
    for name in exact or [name for name, meaning in meanings.items() if meaning.others == wanted]:
        split = meanings[name].split
        if split in found:
            raise InputError(f"{source}: both {found[split]!r} and {name!r} mean the same")
        found[split] = name
    if not found:
        raise InputError(f"{source}: no set of features {feature_set!r}; arrays: {listed(names)}")
    return found


def _find_roles(
    source: str, names: Sequence[str], chosen: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the names of the features "X" and labels "y" of each split; one may be missing.

    If features are `chosen`, labels that share all their other words with them belong to them.
    """
    found: dict[str, dict[str, str]] = {split: {"X": name} for split, name in chosen.items()}
    words = {word for name in chosen.values() for word in _meaning(name).others}
    own = {name for name in names if _is_own(name, words)}
    certain_first = sorted(names, key=lambda name: bool(set(_words(name)) & set(_CLASSES)))
    for name in sorted(certain_first, key=lambda name: name not in own):
        meaning = _meaning(name)
        role, split = meaning.role, meaning.split
        if role not in ("X", "y") or not split or (role == "X" and chosen):
            continue
        if meaning.others and name not in own:
            continue
        pair = found.setdefault(split, {})
        kept = pair.get(role) in own and name not in own
        if role in pair and _words(name)[-1] not in _CLASSES and not kept:
            raise InputError(
                f"{source}: both {pair[role]!r} and {name!r} mean the same, "
                f"{'features' if role == 'X' else 'labels'}; expected one of them"
            )
        pair.setdefault(role, name)
    return found


def _is_own(name: str, words: set[str]) -> bool:
    """Return whether an array holds labels whose other words are all among `words`."""
    meaning = _meaning(name)
    return meaning.role == "y" and bool(meaning.others) and words >= {*meaning.others}


def _find_of_rows(source: str, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the arrays that hold the split and the group of each row, if any."""
    found = dict(given)
    for name in given.values():
        if name not in names:
            raise InputError(f"{source}: no file {name} and no such array: {listed(names)}")
    for name, role in ((name, role) for name in names if (role := role_of_rows(name))):
        if role in given:
            continue
        if role in found:
            raise InputError(f"{source}: both {found[role]!r} and {name!r} mean the same")
        found[role] = name
    return found


def _find_rows(source: str, names: Sequence[str]) -> dict[str, str]:
    """Return the arrays that list the row numbers of each split, if any."""
    found: dict[str, str] = {}
    for name in names:
        split = split_of_rows(name)
        if split in found:
            raise InputError(f"{source}: both {found[split]!r} and {name!r} mean the same")
        if split:
            found[split] = name
    return found


def _meaning(name: str) -> _Meaning:
    """Return the meaning of a name. Among several roles the last one counts.

    So image_features are features, and image_labels are labels.
    """
    words = _words(name)
    roles = [_ROLE_WORDS[word] for word in words if word in _ROLE_WORDS]
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    others = tuple(word for word in words if word not in _ROLE_WORDS and word not in SPLIT_WORDS)
    if splits and others and not roles and {*others} <= {*_INDICES}:
        roles, others = ["rows"], ()
    key = tuple(word for word in words if word not in SPLIT_WORDS)
    if len(splits) > 1 or not key:
        return _Meaning(None, "", others, key)
    return _Meaning(roles[-1] if roles else None, splits[0] if splits else "train", others, key)


def _words(name: str) -> list[str]:
    """Return the words of a name: trainX, train_X and X-Train are train and x."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+", name[:200])
    words = []
    for part in map(str.lower, parts):
        glued = part[:1] in "xy" and part[1:] in SPLIT_WORDS  # xtrain
        words += [part[0], part[1:]] if glued else [part]
    return words
