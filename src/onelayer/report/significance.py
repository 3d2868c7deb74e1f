"""Which differences on the test set are more than chance, and what several models say together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.comparison import holm_pairs, mcnemar_test
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table
from onelayer.report.choice import rank_settings
from onelayer.report.labels import p_value, setting_labels

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
    right, evaluated = results.predictions.right, results.evaluated.tolist()
    if len(right) < 2:
        return None
    models = sorted([model for model in rank_settings(results) if model in evaluated][:COMPARED])
    test = mcnemar_test(right[[evaluated.index(model) for model in models]].T)
    return Comparison(models, test.only_first, holm_pairs(test.p))


def comparison_tables(results: Results) -> Iterator[Table]:
    """Yield the p-values between every two evaluated settings, if there are two."""
    compared, names = compare_models(results), setting_labels(results.run)
    if compared is None:
        return
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
    told = f" Left out: the {left_out} settings that the choice ranks last." if left_out else ""
    yield Table(
        f"McNemar's exact test between every two settings on the test set: p, corrected for "
        f"{compared.pairs} pairs (Holm). It asks whether two trained models are right equally "
        f"often, from the samples that only one of them gets right. Column {last}.{told}",
        ("setting", *map(str, numbers[1:])),
        rows,
    )


def ensemble_tables(results: Results) -> Iterator[Table]:
    """Yield the test accuracies of the ensembles beside those of their members."""
    if not results.ensembles:
        return
    chosen = setting_labels(results.run)[results.selected]
    members = {
        "settings": ("all settings evaluated", results.test_accuracies),
        "repeats": (f"repeats of {chosen}", results.repeat_accuracies[:, results.selected]),
    }
    rows = []
    for ensemble in results.ensembles:
        name, single = members[ensemble.members]
        known = single[~np.isnan(single)]
        values = [
            f"{known.mean():.4f}" if known.size else "–",
            f"{known.max():.4f}" if known.size else "–",
            "–" if ensemble.mean_probability is None else f"{ensemble.mean_probability:.4f}",
            f"{ensemble.majority_vote:.4f}",
        ]
        rows.append((name, str(ensemble.size), *values))
    yield Table(
        "Ensembles on the test set: accuracy of the single models and of all together, by the mean "
        "of their probabilities and by majority vote (ties go to the larger mean probability). "
        "A dash: not every member has probabilities. "
        "The best single model is best on the test set itself, so its figure is optimistic.",
        ("members", "models", "mean single", "best single", "mean probability", "majority vote"),
        tuple(rows),
    )
