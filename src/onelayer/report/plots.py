"""Figures of a run, in new or given axes: run.plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.weight_images import weight_images
from onelayer.report.curves import PANELS, draw_accuracies, draw_losses, draw_panel
from onelayer.report.figures import WEIGHT_ROWS
from onelayer.report.image_grid import fit, in_colour
from onelayer.report.matrices import draw_weights
from onelayer.report.small_charts import SPLITS, best_models
from onelayer.report.style import WIDTHS, look
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.run import Run

_QUANTITIES = {"loss": draw_losses, "accuracy": draw_accuracies}
_STACKED = 4  # models, under each other in a column
_SIDE = 600  # pixels of an image; more would not be visible


@dataclass(frozen=True)
class Plots:
    """The figures of a run, as in its report: lines are vectors, colours those of Okabe and Ito.

    A figure is one of pyplot, so that it appears where plots appear, unless `axes` are given: then
    it is drawn into them, in the style of their figure. `models` are numbers, by default those with
    the highest validation accuracy that have room. All methods return the axes. They write the
    figure into a `file` that ends in .pdf, .svg or .png if it is given, and replace an old one.

    Examples
    --------
    >>> run = onelayer.train(onelayer.load_dataset("digits"), onelayer.grid(l2=[0, 1]), epochs=2)
    >>> from matplotlib.figure import Figure
    >>> [ax.get_title() for ax in run.plot.curves("accuracy", axes=Figure().subplots(1, 2))]
    ['λ=0, η=0.01', 'λ=1, η=0.01']
    """

    run: Run

    def curves(
        self,
        quantity: str = "loss",
        models: int | Sequence[int] | None = None,
        axes: Any = None,
        width: str = "page",
        file: str | Path | None = None,
    ) -> list[Axes]:
        """Draw the loss with the cost, or the accuracy, against the epoch: axes for each model.

        A new figure is as wide as a "page" or "column" of a paper, with letters as large as the
        text; a paper includes its .pdf unscaled.

        Raises
        ------
        InputError
            If there is no such quantity, width, model or type of file, or not one axes for each
            model.
        """
        if quantity not in _QUANTITIES:
            raise unknown_name("quantity", quantity, _QUANTITIES)
        if width not in WIDTHS:
            raise unknown_name("width", width, WIDTHS)
        if axes is None:
            numbers = self._numbers(models, PANELS if width == "page" else _STACKED)
            with look():
                drawing = _QUANTITIES[quantity](self.run, numbers, "", pyplot.figure, WIDTHS[width])
            return _saved([ax for ax in drawing.figure.axes if ax.get_visible()], file)
        given = _flat(axes)
        numbers = self._numbers(models, len(given))
        _check_count(given, len(numbers), "models")
        for ax, model in zip(given, numbers, strict=True):
            draw_panel(ax, self.run, model, quantity)
        return _saved(given, file)

    def weights(
        self,
        models: int | Sequence[int] | None = None,
        axes: Any = None,
        file: str | Path | None = None,
    ) -> list[Axes]:
        """Draw the first rows of W as images, in a row for each model.

        Given `axes` take the first classes of one model, an image each.

        Raises
        ------
        InputError
            If the samples were not images, there is no such model, or there are more axes than
            classes.
        """
        if axes is None:
            numbers = self._numbers(models, WEIGHT_ROWS)
            weight_images(self.run, numbers[:1])  # refuses samples that are not images
            with look():
                drawing = draw_weights(self.run, numbers, "", pyplot.figure)
            return _saved(list(drawing.figure.axes), file)
        given, (model, *others) = _flat(axes), self._numbers(models, 1)
        if others:
            raise InputError(f"weights of {1 + len(others)} models; expected one for given axes")
        images = fit(in_colour(weight_images(self.run, model)), _SIDE)
        _check_count(given, min(len(images), len(given)), "classes")
        for ax, image, name in zip(given, images, self.run.class_names, strict=False):
            ax.imshow(image)
            ax.set_title(name, parse_math=False)
            ax.set_axis_off()
        return _saved(given, file)

    def _numbers(self, models: int | Sequence[int] | None, room: int) -> list[int]:
        M = len(self.run.settings)
        if models is None:
            accuracies = {split: self.run.final(f"{split}_accuracy") for split in SPLITS}
            return best_models(accuracies, room)
        numbers = np.atleast_1d(np.asarray(models))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not numbers.size:
            raise InputError(f"models is {models!r:.60}; expected a number or several")
        if numbers.min() < 0 or numbers.max() >= M:
            raise InputError(f"models is {models!r:.60}; the run has {M}, numbered from 0")
        return [int(number) for number in numbers]


def _saved(axes: list[Axes], file: str | Path | None) -> list[Axes]:
    """Return the axes, after writing their figure to the file if one is given."""
    figure = axes[0].get_figure(root=True)
    if figure is not None and file is not None:
        check_output_file(Path(file), (".pdf", ".svg", ".png"), force=True)
        with look(), atomic_file(Path(file)) as temporary:
            figure.savefig(temporary, format=Path(file).suffix[1:].lower())
    return axes


def _flat(axes: Any) -> list[Axes]:
    given = [axes] if isinstance(axes, Axes) else list(np.asarray(axes, object).flat)
    if not given or not all(isinstance(ax, Axes) for ax in given):
        raise InputError(f"axes is {axes!r:.60}; expected axes of matplotlib")
    return given


def _check_count(axes: Sequence[Axes], count: int, of: str) -> None:
    if len(axes) != count:
        raise InputError(f"{len(axes)} axes for {count} {of}; expected one for each")
