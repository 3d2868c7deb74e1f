"""The style of figures and their files: the same results give the same bytes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from onelayer.report.blocks import Picture

# Okabe and Ito's colours, which colour-blind people can distinguish: blue and vermilion.
TRAIN, VALIDATION, MARK, MUTED = "#0072B2", "#D55E00", "#D55E00", "#595959"
# For many lines, without their yellow, which is too light for a line.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
WIDTH = 7.2  # inches, of a figure as wide as the page
WIDTHS = {"page": WIDTH, "column": 3.5}  # of a paper with two columns
_MILLIMETRES = 170 / WIDTH  # a figure of that width fills the column of an A4 page
LOOK = {
    "figure.dpi": 100,
    "savefig.dpi": 180,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # nothing stands above axes: no search for room
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "axes.unicode_minus": True,
    "text.hinting": "none",  # of no use at that resolution, and slow
    "svg.hashsalt": "onelayer",
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's default
}


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn but not saved, with its caption and alternative text."""

    stem: str
    figure: Figure
    caption: str
    alt: str


def line_look(number: int) -> tuple[str, str]:
    """Return colour and style of the line `number`; the first 28 differ."""
    styles = ("-", "--", ":", "-.")
    return LINES[number % len(LINES)], styles[number // len(LINES) % len(styles)]


@contextmanager
def look() -> Iterator[None]:
    """Draw and save with the settings of the report, not with the reader's matplotlibrc."""
    looks: dict[Any, Any] = {**matplotlib.rcParamsDefault, **LOOK}
    del looks["backend"]
    with matplotlib.rc_context(looks):
        yield


def save_all(drawings: Iterable[Drawing], folder: Path, *, dots: bool = True) -> dict[str, Picture]:
    """Write drawings, made one by one in the report's style, into `folder`; return them by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    with look():
        return {drawing.stem: save(drawing, folder, dots=dots) for drawing in drawings}


def save(drawing: Drawing, folder: Path, *, dots: bool = True) -> Picture:
    """Write the drawing into `folder` as SVG and return it as a block of the report.

    With `dots` also as PNG, which the page does not need.
    """
    figure = drawing.figure
    png, svg = (folder / f"{drawing.stem}.{extension}" for extension in ("png", "svg"))
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        # Any engine, a placeholder too, makes savefig draw the figure twice; None does not.
        figure.set_layout_engine(None)
    if dots:
        figure.savefig(png)
    figure.savefig(svg, metadata={"Date": None})
    width = figure.get_figwidth() * _MILLIMETRES
    return Picture(png, svg, drawing.caption, drawing.alt, width)
