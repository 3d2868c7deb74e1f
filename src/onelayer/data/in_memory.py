"""A Dataset from arrays and frames of other libraries, none of which is imported here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked, real_numbers, without_mask
from onelayer.data.arrays import read_labelled
from onelayer.data.columns import ENCODE, Choice, Columns, choose_columns, columns_called
from onelayer.data.contents import Contents, Part, feature_type, make_dataset
from onelayer.data.dataset import Dataset, ImageShape
from onelayer.data.words import Words, leave_out
from onelayer.errors import InputError, shown


@checked
def dataset_from(
    data: Any,
    labels: Any = None,
    *,
    name: str = "data",
    class_names: Sequence[str] | None = None,
    image_shape: ImageShape | None = None,
    full_scale: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Return the Dataset of samples that are in memory, with splits drawn from `seed`.

    `data` is an array or tensor (N, D) or of images, a pandas or polars frame, a scikit-learn
    bunch, or a mapping of arrays X_train, y_train, X_test and so on. `labels` (N,) are whole
    numbers or strings, or (N, L) of 0 and 1 if a row may have several of L labels. They go with an
    array or a frame. For a frame they may also be the name of its label column, or a list of
    several names; by default it is the column label, class, target or y, else the last. Splits,
    types and the full scale, unless it is given, follow docs/data.md.

    Raises
    ------
    InputError
        If the samples are sparse or invalid; says why.

    Examples
    --------
    >>> X = np.arange(40.0).reshape(20, 2)
    >>> data = onelayer.dataset_from(X, ["a", "b"] * 10)
    >>> data.class_names, {name: len(split) for name, split in data.splits.items()}
    (('a', 'b'), {'train': 14, 'validation': 3, 'test': 3})
    """
    contents = _contents(name, data, labels)
    if class_names is not None or image_shape is not None:
        names = contents.class_names if class_names is None else tuple(class_names)
        contents = replace(contents, class_names=names, image_shape=image_shape)
    return make_dataset(name, contents, name=name, seed=seed, full_scale=full_scale)


def _contents(name: str, data: Any, labels: Any) -> Contents:
    if isinstance(data, Mapping) and {"data", "target"} <= {*data}:  # a scikit-learn bunch
        X, targets = data["data"], data["target"]
        names = np.asarray(data.get("target_names", ()))
        known = names.ndim == 1 and names.size and np.asarray(targets).dtype.kind in "iu"
        contents = _frame(name, X, targets) if is_frame(X) else _arrays(name, X, targets)
        if columns := None if is_frame(X) else data.get("feature_names"):
            contents = replace(contents, columns=columns_called(name, columns))
        return replace(contents, class_names=tuple(map(str, names)) if known else None)
    if isinstance(data, Mapping):
        return read_labelled(
            name, data, lambda wanted: {key: _array(name, data[key]) for key in wanted}
        )
    if is_frame(data):
        return _frame(name, data, labels)
    if labels is None:
        raise InputError(f"{name}: labels are missing: dataset_from(X, y)")
    return _arrays(name, data, labels)


def rows_of(X: Any, columns: Columns | None) -> NDArray[Any]:
    """Return features (N, D): an array X, or the `columns` of a frame X by name, or all of them."""
    if not is_frame(X):
        return real_numbers("X", X)
    names = columns_called("the frame", X.columns).features
    wanted = range(len(names)) if columns is None else columns.places_in("the frame", names)
    return _frame_features("the frame", X, wanted)


def is_frame(data: Any) -> bool:
    """Return whether `data` is a frame of pandas or polars."""
    return hasattr(data, "columns") and type(data).__module__.partition(".")[0] in (
        "pandas",
        "polars",
    )


def _arrays(name: str, X: Any, y: Any) -> Contents:
    return Contents({"train": Part(_array(name, X), _array(name, y))}, _names_of(y))


def _frame(name: str, frame: Any, labels: Any) -> Contents:
    """Return the samples of a frame; `labels` are column names, None, or values."""
    names = columns_called(name, frame.columns).features
    called = _names_of(labels)
    if isinstance(labels, str | None) or _name_columns(labels, names):
        choice = choose_columns(name, names, labels)
        if choice.several:
            called = tuple(names[column] for column in choice.several)
            own = [frame[frame.columns[place]] for place in choice.several]
            labels = np.stack([_array(name, column) for column in own], axis=1)
        else:
            labels = frame[frame.columns[choice.label]]
    else:
        choice = Choice(range(len(names)), None, Columns(names))
    words = _words_in(name, frame, choice)
    columns = choice.columns.without(name, words, "words") if words else choice.columns
    places = [c for place, c in enumerate(choice.features) if place not in words]
    notes = (*choice.notes, *leave_out(name, [*words.values()]))
    part = Part(_frame_features(name, frame, places), _array(name, labels))
    return Contents({"train": part}, called, columns=columns, notes=notes)


def _names_of(labels: Any) -> tuple[str, ...] | None:
    """Return the column names of labels that are a frame of several columns, else None."""
    return tuple(map(str, labels.columns)) if is_frame(labels) and labels.shape[1] > 1 else None


def _name_columns(labels: Any, names: Sequence[str]) -> bool:
    """Return whether labels are a list of column names, not a label for each row."""
    return isinstance(labels, list | tuple) and bool(labels) and {*labels} <= {*names}


def _words_in(name: str, frame: Any, choice: Choice) -> dict[int, Words]:
    """Return the columns of texts and dates among the features, by index."""
    found = {}
    for place, (column, called) in enumerate(
        zip(choice.features, choice.columns.features, strict=True)
    ):
        values = frame[frame.columns[column]]
        if _as_numbers(values).dtype.kind not in "biufc":
            found[place] = Words(name, called)
            found[place].add_all(values.to_list())
    return found


def _frame_features(name: str, frame: Any, places: Sequence[int]) -> NDArray[Any]:
    """Return the columns at these indices as features (N, D), nulls as NaN."""
    if not places:
        raise InputError(f"{name}: no columns of features")
    labels = list(frame.columns)
    arrays = [_numbers(name, frame[labels[place]], labels[place]) for place in places]
    X = np.empty((len(frame), len(arrays)), feature_type(array.dtype for array in arrays))
    for place, values in enumerate(arrays):
        X[:, place] = values
    return X


def _as_numbers(column: Any) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy()
    if values.dtype.kind == "O" and str(column.dtype).startswith(("Int", "UInt", "Float", "bool")):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)  # pandas' nullable numbers
    return values


def _numbers(name: str, column: Any, label: Any) -> NDArray[Any]:
    values = _as_numbers(column)
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: the column {label!r} holds {column.dtype}, expected numbers; {ENCODE}"
        )
    return values


def _array(name: str, values: Any) -> NDArray[Any]:
    """Return an array, tensor or series as an array."""
    if hasattr(values, "toarray"):  # scipy's sparse matrices
        dense = np.prod([float(side) for side in values.shape]) * values.dtype.itemsize
        raise InputError(
            f"{name}: sparse features are not read: every sample is used in full, which takes "
            f"{dense:,.0f} bytes; if that fits into memory, give X.toarray()"
        )
    if hasattr(values, "detach"):  # a PyTorch tensor, wherever it is
        values = values.detach().cpu()
    try:
        array = without_mask(values)
    except ValueError as error:
        raise InputError(
            f"{name}: rows of several lengths, expected as many values in each"
        ) from error
    if array.ndim == 0:
        raise InputError(f"{name}: found {shown(values)}; expected an array, a frame or a mapping")
    return array
