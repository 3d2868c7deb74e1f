"""Kills `reproduce --checkpoint 1` and resumes it: every bit must be that of a whole run.

The spec has folds, a repeat and a variant. Half of the kills come at a step, evenly over all of
them, half at a random moment. A step is whatever Python tells its audit hooks of: opening, linking,
renaming, removing, … Each try runs in a fork, every other one over an earlier run.

    killed_trainings.py N [SEED]

prints what came of the N tries; 1 if anything else did.
"""

import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads end with a fork

import numpy as np

from bits import bits
from killed_runs import end, whole
from onelayer.cli import run as run_command
from onelayer.evaluation.run_folder import RunFolder

SPEC = """
name = "small"
title = "Small"
[data]
dataset = "data.npz"
validation = 0.2
[training]
epochs = 3
batch_size = 20
repeats = 1
folds = 2
snapshots = 2
[grid]
l2 = [0, 0.1]
momentum = [0.9]
[[variants]]
name = "best"
title = "The best epoch"
[variants.training]
keep = "best"
folds = 0
[variants.grid]
schedule = ["plateau:1:0.5", "cosine"]
"""
COMMAND = ["reproduce", "small.toml", "--out", "out", "--report", "none", "--threads", "1",
           "--checkpoint", "1"]  # fmt: skip
OUT, KEPT = Path("out"), Path("out.unfinished")


def run_in_fork(command, step=None, seconds=None):
    """Run a command, up to a step or a moment; return its status and how many steps it took."""
    told, teller = os.pipe()
    child = os.fork()
    if child == 0:
        steps = count()

        def hook(event, _):
            if event.startswith(("open", "os.", "shutil.", "fcntl.")) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.addaudithook(hook)
        status = run_command(command)
        os.write(teller, str(next(steps)).encode())
        os._exit(status)
    os.close(teller)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = end(child)
    with open(told) as file:
        return status, int(file.read() or 0)


def results(folder):
    """Return the bits of all that a folder holds, of its variant, too."""
    found = RunFolder.open(folder)
    return bits([found.results(), found.variant("best").results(), found.ablation()])


def try_once(reference, step, seconds, *, over):
    """Kill, over an earlier run or not, then resume; say what was there and is now."""
    if over:
        shutil.copytree("earlier", OUT)
    killed, _ = run_in_fork([*COMMAND, *["--force"] * over], step, seconds)
    kept, left = len([*KEPT.glob("checkpoints/*")]), whole(OUT)
    if kept:
        status, _ = run_in_fork(["resume", "out", "--force"])
    else:
        status, _ = run_in_fork([*COMMAND, "--force"])
    litter = {*os.listdir()} - {"small.toml", "data.npz", "earlier", "out"}
    wrong = {
        "status": status,
        "other bits": status == 0 and results(OUT) != reference,
        "lost": over and not left,  # the earlier run or the new one is there, whole
        "litter": sorted(litter),
    }
    found = {
        "killed": killed == -signal.SIGKILL,
        "kept": kept,
        "wrong": {name: what for name, what in wrong.items() if what},
    }
    shutil.rmtree(OUT, ignore_errors=True)
    return found


def try_until_killed(reference, step, seconds, *, over):
    """Try again sooner where the command ended before the kill."""
    found = try_once(reference, step, seconds, over=over)
    if found["killed"] or found["wrong"]:
        return found
    return try_until_killed(reference, step and step // 2, seconds and seconds / 2, over=over)


def main(tries, seed=0):
    sys.modules["pyarrow"] = None  # its threads end with a fork, too
    os.fsync, chance = lambda _: None, random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        y, generator = np.arange(120) % 3, np.random.default_rng(0)
        np.savez("data.npz", X=generator.random((120, 5)) + np.eye(3, 5)[y], y=y)
        Path("small.toml").write_text(SPEC, "utf-8")
        whole_run = ["earlier" if word == "out" else word for word in COMMAND[:-2]]
        with redirect_stdout(io.StringIO()):  # what it imports the forks have, too
            assert run_command(whole_run) == 0
        reference, began = results(Path("earlier")), time.monotonic()
        status, steps = run_in_fork(COMMAND)
        seconds = time.monotonic() - began
        assert (status, results(OUT)) == (0, reference)
        shutil.rmtree(OUT)
        places = np.linspace(0, steps, tries // 2, endpoint=False).astype(int).tolist()
        moments = [chance.uniform(0, seconds) for _ in range(tries - len(places))]
        tasks = [*((place, None) for place in places), *((None, moment) for moment in moments)]
        found = [
            try_until_killed(reference, step, moment, over=number % 2 == 1)
            for number, (step, moment) in enumerate(tasks)
        ]
    wrong = [one for one in found if one["wrong"]]
    print(
        f"{len(found)} kills, {sum(one['kept'] > 0 for one in found)} of them after a checkpoint: "
        f"{len(found) - len(wrong)} "
        "resumed runs are the whole one in every bit, with no result lost and no file left over"
    )
    print(*wrong, sep="\n", end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
