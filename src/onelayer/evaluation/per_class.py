"""The mistakes of a model: by class, and row by row."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError
from onelayer.evaluation.probabilities import check_labelled, check_labels
from onelayer.evaluation.statistics import wilson_interval
from onelayer.model import network

if TYPE_CHECKING:
    from scipy.sparse import coo_array


@dataclass(frozen=True)
class ClassScores:
    """The numbers of right, predicted and true samples of each class, each (…, K).

    They give precision, recall and F1, each (…, K). 0/0 is NaN: the precision of a class that is
    never predicted, the recall of a class without samples, and the F1 of a class that is neither
    predicted nor has samples.
    """

    right: NDArray[Any]
    predicted: NDArray[Any]
    support: NDArray[Any]

    @property
    def precision(self) -> NDArray[np.float64]:
        """The share of the samples predicted as a class that are of it."""
        return ratio(self.right, self.predicted)

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of the samples of a class that are predicted as it."""
        return ratio(self.right, self.support)

    @property
    def f1(self) -> NDArray[np.float64]:
        """The harmonic mean of precision and recall."""
        return ratio(2 * self.right, self.predicted + self.support)

    def intervals(self) -> dict[str, NDArray[np.float64]]:
        """Return the 95 % intervals (…, K, 2) of precision, recall and f1, by name: Wilson's.

        F1 is not a share of samples, but F1 = 2 J / (1 + J) rises with J, the share of the right
        samples among all that are of the class or predicted as it; its interval comes from J's.
        """
        either = self.predicted + self.support - self.right
        J = _wilson(self.right, either)
        return {
            "precision": _wilson(self.right, self.predicted),
            "recall": _wilson(self.right, self.support),
            "f1": 2 * J / (1 + J),
        }

    @property
    def macro_precision(self) -> NDArray[np.float64]:
        """The mean precision of the classes that have one, (…)."""
        return mean_of_known(self.precision)

    @property
    def macro_recall(self) -> NDArray[np.float64]:
        """The mean recall of the classes that have one, (…)."""
        return mean_of_known(self.recall)

    @property
    def macro_f1(self) -> NDArray[np.float64]:
        """The mean F1 of the classes that have one, (…)."""
        return mean_of_known(self.f1)


@dataclass(frozen=True)
class TrueClassHistogram:
    """Counts (bins,) of the right and of the wrong rows by the probability of the true class."""

    edges: NDArray[np.float64]
    right: NDArray[np.intp]
    wrong: NDArray[np.intp]


def class_scores(confusion: "ArrayLike | coo_array") -> ClassScores:
    """Return the scores of each class from confusion matrices (…, K, K), or a sparse one (K, K).

    Raises
    ------
    InputError
        If they are not square matrices of counts.
    """
    C: Any = confusion if hasattr(confusion, "nnz") else np.asarray(confusion)
    if C.ndim < 2 or C.shape[-1] != C.shape[-2] or not np.issubdtype(C.dtype, np.integer):
        raise InputError(f"confusion is {C.dtype} of the shape {C.shape}, expected counts (K, K)")
    if C.min() < 0:
        raise InputError("confusion holds a negative count")
    C = C.astype(np.intp)  # sums of bytes would not fit in bytes
    right = C.diagonal() if C.ndim == 2 else C.diagonal(0, -2, -1)
    return ClassScores(right, C.sum(axis=-2), C.sum(axis=-1))


def most_confident_mistakes(values: ArrayLike, y: ArrayLike, count: int) -> NDArray[np.intp]:
    """Return the wrong rows of probabilities or scores (N, K), by falling largest value.

    At most `count` rows are returned; equal values keep the order of the rows.

    Raises
    ------
    InputError
        If `count` is negative, or the arrays are not finite values and labels.
    """
    if count < 0:
        raise InputError(f"count is {count}; expected 0 or more")
    V = np.asarray(values, dtype=np.float64)
    if V.ndim != 2 or V.size == 0 or not np.isfinite(V).all():
        raise InputError(f"values of the shape {V.shape}, expected finite ones (rows, classes)")
    wrong = np.flatnonzero(network.predictions(V) != check_labels("y", y, V.shape[:1], V.shape[1]))
    return wrong[np.argsort(-V[wrong].max(axis=1), kind="stable")[:count]]


def true_class_histogram(
    probabilities: ArrayLike, y: ArrayLike, bins: int = 20
) -> TrueClassHistogram:
    """Count the right and the wrong rows of probabilities (N, K) by p_y, in bins of equal width.

    Raises
    ------
    InputError
        If there is no bin, or the arrays are not probabilities and labels.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}; expected at least 1")
    P, y = check_labelled(probabilities, y)
    true, right = P[np.arange(len(y)), y], network.predictions(P) == y
    edges = np.linspace(0, 1, bins + 1)
    return TrueClassHistogram(
        edges, np.histogram(true[right], edges)[0], np.histogram(true[~right], edges)[0]
    )


def _wilson(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return Wilson's intervals (…, 2) of shares, NaN for 0/0."""
    ends = np.vectorize(wilson_interval, otypes=[np.float64, np.float64])
    found = np.stack(ends(ratio(part, np.maximum(whole, 1)), np.maximum(whole, 1)), axis=-1)
    return np.where(whole[..., None] > 0, np.clip(found, 0, 1), np.nan)


def ratio(part: ArrayLike, whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part / whole with NaN for 0/0."""
    ratio = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis without NaN; NaN if all values are NaN."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))
