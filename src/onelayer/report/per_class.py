"""Errors by class: precision, recall and F1, and the classes that are confused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onelayer.evaluation.confusions import most_confused
from onelayer.evaluation.per_class import ClassScores, class_scores
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.labels import PER_CENT

if TYPE_CHECKING:
    from scipy.sparse import coo_array

_SCORES = {"precision": "precision", "recall": "recall", "f1": "F1"}
CLASSES = 40  # rows of the table
PAIRS = 50  # of classes that are confused
DRAWN = 300  # with more classes no confusion matrix is drawn


def error_table(results: Results) -> Table | None:
    """Return the scores of each class for the selected setting, if it was tested."""
    confusion, run = results.confusion[results.selected], results.run
    if not confusion.nnz:
        return None
    name = run.labels[results.selected]
    caption = f"Precision, recall and F1 of each class on the test set, of {name}."
    return class_table(caption, class_scores(confusion), run.class_names, CLASSES)


def class_table(
    caption: str,
    scores: ClassScores,
    class_names: Sequence[str],
    limit: int,
    *,
    intervals: bool = False,
) -> Table:
    """Return precision, recall, F1 and support of each class, at most `limit`, and their means.

    With `intervals` each score of a class has its 95 % interval.
    """
    K = len(class_names)
    shown = list(range(K))
    note = " support: samples of the class. A dash: 0/0, left out of the mean of all classes."
    if intervals:
        note += f" In brackets: 95{PER_CENT} intervals (Wilson)."
    if limit < K:
        worst = np.argsort(np.where(np.isnan(scores.f1), 2, scores.f1), kind="stable")
        shown = sorted(worst[:limit].tolist())
        note += f" Shown: the {limit} of {K:,} classes with the lowest F1."
    every = scores_table(scores, class_names, intervals=intervals).take(shown)
    means = {
        "class": "mean",
        **{name: (getattr(scores, f"macro_{name}"), np.nan, np.nan) for name in _SCORES},
        "support": scores.support.sum(),
    }
    columns = every.pick(means)
    rows = (replace(c, values=[*c.values, means[c.key]]) for c in columns)
    return make_table("classes", caption + note, *rows, strong=len(shown))


def scores_table(
    scores: ClassScores, class_names: Sequence[str], *, intervals: bool = True
) -> Table:
    """Return all scores of each class, with their 95 % intervals if `intervals`."""
    ends = scores.intervals() if intervals else {}
    columns = [Column("class", "words", class_names)]
    columns += [
        Column(name, "count", getattr(scores, name)) for name in ("right", "predicted", "support")
    ]
    for name, heading in _SCORES.items():
        values = np.full((len(class_names), 3), np.nan)  # with the ends of its interval
        values[:, 0] = getattr(scores, name)
        if intervals:
            values[:, 1:] = ends[name]
        columns.append(Column(heading, "estimate", list(map(tuple, values.tolist())), key=name))
    return Table("classes", "Each class.", tuple(columns))


def confused_table(
    caption: str, confusion: "coo_array", class_names: Sequence[str], limit: int
) -> Table | None:
    """Return the most frequent mistakes, at most `limit` pairs of classes, None without any."""
    pairs = most_confused(confusion, limit)
    if not pairs:
        return None
    return make_table(
        "confusions",
        caption,
        Column("true class", "words", [class_names[i] for i, _, _ in pairs]),
        Column("predicted", "words", [class_names[j] for _, j, _ in pairs]),
        Column("samples", "count", [count for _, _, count in pairs]),
    )


def frequent_confusions(results: Results) -> Table | None:
    """Return the most confused pairs, if a confusion matrix would not be legible."""
    confusion, K = results.confusion[results.selected], len(results.run.class_names)
    if K <= DRAWN:
        return None
    setting = results.run.labels[results.selected]
    caption = (
        f"The {PAIRS} most frequent confusions of {setting} on the test set. A matrix of "
        f"{K:,} × {K:,} classes would not be legible and is left out."
    )
    return confused_table(caption, confusion, results.run.class_names, PAIRS)
