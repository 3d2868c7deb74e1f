"""`python -m benchmarks.larger_than_memory`: an epoch from mapped shards over one from memory.

Rows of 3,072 bytes in ragged shards in a temporary folder, and the same rows in one array in
memory. In every round each order is run from both, in turns; an epoch's time includes the curves.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.summary import table
from onelayer import Dataset, Split, grid, load_dataset, train
from onelayer.data.batches import ORDERS

_D, _K, _VALIDATION = 3072, 10, 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data, time the rounds and print a table."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="onelayer-") as name:
        folder = Path(name)
        write_shards(folder, options.rows, options.shards)
        mapped = load_dataset(folder)
        memory = _in_memory(mapped)
        ratios: dict[str, list[tuple[float, float]]] = {order: [] for order in ORDERS}
        for _ in range(options.rounds):
            for order, seconds in ratios.items():
                in_memory = _epoch(memory, order, options.models)
                seconds.append((in_memory, _epoch(mapped, order, options.models)))
    print(
        f"{options.rows:,} × {_D:,} bytes in {options.shards} shards, "
        f"page cache warm, M = {options.models}, "
        f"medians of {options.rounds} rounds\n"
    )
    print(
        table(
            ["order", "memory, s", "shards, s", "ratio, paired", "smallest", "largest"],
            [_row(order, seconds) for order, seconds in ratios.items()],
        )
    )


def write_shards(folder: Path, rows: int, shards: int, seed: int = 0) -> None:
    """Write `rows` training rows of random bytes in `shards` ragged shards, and a validation split.

    Random bytes are drawn once, a megabyte of rows; every shard holds them from another row on.
    """
    generator = np.random.default_rng(seed)
    pool = generator.integers(0, 256, (2 * 341, _D), dtype=np.uint8)
    for split in ("train", "validation"):
        (folder / split).mkdir()
    ends = [round(rows * (i + (i % 2) / 3) / shards) for i in range(shards)] + [rows]
    for shard in range(shards):
        _write_pair(folder / "train", f"{shard:04}", ends[shard + 1] - ends[shard], pool, generator)
    _write_pair(folder / "validation", "0000", _VALIDATION, pool, generator)


def _write_pair(
    folder: Path, name: str, rows: int, pool: np.ndarray, generator: np.random.Generator
) -> None:
    X = np.lib.format.open_memmap(folder / f"{name}.X.npy", "w+", np.uint8, (rows, _D))
    for start in range(0, rows, 341):
        block = X[start : start + 341]
        block[...] = pool[(first := generator.integers(341)) : first + len(block)]
    X.flush()
    np.save(folder / f"{name}.y.npy", generator.integers(0, _K, rows).astype(np.uint8))


def _in_memory(data: Dataset) -> Dataset:
    splits = [Split(np.array(split.X), split.y) for split in data.splits.values()]
    return Dataset("memory", *splits, None, data.class_names, data.full_scale)


def _epoch(data: Dataset, order: str, models: int) -> float:
    """Return the seconds of one epoch and its curves, without the start."""
    times: list[float] = []
    settings = grid(learning_rate=np.geomspace(0.001, 0.01, models).tolist())
    train(
        data, settings, epochs=1, order=order, on_epoch=lambda *_: times.append(time.perf_counter())
    )
    return times[1] - times[0]


def _row(order: str, seconds: Sequence[tuple[float, float]]) -> list[str]:
    paired = [shards / memory for memory, shards in seconds]
    medians = [median(column) for column in zip(*seconds, strict=True)]
    return [
        order,
        *(f"{value:.3f}" for value in medians),
        *(f"{value:.2f}" for value in (median(paired), min(paired), max(paired))),
    ]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
