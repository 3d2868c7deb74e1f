"""Published experiments: reproduce them, check their gradients, redraw their reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.options import (
    Author,
    Force,
    ForceFile,
    Live,
    Out,
    Report,
    Source,
    SpecName,
    Title,
    place_of,
    show_live,
    tell,
)
from onelayer.process import silence

if TYPE_CHECKING:
    from onelayer.evaluation.results import Results
    from onelayer.experiments.spec import Spec
    from onelayer.training.machine import Machine

app = typer.Typer()


_ADJUSTABLE = ("repeats", "epochs", "seed", "snapshots")


def _adjustments() -> Group:
    from onelayer.experiments.spec import ExperimentOptions

    return Group(ExperimentOptions, dict.fromkeys(_ADJUSTABLE), _ADJUSTABLE)


def _groups() -> tuple[Group, Group]:
    from onelayer.training.machine import Machine

    return _adjustments(), Group(Machine)


@app.command(
    cls=command_of(_groups),
    epilog="Example: onelayer reproduce dd2424-a1 --out runs/a1 --repeats 5",
)
def reproduce(
    context: typer.Context,
    spec: SpecName = "dd2424-a1",
    out: Out = None,
    source: Source = None,
    report: Report = "all",
    live: Live = False,
    title: Title = None,
    author: Author = None,
    force: Force = False,
) -> int:
    """Run a published experiment: check gradients, train, repeat, evaluate, report.

    Exits with 1 if a gradient check fails, with 3 if every setting diverged.
    """
    from onelayer.experiments.spec import adjust, load_spec, sign

    adjustments, machine = _groups()
    asked = adjust(load_spec(spec), **{name: context.obj[name] for name in adjustments.names})
    return run_spec(
        sign(asked, title, author),
        out,
        source,
        force,
        machine.build(context.obj),
        report,
        live=live,
    )


@app.command(epilog="Example: onelayer check dd2424-a1 --preset strict")
def check(
    spec: SpecName = "dd2424-a1",
    preset: Annotated[
        str | None, typer.Option(help="Only the spec's gradient check of this name.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a page and the figures as JSON, CSV and pictures."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**53, help="Seed, instead of the spec's.")
    ] = None,
    source: Source = None,
    force: Force = False,
) -> int:
    """Check the gradients against numerical ones; exit with 1 if a check fails."""
    from onelayer.evaluation.results import count_failed
    from onelayer.experiments.reproduce import check_gradients
    from onelayer.experiments.spec import adjust, load_spec
    from onelayer.report.terminal.results import show_check

    checks, engine_checks = check_gradients(
        adjust(load_spec(spec), seed=seed),
        out,
        preset=preset,
        force=force,
        source=source,
    )
    for batch in checks:
        show_check(batch)
    for check in engine_checks:
        print(check)
    return 1 if count_failed(checks, engine_checks) else 0


@app.command(epilog="Example: onelayer report runs/dd2424-a1")
def report(
    folder: Annotated[Path, typer.Argument(help="A folder written by reproduce, train or probe.")],
    out: Annotated[
        Path | None, typer.Option(help="Output folder (default: the same folder).")
    ] = None,
    force: Force = False,
) -> None:
    """Redraw the tables, the figures and the report of stored runs, without training."""
    from onelayer.experiments.reproduce import redraw

    print(f"report: {redraw(folder, out, force=force)}")


@app.command(epilog="Example: onelayer explore runs/dd2424-a1")
def explore(
    folder: Annotated[Path, typer.Argument(help="A folder written by reproduce or train.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file (default: explore.html in the folder).")
    ] = None,
    source: Source = None,
    force: ForceFile = False,
) -> None:
    """Write a page that needs no network, in which to move λ and η and try pictures."""
    from onelayer.experiments.reproduce import explore as write_page

    print(f"page: {write_page(folder, out, source=source, force=force, announce=tell)}")


@app.command(epilog="Example: onelayer resume runs/cifar10")
def resume(
    folder: Annotated[
        Path, typer.Argument(help="The folder that train, reproduce or probe was to write.")
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what is kept and what would be done; do not train.")
    ] = False,
    force: Force = False,
) -> int:
    """Go on with work that was interrupted, from its last checkpoint, to the same results.

    Exits as the command that was interrupted.
    """
    from onelayer.evaluation.results import Results
    from onelayer.experiments.resume import help_to_resume, plan_resume
    from onelayer.experiments.resume import resume as go_on
    from onelayer.report.terminal.probes import show_probes
    from onelayer.report.terminal.results import show_results
    from onelayer.training.ranks import check_alone, ranks

    planned = plan_resume(folder, force=force)
    if plan:
        check_alone("--plan")
        for words in planned.kept + planned.differs:
            tell(words)
        print(f"resume: goes on from there, and fills {planned.out}")
        return 0
    show = show_results if planned.task.command == "reproduce" else show_probes
    with ranks(planned.task.call["machine"]["rank_timeout"]) as here:
        if not here.leads:
            silence()
            help_to_resume(planned)
            return 0
        for words in planned.kept:
            tell(words)
        found = go_on(folder, force=force, show=show)
    show_page(planned.out)
    return status_of(found) if isinstance(found, Results) else 0


def _place() -> Group:
    from onelayer.option import options_of
    from onelayer.training.machine import Machine

    return Group(Machine, names=[name for name in options_of(Machine) if name != "checkpoint"])


@app.command(cls=command_of(lambda: [_place()]), epilog="Example: onelayer verify runs/dd2424-a1")
def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder of train, reproduce or probe.")],
    source: Source = None,
) -> int:
    """Train a stored run again and compare: identical to the bit, or where it leaves and how far.

    Exits with 1 if a bit is another.
    """
    from onelayer.experiments.verify import verify as train_again

    receipt = train_again(folder, machine=_place().build(context.obj), source=source)
    if receipt.identical:
        print(f"identical to the bit: {', '.join(receipt.trainings)}")
        return 0
    for reason in receipt.reasons or ("no reason is known: machine and versions are the same",):
        print(reason)
    return 1


def data_options() -> Group:
    """Return the options of the data, for commands that train."""
    from onelayer.data.reading import Reading
    from onelayer.experiments.spec import DataSpec
    from onelayer.option import options_of

    return Group(DataSpec, names=("validation", *options_of(Reading)))


def run_spec(
    spec: "Spec",
    out: Path | None,
    source: Path | None,
    force: bool,
    machine: "Machine",
    report: str,
    track: str | None = None,
    live: bool = False,
) -> int:
    """Run a spec into its folder and show its results; return 1 if a gradient check failed.

    Raises DivergedError if every setting diverged; the results are stored all the same.
    """
    from onelayer.experiments.reproduce import reproduce as reproduce_spec
    from onelayer.experiments.reproduce import take_part, task_of
    from onelayer.report.terminal.results import show_results
    from onelayer.training.ranks import ranks

    asked: dict[str, Any] = {"source": source, "machine": machine}
    call: dict[str, Any] = {"track": track, "report": report, "force": force}
    with ranks(machine.rank_timeout) as here:
        if not here.leads:
            silence()
            (folder, *_) = here.gather(None)
            take_part(spec, folder, task_of(spec, **asked, **call), **asked)
            return 0
        with place_of(out, spec.name, force) as folder:
            here.gather(folder)
            page = show_live if live else None
            results = reproduce_spec(spec, folder, show=show_results, live=page, **asked, **call)
    show_page(folder)
    return status_of(results)


def status_of(results: "Results") -> int:
    """Return 1 if a gradient check failed, else 0; raise DivergedError if every setting did."""
    from onelayer.evaluation.selection import check_choice

    if results.failed_checks:
        return 1
    check_choice(results.run)
    return 0


def show_page(path: Path) -> None:
    """Say where the pages of a run are, or the run itself where no report was drawn."""
    from onelayer.evaluation.run_folder import RunFolder

    folder = RunFolder.open(path)
    print(f"report: {folder.page}" if folder.page.is_file() else f"results: {path}")
    if folder.explorable_page.is_file():
        print(f"explore: {folder.explorable_page}")
