"""The curves of training: loss, cost and accuracy against the epoch, a panel for each setting."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from onelayer.report.labels import (
    decimals,
    shortened,
    split_words,
    validated,
    wrapped,
)
from onelayer.report.small_charts import WIDE_RANGE
from onelayer.report.style import MUTED, TRAIN, VALIDATION, WIDTH, Drawing, line_look
from onelayer.training.run import Run

Values = NDArray[np.float64]
PANELS = 12  # more would not be legible on a page
_SPLITS = (("train", "training", TRAIN), ("validation", "validation", VALIDATION))
_TITLE = 90  # letters above panels, side by side
_NARROWEST = 2.2  # inches of a panel


def draw_panel(ax: Axes, run: Run, model: int, quantity: str) -> None:
    """Draw loss and cost, or the accuracy, of one model into single axes."""
    accuracy = quantity == "accuracy"
    _dress(ax, run, model, "" if accuracy else _same_cost(run, model), _TITLE // 2)
    (_plot_accuracies if accuracy else _plot_losses)(ax, run, model)
    ax.set_xlabel("epoch")
    ax.set_ylabel("accuracy" if accuracy else "loss, cost")
    ax.legend(handles=_handles(run, ["accuracy"] if accuracy else _losses(run, [model])))


def draw_losses(
    run: Run,
    models: Sequence[int],
    note: str,
    make: Callable[..., Figure] = Figure,
    width: float = WIDTH,
) -> Drawing:
    """Draw loss and cost of `models`; `note` names them if they are not all.

    `make` builds the figure, `width` inches wide.
    """
    notes = [_same_cost(run, model) for model in models]
    figure, panels = _panels(run, models, notes, make, width)
    for ax, model in zip(panels, models, strict=True):
        _plot_losses(ax, run, model)
    _finish(figure, run, panels, "loss, cost", _losses(run, models))
    caption = (
        f"Loss (solid) and cost (with the L2 term, dashed) on the whole {split_words(run)}, "
        f"{_when(run)}. Where λ=0 cost and loss are the same curve. Every panel has its own "
        f"scale.{note}"
    )
    return Drawing("curves", figure, caption, _describe("Loss and cost", run, models, "loss"))


def _plot_losses(ax: Axes, run: Run, model: int) -> None:
    quantities = [("loss", "-")]
    if run.settings[model].l2 > 0:
        quantities.append(("cost", "--"))
    curves = {
        (name, style, colour): getattr(run.history, f"{split}_{name}")[model]
        for name, style in quantities
        for split, _, colour in _splits(run)
    }
    for (_, style, colour), curve in curves.items():
        _plot(ax, run.history.measured, curve, colour, style)
    _set_limits(ax, list(curves.values()))


def _losses(run: Run, models: Sequence[int]) -> list[str]:
    """Return the names of the curves in the panels of losses."""
    regularised = any(run.settings[model].l2 > 0 for model in models)
    return ["loss", "cost (loss + λ Σ W²)"] if regularised else ["loss"]


def draw_accuracies(
    run: Run,
    models: Sequence[int],
    note: str,
    make: Callable[..., Figure] = Figure,
    width: float = WIDTH,
) -> Drawing:
    """Draw the accuracies of `models` on one scale; `make` and `width` as in draw_losses."""
    figure, panels = _panels(run, models, [""] * len(models), make, width, sharey=True)
    for ax, model in zip(panels, models, strict=True):
        _plot_accuracies(ax, run, model)
    _finish(figure, run, panels, "accuracy", ["accuracy"])
    caption = (
        f"Accuracy on the whole {split_words(run)}, {_when(run)}. All panels share one scale.{note}"
    )
    return Drawing(
        "accuracy_curves", figure, caption, _describe("Accuracy", run, models, "accuracy")
    )


def _plot_accuracies(ax: Axes, run: Run, model: int) -> None:
    for split, _, colour in _splits(run):
        curve = getattr(run.history, f"{split}_accuracy")[model]
        _plot(ax, run.history.measured, curve, colour, "-")


def _splits(run: Run) -> tuple[tuple[str, str, str], ...]:
    return _SPLITS if validated(run) else _SPLITS[:1]


def _same_cost(run: Run, model: int) -> str:
    return " (cost = loss)" if run.settings[model].l2 == 0 else ""


def draw_excess(run: Run, optimal_costs: Values, models: Sequence[int], note: str) -> Drawing:
    """Draw the training cost of each of `models` minus its least cost, `optimal_costs` (M,)."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    ax = figure.subplots()
    names, ends = run.labels, []
    shown = [model for model in models if np.isfinite(optimal_costs[model])]
    for number, model in enumerate(shown):
        excess = run.history.train_cost[model] - optimal_costs[model]
        above = np.where(excess > 0, excess, np.nan)
        colour, style = line_look(number)
        label = shortened(names[model], 46)
        _plot(ax, run.history.measured, above, colour, style, label=label)
        ends.append(f"{names[model]}: {run.final('train_cost')[model] - optimal_costs[model]:.2e}")
    ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("cost above the optimum")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, steps=[1, 2, 5, 10]))
    if ax.lines:
        columns = 1 if max(map(len, names)) > 40 else 2
        figure.legend(loc="outside upper center", ncols=columns, frameon=False)
    caption = (
        "Training cost above the optimum, J − J*, where J* is the least cost that any W and b "
        f"reach with the same λ and loss.{note}"
    )
    alt = f"Training cost above the optimum by epoch. In the kept epoch: {'; '.join(ends)}."
    return Drawing("excess", figure, caption, alt)


