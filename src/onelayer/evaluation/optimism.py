"""The optimism of a report of the best of M models on the rows that chose it.

A model that a test split chose as the best of M looks better there than it is. The validation split
is enough to measure by how much: two parts of it are drawn at random, one chooses the model and
both evaluate it. The mean difference over many draws, with each part in both roles, is 0 for a
single model and never below 0; on average over data sets it equals the optimism of a test split
with the same number of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from onelayer.data.streams import Stream, random_stream
from onelayer.records import SHARE, Within

DIVISIONS = 100  # of the validation split


@dataclass(frozen=True)
class Optimism:
    """The mean accuracy of the best of M models, on the rows that chose it and on other rows.

    `rows` is the number of rows in each of the two parts.
    """

    models: Annotated[int, Within(1)]
    rows: Annotated[int, Within(1)]
    same: Annotated[float, SHARE]
    other: Annotated[float, SHARE]

    @property
    def size(self) -> float:
        """The difference: how much better the best model looks than it is."""
        return self.same - self.other


def rows_to_choose(validation: int, test: int) -> int:
    """Return the number of rows that choose: as many as test rows, at most half of validation."""
    return min(test, validation // 2)


def best_of_halves(right: NDArray[np.bool_], rows: int, seed: int) -> NDArray[np.float64]:
    """Return the accuracy of the best model on the rows that chose it, and on others, (S, 2).

    `right` (N, M) marks the N validation rows that each of M models gets right. In each draw `rows`
    rows choose, the same for all feature sets; of equal models the first is the best. 0 rows give
    zeros.
    """
    found = np.zeros((2 * DIVISIONS, 2))
    for division in range(DIVISIONS if rows else 0):
        drawn = random_stream(seed, Stream.HALVES, division).permutation(len(right))
        halves = [right[drawn[rows * side : rows * (side + 1)]].mean(axis=0) for side in (0, 1)]
        for side, (chooses, judges) in enumerate((halves, halves[::-1])):
            best = chooses.argmax()
            found[2 * division + side] = chooses[best], judges[best]
    return found


def optimism_of(halves: Sequence[NDArray[np.float64]], models: int, rows: int) -> Optimism | None:
    """Return the optimism of the best of all `models`, from best_of_halves for each feature set.

    It is None if `rows` is 0.
    """
    if not rows:
        return None
    every = np.stack(halves)  # (parts, S, 2)
    best = every[:, :, 0].argmax(axis=0)
    same, other = every[best, np.arange(every.shape[1])].mean(axis=0)
    return Optimism(models, rows, float(same), float(other))
