"""A table with all facts of each setting, from which others are cut."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onelayer.evaluation.frames import final_columns, setting_columns
from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table
from onelayer.report.labels import PER_CENT
from onelayer.report.markup import write_data
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import CURVES, Run

_KINDS = {str: "words", bool: "flag", int: "count", float: "number"}
REPEATS = {f"accuracy_{name}": name for name in ("mean", "sd", "min", "max")}


def settings_table(results: Results) -> Table:
    """Return all facts of each setting, a row each: its options, training and test.

    Loss, cost and accuracy are those of the kept epoch.
    """
    columns = (*trained_columns(results.run), *_tested(results))
    return Table("grid", "Every setting.", columns)


def trained_columns(run: Run) -> Iterator[Column]:
    """Yield the columns of the hyperparameters, and of the end of the training."""
    ends = {"kept_epoch": "count", "stopped": "words", "ended": "words"}
    ends |= dict.fromkeys(CURVES, "decimals")
    for name, values in setting_columns(run).items():
        kind = _KINDS.get(OPTIONS[name].kind, "words") if name in OPTIONS else "count"
        yield Column(_heading(name), kind, values, key=name)
    for name, values in final_columns(run).items():
        yield Column(_heading(name), ends[name], values, key=name)


def _heading(name: str) -> str:
    words = OPTIONS[name].heading if name in OPTIONS else name.replace("_", " ")
    return words.replace("validation", "val.")


def _tested(results: Results) -> Iterator[Column]:
    """Yield the columns of the selection, of published accuracies, and of the test."""
    run, selection, spread = results.run, results.selection, results.repeat_spread
    M = len(run.settings)
    yield Column("least cost", "decimals", results.optimal_costs, key="optimal_cost")
    yield Column("accuracy", "decimals", selection.means, key="selection_accuracy")
    errors = selection.standard_errors
    yield Column("std. error", "decimals", errors, key="selection_standard_error")
    intervals = list(map(tuple, selection.intervals.tolist()))
    yield Column(f"95{PER_CENT} interval", "range", intervals, key="selection")
    yield Column("within 1 s.e.", "flag", selection.within, key="within_standard_error")
    chosen = [model == selection.chosen and not results.diverged for model in range(M)]
    yield Column("chosen", "flag", chosen)
    yield Column("accuracy", "decimals", results.test_accuracies, key="test_accuracy")
    yield Column("setting", "words", run.labels)
    excess = run.final("train_cost") - results.optimal_costs
    yield Column("above optimum", "small", excess, key="excess_cost")
    best = [_best_epoch(run, model) for model in range(M)]
    yield Column("best val. accuracy", "epoch", best, key="best_validation_accuracy")
    proof = run.convergence
    unknown = np.full(M, np.nan)
    norms, bounds = (proof.gradient_norm, proof.excess) if proof else (unknown, unknown)
    yield Column("gradient norm", "small", norms)
    yield Column("excess at most", "small", bounds)
    yield Column("epochs", "count", [run.training["epochs"]] * M)
    yield Column("batch size", "count", [run.training["batch_size"]] * M)
    yield Column("published", "decimals", results.published, key="published_accuracy")
    for key, name in REPEATS.items():
        yield Column(name, "decimals", getattr(spread, name), key=key)
    yield Column("repeats", "count", [spread.repeats] * M)


def _best_epoch(run: Run, model: int) -> tuple[float, int] | None:
    curve = run.history.validation_accuracy[model]
    if np.isnan(curve).all():
        return None
    column = int(np.nanargmax(curve))
    return float(curve[column]), int(run.history.measured[column])


def write_grid(results: Results, folder: Path) -> None:
    """Write grid.csv into `folder` and, if pyarrow is installed, grid.parquet."""
    write_data(settings_table(results), folder / "grid")
