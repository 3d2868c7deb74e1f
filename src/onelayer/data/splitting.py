"""Held-out rows: a validation split, folds of a cross-validation, subsets of the labels.

Folds and subsets are sample weights: the weight of a row is 0 in a model that must not train on it,
else 1. So all folds of all settings are models of one stack.

scikit-learn's splitters are referees in the tests. They are not used here: they refuse classes of a
single row, give less even folds of groups, and take a second to import.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.data.dataset import SPLIT_NAMES, SPLIT_WORDS, Split
from onelayer.data.derived import Derived, take
from onelayer.data.sample_weights import check_count
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError

Weights = NDArray[np.uint8]


def split_off(
    split: Split, samples: float, seed: int, class_names: Sequence[str] | None = None
) -> tuple[Split, Split]:
    """Return the rest of a split, and the validation split that is taken from it.

    `samples` is a share of the rows if it is below 1, else their number. Each class gives the same
    share of its rows, to a whole row (largest remainder); `seed` decides which rows. If the split
    has groups, whole groups are drawn, and `samples` is a share of the groups. Both parts keep the
    stored order, and are copies in memory, except Derived features. Errors name classes by
    `class_names`.

    Raises
    ------
    InputError
        If `samples` leaves either part empty or is no whole number, a class has too few rows to
        be in both parts, or a mapped file has changed since it was opened.
    """
    y = strata_of(split.y)
    labels, members = y, np.arange(len(split))
    if split.groups is not None:
        labels, members = label_groups(split.groups, y)
        samples = samples if 0 < samples < 1 else samples / len(split)
    N = len(labels)
    count = round(samples * N) if 0 < samples < 1 else samples
    if not 0 < count < N or count != int(count):
        raise InputError(
            f"{samples:g} samples to split off: "
            f"expected a share between 0 and 1, or a whole number from 1 to {N - 1}"
        )
    drawn = draw_stratified(labels, int(count), random_stream(seed, Stream.VALIDATION_SPLIT))
    held_out = drawn[members]
    classes, places, sizes = np.unique(y, return_inverse=True, return_counts=True)
    taken = np.bincount(places[held_out], minlength=len(sizes))
    missing = np.flatnonzero((taken == 0) | (taken == sizes))
    if missing.size:
        name = _class_name(classes[missing[0]], class_names)
        raise InputError(
            f"class {name} has {sizes[missing[0]]} of {len(split)} rows, "
            f"too few to be in both parts if {count:g} are split off"
        )
    split.check_unchanged()
    rest, held = (
        rows_of(split, rows) for rows in (np.flatnonzero(~held_out), np.flatnonzero(held_out))
    )
    return rest, held


def strata_of(y: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the class of each row as its stratum; one stratum for multi-label rows (N, L)."""
    return y if y.ndim == 1 else np.zeros(len(y), np.intp)


def rows_of(split: Split, rows: NDArray[np.intp]) -> Split:
    """Return some rows of a split, copied unless the features are Derived."""
    X = take(split.X, rows)
    groups = None if split.groups is None else split.groups[rows]
    return Split(X, split.y[rows], split.files if isinstance(X, Derived) else (), groups)


