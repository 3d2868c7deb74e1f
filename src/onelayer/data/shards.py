"""Several arrays that are read as one array, concatenated along the rows."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shards:
    """Arrays (n, D) concatenated along the rows to (N, D), without a copy.

    The arrays have the same type, width and strides. Indexing gives an array: a view if a slice
    lies in one shard, else a copy of the rows. An index is a slice or an index array, which is all
    that mini-batches need.
    """

    ndim = 2

    def __init__(self, arrays: Sequence[NDArray[np.generic]]) -> None:
        self._arrays = tuple(arrays)
        self._ends = list(accumulate(map(len, self._arrays)))
        self._ends_array = np.array(self._ends)
        self._starts = [0, *self._ends[:-1]]
        ((self.dtype, self.strides, D),) = {(a.dtype, a.strides, a.shape[1]) for a in self._arrays}
        self.shape = (self._ends[-1], D)
        first_rows = [array.ctypes.data for array in self._arrays]
        self._origins = np.array(first_rows) - np.array(self._starts) * self.strides[0]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> NDArray[np.generic]:
        if not isinstance(rows, slice):
            return self._gather(rows)
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self._gather(np.arange(start, stop, step))
        return self._read(start, max(start, stop))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, start: int, stop: int) -> NDArray[np.generic]:
        """Return the rows start:stop."""
        first = min(bisect_right(self._ends, start), len(self._arrays) - 1)
        if stop <= self._ends[first]:
            return self._arrays[first][start - self._starts[first] : stop - self._starts[first]]
        last = bisect_right(self._starts, stop - 1)
        return np.concatenate(
            [
                self._arrays[shard][
                    max(start - self._starts[shard], 0) : stop - self._starts[shard]
                ]
                for shard in range(first, last)
            ]
        )

    def _gather(self, rows: NDArray[np.intp]) -> NDArray[np.generic]:
        """Return the rows of an index array: sorted, read shard by shard, and put back in order."""
        order = np.argsort(rows)
        ascending = rows[order]
        cuts = np.searchsorted(ascending, self._ends_array)
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        for shard in np.unique(self._shards_of(ascending)):
            here = slice(cuts[shard - 1] if shard else 0, cuts[shard])
            local = ascending[here] - self._starts[shard]
            # Without "clip" NumPy would make a second copy; the rows are known to be in range.
            np.take(self._arrays[shard], local, axis=0, out=gathered[here], mode="clip")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return gathered[back]

    def addresses(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the memory address of each row."""
        return np.asarray(self._origins[self._shards_of(rows)] + rows * self.strides[0])

    def _shards_of(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the shard of each row; IndexError if a row is out of range."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(self)}")
        shards: NDArray[np.intp] = np.searchsorted(self._ends_array, rows, side="right")
        return shards
