"""How often a test split was looked at: what was chosen after looking is no longer tested by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from onelayer.records import SHARE, Kind, Within


@dataclass(frozen=True)
class TestEvaluation:
    """One look at a test split: when (UTC), at how many models, the best accuracy among them."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    when: str
    models: Annotated[int, Within(1)]
    best_accuracy: Annotated[float, SHARE]

    @classmethod
    def now(cls, models: int, best_accuracy: float) -> "TestEvaluation":
        """Return the look that was just taken."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), models, best_accuracy)


# The looks of a folder, the first one first; formerly a list and nothing else.
TEST_LOG = Kind(
    "test evaluations",
    tuple[TestEvaluation, ...],
    format=1,
    upgrades={0: lambda content, arrays: (content, arrays)},
)


def warn_of_second_look(log: Sequence[TestEvaluation]) -> str:
    """Return a sentence about the last look if it was not the first, else nothing."""
    if len(log) < 2:
        return ""
    return (
        f"This is evaluation number {len(log)} of the test set in this folder, after {log[-2].when}"
        f" (accuracy {log[-2].best_accuracy:.4f}): whatever was changed since then with that figure"
        " in mind makes this one optimistic."
    )
