"""Ensembles: one prediction from several models."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.evaluation.probabilities import check_labels, check_probabilities


def mean_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return the mean (N, K) of the probabilities of V models (V, N, K).

    Raises
    ------
    InputError
        If they are not probabilities of that shape.
    """
    mean: NDArray[np.float64] = check_probabilities(probabilities, axes=3).mean(axis=0)
    return mean


def majority_vote(predictions: ArrayLike, probabilities: ArrayLike) -> NDArray[np.intp]:
    """Return the class (N,) with the most votes of V models, from their predictions (V, N).

    In a tie the class with the larger mean of the probabilities (V, N, K) wins, then the first.

    Raises
    ------
    InputError
        If the arrays are not class indices and probabilities, or their shapes do not match.
    """
    P = check_probabilities(probabilities, axes=3)
    V, N, K = P.shape
    votes = np.zeros((N, K), dtype=np.intp)
    for voter in check_labels("predictions", predictions, (V, N), K):
        votes[np.arange(N), voter] += 1
    most = votes == votes.max(axis=1, keepdims=True)
    winners: NDArray[np.intp] = np.where(most, P.mean(axis=0), -1).argmax(axis=1)
    return winners
