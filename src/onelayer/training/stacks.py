"""How many models are trained together, and whether a grid can be trained at all."""

import itertools

from onelayer.errors import InputError


def cut_into_stacks(
    n_models: int, one: int, kept: int, memory: int, multiple: int = 1
) -> list[range]:
    """Return the models of each stack: as few stacks as `memory` bytes allow, of even sizes.

    `one` is the memory that a model takes while it trains, `kept` that of its weights and curves
    afterwards, in bytes. A larger stack is never slower per model (measured up to M = 200), so
    memory alone cuts, and the `multiple` of which the number of stacks is one, if the models
    suffice: several processes share them.

    Raises
    ------
    InputError
        If one model needs more than `memory`, or what all together leave does.

    Examples
    --------
    >>> cut_into_stacks(5, one=40, kept=4, memory=100)
    [range(0, 1), range(1, 3), range(3, 5)]
    >>> len(cut_into_stacks(5, one=40, kept=4, memory=100, multiple=2))
    4
    """
    if one > memory:
        raise InputError(f"memory of {_size(memory)}: one model needs {_size(one)}")
    if n_models * kept > memory:
        raise InputError(
            f"memory of {_size(memory)}: {n_models:,} models would leave {_size(n_models * kept)} "
            f"of weights and curves, {_size(kept)} each; train fewer, or allow more memory"
        )
    stacks = -(-n_models // (memory // one))
    stacks = min(-(-stacks // multiple) * multiple, n_models)
    cuts = [n_models * number // stacks for number in range(stacks + 1)]
    return [range(first, last) for first, last in itertools.pairwise(cuts)]


def check_device_memory(models: int, one: int, free: int | None) -> None:
    """Raise InputError if a stack of models of `one` byte count each is more than a device has.

    `free` is the free memory of the device in bytes, None where there is none of its own.
    """
    if free is not None and models * one > free:
        most = "another device" if one > free else f"--memory {free // 10**8 / 10:g}"
        raise InputError(
            f"a stack of {models:,} models needs {_size(models * one)}, and the device has "
            f"{_size(free)} free: {most} would do"
        )


def _size(count: int) -> str:
    """Write a number of bytes for people."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
