"""Peak memory of one training and the CPU time that starting takes."""

import json
import resource
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

from benchmarks.process import ROOT
from benchmarks.summary import table

_STARTS = 10
_EPOCHS = 3
_SETTINGS = 4
_MEBIBYTE = 1024 * 1024


def measure_footprint() -> dict[str, Any]:
    """Return {"memory": bytes by name, "start": CPU seconds by command}."""
    return {"memory": _memory(), "start": _starts()}


def describe_footprint(footprint: dict[str, Any]) -> str:
    """Return both as Markdown tables."""
    memory = [[name, f"{size / _MEBIBYTE:.0f}"] for name, size in footprint["memory"].items()]
    starts = [[command, f"{1000 * s:.0f}"] for command, s in footprint["start"].items()]
    return (
        table(["memory of one training", "MiB"], memory)
        + "\n"
        + table([f"start, median of {_STARTS}", "CPU ms (user + system)"], starts)
    )


def _memory() -> dict[str, int]:
    """Train in a process of its own and return what it says of itself."""
    command = [sys.executable, "-m", "benchmarks.footprint"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    sizes: dict[str, int] = json.loads(done.stdout)
    return sizes


def _starts() -> dict[str, float]:
    python, script = sys.executable, Path(sysconfig.get_path("scripts")) / "onelayer"
    commands = {
        "python -c pass": [python, "-c", "pass"],
        "import numpy": [python, "-c", "import numpy"],
        "import onelayer": [python, "-c", "import onelayer"],
        "onelayer --help": [str(script), "--help"],
    }
    return {name: median(_cpu_seconds(c) for _ in range(_STARTS)) for name, c in commands.items()}


def _cpu_seconds(command: Sequence[str]) -> float:
    """Return the user and system time of one child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class _AnonymousPeak:
    """The largest memory that is no file's, looked up all the while; 0 where Linux is not."""

    def __init__(self) -> None:
        self.bytes = 0
        self._enough = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_AnonymousPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._enough.wait(0.005):
            self.bytes = max(self.bytes, anonymous_bytes())


def anonymous_bytes() -> int:
    """Return RssAnon of this process, or 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")]
    return sizes[0] if sizes else 0


def main() -> None:
    """Train four models for a few epochs and print this process's sizes in bytes."""
    import onelayer

    data = onelayer.load_dataset("cifar10")
    settings = onelayer.grid(l2=[0, 0.1], learning_rate=[0.001, 0.01])[:_SETTINGS]
    before = anonymous_bytes()
    with _AnonymousPeak() as peak:
        onelayer.train(data, settings, epochs=_EPOCHS)
    unit = 1 if sys.platform == "darwin" else 1024
    sizes = {
        "peak, files mapped included (ru_maxrss)": resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss
        * unit,
        "peak, anonymous (RssAnon)": peak.bytes,
        "anonymous before training": before,
    }
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
