"""The same features probed by onelayer and by scikit-learn's LogisticRegression, in turns.

    python compare.py FOLDER [STEPS]

Each chooses among the same λ on the validation split, on features standardised alike, and is then
tested; onelayer chooses among three η, too. A time is of all that, the median of three rounds.
LogisticRegression may take STEPS (100, as by default); what stopped there has not converged.
"""

import statistics
import sys
import time
import warnings
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import onelayer
from onelayer.experiments.probe import GRID

ROUNDS = 3


def main(folder: Path, steps: int) -> None:
    """Print a line of a table for each .npz file."""
    print("| features | D | onelayer | | LogisticRegression | | not converged |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for path in sorted(folder.glob("*.npz")):
        data = onelayer.load_dataset(path)
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            ours = timed(seconds["ours"], probe, data)
            theirs, unfinished = timed(seconds["theirs"], fit_logistic_regressions, data, steps)
        ours_s, theirs_s = (f"{statistics.median(times):.1f} s" for times in seconds.values())
        print(
            f"| {path.stem} | {data.n_features} | {ours:.4f} | {ours_s} | {theirs:.4f} | "
            f"{theirs_s} | {unfinished} |",
            flush=True,
        )


def timed(seconds, contender, *given):
    """Call the contender and note how long it took."""
    begin = time.perf_counter()
    outcome = contender(*given)
    seconds.append(time.perf_counter() - begin)
    return outcome


def probe(data: onelayer.Dataset) -> float:
    """Return the test accuracy of the setting chosen among all λ and η, trained in one pass."""
    return onelayer.probe({"features": data}).feature_sets[0].probe.test


def fit_logistic_regressions(data: onelayer.Dataset, steps: int) -> tuple[float, int]:
    """Return the test accuracy of the C chosen among the same λ, and how many did not converge."""
    scaler = StandardScaler().fit(data.train.X)
    X = {name: scaler.transform(split.X.astype("float32")) for name, split in data.splits.items()}
    models = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        for l2 in GRID["l2"]:
            C = onelayer.C_from_l2(l2, len(data.train), data.n_classes)
            models.append(LogisticRegression(C=C, max_iter=steps).fit(X["train"], data.train.y))
    best = max(models, key=lambda model: model.score(X["validation"], data.validation.y))
    return best.score(X["test"], data.test.y), len(caught)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
