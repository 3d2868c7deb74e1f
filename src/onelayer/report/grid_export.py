"""The whole grid as one table for other programs: a row for every setting."""

from pathlib import Path
from typing import Any

from onelayer.evaluation.csv_export import Columns, write_csv
from onelayer.evaluation.parquet_export import write_parquet
from onelayer.evaluation.results import Results
from onelayer.training.hyperparameters import OPTIONS, Hyperparameters
from onelayer.training.run import CURVES


def write_grid(results: Results, folder: Path) -> None:
    """Write grid.csv into `folder` and, where pyarrow can be imported, grid.parquet."""
    columns = grid_columns(results)
    write_csv(columns, folder / "grid.csv")
    write_parquet(columns, folder / "grid.parquet")


def grid_columns(results: Results) -> Columns:
    """Return every hyperparameter, how training ended, the choice and the test, each (M,).

    Loss, cost and accuracy are those of the kept epoch. What is not known is NaN.
    """
    run, selection = results.run, results.selection
    M = len(run.settings)
    return {
        "model": list(range(M)),
        **{name: [_value(setting, name) for setting in run.settings] for name in OPTIONS},
        "kept_epoch": run.kept.tolist(),
        "stopped": list(run.stopped),
        "ended": list(run.ended),
        **{name: run.final(name).tolist() for name in CURVES},
        "optimal_cost": results.optimal_costs.tolist(),
        "selection_accuracy": selection.means.tolist(),
        "selection_standard_error": selection.standard_errors.tolist(),
        "selection_low": selection.intervals[:, 0].tolist(),
        "selection_high": selection.intervals[:, 1].tolist(),
        "within_standard_error": selection.within.tolist(),
        "chosen": [model == selection.chosen and not results.diverged for model in range(M)],
        "test_accuracy": results.test_accuracies.tolist(),
    }


def _value(setting: Hyperparameters, name: str) -> Any:
    """Return a hyperparameter in the type of its default: 0 is a λ, too."""
    value = getattr(setting, name)
    return float(value) if OPTIONS[name].kind is float else value
