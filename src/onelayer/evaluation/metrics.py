"""What a run predicts on a split, counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.training.run import Run

_BLOCK = 1000  # rows scored at a time: memory stays small whatever N is


def predict(run: Run, X: NDArray[Any]) -> NDArray[np.intp]:
    """Return the class that each model predicts for each stored row of X, (M, N)."""
    blocks = [
        run.scores(X[start : start + _BLOCK]).argmax(axis=2) for start in range(0, len(X), _BLOCK)
    ]
    return np.concatenate(blocks).T


def confusion_matrices(run: Run, split: Split) -> NDArray[np.intp]:
    """Return C (M, K, K): C[m, i, j] counts the rows of class i that model m calls class j."""
    K = len(run.class_names)
    pairs = split.y.astype(np.intp) * K + predict(run, split.X)  # (M, N)
    return np.array([np.bincount(row, minlength=K * K).reshape(K, K) for row in pairs])


def accuracies(confusion: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the share of rows on the diagonal of each matrix (M, K, K); NaN for an empty one."""
    right, total = np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2))
    shares = np.full(len(total), np.nan)
    np.divide(right, total, out=shares, where=total > 0)
    return shares
