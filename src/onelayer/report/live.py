"""Curves that move during a training: below the bar of a terminal, or in a notebook."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from onelayer.progress import in_notebook, progress_bar
from onelayer.report.labels import decimals
from onelayer.report.small_charts import QUANTITIES, SPLITS, sparklines
from onelayer.training.epochs import OnEpoch
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Curves
from onelayer.training.naming import setting_labels
from onelayer.training.options import TrainingOptions

_WORDS, _LEAST, _MOST = 34, 8, 60  # letters beside the blocks, and the fewest and most blocks
_SOON, _PAUSE = 1.0, 0.5  # seconds until a notebook shows curves, and from one picture to the next


@contextmanager
def watched_training(
    settings: Sequence[Hyperparameters], options: TrainingOptions, title: str
) -> Iterator[OnEpoch]:
    """Yield a callback for every epoch of a training, which shows its progress.

    A notebook shows the curves of the best settings; a terminal shows a bar and the curves of the
    best one; a pipe shows nothing.
    """
    labels = setting_labels(settings, options.solver)
    if in_notebook():
        with _Display(labels, options.epochs, title) as display:
            yield display.show
        return
    with progress_bar(title, options.known_epochs) as update:

        def show(epoch: int, curves: Curves, models: range) -> None:
            best, words = best_so_far(epoch, curves, labels[models.start : models.stop])
            update(epoch, words, None if best is None else Sparklines(epoch, curves, best))

        yield show


def best_so_far(epoch: int, curves: Curves, labels: Sequence[str]) -> tuple[int | None, str]:
    """Return the model of the highest accuracy after an epoch and its scores; None if unknown."""
    for split, words in reversed(SPLITS.items()):
        accuracies = curves.get(f"{split}_accuracy", np.empty((0, epoch + 1)))[:, epoch]
        if np.isfinite(accuracies).any():
            best = int(np.nanargmax(accuracies))
            others = f", best of {len(labels):,}" if len(labels) > 1 else ""
            return best, f"{words} {accuracies[best]:.4f}{others}: {labels[best]}"
    return None, ""


@dataclass(frozen=True)
class Sparklines:
    """Loss and accuracy of one model up to an epoch, a line for each split; drawn when asked."""

    epoch: int
    curves: Curves
    model: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines; none if the console is too narrow or cannot show their characters."""
        room = min(options.max_width - _WORDS, _MOST)
        if room < _LEAST or options.ascii_only:
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        for quantity in QUANTITIES:
            known = {split: self._known(f"{split}_{quantity}") for split in SPLITS}
            shown = {split: curve for split, curve in known.items() if curve.size}
            lines = sparklines(list(shown.values()), room)
            for (split, curve), line in zip(shown.items(), lines, strict=True):
                table.add_row(f"{SPLITS[split]} {quantity}", line, decimals(float(curve[-1])))
        yield table

    def _known(self, name: str) -> Any:
        """Return the finite values of a curve so far."""
        curve = self.curves.get(name, np.empty((self.model + 1, 0)))[self.model, : self.epoch + 1]
        return curve[np.isfinite(curve)]


class _Display:
    """The curves of a training in one display of a notebook; a short training has none."""

    def __init__(self, labels: Sequence[str], epochs: int, title: str) -> None:
        self._labels, self._epochs, self._title = labels, epochs, title
        self._due = time.monotonic() + _SOON
        self._handle: Any = None
        self._latest: tuple[int, Curves, range] | None = None

    def __enter__(self) -> "_Display":
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle is not None:
            self._draw()

    def show(self, epoch: int, curves: Curves, models: range) -> None:
        """Store the curves after an epoch, and draw them if the last picture is old enough."""
        self._latest = (epoch, curves, models) if curves else self._latest
        if self._latest is not None and time.monotonic() >= self._due:
            self._draw()
            self._due = time.monotonic() + _PAUSE

    def _draw(self) -> None:
        from onelayer.report.notebook import curves_html

        publish: Any = import_module("IPython.display").display
        assert self._latest is not None
        epoch, curves, models = self._latest
        names = self._labels[models.start : models.stop]
        words = best_so_far(epoch, curves, names)[1]
        title = f"{self._title} {epoch} of {self._epochs}. {words}"
        page = {"text/html": curves_html(title, curves, names, self._epochs), "text/plain": title}
        if self._handle is None:
            self._handle = publish(page, raw=True, display_id=True)
        else:
            self._handle.update(page, raw=True)
