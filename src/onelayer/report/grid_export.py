"""The whole grid as one table for other programs: a row for every setting."""

from pathlib import Path

from onelayer.evaluation.csv_export import Columns, write_csv
from onelayer.evaluation.frames import final_columns, setting_columns
from onelayer.evaluation.parquet_export import write_parquet
from onelayer.evaluation.results import Results


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
        **setting_columns(run),
        **final_columns(run),
        "optimal_cost": results.optimal_costs.tolist(),
        "selection_accuracy": selection.means.tolist(),
        "selection_standard_error": selection.standard_errors.tolist(),
        "selection_low": selection.intervals[:, 0].tolist(),
        "selection_high": selection.intervals[:, 1].tolist(),
        "within_standard_error": selection.within.tolist(),
        "chosen": [model == selection.chosen and not results.diverged for model in range(M)],
        "test_accuracy": results.test_accuracies.tolist(),
    }
