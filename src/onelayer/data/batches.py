"""The order in which samples reach the mini-batches."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import unknown_name

Order = Literal["file", "shuffled", "windowed"]
ORDERS: tuple[str, ...] = get_args(Order)
RUN = 256  # consecutive rows read at once: with 3 KB a row a disk reaches nearly its full rate
WINDOW = 64  # runs shuffled together: most batches have every class even if the file is sorted


def batches(
    n_samples: int, batch_size: int, order: str, generator: np.random.Generator
) -> Iterator[slice | NDArray[np.intp]]:
    """Yield one epoch's mini-batches as row selections; every sample comes exactly once.

    "file" takes consecutive rows, "shuffled" a fresh permutation drawn from `generator`, which
    takes 8 bytes a sample. "windowed" shuffles in constant memory and reads in runs: WINDOW runs of
    RUN consecutive rows, drawn at random, are shuffled together, then the next ones. The last batch
    may be smaller. Batches are views of the permutation or window, which cannot be written to.

    Raises
    ------
    InputError
        If `order` is unknown.
    """
    starts = range(0, n_samples, batch_size)
    if order == "file":
        return (slice(start, min(start + batch_size, n_samples)) for start in starts)
    if order == "windowed":
        # The seed is drawn now, so that an epoch that is left early does not change later epochs.
        windows = _windows(n_samples, np.random.default_rng(generator.integers(2**63)))
        return _cut(windows, batch_size)
    if order != "shuffled":
        raise unknown_name("order", order, ORDERS)
    permutation = _fixed(generator.permutation(n_samples))
    return (permutation[start : start + batch_size] for start in starts)


def _windows(n_samples: int, generator: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each window, shuffled; all windows are of nearly the same size."""
    runs = generator.permutation(-(-n_samples // RUN))
    for chosen in np.array_split(runs, -(-len(runs) // WINDOW)):
        rows = (chosen[:, None] * RUN + np.arange(RUN)).ravel()
        yield generator.permutation(rows[rows < n_samples])


def _cut(pieces: Iterator[NDArray[np.intp]], size: int) -> Iterator[NDArray[np.intp]]:
    """Yield batches of `size` rows across the ends of the pieces; the last may be smaller."""
    rest = np.empty(0, np.intp)
    for piece in pieces:
        rows = _fixed(np.concatenate([rest, piece]))
        whole = len(rows) // size * size
        yield from rows[:whole].reshape(-1, size)
        rest = rows[whole:]
    if len(rest):
        yield rest


def _fixed(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows as an order that cannot be written to: an engine may keep its copy of it."""
    rows.flags.writeable = False
    return rows
