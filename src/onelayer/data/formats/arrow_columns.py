"""Columns of Arrow as features and labels: numbers, lists of numbers, pictures and texts."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import LONGEST_NAME, feature_type
from onelayer.data.files import check_file, unpacked_limit
from onelayer.data.formats.picture import Encoded
from onelayer.errors import InputError

_TOGETHER, _MOST_LETTERS = 1024, 1 << 26  # texts that are read at once, and the limit of bytes


class Pictures:
    """Encoded pictures from one column of n rows; `held` are those added so far."""

    def __init__(self, path: Path, names: Sequence[str], kinds: Sequence[Any], n: int) -> None:
        self.path, self.name = path, names[0]
        self.room = unpacked_limit(check_file(path))
        self.held: list[Encoded] = []

    def add(self, batch: Any, start: int) -> None:
        """Add the pictures of a record batch, whose first row is `start`."""
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


class Numbers:
    """Numbers of one column of lists, or of all columns; `held` is their array (n, D) or (n, …)."""

    def __init__(self, path: Path, names: Sequence[str], kinds: Sequence[Any], n: int) -> None:
        dtypes = [number_type(kind) for kind in kinds]
        for name, kind, dtype in zip(names, kinds, dtypes, strict=True):
            if dtype is None:
                raise InputError(
                    f"{path}: the column {name[:40]!r} holds {kind!s:.40}, expected numbers"
                )
        self.path, self.names, self.n = path, names, n
        halves = {*dtypes} == {np.dtype(np.float16)}  # kept as they are, and widened when read
        self.dtype = np.dtype(np.float16) if halves else feature_type(filter(None, dtypes))
        self.held: NDArray[Any] = np.empty((0, 0), self.dtype)

    def add(self, batch: Any, start: int) -> None:
        """Add the numbers of a record batch, whose first row is `start`."""
        columns = [batch.column(name) for name in self.names]
        if is_vector(columns[0].type):
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


def number_type(kind: Any) -> np.dtype[Any] | None:
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


def is_vector(kind: Any) -> bool:
    """Return whether one cell of a column is a whole sample: a list of numbers, or a picture."""
    return is_picture(kind) or (_is_list(_storage(kind)) and number_type(kind) is not None)


def is_picture(kind: Any) -> bool:
    """Return whether a column holds files: their bytes, alone or beside their paths."""
    from pyarrow import types

    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _storage(kind: Any) -> Any:
    """Return the storage type of an extension type, such as the lists of a tensor; else `kind`."""
    return getattr(kind, "storage_type", kind)


def _plain(column: Any) -> Any:
    return getattr(column, "storage", column)


def read_labels(path: Path, column: Any, name: str) -> NDArray[Any] | list[str | None]:
    """Return labels as numbers, or as texts and None; equal texts are one object."""
    from pyarrow import large_string, types

    coded = types.is_dictionary(column.type)
    values = column.dictionary if coded else column
    kind = values.type
    if is_text(kind):
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


def is_text(kind: Any) -> bool:
    """Return whether a column holds texts."""
    from pyarrow import types

    return any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string)) or bool(
        types.is_string_view(kind)
    )


def texts_of(path: Path, column: Any, name: str) -> Iterator[str | None]:
    """Yield the texts of a column of words or times; InputError if it holds neither."""
    from pyarrow import duration, large_string, timestamp, types

    column = _plain(column)
    kind = column.type
    if types.is_dictionary(kind):
        texts = list(texts_of(path, column.dictionary, name))
        yield from (None if place is None else texts[place] for place in column.indices.to_pylist())
        return
    if types.is_nested(kind):
        raise InputError(
            f"{path}: the column {name[:40]!r} holds {kind!s:.40}, expected numbers or texts"
        )
    if types.is_timestamp(kind):  # without a time zone, which a system may not know
        column = column.cast(timestamp(kind.unit))
    if types.is_duration(kind):  # Python has no durations of nanoseconds
        column = column.cast(duration("us"), safe=False)
    for start in range(0, len(column), _TOGETHER):
        some = column[start : start + _TOGETHER]
        if types.is_string_view(kind) and (size := _lengths(some).sum()) > _MOST_LETTERS:
            raise InputError(f"{path}: {size:,} bytes of text in the column {name[:40]!r}")
        castable = is_text(kind) or (types.is_temporal(kind) and not types.is_duration(kind))
        yield from map(_as_text, (some.cast(large_string()) if castable else some).to_pylist())


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def check_length(path: Path, column: Any) -> None:
    """Raise InputError for a long text by its length alone: all rows may share one huge text."""
    from pyarrow import compute, types

    texts = column.dictionary if types.is_dictionary(column.type) else column
    longest = 0
    if types.is_string_view(texts.type):
        longest = int(_lengths(texts).max(initial=0))
    elif types.is_string(texts.type) or types.is_large_string(texts.type):
        longest = compute.max(compute.binary_length(texts)).as_py() or 0
    if longest > 4 * LONGEST_NAME:
        raise InputError(f"{path}: a label of {longest:,} bytes, expected {LONGEST_NAME} letters")


def _lengths(texts: Any) -> NDArray[np.int32]:
    """Return the lengths in bytes of views of texts: 4 of the 16 bytes of each view."""
    views = np.frombuffer(texts.buffers()[1], np.int32)[::4]
    return views[texts.offset : texts.offset + len(texts)]
