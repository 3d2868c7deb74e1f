"""What each change of an experiment is worth: its variants side by side."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np

from onelayer.errors import InputError
from onelayer.evaluation.results import Results
from onelayer.storage import atomic_file

FILE = "ablation.json"
BASE = "base"


@dataclass(frozen=True)
class AblationRow:
    """One model of one variant: accuracies of the main run, and over its repeats on the test set.

    `gain` is the mean over the repeats less that of the base's first setting; None where a figure
    does not exist.
    """

    variant: str
    change: str
    setting: str
    validation: float | None
    test: float | None
    mean: float | None
    sd: float | None
    repeats: int
    gain: float | None


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


def save_ablation(folder: Path, rows: Sequence[AblationRow]) -> None:
    """Write ablation.json, which load_ablation reads, and ablation.csv for others."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(AblationRow)])
    writer.writerows(astuple(row) for row in rows)
    with atomic_file(folder / "ablation.csv") as path:
        path.write_text(text.getvalue(), "utf-8")
    with atomic_file(folder / FILE) as path:
        record = [asdict(row) for row in rows]
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_ablation(folder: Path) -> list[AblationRow]:
    """Read what save_ablation wrote, nothing where an experiment has no variants.

    Raises
    ------
    InputError
        If the file cannot be read; names it.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [AblationRow(**record) for record in json.loads(path.read_text("utf-8"))]
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not an ablation that can be read ({error!r})") from error
