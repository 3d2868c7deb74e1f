"""The description of a data set on a terminal."""

import numpy as np
from rich.table import Table

from onelayer.data.dataset import Dataset
from onelayer.data.description import describe
from onelayer.report.labels import MOST_ROWS
from onelayer.report.terminal import add_column, print_table

RAREST = 40  # classes that are listed if not all are


def show_dataset(data: Dataset) -> None:
    """Print samples of each class, ranges, duplicates within and between splits, and digests."""
    found = describe(data.splits, len(data.class_names))
    table = Table(title=f"{data.name}: samples")
    for place, name in enumerate(["", *data.splits]):
        add_column(table, name, number=place > 0)
    counts = np.array([split.class_counts for split in found.splits.values()])  # (splits, K)
    shown = np.arange(data.n_classes)
    if len(shown) > MOST_ROWS:
        shown = np.sort(np.argsort(counts[0], kind="stable")[:RAREST])
    for k in shown:
        table.add_row(data.class_names[k], *map(str, counts[:, k]))
    table.add_section()
    for field in ("samples", "duplicates", "missing", "infinite", "minimum", "maximum"):
        figures = (f"{getattr(split, field):.9g}" for split in found.splits.values())
        table.add_row(field, *figures)
    print_table(table)
    if len(shown) < data.n_classes:
        print(
            f"shown: the {RAREST} of {data.n_classes:,} classes with the fewest training samples; "
            f"{np.count_nonzero(counts[0] == 0):,} have none"
        )
    shape = ", images of {} × {} × {}".format(*data.image_shape) if data.image_shape else ""
    X = data.splits["train"].X
    print(f"{X.shape[1]} features, {X.dtype}, full scale {data.full_scale:g}{shape}")
    if data.columns is not None and data.columns.label is not None:
        print(f"labels: the column {data.columns.label!r}")
    for note in data.notes:
        print(f"note: {note}")
    for (one, other), samples in found.shared.items():
        print(f"samples of {other} that equal one of {one}: {samples}")
    for file, digest in data.digests.items():
        print(f"{file} sha256 {digest}")
