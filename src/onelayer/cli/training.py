"""Training a grid of settings, with options of the command line or of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.experiments import data_options, run_spec
from onelayer.cli.options import (
    Author,
    Dataset,
    Force,
    Live,
    Out,
    Report,
    Source,
    Title,
    take_from_file,
)

if TYPE_CHECKING:
    from onelayer.experiments.spec import Spec
    from onelayer.training.machine import Machine

app = typer.Typer()


def _take_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        take_from_file(context, path, "config")
    return path


def _groups() -> tuple[Group, Group, Group, Group]:
    from onelayer.experiments.spec import ExperimentOptions
    from onelayer.option import options_of
    from onelayer.training.hyperparameters import Hyperparameters
    from onelayer.training.machine import Machine

    # Only the selected setting sees the test split.
    names = [name for name in options_of(ExperimentOptions) if name != "test"]
    return (
        data_options(),
        Group(Hyperparameters, many=True),
        Group(ExperimentOptions, names=names),
        Group(Machine),
    )


@app.command(
    cls=command_of(_groups),
    epilog="Example: onelayer train cifar10 --l2 0,0.1,1 --learning-rate 0.01,0.001",
)
def train(
    context: typer.Context,
    dataset: Dataset = "cifar10",
    track: Annotated[
        str | None,
        typer.Option(help="Log every model to a tracker: tensorboard:FOLDER or mlflow:FOLDER."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=_take_config,
            help="A TOML file of these options; those of the command line come first.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory and time; do not train.")
    ] = False,
    live: Live = False,
    out: Out = None,
    report: Report = "all",
    title: Title = None,
    author: Author = None,
    source: Source = None,
    force: Force = False,
) -> int:
    """Train a grid of settings in one pass; the selected one is evaluated on the test split.

    Exits with 3 if every setting diverged; the folder is written all the same.
    """
    from onelayer.experiments.spec import sign, spec_of_grid
    from onelayer.training.hyperparameters import grid

    data, models, training, machine = _groups()
    spec = spec_of_grid(
        dataset,
        grid(**models.lists(context.obj)),
        training.build(context.obj, test="selected"),
        data.values(context.obj),
    )
    spec = sign(spec, title, author)
    if plan:
        _show_plan(spec, machine.build(context.obj), source)
    else:
        return run_spec(
            spec, out, source, force, machine.build(context.obj), report, track, live=live
        )
    return 0


def _show_plan(spec: "Spec", machine: "Machine", source: Path | None) -> None:
    from onelayer.experiments.experiment import forecast_spec, job_of, load_data
    from onelayer.training.forecast import sharing
    from onelayer.training.ranks import check_alone

    check_alone("--plan")
    data = load_data(spec.data, source)
    plan, shared = forecast_spec(spec, data, machine), sharing(job_of(spec, data, machine))
    sizes = ", ".join(f"{plan.stacks.count(n)} of {n} models" for n in sorted(set(plan.stacks)))
    print(f"stacks: {sizes}")
    print(
        f"memory: {plan.bytes / 1e9:.3g} GB at most for the largest stack, "
        f"{plan.kept / 1e9:.3g} GB for the weights and curves of all"
    )
    print(f"time: {plan.seconds:.3g} s of training")
    fits = "models" if shared.devices == 1 else f"rows, from {shared.devices} GPUs on,"
    print(
        f"several processes: --shard {fits} fits; models keep all {shared.rows / 1e9:.3g} GB of "
        f"rows in each, rows send {shared.gradient / 1e9:.3g} GB a step"
    )
