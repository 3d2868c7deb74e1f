"""Matrices as pictures: relative errors of the gradient, confusions, rows of W."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.image import AxesImage
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.weight_images import weight_images
from onelayer.model.gradient_check import GradientCheck
from onelayer.report.choice import chosen_words
from onelayer.report.gradient_checks import EXCERPT, check_label
from onelayer.report.image_grid import image_grid, stretched
from onelayer.report.labels import count_of, scientific
from onelayer.report.lettering import REGULAR, font_file, told_apart
from onelayer.report.style import MARK, WIDTH, Drawing
from onelayer.training.run import Run

CHECKS = 6
IMAGES = 10  # weight images in a row
_SLOT = (WIDTH - 0.1) / IMAGES  # inches
_ANNOTATED = 15  # with at most this number of classes, a cell has room for its number
_NAMED = 40  # with at most this number of classes, the axes have room for their names
_LETTERS, _LETTERS_ABOVE = 14, 11  # of a class name at an axis, above a weight image

Values = NDArray[np.float64]


def draw_gradient_checks(checks: Sequence[BatchCheck]) -> Drawing:
    """Draw the errors of W of each check: the whole matrix and its first entries."""
    shown = checks[:CHECKS]
    figure = Figure(figsize=(WIDTH, 1.95 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1.0, 1.0))
    for (whole, excerpt), batch in zip(grid, shown, strict=True):
        _draw_errors(whole, excerpt, batch)
    left_out = f" The first {CHECKS} of {len(checks)} checks." if len(checks) > CHECKS else ""
    caption = (
        "Relative errors of ∂J/∂W as log₁₀, a row of pictures for each check. Left: every entry, "
        f"class by feature, the largest one circled. Right: the first {EXCERPT} rows and columns, "
        f"with their log₁₀; grey: no error at all, or not a number.{left_out}"
    )
    worst = "; ".join(
        f"{check_label(batch)}: {scientific(batch.check.worst.error, 2)}" for batch in shown
    )
    alt = f"Heat maps of the relative errors of the gradient. Largest error: {worst}."
    return Drawing("gradient_check", figure, caption, alt)


def _draw_errors(whole: Axes, excerpt: Axes, batch: BatchCheck) -> None:
    check = batch.check
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(check.errors_W)
    known = logs[np.isfinite(logs)]
    # A few entries far from the others would dominate the scale.
    low, high = np.percentile(known, (1, 99.5)) if known.size else (-1.0, 0.0)
    norm = Normalize(float(low), float(max(high, low + 0.1)))
    logs = np.where(np.isfinite(logs), logs, np.nan)
    image = _show(whole, logs, norm)
    images = count_of(batch.images, "image")
    whole.set_title(f"{check_label(batch)} ({check.method}, {images})", parse_math=False)
    _circle(whole, check)
    colours = whole.figure.colorbar(image, ax=whole, pad=0.02, extend="both", aspect=25)
    colours.set_label("log₁₀ relative error")
    corner = logs[:EXCERPT, :EXCERPT]
    _show(excerpt, corner, norm)
    excerpt.set_ylabel("")
    worst = check.worst
    place = ", ".join(map(str, worst.index))
    excerpt.set_title(f"worst: {worst.parameter}[{place}] {scientific(worst.error, 2)}")
    texts = {
        place: f"{value:.1f}".replace("-", "−")
        for place, value in np.ndenumerate(corner)
        if np.isfinite(value)
    }
    write_in_cells(excerpt, texts, 6.2)


def _show(ax: Axes, values: Values, norm: Normalize) -> AxesImage:
    ax.grid(False)
    ax.set_facecolor("#c4c4c4")
    ax.set_xlabel("feature (column of W)")
    ax.set_ylabel("class (row of W)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=6 if values.shape[1] > 20 else 10))
    return ax.imshow(values, cmap="viridis", norm=norm, aspect="auto", interpolation="nearest")


def write_in_cells(ax: Axes, texts: dict[tuple[int, ...], str], points: float) -> None:
    """Write a text into each cell (row, column) of the image in `ax`, as shapes.

    They are drawn at once, faster than texts one by one, and the layout need not measure them.
    """
    (image,) = ax.images
    values = image.get_array()
    assert values is not None
    colours = image.to_rgba(values)
    shapes = PathCollection(
        [_outline(text, points) for text in texts.values()],
        offsets=[(column, row) for row, column in texts],
        offset_transform=ax.transData,
        transform=Affine2D().scale(1 / 72) + ax.figure.dpi_scale_trans,
        facecolors=[_ink(colours[place]) for place in texts],
        linewidths=0,
    )
    shapes.set_in_layout(False)
    ax.add_artist(shapes)


def _outline(text: str, points: float) -> Path:
    """Return the shape of a text, in points, around (0, 0)."""
    vertices, codes, widths = zip(*(_glyph(character, points) for character in text), strict=True)
    starts = np.cumsum((0, *widths))
    moved = [shape + np.array((x, 0)) for shape, x in zip(vertices, starts[:-1], strict=True)]
    middle = starts[-1] / 2, _glyph("0", points)[0][:, 1].max() / 2
    return Path(np.concatenate(moved) - middle, np.concatenate(codes))


@cache
def _glyph(character: str, points: float) -> tuple[Values, NDArray[np.integer[Any]], float]:
    """Return vertices and codes of a character's outline, and its width."""
    font = FT2Font(str(font_file(REGULAR)))
    font.set_size(points, 72)
    glyph = font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return *font.get_path(), glyph.linearHoriAdvance / 2**16


