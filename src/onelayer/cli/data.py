"""Data sets: fetch, describe and show them."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.options import Dataset, Source

app = typer.Typer(no_args_is_help=True, help="Fetch, describe and show data sets.")


@app.command("fetch", epilog="Example: onelayer data fetch cifar10 --source ~/Downloads")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A data set's name.")] = "cifar10",
    source: Source = None,
) -> None:
    """Download a data set into the cache and verify it; files that are already there stay."""
    from onelayer.data.catalog import fetch_dataset

    print(f"{name}: {fetch_dataset(name, source)}")


def _reading() -> Group:
    from onelayer.data.reading import Reading

    return Group(Reading)


def _pictures() -> Group:
    return replace(_reading(), names=("resize", "coarse"))


@app.command(
    "info", cls=command_of(lambda: [_reading()]), epilog="Example: onelayer data info mine.csv"
)
def data_info(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A data set's name, a file or a folder.")] = "cifar10",
    source: Source = None,
) -> None:
    """Describe a data set: samples, features, classes, missing values, duplicates, digests."""
    from onelayer.data.catalog import open_dataset
    from onelayer.report.terminal.data import show_dataset

    show_dataset(open_dataset(name, source, **_reading().build(context.obj).given))


@app.command(
    "show",
    cls=command_of(lambda: [_pictures()]),
    epilog="Example: onelayer data show cifar10 --augment flip,shift:2",
)
def data_show(
    context: typer.Context,
    name: Dataset = "cifar10",
    augment: Annotated[
        str,
        typer.Option(help="Show versions: any of flip, shift:2, brightness:0.2, contrast:0.2."),
    ] = "none",
    rows: Annotated[int, typer.Option(min=1, max=10, help="Rows of images for each class.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=2**53, help="Seed of the choice and the versions.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="PNG file (default: NAME-images.png in this folder).")
    ] = None,
    source: Source = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Draw some training images of each class, to look at; with --augment, versions of them."""
    from onelayer.data.catalog import load_dataset
    from onelayer.report.contact_sheet import write_contact_sheet
    from onelayer.training.augmentation import Augmentation

    augmentation = Augmentation.parse(augment)
    path = out or Path(f"{Path(name).resolve().name}-images.png")
    data = load_dataset(name, source=source, **_pictures().build(context.obj).given)
    write_contact_sheet(data, path, augmentation, rows=rows, seed=seed, force=force)
    print(f"images: {path}")
