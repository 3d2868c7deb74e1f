"""Errors by class: precision, recall and F1, and the most confident mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onelayer.evaluation.metrics import most_confused
from onelayer.evaluation.per_class import class_scores
from onelayer.evaluation.predictions import Mistakes, Scored
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table, make_table
from onelayer.report.image_grid import as_images, image_grid, stretched
from onelayer.report.labels import decimals, one_line
from onelayer.report.lettering import told_apart
from onelayer.report.style import WIDTH, Drawing

if TYPE_CHECKING:
    from scipy.sparse import coo_array

CLASSES = 40  # rows of the table
PAIRS = 50  # of classes that are confused
DRAWN = 300  # classes up to which a confusion matrix is drawn
_COLUMNS = 8
_LETTERS = 11  # of a class name below an image


def error_table(results: Results) -> Table | None:
    """Return the scores of each class for the selected setting, if it was tested."""
    confusion, run = results.confusion[results.selected], results.run
    if not confusion.nnz:
        return None
    name = run.labels[results.selected]
    table = f"Precision, recall and F1 of each class on the test set, of {name}."
    return class_table(table, confusion, run.class_names, CLASSES)


def class_table(
    caption: str, confusion: "coo_array", class_names: Sequence[str], limit: int
) -> Table:
    """Return precision, recall, F1 and support of each class, at most `limit`, and their means."""
    scores, K = class_scores(confusion), len(class_names)
    shown = np.arange(K)
    note = " support: samples of the class. A dash: 0/0, left out of the mean of all classes."
    if limit < K:
        worst = np.argsort(np.where(np.isnan(scores.f1), 2, scores.f1), kind="stable")
        shown = np.sort(worst[:limit])
        note += f" Shown: the {limit} of {K:,} classes with the lowest F1."
    columns = {
        "precision": (scores.precision, scores.macro_precision),
        "recall": (scores.recall, scores.macro_recall),
        "F1": (scores.f1, scores.macro_f1),
    }
    support = [*scores.support[shown], scores.support.sum()]
    return make_table(
        caption + note,
        {"class": [*(one_line(class_names[k]) for k in shown.tolist()), "mean"]}
        | {n: [*map(decimals, each[shown]), decimals(float(m))] for n, (each, m) in columns.items()}
        | {"support": [f"{count:,}" for count in support]},
        strong=len(shown),
    )


def confused_table(
    caption: str, confusion: "coo_array", class_names: Sequence[str], limit: int
) -> Table | None:
    """Return the most frequent mistakes, at most `limit` pairs of classes, None without any."""
    pairs = most_confused(confusion, limit)
    if not pairs:
        return None
    columns = {
        "true class": [one_line(class_names[i]) for i, _, _ in pairs],
        "predicted": [one_line(class_names[j]) for _, j, _ in pairs],
        "samples": [f"{count:,}" for _, _, count in pairs],
    }
    return make_table(caption, columns, text_columns=2)


def frequent_confusions(results: Results) -> Table | None:
    """Return the most confused pairs in place of a confusion matrix that would not be legible."""
    confusion, K = results.confusion[results.selected], len(results.run.class_names)
    if K <= DRAWN:
        return None
    setting = results.run.labels[results.selected]
    caption = (
        f"The {PAIRS} most frequent confusions of {setting} on the test set. A matrix of "
        f"{K:,} × {K:,} classes would not be legible and is left out."
    )
    return confused_table(caption, confusion, results.run.class_names, PAIRS)


def draw_mistakes(results: Results, mistakes: Mistakes) -> Drawing:
    """Draw the test images that the selected setting is most confidently wrong about."""
    test, names = results.predictions.test, results.run.class_names
    assert test is not None  # Predictions has no mistakes without
    assert results.run.image_shape is not None
    shown = Scored(test.scores[mistakes.rows], test.y[mistakes.rows])
    link = results.selected_loss.link
    true, predicted = shown.y, shown.scores.argmax(axis=1)
    certainties = shown.certainties(link).max(axis=1)
    measure = "its probability" if link else "how far its score is above that of the true class"
    images = as_images(mistakes.X, results.run.image_shape, mistakes.full_scale)
    starts = range(0, len(images), _COLUMNS)
    grid = image_grid(
        [images[i : i + _COLUMNS] for i in starts], _COLUMNS, slot=WIDTH / _COLUMNS - 0.01,
        below=0.45, margins=(0.05, 0.03, 0.05, 0.0),
    )  # fmt: skip
    below = told_apart(names, _LETTERS)
    for i, (k, j, p) in enumerate(zip(true, predicted, certainties, strict=True)):
        words = f"{below[k]}\n↳ {below[j]}\n{p:.3f}"
        grid.write(*divmod(i, _COLUMNS), words, -3, fontsize=6.5, linespacing=1.15)
    setting = results.run.labels[results.selected]
    caption = (
        f"The {len(images)} test images that {setting} is most confidently wrong about: true "
        f"class, ↳ predicted class, and {measure}.{stretched(results.run.image_shape)}"
    )
    first = f"{one_line(names[true[0]])} predicted as {one_line(names[predicted[0]])}"
    alt = (
        f"Test images with the most confident mistakes of {setting}. The first: {first}, "
        f"{measure}: {certainties[0]:.3f}."
    )
    return Drawing("mistakes", grid.figure, caption, alt)
