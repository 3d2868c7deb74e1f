"""A heat map of the accuracy that selects, over the two options that a grid varies."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from onelayer.evaluation.results import Results
from onelayer.report.choice import MANY, quantity_of_choice
from onelayer.report.matrices import write_in_cells
from onelayer.report.style import MARK, WIDTH, Drawing
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.naming import varied

_ANNOTATED = 160  # with at most this number of cells, each has room for its number


def has_heat_map(results: Results) -> bool:
    """Return whether there are many settings that differ in two options."""
    informed = np.isfinite(results.selection.means).any()
    return (
        len(results.run.settings) > MANY
        and len(varied(results.run.settings)) == 2
        and bool(informed)
    )


def draw_heat_map(results: Results) -> Drawing:
    """Draw the accuracy that selects as a matrix, a cell for each setting, if has_heat_map."""
    settings, means = results.run.settings, results.selection.means
    across, down = varied(results.run.settings)
    columns, rows = (sorted({getattr(s, name) for s in settings}) for name in (across, down))
    grid = np.full((len(rows), len(columns)), np.nan)
    for setting, mean in zip(settings, means, strict=True):
        place = rows.index(getattr(setting, down)), columns.index(getattr(setting, across))
        grid[place] = np.fmax(grid[place], mean)
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    figure = Figure(figsize=(WIDTH, min(8.0, 1.2 + 0.3 * len(rows))), layout="constrained")
    ax = figure.subplots()
    ax.grid(False)
    ax.set_facecolor("#c4c4c4")
    image = ax.imshow(grid, cmap="viridis", aspect="auto", interpolation="nearest")
    quantity = quantity_of_choice(results)
    figure.colorbar(image, ax=ax, label=quantity, pad=0.02)
    ax.set_xticks(range(len(columns)), list(map(_word, columns)), rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), list(map(_word, rows)))
    ax.set_xlabel(OPTIONS[across].heading)
    ax.set_ylabel(OPTIONS[down].heading)
    if grid.size <= _ANNOTATED:
        known = {place: value for place, value in np.ndenumerate(grid) if np.isfinite(value)}
        write_in_cells(ax, {place: f"{value:.3f}" for place, value in known.items()}, 6.2)
    chosen = settings[results.selected]
    x, y = columns.index(getattr(chosen, across)), rows.index(getattr(chosen, down))
    frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=MARK, linewidth=2)
    ax.add_patch(frame)
    best = int(np.nanargmax(means))
    return Drawing(
        "heat_map",
        figure,
        f"The {quantity} of every setting; framed: the selected one; grey: not trained or without "
        "an accuracy.",
        f"Heat map of the {quantity} over {OPTIONS[across].heading} and {OPTIONS[down].heading}, "
        f"from {low:.4f} to {high:.4f} at {results.run.labels[best]}.",
    )


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value}"
