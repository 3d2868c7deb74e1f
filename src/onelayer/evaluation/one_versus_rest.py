"""AUROC and average precision: how well the rows of a class are ranked above all others.

Each class is ranked against the rest, and the macro mean is taken over the classes that occur in y.
Tied rows share their place: for the AUROC a tie counts one half, for the average precision all tied
rows are found together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.per_class import mean_of_known, ratio
from onelayer.evaluation.statistics import Statistic

EXACT = 100_000  # scores; up to this number each resample is ranked again

Array = NDArray[Any]
Float64 = NDArray[np.float64]


class Ranked:
    """N rows sorted by falling value (K, N) for each of K classes: arrays (K, N), by place.

    `own` (K, N) marks the rows of each class; a row may be of several classes. `order` is the row
    at each place, `first` the first place of its tie, `end` the place after its tie. `of_class` and
    `places` (P,) list the positives, the rows that are of their class.
    """

    def __init__(self, columns: Array, own: NDArray[np.bool_]) -> None:
        K, N = columns.shape
        self.order = np.argsort(-columns, axis=1, kind="stable")
        falling = np.take_along_axis(columns, self.order, axis=1)
        begins = np.ones((K, N + 1), bool)
        begins[:, 1:-1] = falling[:, 1:] != falling[:, :-1]
        places = np.arange(N + 1)
        self.first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)[:, :-1]
        behind = np.where(begins, places, N)[:, :0:-1]
        self.end = np.minimum.accumulate(behind, axis=1)[:, ::-1]
        self.positive = np.take_along_axis(own, self.order, axis=1)
        self.of_class, self.places = np.nonzero(self.positive)

    def found(self, counts: Array) -> tuple[Array, Array]:
        """Return the numbers of rows of the class, and of others, before each place (K, N + 1)."""
        weights = counts[self.order]
        found = np.zeros((2, len(weights), weights.shape[1] + 1), counts.dtype)
        np.cumsum(weights * self.positive, axis=1, out=found[0, :, 1:])
        np.cumsum(weights, axis=1, out=found[1, :, 1:])
        found[1] -= found[0]
        return found[0], found[1]

    def mean_of_positives(self, values: Array, weights: Array) -> Float64:
        """Return the weighted mean (K,) of values (P,) of the positives."""
        K = len(self.order)
        sums = np.bincount(self.of_class, weights * values, K)
        return ratio(sums, np.bincount(self.of_class, weights, K))

    def ends(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return the begin and the end of the tie of each positive, as indices."""
        k, n = self.of_class, self.places
        return (k, self.first[k, n]), (k, self.end[k, n])


@dataclass(frozen=True)
class Area:
    """An area of each class against the rest.

    `values(ranked, counts)` is the area (K,) for these counts of the rows. `slopes(ranked)` (N,) is
    N times its derivative by the count of each row, for one class, in the order of the places.
    """

    values: Callable[[Ranked, Array], Float64]
    slopes: Callable[[Ranked], Float64]


def _auroc(ranked: Ranked, counts: Array) -> Float64:
    """Return the mean share of the other rows that are below a row of the class: (S10)."""
    _, others = ranked.found(counts)
    begin, end = ranked.ends()
    total = others[ranked.of_class, -1]
    below = ratio(total - (others[begin] + others[end]) / 2, total)
    return ranked.mean_of_positives(below, counts[ranked.order[ranked.of_class, ranked.places]])


def _auroc_slopes(ranked: Ranked) -> Float64:
    """Return the contribution of each row: placements of DeLong, DeLong and Clarke-Pearson."""
    own, others = (each[0] for each in ranked.found(np.ones(ranked.order.size, np.intp)))
    first, end, positive = ranked.first[0], ranked.end[0], ranked.positive[0]
    above = (own[first] + own[end]) / 2 / own[-1]
    below = 1 - (others[first] + others[end]) / 2 / others[-1]
    share = np.where(positive, own[-1], others[-1]) / len(positive)
    slopes: Float64 = (np.where(positive, below, above) - below[positive].mean()) / share
    return slopes


def _average_precision(ranked: Ranked, counts: Array) -> Float64:
    """Return the mean precision down to each row of the class: (S11)."""
    own, others = ranked.found(counts)
    _, end = ranked.ends()
    weights = counts[ranked.order[ranked.of_class, ranked.places]]
    precision = ratio(own[end], own[end] + others[end])
    return ranked.mean_of_positives(np.where(weights > 0, precision, 0), weights)


def _average_precision_slopes(ranked: Ranked) -> Float64:
    """Return the contribution of each row: to its own precision and to that of rows below it."""
    own, others = (each[0] for each in ranked.found(np.ones(ranked.order.size, np.intp)))
    first, end, positive = ranked.first[0], ranked.end[0], ranked.positive[0]
    found, all_ = own[end], own[end] + others[end]
    precision = found / all_

    def not_above(values: Array) -> Float64:
        sums = np.concatenate([[0], np.cumsum(np.where(positive, values, 0))])
        below: Float64 = sums[-1] - sums[first]
        return below

    gained = np.where(positive, precision - precision[positive].mean() + not_above(1 / all_), 0)
    slopes: Float64 = (gained - not_above(found / all_**2)) * len(positive) / own[-1]
    return slopes


AUROC = Area(_auroc, _auroc_slopes)
AVERAGE_PRECISION = Area(_average_precision, _average_precision_slopes)


def macro_area(area: Area, V: Array, y: NDArray[np.intp]) -> Statistic:
    """Return the mean area of the classes in y for values V (N, K), as a function of counts (N,).

    With more than EXACT values it takes N operations instead of N K: see first_order.
    """
    classes = np.unique(y)
    if len(y) * len(classes) <= EXACT or len(classes) == 1:
        columns = V.T if len(classes) == V.shape[1] else V[:, classes].T
        ranked = Ranked(columns, y == classes[:, None])
        return lambda counts: float(mean_of_known(area.values(ranked, counts)))
    values, slopes = [], np.zeros(len(y))
    for k in classes:
        of_class, adds = first_order(area, V[:, k], y == k)
        values.append(of_class)
        slopes += adds / len(classes)
    value = float(np.mean(values))
    return lambda counts: float(np.clip(value + counts @ slopes / counts.sum(), 0, 1))


def first_order(area: Area, values: Array, own: NDArray[np.bool_]) -> tuple[float, Float64]:
    """Return the area of one class, and N times its derivative by the count of each row (N,).

    The area of a resample is about the area plus the mean contribution of its rows (the
    infinitesimal jackknife), without another sort, which takes seconds for 10⁷ values.
    """
    ranked, slopes = Ranked(values[None], own[None]), np.empty(len(own))
    slopes[ranked.order[0]] = area.slopes(ranked)
    return float(area.values(ranked, np.ones(len(own), np.intp))[0]), slopes
