"""Parquet and Arrow (Feather): columns of numbers, or one of lists or pictures, and labels."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.arrays import means_features
from onelayer.data.columns import (
    LABEL_COLUMNS,
    Choice,
    Columns,
    NoLabelsError,
    Tell,
    choose_columns,
    listed,
)
from onelayer.data.contents import LONGEST_NAME, Contents, Part, feature_type
from onelayer.data.files import check_file, unpacked_limit
from onelayer.data.formats.images import stack_pictures, told_of_transparent
from onelayer.data.formats.picture import Encoded
from onelayer.errors import InputError

_ROWS = 1024  # decoded together
_BUFFER = 4096  # bytes of each column; without it all columns of a row group lie in memory
_LONGEST_TEXT, _MOST_ITEMS = 1 << 22, 1 << 20  # in the header of a Parquet file
_FILE = b"ARROW1"  # the first bytes of an Arrow file; a stream has none of its own
_FEATHER_1 = b"FEA1"  # no library writes it any more
_DAMAGE = (OSError, EOFError, ValueError, LookupError, NotImplementedError)


@dataclass(frozen=True)
class _Table:
    """An open file: its columns, and its rows, of which some columns are read in batches.

    `batches(choice)` returns the number of rows and the record batches.
    """

    path: Path
    schema: Any
    batches: Callable[[Choice], tuple[int, Iterator[Any]]]

    @cached_property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the classes of each column for which Hugging Face's datasets keep some."""
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
) -> Contents:
    """Read the features and labels of a file: see _choose and _collect.

    Raises
    ------
    NoLabelsError
        If there are samples and no labels.
    InputError
        If there is no such column, or the file is damaged.
    """
    with opening(path) as table:
        choice, known = _choose(table, label, like, labelled=True), table.class_names
        X, labels = _collect(table, choice)
    notes = choice.notes
    names = None if isinstance(labels, list) else known.get(choice.columns.label or "")
    if names and (labels == -1).all():
        raise NoLabelsError(f"{path}: all labels are -1, so there are none")
    if isinstance(X, list):
        X, transparent = stack_pictures(X, resize)
        notes += (f"{path}: {told_of_transparent(transparent)}",) if transparent else ()
    elif resize is not None:
        raise InputError(f"{path}: holds no pictures that could be resized")
    part = Part(X, labels)
    return Contents({"train": part}, names, columns=choice.columns, notes=notes)


def table_features(
    opening: Open,
    path: Path,
    label: str | None = None,
    resize: tuple[int, int] | None = None,
    *,
    like: Columns | None,
    tell: Tell,
) -> Iterator[NDArray[Any]]:
    """Yield the features of a file, in one array; it may have no labels."""
    with opening(path) as table:
        choice = _choose(table, label, like, labelled=False)
        X, _ = _collect(table, choice)
    for note in choice.notes:
        tell(note)
    yield X


def table_pictures(opening: Open, path: Path) -> list[Encoded]:
    """Return the pictures that a file holds as samples, or none if it holds numbers."""
    with opening(path) as table:
        if not any(map(_is_picture, table.schema.types)):
            return []
        choice = _choose(table, None, None, labelled=False)
        X, _ = _collect(table, choice)
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
        # As a dictionary a long text or picture takes its place once, not in every row.
        names, kinds = schema.names, schema.types
        long = [] if choice.label is None else [names[choice.label]]
        for column in choice.features:
            if _is_picture(kinds[column]):
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
        # A thread's stack is memory, too.
        options = ipc.IpcReadOptions(included_fields=columns, use_threads=False)
        reader = (ipc.open_file if is_file else ipc.open_stream)(source, options=options)
        return stack.enter_context(reader)

    def rows(columns: list[int]) -> Iterator[Any]:
        reader = opened(columns)
        return map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)

    def batches(choice: Choice) -> tuple[int, Iterator[Any]]:
        # The number of rows is in no header: count it by one column, to read the others once.
        n = sum(batch.num_rows for batch in rows([choice.label or 0]))
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
    """Return the places of the columns that are read."""
    return sorted({*choice.features, *([] if choice.label is None else [choice.label])})


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
    """Return the columns that pandas wrote of the index of its frame."""
    try:
        index = json.loads(schema.metadata[b"pandas"])["index_columns"]
        return [name for name in index if isinstance(name, str)]
    except (LookupError, RecursionError, TypeError, ValueError):  # not of pandas, or not sound
        return []


