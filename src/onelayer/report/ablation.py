"""What each change of the experiment was worth, as a table."""

from collections.abc import Iterator, Sequence

from onelayer.evaluation.ablation import AblationRow
from onelayer.report.blocks import Block, Table
from onelayer.report.labels import MISSING, one_line, signed


def ablation_tables(rows: Sequence[AblationRow]) -> Iterator[Block]:
    """Yield the table of all variants; the best mean over the repeats is set off."""
    if not rows:
        return
    means = [-1.0 if row.mean is None else row.mean for row in rows]
    yield Table(
        "The experiment with something changed. Accuracy on the validation split and on the test "
        "set, main run; on the test set, mean and standard deviation over the repeats, and that "
        "mean less the one of the first row. Variants that choose a setting show that one alone. "
        "Bold: the largest mean.",
        ("variant", "change", "setting", "validation", "test", "mean", "sd", "gain"),
        tuple(_cells(row) for row in rows),
        strong=means.index(max(means)),
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
