"""Samples from named arrays: features and labels, found by their names, read and pooled."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.array_names import (
    NOTHING,
    Look,
    find_arrays,
    find_features,
    means_features,
    means_labels,
    means_pictures,
    set_of,
)
from onelayer.data.columns import listed
from onelayer.data.contents import FEWEST, Arrays, Contents, Part, check_shapes
from onelayer.data.derived import kind_of, widened
from onelayer.data.labels import check_label_shape
from onelayer.data.npy import Mapped
from onelayer.data.pooling import check_pooled, pooled, pooling_of
from onelayer.errors import InputError

Beside = Callable[[], Mapping[str, tuple[Path, Any]]]  # values of files beside arrays, by name
Read = Callable[[Sequence[str]], Mapping[str, Any]]  # arrays, by name


def read_labelled(
    source: str,
    names: Iterable[str],
    read: Read,
    look: Look | None = None,
    *,
    feature_set: str | None = None,
    pool: str | None = None,
    of_rows: Mapping[str, str] = NOTHING,
    title: Callable[[str], str] = str,
    sound: bool = False,
    beside: Beside = dict,
) -> Contents:
    """Return the samples of the arrays that find_arrays finds; `read` reads the arrays.

    `look` returns the shape and type in a header. If headers are `sound`, that is already checked,
    shapes are checked before any array is read. `title` returns the name of an array for a message.
    If no array holds labels, those `beside` the arrays are taken. Tokens (N, T, D) are pooled by
    `pool`.

    Raises
    ------
    InputError
        As find_arrays, check_pooled and `read`, or if the class names are not strings.
    """
    names = list(names)
    outside = {} if any(map(means_labels, names)) else beside()
    titles = {name: file.name for name, (file, _) in outside.items()}
    _refuse_samples(source, names, look)
    found = find_arrays(source, [*names, *outside], look, feature_set, of_rows)
    wanted = [name for pair in found.parts.values() for name in pair]
    if look is not None and sound and not outside:
        for X, y in found.parts.values():
            _judge(source, title, (X, look(X)), (y, look(y)), pool)
    told_of_rows = [*found.of_rows.values(), *found.rows.values()]
    wanted += [*filter(None, [found.class_names]), *told_of_rows]
    arrays = {
        **read([name for name in wanted if name not in outside]),
        **{name: values for name, (_, values) in outside.items()},
    }

    def called(name: str) -> str:
        return titles.get(name) or title(name)

    parts = {
        split: _part(source, called, arrays, names, pool) for split, names in found.parts.items()
    }
    values = {role: _unmapped(arrays[name]) for role, name in found.of_rows.items()}
    called_of = {role: called(name) for role, name in found.of_rows.items()}
    if found.rows:
        values["split"] = {s: _unmapped(arrays[name]) for s, name in found.rows.items()}
        called_of["split"] = ", ".join(called(name) for name in found.rows.values())
    X, y = found.parts["train"]
    told = Arrays(
        *(set_of(X), called(y), pooling_of(_stored(arrays[X]).shape, pool)),
        **called_of,
        certain=means_features(X) and not outside,
        kind=kind_of(_stored(arrays[X])),
        shape=tuple(_stored(arrays[X]).shape[1:]),
    )
    contents = Contents(parts, notes=found.notes, of_rows=values, arrays=told)
    if found.class_names is None:
        return contents
    classes = np.asarray(_unmapped(arrays[found.class_names]))
    if classes.dtype.kind not in "UT" or classes.ndim != 1:
        raise InputError(f"{source}: {found.class_names} of {classes.dtype}, expected strings")
    return replace(contents, class_names=tuple(map(str, classes.tolist())))


def read_features(
    source: str,
    names: Iterable[str],
    read: Read,
    *,
    feature_set: str | None = None,
    pool: str | None = None,
) -> list[Any]:
    """Return the arrays that find_features finds, pooled; `read` reads them."""
    wanted = find_features(source, names, feature_set)
    arrays = read(wanted)
    return [poolable(source, name, _unmapped(arrays[name]), pool) for name in wanted]


def poolable(source: str, name: str, X: Any, pool: str | None) -> Any:
    """Return the features X, called `name`, pooled; InputError as check_pooled."""
    check_pooled(f"{source}: {name}", X.shape, kind_of(X), pool, pictures=means_pictures(name))
    return pooled(widened(X), pool)


def _part(
    source: str,
    title: Callable[[str], str],
    arrays: Mapping[str, Any],
    names: tuple[str, str],
    pool: str | None,
) -> Part:
    """Return the samples in the two arrays `names`; features may be mapped from a file."""
    (X, y), (of_X, of_y) = (arrays[name] for name in names), map(title, names)
    labels, stored = _unmapped(y), _stored(X)
    _check_rows(source, of_X, stored.shape, of_y, np.shape(labels)[:1])
    samples = poolable(source, of_X, stored, pool)
    in_memory = not isinstance(X, Mapped) or pooling_of(stored.shape, pool) not in (None, "none")
    return Part(samples, labels, () if in_memory else (X,))


def _judge(
    source: str,
    title: Callable[[str], str],
    features: tuple[str, tuple[Sequence[int], str] | None],
    labels: tuple[str, tuple[Sequence[int], str] | None],
    pool: str | None,
) -> None:
    """Raise InputError for headers whose shapes labelled samples cannot have."""
    (X, of_X), (y, of_y) = features, labels
    if of_X is None or of_y is None:
        return
    (shape, kind), (rows, _) = of_X, of_y
    _check_rows(source, title(X), shape, title(y), rows)
    check_label_shape(source, rows)
    check_pooled(f"{source}: {title(X)}", shape, kind, pool, pictures=means_pictures(X))
    pooling = pooling_of(shape, pool)
    check_shapes(source, shape if pooling is None else (*shape[:1], shape[-1]), rows)


def _refuse_samples(source: str, names: Sequence[str], look: Look | None) -> None:
    """Raise InputError for one array a sample, named after its sample."""
    if look is None or len(names) < FEWEST or any(map(means_features, names)):
        return
    first, *others = [look(name) for name in names]
    single = first is not None and len(first[0]) == 1 and "float" in first[1]
    if single and all(other == first for other in others):
        raise InputError(
            f"{source}: {len(names):,} arrays of one sample each: {listed(names)}; expected them "
            "as rows of one array, X = numpy.stack([arrays[name] for name in names]), and labels y "
            "in this order"
        )


def _check_rows(source: str, X: str, shape: Sequence[int], y: str, rows: Sequence[int]) -> None:
    if len(rows) and shape[:1] != rows[:1]:
        raise InputError(
            f"{source}: {X}: features of the shape {(*shape,)}, labels of {rows[0]:,} in {y}"
            + "; layers (L, N, D) are arrays of their own: layer0=X[0], layer1=X[1], …"
            * (len(shape) == 3 and shape[1] == rows[0])
        )


def _stored(array: Any) -> Any:
    return array.array if isinstance(array, Mapped) else array


def _unmapped(array: Any) -> Any:
    """Return an array in memory; an array of a mapped file is copied."""
    return np.array(array.array) if isinstance(array, Mapped) else array
