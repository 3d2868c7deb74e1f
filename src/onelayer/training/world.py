"""The world that a process is in: one rank alone, or one of several that share the work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, NoReturn, TypeVar

from onelayer.errors import InputError

T = TypeVar("T")
Found = TypeVar("Found")


class World:
    """A world of one rank: a process that was started alone."""

    rank, size, local_rank = 0, 1, 0

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the only one that prints and writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order."""
        return [value]

    def sum(self, tensor: Any) -> None:
        """Replace the tensor by the sum of the tensors of all ranks."""

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Raise InputError on all ranks if a fact differs between them."""

    def fail(self, error: InputError) -> NoReturn:
        """Raise an error that all ranks have found."""
        raise error


_ALONE = World()
_current = ContextVar("world", default=_ALONE)


def world() -> World:
    """Return the world that this process is in."""
    return _current.get()


@contextmanager
def inside(other: World) -> Iterator[World]:
    """Put this thread into another world while the block runs."""
    before = _current.set(other)
    try:
        yield other
    finally:
        _current.reset(before)


def alone() -> AbstractContextManager[World]:
    """Make this process alone in a block that the other ranks do not run."""
    own = World()
    own.local_rank = world().local_rank  # it keeps its GPU
    return inside(own)


def shared(items: Sequence[T], work: Callable[[T], Found]) -> Iterator[Found]:
    """Yield the result of `work` for each item; each of several ranks takes one item at a time.

    Works in rounds: all ranks get the results of a round, in the order of the items. If an item
    raises InputError, all ranks raise it after the results of the items before.
    """
    here = world()
    for first in range(0, len(items), here.size):
        with alone():
            own = [_outcome(work, item) for item in items[first:][here.rank : here.rank + 1]]
        for found in chain(*here.gather(own)):
            if isinstance(found, InputError):
                here.fail(found)
            yield found


def _outcome(work: Callable[[T], Found], item: T) -> Found | InputError:
    try:
        return work(item)
    except InputError as error:
        return error
