"""Runs onelayer's command line in processes with little memory and little time.

A server imports everything once; each command runs in a fork of it, which takes milliseconds.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10  # of computing
PATIENCE = 40  # seconds on the clock: others may be using the machine
ALLOWANCE = 64 << 20  # bytes


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit status (negative: killed by that signal), standard error, time."""

    status: int
    error: str
    seconds: float


class BoundedProcesses:
    """A server that runs commands, each with its own limits."""

    def __enter__(self):
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Arrow's own allocator reserves a GiB of addresses, which count though they are unused.
            env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
        )
        return self

    def __exit__(self, *_):
        self._server.communicate()

    def run(self, *arguments: object, allowance: int = ALLOWANCE) -> Outcome:
        """Run a command that may allocate `allowance` bytes beyond what was imported."""
        request = {"arguments": list(map(str, arguments)), "allowance": allowance}
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return Outcome(**json.loads(self._server.stdout.readline()))


def data_bytes() -> int:
    """Return the private, writable memory of this process, which RLIMIT_DATA counts."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line
    ]
    return int(line.split()[1]) * 1024


def serve() -> None:
    """Answer a line of JSON with a line of JSON until standard input ends."""
    import pyarrow.parquet  # noqa: F401
    import rich.table  # noqa: F401
    from PIL import JpegImagePlugin, PngImagePlugin  # noqa: F401

    from onelayer.cli import run
    from onelayer.data import catalog, description  # noqa: F401
    from onelayer.report.terminal import data  # noqa: F401

    with contextlib.redirect_stderr(io.StringIO()):
        run(["data", "info", "nowhere.csv"])  # makes the commands
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile("w+") as error:
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                obey(request, error.fileno())
            _, status = os.waitpid(child, 0)
            error.seek(0)
            answer = {
                "status": os.waitstatus_to_exitcode(status),
                "error": error.read(100_000),
                "seconds": time.monotonic() - start,
            }
        print(json.dumps(answer), flush=True)


def obey(request: dict, error: int) -> None:
    """Run the command in this process, within its limits, and end it."""
    import signal

    from onelayer.cli import run

    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, target in ((nothing, 0), (nothing, 1), (error, 2)):
        os.dup2(descriptor, target)
    limit = data_bytes() + request["allowance"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(PATIENCE)
    status = 99
    try:
        if request["arguments"][0] == "allocate":
            status = len(bytearray(int(request["arguments"][1]))) == 0
        else:
            status = run(request["arguments"])
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
