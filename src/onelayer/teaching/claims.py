"""Figures and files that a submission claims, judged by the band: weights by running them."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset, find_split
from onelayer.errors import InputError
from onelayer.evaluation.foreign import read_predictions, read_weights
from onelayer.model import network
from onelayer.plain_values import LONGEST, read_text
from onelayer.teaching.band import Band
from onelayer.training.hyperparameters import Hyperparameters

NAMES = {
    "accuracies": ("accuracies.csv",),
    "weights": ("weights.safetensors", "weights.npz", "weights.csv"),
    "predictions": ("predictions.csv",),
}


@dataclass(frozen=True)
class Judged:
    """The share of a claim that is right, and what is to be said of it."""

    share: float
    lines: tuple[str, ...]


def find_claim(kind: str, folder: Path) -> Path:
    """Return the file in which a submission claims this.

    Raises
    ------
    InputError
        If there is none.
    """
    path = next((folder / name for name in NAMES[kind] if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"no file {' or '.join(NAMES[kind])}")
    return path


@dataclass(frozen=True)
class Judge:
    """What a student's claims are judged by: data, settings and band; `slack` widens the band."""

    data: Dataset
    settings: tuple[Hyperparameters, ...]
    band: Band
    slack: float = 0.0

    def of(self, kind: str, path: Path) -> Judged:
        """Judge the file of a claim of this kind.

        Raises
        ------
        InputError
            If it cannot be read: names the file.
        """
        if kind == "accuracies":
            return self._accuracies(path)
        test = find_split(self.data, "test")
        if kind == "weights":
            W, b = self._weights(path)
            called = network.predictions(network.scores(np.asarray(test.X), W, b))
        else:
            called = read_predictions(path, self.data, "test").called
        return self._in_any_band(float(np.mean(called == test.y)))

    def _accuracies(self, path: Path) -> Judged:
        """Judge a table of test accuracies, a line for each setting in the order of the text."""
        claimed = list(_column(path, "accuracy"))
        if len(claimed) != len(self.settings):
            raise InputError(
                f"{path.name}: {len(claimed)} lines; expected {len(self.settings)}, one for each "
                "setting in the order of the text"
            )
        inside = [self.band.holds(value, m, self.slack) for m, value in enumerate(claimed)]
        lines = [
            f"{setting}: {value:.4f} is {'in' if held else 'outside of'} {self.band.told(m)}"
            for m, (setting, value, held) in enumerate(
                zip(self.settings, claimed, inside, strict=True)
            )
        ]
        return Judged(sum(inside) / len(inside), tuple(lines))

    def _in_any_band(self, accuracy: float) -> Judged:
        fits = [m for m in range(len(self.settings)) if self.band.holds(accuracy, m, self.slack)]
        if fits:
            named = ", ".join(f"{self.settings[m]} ({self.band.told(m)})" for m in fits)
            return Judged(1.0, (f"test accuracy {accuracy:.4f}, as of {named}",))
        every = "; ".join(
            f"{setting}: {self.band.told(m)}" for m, setting in enumerate(self.settings)
        )
        return Judged(0.0, (f"test accuracy {accuracy:.4f} is in no band: {every}",))

    def _weights(self, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if path.suffix != ".csv":
            model, _ = read_weights(path, self.data)
            return model.weights.astype(np.float64), model.biases.astype(np.float64)
        K, D = self.data.n_classes, self.data.n_features
        rows = list(_rows(path))
        if len(rows) != K or {len(row) for row in rows} != {D + 1}:
            found = sorted({len(row) for row in rows})
            raise InputError(
                f"{path.name}: {len(rows)} lines of {found} numbers; expected {K} lines of "
                f"{D + 1:,}: the row of W of a class, then its b"
            )
        table = np.array(rows)
        return table[:, :D], table[:, D]


def _column(path: Path, name: str) -> Iterable[float]:
    """Yield the numbers of a column, or of a file without a heading of its last column."""
    lines = _lines(path)
    heading = [cell.strip().lower() for cell in lines[0]] if lines else []
    place = heading.index(name) if name in heading else -1
    for number, cells in enumerate(lines[name in heading :], start=1 + (name in heading)):
        yield _number(path, number, cells[place] if len(cells) > place else "")


def _rows(path: Path) -> Iterable[list[float]]:
    for number, cells in enumerate(_lines(path), start=1):
        yield [_number(path, number, cell) for cell in cells]


def _lines(path: Path) -> list[list[str]]:
    text = read_text(path, LONGEST)
    return [cells for cells in csv.reader(text.splitlines()) if any(map(str.strip, cells))]


def _number(path: Path, line: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{path.name}: line {line}: found {cell[:40]!r}, expected a number")
    return value
