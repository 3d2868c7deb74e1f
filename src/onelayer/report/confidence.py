"""Calibration: probabilities of the selected setting against its accuracy."""

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelayer.evaluation.calibration import Reliability
from onelayer.evaluation.per_class import true_class_histogram
from onelayer.evaluation.predictions import MOST_SCORES, Scored
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Paragraph, Table
from onelayer.report.style import MUTED, TRAIN, VALIDATION, WIDTH, Drawing


def draw_true_class(results: Results, test: Scored) -> Drawing:
    """Draw histograms of the probability of the true class, right and wrong images apart.

    The loss of the selected setting must have a link.
    """
    link = results.selected_loss.link
    assert link is not None
    parts = [true_class_histogram(link.probabilities(p.scores), p.y) for p in test.parts()]
    histogram = replace(
        parts[0],
        right=np.sum([part.right for part in parts], axis=0),
        wrong=np.sum([part.wrong for part in parts], axis=0),
    )
    figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    outcomes = (
        ("right", histogram.right, TRAIN),
        ("wrong", histogram.wrong, VALIDATION),
    )
    for ax, (outcome, counts, colour) in zip(panels, outcomes, strict=True):
        ax.stairs(counts, histogram.edges, fill=True, color=colour)
        ax.set_title(f"{outcome}: {counts.sum():,} of {len(test.y):,} samples")
        ax.set_xlabel("probability of the true class")
        ax.set_xlim(0, 1)
    panels[0].set_ylabel("test samples")
    name = results.run.labels[results.selected]
    caption = (
        f"Probability that {name} gives the true class of each test sample, right and wrong "
        f"predictions apart, in {len(histogram.right)} bins."
    )
    alt = (
        f"Two histograms of the probability of the true class: {histogram.right.sum():,} test "
        f"samples that are right, {histogram.wrong.sum():,} that are wrong. "
        f"{_middles(histogram.edges, histogram.right, histogram.wrong)}"
    )
    return Drawing("true_class", figure, caption, alt)


def _middles(edges: NDArray[np.float64], right: NDArray[np.intp], wrong: NDArray[np.intp]) -> str:
    """Return a sentence with the bins of the median right and the median wrong sample."""
    told = []
    for name, counts in (("right", right), ("wrong", wrong)):
        if counts.any():
            k = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
            told.append(f"median of the {name} ones: {edges[k]:.2f} to {edges[k + 1]:.2f}")
    return f"{'; '.join(told)}.".capitalize()


def confidence_blocks(results: Results) -> tuple[Paragraph | Table, ...]:
    """Return the calibration of the selected setting, in words and as a table."""
    test = results.predictions.test
    loss = results.selected_loss
    if test is None:
        samples = results.confusion.samples[results.selected]
        if not samples:
            return ()
        return (
            Paragraph(
                f"The scores of {samples:,} test samples for {len(results.run.class_names):,} "
                f"classes are more than the {MOST_SCORES:,} that are kept, so this section has no "
                "probabilities."
            ),
        )
    if loss.link is None:
        return (Paragraph(f"Scores trained with the {loss.title} do not become probabilities."),)
    calibration = results.calibration
    assert calibration is not None
    text = (
        f"The probabilities are the {loss.link.name} of the scores. "
        "A model is calibrated if its accuracy equals its confidence. Temperature scaling divides "
        "all scores by one number T, fitted on the validation split; no prediction changes. "
        f"{calibration.why_not}"
    )
    names = [
        "as trained" if T == 1 else "after temperature scaling" for T in calibration.temperatures
    ]
    bins, brier, losses = zip(*calibration.measured, strict=True)
    table = Table(
        "calibration",
        "Calibration on the test set. ECE and MCE: mean and largest gap between accuracy and "
        "confidence over 15 bins of equal width; Brier score: mean squared distance to the one-hot "
        "label; loss: mean cross-entropy of these probabilities.",
        (
            Column("probabilities", "words", names),
            Column("T", "number", calibration.temperatures, 4),
            Column("ECE", "decimals", [each.expected_calibration_error for each in bins]),
            Column("MCE", "decimals", [each.maximum_calibration_error for each in bins]),
            Column("Brier score", "decimals", brier),
            Column("loss", "decimals", losses),
        ),
    )
    return Paragraph(text.strip()), table


def draw_reliability(results: Results) -> Drawing:
    """Draw accuracy against confidence, before and after temperature scaling.

    The loss of the selected setting must have a link.
    """
    calibration = results.calibration
    assert calibration is not None
    bins = [measured[0] for measured in calibration.measured]
    figure = Figure(figsize=(WIDTH if len(bins) > 1 else 0.64 * WIDTH, 3.6), layout="constrained")
    grid = figure.subplots(
        2, len(bins), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1)
    )
    errors = []
    for (above, below), T, found in zip(grid.T, calibration.temperatures, bins, strict=True):
        _draw_bins(above, below, found)
        name = "as trained" if T == 1 else f"after temperature scaling, T = {T:.4g}"
        above.set_title(name)
        errors.append(f"{name}: {found.expected_calibration_error:.4f}")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("samples")
    caption = (
        "Reliability on the test set. Bars: accuracy of the samples whose confidence (largest "
        "probability) is in the bin; dots: their mean confidence; hatched: the gap between both; "
        "dashed: no gap. Below: samples in each bin."
    )
    alt = f"Reliability diagrams. Expected calibration error {'; '.join(errors)}."
    return Drawing("reliability", figure, caption, alt)


def _draw_bins(above: Axes, below: Axes, bins: Reliability) -> None:
    left, width = bins.edges[:-1], np.diff(bins.edges)
    middle, filled = left + width / 2, bins.count > 0
    low = np.minimum(bins.accuracy, bins.confidence)[filled]
    gap = np.abs(bins.accuracy - bins.confidence)[filled]
    look: dict[str, Any] = {"width": 0.94 * width[filled]}
    above.bar(middle[filled], bins.accuracy[filled], color=TRAIN, **look)
    above.bar(
        middle[filled], gap, bottom=low, color="none", edgecolor=VALIDATION, hatch="////",
        linewidth=0.8, **look,
    )  # fmt: skip
    above.plot(bins.confidence[filled], bins.confidence[filled], "o", color="black", markersize=2.5)
    above.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    above.set_xlim(0, 1)
    above.set_ylim(0, 1)
    below.bar(middle, bins.count, width=0.94 * width, color=MUTED)
    below.set_xlabel("confidence")
