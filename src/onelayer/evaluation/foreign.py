"""Predictions or weights of another program: rows of a CSV file, or arrays W and b."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.cells import read_number
from onelayer.data.contents import as_seen
from onelayer.data.dataset import Dataset, find_split
from onelayer.data.formats.npz import npz_arrays
from onelayer.data.formats.tensors import safetensors_arrays, safetensors_metadata
from onelayer.data.formats.text import open_text
from onelayer.data.scaling import fit_scaling
from onelayer.errors import InputError
from onelayer.records import KEY
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters

PREDICTED = (
    "prediction", "predictions", "predicted", "predicted_label", "predicted_class", "pred",
    "y_pred", "label", "class", "target",
)  # fmt: skip
_WEIGHTS, _BIASES = (
    ("w", "weight", "weights", "coef_", "coef"),
    ("b", "bias", "biases", "intercept_"),
)
_ROUNDING = 0.01  # of probabilities that were written with few decimals

Array = NDArray[Any]


@dataclass(frozen=True)
class ForeignPredictions:
    """The predicted class (N,) of each row, its probabilities (N, K) if known, and a note."""

    source: str
    called: NDArray[np.intp]
    probabilities: NDArray[np.float64] | None
    note: str


def holds_predictions(path: Path) -> bool:
    """Whether the suffix of a path is that of a table of predictions."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def is_foreign(path: Path) -> bool:
    """Whether a path is a table of predictions, or a file of arrays that onelayer did not write."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors" and path.is_file():
        return KEY not in safetensors_metadata(path)
    return path.is_file() and (holds_predictions(path) or suffix == ".npz")


def read_predictions(path: Path, data: Dataset, split: str) -> ForeignPredictions:
    """Read predictions of all rows of a split, in its order.

    There is a column of probabilities for each class, named like the class; or one column of
    predicted labels, with a name of PREDICTED or alone. Other columns are left out.

    Raises
    ------
    InputError
        If there are no such columns, the number of rows is wrong, a label is not a class, or the
        probabilities of a row do not sum to 1; names the row.
    """
    find_split(data, split)
    classes = {as_seen(name): k for k, name in enumerate(data.class_names)}
    with open_text(path) as text:
        rows = iter(text)
        first = [as_seen(cell) for cell in next(rows, [])]
        if not first:
            raise InputError(f"{path}: has no rows; expected predictions, a line each")
        places = {name: place for place, name in enumerate(first)}
        if missing := [name for name in data.class_names if as_seen(name) not in places]:
            column, words = _label_column(path, first, classes, missing)
            lines = itertools.chain([] if words else [first], rows)
            labels = [cells[column] for cells in _even(path, first, lines)]
            called, how = _classes_of(path, labels, classes)
            _check_rows(path, len(called), data, split)
            found = f"predicted labels{words}{how}"
            return ForeignPredictions(str(path), called, None, _note(path, found, called))
        columns = [places[name] for name in classes]
        P = _probabilities(path, data, ([c[k] for k in columns] for c in _even(path, first, rows)))
    _check_rows(path, len(P), data, split)
    called = P.argmax(axis=1)
    others = [name for name in first if name not in classes]
    found = f"a probability for each of {len(classes):,} classes"
    found += f", without the column {others[0][:40]!r}" if len(others) == 1 else ""
    found += f", without {len(others):,} other columns" if len(others) > 1 else ""
    return ForeignPredictions(str(path), called, P, _note(path, found, called))


def _note(path: Path, found: str, called: NDArray[np.intp]) -> str:
    return f"{path}: {found}, of {len(called):,} rows"


def _label_column(
    path: Path, first: Sequence[str], classes: dict[str, int], missing: Sequence[str]
) -> tuple[int, str]:
    """Return the index of the column of predicted labels, and words with its name, or ""."""
    if len(first) == 1:
        return 0, "" if first[0] in classes else f" in the column {first[0][:40]!r}"
    plain = [name.lower().replace(" ", "_").replace("-", "_") for name in first]
    for name in PREDICTED:
        if name in plain:
            return plain.index(name), f" in the column {first[plain.index(name)]!r}"
    if len(missing) < len(classes):
        raise InputError(
            f"{path}: has columns for {len(classes) - len(missing):,} of {len(classes):,} classes, "
            f"none for {missing[0]!r}"
        )
    raise InputError(
        f"{path}: no column of predictions; expected one called {', '.join(PREDICTED[:2])} or "
        f"label, or one for each class: {', '.join([*classes][:5])}{', …' * (len(classes) > 5)}"
    )


def _even(path: Path, first: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterable[Any]:
    for number, cells in enumerate(lines):
        if len(cells) != len(first):
            raise InputError(
                f"{path}: row {number} has {len(cells):,} cells, the first line {len(first):,}"
            )
        yield cells


def _classes_of(
    path: Path, labels: Sequence[str], classes: dict[str, int]
) -> tuple[NDArray[np.intp], str]:
    """Return the class of each label: by name, or by index if all labels are indices."""
    texts = {label: as_seen(label) for label in set(labels)}
    whole = {label: _whole(text) for label, text in texts.items()}
    named = {
        label: classes.get(text, classes.get(f"{whole[label]}")) for label, text in texts.items()
    }
    if None not in named.values():
        return np.array([named[label] for label in labels], np.intp), ""
    if all(number is not None and 0 <= number < len(classes) for number in whole.values()):
        return np.array([whole[label] for label in labels], np.intp), ", as places of the classes"
    row = next(row for row, label in enumerate(labels) if named[label] is None)
    raise InputError(
        f"{path}: row {row}: {labels[row][:40]!r} is none of the {len(classes):,} classes: "
        f"{', '.join([*classes][:5])}{', …' * (len(classes) > 5)}"
    )


def _whole(text: str) -> int | None:
    number = read_number(text)
    return int(number) if number is not None and number % 1 == 0 else None


def _probabilities(path: Path, data: Dataset, rows: Iterable[Sequence[str]]) -> NDArray[np.float64]:
    found = []
    for number, cells in enumerate(rows):
        values = [read_number(cell) for cell in cells]
        if None in values:
            k = values.index(None)
            raise InputError(
                f"{path}: row {number}, column {data.class_names[k]!r:.42}: found "
                f"{cells[k][:40]!r}, expected a probability"
            )
        found.append(np.array(values, np.float64))
        total = found[-1].sum()
        if not (found[-1] >= 0).all() or not abs(total - 1) <= _ROUNDING:
            raise InputError(
                f"{path}: row {number}: probabilities from {found[-1].min():g} that sum to "
                f"{total:g}; expected 0 or more each and a sum of 1 (of scores, their softmax)"
            )
        found[-1] /= total
    return np.array(found).reshape(-1, data.n_classes)


def _check_rows(path: Path, rows: int, data: Dataset, split: str) -> None:
    if rows != len(data.splits[split]):
        raise InputError(
            f"{path}: predictions of {rows:,} rows; the {split} split of {data.name} has "
            f"{len(data.splits[split]):,}, in the order of which they are expected"
        )


def read_weights(path: Path, data: Dataset) -> tuple[Classifier, str]:
    """Return the network of the arrays W (K, D) or (D, K), and b (K,), and a note on it.

    The arrays belong to features as they are stored, and to the classes in their order. For two
    classes W may be a single row, of the second against the first, as in scikit-learn.

    Raises
    ------
    InputError
        If there is no W, or the shapes are wrong.
    """

    def choose(names: Sequence[str]) -> list[str]:
        some = [_the_one(path, names, known) for known in (_WEIGHTS, _BIASES)]
        if some[0] is None:
            raise InputError(
                f"{path}: holds {', '.join(names[:5])[:80] or 'nothing'}; expected W and b, or "
                "weight and bias"
            )
        return [name for name in some if name is not None]

    read = npz_arrays if path.suffix.lower() == ".npz" else safetensors_arrays
    arrays = read(path, choose)
    name, *others = arrays
    K, D = data.n_classes, data.n_features
    W, b = (np.asarray(array) for array in (arrays[name], np.zeros(K)))
    for array in arrays.values():
        if np.asarray(array).dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} of {np.asarray(array).dtype}, expected numbers")
    binary = K == 2 and W.size == D
    if not binary and W.shape not in ((K, D), (D, K)):
        raise InputError(
            f"{path}: {name} of the shape {W.shape}; expected ({K}, {D}) or ({D}, {K}), of the "
            f"{K:,} classes and {D:,} features of {data.name}"
        )
    turned = W.shape != (K, D) and not binary
    if others:
        b = np.asarray(arrays[others[0]])
        if b.size != (1 if binary else K):
            raise InputError(
                f"{path}: {others[0]} of the shape {b.shape}; expected ({1 if binary else K},)"
            )
    kind = np.float32 if W.dtype == np.float32 else np.float64
    W, b = (W.T if turned else W).astype(kind), b.astype(kind).ravel()
    if binary:  # the scores 0 and w x + b have the same softmax as the sigmoid
        w = W.ravel()
        W, b = np.stack([0 * w, w]), np.array([0, b[0] if others else 0], kind)
    model = Classifier(
        np.ascontiguousarray(W),
        b,
        fit_scaling("none", data),
        data.class_names,
        data.image_shape,
        data.full_scale,
        Hyperparameters(),
        dataset="",
        digests={},
        version="",
        columns=data.columns,
    )
    told = f"{name} {(*np.shape(arrays[name]),)} and {others[0] if others else 'no biases'}"
    stored = "" if data.full_scale == 1 else f" (0 to {data.full_scale:g})"
    return model, (
        f"{path}: {told}, of features as they are stored{stored} and classes in their order; "
        "probabilities are the softmax of the scores"
    )


def _the_one(path: Path, names: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the only array whose name, after the last point, is a known one, or None."""
    found = [name for name in names if name.rsplit(".", 1)[-1].lower() in known]
    if len(found) > 1:
        raise InputError(
            f"{path}: {' and '.join(found[:2])} may both be meant; expected one layer, W and b"
        )
    return found[0] if found else None
