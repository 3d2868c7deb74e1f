"""The same features probed by onelayer and by scikit-learn's LogisticRegression, in turns.

    python compare.py FOLDER [ROUNDS]

On features standardised alike each searches a grid of its own and chooses on the validation split:
onelayer the path of λ that `onelayer probe` follows by default, LogisticRegression the ten C that
LogisticRegressionCV takes by default, each begun where the last one ended, with up to 1,000 steps.
What is chosen is tested once. A time is of all that, in CPU seconds of one thread, the median of
ROUNDS (3); that of the nine metrics with intervals, which onelayer adds to its answer and
LogisticRegression does not have, stands apart. The cost is the one that LogisticRegression ends
with for its choice, and by how much of it that is above the least one.
"""

import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import onelayer
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.model_evaluation import evaluate_model

GRID = np.logspace(-4, 4, 10)


def main(folder: Path, rounds: int) -> None:
    """Print a line of a table for each .npz file."""
    print("| features | D | onelayer | | metrics | LogisticRegression | | cost | above the least |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    probe(onelayer.load_dataset("digits"))  # so that nothing is imported in the first round
    for path in sorted(folder.glob("*.npz")):
        data = onelayer.load_dataset(path)
        seconds: dict[str, list[float]] = {"ours": [], "metrics": [], "theirs": []}
        with threadpool_limits(1):
            for _ in range(rounds):
                ours, model = timed(seconds["ours"], probe, data)
                judged = evaluate_model(model, data, metrics=METRICS.values())
                timed(seconds["metrics"], judged.intervals)
                theirs, C, cost = timed(seconds["theirs"], fit_logistic_regressions, data)
        whole, metrics, other = (statistics.median(times) for times in seconds.values())
        print(
            f"| {path.stem} | {data.n_features} | {ours:.4f} | {whole - metrics:.1f} s | "
            f"{metrics:.1f} s | {theirs:.4f} | {other:.1f} s | {cost:.4f} | "
            f"{cost / least_cost(data, C) - 1:.1e} |",
            flush=True,
        )


def timed(seconds, contender, *given):
    """Call the contender and note how long it took."""
    begin = time.process_time()
    outcome = contender(*given)
    seconds.append(time.process_time() - begin)
    return outcome


def probe(data: onelayer.Dataset) -> tuple[float, onelayer.Classifier]:
    """Return the test accuracy of the λ that is found, and the model."""
    models = []
    found = onelayer.probe(
        {"features": data}, threads=1, on_model=lambda _, model: models.append(model)
    )
    return found.feature_sets[0].probe.test, models[0]


def fit_logistic_regressions(data: onelayer.Dataset) -> tuple[float, float, float]:
    """Return the test accuracy of the C that is chosen, this C, and the cost that it ended with."""
    scaler = StandardScaler().fit(data.train.X)
    X = {name: scaler.transform(split.X.astype("float32")) for name, split in data.splits.items()}
    y, model, best = data.train.y, LogisticRegression(max_iter=1000, warm_start=True), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for C in GRID:
            model.set_params(C=C).fit(X["train"], y)
            right = model.score(X["validation"], data.validation.y)
            if best is None or right > best[0]:
                best = right, C, model.coef_.copy(), model.intercept_.copy()
    _, C, model.coef_, model.intercept_ = best
    P = model.predict_proba(X["train"])[np.arange(len(y)), y]
    l2 = onelayer.l2_from_C(C, len(y), data.n_classes)
    cost = -np.log(P.astype(float)).mean() + l2 * np.square(model.coef_, dtype=float).sum()
    return model.score(X["test"], data.test.y), C, float(cost)


def least_cost(data: onelayer.Dataset, C: float) -> float:
    """Return the least cost for some C, to a millionth of a thousandth."""
    l2 = onelayer.l2_from_C(C, len(data.train), data.n_classes)
    found = onelayer.train(
        data, onelayer.grid(l2=[l2]), solver="exact", scaling="standardise", tolerance=1e-9
    )
    return float(found.final("train_cost")[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
