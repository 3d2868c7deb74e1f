"""Parquet and Arrow (Feather): columns of numbers, or one of lists or pictures, and labels."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.array_names import means_features
from onelayer.data.arrays import poolable
from onelayer.data.columns import (
    LABEL_COLUMNS,
    Choice,
    Columns,
    NoLabelsError,
    Tell,
    choose_columns,
    listed,
)
from onelayer.data.contents import Arrays, Contents, Part
from onelayer.data.files import check_file
from onelayer.data.formats.arrow_columns import (
    Numbers,
    Pictures,
    check_length,
    is_picture,
    is_text,
    is_vector,
    number_type,
    read_labels,
    texts_of,
)
from onelayer.data.formats.images import stack_pictures, told_of_transparent
from onelayer.data.formats.picture import Encoded
from onelayer.data.pooling import pooling_of
from onelayer.data.words import Words, leave_out
from onelayer.errors import InputError

_ROWS = 1024  # decoded together
_BUFFER = 4096  # bytes of each column; without it all columns of a row group lie in memory
_LONGEST_TEXT, _MOST_ITEMS = 1 << 22, 1 << 20  # in the header of a Parquet file
_FILE = b"ARROW1"  # the first bytes of an Arrow file; a stream has no such mark
_FEATHER_1 = b"FEA1"  # no library writes it any more
_DAMAGE = (OSError, EOFError, ValueError, LookupError, NotImplementedError)


@dataclass(frozen=True)
class _Table:
    """An open file: its columns, and a function that reads some of them in batches of rows.

    `batches(choice)` returns the number of rows and the record batches.
    """

    path: Path
    schema: Any
    batches: Callable[[Choice], tuple[int, Iterator[Any]]]

    @cached_property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        """The class names of each column, where the metadata of Hugging Face's datasets has any."""
        try:
            features = json.loads(self.schema.metadata[b"huggingface"])["info"]["features"]
            named = {column: feature.get("names") for column, feature in features.items()}
        except (LookupError, RecursionError, TypeError, ValueError, AttributeError):
            return {}
        return {
            column: tuple(names)
            for column, names in named.items()
            if isinstance(names, list) and all(isinstance(name, str) for name in names)
        }


Open = Callable[[Path], AbstractContextManager[_Table]]


def read_table(
    opening: Open,
    path: Path,
    label: str | None = None,
    resize: tuple[int, int] | None = None,
    like: Columns | None = None,
    feature_set: str | None = None,
    pool: str | None = None,
    leave: Sequence[str] = (),
) -> Contents:
    """Read the features and labels of a file: see _choose and _collect.

    Columns in `leave` are not features.

    Raises
    ------
    NoLabelsError
        If there are samples and no labels.
    InputError
        If there is no such column, or the file is damaged.
    """
    with opening(path) as table:
        choice = _choose(table, label, like, feature_set, labelled=True, leave=leave)
        known = table.class_names
        X, labels, words = _collect(table, choice)
    notes = (*choice.notes, *words)
    names = None if isinstance(labels, list) else known.get(choice.columns.label or "")
    if choice.several:
        names = tuple(table.schema.names[column].strip() for column in choice.several)
    elif names and (labels == -1).all():
        raise NoLabelsError(f"{path}: all labels are -1, so there are none")
    if isinstance(X, list):
        X, transparent = stack_pictures(X, resize)
        notes += (f"{path}: {told_of_transparent(transparent)}",) if transparent else ()
    elif resize is not None:
        raise InputError(f"{path}: holds no pictures that could be resized")
    columns = choice.columns
    part = Part(poolable(str(path), columns.features[0], X, pool), labels)
    arrays = Arrays(
        *(columns.features[0], columns.label or "", pooling_of(X.shape, pool)),
        certain=feature_set is None,
        kind=str(X.dtype),
        shape=X.shape[1:],
    )
    vectors = len(columns.features) == 1 and X.ndim > 1
    return Contents(
        {"train": part}, names, columns=columns, notes=notes, arrays=arrays if vectors else None
    )


def table_features(
    opening: Open,
    path: Path,
    label: str | None = None,
    resize: tuple[int, int] | None = None,
    feature_set: str | None = None,
    pool: str | None = None,
    *,
    like: Columns | None,
    tell: Tell,
) -> Iterator[NDArray[Any]]:
    """Yield the features of a file, in one array; it may have no labels."""
    with opening(path) as table:
        choice = _choose(table, label, like, feature_set, labelled=False)
        X, _, words = _collect(table, choice)
    for note in (*choice.notes, *words):
        tell(note)
    yield poolable(str(path), choice.columns.features[0], X, pool)


def table_sets(opening: Open, path: Path) -> list[str]:
    """Return the columns of lists, if there are several and not just one is named features."""
    with opening(path) as table:
        named = zip(table.schema.names, table.schema.types, strict=True)
        vectors = [name for name, kind in named if is_vector(kind) and not is_picture(kind)]
    several = len(vectors) > 1 and sum(map(means_features, vectors)) != 1
    return vectors if several else []