def _choose(table: _Table, label: str | None, like: Columns | None, *, labelled: bool) -> Choice:
    """Return the columns of labels and features: the columns of a model, `like`, by name.

    Else features are in the only column of lists or pictures, or if there is none in all columns of
    numbers. A note says which others are left out.
    """
    source, names, kinds = str(table.path), table.schema.names, table.schema.types
    if any(map(_is_vector, kinds)):
        like = None
    if label is None and like is None:
        label = _class_column(table, labelled)
    index = _index_of(table.schema)
    choice = choose_columns(source, names, label, like=like, labelled=labelled, index=index)
    if like is not None:
        return choice
    if choice.label is not None and _is_vector(kinds[choice.label]):
        raise NoLabelsError(f"{source}: has no column of labels, only {listed(names)}")
    vectors = [column for column in choice.features if _is_vector(kinds[column])]
    if len(vectors) > 1:
        vectors = [column for column in vectors if means_features(names[column])] or vectors
    if len(vectors) > 1:
        several = listed([names[column] for column in vectors])
        raise InputError(f"{source}: several columns of lists or pictures: {several}; expected one")
    chosen = vectors or [c for c in choice.features if _number_type(kinds[c]) is not None]
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
    notes = choice.notes
    if others:
        held = "features are in " + listed(columns.features) if vectors else "they hold no numbers"
        unused = listed([names[column] for column in others])
        notes += (f"{source}: columns that are not used: {unused}; {held}",)
    return replace(choice, features=chosen, columns=columns, notes=notes)


def _class_column(table: _Table, labelled: bool) -> str | None:
    """Return the only column of which class names are known, if none is called like labels."""
    names = table.schema.names
    named = [name for name in names if name in table.class_names]
    if not named or any(name.strip().lower() in LABEL_COLUMNS for name in names):
        return None
    if len(named) > 1 and labelled:
        raise InputError(
            f"{table.path}: several columns of classes: {listed(named)}; --label names one of them"
        )
    return str(named[0])


def _collect(table: _Table, choice: Choice) -> tuple[Any, Any]:
    """Return the features of all rows and their labels; nulls among the features become NaN.

    Features are an array (N, D) of columns of numbers or of one of lists, all of one length, (N, …)
    of nested lists, or else a list of pictures as they are encoded.

    Raises
    ------
    InputError
        If a column holds something else, a label is missing, or there are more or fewer rows than
        promised.
    """
    path, names, label = table.path, table.schema.names, choice.label
    types = table.schema.types
    chosen = [names[column] for column in choice.features]
    kinds = [types[column] for column in choice.features]
    n, batches = table.batches(choice)
    features = (_Pictures if _is_picture(kinds[0]) else _Numbers)(path, chosen, kinds, n)
    labels, done = list[Any](), 0
    for batch in batches:
        if not len(batch):
            continue
        batch.validate()
        if label is not None:
            _check_length(path, batch.column(names[label]))
        batch.validate(full=True)
        if done + len(batch) > n:
            raise InputError(f"{path}: holds more rows than the {n:,} that are promised")
        features.add(batch, done)
        done += len(batch)
        if label is not None:
            labels.append(_labels(path, batch.column(names[label]), names[label]))
    if done != n or not done:
        raise InputError(f"{path}: holds {done:,} rows, expected {n:,}, and at least one")
    if label is None:
        return features.held, None
    if isinstance(labels[0], list):
        return features.held, [text for some in labels for text in some]
    return features.held, np.concatenate(labels)


class _Pictures:
    """Pictures as they are encoded, from one column of n rows."""

    def __init__(self, path: Path, names: Sequence[str], kinds: Sequence[Any], n: int) -> None:
        self.path, self.name = path, names[0]
        self.room = unpacked_limit(check_file(path))
        self.held: list[Encoded] = []

    def add(self, batch: Any, start: int) -> None:
        from pyarrow import compute, types

        column = batch.column(self.name)
        if types.is_struct(column.type):
            column = compute.struct_field(column, "bytes")
        for row in range(len(column)):
            where = f"{self.path}: row {start + row}"
            content = column[row].as_py()
            if not content:
                raise InputError(
                    f"{where} holds no picture in the column {self.name[:40]!r}, only where it was "
                    "or nothing; expected its bytes"
                )
            self.room -= len(content)
            if self.room < 0:
                raise InputError(f"{where}: pictures take more than a file of its size can hold")
            self.held.append(Encoded(where, content))