def label_groups(
    groups: NDArray[np.intp], y: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the most frequent label of each of G groups (G,), and the group of each row (N,).

    Examples
    --------
    >>> labels, members = label_groups(np.array([7, 7, 3, 7]), np.array([1, 0, 2, 1]))
    >>> labels.tolist(), members.tolist()
    ([2, 1], [1, 1, 0, 1])
    """
    members = np.unique(groups, return_inverse=True)[1]
    pairs, counts = np.unique(np.column_stack([members, y]), axis=0, return_counts=True)
    pairs = pairs[np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))]
    return pairs[np.unique(pairs[:, 0], return_index=True)[1], 1], members


def number_groups(where: str, values: ArrayLike, n_samples: int) -> NDArray[np.intp]:
    """Return the group number (N,) of each row, from the numbers or names of groups.

    Raises
    ------
    InputError
        If not every row has a group, or all rows have the same one; names `where`.
    """
    given = np.asarray(values)
    if given.shape != (n_samples,):
        raise InputError(
            f"{where}: groups of the shape {given.shape}, expected one for each of the "
            f"{n_samples:,} rows"
        )
    names, numbers = np.unique(given, return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{where}: all rows are of one group, so none can be held out")
    return numbers


def rows_of_splits(
    where: str, values: ArrayLike | Mapping[str, ArrayLike], n_samples: int
) -> dict[str, NDArray[np.intp]]:
    """Return the row numbers of each split.

    `values` is the split of each row (N,), by name or as 0, 1, 2. Or it maps each split to its row
    numbers, or to a mask (N,) of its rows; without "train" all other rows are training rows.

    Raises
    ------
    InputError
        If a row has no split or an unknown one, or a row number does not exist or comes twice;
        names `where` and the row.

    Examples
    --------
    >>> rows_of_splits("split.txt", ["train", "test", "train"], 3)["train"].tolist()
    [0, 2]
    """
    if isinstance(values, Mapping):
        return _rows_listed(where, values, n_samples)
    given = np.asarray(values)
    if given.shape != (n_samples,):
        raise InputError(
            f"{where}: splits of the shape {given.shape}, expected one for each of the "
            f"{n_samples:,} rows"
        )
    texts = (given.astype(np.int64) if given.dtype.kind in "bf" else given).astype(str)
    known = {**SPLIT_WORDS, **{str(place): name for place, name in enumerate(SPLIT_NAMES)}}
    found, places = np.unique(texts, return_inverse=True)
    splits = [known.get(text.strip().lower()) for text in found]
    if None in splits:
        wrong = splits.index(None)
        raise InputError(
            f"{where}: row {int((places == wrong).argmax())} has the split {found[wrong][:40]!r}; "
            f"expected {', '.join(SPLIT_NAMES)}, or 0, 1, 2 for them"
        )
    of_row = np.array(splits)[places]
    rows = {name: np.flatnonzero(of_row == name) for name in SPLIT_NAMES if name in splits}
    if "train" not in rows:
        raise InputError(f"{where}: no row trains; expected some of {', '.join(SPLIT_NAMES)}")
    return rows


def _rows_listed(
    where: str, values: Mapping[str, ArrayLike], n_samples: int
) -> dict[str, NDArray[np.intp]]:
    """Return the row numbers of each split from lists or masks: see rows_of_splits."""
    found: dict[str, NDArray[np.intp]] = {}
    owner = np.zeros(n_samples, np.intp)  # 1 + the index of a row's split, 0 for none
    for place, split in enumerate(SPLIT_NAMES):
        if split not in values:
            continue
        given = np.asarray(values[split])
        if given.shape == (n_samples,) and given.dtype == bool:
            given = np.flatnonzero(given)
        whole = given.dtype.kind in "iu" or (
            given.dtype.kind == "f" and bool((given == np.round(given)).all())
        )
        if given.ndim != 1 or not given.size or not whole:
            raise InputError(
                f"{where}: {split}: {given.dtype} of the shape {given.shape}, expected numbers of "
                f"rows, or true and false for each of the {n_samples:,}"
            )
        wrong = given[(given < 0) | (given >= n_samples)]
        if wrong.size:
            raise InputError(
                f"{where}: {split}: row {wrong[0]:.0f}; expected 0 to {n_samples - 1:,}, the rows "
                "counted from 0"
            )
        rows = given.astype(np.intp)
        numbers, counts = np.unique(rows, return_counts=True)
        again = numbers[(counts > 1) | (owner[numbers] > 0)]
        if again.size:
            other = SPLIT_NAMES[owner[again[0]] - 1] if owner[again[0]] else split
            raise InputError(
                f"{where}: row {again[0]} is in {other} and in {split}; expected it once"
            )
        owner[rows] = place + 1
        found[split] = rows
    rest = np.flatnonzero(owner == 0)
    if "train" not in found and not rest.size:
        raise InputError(f"{where}: no row trains; expected some that are not listed")
    return {"train": rest, **found} if "train" not in found else found


def check_groups_apart(where: str, groups: Mapping[str, NDArray[np.intp]]) -> None:
    """Raise InputError if rows of one group are in two splits."""
    for one, other in itertools.combinations(groups, 2):
        both = np.intersect1d(groups[one], groups[other])
        if both.size:
            raise InputError(
                f"{where}: {len(both):,} groups have rows in {one} and in {other}; expected all "
                "rows of a group in one split"
            )


def draw_stratified(
    y: NDArray[np.intp], count: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Return a mask (N,) of `count` random rows, with the same share of each class in y (N,).

    A share is a whole number of rows (largest remainder), which may be 0 for a small class.
    """
    _, places, sizes = np.unique(y, return_inverse=True, return_counts=True)
    drawn: NDArray[np.bool_] = _rank(y, sizes, generator) < _share_out(count, sizes)[places]
    return drawn


def fold_weights(
    y: NDArray[np.intp],
    folds: int,
    *,
    repeats: int = 1,
    seed: int,
    stratified: bool = True,
    groups: ArrayLike | None = None,
) -> Weights:
    """Return the sample weights (repeats · folds, N) of all folds: 0 for held-out rows, else 1.

    In each repeat each row is held out by one fold. The folds are of even size: they differ by at
    most one row and, stratified by the labels y (N,), by at most one row of each class.

    With `groups` (N,), numbers or names, all rows of a group are held out together. Groups are
    assigned from the largest to the smallest, each to the fold that keeps the folds most even, so
    repeats differ only in groups that are alike.

    Raises
    ------
    InputError
        If there are fewer than 2 folds, more than groups or than rows of the smallest class, no
        repeats, or not a group for every row.
    """
    strata = np.unique(y, return_inverse=True)[1] if stratified else np.zeros(len(y), np.intp)
    group_of_row = None if groups is None else _numbered(groups, len(y))[1]
    _check_folds(folds, repeats, strata, group_of_row)
    check_count("folds", folds, repeats, len(y))
    generator = random_stream(seed, Stream.FOLDS)
    return np.concatenate(
        [
            _hold_out(
                _deal_rows(strata, folds, generator)
                if group_of_row is None
                else _deal_groups(strata, group_of_row, folds, generator),
                folds,
            )
            for _ in range(repeats)
        ]
    )


def fold_weights_from(fold_of_row: ArrayLike, groups: ArrayLike | None = None) -> Weights:
    """Return the sample weights (F, N) of F given folds: 0 for held-out rows, else 1.

    Raises
    ------
    InputError
        If `fold_of_row` (N,) is not of whole numbers from 0 up, there are fewer than 2 folds, or a
        group is in two of them (see check_no_leak).
    """
    given = np.asarray(fold_of_row)
    if given.ndim != 1 or given.dtype.kind not in "iu" or (given < 0).any():
        raise InputError(
            f"folds of {given.dtype} and the shape {given.shape}: "
            "expected the number of a fold, 0 or more, for every row"
        )
    numbers, fold = np.unique(given, return_inverse=True)
    if len(numbers) < 2:
        raise InputError(f"{len(numbers)} fold in all: expected at least 2")
    weights = _hold_out(fold, len(numbers))
    if groups is not None:
        check_no_leak(weights, groups)
    return weights


def subset_weights(
    y: NDArray[np.intp],
    fractions: Sequence[float],
    *,
    draws: int,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> Weights:
    """Return the sample weights (draws, F, N), 0 or 1, of subsets that keep F fractions.

    From n rows of a class a fraction f keeps f·n, rounded. Within a draw the subsets are nested: a
    larger fraction adds rows to those of a smaller one. Errors name classes by `class_names`.

    Raises
    ------
    InputError
        If a fraction is not above 0 and at most 1, or keeps no row of a class; or no draws.
    """
    if draws < 1:
        raise InputError(f"draws {draws}: expected at least 1")
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise InputError(f"fraction {fraction:g}: expected a share above 0, at most 1")
    check_count("fractions", len(fractions), draws, len(y))
    classes, class_of_row, sizes = np.unique(y, return_inverse=True, return_counts=True)
    kept = np.rint(np.outer(fractions, sizes)).astype(np.intp)  # (F, classes)
    rarest = sizes.argmin()
    of = f" of class {_class_name(classes[rarest], class_names)}" if len(classes) > 1 else ""
    for fraction, row in zip(fractions, kept, strict=True):
        if row[rarest] == 0:
            raise InputError(
                f"fraction {fraction:g}: keeps none of the {sizes[rarest]} training rows{of}; "
                f"expected more than {0.5 / sizes[rarest]:.3g}"
            )
    generator = random_stream(seed, Stream.SUBSETS)
    weights = np.empty((draws, len(fractions), len(y)), np.uint8)
    for drawn in weights:
        drawn[:] = _rank(y, sizes, generator) < kept[:, class_of_row]
    return weights


def _rank(
    y: NDArray[np.intp], sizes: NDArray[np.intp], generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return the rank (N,) of every row within its class, in random order."""
    rank = np.empty(len(y), np.intp)
    rank[_by_class(y, generator)] = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def _class_name(label: int, class_names: Sequence[str] | None) -> str:
    return str(label) if class_names is None else class_names[label]


def check_no_leak(weights: NDArray[np.generic], groups: ArrayLike) -> None:
    """Raise InputError if a model trains on some rows of a group and holds out others.

    `weights` (M, N) are 0 on held-out rows, `groups` (N,) are numbers or names.
    """
    names, group_of_row = _numbered(groups, weights.shape[1])
    sizes = np.bincount(group_of_row)
    for model, row in enumerate(weights):
        held_out = np.bincount(group_of_row[row == 0], minlength=len(names))
        leaking = np.flatnonzero((held_out > 0) & (held_out < sizes))
        if leaking.size:
            group = leaking[0]
            raise InputError(
                f"group {names[group]} is on both sides: model {model} "
                f"holds out {held_out[group]} of its {sizes[group]} rows and trains on the others"
            )


def _share_out(count: int, sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the share of each class in `count`, in whole rows (largest remainder)."""
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    largest = np.argsort(-remainders, kind="stable")
    shares[largest[: count - shares.sum()]] += 1
    return np.asarray(shares)


def _by_class(y: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.intp]:
    """Return all rows, sorted by class and in random order within each."""
    rows = generator.permutation(len(y))
    return rows[np.argsort(y[rows], kind="stable")]


def _numbered(groups: ArrayLike, n_samples: int) -> tuple[NDArray[np.generic], NDArray[np.intp]]:
    """Return the names of the groups, and the group number of each row (N,)."""
    given = np.asarray(groups)
    if given.shape != (n_samples,):
        raise InputError(f"groups of the shape {given.shape}, expected ({n_samples},)")
    return np.unique(given, return_inverse=True)


def _check_folds(
    folds: int,
    repeats: int,
    strata: NDArray[np.intp],
    group_of_row: NDArray[np.intp] | None,
) -> None:
    if folds < 2:
        raise InputError(f"folds {folds}: expected at least 2")
    if repeats < 1:
        raise InputError(f"repeats {repeats}: expected at least 1")
    sizes = np.bincount(strata)
    if group_of_row is not None and folds > (G := group_of_row.max() + 1):
        raise InputError(f"folds {folds}: expected at most {G}, the number of groups")
    if group_of_row is None and folds > sizes.min():
        smallest = f"of the smallest of the {len(sizes)} classes" if len(sizes) > 1 else "there are"
        raise InputError(f"folds {folds}: expected at most {sizes.min()}, the rows {smallest}")


def _deal_rows(
    strata: NDArray[np.intp], folds: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return each row's fold: assigned in turn, class after class, so that folds are even."""
    fold = np.empty(len(strata), np.intp)
    fold[_by_class(strata, generator)] = np.arange(len(strata)) % folds
    return fold


def _deal_groups(
    strata: NDArray[np.intp],
    group_of_row: NDArray[np.intp],
    folds: int,
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Return each row's fold, the same for all rows of a group.

    A group has a share of the rows of each class, and of all rows. It goes to the fold where it
    adds least to the sum of squares of the folds' shares, which is smallest if all folds are alike.
    Empty folds come first, since there it adds least.
    """
    counts = np.zeros((group_of_row.max() + 1, strata.max() + 1))
    np.add.at(counts, (group_of_row, strata), 1)
    shares = np.column_stack([counts / counts.sum(axis=0), counts.sum(axis=1) / len(strata)])
    groups = generator.permutation(len(shares))
    groups = groups[np.argsort(-np.square(shares[groups]).sum(axis=1), kind="stable")]
    held = np.zeros((folds, shares.shape[1]))
    fold_of_group = np.empty(len(shares), np.intp)
    for group in groups:
        # (h + s)² − h² = 2 h s + s², of which the last term is the same for all folds
        fold = np.argmin(held @ shares[group])
        held[fold] += shares[group]
        fold_of_group[group] = fold
    return fold_of_group[group_of_row]


def _hold_out(fold_of_row: NDArray[np.intp], folds: int) -> Weights:
    """Return the weights (folds, N): 0 in the fold of the row, else 1."""
    return np.asarray(fold_of_row != np.arange(folds)[:, None], np.uint8)
