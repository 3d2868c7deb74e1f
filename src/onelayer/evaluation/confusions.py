"""Confusion matrices: counts of the predictions of a run on a split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Features, Split
from onelayer.errors import InputError
from onelayer.records import Within, check_arrays
from onelayer.training.run import Run

if TYPE_CHECKING:
    from scipy.sparse import coo_array

MOST_ROWS = 1 << 40  # in a cell: a larger number is damage, and would overflow in sums
_SCORES = 50_000_000  # of all models, computed at once


@dataclass(frozen=True)
class Confusions:
    """M confusion matrices (K, K), of which only the counts above 0 are kept.

    A matrix has at most as many of them as rows, for any number of classes. The flat index of a
    count in an array (M, K, K) is its `cell`; cells ascend.

    Raises
    ------
    InputError
        If they are not cells and counts of M matrices of K classes.
    """

    n_models: Annotated[int, Within(1, 1 << 20)]
    n_classes: Annotated[int, Within(1, 1 << 20)]
    cells: Annotated[NDArray[np.int64], "(C,)"]
    counts: Annotated[NDArray[np.int64], "(C,)", Within(1, MOST_ROWS)]

    def __post_init__(self) -> None:
        check_arrays(self)
        cells = self.cells
        if (np.diff(cells) <= 0).any():
            raise InputError("confusion of cells that do not ascend")
        if cells.size and not 0 <= cells[0] <= cells[-1] < self.n_models * self.n_classes**2:
            raise InputError(
                f"confusion of cells {cells[0]} to {cells[-1]}, expected places in "
                f"{self.n_models} matrices of {self.n_classes} classes"
            )

    @classmethod
    def of(cls, matrices: NDArray[np.integer[Any]]) -> "Confusions":
        """Return the Confusions of matrices (M, K, K)."""
        M, K = matrices.shape[:2]
        cells = np.flatnonzero(matrices)
        return cls(M, K, cells.astype(np.int64), matrices.ravel()[cells].astype(np.int64))

    @classmethod
    def of_rows(
        cls, true: NDArray[np.intp], predicted: NDArray[np.intp], n_classes: int
    ) -> "Confusions":
        """Return those of true classes (N,) and the predictions of M models (M, N), or one (N,)."""
        K, called = n_classes, np.atleast_2d(predicted).astype(np.int64)
        firsts = K * K * np.arange(len(called))[:, None]
        return cls(len(called), K, *np.unique(firsts + true * K + called, return_counts=True))

    def __getitem__(self, model: int) -> "coo_array":
        """Return the matrix (K, K) of a model: [i, j] counts rows of class i predicted as j."""
        from scipy.sparse import coo_array  # takes a moment to import

        K = self.n_classes
        part = slice(*np.searchsorted(self.cells, (model * K * K, (model + 1) * K * K)))
        return coo_array(
            (self.counts[part], np.divmod(self.cells[part] - model * K * K, K)), shape=(K, K)
        )

    def __iter__(self) -> "Iterator[coo_array]":
        return (self[model] for model in range(self.n_models))

    @property
    def samples(self) -> NDArray[np.int64]:
        """The number of rows that were counted for each model (M,)."""
        return self._sum(np.ones(len(self.cells), bool))

    @property
    def right(self) -> NDArray[np.int64]:
        """The number of rows on each diagonal (M,)."""
        true, predicted = np.divmod(self.cells % self.n_classes**2, self.n_classes)
        return self._sum(true == predicted)

    def _sum(self, counted: NDArray[np.bool_]) -> NDArray[np.int64]:
        sums = np.zeros(self.n_models, np.int64)
        np.add.at(sums, self.cells[counted] // self.n_classes**2, self.counts[counted])
        return sums


def block_rows(run: Run) -> int:
    """Return the number of rows for which all models compute scores at once."""
    return max(1, min(BLOCK, _SCORES // run.biases.size))


def predict(run: Run, X: Features) -> NDArray[np.intp]:
    """Return the class that each model predicts for each stored row of X, (M, N)."""
    rows = block_rows(run)
    blocks = [run.scores(X[n : n + rows]).argmax(axis=2) for n in range(0, len(X), rows)]
    return np.concatenate(blocks).T


def confusion_matrices(
    run: Run, split: Split | None, models: Sequence[int] | None = None
) -> Confusions:
    """Return C (M, K, K): C[m][i, j] counts the rows of class i that model m predicts as j.

    If `models` are given, the matrices of all others are empty; without a split all are.
    """
    M, K = run.biases.shape
    chosen = np.arange(M) if models is None else np.array(models, np.intp)
    cells, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    if split is None or not chosen.size:
        return Confusions(M, K, cells, counts)
    for rows in split.blocks(BLOCK):
        true, predicted = split.y[rows].astype(np.int64), predict(run, split.X[rows])[chosen]
        new, more = np.unique((chosen[:, None] * K + true) * K + predicted, return_counts=True)
        cells, places = np.unique(np.concatenate([cells, new]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, more])).astype(np.int64)
    return Confusions(M, K, cells, counts)


def most_confused(confusion: "coo_array", count: int) -> list[tuple[int, int, int]]:
    """Return the most frequent confusions, as (true class, predicted class, samples).

    At most `count` are returned; equal ones keep the order of the classes.
    """
    true, predicted = confusion.row, confusion.col
    wrong = np.flatnonzero(true != predicted)
    most = wrong[np.argsort(-confusion.data[wrong], kind="stable")[:count]]
    return [(int(true[n]), int(predicted[n]), int(confusion.data[n])) for n in most]


def accuracies(confusion: Confusions) -> NDArray[np.float64]:
    """Return the share of rows on the diagonal of each matrix; NaN for an empty one."""
    samples = confusion.samples
    shares = np.full(len(samples), np.nan)
    np.divide(confusion.right, samples, out=shares, where=samples > 0)
    return shares
