"""What training on mapped files takes of memory does not grow with the number of samples."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
D, K = 3072, 10
MEBIBYTE = 1 << 20


def write_classes(folder: Path, rows: int, shards: int) -> Path:
    """Write noise (rows, D) in shards; pixel k is bright in the rows of class k."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 200, (1000, D), dtype=np.uint8)
    for split, n, parts in (("train", rows, shards), ("validation", 500, 1)):
        (folder / split).mkdir(parents=True)
        for part, end in enumerate(np.array_split(np.arange(n), parts)):
            y = generator.integers(0, K, len(end))
            path = folder / split / f"{part:03}"
            X = np.lib.format.open_memmap(f"{path}.X.npy", "w+", np.uint8, (len(end), D))
            for start in range(0, len(X), len(noise)):
                X[start : start + len(noise)] = noise[: len(X) - start]
            X[np.arange(len(X)), y] = 255
            np.save(f"{path}.y.npy", y.astype(np.uint8))
    return folder


def train_apart(folder: Path, *options: object) -> dict[str, float]:
    command = [sys.executable, Path(__file__).with_name("made_memory.py"), folder, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("order", ["file", "windowed"])
def test_anonymous_memory_does_not_grow_with_the_samples(tmp_path, order):
    few, many = (
        train_apart(write_classes(tmp_path / str(n), n, 5), order, 1)["anonymous"]
        for n in (10_000, 40_000)
    )
    # The files differ by 88 MiB, labels and the like by 8 to 40 bytes a row.
    assert many - few < 8 * MEBIBYTE


@pytest.mark.slow
def test_four_gigabytes_are_trained_on_in_one_of_memory(tmp_path):
    rows = 1_310_720  # 3.75 GiB
    folder = write_classes(tmp_path, rows, 12)
    try:
        done = train_apart(folder, "windowed", 1, 1 << 30)
    finally:
        for path in folder.rglob("*.npy"):  # pytest keeps the last three runs' folders
            path.unlink()
    assert done["rows"] == rows
    assert done["accuracy"] > 0.3, "the bright pixel was not learnt"
    assert done["anonymous"] < 400 * MEBIBYTE
