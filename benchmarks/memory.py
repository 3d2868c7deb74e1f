"""Sizes of this process in memory, in bytes."""

import resource
import sys
from pathlib import Path
from threading import Event, Thread


def peak_bytes() -> int:
    """Return the largest resident size so far, mapped files included.

    Where Linux tells it, not by getrusage: there a child begins with its parent's peak.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_bytes() -> int:
    """Return the resident memory that is no file's, or 0 where the system does not tell."""
    return _status("RssAnon")


class AnonymousPeak:
    """The largest anonymous_bytes() in a `with` block, looked up every few milliseconds."""

    def __init__(self) -> None:
        self.bytes = 0
        self._enough = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._enough.wait(0.005):
            self.bytes = max(self.bytes, anonymous_bytes())


def _status(name: str) -> int:
    """Return a size in /proc/self/status, or 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return sizes[0] if sizes else 0
