"""Linear probes of features."""

from pathlib import Path
from typing import Annotated

import typer

from onelayer.cli.options import (
    Coarse,
    Force,
    Label,
    Many,
    Memory,
    Out,
    Resize,
    Threads,
    Validation,
    memory_bytes,
    of_each_model,
    read_values,
    reading,
)

app = typer.Typer()


@app.command(epilog="Example: onelayer probe layer1.npz layer2.npz --fractions 0.01,0.1 --control")
def probe(
    features: Annotated[
        list[str], typer.Argument(help="Files, folders or data sets, of the same rows.")
    ],
    l2: Annotated[Many, of_each_model("λ (default: 0,0.001,0.01,0.1,1).")] = None,
    learning_rate: Annotated[Many, of_each_model("η (default: 0.1,0.01,0.001).")] = None,
    fractions: Annotated[
        Many, typer.Option(help="Shares of the training labels, beside all: 0.01,0.1.")
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="Times that a share's rows, and shuffled labels, are drawn."
        ),
    ] = 5,
    control: Annotated[
        bool, typer.Option("--control", help="Train on shuffled labels, too; tell the selectivity.")
    ] = False,
    scaling: Annotated[str, typer.Option(help="standardise, unit or none.")] = "standardise",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a mini-batch.")] = 100,
    epochs: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Passes over the training split.")
    ] = 40,
    validation: Validation = None,
    resize: Resize = None,
    coarse: Coarse = False,
    label: Label = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, orders and draws.")] = 0,
    threads: Threads = None,
    memory: Memory = 1.0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Probe feature sets of the same rows: accuracy of each, by label count, against a control."""
    from onelayer.experiments.probe import probe_grid, probe_sources
    from onelayer.report.probes import PAGE
    from onelayer.report.terminal.probes import show_probes

    given = {"l2": l2, "learning_rate": learning_rate}
    values = {name: read_values(name, texts, 0.0) for name, texts in given.items() if texts}
    folder = out or Path("runs/probe")
    probing = probe_sources(
        features,
        folder,
        probe_grid(**values),
        validation=validation,
        reading=reading(resize, coarse, label),
        force=force,
        announce=typer.echo,
        fractions=read_values("fractions", fractions, 0.0) if fractions else (),
        draws=draws,
        control=control,
        scaling=scaling,
        threads=threads,
        memory=memory_bytes(memory),
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
    )
    show_probes(probing)
    typer.echo(f"page: {folder / PAGE}")
