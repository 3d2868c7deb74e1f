"""Seconds of the experiment dd2424-a1, and of its whole report: tables, figures, pages, PDF.

    python -m benchmarks.report --rounds 3

Each round is a process of its own, so that the imports of what draws count.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median

from onelayer.experiments.reproduce import reproduce
from onelayer.experiments.spec import load_spec


def time_once(_: int) -> tuple[float, float]:
    """Return the seconds until the results are there, and from then until all is drawn."""
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as name:
        reproduce(
            load_spec("dd2424-a1"),
            Path(name, "run"),
            announce=lambda _: None,
            show=lambda *_: ends.append(time.perf_counter()),
        )
        ends.append(time.perf_counter())
    begin, trained, drawn = ends
    return trained - begin, drawn - trained


def main() -> None:
    """Print the seconds of each round, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        times = [pool.apply(time_once, (number,)) for number in rounds]
    for experiment, report in [*times, tuple(map(median, zip(*times, strict=True)))]:
        print(f"experiment {experiment:5.1f} s, report {report:4.1f} s")
    print("the last line: medians")


if __name__ == "__main__":
    main()
