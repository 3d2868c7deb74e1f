"""The command line: parse, then call. What is slow to import is imported by the command."""

import sys
from typing import Annotated, Any

import typer

from onelayer.cli import data, doctor, experiments, models, probes, teaching, training
from onelayer.errors import DivergedError, InputError, printable
from onelayer.process import check_signals

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0, or one of those that docs/commands.md lists.

    Bad input, a full disk and the like end in one line on standard error, never in a traceback.
    Ctrl-C ends in 130.
    """
    try:
        status: Any = app(arguments, standalone_mode=False)
    except Exception as error:
        check_signals()
        return _fail(_line_of(error), 3 if isinstance(error, DivergedError) else 2)
    if status == 130:
        return _fail("interrupted", status)
    return status or 0


def _line_of(error: Exception) -> str:
    """Return what a user is told of an error."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "not enough memory; try fewer settings, a smaller batch or --memory"
    # typer brings its own copy of click and exports no common base of its usage errors.
    if hasattr(error, "format_message"):
        return str(error.format_message())
    return f"this is a bug, please report it: {error!r}"


def _fail(message: str, status: int = 2) -> int:
    line = printable(" ".join(message.split()))
    if line:  # asked for nothing, typer shows the help and has no more to say
        print(f"onelayer: {line}", file=sys.stderr)
    return status


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"onelayer {version('onelayer')}")
        raise typer.Exit


@app.callback(epilog="Example: onelayer reproduce dd2424-a1 --out runs/a1")
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and stop."
        ),
    ] = False,
) -> None:
    """Every linear baseline in one pass, with gradients you can trust and a report to hand in."""


# The order of the help: what is asked for most comes first.
for commands in (experiments, training, probes, models, doctor):
    app.add_typer(commands.app)
app.add_typer(data.app, name="data")
app.add_typer(teaching.app, name="teach")
