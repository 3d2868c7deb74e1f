"""Multi-label data: a matrix of 0 and 1 with a column for each label, in place of classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.cells import is_missing, read_number
from onelayer.data.columns import listed
from onelayer.data.dataset import Split
from onelayer.data.splitting import Weights, strata_of, subset_weights
from onelayer.errors import InputError

_TRUTHS = {"true": 1.0, "false": 0.0}


def is_matrix(labels: Any) -> bool:
    """Return whether labels, not encoded yet, are a matrix of several columns."""
    return isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] > 1


def encode_matrix(
    source: str, labels: Mapping[str, Any], names: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[np.intp]], tuple[str, ...]]:
    """Return the labels of each split as 0 and 1, (N, L), and their names, by default numbers.

    Raises
    ------
    InputError
        If a value is neither 0 nor 1 (names row and column), each row has exactly one label, as
        one-hot rows of classes do, or the number of labels differs between splits or from `names`.

    Examples
    --------
    >>> Y, names = encode_matrix("data", {"train": np.array([[True, False], [True, True]])})
    >>> Y["train"].tolist(), names
    ([[1, 0], [1, 1]], ('0', '1'))
    """
    shapes = {split: np.shape(some) for split, some in labels.items()}
    L = max(shape[-1] for shape in shapes.values() if len(shape) == 2)
    if any(len(shape) != 2 or shape[1] != L for shape in shapes.values()):
        told = ", ".join(f"{shape} in {split}" for split, shape in shapes.items())
        raise InputError(f"{source}: labels of the shapes {told}; expected as many in every split")
    if names is not None and len(names) != L:
        raise InputError(f"{source}: {len(names):,} names for {L:,} labels: {listed(names)}")
    called = tuple(map(str, range(L))) if names is None else tuple(names)
    Y = {
        split: _encode(f"{source}: {split}, " if len(labels) > 1 else f"{source}: ", some, called)
        for split, some in labels.items()
    }
    if all((some.sum(axis=1) == 1).all() for some in Y.values()):
        raise InputError(
            f"{source}: labels of the shape {next(iter(shapes.values()))}, each row with one label "
            "alone, as one-hot rows of classes: y.argmax(axis=1) gives the classes, (N,)"
        )
    return Y, called


def has_both(Y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the indices of the labels of Y (N, L) that some rows have and others lack."""
    return np.flatnonzero(Y.any(axis=0) & ~Y.all(axis=0))


def label_subset_weights(
    Y: NDArray[np.intp],
    fractions: Sequence[float],
    *,
    draws: int,
    seed: int,
    class_names: Sequence[str],
) -> Weights:
    """Return the sample weights (draws, F, N), 0 or 1, of subsets of the rows of Y (N, L).

    They are those of subset_weights for rows of one class: drawn from all rows alike, nested, and
    the same for all labels.

    Raises
    ------
    InputError
        If a subset has only rows with a label, or only rows without it, that Y has both of; or as
        subset_weights does.
    """
    weights = subset_weights(strata_of(Y), fractions, draws=draws, seed=seed)
    both = has_both(Y)
    for draw, nested in enumerate(weights, 1):
        for fraction, own in zip(fractions, nested, strict=True):
            kept = Y[own > 0]
            for label in np.setdiff1d(both, has_both(kept))[:1]:
                have = "have" if kept[0, label] else "lack"
                raise InputError(
                    f"fraction {fraction:g}: the {len(kept):,} rows of draw {draw} all {have} the "
                    f"label {class_names[label][:40]!r}, which {Y[:, label].sum():,} of {len(Y):,} "
                    "training rows have; take a larger fraction, or leave the label out"
                )
    return weights


def notes_on_labels(
    source: str, splits: Mapping[str, Split], names: Sequence[str]
) -> tuple[str, ...]:
    """Return notes on the labels, and on those that no row or every row of a split has."""
    several = f"{source}: {len(names):,} labels, of which a row may have several: {listed(names)}"
    notes = [several]
    for split, some in splits.items():
        found = some.y.sum(axis=0)
        for what, lack in (("no row", found == 0), ("every row", found == len(some))):
            if lack.any():
                who = listed([name for name, lacks in zip(names, lack, strict=True) if lacks])
                notes.append(f"{source}: {what} of {split} has {lack.sum():,} of them: {who}")
    return tuple(notes)


def _encode(where: str, labels: Any, names: Sequence[str]) -> NDArray[np.intp]:
    given: NDArray[Any] = np.asarray(labels)
    numbers = given
    if given.dtype.kind not in "biuf":
        texts, places = np.unique(given.astype(str), return_inverse=True)
        numbers = np.array([_number(text.strip()) for text in texts])[places].reshape(given.shape)
    wrong = np.argwhere((numbers != 0) & (numbers != 1))  # NaN too
    if len(wrong):
        row, label = wrong[0]
        found, why = numbers[row, label], ""
        if is_missing(str(given[row, label])):
            why = ": it is missing; leave the row out, or the label"
        elif np.isfinite(found) and found != np.rint(found):
            why = "; numbers to predict are a regression, which onelayer does not do"
        raise InputError(
            f"{where}row {row} holds {str(given[row, label])[:40]!r} for the label "
            f"{names[label][:40]!r}, expected 0 or 1 as in all {len(names):,} columns of "
            f"labels{why}"
        )
    return numbers.astype(np.intp)


def _number(text: str) -> float:
    number = _TRUTHS.get(text.lower(), read_number(text))
    return float("nan") if number is None else number
