"""How the time of our epoch grows with N, D, K and M, on data made at random."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.process import Process, Start
from benchmarks.summary import table
from benchmarks.work import Work

_BASE = {"N": 2000, "D": 3072, "K": 10, "M": 4}
_MEANINGS = {"N": "samples", "D": "features", "K": "classes", "M": "models"}
_VALUES = {
    "N": (500, 1000, 2000, 5000, 10_000, 20_000, 50_000),
    "D": (96, 192, 384, 768, 1536, 3072, 6144, 12_288),
    "K": (2, 5, 10, 30, 100, 300, 1000),
    "M": (1, 2, 5, 10, 20, 50, 100, 200),
}
_TURNS = 3


@dataclass(frozen=True)
class Curve:
    """Median seconds of an epoch and its curves by one of N, D, K, M; `fixed` names the others."""

    letter: str
    fixed: str
    values: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def meaning(self) -> str:
        """What the letter stands for."""
        return _MEANINGS[self.letter]

    @property
    def exponent(self) -> float:
        """The slope of log time over log value."""
        return float(self._line()[0])

    def fitted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values that the line was fitted to, and its seconds."""
        slope, offset = self._line()
        values = np.array(self._large(self.values), dtype=np.float64)
        return values, np.exp(offset) * values**slope

    def _line(self) -> NDArray[np.float64]:
        return np.polyfit(np.log(self._large(self.values)), np.log(self._large(self.seconds)), 1)

    def _large(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the upper half: below it the costs that do not grow are most of the time."""
        return numbers[len(numbers) // 2 :]


def measure_growth(start: Start, threads: int, say: Any) -> list[Curve]:
    """Time our epoch along each of the four axes, in one process."""
    process = Process(start, threads)
    try:
        return [_measure_curve(process, letter, say) for letter in _BASE]
    finally:
        process.close()


def _measure_curve(process: Process, letter: str, say: Any) -> Curve:
    seconds = []
    for value in _VALUES[letter]:
        seconds.append(_measure_point(process, {**_BASE, letter: value}))
        say(f"growth: {letter} = {value}: {seconds[-1]:.3f} s")
    fixed = ", ".join(f"{name} = {value}" for name, value in _BASE.items() if name != letter)
    return Curve(letter, fixed, _VALUES[letter], tuple(seconds))


def _measure_point(process: Process, size: Mapping[str, int]) -> float:
    """Return the median turn's seconds, after a warm-up."""
    process.prepare(Work(size["M"], shape=(size["N"], size["D"], size["K"])))
    process.epoch()
    return median(process.turn()["seconds"] for _ in range(_TURNS))


def describe_growth(curves: Sequence[Curve]) -> tuple[str, list[dict[str, Any]]]:
    """Return the Markdown table and the plain values of the curves."""
    rows = [
        [
            f"{curve.letter} = {curve.values[0]} … {curve.values[-1]}",
            f"{curve.exponent:.2f}",
            f"{curve.seconds[0]:.3f} … {curve.seconds[-1]:.3f}",
            curve.fixed,
        ]
        for curve in curves
    ]
    values = [asdict(curve) | {"exponent": curve.exponent} for curve in curves]
    return table(["time ~ value^exponent", "exponent", "seconds", "at"], rows), values
