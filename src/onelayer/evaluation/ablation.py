"""Ablation: the effect of each change of an experiment, with its variants side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.results import Results
from onelayer.records import COUNT, SHARE, Kind, Within

BASE = "base"


@dataclass(frozen=True)
class AblationRow:
    """One model of one variant: accuracies of the main run, and over its repeats on the test set.

    `gain` is the mean over the repeats minus that of the base's first setting. None stands for a
    figure that does not exist.
    """

    variant: str
    change: str
    setting: str
    validation: Annotated[float, SHARE] | None
    test: Annotated[float, SHARE] | None
    mean: Annotated[float, SHARE] | None
    sd: Annotated[float, SHARE] | None
    repeats: Annotated[int, COUNT]
    gain: Annotated[float, Within(-1, 1)] | None


def ablation_rows(base: Results, variants: Sequence[tuple[str, str, Results]]) -> list[AblationRow]:
    """Return the rows of the experiment itself, and of its variants (name, title, results)."""
    reference = float(base.repeat_spread.mean[0])
    named = [(BASE, "as it is", base), *variants]
    return [row for name, title, results in named for row in _rows(name, title, results, reference)]


def _rows(name: str, title: str, results: Results, reference: float) -> Iterator[AblationRow]:
    spread, run = results.repeat_spread, results.run
    validation = run.final("validation_accuracy")
    for model in results.evaluated:
        yield AblationRow(
            name,
            title,
            str(run.settings[model]),
            _known(validation[model]),
            _known(results.test_accuracies[model]),
            _known(spread.mean[model]),
            _known(spread.sd[model]),
            spread.repeats,
            _known(spread.mean[model] - reference),
        )
    for ensemble in results.ensembles:
        voters = f"majority vote of {ensemble.size} {ensemble.members}"
        yield AblationRow(name, title, voters, None, ensemble.majority_vote, None, None, 0, None)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


# The rows of all variants, as ablation_rows returns them.
ABLATION = Kind("ablation", tuple[AblationRow, ...], format=1)


def write_ablation(rows: Sequence[AblationRow], path: Path) -> None:
    """Write the rows as CSV, for other programs."""
    names = [field.name for field in fields(AblationRow)]
    write_csv({name: [getattr(row, name) for row in rows] for name in names}, path)
