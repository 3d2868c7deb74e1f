"""Arguments and options that several commands share."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from onelayer.errors import InputError

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
Live = Annotated[
    bool, typer.Option("--live", help="Show the training in a browser while it lasts.")
]
Title = Annotated[str | None, typer.Option(help="Title of the report.")]
Author = Annotated[str | None, typer.Option(help="Author, below the title of the report.")]
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
    """Return the output folder: --out, or a new one in runs/; with --force runs/NAME itself."""
    from onelayer.storage import fresh_folder

    usual = Path("runs") / name
    return fresh_folder(usual) if out is None and not force else nullcontext(out or usual)


def tell(note: str) -> None:
    """Print a note to standard error, apart from the results."""
    typer.echo(f"note: {note}", err=True)


def show_live(url: str) -> None:
    """Print the address of the live page, and open it if a person can see a display."""
    import os
    import sys
    import webbrowser

    print(f"live: {url}", flush=True)
    remote = "SSH_CONNECTION" in os.environ
    x11 = sys.platform in ("win32", "darwin") or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}
    if sys.stdout.isatty() and x11 and not remote:
        webbrowser.open(url)


def take_from_file(context: typer.Context, path: Path, own: str) -> None:
    """Set the defaults of the command line from a file, which cannot set the option `own`.

    Raises
    ------
    InputError
        As load_config, or for a value that an option does not take.
    """
    from onelayer.experiments.config_file import load_config

    every = context.command.get_params(context)
    parameters = {name.lstrip("-"): each for each in every for name in each.opts}
    del parameters[own]
    context.default_map = {}
    names = {option: each.name for option, each in parameters.items()}
    for option, text in load_config(path, names).items():
        parameter = parameters[option]
        value = [text] if parameter.multiple else text
        try:
            parameter.process_value(context, value)
        except typer.BadParameter as error:
            raise InputError(f"{path}: {option}: found {text!r}; {error.message}") from error
        context.default_map[parameter.name] = value
