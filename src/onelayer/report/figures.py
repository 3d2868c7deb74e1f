"""The figures of an experiment, drawn and saved."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onelayer.evaluation.results import BatchCheck, Results
from onelayer.report import confidence, curves, matrices, style
from onelayer.report.blocks import Picture
from onelayer.report.choice import show_settings
from onelayer.report.heat_map import draw_heat_map, has_heat_map
from onelayer.report.mistakes import draw_mistakes
from onelayer.report.per_class import DRAWN

WEIGHT_ROWS = 8  # settings whose weight images fit a page


def write_figures(results: Results, folder: Path, *, dots: bool = True) -> dict[str, Picture]:
    """Write every figure for which `results` has numbers into `folder`; return them by stem.

    They are SVG files, with `dots` also PNG files.
    """
    return style.save_all(_draw(results), folder, dots=dots)


def draw_checks(checks: Sequence[BatchCheck], folder: Path) -> dict[str, Picture]:
    """Write the figure of gradient checks, if there are any, into `folder`/figures."""
    drawings = (matrices.draw_gradient_checks(checks) for _ in checks[:1])
    return style.save_all(drawings, folder / "figures")


def _draw(results: Results) -> Iterator[style.Drawing]:
    run, predictions = results.run, results.predictions
    if results.checks:
        yield matrices.draw_gradient_checks(results.checks)
    if has_heat_map(results):
        yield draw_heat_map(results)
    panels = show_settings(results, curves.PANELS)
    yield curves.draw_losses(run, *panels)
    yield curves.draw_accuracies(run, *panels)
    if np.isfinite(results.optimal_costs).any():
        yield curves.draw_excess(run, results.optimal_costs, *panels)
    if run.image_shape is not None:
        yield matrices.draw_weights(run, *show_settings(results, WEIGHT_ROWS))
    if results.confusion[results.selected].nnz and len(run.class_names) <= DRAWN:
        yield matrices.draw_confusion(results)
    if predictions.mistakes is not None and predictions.mistakes.rows.size:
        yield draw_mistakes(results, predictions.mistakes)
    if predictions.test is not None and results.selected_loss.link is not None:
        yield confidence.draw_true_class(results, predictions.test)
        yield confidence.draw_reliability(results)
