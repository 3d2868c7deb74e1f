"""Several processes that train one job: a launcher such as torchrun starts, PyTorch joins them.

Each process is a rank of a world. All ranks run the same program: each trains its part, the results
are gathered, and only rank 0 prints and writes. Each rank gives a sign of life every second and
watches those of the others: if a rank is lost, the others end.
"""

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, NoReturn

from onelayer.arguments import checked
from onelayer.errors import InputError, printable, shown
from onelayer.process import GRACE, Stopped, abandon
from onelayer.training.world import World, inside

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_BEAT, _SOON = 1.0, 0.01  # seconds between two signs of life, and, at most, two looks at a meeting
TIMEOUT = 60.0  # seconds without a sign of life, by default
LONGEST = 86_400.0  # seconds without a sign of life that may be allowed
_COMING = 60.0  # seconds in which all ranks have to come; a longer timeout replaces it
_MOST = 100_000  # ranks, and ports
_LEFT, _FAILED = "left", "failed: "


@dataclass(frozen=True)
class Place:
    """What a launcher tells a process: its rank, the number of ranks, and where rank 0 listens."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int

    @classmethod
    def found(cls, variables: Mapping[str, str]) -> "Place | None":
        """Return the place of this process; None if it was started alone.

        Raises
        ------
        InputError
            If a variable is missing, or is not a number in its range.
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
    """Raise InputError if a launcher has started several processes; `what` runs on one."""
    place = Place.found(os.environ)
    if place is not None:
        raise InputError(f"{what} takes one process; {place.size} were started (WORLD_SIZE)")


@contextmanager
@checked
def ranks(timeout: float = TIMEOUT) -> Iterator[World]:
    """Join the processes that a launcher has started together, while the block runs.

    All of them run the same program. They share the work of each training in the block, and each
    gets the whole result. A process that was started alone stays alone. If a rank fails, ends, or
    gives no sign of life for `timeout` seconds, each of the others sends itself SIGTERM, and ends a
    few seconds later if that has no effect.

    Raises
    ------
    InputError
        If a variable of the launcher is missing or wrong, PyTorch is not installed, or a rank has
        not joined within the timeout, or a minute if that is longer.

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
        yield World()
        return
    joined = _Joined(place, timeout)
    try:
        joined.connect()
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
        self._heard = time.monotonic()  # when the store last answered
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
        """Meet the others at the store, which rank 0 or the launcher holds."""
        self._store, _, _ = next(iter(self._distributed.rendezvous("env://", timeout=limit)))
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._prefix = f"onelayer/{again}"
        self._signs = self._store.clone()  # its own connection, which no other call blocks
        self._names = [f"{self._prefix}/{rank}" for rank in range(self.size)]
        self._signs.set(self._names[self.rank], "0")
        self._signs.wait(self._names, limit)
        self._heard, self._seen = time.monotonic(), self._signs.multi_get(self._names)

    def connect(self) -> None:
        """Connect to each of the others.

        Raises
        ------
        InputError
            If one cannot be reached.
        """
        try:
            # No timeout for a rank that is slow: the watcher finds those that are lost.
            self._distributed.init_process_group(
                _backend(),
                store=self._store,
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(days=365),
            )
        except RuntimeError:
            raise InputError(
                f"{self._place.address}:{self._place.port} answers, but another rank does not: "
                "GLOO_SOCKET_IFNAME, such as eth0, names the network between the machines, if the "
                "names of the hosts lead elsewhere"
            ) from None

    def gather(self, value: Any) -> list[Any]:
        """See World.gather; the first ranks wait for the others as long as these live."""
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
        """See World.agree; rank 0 says what differs on which rank."""
        first, *others = self.gather(dict(facts))
        wrong = [
            f"rank {rank}: {name} is {shown(other.get(name))}, not {shown(first.get(name))}"
            for rank, other in enumerate(others, 1)
            for name in {**first, **other}
            if other.get(name) != first.get(name)
        ]
        if wrong:
            words = f"{'; '.join(wrong)} as of rank 0: expected the same on all ranks"
            self.fail(InputError(words))

    def fail(self, error: InputError) -> NoReturn:
        """See World.fail; rank 0 says it, and so ends the others."""
        if not self.leads:
            self._await_end()
        raise error

    def leave(self, sign: str) -> None:
        """Tell the others how this rank ends; rank 0 leaves last, since it may hold the store."""
        well = sign == _LEFT
        if self._over.is_set():  # another rank is lost, not this one
            sign = _LEFT
        self._over.set()
        self._living.join(GRACE / 2)  # its next sign would overwrite this one
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
        """Wait until all ranks have come, without a limit."""
        self._meetings += 1
        name = f"{self._prefix}/meeting/{self._meetings}"
        self._store.add(name, 1)
        pause = _SOON / 16  # short at first: often all come at about the same time
        while self._store.add(name, 0) < self.size:
            time.sleep(pause)
            pause = min(2 * pause, _SOON)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """If a connection breaks in the block, wait until the watcher says which rank is lost."""
        try:
            yield
        except RuntimeError:
            self._await_end()

    def _await_end(self) -> None:
        """Wait for the watcher to end this process, since another rank has ended."""
        time.sleep(self._timeout + GRACE)
        raise InputError(f"rank {self.rank} of {self.size}: the other ranks do not answer")

    def _live(self) -> None:
        """Give a sign of life every second, and read those of the others."""
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
        """End this process if another rank is lost; this thread never waits for an answer."""
        known = {rank: (b"", time.monotonic()) for rank in range(self.size) if rank != self.rank}
        while not self._over.wait(_BEAT):
            lost = self._look(known)
            if lost and not self._over.is_set():
                self._end(lost)

    def _look(self, known: dict[int, tuple[bytes, float]]) -> dict[int, str]:
        """Return the lost ranks and why; `known` has the last sign of each rank and its time."""
        lost, now = {}, time.monotonic()
        if not self._seen:  # they are still coming
            return {0: self._absence} if now - self._heard > self._coming + _BEAT else {}
        if now - self._heard > self._timeout:
            return {0: f"it has ended, or does not answer for {self._timeout:g} s"}
        for rank, (before, since) in known.items():
            sign = self._seen[rank]
            if sign.decode().startswith(_FAILED):  # rank 0 has printed why itself
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
        """End this process; of the ranks that are left the first says why, if nobody has yet."""
        self._over.set()
        first = min(set(range(self.size)) - lost.keys())
        rank, why = min(lost.items())
        words = f"rank {rank} of {self.size}: {' '.join(why.split())}"
        tells = self.rank == first or not self._seen
        abandon(printable(words) if why and tells else "")


def _backend() -> str:
    """Return the backend of the sums: NCCL between CUDA devices, else Gloo."""
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
