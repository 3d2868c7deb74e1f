"""Runs as columns of a table, and as data frames of pandas or polars."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from onelayer.errors import InputError, unknown_name
from onelayer.evaluation.csv_export import Columns
from onelayer.training.hyperparameters import OPTIONS, Hyperparameters
from onelayer.training.run import CURVES, Run

# How each library makes a frame of columns; unknown values become missing ones.
LIBRARIES: Mapping[str, Callable[[Any, Columns], Any]] = {
    "pandas": lambda pandas, columns: pandas.DataFrame(columns),
    "polars": lambda polars, columns: polars.DataFrame(columns).fill_nan(None),
}


def run_frame(run: Run, library: str, curves: bool) -> Any:
    """Return the settings of a run, or its curves, as a frame: see Run.to_frame."""
    if library not in LIBRARIES:
        raise unknown_name("library of data frames", library, LIBRARIES)
    try:
        module = import_module(library)
    except ImportError as error:
        raise InputError(f"to_frame needs {library}: pip install {library}") from error
    if not curves:
        return LIBRARIES[library](module, setting_columns(run) | final_columns(run))
    models = history_columns(run)
    settings = {
        name: [values[model] for model in models["model"]]
        for name, values in setting_columns(run).items()
    }
    return LIBRARIES[library](module, settings | models)


def setting_columns(run: Run) -> dict[str, list[Any]]:
    """Return the number of each setting and its hyperparameters, each (M,)."""
    numbers = {"model": list(range(len(run.settings)))}
    return numbers | {name: [_value(s, name) for s in run.settings] for name in OPTIONS}


def final_columns(run: Run) -> dict[str, list[Any]]:
    """Return the end of each setting's training, and the curves in its kept epoch, each (M,)."""
    return {
        "kept_epoch": run.kept.tolist(),
        "stopped": list(run.stopped),
        "ended": list(run.ended),
        **{name: run.final(name).tolist() for name in CURVES},
    }


def history_columns(run: Run) -> dict[str, list[Any]]:
    """Return the curves, a row for each model and epoch; epoch 0 is before training."""
    M, epochs = len(run.settings), run.history.measured
    columns = {"model": np.arange(M).repeat(len(epochs)), "epoch": np.tile(epochs, M)}
    columns |= {name: getattr(run.history, name).ravel() for name in CURVES}
    return {name: column.tolist() for name, column in columns.items()}


def _value(setting: Hyperparameters, name: str) -> Any:
    """Return a hyperparameter in the type of its option: λ = 0 becomes 0.0."""
    value = getattr(setting, name)
    return float(value) if OPTIONS[name].kind is float else value
