"""Progress bars on a terminal, nothing in a pipe; and a test for notebooks."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

Update = Callable[..., None]
SOON = 1.0  # seconds; shorter work shows a bar only


@contextmanager
def progress_bar(
    title: str,
    total: float | None,
    *,
    bytes_: bool = False,
    share: bool = False,
    after: float = 0.0,
) -> Iterator[Update]:
    """Show a bar on standard error while the block runs; yield `update(completed, detail, below)`.

    `total` is in bytes with `bytes_` (the bar then shows size and rate), in work of any unit with
    `share` (it shows the share, and the time left at the mean speed so far), otherwise in steps (it
    shows steps and the time left); None draws a bar without an end. Nothing is shown for work that
    ends within `after` seconds, or if standard error is not a terminal. `below` is drawn under the
    bar after the first second, at most ten times a second, and removed at the end; a dumb terminal,
    which cannot move its cursor, does not show it.
    """
    if not (sys.stderr and sys.stderr.isatty()):
        yield _show_nothing
        return
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[str | ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
    if bytes_:
        columns += [DownloadColumn(), TransferSpeedColumn()]
    else:
        columns += [TaskProgressColumn() if share else MofNCompleteColumn()]
    columns += [TimeRemainingColumn(), TextColumn("{task.fields[detail]}")]
    period = math.inf if share else 30.0
    console, begin = Console(stderr=True), time.monotonic()
    shown: list[RenderableType] = []

    class Watched(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            yield from shown

    progress = Watched(*columns, console=console, speed_estimate_period=period)
    task = progress.add_task(title, total=total, detail="")

    def update(completed: float, detail: str = "", below: RenderableType | None = None) -> None:
        if below and time.monotonic() - begin >= SOON and not console.is_dumb_terminal:
            shown[:] = [below]
        progress.update(task, completed=completed, detail=detail)
        if not progress.live.is_started and time.monotonic() - begin >= after:
            progress.start()

    try:
        if after == 0:
            progress.start()
        yield update
    finally:
        shown.clear()
        progress.stop()


def _show_nothing(
    completed: float, detail: str = "", below: "RenderableType | None" = None
) -> None:
    """Ignore the progress."""


def in_notebook() -> bool:
    """Whether the code runs in the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