def table_pictures(opening: Open, path: Path) -> list[Encoded]:
    """Return the pictures that a file holds as samples; empty if it holds numbers."""
    with opening(path) as table:
        if not any(map(is_picture, table.schema.types)):
            return []
        choice = _choose(table, None, None, labelled=False)
        X, *_ = _collect(table, choice)
    return X if isinstance(X, list) else []


@contextmanager
def open_parquet(path: Path) -> Iterator[_Table]:
    """Open a Parquet file; an error while it is open names the file."""
    check_file(path)
    pyarrow = _pyarrow()
    from pyarrow import parquet, types

    options = {
        "pre_buffer": False,
        "buffer_size": _BUFFER,
        "thrift_string_size_limit": _LONGEST_TEXT,
        "thrift_container_size_limit": _MOST_ITEMS,
    }

    def batches(choice: Choice) -> tuple[int, Iterator[Any]]:
        # In a dictionary a repeated text or picture is stored once, not in every row.
        names, kinds = schema.names, schema.types
        long = [names[c] for c in _places(choice) if is_text(kinds[c])]
        for column in choice.features:
            if is_picture(kinds[column]):
                inner = ".bytes" if types.is_struct(kinds[column]) else ""
                long.append(names[column] + inner)
        file = stack.enter_context(parquet.ParquetFile(path, read_dictionary=long, **options))
        return file.metadata.num_rows, file.iter_batches(
            _ROWS, columns=[names[c] for c in _places(choice)], use_threads=False
        )

    try:
        with ExitStack() as stack:
            schema = stack.enter_context(parquet.ParquetFile(path, **options)).schema_arrow
            yield _Table(path, schema, batches)
    except InputError:
        raise
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise InputError(f"{path}: not a Parquet file, or damaged: {_first(error)}") from error


@contextmanager
def open_arrow(path: Path) -> Iterator[_Table]:
    """Open an Arrow IPC file, as Feather files are, or a stream; errors as open_parquet."""
    check_file(path)
    pyarrow = _pyarrow()
    from pyarrow import ipc

    with path.open("rb") as file:
        head = file.read(len(_FILE))
    if head.startswith(_FEATHER_1):
        raise InputError(
            f"{path}: Feather of version 1, expected 2: pandas.read_feather(path).to_feather(path)"
        )
    is_file = head == _FILE

    def opened(columns: list[int] | None = None) -> Any:
        source = stack.enter_context(pyarrow.memory_map(str(path)))
        # No threads: each would need memory for its stack.
        options = ipc.IpcReadOptions(included_fields=columns, use_threads=False)
        reader = (ipc.open_file if is_file else ipc.open_stream)(source, options=options)
        return stack.enter_context(reader)

    def rows(columns: list[int]) -> Iterator[Any]:
        reader = opened(columns)
        return map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)

    def batches(choice: Choice) -> tuple[int, Iterator[Any]]:
        # The number of rows is in no header: count it by one column, to read the others once.
        n = sum(batch.num_rows for batch in rows(_labels_of(choice)[:1] or [0]))
        return n, rows(_places(choice))

    try:
        with ExitStack() as stack:
            schema = opened().schema
            yield _Table(path, schema, batches)
    except InputError:
        raise
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise InputError(f"{path}: not an Arrow file, or damaged: {_first(error)}") from error


def _places(choice: Choice) -> list[int]:
    """Return the indices of the columns that are read."""
    return sorted({*choice.features, *choice.words, *_labels_of(choice)})


def _labels_of(choice: Choice) -> list[int]:
    """Return the indices of the label columns: none, one, or several."""
    return [*choice.several] if choice.label is None else [choice.label]


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            "Parquet and Arrow files need pyarrow: pip install 'onelayer[parquet]'"
        ) from error
    return pyarrow


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


def _index_of(schema: Any) -> list[str]:
    """Return the columns in which pandas stored the index of its frame."""
    try:
        index = json.loads(schema.metadata[b"pandas"])["index_columns"]
        return [name for name in index if isinstance(name, str)]
    except (LookupError, RecursionError, TypeError, ValueError):  # not pandas', or damaged
        return []


