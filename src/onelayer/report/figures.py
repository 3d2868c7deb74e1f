"""Which figures an experiment has, drawn and saved."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onelayer.evaluation.results import BatchCheck, Results
from onelayer.report import curves, matrices, style
from onelayer.report.blocks import Picture
from onelayer.training.run import Run

WEIGHT_ROWS = 8  # settings whose weight images fit a page


def write_figures(results: Results, folder: Path) -> dict[str, Picture]:
    """Write every figure that `results` has numbers for into `folder`; return them by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    with style.look():
        return {drawing.stem: style.save(drawing, folder) for drawing in _draw(results)}


def draw_checks(checks: Sequence[BatchCheck], folder: Path) -> None:
    """Write the figure of gradient checks, if there are any, into `folder`/figures."""
    if checks:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        with style.look():
            style.save(matrices.draw_gradient_checks(checks), folder / "figures")


def _draw(results: Results) -> Iterator[style.Drawing]:
    run = results.run
    if results.checks:
        yield matrices.draw_gradient_checks(results.checks)
    yield curves.draw_losses(run, *_best(run, curves.PANELS))
    yield curves.draw_accuracies(run, *_best(run, curves.PANELS))
    if run.image_shape is not None:
        yield matrices.draw_weights(run, *_best(run, WEIGHT_ROWS))
    if results.confusion[results.selected].any():
        yield matrices.draw_confusion(results)


def _best(run: Run, limit: int) -> tuple[list[int], str]:
    """Return the models to show, in their order, and a sentence if they are not all.

    Those with the best validation accuracy after the last epoch are shown.
    """
    M = len(run.settings)
    if limit >= M:
        return list(range(M)), ""
    final = run.final("validation_accuracy")
    best = np.argsort(np.where(np.isnan(final), 1.0, -final), kind="stable")[:limit]
    told = f" Shown: the {limit} of {M} settings with the best final validation accuracy."
    return sorted(int(model) for model in best), told
