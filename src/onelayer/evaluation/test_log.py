"""How often a test split was looked at: what was chosen after looking is no longer tested by it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from onelayer.errors import InputError
from onelayer.storage import atomic_file

FILE = "test_evaluations.json"


@dataclass(frozen=True)
class TestEvaluation:
    """One look at a test split: when (UTC), at how many models, the best accuracy among them."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    when: str
    models: int
    best_accuracy: float

    @classmethod
    def now(cls, models: int, best_accuracy: float) -> "TestEvaluation":
        """Return the look that was just taken."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), models, best_accuracy)


def read_test_log(folder: Path) -> list[TestEvaluation]:
    """Return the looks that the results in `folder` have taken, none where there are no results.

    Raises
    ------
    InputError
        If the file that counts them cannot be read; names it.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [TestEvaluation(**entry) for entry in json.loads(path.read_text("utf-8"))]
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a list of evaluations ({error!r})") from error


def write_test_log(folder: Path, log: Sequence[TestEvaluation]) -> None:
    """Write what read_test_log reads."""
    with atomic_file(folder / FILE) as path:
        path.write_text(json.dumps([asdict(entry) for entry in log], indent=1) + "\n", "utf-8")


def warn_of_second_look(log: Sequence[TestEvaluation]) -> str:
    """Return a sentence about the last look if it was not the first, else nothing."""
    if len(log) < 2:
        return ""
    return (
        f"This is evaluation number {len(log)} of the test set in this folder, after {log[-2].when}"
        f" (accuracy {log[-2].best_accuracy:.4f}): whatever was changed since then with that figure"
        " in mind makes this one optimistic."
    )
