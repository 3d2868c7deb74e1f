"""How a setting was chosen, and which settings are shown where not all have room."""

from collections.abc import Iterator

import numpy as np

from onelayer.evaluation.comparison import resampled_t_test
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table
from onelayer.report.labels import (
    MISSING,
    PER_CENT,
    count_of,
    decimals,
    p_value,
    setting_labels,
)

ROWS = 40  # settings in a table
_KEPT = {
    "best": "the setting with the highest accuracy is kept",
    "1se": "of those within one standard error of the best, the simplest is kept: the largest λ, "
    "then the smallest η",
}


def rank_settings(results: Results) -> list[int]:
    """Return all models, the chosen one first, then by the accuracy that it was chosen by."""
    means, chosen = results.selection.means, results.selected
    order = np.argsort(np.where(np.isnan(means), 1.0, -means), kind="stable")
    return [chosen, *order[order != chosen].tolist()]


def show_settings(results: Results, limit: int) -> tuple[list[int], str]:
    """Return the models to show, in their order, and a sentence if they are not all."""
    M = len(results.run.settings)
    if limit >= M:
        return list(range(M)), ""
    best = f" with the best {_accuracy(results)}" * results.selection.informed
    told = f" Shown: the chosen one of {M:,} settings and the {count_of(limit - 1, 'other')}{best}."
    return sorted(rank_settings(results)[:limit]), told


def chosen_words(results: Results) -> str:
    """Say by what the setting was chosen, such as "chosen on the validation split"."""
    folds = results.cross_validation
    if not results.selection.informed:
        return "the first that is sound, since there was nothing to choose by"
    if folds is None:
        return "chosen on the validation split"
    return f"chosen by cross-validation on {count_of(len(folds.accuracy), 'fold')}"


def _accuracy(results: Results) -> str:
    return "validation accuracy" if results.cross_validation is None else "accuracy on the folds"


def choice_tables(results: Results) -> Iterator[Table]:
    """Yield the table of the accuracies that the choice was made by, if there are any."""
    selection, names = results.selection, setting_labels(results.run)
    if not selection.informed:
        return
    models, told = show_settings(results, ROWS)
    differences, header, caption = _against_best(results, models)
    rows = tuple(
        (
            names[model],
            decimals(float(selection.means[model])),
            decimals(float(selection.standard_errors[model])),
            _interval(*selection.intervals[model].tolist()),
            "yes" if selection.within[model] else "",
            *cells,
        )
        for model, cells in zip(models, differences, strict=True)
    )
    yield Table(
        f"How one setting was {chosen_words(results)}: {_accuracy(results)}, its standard error, "
        f"95{PER_CENT} interval, and whether it is within one standard error of the best "
        f"({names[selection.best]}). {_intervals(results)}{caption} Bold: "
        f"{_KEPT[selection.rule]}.{told}",
        ("setting", "accuracy", "std. error", f"95{PER_CENT} interval", "within 1 s.e.", *header),
        rows,
        strong=models.index(selection.chosen),
    )


def _intervals(results: Results) -> str:
    folds = results.cross_validation
    if folds is not None and len(folds.accuracy) > 1:
        return "Errors and intervals come from the spread of the folds (Student's t)."
    return "The error is the binomial one, the interval Wilson's."


def _against_best(results: Results, models: list[int]) -> tuple[list[list[str]], list[str], str]:
    """Return the cells that compare each model with the best one, their header, what they are."""
    folds, best = results.cross_validation, results.selection.best
    if folds is None or len(folds.accuracy) < 2:
        return [[] for _ in models], [], ""
    accuracies = folds.accuracy[:, [best, *models]]
    test = resampled_t_test(accuracies, folds.n_train, folds.n_held_out)
    cells = [
        [MISSING, MISSING] if model == best else [decimals(float(difference)), p_value(float(p))]
        for model, difference, p in zip(models, test.difference[0, 1:], test.p[0, 1:], strict=True)
    ]
    caption = (
        " Below best: the mean difference from the best setting, with the p of the corrected "
        "resampled t-test (Nadeau and Bengio 2003), not corrected for the number of settings."
    )
    return cells, ["below best", "p"], caption


def _interval(low: float, high: float) -> str:
    return MISSING if np.isnan(low) else f"{low:.4f} to {high:.4f}"
