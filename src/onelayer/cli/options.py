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
Validation = Annotated[
    float | None,
    typer.Option(help="Split off the training samples: a share below 1, or a number."),
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
Many = list[str] | None


def of_each_model(text: str) -> Any:
    """Return an option that takes one value or several, such as 0,0.1."""
    return typer.Option(help=text, rich_help_panel="Of each model, one value or several: 0,0.1")


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


def read_values(name: str, texts: list[str], default: Any) -> list[Any]:
    """Read 0,0.1,1 or the option given several times, as values of the default's type."""
    option, kind = name.replace("_", "-"), type(default)
    read = {bool: _yes_or_no}.get(kind, kind)
    example = {bool: "no,yes", int: "0,1", float: "0,0.1"}.get(kind, str(default))
    values = []
    for text in ",".join(texts).split(","):
        try:
            values.append(read(text))
        except ValueError as error:
            raise InputError(f"--{option}: found {text!r}; expected like {example}") from error
    return values


def _yes_or_no(text: str) -> bool:
    if text not in ("no", "yes"):
        raise ValueError(text)
    return text == "yes"
