"""The ablation of an experiment as a table."""

from collections.abc import Sequence

from onelayer.evaluation.ablation import AblationRow
from onelayer.report.blocks import Table
from onelayer.report.labels import MISSING, one_line, signed


def ablation_table(rows: Sequence[AblationRow]) -> Table | None:
    """Return the table of all variants, if there are any; the largest mean is set off."""
    if not rows:
        return None
    means = [-1.0 if row.mean is None else row.mean for row in rows]
    return Table(
        "Ablation: the experiment and its variants. validation and test: accuracies of the main "
        "run; mean and sd: of the test accuracy over the repeats; gain: the mean minus that of the "
        "first row. A variant that selects a setting shows only that one.",
        ("variant", "change", "setting", "validation", "test", "mean", "sd", "gain"),
        tuple(_cells(row) for row in rows),
        strong=means.index(max(means)),
        mark="the largest mean",
        text_columns=3,
    )


def _cells(row: AblationRow) -> tuple[str, ...]:
    figures = (row.validation, row.test, row.mean, row.sd)
    return (
        row.variant,
        one_line(row.change),
        row.setting,
        *(MISSING if figure is None else f"{figure:.4f}" for figure in figures),
        MISSING if row.gain is None else signed(row.gain),
    )
