"""Two processes of one thread that share the models, beside one process of two threads.

    python -m benchmarks.ranks [--models 20] [--rows 20000] [--epochs 2] [--rounds 5]

Both train the same grid on made pixels of the size of CIFAR-10, in turns, in processes of their
own; timed from the call of `onelayer.train` to the whole result, on all ranks.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from statistics import median

import numpy as np

import onelayer
from benchmarks.checkpoint import make_data

SIZES = {"one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}


def train_once(asked: argparse.Namespace) -> None:
    """Train in this process, and others if there are any; print the seconds as rank 0."""
    data = make_data(asked.rows)
    settings = onelayer.grid(l2=np.geomspace(1e-4, 1, asked.models).tolist())
    with onelayer.ranks() as world:
        onelayer.train(data, settings[: world.size], epochs=0, threads=asked.threads)
        world.gather(None)
        begin = time.perf_counter()
        run = onelayer.train(data, settings, epochs=asked.epochs, threads=asked.threads)
        seconds = time.perf_counter() - begin
    if world.leads:
        print(json.dumps([seconds, float(run.weights.sum()), run.provenance["engine"]]))


def time_round(asked: argparse.Namespace, size: int, threads: int) -> list:
    """Return what rank 0 of as many processes prints."""
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
    told = [process.communicate()[0] for process in started]
    return json.loads(told[0])


def main() -> None:
    """Print the seconds of each round, their medians, and the ratio of the medians."""
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
        words = ", ".join(f"{name}: {found[0]:.2f} s" for name, found in each.items())
        print(f"{words}, {next(iter(each.values()))[2]}, load {os.getloadavg()[0]:.1f}")
    sums = {found[1] for each in rounds for found in each.values()}
    one, two = (median(each[name][0] for each in rounds) for name in SIZES)
    print(f"medians {one:.2f} and {two:.2f} s: {one / two:.2f} × the speed; ", end="")
    print("the same weights" if len(sums) == 1 else f"OTHER WEIGHTS: {sums}")


if __name__ == "__main__":
    main()
