"""Linear probes of features."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.experiments import data_options, show_page
from onelayer.cli.options import (
    Force,
    Out,
    Report,
    place_of,
    take_from_file,
)
from onelayer.errors import InputError
from onelayer.process import silence

if TYPE_CHECKING:
    from onelayer.experiments.workload import Planned, Workload

app = typer.Typer()


def _take_protocol(context: typer.Context, name: str | None) -> str | None:
    if name is not None:
        from onelayer.experiments.protocol import find_protocol

        take_from_file(context, find_protocol(name), "protocol")
    return name


def _groups() -> tuple[Group, ...]:
    from onelayer.experiments.probe_options import DEFAULTS, GRID, ProbeOptions
    from onelayer.training.hyperparameters import Hyperparameters
    from onelayer.training.machine import Machine
    from onelayer.training.options import TrainingOptions

    return (
        data_options(),
        Group(Hyperparameters, GRID, many=True, when=" of --solver descent"),
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
    protocol: Annotated[
        str | None,
        typer.Option(
            is_eager=True,
            callback=_take_protocol,
            help="Options of a publication, clip, dinov2-linear or dinov2-logreg, or of a TOML "
            "file; those of the command line come first.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory and time; do not train.")
    ] = False,
    out: Out = None,
    report: Report = "all",
    force: Force = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the same probes where they were interrupted."),
    ] = False,
) -> None:
    """Probe feature sets of the same rows: accuracy of each, by label count, against a control.

    Exits with 3 if every setting of a probe diverged.
    """
    from onelayer.experiments.probe import plan_sources, probe_sources
    from onelayer.experiments.probe_options import probe_grid
    from onelayer.report.terminal.probes import show_probes
    from onelayer.training.ranks import check_alone, ranks

    data, models, asked, training, machine = _groups()
    options = training.build(context.obj)
    settings = probe_grid(options.solver, **models.lists(context.obj))
    task = {
        "data": data.values(context.obj),
        "fractions": _read_fractions(fractions or ()),
        "asked": asked.build(context.obj),
        "options": options,
        "machine": machine.build(context.obj),
    }
    if plan:
        check_alone("--plan")
        resumed = _unfinished(out) if resume else None
        _show_plan(*plan_sources(features, settings, resumed=resumed, **task))
        return
    with ranks(task["machine"].rank_timeout) as here:
        if not here.leads:
            silence()
        with _place(out, force, resume) if here.leads else nullcontext(Path()) as folder:
            (folder, *_) = here.gather(folder)
            probe_sources(
                features,
                folder,
                settings,
                force=force,
                resume=resume,
                report=report,
                show=show_probes,
                **task,
            )
    if here.leads:
        show_page(folder)


def _place(out: Path | None, force: bool, resume: bool) -> AbstractContextManager[Path]:
    """Return the output folder of probes that begin or are resumed."""
    return nullcontext(_unfinished(out)) if resume else place_of(out, "probe", force)


def _unfinished(out: Path | None) -> Path:
    """Return the output folder to resume; without --out, the latest unfinished one."""
    from onelayer.storage import latest_unfinished

    return out or latest_unfinished(Path("runs/probe"))


def _show_plan(work: "Workload", planned: "Sequence[Planned]") -> None:
    from onelayer.report.blocks import Column, make_table
    from onelayer.report.labels import count_of
    from onelayer.report.terminal import show_table

    probes = count_of(work.draws, "probe")
    tried = "a path of λ" if work.settings is None else count_of(len(work.settings), "setting")
    shuffled = f", and {count_of(work.shuffles, 'probe')} on shuffled labels" * (work.shuffles > 0)
    seconds = [each.forecast.seconds for each in planned]
    table = make_table(
        "plan",
        f"Of each feature set: {probes}, each of {tried}{shuffled}.",
        Column("features", "words", [each.name for each in planned]),
        Column("D", "count", [each.n_features for each in planned]),
        Column("seconds", "number", seconds, 3),
        Column("GB", "number", [each.bytes / 1e9 for each in planned], 3),
    )
    show_table(table)
    print(
        f"memory: {sum(each.bytes for each in planned) / 1e9:.3g} GB for all features, "
        f"{max(each.forecast.bytes for each in planned) / 1e9:.3g} GB at most for the largest "
        f"stack, {max(each.forecast.kept for each in planned) / 1e9:.3g} GB for its weights"
    )
    print(f"time: about {sum(seconds):.3g} s of training")


def _read_fractions(texts: Sequence[str]) -> list[float]:
    """Return the numbers in 0.01,0.1, or in an option that was given several times."""
    try:
        return [float(text) for given in texts for text in given.split(",")]
    except ValueError as error:
        raise InputError(
            f"--fractions: found {','.join(texts)!r}; expected like 0.01,0.1"
        ) from error
