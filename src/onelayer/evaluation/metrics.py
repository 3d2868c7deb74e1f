"""What a run predicts on a split, counted."""

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Features, Split
from onelayer.training.run import Run


def predict(run: Run, X: Features) -> NDArray[np.intp]:
    """Return the class that each model predicts for each stored row of X, (M, N)."""
    blocks = [
        run.scores(X[start : start + BLOCK]).argmax(axis=2) for start in range(0, len(X), BLOCK)
    ]
    return np.concatenate(blocks).T


def confusion_matrices(run: Run, split: Split) -> NDArray[np.intp]:
    """Return C (M, K, K): C[m, i, j] counts the rows of class i that model m calls class j."""
    M, K = len(run.settings), len(run.class_names)
    confusion = np.zeros((M, K * K), dtype=np.intp)
    for rows in split.blocks(BLOCK):
        pairs = split.y[rows].astype(np.intp) * K + predict(run, split.X[rows])  # (M, rows)
        confusion += [np.bincount(row, minlength=K * K) for row in pairs]
    return confusion.reshape(M, K, K)


def accuracies(confusion: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the share of rows on the diagonal of each matrix (M, K, K); NaN for an empty one."""
    right, total = np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2))
    shares = np.full(len(total), np.nan)
    np.divide(right, total, out=shares, where=total > 0)
    return shares
