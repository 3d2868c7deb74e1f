"""A log of evaluations on a test split: a choice made after one is no longer tested by it."""

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
    """One evaluation on a test split: the time (UTC), the number of models, the best accuracy.

    `split` identifies the rows of the split: see `name_of_test`; "" if unknown.
    """

    __test__ = False  # by its name pytest would take it for a test

    when: str
    models: Annotated[int, Within(1)]
    best_accuracy: Annotated[float, SHARE]
    split: str = ""

    @classmethod
    def now(cls, models: int, best_accuracy: float, split: str = "") -> "TestEvaluation":
        """Return an evaluation with the current time."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), models, best_accuracy, split)


def name_of_test(data: Dataset) -> str:
    """Return a digest of the classes and labels of the test split; "" without a test split.

    Other features of the same rows give the same digest.
    """
    if data.test is None:
        return ""
    digest = hashlib.sha256("\n".join(data.class_names).encode())
    digest.update(np.asarray(data.test.y, "<i8").tobytes())
    return digest.hexdigest()


# The evaluations in a folder, the oldest first; format 0 was a plain list.
TEST_LOG = Kind(
    "test evaluations",
    tuple[TestEvaluation, ...],
    format=2,
    upgrades={0: only_more_fields, 1: only_more_fields},
)


def warn_of_second_look(log: Sequence[TestEvaluation]) -> str:
    """Return a warning about the last evaluation if it was not the first, else an empty text."""
    if len(log) < 2:
        return ""
    return (
        f"This is evaluation number {len(log)} of the test set, after {log[-2].when} "
        f"(accuracy {log[-2].best_accuracy:.4f}): a change made since then with that figure in mind"
        " makes this one optimistic."
    )
