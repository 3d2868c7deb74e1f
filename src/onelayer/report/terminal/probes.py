"""What probes say on a terminal."""

from rich.console import Console
from rich.text import Text

from onelayer.evaluation.probing import Probing
from onelayer.report.labels import MISSING
from onelayer.report.probes import probe_columns
from onelayer.report.terminal import plain_table

_PAGE_ONLY = ("D", "setting", "train", "validation", "control, train")  # a line is 80 letters


def show_probes(probing: Probing) -> None:
    """Print the test accuracy of every feature set and number of labels."""
    columns = {
        name: cells for name, cells in probe_columns(probing).items() if name not in _PAGE_ONLY
    }
    table = plain_table(
        title=f"\nTest accuracy, {probing.samples['test']:,} rows; "
        f"the most frequent class: {probing.majority:.4f}"
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "features" else "right")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text("" if cell == MISSING else cell) for cell in row))
    Console(highlight=False).print(table)
