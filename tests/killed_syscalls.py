"""Kills a training at every system call with which it keeps its checkpoints, and resumes it.

    killed_syscalls.py [EVERY]

strace lets SIGKILL come in the n-th fsync, rename, write, …, for every n, or for every EVERY-th.
Prints what came of it; 1 if a resumed run is not the whole one, 0 where strace cannot trace.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import onelayer
from bits import bits

CALLS = ("fsync", "rename", "mkdir", "rmdir", "unlink", "flock", "write", "ftruncate", "chmod")
TRAIN = "import killed_syscalls; killed_syscalls.train()"


def train(folder="run"):
    X = np.random.default_rng(0).random((60, 4))
    data = onelayer.dataset_from(X, np.arange(60) % 3)
    settings = onelayer.grid(l2=[0, 0.1], momentum=[0.9])
    return onelayer.train(
        data, settings, epochs=3, batch_size=20, threads=1, checkpoint="1", folder=folder
    )


def traced(*options):
    """Train under strace; return its exit status, None where it cannot trace."""
    command = ["strace", "-f", "-qq", "-o", "calls", *options, sys.executable, "-c", TRAIN]
    paths = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, env=environment).returncode


def count_calls():
    """Return how often each of the calls is made; of those that this system does not have, 0."""
    counts = Counter()
    for name in CALLS:
        if traced("-e", f"trace={name}") == 0:
            lines = Path("calls").read_text().splitlines()
            counts[name] = sum(f"{name}(" in line for line in lines)
    return counts


def main(every=1):
    probe = ["strace", "-qq", "-o", os.devnull, "true"]
    if shutil.which("strace") is None or subprocess.run(probe, capture_output=True).returncode:
        print("no strace here, or it may not trace: nothing was killed at its system calls")
        return 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        expected, found = bits(train(None)), Counter()
        for call, number in count_calls().items():
            for when in range(1, number + 1, every):
                inject = f"inject={call}:signal=KILL:when={when}"
                killed = traced("-e", f"trace={call}", "-e", inject)
                kept = len([*Path("run.unfinished").glob("checkpoints/*.safetensors")])
                same = bits(train()) == expected
                litter = {*os.listdir()} - {"calls"}
                found["killed"] += killed != 0
                found["with checkpoints"] += kept > 0
                found["resumed to the same bits"] += same and not litter
                found["tries"] += 1
                if litter or not same:
                    print(f"{call} {when}: {'the same bits' if same else 'other bits'}, {litter}")
    print(", ".join(f"{what}: {count}" for what, count in found.items()))
    return 0 if found["tries"] == found["resumed to the same bits"] else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
