"""The selection of a setting, and the choice of settings to show if there are too many."""

from typing import Any

import numpy as np

from onelayer.evaluation.comparison import resampled_t_test
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.labels import PER_CENT, count_of
from onelayer.report.settings import settings_table

MANY, BEST = 20, 10  # above this number of settings, tables show only the best ones
_CHOICE = (
    "setting",
    "selection_accuracy",
    "selection_standard_error",
    "selection",
    "within_standard_error",
)
_RULES = {
    "best": "selected, the highest accuracy",
    "1se": "selected, the simplest within one standard error of the best: the largest λ, then the "
    "smallest η",
}


def rank_settings(results: Results) -> list[int]:
    """Return all models, the selected one first, then by the accuracy that selected it."""
    means, chosen = results.selection.means, results.selected
    order = np.argsort(np.where(np.isnan(means), 1.0, -means), kind="stable")
    return [chosen, *order[order != chosen].tolist()]


def show_settings(results: Results, limit: int) -> tuple[list[int], str]:
    """Return the models to show, in their order, and a sentence if they are not all."""
    M = len(results.run.settings)
    if limit >= M:
        return list(range(M)), ""
    if results.diverged:
        return list(range(limit)), f" Shown: the first {limit:,} of {M:,} settings."
    best = f" with the best {quantity_of_choice(results)}" if results.selection.informed else ""
    note = (
        f" Shown: the selected one of {M:,} settings and the {count_of(limit - 1, 'other')}{best}."
    )
    return sorted(rank_settings(results)[:limit]), note


def list_settings(results: Results) -> tuple[list[int], str]:
    """Return the models of a table: all, or of many the best, and a sentence if not all."""
    M = len(results.run.settings)
    return best_settings(results, BEST) if M > MANY else (list(range(M)), "")


def best_settings(results: Results, limit: int) -> tuple[list[int], str]:
    """Return the best models, best first, with the selected one; and a sentence on them."""
    means, M = results.selection.means, len(results.run.settings)
    models = sorted(rank_settings(results)[:limit], key=lambda m: -np.nan_to_num(means[m], nan=-1))
    if not results.selection.informed:
        return models, f" Shown: {limit} of {M:,} settings; all are in grid.csv."
    return models, (
        f" Shown: the {limit} settings of {M:,} with the best {quantity_of_choice(results)}, best "
        "first; all are in grid.csv."
    )


def set_off(results: Results, models: list[int]) -> dict[str, Any]:
    """Return the arguments of a table that set the selected model off; none if it diverged."""
    if results.diverged:
        return {}
    return {"strong": models.index(results.selected), "mark": chosen_words(results)}


def chosen_words(results: Results) -> str:
    """Return words on the selection, such as "selected on the validation split"."""
    folds = results.cross_validation
    if not results.selection.informed:
        return "the first that did not diverge, as no accuracy can select"
    if folds is None:
        return "selected on the validation split"
    return f"selected by cross-validation on {count_of(len(folds.accuracy), 'fold')}"


def quantity_of_choice(results: Results) -> str:
    """Return the name of the accuracy that selects."""
    return "validation accuracy" if results.cross_validation is None else "accuracy on the folds"


def choice_table(results: Results) -> Table | None:
    """Return the accuracies that selected a setting, if there are any."""
    selection, names = results.selection, results.run.labels
    if not selection.informed:
        return None
    models, note = list_settings(results)
    compared, tests = _against_best(results, models)
    return make_table(
        "selection",
        f"One setting was {chosen_words(results)}: {quantity_of_choice(results)}, standard error, "
        f"95{PER_CENT} interval, and whether it is within one standard error of the best "
        f"({names[selection.best]}). {_intervals(results)}{tests}{note}",
        *settings_table(results).take(models).pick(_CHOICE),
        *compared,
        strong=models.index(selection.chosen),
        mark=_RULES[selection.rule],
    )


def _intervals(results: Results) -> str:
    folds = results.cross_validation
    if folds is not None and len(folds.accuracy) > 1:
        return "Errors and intervals come from the spread of the folds (Student's t)."
    return "The error is the binomial one, the interval Wilson's."


def _against_best(results: Results, models: list[int]) -> tuple[list[Column], str]:
    """Return the columns that compare each model with the best one, and words on them."""
    folds, best = results.cross_validation, results.selection.best
    if folds is None or len(folds.accuracy) < 2:
        return [], ""
    accuracies = folds.accuracy[:, [best, *models]]
    test = resampled_t_test(accuracies, folds.n_train, folds.n_held_out)
    others = np.array(models) != best
    below, p = (np.where(others, values[0, 1:], np.nan) for values in (test.difference, test.p))
    return [Column("below best", "decimals", below), Column("p", "p", p)], (
        " below best: the mean difference from the best setting; p: corrected resampled t-test "
        "(Nadeau and Bengio 2003), not corrected for the number of settings."
    )
