"""How optimistic it would be to report the best of M models on the rows that chose it.

Chosen by a test split, the best of M looks better there than it is. The test split is not needed to
say by how much: of two parts of the validation split, drawn at random, one chooses and both judge.
The mean over many draws, with each part in either role, is 0 for a single model and never below 0;
over data sets its mean is the very optimism of a test split of as many rows.
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
    """The mean accuracy of the best of M models on the rows that chose it, and on as many others.

    `rows` is the number of either.
    """

    models: Annotated[int, Within(1)]
    rows: Annotated[int, Within(1)]
    same: Annotated[float, SHARE]
    other: Annotated[float, SHARE]

    @property
    def size(self) -> float:
        """How much better the best looks than it is."""
        return self.same - self.other


def rows_to_choose(validation: int, test: int) -> int:
    """Return how many rows choose: those of a test split, but of the validation rows a half."""
    return min(test, validation // 2)


def best_of_halves(right: NDArray[np.bool_], rows: int, seed: int) -> NDArray[np.float64]:
    """Return the accuracy of the best model on the rows that chose it, and on others, (S, 2).

    `right` (N, M) says which of the N validation rows each of M models gets right. So many `rows`
    choose, the same of all feature sets; of equal models the first is the best. 0 rows give zeros.
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
    """Return the optimism of the best of all `models`, of what best_of_halves says of each part.

    None if no rows chose.
    """
    if not rows:
        return None
    every = np.stack(halves)  # (parts, S, 2)
    best = every[:, :, 0].argmax(axis=0)
    same, other = every[best, np.arange(every.shape[1])].mean(axis=0)
    return Optimism(models, rows, float(same), float(other))
