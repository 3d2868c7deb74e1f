"""scikit-learn: MLPClassifier without a hidden layer, one model after another, float32.

It has no curves; they are made of its own predict_proba. Its alpha is ½α ΣW² / B in the cost of a
batch, so α = 2λB.
"""

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.work import SPLITS, Epoch, Outcome, Problem, tabulate


def prepare(problem: Problem) -> Epoch:
    """Return an epoch of partial_fit and predict_proba for each model."""
    splits = {
        split: (problem.features(split, np.float32), problem.labels(split)) for split in SPLITS
    }
    classifiers = [_start(problem, model, splits["train"]) for model in range(len(problem.l2))]

    def epoch() -> Outcome:
        rows = []
        for classifier, l2 in zip(classifiers, problem.l2, strict=True):
            classifier.partial_fit(*splits["train"])
            penalty = l2 * np.sum(np.square(classifier.coefs_[0]), dtype=np.float64)
            rows.append(
                [v for split in SPLITS for v in _measure(classifier, splits[split], penalty)]
            )
        return tabulate(rows)

    return epoch


def _start(problem: Problem, model: int, split: tuple[np.ndarray, np.ndarray]) -> MLPClassifier:
    """Return a classifier at the given W and b; it has arrays for them after its first batch."""
    X, y = split
    classifier = MLPClassifier(
        hidden_layer_sizes=(),
        solver="sgd",
        alpha=2 * problem.l2[model] * problem.batch_size,
        batch_size=problem.batch_size,
        learning_rate_init=problem.learning_rates[model],
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
        max_iter=1,
    )
    first = slice(0, problem.batch_size)
    classifier.partial_fit(X[first], y[first], classes=np.arange(problem.data.n_classes))
    classifier.coefs_[0][...] = problem.weights[model].T
    classifier.intercepts_[0][...] = problem.biases[model]
    return classifier


def _measure(
    classifier: MLPClassifier, split: tuple[np.ndarray, np.ndarray], penalty: float
) -> tuple[float, float, float]:
    X, y = split
    P = classifier.predict_proba(X)
    loss = -np.log(P[np.arange(len(y)), y]).mean(dtype=np.float64)
    return loss, loss + penalty, np.mean(P.argmax(axis=1) == y)
