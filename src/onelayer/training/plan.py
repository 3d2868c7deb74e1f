"""How many models are trained together, and whether a grid can be trained at all."""

import itertools

from onelayer.errors import InputError

MEMORY = 2**30
# Of each weight while its stack trains: the initial draw in float64, its copy in the models'
# precision, the engine's own and its gradient, the copy that is handed back.
_BYTES_A_WEIGHT = 8 + 8 + 8 + 8 + 8


def model_bytes(n_classes: int, n_features: int, batch_size: int) -> int:
    """Return the memory that one model of a stack takes while it trains, in bytes, at most."""
    return n_classes * (n_features * _BYTES_A_WEIGHT + 8 * 8 * batch_size)


def cut_into_stacks(
    n_models: int, n_classes: int, n_features: int, batch_size: int, memory: int = MEMORY
) -> list[range]:
    """Return the models of each stack: as few stacks as `memory` bytes allow, of even sizes.

    A larger stack is never slower per model (measured up to M = 200), so memory alone cuts.

    Raises
    ------
    InputError
        If one model needs more than `memory`, or the weights of all together more than a hundred
        times as much.
    """
    one = model_bytes(n_classes, n_features, batch_size)
    if one > memory:
        raise InputError(f"memory of {_size(memory)}: one model needs {_size(one)}")
    kept = n_models * n_classes * n_features * 4
    if kept > 100 * memory:
        raise InputError(
            f"{n_models:,} models would leave {_size(kept)} of weights, "
            f"expected at most {_size(100 * memory)}; train fewer, or allow more memory"
        )
    stacks = -(-n_models // (memory // one))
    cuts = [n_models * number // stacks for number in range(stacks + 1)]
    return [range(first, last) for first, last in itertools.pairwise(cuts)]


def _size(count: int) -> str:
    """Write a number of bytes for people."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