def _when(run: Run) -> str:
    """Return words on the measured epochs, and on the dotted lines if there are any."""
    epochs = run.history.measured
    if epochs[0] > 0:
        return "after the last epoch only"
    every = "every epoch" if len(epochs) == epochs[-1] + 1 else "some epochs"
    kept = "; dotted: the kept epoch" if (run.kept != epochs[-1]).any() else ""
    return f"before training (epoch 0) and after {every}{kept}"


def _panels(
    run: Run,
    models: Sequence[int],
    notes: Sequence[str],
    make: Callable[..., Figure],
    width: float,
    *,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a titled panel for each of `models`; `notes` follow their names."""
    columns = 1 if len(models) == 1 else 2 if len(models) <= 4 else 3
    columns = min(columns, int(width / _NARROWEST))
    rows = math.ceil(len(models) / columns)
    tall = 3.2 if width / columns > 5 else 1.95 if width / columns > 3 else 1.8
    figure = make(figsize=(width, tall * rows + 0.55), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=sharey)
    panels: list[Axes] = list(grid.flat)
    for ax in panels[len(models) :]:
        ax.set_visible(False)
    for ax, model, note in zip(panels, models, notes, strict=False):
        _dress(ax, run, model, note, int(_TITLE * width / WIDTH / columns))
        # A panel with nothing below it keeps its own epoch labels.
        if panels.index(ax) + columns >= len(models):
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
    return figure, panels[: len(models)]


def _dress(ax: Axes, run: Run, model: int, note: str, letters: int) -> None:
    """Draw the title of a panel, its kept epoch, and a note if the model diverged."""
    ax.set_title(wrapped(run.labels[model] + note, letters), parse_math=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, steps=[1, 2, 5, 10]))
    if run.stopped[model]:
        ax.text(0.97, 0.95, f"diverged: {run.stopped[model]}", **_corner(ax))
    if run.kept[model] != run.history.epochs:
        ax.axvline(run.kept[model], color=MUTED, linewidth=0.8, linestyle=":")


def _corner(ax: Axes) -> dict[str, Any]:
    return {
        "transform": ax.transAxes,
        "ha": "right",
        "va": "top",
        "fontsize": 8,
        "color": MUTED,
        "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    }


def _plot(
    ax: Axes, epochs: NDArray[np.intp], curve: Values, colour: str, style: str, **look: Any
) -> None:
    # A single point makes no line.
    marker = "o" if np.isfinite(curve).sum() == 1 else ""
    known = np.isfinite(curve)  # models that were measured in other epochs leave no gaps
    ax.plot(epochs[known], curve[known], style, color=colour, marker=marker, markersize=4, **look)


def _set_limits(ax: Axes, curves: list[NDArray[np.float64]]) -> None:
    """Fit the axis to the curves after the start; a start far above them is written as a text."""
    later = np.concatenate([curve[1:] for curve in curves])
    later = later[np.isfinite(later)]
    if not later.size:
        return
    low, high = float(later.min()), float(later.max())
    if low > 0 and high / low > WIDE_RANGE:
        ax.set_yscale("log")
        return
    first = [float(curve[0]) for curve in curves if np.isfinite(curve[0])]
    if first and max(first) - high > 2 * (high - low) > 0:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))  # headroom for words
        starts = sorted({f"{value:.2f}" for value in first}, key=float)
        ax.text(0.97, 0.95, f"epoch 0, above the axis: {', '.join(starts)}", **_corner(ax))


def _finish(
    figure: Figure, run: Run, panels: list[Axes], label: str, quantities: list[str]
) -> None:
    """Label the outer axes and put one legend above all panels."""
    for ax in panels:
        subplot = ax.get_subplotspec()
        if subplot is not None and subplot.is_first_col():
            ax.set_ylabel(label)
    handles = _handles(run, quantities)
    columns = len(handles) if figure.get_figwidth() == WIDTH else 2
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)


def _handles(run: Run, quantities: list[str]) -> list[Line2D]:
    """Return the entries of a legend: the splits, and the quantities if there are several."""
    colours = [Line2D([], [], color=colour, label=name) for _, name, colour in _splits(run)]
    dashes: tuple[Literal["-", "--"], ...] = ("-", "--")
    styles = [
        Line2D([], [], color=MUTED, linestyle=style, label=name)
        for name, style in zip(quantities, dashes, strict=False)
    ]
    return colours + (styles if len(styles) > 1 else [])


def _describe(what: str, run: Run, models: Sequence[int], quantity: str) -> str:
    """Return the alternative text: the quantity, and its value in the kept epoch of each model."""
    split, words, _ = _splits(run)[-1]
    finals, names = run.final(f"{split}_{quantity}"), run.labels
    ends = "; ".join(f"{names[model]}: {decimals(finals[model], 3)}" for model in models)
    return f"{what} against the epoch. {words.capitalize()} {quantity} in the kept epoch: {ends}."
