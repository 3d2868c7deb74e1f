"""A contender's process: answers one line of JSON for every line it is sent.

Requests: {"do": "prepare", "work": {…}}, {"do": "epoch"} and {"do": "memory"}. The answer holds
"failure" if something was raised.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from benchmarks.work import Epoch, Work, pose


class Worker:
    """Holds the contender between its turns and times its epochs."""

    def __init__(self, target: str) -> None:
        module, function = target.split(":")
        self._prepare: Callable[[Any], Epoch] = getattr(importlib.import_module(module), function)
        self._epoch: Epoch | None = None

    def prepare(self, work: dict[str, Any]) -> dict[str, Any]:
        """Pose the problem; nothing of this is timed."""
        self._epoch = None  # the last problem's data go before the next one's come
        shape = work.pop("shape")
        self._epoch = self._prepare(pose(Work(shape=shape and tuple(shape), **work)))
        return {}

    def epoch(self) -> dict[str, Any]:
        """Run one epoch; return its seconds, its CPU seconds of all threads, and its outcome."""
        assert self._epoch is not None, "prepare comes first"
        cpu, begin = time.process_time(), time.perf_counter()
        outcome = self._epoch()
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return {"seconds": seconds, "cpu_seconds": cpu, "outcome": dict(outcome)}

    def memory(self) -> dict[str, Any]:
        """Return the largest resident size so far, in bytes, and where onelayer comes from."""
        import onelayer

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"peak_bytes": peak, "onelayer": os.path.abspath(onelayer.__file__)}


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; add the CPU seconds of this process before and after it."""
    before = time.process_time()
    try:
        reply = getattr(worker, request.pop("do"))(**request)
    except Exception as error:  # the harness lists it beside the contender's name
        reply = {"failure": f"{type(error).__name__}: {error}"}
    return reply | {"cpu_before": before, "cpu_after": time.process_time()}


def own_output() -> TextIO:
    """Return the pipe to the harness; what libraries print goes to standard error instead."""
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """Serve until the harness closes the pipe."""
    pipe = own_output()
    worker = Worker(sys.argv[1])
    print(json.dumps({}), file=pipe, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), file=pipe, flush=True)
    os._exit(0)  # the contender's threads may be held in the middle of their work


if __name__ == "__main__":
    main()
