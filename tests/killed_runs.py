"""Kills `train --force` and `reproduce --force` at random moments: `make test-kill`.

After each kill the folder must be the earlier run, whole, or the new one; after the next run
nothing is left beside it. Half of the kills come anywhere, half near the end, when the folder is
replaced. Each command runs in a fork, so that no time goes into imports.
"""

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork

from onelayer import storage
from onelayer.cli import run as run_command

SPEC = """
name = "small"
title = "Digits"
[data]
dataset = "digits"
[training]
epochs = 2
repeats = 1
[[settings]]
[[gradient_checks]]
name = "strict"
method = "complex"
step = 1e-20
images = 2
l2 = [0]
eps = 1e-6
tolerance = 1e-10
"""
TRAIN = ["train", "digits", "--epochs", "2", "--l2", "0,0.1", "--report", "none"]


def start(command: list[str], out: Path) -> int:
    """Start a command in a fork and return its process id."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os._exit(run_command([*command, "--out", str(out), "--force"]))
    return child


def end(child: int) -> int:
    """Wait for a process and return its status, −n after signal n."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(out: Path) -> str:
    """Return the id of the run in the folder, "" unless all of its files are there and right."""
    manifest = storage.read_manifest(out)
    if manifest is None:
        return ""
    files = storage._digests(out)
    files.pop(storage.MANIFEST)
    return manifest.run_id if files == manifest.files else ""


def main() -> int:
    """Print for each command how its kills ended; 1 if one left neither run, or anything else."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, good = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as name:
        (spec := Path(name, "small.toml")).write_text(SPEC, "utf-8")
        for command in (TRAIN, ["reproduce", str(spec), "--report", "none"]):
            (place := Path(name, command[0])).mkdir()
            with redirect_stdout(io.StringIO()):  # what it imports the forks have, too
                assert run_command([*command, "--out", str(place / "run")]) == 0
            found = Counter(kills(command, place, chance, asked.kills))
            good += found["the earlier run"] + found["the new run"]
            told = ", ".join(f"{what} {count} times" for what, count in sorted(found.items()))
            print(f"{command[0]} --force was killed {asked.kills} times: {told}", flush=True)
    return 0 if good == 2 * asked.kills else 1


def kills(command: list[str], place: Path, chance: random.Random, number: int) -> Iterator[str]:
    """Yield what each kill of the command left; between them the command runs to its end."""
    earlier, seconds = run_whole(command, place)
    for late in [False, True] * (number // 2):
        child = start(command, place / "run")
        time.sleep(seconds * chance.uniform(0.85 if late else 0, 1.02))
        os.kill(child, signal.SIGKILL)
        end(child)
        left = whole(place / "run")
        names = {"": "neither run", earlier: "the earlier run"}
        earlier, seconds = run_whole(command, place)
        yield names.get(left, "the new run") if earlier else "something beside the next run"


def run_whole(command: list[str], place: Path) -> tuple[str, float]:
    """Run the command to its end; return the run's id, "" if not only that is left, and seconds."""
    began = time.monotonic()
    status = end(start(command, place / "run"))
    tidy = status == 0 and os.listdir(place) == ["run"]
    return whole(place / "run") if tidy else "", time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
