"""Significance tests between settings on the test set, and ensembles of settings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.comparison import holm_pairs, mcnemar_test
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.choice import rank_settings
from onelayer.report.labels import count_of

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
    """Compare at most 12 evaluated models on the test set, chosen without the test set."""
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
    p = np.where(np.eye(len(compared.models), dtype=bool), np.nan, compared.p)
    settings = [f"{n}: {names[model]}" for n, model in enumerate(compared.models, 1)]
    left_out = len(results.evaluated) - len(compared.models)
    note = f" Left out: the {left_out} settings with the lowest accuracies." if left_out else ""
    return Table(
        "significance",
        f"McNemar's exact test between every two settings on the test set: p, corrected for "
        f"{count_of(compared.pairs, 'pair')} (Holm). It compares two trained models by the samples "
        f"that only one of them gets right.{note}",
        (
            Column("setting", "words", settings),
            *(Column(f"{n}", "p", values, 3) for n, values in enumerate(p.T, 1)),
        ),
    )


def ensemble_table(results: Results) -> Table | None:
    """Return the test accuracies of the ensembles beside those of their members."""
    if not results.ensembles:
        return None
    made, selected = results.ensembles, results.selected
    names = {
        "settings": "all settings evaluated",
        "repeats": f"repeats of {results.run.labels[selected]}",
    }
    single = {
        "settings": results.test_accuracies,
        "repeats": results.repeat_accuracies[:, selected],
    }
    known = [one[~np.isnan(one)] for one in (single[each.members] for each in made)]
    return make_table(
        "ensembles",
        "Ensembles on the test set: accuracy of the single models and of all together, by the mean "
        "of their probabilities and by majority vote (a tie goes to the larger mean probability). "
        "A dash: not every member has probabilities. "
        "The best single model is the best on the test set, so its accuracy is optimistic.",
        Column("members", "words", [names[each.members] for each in made]),
        Column("models", "count", [each.size for each in made]),
        Column("mean single", "decimals", [one.mean() if one.size else np.nan for one in known]),
        Column("best single", "decimals", [one.max() if one.size else np.nan for one in known]),
        Column("mean probability", "decimals", [each.mean_probability for each in made]),
        Column("majority vote", "decimals", [each.majority_vote for each in made]),
    )
