"""Parquet and Arrow (Feather): columns of numbers, or one column of lists, and a label column."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.columns import Choice, Columns, Tell, choose_columns
from onelayer.data.contents import LONGEST_NAME, Contents, Part, feature_type
from onelayer.data.files import check_file, unpacked_limit
from onelayer.errors import InputError

_ROWS = 1024  # decoded together
_BUFFER = 4096  # bytes of each column; without it all columns of a row group lie in memory
_LONGEST_TEXT, _MOST_ITEMS = 1 << 22, 1 << 20  # in the header of a Parquet file

Choose = Callable[[Any], Choice]  # of a schema's columns
Table = tuple[Choice, NDArray[Any], Any]  # with features (N, D) and labels
_DAMAGE = (OSError, EOFError, ValueError, LookupError, NotImplementedError)


def read_parquet(path: Path, label: str | None = None, like: Columns | None = None) -> Contents:
    """Read the columns of a Parquet file: see `_collect` and choose_columns."""
    return _labelled(_read_parquet, path, label, like)


def read_feather(path: Path, label: str | None = None, like: Columns | None = None) -> Contents:
    """Read the columns of an Arrow IPC file, which is what Feather files are: see read_parquet."""
    return _labelled(_read_feather, path, label, like)


def parquet_features(
    path: Path, label: str | None = None, *, like: Columns | None, tell: Tell
) -> Iterator[NDArray[Any]]:
    """Yield the features of a Parquet file, in one array; it may have no labels."""
    return _unlabelled(_read_parquet, path, label, like, tell)


def feather_features(
    path: Path, label: str | None = None, *, like: Columns | None, tell: Tell
) -> Iterator[NDArray[Any]]:
    """Yield the features of an Arrow IPC file, in one array; it may have no labels."""
    return _unlabelled(_read_feather, path, label, like, tell)


def _labelled(
    read: Callable[[Path, Choose], Table], path: Path, label: str | None, like: Columns | None
) -> Contents:
    choice, X, labels = read(path, partial(_choose, path, label, like, labelled=True))
    columns = choice.columns if len(choice.columns.features) == X.shape[1] else None  # of lists
    return Contents({"train": Part(X, labels)}, columns=columns, notes=choice.notes)


def _unlabelled(
    read: Callable[[Path, Choose], Table],
    path: Path,
    label: str | None,
    like: Columns | None,
    tell: Tell,
) -> Iterator[NDArray[Any]]:
    choice, X, _ = read(path, partial(_choose, path, label, like, labelled=False))
    for note in choice.notes:
        tell(note)
    yield X


def _choose(
    path: Path, label: str | None, like: Columns | None, schema: Any, *, labelled: bool
) -> Choice:
    """Return what the columns of a file hold: those of a column of lists have no names."""
    if like is not None and any(map(_is_list, schema.types)):
        like = None
    return choose_columns(str(path), schema.names, label, like=like, labelled=labelled)


def _read_parquet(path: Path, choose: Choose) -> Table:
    size, pyarrow = check_file(path), _pyarrow()
    from pyarrow import parquet

    options = {
        "pre_buffer": False,
        "buffer_size": _BUFFER,
        "thrift_string_size_limit": _LONGEST_TEXT,
        "thrift_container_size_limit": _MOST_ITEMS,
    }
    try:
        with parquet.ParquetFile(path, **options) as file:
            schema = file.schema_arrow
            _refuse_index(path, schema)
            choice = choose(schema)
        texts = [] if choice.label is None else [schema.names[choice.label]]
        # As a dictionary a long text takes its place once, not in every row.
        with parquet.ParquetFile(path, read_dictionary=texts, **options) as file:
            batches = file.iter_batches(_ROWS, use_threads=False)
            n = file.metadata.num_rows
            return choice, *_collect(path, file.schema_arrow, batches, n, size, choice)
    except InputError:
        raise
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise InputError(f"{path}: not a Parquet file, or damaged: {_first(error)}") from error


def _read_feather(path: Path, choose: Choose) -> Table:
    size, pyarrow = check_file(path), _pyarrow()
    from pyarrow import ipc

    try:
        alone = ipc.IpcReadOptions(use_threads=False)  # a thread's stack is memory, too
        with pyarrow.memory_map(str(path)) as source, ipc.open_file(source, options=alone) as file:
            _refuse_index(path, file.schema)
            choice = choose(file.schema)
            # The number of rows is in no header: count it by one column, to read the others once.
            one_column = ipc.IpcReadOptions(included_fields=[choice.label or 0], use_threads=False)
            with ipc.open_file(source, options=one_column) as short:
                n = sum(short.get_batch(i).num_rows for i in range(short.num_record_batches))
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            return choice, *_collect(path, file.schema, batches, n, size, choice)
    except InputError:
        raise
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise InputError(f"{path}: not an Arrow file, or damaged: {_first(error)}") from error


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


def _refuse_index(path: Path, schema: Any) -> None:
    """Raise InputError if pandas wrote the index of its frame as a column: that is no feature."""
    try:
        index = json.loads(schema.metadata[b"pandas"])["index_columns"]
        names = [name for name in index if isinstance(name, str)]
    except (LookupError, RecursionError, TypeError, ValueError):  # not of pandas, or not sound
        return
    if names:
        raise InputError(
            f"{path}: the column {names[0][:40]!r} is the index of a pandas frame; "
            "frame.reset_index(drop=True) leaves it out"
        )


def _collect(
    path: Path, schema: Any, batches: Iterator[Any], n: int, size: int, choice: Choice
) -> tuple[NDArray[Any], Any]:
    """Return the n rows of all batches and their labels; nulls among the features become NaN.

    The columns of features are numbers, or a single one lists of numbers, all of one length.

    Raises
    ------
    InputError
        If a column is neither, a label is missing, or there are more or fewer rows than promised.
    """
    columns, label = choice.features, choice.label
    if not columns:
        raise InputError(f"{path}: expected at least one column of features, and one of labels")
    dtype = feature_type([_number_type(path, schema.field(c), len(columns)) for c in columns])
    X, labels, done = np.empty((0, 0), dtype), list[Any](), 0
    for batch in batches:
        if not len(batch):
            continue
        batch.validate()
        if label is not None:
            _check_length(path, batch.column(label))
        batch.validate(full=True)
        rows = _rows(path, batch, columns, dtype)
        if not done:
            X = _allocate(path, n, rows.shape[1], dtype, size)
        if rows.shape[1] != X.shape[1] or done + len(rows) > n:
            raise InputError(f"{path}: lists of different lengths, or more rows than promised")
        X[done : done + len(rows)] = rows
        done += len(rows)
        if label is not None:
            labels.append(_labels(path, batch.column(label), schema.names[label]))
    if done != n or not done:
        raise InputError(f"{path}: holds {done:,} rows, expected {n:,}, and at least one")
    if label is None:
        return X, None
    if isinstance(labels[0], list):
        return X, [text for some in labels for text in some]
    return X, np.concatenate(labels)


def _allocate(path: Path, n: int, D: int, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    limit = unpacked_limit(size)
    if n * D * dtype.itemsize > limit:
        raise InputError(
            f"{path}: {n:,} rows of {D:,} values take {n * D * dtype.itemsize:,} bytes, expected "
            f"at most {limit:,} from a file of this size; numpy.savez writes it unpacked"
        )
    return np.empty((n, D), dtype)


def _number_type(path: Path, field: Any, columns: int) -> np.dtype[Any]:
    """Return the NumPy type of a column of numbers, or of lists of them if it is the only one."""
    from pyarrow import types

    kind = field.type
    if _is_list(kind) and columns == 1:
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise InputError(
            f"{path}: the column {field.name[:40]!r} holds {str(field.type)[:40]}, expected "
            "numbers, or one column of lists of numbers"
        )
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _rows(path: Path, batch: Any, columns: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the features (n, D) of a record batch."""
    from pyarrow import compute, types

    only, names = batch.column(columns[0]), batch.schema.names
    if not types.is_nested(only.type):
        return np.column_stack([_numbers(path, batch.column(c), names[c], dtype) for c in columns])
    where = f"{path}: the column {names[columns[0]][:40]!r}"
    lengths = compute.list_value_length(only)
    D = lengths[0].as_py()
    if not D or only.null_count or not compute.all(compute.equal(lengths, D)).as_py():
        raise InputError(f"{where} holds lists of different lengths, or none")
    values = _numbers(path, only.flatten(), names[columns[0]], dtype)
    return values.reshape(len(only), D)


def _numbers(path: Path, column: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    from pyarrow import compute, from_numpy_dtype

    if dtype == np.uint8 and column.null_count:
        raise InputError(f"{path}: a missing value in the column {name[:40]!r} of uint8")
    cast = compute.cast(column, from_numpy_dtype(dtype), safe=False)
    values: NDArray[Any] = cast.to_numpy(zero_copy_only=False)
    return values


def _labels(path: Path, column: Any, name: str) -> NDArray[Any] | list[str]:
    """Return labels as numbers, or as texts of which equal ones are one object."""
    from pyarrow import large_string, types

    where = f"{path}: the label column {name[:40]!r}"
    coded = types.is_dictionary(column.type)
    values = column.dictionary if coded else column
    if column.null_count or values.null_count:
        raise InputError(f"{where} has missing values")
    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        if not coded:
            column = column.cast(large_string()).dictionary_encode()
        texts = column.dictionary.cast(large_string()).to_pylist()
        return list(map(texts.__getitem__, column.indices.to_pylist()))
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise InputError(f"{where} holds {str(column.type)[:40]}, expected numbers or strings")
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
