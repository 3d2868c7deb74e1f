"""Table 1 as files, and the tables of the settings in the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table, make_table
from onelayer.report.choice import list_settings, set_off
from onelayer.report.labels import count_of, one_line, split_words, validated
from onelayer.report.markup import write_markup
from onelayer.report.settings import REPEATS, settings_table
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import CURVES

# A vector figure as wide as a column of a paper, with letters as large as those of the text.
_FIGURE = 'onelayer.load_run(".").plot.curves(width="column", file="curves.pdf")'


def table1(results: Results) -> Table:
    """Return Table 1 for other programs, a row for each setting; NaN stands for a missing figure.

    λ, η and all other options that differ from their defaults in some setting come first.
    """
    varied = [
        name
        for name, option in OPTIONS.items()
        if name in ("l2", "learning_rate")
        or any(getattr(setting, name) != option.default for setting in results.run.settings)
    ]
    keys = (*varied, "epochs", "batch_size", "published_accuracy", "test_accuracy", *REPEATS)
    return Table(
        "table1",
        "Accuracy on the test set: published, of the main run, and over the repeats, each in an "
        "order of its own.",
        settings_table(results).pick((*keys, "repeats")),
    )


def write_table1(results: Results, folder: Path) -> None:
    """Write table1.csv (exact), table1.md and table1.tex (as they are read) into `folder`."""
    table, notice = table1(results), one_line(results.notice)
    write_csv(table.exact, folder / "table1.csv", notice)
    write_markup(table.known, folder / "table1", notice, _FIGURE)


def accuracy_table(results: Results) -> Table:
    """Return Table 1 for the report and the terminal; the selected setting is set off."""
    spread, folds, run = results.repeat_spread, results.cross_validation, results.run
    headings = {"test_accuracy": "test", "validation_accuracy": "validation"}
    keys = ["setting", "published_accuracy", *headings, *REPEATS]
    if folds is not None:
        headings["selection_accuracy"] = f"{len(folds.accuracy)} folds"
        keys += ["selection_accuracy", "selection_standard_error"]
    how = f"trained with batches in {run.training['order']} order"
    if run.training["solver"] == "exact":
        how = "each model at its least cost (exact solver)"
    repeats = ""
    if spread.repeats:
        repeats = f" mean to max: test accuracy over {count_of(spread.repeats, 'repeat')}."
    return _shown(results, "accuracy", f"Accuracy, {how}.{repeats}", keys, headings)


def final_table(results: Results) -> Table:
    """Return loss, cost and accuracy in the kept epoch, and the best epoch."""
    run, descent = results.run, results.run.convergence is None
    keys = ["setting"]
    when = f"In the last epoch ({run.history.epochs})"
    if not descent:
        when = "At the least cost"
    elif (run.kept != run.history.epochs).any():
        when = "In the kept epoch of each model"
        keys.append("kept_epoch")
    keys += [*CURVES, "excess_cost"]
    keys += ["best_validation_accuracy"] if descent else ["gradient_norm", "excess_at_most"]
    notes = ""
    if not descent:
        notes = " excess: how far the training cost may lie above the least one, proven."
    if np.isfinite(results.optimal_costs).any():
        notes += " above optimum: training cost minus the least cost for this λ and loss."
    if validated(run) and descent:
        notes += " best: the highest validation accuracy and its first epoch."
    caption = f"{when}, on the whole {split_words(run)}.{notes}"
    return _shown(results, "last_epoch", caption, keys, {"kept_epoch": "epoch"})


def _shown(
    results: Results, stem: str, caption: str, keys: Sequence[str], headings: Mapping[str, str]
) -> Table:
    """Return these columns for the settings that have room; the selected one is set off."""
    models, note = list_settings(results)
    columns = settings_table(results).take(models).pick(keys, headings)
    return make_table(stem, caption + note, *columns, **set_off(results, models))
