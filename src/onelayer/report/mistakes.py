"""Where the chosen setting is wrong: scores of the classes, and the most confident mistakes."""

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelayer.evaluation.per_class import class_scores
from onelayer.evaluation.predictions import Mistakes, Scored
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table
from onelayer.report.labels import decimals, one_line, setting_labels, shortened
from onelayer.report.style import WIDTH, Drawing

CLASSES = 40  # rows of the table
_COLUMNS = 8
_LETTERS = 13  # of a class name below an image


def class_tables(results: Results) -> Iterator[Table]:
    """Yield precision, recall, F1 and support of each class for the chosen setting, if tested."""
    confusion = results.confusion[results.selected]
    if not confusion.any():
        return
    scores, names = class_scores(confusion), results.run.class_names
    classes, told = np.arange(len(names)), ""
    if len(names) > CLASSES:
        worst = np.argsort(np.where(np.isnan(scores.f1), 2, scores.f1), kind="stable")
        classes = np.sort(worst[:CLASSES])
        told = f" Shown: the {CLASSES} of {len(names):,} classes with the lowest F1."
    columns = (scores.precision, scores.recall, scores.f1)
    rows = [
        (
            one_line(names[k]),
            *(decimals(float(column[k])) for column in columns),
            f"{scores.support[k]:,}",
        )
        for k in classes.tolist()
    ]
    means = (scores.macro_precision, scores.macro_recall, scores.macro_f1)
    rows.append(("mean", *(decimals(float(mean)) for mean in means), f"{scores.support.sum():,}"))
    yield Table(
        f"Precision, recall and F1 of each class on the test set, of "
        f"{setting_labels(results.run)[results.selected]}; support: its test samples. A dash: 0/0, "
        f"left out of the mean, which is that of all classes.{told}",
        ("class", "precision", "recall", "F1", "support"),
        tuple(rows),
        strong=len(rows) - 1,
    )


def draw_mistakes(results: Results, mistakes: Mistakes) -> Drawing:
    """Draw the test images that the chosen setting is most confidently wrong about."""
    test, names = results.predictions.test, results.run.class_names
    assert test is not None  # Predictions has no mistakes without
    assert results.run.image_shape is not None
    shown = Scored(test.scores[mistakes.rows], test.y[mistakes.rows])
    link = results.selected_loss.link
    true, predicted = shown.y, shown.scores.argmax(axis=1)
    certainties = shown.certainties(link).max(axis=1)
    measure = "its probability" if link else "how far its score is above that of the true class"
    images = _lighten(mistakes, results.run.image_shape)
    rows = math.ceil(len(images) / _COLUMNS)
    _, H, W, _ = images.shape
    side = WIDTH / _COLUMNS
    tall = side * min(1.5, max(0.5, H / W)) + 0.42
    figure = Figure(figsize=(WIDTH, rows * tall + 0.05), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    labels = [
        f"{shortened(names[k], _LETTERS)}\n↳ {shortened(names[j], _LETTERS - 2)}\n{p:.3f}"
        for k, j, p in zip(true, predicted, certainties, strict=True)
    ]
    for ax, image, label in zip(grid.flat, images, labels, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.text(0.5, -0.04, label, transform=ax.transAxes, ha="center", va="top", fontsize=6.5,
                linespacing=1.15, parse_math=False)  # fmt: skip
    setting = setting_labels(results.run)[results.selected]
    caption = (
        f"The {len(images)} test images that {setting} is most confidently wrong about: true "
        f"class, ↳ predicted class, and {measure}."
    )
    first = f"{one_line(names[true[0]])} taken for {one_line(names[predicted[0]])}"
    alt = (
        f"Test images with the most confident mistakes of {setting}. The first: {first}, "
        f"{measure}: {certainties[0]:.3f}."
    )
    return Drawing("mistakes", figure, caption, alt)


def _lighten(mistakes: Mistakes, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return the images (n, H, W, 3) in [0, 1]; grey unless there are three channels."""
    light = np.clip(mistakes.X.astype(np.float64) / mistakes.full_scale, 0, 1)
    images = light.reshape(-1, *shape).transpose(0, 2, 3, 1)
    return images if shape[0] == 3 else images.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
