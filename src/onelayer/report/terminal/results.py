"""What an experiment says on a terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.report.labels import setting_labels
from onelayer.report.terminal import plain_table


def show_results(results: Results, rows: Sequence[AblationRow]) -> None:
    """Print the accuracies of every setting, the variants, the checks, and what ended early."""
    spread, folds = results.repeat_spread, results.cross_validation
    columns = {
        "published": results.published,
        "test": results.test_accuracies,
        "validation": results.run.final("validation_accuracy"),
        "mean": spread.mean,
        "sd": spread.sd,
        "min": spread.min,
        "max": spread.max,
    }
    if folds is not None:
        means, errors = results.selection.means, results.selection.standard_errors
        columns |= {f"{len(folds.accuracy)} folds": means, "std. error": errors}
    repeats = f"; mean to max: test, shuffled orders: {spread.repeats}" if spread.repeats else ""
    title, names = f"\nAccuracy{repeats}; * chosen", setting_labels(results.run)
    table = plain_table(title=title, caption=results.notice or None)
    shown = [name for name, values in columns.items() if not np.isnan(values).all()]
    table.add_column("setting")
    for column in shown:
        table.add_column(column, justify="right")
    for m, name in enumerate(names):
        accuracies = (columns[column][m] for column in shown)
        table.add_row(
            f"{name} *" if m == results.selected else name,
            *("" if np.isnan(value) else f"{value:.4f}" for value in accuracies),
        )
    Console().print(table)
    if rows:
        _show_ablation(rows)
    for batch in results.checks:
        print(f"{batch.name}, {batch.loss}, λ={batch.l2:g}: {batch.check}")
    for check in results.engine_checks:
        print(check)
    for name, stopped, ended in zip(names, results.run.stopped, results.run.ended, strict=True):
        if stopped:
            print(f"stopped: {name} was no longer finite in {stopped}")
        if ended:
            print(f"ended: {name}, {ended}")


def _show_ablation(rows: Sequence[AblationRow]) -> None:
    table = plain_table(title="\nVariants: accuracy on the test set")
    for column in ("variant", "setting"):
        table.add_column(column)
    for column in ("test", "mean", "sd", "gain"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (row.test, row.mean, row.sd)
        cells = ("" if figure is None else f"{figure:.4f}" for figure in figures)
        gain = "" if row.gain is None else f"{row.gain:+.4f}"
        table.add_row(row.variant, row.setting, *cells, gain)
    Console().print(table)


def show_check(batch: BatchCheck) -> None:
    """Print the relative errors of the first classes and features of a gradient check."""
    errors = batch.check.errors_W[:10, :10]
    what = f"{batch.name}, {batch.loss}, images: {batch.images}, λ={batch.l2:g}"
    title = f"\n{what}; relative errors of W"
    columns = map(str, range(errors.shape[1]))
    table = plain_table("class", *columns, title=title)
    for k, row in enumerate(errors):
        table.add_row(str(k), *(f"{error:.0e}" for error in row))
    Console().print(table)
    print(str(batch.check))
