"""Progress bars on a terminal, silence in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    title: str, total: float | None, *, bytes_: bool = False
) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on standard error while the block runs; yield `update(completed, detail)`.

    `total` is in bytes with `bytes_` (the bar then shows size and rate), otherwise in steps (the
    bar shows steps and the time left); None draws a bar without an end. Where standard error is
    not a terminal nothing is written.
    """
    import sys

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[str | ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
    columns += [DownloadColumn(), TransferSpeedColumn()] if bytes_ else [MofNCompleteColumn()]
    columns += [TimeRemainingColumn(), TextColumn("{task.fields[detail]}")]
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, disable=not (sys.stderr and sys.stderr.isatty())
    ) as progress:
        task = progress.add_task(title, total=total, detail="")

        def update(completed: float, detail: str = "") -> None:
            progress.update(task, completed=completed, detail=detail)

        yield update
