"""Evidence: why a model prefers a class, as the score of an image, pixel by pixel."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from onelayer.data.unlabelled import stored_picture
from onelayer.errors import InputError
from onelayer.evaluation.weight_images import weight_images
from onelayer.report.image_grid import ImageGrid, as_images, image_grid, in_colour
from onelayer.report.lettering import told_apart
from onelayer.report.style import MUTED, look
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.classifier import Classifier

MOST = 5  # classes that fit a figure
COLOURS = "RdBu_r"
_SLOT, _BELOW = 1.77, 0.6  # inches: a picture with a gap, and the text of its score below
_MARGINS = (0.15, 0.95, 0.6, -0.4)  # left, right (the colour bar), above, below the last text
_LETTERS = 18  # of a class name
_WORDS = """\
Above: W∘x, the evidence of
each pixel for a class (red)
or against it (blue). Its sum
Σ and the bias b make the
score: s = Σ + b.

Right: the weights W of the
class as an image, from its
least (black) to its largest,
by which the scaled pixels x
are multiplied."""
_LIMIT = 99.5  # per cent of the evidence inside the range of colours

Array = NDArray[Any]


def write_explanation(
    model: Classifier, picture: Path, path: Path, *, top: int = 3, force: bool = False
) -> None:
    """Draw why `model` prefers its `top` classes for a picture into the PNG file `path`.

    For class k it shows W_k ∘ x, summed over the channels, whose sum plus b_k is the score of
    equation (1); and row W_k as an image.

    Raises
    ------
    InputError
        If the model's samples are not images, `picture` is not a picture, or `path` does not end in
        .png or exists while `force` is not given.
    """
    check_output_file(path, (".png",), force=force)
    X = stored_picture(picture, model.image_shape, model.full_scale)
    with look(), atomic_file(path) as temporary:
        draw_evidence(model, X, top).savefig(temporary, format="png")


def draw_evidence(model: Classifier, picture: Array, top: int) -> Figure:
    """Return the figure of `write_explanation` for a stored picture (C, H, W)."""
    if not 1 <= top <= MOST:
        raise InputError(f"top is {top}; expected 1 to {MOST} classes")
    C, H, W = picture.shape
    X = picture.reshape(1, -1)
    S = model.scores(X)
    P = None if model.link is None else model.link.probabilities(S)[0]
    classes = np.argsort(-S[0], kind="stable")[:top]
    evidence = class_evidence(model, X[0])[classes]
    maps = evidence.reshape(len(classes), C, H, W).sum(axis=1)
    limit = float(np.percentile(np.abs(maps), _LIMIT)) or 1.0
    colours = ScalarMappable(Normalize(-limit, limit), matplotlib.colormaps[COLOURS])
    seen = as_images(X, (C, H, W), model.full_scale)
    coloured = np.asarray(colours.cmap(colours.norm(maps)))[..., :3]
    above = [*in_colour(seen), *coloured]
    below = [np.ones((H, W, 3)), *in_colour(weight_images(model, classes))]
    grid = image_grid(
        [np.stack(above), np.stack(below)],
        1 + len(classes),
        slot=_SLOT,
        below=_BELOW,
        margins=_MARGINS,
    )
    _outline(grid, 0, range(1 + len(classes)))
    _outline(grid, 1, range(1, 1 + len(classes)))
    grid.write(0, 0, "what the model sees", 17, fontsize=9.5)
    grid.write(0, 0, f"{W} × {H}", 4, color=MUTED)
    names = told_apart(model.class_names, _LETTERS)
    for column, k in enumerate(classes, 1):
        grid.write(0, column, names[k], 17, fontsize=9.5, fontweight="bold")
        likely = "no probability" if P is None else f"probability {P[k]:.3f}"
        grid.write(0, column, likely, 4, color=MUTED)
        total, bias = float(evidence[column - 1].sum()), float(model.biases[k])
        sums = f"Σ {total:+.3f}, b {bias:+.3f}\nscore {total + bias:+.3f}".replace("-", "−")
        grid.write(0, column, sums, -5, fontsize=8.5, linespacing=1.35)
    grid.blocks[1].text(-0.5, -0.5, _WORDS, va="top", fontsize=7.5, color=MUTED, linespacing=1.3)
    _show_colours(grid, colours)
    return grid.figure


def class_evidence(model: Classifier, x: Array) -> NDArray[np.float64]:
    """Return W_k ∘ x (K, D) of a stored sample x (D,): each row plus b_k sums to the score."""
    scaled = model.scaling.apply(x[None])
    evidence: NDArray[np.float64] = model.weights * scaled
    return evidence


def _outline(grid: ImageGrid, block: int, columns: range) -> None:
    for column in columns:
        corner = (grid.starts[column] - 0.5, -0.5)
        frame: dict[str, Any] = {"fill": False, "edgecolor": MUTED, "linewidth": 0.5}
        patch = Rectangle(corner, grid.width, grid.height, clip_on=False, **frame)
        grid.blocks[block].add_patch(patch)


def _show_colours(grid: ImageGrid, colours: ScalarMappable) -> None:
    """Draw the colour bar to the right of the first block."""
    place, inch = grid.blocks[0].get_position(), 1 / grid.figure.get_figwidth()
    ax = grid.figure.add_axes((place.x1 + 0.1 * inch, place.y0, 0.09 * inch, place.height))
    bar = grid.figure.colorbar(colours, cax=ax, extend="both")
    bar.ax.grid(False)
    bar.set_label("evidence of a pixel")
    bar.outline.set_linewidth(0.5)
