"""Table 1 as files, and the tables of the report."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.evaluation.csv_export import Columns, exact, write_csv
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table, make_table
from onelayer.report.choice import ROWS, set_off, show_settings
from onelayer.report.labels import MISSING, count_of, decimals, one_line, split_words, validated
from onelayer.report.markup import escape_latex, latex_table, markdown_table
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import Run

_ACCURACIES = (
    "published_accuracy",
    "accuracy",
    "accuracy_mean",
    "accuracy_sd",
    "accuracy_min",
    "accuracy_max",
)
_CAPTION = (
    "Accuracy on the test set. accuracy: the main run; accuracy_mean to accuracy_max: "
    "over the repeats, each in an order of its own."
)


def table1(results: Results) -> Columns:
    """Return the columns of Table 1, each (M,): NaN where there is no figure.

    λ, η and all else that is not at its default in some setting come first.
    """
    run, repeats, M = results.run, results.repeat_spread, len(results.run.settings)
    varied = {
        name: [getattr(setting, name) for setting in run.settings]
        for name, option in OPTIONS.items()
        if name in ("l2", "learning_rate")
        or any(getattr(setting, name) != option.default for setting in run.settings)
    }
    spread = (repeats.mean, repeats.sd, repeats.min, repeats.max)
    accuracies = (results.published, results.test_accuracies, *spread)
    return {
        **varied,
        "epochs": [run.training["epochs"]] * M,
        "batch_size": [run.training["batch_size"]] * M,
        **{n: values.tolist() for n, values in zip(_ACCURACIES, accuracies, strict=True)},
        "repeats": [repeats.repeats] * M,
    }


def write_table1(results: Results, folder: Path) -> None:
    """Write table1.csv (exact), table1.md and table1.tex (four decimals) into `folder`."""
    columns, notice = table1(results), one_line(results.notice)
    write_csv(columns, folder / "table1.csv", notice)
    names, rows = list(columns), _rounded(columns)
    caption = escape_latex(_CAPTION)
    if notice:
        caption += rf" \textbf{{Notice: {escape_latex(notice)}}}"
    markdown = markdown_table(names, rows, notice=notice)
    (folder / "table1.md").write_text(markdown, "utf-8", newline="\n")
    latex = latex_table(names, rows, caption)
    (folder / "table1.tex").write_text(latex, "utf-8", newline="\n")


def _rounded(columns: Columns) -> list[tuple[str, ...]]:
    """Return the cells row by row: accuracies with four decimals, empty where NaN."""
    cells = [[_round(name, value) for value in values] for name, values in columns.items()]
    return list(zip(*cells, strict=True))


def _round(name: str, value: Any) -> str:
    if not isinstance(value, float) or math.isnan(value):
        return exact(value)
    return f"{value:.4f}" if name in _ACCURACIES else f"{value:g}"


def accuracy_table(results: Results, shown: tuple[list[int], str] | None = None) -> Table:
    """Return Table 1 as the report and the terminal show it; the selected setting is set off.

    `shown` are its models, by default those of show_settings, and a sentence if they are not all.
    """
    spread, folds, run = results.repeat_spread, results.cross_validation, results.run
    models, note = shown or show_settings(results, ROWS)
    columns = {
        "published": results.published,
        "test": results.test_accuracies,
        "validation": run.final("validation_accuracy"),
        "mean": spread.mean,
        "sd": spread.sd,
        "min": spread.min,
        "max": spread.max,
    }
    if folds is not None:
        columns[f"{len(folds.accuracy)} folds"] = results.selection.means
        columns["std. error"] = results.selection.standard_errors
    how = f"trained with batches in {run.training['order']} order"
    if run.training["solver"] == "exact":
        how = "each model at its least cost (exact solver)"
    repeats = ""
    if spread.repeats:
        repeats = f" mean to max: test accuracy over {count_of(spread.repeats, 'repeat')}."
    return make_table(
        f"Table 1. Accuracy, {how}.{repeats}{note}",
        {"setting": [run.labels[model] for model in models]}
        | {name: [decimals(values[m]) for m in models] for name, values in columns.items()},
        **set_off(results, models),
    )


def final_table(results: Results) -> Table:
    """Return Table 2: loss, cost and accuracy in the kept epoch, and the best epoch."""
    run, (models, note) = results.run, show_settings(results, ROWS)
    splits = {"train": "train", "validation": "val."}
    curves = {
        f"{short} {quantity}": run.final(f"{split}_{quantity}")
        for split, short in splits.items()
        for quantity in ("loss", "cost", "accuracy")
    }
    excess = run.final("train_cost") - results.optimal_costs
    columns = {"setting": [run.labels[model] for model in models]}
    when = f"In the last epoch ({run.history.epochs})"
    if run.convergence is not None:
        when = "At the least cost"
    elif (run.kept != run.history.epochs).any():
        when = "In the kept epoch of each model"
        columns["epoch"] = [str(run.kept[model]) for model in models]
    columns |= {name: [decimals(values[m]) for m in models] for name, values in curves.items()}
    columns["above optimum"] = [_excess(float(excess[model])) for model in models]
    notes = ""
    if run.convergence is None:
        columns["best val. accuracy"] = [_best_epoch(run, model) for model in models]
    else:
        proof = run.convergence
        columns["gradient norm"] = [_excess(float(proof.gradient_norm[model])) for model in models]
        columns["excess at most"] = [_excess(float(proof.excess[model])) for model in models]
        notes = " excess: how far the training cost may lie above the least one, proven."
    if np.isfinite(results.optimal_costs).any():
        notes = " above optimum: training cost minus the least cost for this λ and loss."
    if validated(run) and run.convergence is None:
        notes += " best: the highest validation accuracy and its first epoch."
    return make_table(
        f"Table 2. {when}, on the whole {split_words(run)}.{notes}{note}",
        columns,
        **set_off(results, models),
    )


def _excess(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2e}".replace("-", "−")


def _best_epoch(run: Run, model: int) -> str:
    curve = run.history.validation_accuracy[model]
    if np.isnan(curve).all():
        return MISSING
    column = int(np.nanargmax(curve))
    return f"{curve[column]:.4f} (epoch {run.history.measured[column]})"