class _Numbers:
    """An array of n rows of numbers, from one column of lists or from all of the columns."""

    def __init__(self, path: Path, names: Sequence[str], kinds: Sequence[Any], n: int) -> None:
        dtypes = [_number_type(kind) for kind in kinds]
        for name, kind, dtype in zip(names, kinds, dtypes, strict=True):
            if dtype is None:
                raise InputError(
                    f"{path}: the column {name[:40]!r} holds {kind!s:.40}, expected numbers"
                )
        self.path, self.names, self.n = path, names, n
        self.dtype = feature_type(filter(None, dtypes))
        self.held: NDArray[Any] = np.empty((0, 0), self.dtype)

    def add(self, batch: Any, start: int) -> None:
        columns = [batch.column(name) for name in self.names]
        if _is_vector(columns[0].type):
            rows = self._vectors(columns[0], start)
        else:
            named = zip(columns, self.names, strict=True)
            rows = np.column_stack([self._values(column, name) for column, name in named])
        if not start:
            self.held = self._allocate(rows.shape[1:])
        if rows.shape[1:] != self.held.shape[1:]:
            raise InputError(
                f"{self.path}: the column {self.names[0][:40]!r} holds lists of different lengths: "
                f"row {start} of the shape {rows.shape[1:]}, row 0 of {self.held.shape[1:]}"
            )
        self.held[start : start + len(rows)] = rows

    def _allocate(self, shape: tuple[int, ...]) -> NDArray[Any]:
        limit, D = unpacked_limit(check_file(self.path)), math.prod(shape)
        if self.n * D * self.dtype.itemsize > limit:
            raise InputError(
                f"{self.path}: {self.n:,} rows of {D:,} values take "
                f"{self.n * D * self.dtype.itemsize:,} bytes, expected at most {limit:,} from a "
                "file of this size; numpy.savez writes it unpacked"
            )
        return np.empty((self.n, *shape), self.dtype)

    def _vectors(self, column: Any, start: int) -> NDArray[Any]:
        """Return the values (n, …) of a column of lists, of lists of lists and so on."""
        from pyarrow import compute

        n, shape = len(column), list[int]()
        fixed = getattr(column.type, "shape", None)  # of a tensor
        column = _plain(column)
        while _is_list(column.type):
            lengths = compute.list_value_length(column)
            odd = compute.not_equal(lengths, lengths[0]).fill_null(True)
            if compute.any(odd).as_py() or not lengths[0].as_py():
                row = compute.index(odd, True).as_py() if compute.any(odd).as_py() else 0
                raise InputError(
                    f"{self.path}: the column {self.names[0][:40]!r} holds lists of different "
                    f"lengths, or none: {lengths[row]} values in row "
                    f"{start + row * n // len(column)}, {lengths[0]} before it"
                )
            shape.append(lengths[0].as_py())
            column = column.flatten()
        return self._values(column, self.names[0]).reshape(n, *(fixed or shape))

    def _values(self, column: Any, name: str) -> NDArray[Any]:
        from pyarrow import compute, from_numpy_dtype, types

        if self.dtype == np.uint8 and column.null_count:
            raise InputError(f"{self.path}: a missing value in the column {name[:40]!r} of uint8")
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        cast = compute.cast(column, from_numpy_dtype(self.dtype), safe=False)
        values: NDArray[Any] = cast.to_numpy(zero_copy_only=False)
        return values


def _number_type(kind: Any) -> np.dtype[Any] | None:
    """Return the NumPy type of a column of numbers or of lists of them, or None."""
    from pyarrow import types

    kind = _storage(kind)
    while _is_list(kind):
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_decimal(kind):
        return np.dtype(np.float64)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return None
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


def _is_vector(kind: Any) -> bool:
    """Return whether one cell of a column is a whole sample: a list of numbers, or a picture."""
    return _is_picture(kind) or (_is_list(_storage(kind)) and _number_type(kind) is not None)


def _is_picture(kind: Any) -> bool:
    """Return whether a column holds files: their bytes, alone or beside their paths."""
    from pyarrow import types

    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _storage(kind: Any) -> Any:
    """Return how a type of columns is stored: some give others a meaning, as tensors do lists."""
    return getattr(kind, "storage_type", kind)


def _plain(column: Any) -> Any:
    return getattr(column, "storage", column)


def _labels(path: Path, column: Any, name: str) -> NDArray[Any] | list[str | None]:
    """Return labels as numbers, or as texts of which equal ones are one object, or None."""
    from pyarrow import large_string, types

    coded = types.is_dictionary(column.type)
    values = column.dictionary if coded else column
    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        if not coded:
            column = column.cast(large_string()).dictionary_encode()
        texts = column.dictionary.cast(large_string()).to_pylist()
        return [None if place is None else texts[place] for place in column.indices.to_pylist()]
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise InputError(
            f"{path}: the label column {name[:40]!r} holds {str(column.type)[:40]}, expected "
            "numbers or strings"
        )
    plain = column.dictionary_decode() if coded else column
    numbers: NDArray[Any] = plain.to_numpy(zero_copy_only=False)
    return numbers


def _check_length(path: Path, column: Any) -> None:
    """Raise InputError for a long text, looking at no text: all rows may show the same one."""
    from pyarrow import compute, types

    texts = column.dictionary if types.is_dictionary(column.type) else column
    longest = 0
    if types.is_string_view(texts.type):  # 16 bytes a text, of which 4 are its length
        longest = int(np.frombuffer(texts.buffers()[1], np.int32)[::4].max(initial=0))
    elif types.is_string(texts.type) or types.is_large_string(texts.type):
        longest = compute.max(compute.binary_length(texts)).as_py() or 0
    if longest > 4 * LONGEST_NAME:
        raise InputError(f"{path}: a label of {longest:,} bytes, expected {LONGEST_NAME} letters")
