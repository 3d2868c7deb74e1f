"""How often a test split was looked at: what was chosen after looking is no longer tested by it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import numpy as np

from onelayer.data.dataset import Dataset
from onelayer.records import SHARE, Kind, Within, only_more_fields


@dataclass(frozen=True)
class TestEvaluation:
    """One look at a test split: when (UTC), at how many models, the best accuracy among them.

    `split` tells its rows from others': see `name_of_test`; "" where it is not known.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    when: str
    models: Annotated[int, Within(1)]
    best_accuracy: Annotated[float, SHARE]
    split: str = ""

    @classmethod
    def now(cls, models: int, best_accuracy: float, split: str = "") -> "TestEvaluation":
        """Return the look that was just taken."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), models, best_accuracy, split)


def name_of_test(data: Dataset) -> str:
    """Return a digest of the classes and labels of the test split; "" where there is none.

    Other features of the same rows have the same one.
    """
    if data.test is None:
        return ""
    digest = hashlib.sha256("\n".join(data.class_names).encode())
    digest.update(np.asarray(data.test.y, "<i8").tobytes())
    return digest.hexdigest()


# The looks of a folder, the first one first; formerly a list and nothing else.
TEST_LOG = Kind(
    "test evaluations",
    tuple[TestEvaluation, ...],
    format=2,
    upgrades={0: only_more_fields, 1: only_more_fields},
)


def warn_of_second_look(log: Sequence[TestEvaluation]) -> str:
    """Return a sentence about the last look if it was not the first, else nothing."""
    if len(log) < 2:
        return ""
    return (
        f"This is evaluation number {len(log)} of the test set, after {log[-2].when} "
        f"(accuracy {log[-2].best_accuracy:.4f}): whatever was changed since then with that figure"
        " in mind makes this one optimistic."
    )
