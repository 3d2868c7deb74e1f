"""Peak memory of one training and the CPU time that starting takes."""

import json
import resource
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.memory import AnonymousPeak, anonymous_bytes, peak_bytes
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


def main() -> None:
    """Train four models for a few epochs and print this process's sizes in bytes."""
    import onelayer

    data = onelayer.load_dataset("cifar10")
    settings = onelayer.grid(l2=[0, 0.1], learning_rate=[0.001, 0.01])[:_SETTINGS]
    before = anonymous_bytes()
    with AnonymousPeak() as peak:
        onelayer.train(data, settings, epochs=_EPOCHS)
    sizes = {
        "peak, mapped files included": peak_bytes(),
        "peak, anonymous": peak.bytes,
        "anonymous before training": before,
    }
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
