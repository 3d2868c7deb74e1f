"""A contender's process: answers one line of JSON for every line it is sent.

The first line it writes, unasked, names the file of its `onelayer`. Requests: {"do": "prepare",
"work": {…}}, {"do": "epoch"} and {"do": "memory"}. If something was raised the answer says so
under "failure".
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import onelayer
from benchmarks.memory import peak_bytes
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
        """Return the largest resident size so far, in bytes."""
        return {"peak_bytes": peak_bytes()}


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; add the CPU seconds of this process before and after it."""
    before = time.process_time()
    try:
        reply = getattr(worker, request.pop("do"))(**request)
    except Exception as error:
        reply = _failure(error)
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
    try:
        worker = Worker(sys.argv[1])
    except Exception as error:
        _write(pipe, _failure(error))
        return
    _write(pipe, {"onelayer": onelayer.__file__})
    for line in sys.stdin:
        _write(pipe, answer(worker, json.loads(line)))
    os._exit(0)  # the contender's threads may be held in the middle of their work


def _write(pipe: TextIO, reply: dict[str, Any]) -> None:
    print(json.dumps(reply), file=pipe, flush=True)


def _failure(error: Exception) -> dict[str, Any]:
    """Return what the harness lists beside the contender's name."""
    return {"failure": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