def _choose(
    table: _Table,
    label: str | None,
    like: Columns | None,
    feature_set: str | None = None,
    *,
    labelled: bool,
    leave: Sequence[str] = (),
) -> Choice:
    """Return the columns of labels and features: by name if a model has columns, `like`.

    Else the only column of lists or pictures holds the features, and a note names the columns that
    are left out. Without such a column, all columns of numbers are features, and the others are
    examined as words.
    """
    source, names, kinds = str(table.path), table.schema.names, table.schema.types
    if any(map(is_vector, kinds)):
        like = None
    if label is None and like is None:
        label = _class_column(table, labelled)
    index = _index_of(table.schema)
    choice = choose_columns(
        source, names, label, like=like, labelled=labelled, index=index, leave=leave
    )
    if like is not None:
        return choice
    if choice.label is not None and not _may_be_labels(table, choice.label, label):
        raise NoLabelsError(f"{source}: has no column of labels, only {listed(names)}")
    vectors = [column for column in choice.features if is_vector(kinds[column])]
    if feature_set is not None:
        vectors = [column for column in vectors if names[column] == feature_set]
        if not vectors:
            raise InputError(f"{source}: no column of lists {feature_set!r}, only {listed(names)}")
    if len(vectors) > 1:
        vectors = [column for column in vectors if means_features(names[column])] or vectors
    if len(vectors) > 1:
        several = listed([names[column] for column in vectors])
        raise InputError(
            f"{source}: several columns of lists or pictures: {several}; expected one, which "
            "--feature-set may name"
        )
    chosen = vectors or [c for c in choice.features if number_type(kinds[c]) is not None]
    others = sorted({*choice.features}.difference(chosen))
    if not chosen:
        found = "".join(
            f"the column {names[c][:40]!r} holds {kinds[c]!s:.40}, " for c in others[:1]
        )
        raise InputError(
            f"{source}: {found}expected numbers: at least one column of features, or one of lists "
            "of numbers or of pictures, and one of labels"
        )
    columns = replace(choice.columns, features=tuple(names[column].strip() for column in chosen))
    if not vectors:
        return replace(choice, features=chosen, columns=columns, words=others)
    notes = choice.notes
    if others:
        unused = listed([names[column] for column in others])
        held = listed(columns.features)
        notes += (f"{source}: columns that are not used: {unused}; features are in {held}",)
    return replace(choice, features=chosen, columns=columns, notes=notes)


def _may_be_labels(table: _Table, place: int, asked: str | None) -> bool:
    """Return whether a column may hold labels; lists of numbers only if its name says so."""
    name, kind = table.schema.names[place], table.schema.types[place]
    called = asked is not None or name.strip().lower() in LABEL_COLUMNS
    return not is_vector(kind) or (called and number_type(kind) is not None)


def _class_column(table: _Table, labelled: bool) -> str | None:
    """Return the only column with known class names, if no column has a name of labels."""
    names = table.schema.names
    named = [name for name in names if name in table.class_names]
    if not named or any(name.strip().lower() in LABEL_COLUMNS for name in names):
        return None
    if len(named) > 1 and labelled:
        raise InputError(
            f"{table.path}: several columns of classes: {listed(named)}; --label names one of them"
        )
    return str(named[0])


def _collect(table: _Table, choice: Choice) -> tuple[Any, Any, tuple[str, ...]]:
    """Return the features of all rows, their labels, and notes on columns of words.

    Features are an array (N, D) from columns of numbers or from one column of lists of one length,
    (N, …) from nested lists, with nulls as NaN; or a list of encoded pictures.

    Raises
    ------
    InputError
        If a column holds something else, a label is missing, or there are more or fewer rows than
        promised.
    """
    path, names = table.path, table.schema.names
    of_labels = [names[column] for column in _labels_of(choice)]
    types = table.schema.types
    chosen = [names[column] for column in choice.features]
    kinds = [types[column] for column in choice.features]
    n, batches = table.batches(choice)
    features = (Pictures if is_picture(kinds[0]) else Numbers)(path, chosen, kinds, n)
    words = {names[column]: Words(str(path), names[column].strip()) for column in choice.words}
    labels, done = [list[Any]() for _ in of_labels], 0
    lists = {
        names[column]: Numbers(path, [names[column]], [types[column]], n)
        for column in _labels_of(choice)
        if is_vector(types[column])
    }
    for batch in batches:
        if not len(batch):
            continue
        batch.validate()
        for name in of_labels:
            check_length(path, batch.column(name))
        batch.validate(full=True)
        if done + len(batch) > n:
            raise InputError(f"{path}: holds more rows than the {n:,} that are promised")
        features.add(batch, done)
        for column, looked_at in words.items():
            looked_at.add_all(texts_of(path, batch.column(column), column), done)
        for some, name in zip(labels, of_labels, strict=True):
            if name in lists:
                lists[name].add(batch, done)
            else:
                some.append(read_labels(path, batch.column(name), name))
        done += len(batch)
    if done != n or not done:
        raise InputError(f"{path}: holds {done:,} rows, expected {n:,}, and at least one")
    notes = leave_out(str(path), [*words.values()])
    joined = [
        lists[name].held if name in lists else _join(some)
        for some, name in zip(labels, of_labels, strict=True)
    ]
    if len(joined) > 1:
        return features.held, np.stack([np.array(one) for one in joined], axis=1), notes
    return features.held, joined[0] if joined else None, notes


def _join(labels: Sequence[Any]) -> Any:
    if isinstance(labels[0], list):
        return [text for some in labels for text in some]
    return np.concatenate(labels)
