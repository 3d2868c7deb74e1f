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
    str | None, typer.Option(metavar="HEIGHT,WIDTH", help="Scale all pictures of a folder to it.")
]
Coarse = Annotated[bool, typer.Option("--coarse", help="CIFAR-100's 20 groups as classes.")]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Of a table's labels (default: label, class, target, y or the last)."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Output folder (default: runs/ and the name).")]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run wrote there.")]
ForceFile = Annotated[bool, typer.Option("--force", help="Replace the file.")]
ModelPath = Annotated[
    Path, typer.Argument(help="A model.safetensors, what train wrote, or a saved run.")
]
Number = Annotated[
    int | None, typer.Option("--model", min=0, help="Of a run, from 0 (default: the chosen one).")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights and orders.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads (default: all cores).")]
Memory = Annotated[float, typer.Option(help="GB that a stack may take while training.")]


def memory_bytes(gigabytes: float) -> int:
    """Return what --memory stands for."""
    if not 0 < gigabytes <= 1e6:  # nor NaN
        raise InputError(f"--memory: found {gigabytes:g}; expected GB above 0, up to 1e+06")
    return int(gigabytes * 1e9)


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
