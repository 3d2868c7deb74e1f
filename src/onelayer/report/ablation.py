"""The ablation of an experiment as a table."""

from collections.abc import Sequence

from onelayer.evaluation.ablation import AblationRow
from onelayer.report.blocks import Column, Table, make_table

_KINDS = {
    "variant": "words",
    "change": "words",
    "setting": "words",
    "validation": "decimals",
    "test": "decimals",
    "mean": "decimals",
    "sd": "decimals",
    "gain": "difference",
}


def ablation_table(rows: Sequence[AblationRow]) -> Table | None:
    """Return the table of all variants, if there are any; the largest mean is set off."""
    if not rows:
        return None
    means = [-1.0 if row.mean is None else row.mean for row in rows]
    return make_table(
        "ablation",
        "Ablation: the experiment and its variants. validation and test: accuracies of the main "
        "run; mean and sd: of the test accuracy over the repeats; gain: the mean minus that of the "
        "first row. A variant that selects a setting shows only that one.",
        *(Column(name, kind, [getattr(r, name) for r in rows]) for name, kind in _KINDS.items()),
        strong=means.index(max(means)),
        mark="the largest mean",
    )
