"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onelayer.errors import InputError

SpecName = Annotated[str, typer.Argument(help="A shipped spec's name, or a spec file.")]
Dataset = Annotated[str, typer.Argument(help="A data set's name, a file or a folder.")]
Source = Annotated[
    Path | None, typer.Option(help="A folder or archive of the data set that you already have.")
]
Resize = Annotated[
    str | None, typer.Option(metavar="HEIGHT,WIDTH", help="Resize all pictures of a folder.")
]
Coarse = Annotated[bool, typer.Option("--coarse", help="CIFAR-100's 20 groups as classes.")]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column that holds the labels (default: label, class, target or y, else the last).",
    ),
]
Validation = Annotated[
    float | None,
    typer.Option(help="Training samples to hold out for validation: a share below 1, or a number."),
]
Out = Annotated[Path | None, typer.Option(help="Output folder (default: runs/ and the name).")]
Report = Annotated[
    str, typer.Option(help="Report to draw: all, html or none; onelayer report draws it later.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run wrote there.")]
ForceFile = Annotated[bool, typer.Option("--force", help="Replace the file.")]
ModelPath = Annotated[
    Path, typer.Argument(help="A model.safetensors, what train wrote, or a saved run.")
]
Number = Annotated[
    int | None,
    typer.Option(
        "--model", min=0, help="Number of the model in the run, from 0 (default: the selected one)."
    ),
]


def reading(resize: str | None, coarse: bool, label: str | None) -> dict[str, Any]:
    """Return the options of load_dataset that were given, read."""
    options = {"resize": _size(resize) if resize else None, "coarse": coarse, "label": label}
    return {name: value for name, value in options.items() if value}


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split(","))
    except ValueError as error:
        raise InputError(f"--resize: found {text!r}; expected HEIGHT,WIDTH like 32,32") from error
    return height, width


def tell(note: str) -> None:
    """Print a note on what was understood, apart from the results."""
    typer.echo(f"note: {note}", err=True)
