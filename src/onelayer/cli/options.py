"""Arguments and options that several commands share."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

SpecName = Annotated[str, typer.Argument(help="A shipped spec's name, or a spec file.")]
Dataset = Annotated[str, typer.Argument(help="A data set's name, a file or a folder.")]
Source = Annotated[
    Path | None, typer.Option(help="A folder or archive with a copy of the data set.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Output folder (default: runs/NAME, or runs/NAME-2, … if that exists)."),
]
Report = Annotated[
    str, typer.Option(help="Report to draw: all, html or none; onelayer report draws it later.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the results of an earlier run.")]
ForceFile = Annotated[bool, typer.Option("--force", help="Replace the file.")]
ModelPath = Annotated[
    Path, typer.Argument(help="A model file, a folder written by train, or a saved run.")
]
Number = Annotated[
    int | None,
    typer.Option(
        "--model", min=0, help="Number of the model in the run, from 0 (default: the selected one)."
    ),
]


def place_of(out: Path | None, name: str, force: bool) -> AbstractContextManager[Path]:
    """Return the output folder: --out, or a fresh one in runs/; with --force runs/NAME itself."""
    from onelayer.storage import fresh_folder

    usual = Path("runs") / name
    return fresh_folder(usual) if out is None and not force else nullcontext(out or usual)


def tell(note: str) -> None:
    """Print a note on what was understood, apart from the results."""
    typer.echo(f"note: {note}", err=True)
