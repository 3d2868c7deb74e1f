"""Two processes of one thread that share the models, beside one process of two threads.

    python -m benchmarks.ranks [--models 20] [--rows 20000] [--epochs 2] [--rounds 5]

Both train the same grid on made pixels of the size of CIFAR-10, in turns, in processes of their
own; timed from the call of `onelayer.train` to the whole result, on all ranks. The seconds
of processors, summed over ranks, are told too: other work on the machine changes them less.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from statistics import median
from typing import NamedTuple

import numpy as np

import onelayer
from benchmarks.checkpoint import make_data

SIZES = {"one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}


class Round(NamedTuple):
    """Seconds of rank 0, seconds of all processors, the sum of all weights, and the engine."""

    seconds: float
    worked: float
    weights: float
    engine: str


def train_once(asked: argparse.Namespace) -> None:
    """Train in this process, together with others if there are any; print its seconds."""
    data = make_data(asked.rows)
    settings = onelayer.grid(l2=np.geomspace(1e-4, 1, asked.models).tolist())
    with onelayer.ranks() as world:
        onelayer.train(data, settings[: world.size], epochs=0, threads=asked.threads)
        world.gather(None)
        begin, worked = time.perf_counter(), time.process_time()
        run = onelayer.train(data, settings, epochs=asked.epochs, threads=asked.threads)
        took = time.perf_counter() - begin, time.process_time() - worked
    print(json.dumps([*took, float(run.weights.sum()), run.provenance["engine"]]))


def time_round(asked: argparse.Namespace, size: int, threads: int) -> Round:
    """Return the outcome of this number of processes and of threads in each."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.ranks", "--threads", str(threads)]
    for name in ("models", "rows", "epochs"):
        command += [f"--{name}", str(getattr(asked, name))]
    started = []
    for rank in range(size):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        place |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": threads}
        environment = os.environ | {name: str(value) for name, value in place.items()}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
    told = [json.loads(process.communicate()[0]) for process in started]
    seconds, _, weights, engine = told[0]
    return Round(seconds, sum(worked for _, worked, *_ in told), weights, engine)


def main() -> None:
    """Print the seconds of each round, the medians, and the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("models", 20), ("rows", 20_000), ("epochs", 2), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.threads:
        train_once(asked)
        return
    rounds = [
        {name: time_round(asked, *sizes) for name, sizes in SIZES.items()}
        for _ in range(asked.rounds)
    ]
    for each in rounds:
        words = ", ".join(f"{name}: {found.seconds:.2f} s" for name, found in each.items())
        print(f"{words}, {next(iter(each.values())).engine}, load {os.getloadavg()[0]:.1f}")
    for what, unit in (("seconds", "s"), ("worked", "s of processors")):
        one, two = (median(getattr(each[name], what) for each in rounds) for name in SIZES)
        print(f"medians {one:.2f} and {two:.2f} {unit}: {one / two:.2f} ×")
    sums = {found.weights for each in rounds for found in each.values()}
    print("the same weights" if len(sums) == 1 else f"OTHER WEIGHTS: {sums}")


if __name__ == "__main__":
    main()
