"""Linear probes of features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.experiments import data_options, show_page
from onelayer.cli.options import (
    Force,
    Out,
    Report,
)
from onelayer.errors import InputError

app = typer.Typer()


def _groups() -> tuple[Group, ...]:
    from onelayer.experiments.probe import DEFAULTS, GRID, ProbeOptions
    from onelayer.training.hyperparameters import Hyperparameters
    from onelayer.training.machine import Machine
    from onelayer.training.options import TrainingOptions

    return (
        data_options(),
        Group(Hyperparameters, GRID, many=True),
        Group(ProbeOptions),
        Group(TrainingOptions, DEFAULTS),
        Group(Machine),
    )


@app.command(
    cls=command_of(_groups),
    epilog="Example: onelayer probe layer1.npz layer2.npz --fractions 0.01,0.1 --control",
)
def probe(
    context: typer.Context,
    features: Annotated[
        list[str], typer.Argument(help="Files, folders or data sets, of the same rows.")
    ],
    fractions: Annotated[
        list[str] | None,
        typer.Option(help="Shares of the training labels to probe with, beside all: 0.01,0.1."),
    ] = None,
    out: Out = None,
    report: Report = "all",
    force: Force = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the same probes where they were interrupted."),
    ] = False,
) -> None:
    """Probe feature sets of the same rows: accuracy of each, by label count, against a control."""
    from onelayer.experiments.probe import probe_grid, probe_sources
    from onelayer.report.terminal.probes import show_probes

    data, models, asked, training, machine = _groups()
    folder = out or Path("runs/probe")
    options = training.build(context.obj)
    probing = probe_sources(
        features,
        folder,
        probe_grid(options.solver, **models.lists(context.obj)),
        data=data.values(context.obj),
        force=force,
        resume=resume,
        report=report,
        fractions=_read_fractions(fractions or ()),
        asked=asked.build(context.obj),
        options=options,
        machine=machine.build(context.obj),
    )
    show_probes(probing)
    show_page(folder)


def _read_fractions(texts: Sequence[str]) -> list[float]:
    """Return the numbers of 0.01,0.1 or of an option that was given several times."""
    try:
        return [float(text) for given in texts for text in given.split(",")]
    except ValueError as error:
        raise InputError(
            f"--fractions: found {','.join(texts)!r}; expected like 0.01,0.1"
        ) from error
