"""Table 1 as files, and the tables of the report."""

from pathlib import Path

import numpy as np

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.choice import list_settings, set_off
from onelayer.report.labels import count_of, one_line, split_words, validated
from onelayer.report.markup import write_markup
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import Run

_CAPTION = (
    "Accuracy on the test set: published, of the main run, and over the repeats, each in an order "
    "of its own."
)
_KINDS = {str: "words", bool: "flag", int: "count", float: "number"}


def table1(results: Results) -> Table:
    """Return Table 1 for other programs, a row a setting: NaN where there is no figure.

    λ, η and all else that is not at its default in some setting come first.
    """
    run, repeats, M = results.run, results.repeat_spread, len(results.run.settings)
    varied = {
        name: [getattr(setting, name) for setting in run.settings]
        for name, option in OPTIONS.items()
        if name in ("l2", "learning_rate")
        or any(getattr(setting, name) != option.default for setting in run.settings)
    }
    accuracies = {
        "published_accuracy": ("published", results.published),
        "accuracy": ("accuracy", results.test_accuracies),
        "accuracy_mean": ("mean", repeats.mean),
        "accuracy_sd": ("sd", repeats.sd),
        "accuracy_min": ("min", repeats.min),
        "accuracy_max": ("max", repeats.max),
    }
    return Table(
        "table1",
        _CAPTION,
        (
            *(
                Column(
                    OPTIONS[name].symbol or name.replace("_", " "),
                    _KINDS.get(OPTIONS[name].kind, "words"),
                    values,
                    key=name,
                )
                for name, values in varied.items()
            ),
            Column("epochs", "count", [run.training["epochs"]] * M),
            Column("batch size", "count", [run.training["batch_size"]] * M),
            *(Column(n, "decimals", values, key=key) for key, (n, values) in accuracies.items()),
            Column("repeats", "count", [repeats.repeats] * M),
        ),
    )


def write_table1(results: Results, folder: Path) -> None:
    """Write table1.csv (exact), table1.md and table1.tex (as they are read) into `folder`."""
    table, notice = table1(results), one_line(results.notice)
    write_csv(table.exact, folder / "table1.csv", notice)
    write_markup(table.known, folder / "table1", notice)


def accuracy_table(results: Results) -> Table:
    """Return Table 1 as the report and the terminal show it; the selected setting is set off."""
    spread, folds, run = results.repeat_spread, results.cross_validation, results.run
    models, note = list_settings(results)
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
        "accuracy",
        f"Accuracy, {how}.{repeats}{note}",
        Column("setting", "words", [run.labels[model] for model in models]),
        *(Column(name, "decimals", values[models]) for name, values in columns.items()),
        **set_off(results, models),
    )


def final_table(results: Results) -> Table:
    """Return loss, cost and accuracy in the kept epoch, and the best epoch."""
    run, (models, note) = results.run, list_settings(results)
    splits = {"train": "train", "validation": "val."}
    curves = {
        f"{short} {quantity}": run.final(f"{split}_{quantity}")
        for split, short in splits.items()
        for quantity in ("loss", "cost", "accuracy")
    }
    excess = run.final("train_cost") - results.optimal_costs
    columns = [Column("setting", "words", [run.labels[model] for model in models])]
    when = f"In the last epoch ({run.history.epochs})"
    if run.convergence is not None:
        when = "At the least cost"
    elif (run.kept != run.history.epochs).any():
        when = "In the kept epoch of each model"
        columns.append(Column("epoch", "count", run.kept[models]))
    columns += [Column(name, "decimals", values[models]) for name, values in curves.items()]
    columns.append(Column("above optimum", "small", excess[models]))
    notes = ""
    if run.convergence is None:
        best = [_best_epoch(run, model) for model in models]
        columns.append(Column("best val. accuracy", "epoch", best))
    else:
        proof = run.convergence
        columns.append(Column("gradient norm", "small", proof.gradient_norm[models]))
        columns.append(Column("excess at most", "small", proof.excess[models]))
        notes = " excess: how far the training cost may lie above the least one, proven."
    if np.isfinite(results.optimal_costs).any():
        notes = " above optimum: training cost minus the least cost for this λ and loss."
    if validated(run) and run.convergence is None:
        notes += " best: the highest validation accuracy and its first epoch."
    return make_table(
        "last_epoch",
        f"{when}, on the whole {split_words(run)}.{notes}{note}",
        *columns,
        **set_off(results, models),
    )


def _best_epoch(run: Run, model: int) -> tuple[float, int] | None:
    curve = run.history.validation_accuracy[model]
    if np.isnan(curve).all():
        return None
    column = int(np.nanargmax(curve))
    return float(curve[column]), int(run.history.measured[column])
