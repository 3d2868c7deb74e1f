"""Why a model prefers a class: the score of an image, pixel by pixel."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelayer.data.unlabelled import stored_picture
from onelayer.errors import InputError
from onelayer.evaluation.weight_images import weight_images
from onelayer.report.labels import shortened
from onelayer.report.style import MUTED, look
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.classifier import Classifier

MOST = 5  # classes that fit a figure
_SIDE, _GAP, _MARGIN = 1.55, 0.22, 0.15  # inches: of a picture, between pictures, around
_HEAD, _BETWEEN, _FOOT, _BAR = (
    0.62,
    0.62,
    0.15,
    0.75,
)  # above, between the rows, below, on the right
_LETTERS = 18  # of a class name
_WORDS = """\
Above: W∘x, the evidence of
each pixel for a class (red)
or against it (blue). Its sum
Σ and the bias b make the
score: s = Σ + b.

Right: the weights W of the
class as an image, by which
the scaled pixels x are
multiplied."""
_LIMIT = 99.5  # per cent of the evidence inside the range of colours

Array = NDArray[Any]


def write_explanation(
    model: Classifier, picture: Path, path: Path, *, top: int = 3, force: bool = False
) -> None:
    """Draw why `model` prefers its `top` classes for a picture into the PNG file `path`.

    For class k that is W_k ∘ x, summed over the channels, which is its score but for b_k: equation
    (1); and row W_k as an image.

    Raises
    ------
    InputError
        If the model's samples are no images, `picture` is none, or `path` does not end in .png or
        exists while `force` is not given.
    """
    check_output_file(path, (".png",), force=force)
    X = stored_picture(picture, model.image_shape, model.full_scale)
    with look(), atomic_file(path) as temporary:
        draw_evidence(model, X, top).savefig(temporary, format="png")


def draw_evidence(model: Classifier, picture: Array, top: int) -> Figure:
    """Return the figure of `write_explanation` for a stored picture (C, H, W)."""
    if not 1 <= top <= MOST:
        raise InputError(f"top is {top}; expected 1 to {MOST} classes")
    X = picture.reshape(1, -1)
    S = model.scores(X)
    P = None if model.link is None else model.link.probabilities(S)[0]
    classes = np.argsort(-S[0], kind="stable")[:top]
    evidence = class_evidence(model, X[0])[classes]
    maps = evidence.reshape(len(classes), *picture.shape).sum(axis=1)
    templates = weight_images(model)[classes]
    limit = float(np.percentile(np.abs(maps), _LIMIT)) or 1.0
    board = _Board(len(classes), picture.shape[1] / picture.shape[2])
    _show_image(board.axes(0, 0), np.clip(picture / model.full_scale, 0, 1).transpose(1, 2, 0))
    board.title(0, "what the model sees", f"{picture.shape[2]} × {picture.shape[1]}", bold=False)
    for column, k in enumerate(classes, 1):
        ax = board.axes(0, column)
        shown = ax.imshow(maps[column - 1], cmap="RdBu_r", norm=Normalize(-limit, limit))
        likely = "no probability" if P is None else f"probability {P[k]:.3f}"
        name = shortened(model.class_names[k], _LETTERS)
        board.title(column, name, likely, bold=True)
        total, bias = float(evidence[column - 1].sum()), float(model.biases[k])
        sums = f"Σ {total:+.3f}, b {bias:+.3f}\nscore {total + bias:+.3f}"
        ax.set_xlabel(sums.replace("-", "−"), fontsize=8.5, linespacing=1.35)
        _show_image(board.axes(1, column), templates[column - 1])
    board.explain()
    colours = board.figure.colorbar(shown, cax=board.bar(), extend="both")
    colours.ax.grid(False)
    colours.set_label("evidence of a pixel")
    colours.outline.set_linewidth(0.5)
    return board.figure


def class_evidence(model: Classifier, x: Array) -> NDArray[np.float64]:
    """Return W_k ∘ x (K, D) of a stored sample x (D,): each row plus b_k sums to the score."""
    scaled = model.scaling.apply(x[None])
    evidence: NDArray[np.float64] = model.weights * scaled
    return evidence


class _Board:
    """A figure with two rows of pictures, of which the first column holds the sample's."""

    def __init__(self, classes: int, ratio: float) -> None:
        self._height = _SIDE * min(max(ratio, 0.8), 1.5)
        width = 2 * _MARGIN + (classes + 1) * (_SIDE + _GAP) + _BAR
        height = _HEAD + _BETWEEN + _FOOT + 2 * self._height
        self._size = np.array([width, height, width, height])
        self._last = classes
        self.figure = Figure(figsize=(width, height))

    def axes(self, row: int, column: int) -> Axes:
        ax = self._place(_MARGIN + column * (_SIDE + _GAP), row, _SIDE)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set(visible=True, linewidth=0.5, color=MUTED)
        return ax

    def bar(self) -> Axes:
        return self._place(_MARGIN + (self._last + 1) * (_SIDE + _GAP), 0, 0.09)

    def title(self, column: int, first: str, second: str, *, bold: bool) -> None:
        left = _MARGIN + column * (_SIDE + _GAP) + _SIDE / 2
        weight = "bold" if bold else "normal"
        for text, above, style in (
            (first, 0.24, {"fontweight": weight, "fontsize": 9.5}),
            (second, 0.07, {"color": MUTED}),
        ):
            x, y = left / self._size[0], 1 - (_HEAD - above) / self._size[1]
            self.figure.text(x, y, text, ha="center", va="bottom", parse_math=False, **style)

    def explain(self) -> None:
        top = self._size[1] - _HEAD - self._height - _BETWEEN
        x, y = _MARGIN / self._size[0], top / self._size[1]
        self.figure.text(x, y, _WORDS, va="top", fontsize=7.5, color=MUTED, linespacing=1.3)

    def _place(self, left: float, row: int, width: float) -> Axes:
        top = _HEAD + row * (self._height + _BETWEEN)
        bottom = self._size[1] - top - self._height
        return self.figure.add_axes(
            tuple(np.array([left, bottom, width, self._height]) / self._size)
        )


def _show_image(ax: Axes, image: Array) -> None:
    """Show an image (H, W, C): in colour if it has three channels, else grey."""
    grey = image.shape[2] != 3
    ax.imshow(image.mean(axis=2) if grey else image, cmap="gray", vmin=0, vmax=1)
