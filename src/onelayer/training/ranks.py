"""Several processes that train one job: a launcher like torchrun starts, PyTorch joins them.

A process is a rank of a world. All run the same program: each trains its part, what it found is
gathered, and rank 0 alone tells and writes. A thread of each rank says every second that it lives
and looks after the others: when one is lost, the rest end.
"""

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

from onelayer.arguments import checked
from onelayer.errors import InputError, printable, shown
from onelayer.process import GRACE, Stopped, abandon

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_BEAT, _SOON = 1.0, 0.01  # seconds between two signs of life, and between two looks at a meeting
TIMEOUT = 60.0  # seconds without a sign of life, by default
LONGEST = 86_400.0  # seconds without a sign of life that may be allowed
_COMING = 60.0  # seconds in which all ranks must have begun, at least
_MOST = 100_000  # ranks, and ports
_LEFT, _FAILED = "left", "failed: "


@dataclass(frozen=True)
class Place:
    """What a launcher says to a process: its rank, the number of all, and where rank 0 listens."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int

    @classmethod
    def found(cls, variables: Mapping[str, str]) -> "Place | None":
        """Return the place of this process, None if it is alone.

        Raises
        ------
        InputError
            If a variable is missing or is no such number.
        """
        if "RANK" not in variables and variables.get("WORLD_SIZE", "1") == "1":
            return None
        missing = [name for name in _NAMES if not variables.get(name)]
        if missing:
            raise InputError(
                f"{missing[0]} is not set, and {', '.join(variables.keys() & set(_NAMES))} are: a "
                f"launcher of several processes, such as torchrun, sets {', '.join(_NAMES)}"
            )
        size = _number(variables, "WORLD_SIZE", 1, _MOST)
        place = cls(
            rank=_number(variables, "RANK", 0, size - 1),
            size=size,
            local_rank=_number(variables, "LOCAL_RANK", 0, size - 1),
            address=variables["MASTER_ADDR"],
            port=_number(variables, "MASTER_PORT", 1, 65535),
        )
        return place if size > 1 else None


def _number(variables: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = variables[name]
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise InputError(f"{name} is {shown(text)}; expected a whole number, {least} to {most}")
    return int(text)


def check_alone(what: str) -> None:
    """Raise InputError if a launcher has started several processes, since `what` is for one."""
    place = Place.found(os.environ)
    if place is not None:
        raise InputError(f"{what} takes one process; {place.size} were started (WORLD_SIZE)")


class World:
    """A world of one: what a process is that nobody started together with others."""

    rank, size, local_rank = 0, 1, 0

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which alone tells and writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order."""
        return [value]

    def sum(self, tensor: Any) -> None:
        """Let the tensor be the sum of those of all ranks."""

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Raise InputError, on all ranks, unless the facts are the same on all of them."""


_ALONE = World()
_current = ContextVar("world", default=_ALONE)


def world() -> World:
    """Return the world that this process is in."""
    return _current.get()


@contextmanager
def inside(other: World) -> Iterator[World]:
    """Let this thread be in another world while the block runs."""
    before = _current.set(other)
    try:
        yield other
    finally:
        _current.reset(before)


def alone() -> AbstractContextManager[World]:
    """Let this process be alone in a block that the others do not run at that time."""
    return inside(_ALONE)


@contextmanager
@checked
def ranks(timeout: float = TIMEOUT) -> Iterator[World]:
    """Join the processes that a launcher has started together, while the block runs.

    All of them run the same program. What they train in the block is shared between them, and each
    gets the whole result. A process that was started alone stays alone. When a rank fails, ends,
    or gives no sign of life for `timeout` seconds, the others are ended: by SIGTERM, and those that
    do not hear it a few seconds later.

    Raises
    ------
    InputError
        If a variable of the launcher is missing or wrong, PyTorch is not installed, or a rank does
        not come within the timeout.

    Examples
    --------
    >>> with onelayer.ranks() as world:  # this process is alone
    ...     world.rank, world.size
    (0, 1)
    """
    if not 1 <= timeout <= LONGEST:
        raise InputError(f"timeout is {timeout}; expected a number of seconds, 1 to {LONGEST:,}")
    place = Place.found(os.environ)
    if place is None:
        yield _ALONE
        return
    joined = _Joined(place, timeout)
    try:
        with inside(joined):
            yield joined
    except Exception as error:
        known = isinstance(error, InputError | OSError)
        joined.leave(f"{_FAILED}{error if known else repr(error)}")
        raise
    except BaseException as error:
        name = error.name if isinstance(error, Stopped) else type(error).__name__
        joined.leave(f"{_FAILED}ended by {name}")
        raise
    joined.leave(_LEFT)


class _Joined(World):
    """A world of several ranks, held together by PyTorch's store and its group of processes."""

    def __init__(self, place: Place, timeout: float) -> None:
        self.rank, self.size, self.local_rank = place.rank, place.size, place.local_rank
        self._place, self._timeout, self._meetings = place, timeout, 0
        self._coming = max(timeout, _COMING)
        self._distributed = _import_distributed()
        self._over, self._seen = threading.Event(), list[bytes]()
        self._heard = time.monotonic()  # when the store answered
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._join(timedelta(seconds=self._coming))
        except BaseException as error:
            self._over.set()
            if not isinstance(error, RuntimeError):
                raise
            raise InputError(f"rank {self.rank} of {self.size}: {self._absence}") from None
        self._living = threading.Thread(target=self._live, daemon=True)
        self._living.start()

    @property
    def _absence(self) -> str:
        return (
            f"not all ranks came to {self._place.address}:{self._place.port} within "
            f"{self._coming:g} s: do all run, and do they reach that address?"
        )

    def _join(self, limit: timedelta) -> None:
        """Connect to all others; rank 0 holds the store, or the launcher does."""
        self._store, _, _ = next(iter(self._distributed.rendezvous("env://", timeout=limit)))
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._prefix = f"onelayer/{again}"
        self._signs = self._store.clone()  # a connection of its own: no wait holds it up
        self._names = [f"{self._prefix}/{rank}" for rank in range(self.size)]
        self._signs.set(self._names[self.rank], "0")
        self._signs.wait(self._names, limit)
        # The watcher knows who is lost; a rank that is slow is waited for.
        self._distributed.init_process_group(
            _backend(),
            store=self._store,
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(days=365),
        )

    def gather(self, value: Any) -> list[Any]:
        """See World.gather; ranks that come first wait as long as the others live."""
        found: list[Any] = [None] * self.size
        with self._connected():
            self._meet()
            self._distributed.all_gather_object(found, value)
        return found

    def sum(self, tensor: Any) -> None:
        """See World.sum."""
        with self._connected():
            self._distributed.all_reduce(tensor)

    def agree(self, facts: Mapping[str, Any]) -> None:
        """See World.agree; rank 0 says what differs, rank by rank."""
        first, *others = self.gather(dict(facts))
        wrong = [
            f"rank {rank}: {name} is {shown(other.get(name))}, not {shown(first.get(name))}"
            for rank, other in enumerate(others, 1)
            for name in {**first, **other}
            if other.get(name) != first.get(name)
        ]
        if wrong and not self.leads:
            self._await_end()
        if wrong:
            raise InputError(f"{'; '.join(wrong)} as of rank 0: expected the same on all ranks")

    def leave(self, sign: str) -> None:
        """Tell the others how this rank ends; rank 0, which may hold the store, goes last."""
        well = sign == _LEFT
        if self._over.is_set():  # it is another one that is lost
            sign = _LEFT
        self._over.set()
        self._living.join(GRACE / 2)  # or it might write over what is said here
        with suppress(RuntimeError):
            self._signs.set(self._names[self.rank], sign.encode("utf-8", "backslashreplace"))
            end = time.monotonic() + (self._timeout if well else GRACE / 2)
            while self.leads and time.monotonic() < end and not self._are_gone():
                time.sleep(_SOON)
        if well:
            self._distributed.destroy_process_group()

    def _are_gone(self) -> bool:
        """Return whether all others have left or failed."""
        others = self._signs.multi_get(self._names[1:])
        return all(sign.decode().startswith((_LEFT, _FAILED)) for sign in others)

    def _meet(self) -> None:
        """Wait until all ranks are here, however long that takes."""
        self._meetings += 1
        name = f"{self._prefix}/meeting/{self._meetings}"
        self._store.add(name, 1)
        pause = _SOON / 16  # short at first: mostly all come at the same time
        while self._store.add(name, 0) < self.size:
            time.sleep(pause)
            pause = min(2 * pause, _SOON)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Leave it to the watcher to say who is lost where a connection breaks."""
        try:
            yield
        except RuntimeError:
            self._await_end()

    def _await_end(self) -> None:
        """Wait for the watcher, which ends this process, since others do not go on."""
        time.sleep(self._timeout + GRACE)
        raise InputError(f"rank {self.rank} of {self.size}: the other ranks do not answer")

    def _live(self) -> None:
        """Give signs of life, and take in those of the others."""
        for beat in count(1):
            if self._over.wait(_BEAT):
                return
            try:
                self._signs.set(self._names[self.rank], str(beat))
                self._seen, self._heard = self._signs.multi_get(self._names), time.monotonic()
            except RuntimeError:
                self._heard = -math.inf  # the store is gone
                return

    def _watch(self) -> None:
        """End this process if another one is lost; this thread asks nobody and so never waits."""
        known = {rank: (b"", time.monotonic()) for rank in range(self.size) if rank != self.rank}
        while not self._over.wait(_BEAT):
            lost = self._look(known)
            if lost and not self._over.is_set():
                self._end(lost)

    def _look(self, known: dict[int, tuple[bytes, float]]) -> dict[int, str]:
        """Return why ranks are lost; `known` are their last signs of life and when they came."""
        lost, now = {}, time.monotonic()
        if not self._seen:  # they are still coming
            return {0: self._absence} if now - self._heard > self._coming + _BEAT else {}
        if now - self._heard > self._timeout:
            return {0: f"it has ended, or does not answer for {self._timeout:g} s"}
        for rank, (before, since) in known.items():
            sign = self._seen[rank]
            if sign.decode().startswith(_FAILED):  # rank 0 says so itself
                lost[rank] = sign.decode().removeprefix(_FAILED) if rank else ""
            elif sign != before:
                known[rank] = sign, now
            elif sign.decode() != _LEFT and now - since > self._timeout:
                lost[rank] = (
                    f"no sign of life for {self._timeout:g} s: was it killed or stopped, or its "
                    "machine cut off?"
                )
        return lost

    def _end(self, lost: Mapping[int, str]) -> None:
        """End this process; the first of those that are left says why, if it is not known."""
        self._over.set()
        first = min(set(range(self.size)) - lost.keys())
        rank, why = min(lost.items())
        words = f"rank {rank} of {self.size}: {' '.join(why.split())}"
        tells = self.rank == first or not self._seen
        abandon(printable(words) if why and tells else "")


def _backend() -> str:
    """Return what carries the sums: NCCL between GPUs of CUDA, else Gloo."""
    import torch

    cuda = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if cuda else "gloo"


def _import_distributed() -> Any:
    try:
        import torch.distributed as distributed
    except ImportError as error:
        raise InputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and PyTorch, which joins the processes, "
            f"cannot be imported ({error}): pip install 'onelayer[torch]'"
        ) from None
    if not distributed.is_available():
        raise InputError("this PyTorch was built without torch.distributed, which joins processes")
    return distributed
