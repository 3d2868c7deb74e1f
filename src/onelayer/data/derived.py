"""Features computed from stored rows when they are read: selected, widened or pooled over tokens.

So float16, bfloat16 and tokens keep their stored form, in memory or in a mapped file.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.shards import Shards

_BLOCK = 1 << 24  # bytes of stored rows that are read at once
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}  # all bits set: infinite, or not a number


class Derived:
    """Features (N, …): `make(stored, at)` returns the rows `at`, a slice or an index array.

    `kind` is the name of the stored type. Indexing gives an array, as with Shards.
    """

    def __init__(
        self,
        stored: Any,
        make: Callable[[Any, Any], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: Any,
        rows: NDArray[np.intp] | None = None,
        kind: str = "",
    ) -> None:
        self._stored, self._make, self._rows = stored, make, rows
        self.shape = (len(stored) if rows is None else len(rows), *shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.kind = kind or kind_of(stored)
        row_bytes = stored.dtype.itemsize * math.prod(stored.shape[1:])
        self._together = max(1, _BLOCK // max(1, row_bytes))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: Any) -> NDArray[Any]:
        if isinstance(at, tuple):
            rows, rest = self[at[0]], at[1:]
            rest = rest if isinstance(at[0], int | np.integer) else (slice(None), *rest)
            chosen: NDArray[Any] = rows[rest]
            return chosen
        if isinstance(at, int | np.integer):
            return np.asarray(self[np.array([at])][0])
        asked = self._numbers(at)
        wanted = asked if self._rows is None else self._rows[asked]
        if len(wanted) <= self._together:
            return self._read(wanted)
        made = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for start in range(0, len(wanted), self._together):
            some = slice(start, start + self._together)
            made[some] = self._read(wanted[some])
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    @property
    def widens(self) -> bool:
        """Whether rows are the stored rows in a wider type, with the same values."""
        halves = self.kind in ("float16", "bfloat16") and not isinstance(self._stored, Derived)
        return halves and self._stored.shape[1:] == self.shape[1:]

    def stored(self, at: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return rows as they are stored; bfloat16 as 16-bit integers."""
        return np.asarray(self._stored[at if self._rows is None else self._rows[at]])

    def take(self, rows: NDArray[np.intp]) -> "Derived":
        """Return these rows, without reading them."""
        rows = rows if self._rows is None else self._rows[rows]
        return self._of(rows)

    def joined(self, other: Any) -> "Derived | None":
        """Return the rows of both, or None if they come from different stored arrays."""
        if getattr(other, "_stored", None) is not self._stored or self._rows is None:
            return None
        return self._of(np.concatenate([self._rows, other._rows]))

    def stored_row(self, row: int) -> int:
        """Return the index of a row in the stored array."""
        return row if self._rows is None else int(self._rows[row])

    def _of(self, rows: NDArray[np.intp]) -> "Derived":
        return Derived(self._stored, self._make, self.shape[1:], self.dtype, rows, self.kind)

    def _numbers(self, at: Any) -> NDArray[np.intp]:
        """Return the numbers of the rows `at`; for a batch, without a list of all rows."""
        if isinstance(at, slice):
            return np.arange(*at.indices(len(self)))
        numbers = isinstance(at, np.ndarray) and at.dtype.kind == "i" and at.size > 0
        if numbers and 0 <= at.min() <= at.max() < len(self):
            return np.asarray(at, np.intp)
        return np.asarray(np.arange(len(self))[at])

    def _read(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return rows; consecutive rows are read as one slice."""
        in_a_run = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        at = slice(int(rows[0]), int(rows[-1]) + 1) if in_a_run else rows
        return np.asarray(self._make(self._stored, at), self.dtype)


def kind_of(X: Any) -> str:
    """Return the name of the type in which features are stored."""
    return str(getattr(X, "kind", X.dtype.newbyteorder("=")))


def kept_bytes(X: Any) -> int:
    """Return the bytes of a row in the form of `as_stored`."""
    return int(as_stored(X, slice(0, 1)).nbytes)


def as_stored(X: Any, at: Any) -> NDArray[Any]:
    """Return rows of features as they are stored if they are only widened, else as they are made.

    bfloat16 comes as 16-bit integers.
    """
    rows: NDArray[Any] = X.stored(at) if isinstance(X, Derived) and X.widens else X[at]
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)


def are_finite(X: Any, at: Any) -> NDArray[np.bool_]:
    """Return which values of rows are finite; halves are judged by their bits, ten times faster."""
    rows = as_stored(X, at)
    exponent = _EXPONENTS.get(kind_of(X))
    if exponent is None or rows.dtype.itemsize != 2:
        return np.asarray(np.isfinite(rows))
    return np.asarray(rows.view(np.uint16) & exponent != exponent)


def take(X: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of features: Derived features stay unread, others are copied."""
    return X.take(rows) if isinstance(X, Derived) else X[rows]


def widen(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 values as float32; bfloat16 is the upper half of a float32."""
    values = halves.astype(np.uint32)
    values <<= 16
    return values.view(np.float32)


def widened(X: Any) -> Any:
    """Return float16 features as float32, widened when they are read; others unchanged.

    Examples
    --------
    >>> X = widened(np.ones((3, 2), np.float16))
    >>> X.kind, X[1:].dtype
    ('float16', dtype('float32'))
    """
    if isinstance(X, np.ndarray | Shards) and X.dtype.kind == "f" and X.dtype.itemsize == 2:
        return Derived(X, lambda stored, at: stored[at], X.shape[1:], np.float32)
    return X


def bfloat16(halves: NDArray[np.uint16]) -> Derived:
    """Return bfloat16 features as float32, widened when they are read."""
    shape = halves.shape[1:]
    return Derived(halves, lambda stored, at: widen(stored[at]), shape, np.float32, kind="bfloat16")
