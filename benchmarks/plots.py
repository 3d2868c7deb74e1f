"""The figures, as SVG and PNG: lines told apart by colour, marker and a name at their end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.contenders import CONTENDERS, LIMIT, OURS
from benchmarks.growth import Curve
from benchmarks.summary import Row
from onelayer.report.style import look

# Okabe and Ito's colours; ours is the one that stands out.
_OURS = "#D55E00"
_PEERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#595959", "#000000")
_MARKERS = "sD^vPXo*"
_LINE = 0.055  # of text, as a share of the height of the axes
_OURS_LABEL = next(contender.label for contender in CONTENDERS if contender.name == OURS)


def draw_peers(rows: Sequence[Row], labels: Mapping[str, str], folder: Path) -> None:
    """Save ratio-to-limit.svg and .png: log scale, by number of models, a line a contender."""
    numbers = sorted({row.models for row in rows})
    names = [name for name in labels if name != LIMIT and any(r.contender == name for r in rows)]
    with look():
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xscale="log", yscale="log")
        axes.axhline(1, color="#595959", linewidth=1, linestyle=(0, (4, 3)))
        ends = [(1.0, "limit: one large matrix product", "#595959")]
        for place, name in enumerate(names):
            points = sorted((r.models, r.to_limit) for r in rows if r.contender == name)
            ends.append((points[-1][1], labels[name], _draw_line(axes, points, name, place)))
        _label_ends(axes, ends, numbers[-1])
        _plain_ticks(axes, numbers)
        axes.set_xlabel("models trained together, M")
        axes.set_ylabel("time of one epoch and its curves / limit")
        axes.set_title("Time over that of one large float32 matrix product of as many operations")
        _save(figure, folder / "ratio-to-limit")


def draw_growth(curves: Sequence[Curve], folder: Path) -> None:
    """Save growth.svg and .png: four panels, seconds of our epoch by N, D, K and M."""
    with look():
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        for axes, curve in zip(figure.subplots(2, 2, sharey=True).flat, curves, strict=True):
            axes.loglog(curve.values, curve.seconds, "o", color=_OURS, markersize=5)
            axes.loglog(*curve.fitted(), color="#0072B2", linewidth=1.2)
            axes.set_title(f"time ~ {curve.letter}^{curve.exponent:.2f} at the large end")
            axes.set_xlabel(f"{curve.meaning}, {curve.letter}   ({curve.fixed})")
            _plain_ticks(axes, curve.values[:: 1 if len(curve.values) < 6 else 2])
        for axes in figure.axes[::2]:
            axes.set_ylabel("seconds, one epoch and its curves")
        _save(figure, folder / "growth")


def _draw_line(axes: Axes, points: Any, name: str, place: int) -> str:
    """Draw one contender and return its colour."""
    ours = name == OURS
    colour = _OURS if name.startswith(OURS) else _PEERS[place % len(_PEERS)]
    axes.plot(
        *zip(*points, strict=True),
        color=colour,
        marker="o" if ours else _MARKERS[place % len(_MARKERS)],
        markersize=7 if ours else 5,
        linewidth=2.4 if ours else 1.2,
        linestyle="--" if name.startswith(OURS) and not ours else "-",
        zorder=3 if ours else 2,
    )
    return colour


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], last: int) -> None:
    """Write each line's name right of its last point, moved apart where they would overlap."""
    low, high = np.log(axes.get_ylim())
    ordered = sorted(ends)
    wanted = [(np.log(value) - low) / (high - low) for value, _, _ in ordered]
    for (value, label, colour), height in zip(ordered, apart(wanted, _LINE), strict=True):
        axes.annotate(
            label,
            xy=(last, value),
            xytext=(1.06, height),
            textcoords="axes fraction",
            va="center",
            weight="bold" if label == _OURS_LABEL else "normal",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 6,
            },
        )


def apart(heights: Sequence[float], distance: float) -> list[float]:
    """Return the ascending heights moved so that neighbours are at least `distance` apart.

    Neighbours that are too close form a block around their mean; blocks that meet become one.
    """
    blocks: list[list[float]] = []
    for height in heights:
        blocks.append([height])
        while len(blocks) > 1 and _bottom(blocks[-1], distance) - _top(blocks[-2], distance) < (
            distance
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_bottom(block, distance) + i * distance for block in blocks for i in range(len(block))]


def _bottom(block: Sequence[float], distance: float) -> float:
    return sum(block) / len(block) - (len(block) - 1) / 2 * distance


def _top(block: Sequence[float], distance: float) -> float:
    return _bottom(block, distance) + (len(block) - 1) * distance


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Name the measured values below, and plain numbers at the side."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _save(figure: Figure, stem: Path) -> None:
    """Write both kinds; the SVG carries no date, so that equal figures are equal files."""
    figure.savefig(stem.with_suffix(".png"))
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
