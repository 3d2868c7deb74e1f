"""Small curves: a line of text for a terminal, an SVG for a notebook."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.report.labels import decimals

Values = NDArray[np.float64]
WIDE_RANGE = 20  # a curve that spans a larger factor is drawn on a logarithmic axis
BLOCKS = "▁▂▃▄▅▆▇█"
SPLITS = {"train": "training", "validation": "validation"}
QUANTITIES = ("loss", "accuracy")
# Of a panel: width and height of the curves in pixels, and the most points of a curve.
WIDTH, HEIGHT, _POINTS = 240, 110, 120


def best_models(accuracies: Mapping[str, Values], room: int) -> list[int]:
    """Return the numbers of the models (at most `room`) with the highest accuracies (M,), in order.

    The split is validation or, if its accuracies are unknown, train.
    """
    known = (accuracies[split] for split in reversed(SPLITS) if split in accuracies)
    values = next((v for v in known if np.isfinite(v).any()), None)
    if values is None:
        return list(range(min(room, max((len(v) for v in accuracies.values()), default=0))))
    ranked = np.argsort(-np.nan_to_num(values, nan=-1), kind="stable")
    return sorted(ranked[:room].tolist())


def scale_of(curves: Sequence[Values]) -> tuple[Callable[[Values], Values], float, float]:
    """Return a function that scales values to [0, 1] (NaN if not finite), and both ends."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves] or [np.empty(0)])
    low, high = (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)
    measure = np.log if low > 0 and high / low > WIDE_RANGE else np.asarray

    def place(curve: Values) -> Values:
        known = np.where(np.isfinite(curve), curve, np.nan)
        span = measure(high) - measure(low)
        placed: Values = (measure(known) - measure(low)) / (span or 1)
        return placed

    return place, low, high


def sparklines(curves: Sequence[Values], room: int) -> list[str]:
    """Return curves (C,) as lines of at most `room` blocks, all on one scale; blank where unknown.

    Examples
    --------
    >>> sparklines([np.array([0.0, 1.0, 2.0, np.nan]), np.array([2.0, 1.0, 0.0, 0.5])], 4)
    ['▁▅█ ', '█▅▁▃']
    """
    place, _, _ = scale_of(curves)

    def block(height: float) -> str:
        return " " if np.isnan(height) else BLOCKS[min(int(height * len(BLOCKS)), len(BLOCKS) - 1)]

    return ["".join(map(block, place(_thinned(curve, room)))) for curve in curves]


def _thinned(values: NDArray[np.generic], room: int) -> Values:
    """Return at most `room` of the values, evenly spaced, with the first and the last."""
    chosen = np.linspace(0, len(values) - 1, min(room, len(values))).round().astype(np.intp)
    return np.asarray(values[chosen], np.float64)


@dataclass(frozen=True)
class Line:
    """A curve of a panel: `points` in the form of SVG, `dashed` for the training split."""

    model: int
    words: str
    points: str
    dashed: bool


@dataclass(frozen=True)
class Panel:
    """The curves of one quantity against the epoch, up to `last`; values from `low` to `high`."""

    quantity: str
    low: str
    high: str
    last: int
    lines: tuple[Line, ...]


def draw_panels(
    curves: Mapping[str, Values],
    measured: NDArray[np.intp],
    models: Sequence[int],
    labels: Sequence[str],
    last: int,
) -> tuple[Panel, ...]:
    """Return a panel of each quantity with `models`, from curves (M, C) by their names in a run.

    There is no panel for a single measured epoch, which gives no curve.
    """
    if len(measured) < 2:
        return ()
    made = (_panel(quantity, curves, measured, models, labels, last) for quantity in QUANTITIES)
    return tuple(panel for panel in made if panel.lines)


def _panel(
    quantity: str,
    curves: Mapping[str, Values],
    measured: NDArray[np.intp],
    models: Sequence[int],
    labels: Sequence[str],
    last: int,
) -> Panel:
    shown = {
        (model, split): curves[f"{split}_{quantity}"][model]
        for model in models
        for split in SPLITS
        if f"{split}_{quantity}" in curves
        and np.isfinite(curves[f"{split}_{quantity}"][model]).any()
    }
    place, low, high = scale_of(list(shown.values()))
    lines = []
    for (model, split), curve in shown.items():
        known = np.isfinite(curve)
        x = WIDTH * _thinned(measured[known], _POINTS) / max(last, 1)
        y = HEIGHT * (1 - place(_thinned(curve[known], _POINTS)))
        points = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
        if len(points) == 1:
            points *= 2  # a dot, with round ends
        words = f"{labels[model]}, {SPLITS[split]}: {decimals(float(curve[known][-1]))}"
        lines.append(Line(model, words, " ".join(points), split == "train"))
    return Panel(quantity, decimals(low, 3), decimals(high, 3), last, tuple(lines))
