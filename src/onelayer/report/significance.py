"""Significance tests between settings on the test set, and ensembles of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.comparison import holm_pairs, mcnemar_test
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table
from onelayer.report.choice import rank_settings
from onelayer.report.labels import decimals, p_value

COMPARED = 12  # settings: 66 pairs


@dataclass(frozen=True)
class Comparison:
    """McNemar's test between all pairs of n of the models: only_first and p, each (n, n).

    p is corrected for the number of `pairs` by Holm's method.
    """

    models: list[int]
    only_first: NDArray[np.intp]
    p: NDArray[np.float64]

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.models) * (len(self.models) - 1) // 2


def compare_models(results: Results) -> Comparison | None:
    """Compare the evaluated models on the test set, at most 12: the best without looking at it."""
    right = results.predictions.right
    if len(right) < 2:
        return None
    rows = {model: row for row, model in enumerate(results.evaluated.tolist())}
    models = sorted([model for model in rank_settings(results) if model in rows][:COMPARED])
    test = mcnemar_test(right[[rows[model] for model in models]].T)
    return Comparison(models, test.only_first, holm_pairs(test.p))


def comparison_table(results: Results) -> Table | None:
    """Return the p-values between every two evaluated settings, if there are two."""
    compared, names = compare_models(results), results.run.labels
    if compared is None:
        return None
    numbers = range(1, len(compared.models) + 1)
    rows = tuple(
        (
            f"{i}: {names[model]}",
            *(p_value(float(compared.p[i - 1, j - 1]), 3) if j > i else "" for j in numbers[1:]),
        )
        for i, model in zip(numbers[:-1], compared.models[:-1], strict=True)
    )
    last = f"{numbers[-1]}: {names[compared.models[-1]]}"
    left_out = len(results.evaluated) - len(compared.models)
    note = f" Left out: the {left_out} settings with the lowest accuracies." if left_out else ""
    return Table(
        f"McNemar's exact test between every two settings on the test set: p, corrected for "
        f"{compared.pairs} pairs (Holm). It compares two trained models by the samples that only "
        f"one of them gets right. Column {last}.{note}",
        ("setting", *map(str, numbers[1:])),
        rows,
    )


def ensemble_table(results: Results) -> Table | None:
    """Return the test accuracies of the ensembles beside those of their members."""
    if not results.ensembles:
        return None
    selected, name = results.selected, results.run.labels[results.selected]
    members = {
        "settings": ("all settings evaluated", results.test_accuracies),
        "repeats": (
            f"repeats of {name}",
            results.repeat_accuracies[:, selected],
        ),
    }
    rows = []
    for ensemble in results.ensembles:
        name, single = members[ensemble.members]
        known = single[~np.isnan(single)]
        values = (
            known.mean() if known.size else np.nan,
            known.max() if known.size else np.nan,
            np.nan if ensemble.mean_probability is None else ensemble.mean_probability,
            ensemble.majority_vote,
        )
        rows.append((name, str(ensemble.size), *map(decimals, values)))
    return Table(
        "Ensembles on the test set: accuracy of the single models and of all together, by the mean "
        "of their probabilities and by majority vote (a tie goes to the larger mean probability). "
        "A dash: not every member has probabilities. "
        "The best single model is the best on the test set, so its accuracy is optimistic.",
        ("members", "models", "mean single", "best single", "mean probability", "majority vote"),
        tuple(rows),
    )
