"""Kills `onelayer probe` at several of its steps, resumes it, and says what came of each.

A step is whatever Python tells its audit hooks of. Each try runs in a fork of this process, every
other one over an earlier run. Prints a JSON list of the tries. Its arguments are the kind of the
rows, of "classes" or "labels", and the number of tries.
"""

import io
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads end with a fork

import numpy as np
from safetensors.numpy import load_file

from killed_runs import end, whole
from onelayer.cli import run as run_command
from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.experiments import probe_sets as probes
from stored_records import read_record

SETS = ("a.npz", "b.npz", "c.npz")
COMMAND = ["probe", *SETS, "--l2", "0.1,1", "--fractions", "0.5", "--draws", "2", "--threads", "1",
           "--report", "none", "--out"]  # fmt: skip
OUT, KEPT = Path("out"), Path("out.unfinished")


def run_quietly(command):
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return run_command(command)


def run_in_fork(command, step=None):
    """Run a command, up to that step; return its status, its steps, and the sets it probed."""
    told, teller = os.pipe()
    child = os.fork()
    if child == 0:
        steps = count()

        def telling(find):
            def begin(name, *rest):
                os.write(teller, f"{name}\n".encode())
                return find(name, *rest)

            return begin

        def hook(event, _):
            if event.startswith(("open", "os.", "shutil.", "fcntl.")) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        probes.probe_features = telling(probes.probe_features)
        probes.probe_labels = telling(probes.probe_labels)
        sys.addaudithook(hook)
        status = run_quietly(command)
        os.write(teller, f"{next(steps)}\n".encode())
        os._exit(status)
    os.close(teller)
    with open(told) as file:
        words = file.read().split()
    steps = int(words.pop()) if words and words[-1].isdigit() else 0
    return end(child), steps, words


def results(folder):
    """Return what all files hold but the run, where it was made, and its look at the test split."""
    found = {}
    for path in sorted(folder.rglob("*.*")):
        name = path.relative_to(folder).as_posix()
        if name in ("probe.json", "label_probes.json") or path.suffix == ".safetensors":
            record = read_record(path)["record"]
            found[name] = json.dumps({k: v for k, v in record.items() if k != "provenance"})
        elif path.suffix != ".json":
            found[name] = path.read_text("utf-8")
        if path.suffix == ".safetensors":
            found[name] += str([values.tobytes() for values in load_file(path).values()])
    return found


def try_once(step, reference, *, over):
    """Kill at a step, over an earlier run or not, then resume; say what was there and is now."""
    command, earlier = [*COMMAND, str(OUT), *["--force"] * over], ""
    if over:
        shutil.copytree("earlier", OUT)
        earlier = whole(OUT)
    status, _, begun = run_in_fork(command, step)
    kept, left = len([*KEPT.glob("*.safetensors")]), whole(OUT)
    resumed, _, trained = run_in_fork([*command, "--resume"])
    found = {
        "killed": status == -signal.SIGKILL,
        "earlier": left == earlier,
        "lost": len(begun) - kept,
        "kept": kept,
        "trained": len(trained),
        "resumed": resumed,
        "same": results(OUT) == reference,
        "litter": sorted({*os.listdir()} - {*SETS, "earlier", "out"}),
    }
    shutil.rmtree(OUT)
    return found


def main(kind, tries):
    sys.modules["pyarrow"] = None  # its threads end with a fork, too
    # What takes most of the time, and has no part in this.
    os.fsync, intervals = lambda _: None, ModelEvaluation.intervals
    ModelEvaluation.intervals = lambda self, **options: intervals(self, 2, **options)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for number, file in enumerate(SETS):
            X, y = np.random.default_rng(number).random((90, 5)), np.arange(90) % 3
            np.savez(file, X=X, y=y if kind == "classes" else np.stack([y > 0, y < 2], axis=1))
        assert run_quietly([*COMMAND, "earlier"]) == 0  # what it imports the forks have, too
        reference = results(Path("earlier"))
        status, steps, begun = run_in_fork([*COMMAND, str(OUT)])
        assert (status, len(begun), results(OUT)) == (0, 3, reference)
        shutil.rmtree(OUT)
        places = np.linspace(0, steps, tries, endpoint=False).astype(int)
        found = [
            try_once(int(place), reference, over=bool(number % 2))
            for number, place in enumerate(places)
        ]
        os.chdir("/")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
