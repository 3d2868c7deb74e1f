"""Pooling of several vectors a sample, such as the tokens of a network, to one vector."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.derived import Derived
from onelayer.errors import InputError

_PLACES = {"cls": 0, "last": -1}
_AT = re.compile(r"index:(-?[0-9]{1,9})", re.ASCII)
_IF_TOKENS = " if tokens"
WAYS = "mean, cls (the first), last, index:I or none (all numbers in a row)"


def read_pool(value: Any) -> str:
    """Return the name of a pooling; InputError if it is unknown."""
    way = value.removesuffix(_IF_TOKENS) if isinstance(value, str) else value
    if way in ("mean", "none", *_PLACES) or (isinstance(way, str) and _AT.fullmatch(way)):
        return str(value)
    raise InputError(f"pool is {value!r:.40}; expected {WAYS}")


def if_tokens(pool: str) -> str:
    """Return the pooling that a model stores: it leaves rows (N, D) unchanged."""
    return pool.removesuffix(_IF_TOKENS) + _IF_TOKENS


def pooling_of(shape: Sequence[int], pool: str | None) -> str | None:
    """Return the pooling for features of this shape, or None.

    Examples
    --------
    >>> pooling_of((60, 3, 5), if_tokens("mean")), pooling_of((60, 5), if_tokens("mean"))
    ('mean', None)
    """
    if pool is None or not pool.endswith(_IF_TOKENS):
        return pool
    return pool.removesuffix(_IF_TOKENS) if len(shape) == 3 else None


def check_pooled(
    where: str, shape: Sequence[int], kind: str, pool: str | None, *, pictures: bool = False
) -> None:
    """Raise InputError for tokens (N, T, D) without a pooling, and for a pooling without tokens.

    Pictures (N, H, W) have three dimensions, too. They are known by their name (`pictures`), by
    integers, or by a square shape.
    """
    pool = pooling_of(shape, pool)
    of_shape = f"{where} of the shape {(*shape,)}"
    if pool is None:
        if not pictures and len(shape) == 3 and shape[1] != shape[2] and "float" in kind:
            raise InputError(
                f"{of_shape}: {shape[1]:,} vectors of {shape[2]:,} numbers a sample, as tokens "
                f"have; --pool chooses a pooling: {WAYS}"
            )
        return
    if len(shape) != 3:
        raise InputError(f"{of_shape}: pool {pool!r} takes (N, T, D), T vectors a sample")
    place = _place_of(pool)
    if place is not None and not -shape[1] <= place < shape[1]:
        last = shape[1] - 1
        raise InputError(f"{of_shape}: pool {pool!r}; expected an index from 0 to {last:,}")


def pooled(X: Any, pool: str | None) -> Any:
    """Return features (N, T, D) pooled to (N, D), read block by block; others unchanged.

    With "none" they become (N, T·D) whenever they are read, since a copy would save no memory.
    """
    pool = pooling_of(X.shape, pool)
    if pool is None:
        return X
    place = _place_of(pool)

    def make(stored: Any, at: Any) -> NDArray[Any]:
        if place is not None:
            return np.asarray(stored[at, place])
        if pool == "none":
            return np.asarray(stored[at]).reshape(-1, T * D)
        return np.asarray(np.mean(stored[at], axis=1, dtype=np.float64))

    _, T, D = X.shape
    exact = X.dtype.itemsize <= 2 or X.dtype == np.float32
    shape = (T * D,) if pool == "none" else (D,)
    made = Derived(X, make, shape, np.float32 if exact else np.float64)
    return made if pool == "none" else made[:]


def _place_of(pool: str) -> int | None:
    found = _AT.fullmatch(pool)
    return int(found[1]) if found else _PLACES.get(pool)
