"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

SpecName = Annotated[str, typer.Argument(help="A shipped spec's name, or a spec file.")]
Dataset = Annotated[str, typer.Argument(help="A data set's name, or a folder of .npy files.")]
Source = Annotated[
    Path | None, typer.Option(help="A folder or archive of the data set that you already have.")
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
