"""What a checkpoint costs beside an epoch, at the size of CIFAR-10.

    python -m benchmarks.checkpoint [--models 20] [--epochs 10] [--folder /tmp]

One training of made pixels, 50,000 of them train and 10,000 validate, with momentum and the best
epoch kept, so that a checkpoint holds all that it can. Each write is timed where it happens, to the
disk that holds the folder; medians.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import onelayer
from benchmarks.machine import cores
from onelayer.data.dataset import Dataset, Split
from onelayer.training.keeper import Keeper


def make_data(rows: int) -> Dataset:
    """Return pixels without a pattern: what they are changes no time."""
    generator = np.random.default_rng(0)

    def split(N: int) -> Split:
        return Split(generator.integers(0, 256, (N, 3072), np.uint8), generator.integers(0, 10, N))

    return Dataset("made", split(rows), split(rows // 5), None, tuple("0123456789"), 255)


def main() -> None:
    """Print the median seconds of an epoch and of a checkpoint, its share and its bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--folder", type=Path, default=None, help="where the disk is")
    asked = parser.parse_args()
    settings = onelayer.grid(l2=np.geomspace(1e-4, 1, asked.models).tolist(), momentum=[0.9])
    writes, ends, sizes, save = list[float](), [time.perf_counter()], [0], Keeper._save

    def timed(self, *arguments):
        begin = time.perf_counter()
        save(self, *arguments)
        writes.append(time.perf_counter() - begin)
        sizes.append(max(path.stat().st_size for path in self._checkpoints.files()))

    def on_epoch(epoch, *_):
        ends.append(time.perf_counter())

    Keeper._save = timed
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        onelayer.train(
            make_data(asked.rows), settings, epochs=asked.epochs, keep="best", checkpoint="1",
            folder=Path(name, "run"), threads=asked.threads, on_epoch=on_epoch,
        )  # fmt: skip
    between = np.diff(ends)[2:] - np.array(writes[1:][: len(ends) - 3])
    epoch, write = median(between), median(writes[1:])
    share, first = 100 * write / epoch, 1000 * writes[0]
    print(
        f"{asked.models} models, {asked.rows:,} rows, {asked.threads} threads: "
        f"epoch {epoch:.3f} s, checkpoint {1000 * write:.1f} ms, {share:.2f} % of an epoch; "
        f"the first, with digests of the data, {first:.0f} ms; {max(sizes) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
