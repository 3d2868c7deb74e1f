"""The harness's end of a contender's process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.work import Work

ROOT = Path(__file__).resolve().parent.parent
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TURN_SECONDS, _TURN_EPOCHS = 0.5, 9  # short epochs are too easily disturbed to stand alone


@dataclass(frozen=True)
class Start:
    """What to run: the module:function that prepares, with this `source` folder of onelayer.

    Without `source` the onelayer that is installed.
    """

    target: str
    source: Path | None = None


class ContenderError(Exception):
    """The contender raised, or its process ended."""


class Process:
    """One contender in a process of its own; idle until it is asked.

    Raises
    ------
    ContenderError
        If it does not start, or starts with another onelayer than it should.
    """

    def __init__(self, start: Start, threads: int) -> None:
        self._idle_since: float | None = None
        self.idle_cpu_seconds = 0.0
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", start.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(threads, start.source),
            preexec_fn=_restriction(threads),
        )
        try:
            self._greet(start.source)
        except ContenderError:
            self.close()
            raise

    def prepare(self, work: Work) -> None:
        """Let it set up; not timed."""
        self._ask(do="prepare", work=asdict(work))

    def epoch(self) -> dict[str, Any]:
        """Let it run an epoch: seconds, cpu_seconds, outcome."""
        return self._ask(do="epoch")

    def turn(self) -> dict[str, Any]:
        """Let it run epochs for half a second, nine at most; return the median one's seconds.

        `epochs` holds the seconds of each, `cpu_seconds` the CPU time of all of them.
        """
        replies: list[dict[str, Any]] = []
        while len(replies) < _TURN_EPOCHS and sum(r["seconds"] for r in replies) < _TURN_SECONDS:
            replies.append(self.epoch())
        seconds = [reply["seconds"] for reply in replies]
        cpu_seconds = sum(reply["cpu_seconds"] for reply in replies)
        return {"seconds": median(seconds), "epochs": seconds, "cpu_seconds": cpu_seconds}

    def memory(self) -> dict[str, Any]:
        """Return its peak_bytes."""
        return self._ask(do="memory")

    def close(self) -> None:
        """End it."""
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(BrokenPipeError):  # what it was sent last and did not live to read
                pipe.close()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _greet(self, source: Path | None) -> None:
        """Read its first line and see that it runs the onelayer of `source`."""
        found = Path(self._read()["onelayer"]).resolve()
        if source is not None and not found.is_relative_to(source.resolve()):
            raise ContenderError(f"runs {found}, expected one below {source}")

    def _ask(self, **request: Any) -> dict[str, Any]:
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderError(f"its process ended with status {self._child.wait()}") from error
        reply = self._read()
        if self._idle_since is not None:
            self.idle_cpu_seconds += reply["cpu_before"] - self._idle_since
        self._idle_since = reply["cpu_after"]
        return reply

    def _read(self) -> dict[str, Any]:
        line = self._child.stdout.readline()
        if not line:
            raise ContenderError(f"its process ended with status {self._child.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "failure" in reply:
            raise ContenderError(reply["failure"])
        return reply


@contextmanager
def processes(
    starts: Mapping[str, Start], threads: int
) -> Iterator[tuple[dict[str, Process], dict[str, str]]]:
    """Start a process for each name; yield those that run, and why the others do not."""
    with ExitStack() as stack:
        running, failures = {}, {}
        for name, start in starts.items():
            try:
                running[name] = Process(start, threads)
                stack.callback(running[name].close)
            except ContenderError as error:
                failures[name] = str(error)
        yield running, failures


def _environment(threads: int, source: Path | None) -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(path) for path in (source, ROOT, inherited) if path]
    pools = dict.fromkeys(_POOLS, str(threads))
    return {**os.environ, **pools, "PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}


def _restriction(threads: int) -> Any:
    """Return what keeps a child to so many cores: not every library heeds the variables."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))[:threads]
    return lambda: os.sched_setaffinity(0, cores)