def _circle(ax: Axes, check: GradientCheck) -> None:
    if check.worst.parameter == "W":
        row, column = check.worst.index
        for colour, width in (("white", 3.6), (MARK, 1.8)):
            ring: dict[str, Any] = {"markeredgecolor": colour, "markeredgewidth": width}
            ax.plot(column, row, "o", markersize=11, markerfacecolor="none", clip_on=False, **ring)


def draw_weights(
    run: Run, models: Sequence[int], note: str, make: Callable[..., Figure] = Figure
) -> Drawing:
    """Draw the first rows of W of each of `models` as images, a row for each setting.

    `make` builds the figure.
    """
    assert run.image_shape is not None
    images, names = weight_images(run, (list(models), slice(IMAGES))), run.labels
    grid = image_grid(list(images), IMAGES, slot=_SLOT, above=0.42, make=make)
    shown = run.class_names[:IMAGES]
    above = told_apart(run.class_names, _LETTERS_ABOVE)[:IMAGES]
    for number, model in enumerate(models):
        grid.write(number, 0, names[model], 15, ha="left", fontweight="bold", fontsize=8.5)
        for column, name in enumerate(above):
            grid.write(number, column, name, 3, fontsize=7.5)
    if len(shown) < len(run.class_names):
        note = f" The first {len(shown)} of {len(run.class_names)} classes.{note}"
    caption = (
        "Rows of W as images, a row of pictures for each setting; every image is scaled by its own "
        f"minimum and maximum.{stretched(run.image_shape)}{note}"
    )
    alt = (
        f"Weight images of {count_of(len(models), 'setting')} for the classes {', '.join(shown)}. "
        f"{'; '.join(_tell_weights(run, model) for model in models)}."
    )
    return Drawing("weights", grid.figure, caption, alt)


def _tell_weights(run: Run, model: int) -> str:
    """Return a sentence on the sizes of the weights in the images, and on the largest of all."""
    W, shown = run.weights[model, :IMAGES], run.class_names[:IMAGES]
    if not np.isfinite(W).all():
        return f"{run.labels[model]}: diverged"
    strength = np.linalg.norm(W, axis=1)
    most, least = shown[int(np.argmax(strength))], shown[int(np.argmin(strength))]
    return (
        f"{run.labels[model]}: from {W.min():.3g} to {W.max():.3g}, strongest {most} (norm "
        f"{strength.max():.3g}), weakest {least} ({strength.min():.3g})"
    )


def draw_confusion(results: Results) -> Drawing:
    """Draw the confusion matrix of the selected setting on the test split."""
    counts = results.confusion[results.selected].toarray()
    K = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3.2 if K <= 4 else 4.3
    figure = Figure(figsize=(side + 0.7, side), layout="constrained")
    ax = figure.subplots()
    ax.grid(False)
    scale = max(1e-9, float(shares.max()))
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=scale)
    figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8, pad=0.02)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    _name_classes(ax, results.run.class_names)
    if K <= _ANNOTATED:
        write_in_cells(ax, {place: f"{count}" for place, count in np.ndenumerate(counts)}, 7.5)
    name = results.run.labels[results.selected]
    caption = (
        f"Confusion matrix of {name} ({chosen_words(results)}) on the test split"
        f"{': counts, coloured by their share' if K <= _ANNOTATED else ', coloured by the share'} "
        "of the true class."
    )
    best, hardest = int(np.argmax(np.diag(shares))), int(np.argmin(np.diag(shares)))
    named = results.run.class_names
    alt = (
        f"Confusion matrix of {name}. Most often right: {named[best]} ({shares[best, best]:.0%}); "
        f"least often: {named[hardest]} ({shares[hardest, hardest]:.0%})."
    )
    return Drawing("confusion", figure, caption, alt)


def _name_classes(ax: Axes, class_names: Sequence[str]) -> None:
    K = len(class_names)
    if K > _NAMED:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        return
    labels, size = told_apart(class_names, _LETTERS), 8 if K <= 20 else 6
    ax.set_xticks(range(K), labels, rotation=45, ha="right", parse_math=False, fontsize=size)
    ax.set_yticks(range(K), labels, parse_math=False, fontsize=size)


def _ink(colour: Values) -> str:
    """Return black or white, the one that is legible on a colour (by its relative luminance)."""
    luminance = (0.2126, 0.7152, 0.0722) @ np.power(colour[:3], 2.2)
    return "white" if luminance < 0.3 else "black"
