"""The command `doctor`: find the mistakes in a file; its functions run in a sandbox."""

from pathlib import Path
from typing import Annotated

import typer

from onelayer.cli.options import ForceFile

app = typer.Typer()


@app.command(epilog="Example: onelayer doctor my_code.py --html diagnosis.html")
def doctor(
    file: Annotated[Path, typer.Argument(help="A .py file or a notebook with the functions.")],
    loss: Annotated[
        str | None,
        typer.Option(help="Loss that was asked for (default: cross-entropy, or hinge by name)."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="The cost has ½λ Σ W² (a cost in the file shows it).")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="HTML file for the diagnosis with every error.")
    ] = None,
    force: ForceFile = False,
) -> int:
    """Name the mistakes in a gradient, a cost, a softmax, a descent; exit with 1 if there are any.

    The file runs in a process of its own, without network, with limits of time and memory.
    """
    from onelayer.report.terminal.doctor import show_diagnosis
    from onelayer.storage import atomic_file, check_output_file
    from onelayer.teaching.submission import examine

    if html is not None:
        check_output_file(html, (".html",), force=force)
    diagnosis = examine(file, loss, half or None)
    show_diagnosis(diagnosis)
    if html is not None:
        from onelayer.report.doctor import diagnosis_page

        with atomic_file(html) as path:
            path.write_text(diagnosis_page(diagnosis, f"Diagnosis of {file.name}"), "utf-8")
        print(f"page: {html}")
    return 0 if diagnosis.passed else 1
