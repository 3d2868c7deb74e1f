"""The order in which samples reach the mini-batches."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import unknown_name

Order = Literal["file", "shuffled"]
ORDERS: tuple[str, ...] = get_args(Order)


def batches(
    n_samples: int, batch_size: int, order: str, generator: np.random.Generator
) -> Iterator[slice | NDArray[np.intp]]:
    """Yield one epoch's mini-batches as row selections; every sample comes exactly once.

    "file" takes consecutive rows, "shuffled" a fresh permutation drawn from `generator`. The last
    batch holds what is left over, so it may be smaller.

    Raises
    ------
    InputError
        If `order` is neither.
    """
    starts = range(0, n_samples, batch_size)
    if order == "file":
        return (slice(start, min(start + batch_size, n_samples)) for start in starts)
    if order != "shuffled":
        raise unknown_name("order", order, ORDERS)
    permutation = generator.permutation(n_samples)
    return (permutation[start : start + batch_size] for start in starts)
