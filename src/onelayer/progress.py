"""Progress bars on a terminal, silence in a pipe."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    title: str,
    total: float | None,
    *,
    bytes_: bool = False,
    share: bool = False,
    after: float = 0.0,
) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on standard error while the block runs; yield `update(completed, detail)`.

    `total` is in bytes with `bytes_` (the bar then shows size and rate), in work of any unit with
    `share` (it shows the share, and the time left at the mean speed so far), otherwise in steps (it
    shows steps and the time left); None draws a bar without an end. Nothing is shown of work
    that ends within `after` seconds, or where standard error is not a terminal.
    """
    if not (sys.stderr and sys.stderr.isatty()):
        yield _show_nothing
        return
    from rich.console import Console
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
    progress = Progress(*columns, console=console, speed_estimate_period=period)
    task = progress.add_task(title, total=total, detail="")

    def update(completed: float, detail: str = "") -> None:
        progress.update(task, completed=completed, detail=detail)
        if not progress.live.is_started and time.monotonic() - begin >= after:
            progress.start()

    try:
        if after == 0:
            progress.start()
        yield update
    finally:
        progress.stop()


def _show_nothing(completed: float, detail: str = "") -> None:
    """Take the progress of work that nobody watches."""
