"""Trackers: their interface and their names."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from onelayer.errors import InputError, unknown_name
from onelayer.training.epochs import OnEpoch
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Curves

Parameters = Mapping[str, bool | int | float | str]
Log = Callable[[int, int, Mapping[str, float]], None]  # model, epoch, known values by name
# Takes a folder, the name of an experiment and the parameters of each model by the model's name.
# Nothing is written before the first call of Log.
Tracker = Callable[[Path, str, Mapping[str, Parameters]], AbstractContextManager[Log]]
TRACKERS = ("mlflow", "tensorboard")


@contextmanager
def open_tracker(
    target: str,
    experiment: str,
    settings: Sequence[Hyperparameters],
    shared: Mapping[str, Any],
) -> Iterator[OnEpoch]:
    """Yield the callback that logs every epoch of every model to the tracker `target`.

    `target` is "tensorboard:FOLDER" or "mlflow:FOLDER". Each model becomes a run of `experiment`
    with its settings and the `shared` ones (without those that are None) as parameters, and with
    its curves, under their names in History, as metrics.

    Raises
    ------
    InputError
        If there is no such tracker, it names no folder, or its package is not installed.
    """
    kind, _, folder = target.partition(":")
    if kind not in TRACKERS:
        raise unknown_name("tracker", kind, TRACKERS)
    if not folder:
        raise InputError(f"tracker {target!r}: expected {kind}:FOLDER")
    tracker: Tracker = import_module(f"onelayer.tracking.{kind}").follow
    width = len(str(len(settings) - 1))
    parameters = {
        f"{model:0{width}} {setting}": _plain({**shared, **vars(setting)})
        for model, setting in enumerate(settings)
    }
    with tracker(Path(folder), experiment, parameters) as log:

        def on_epoch(epoch: int, curves: Curves, models: range) -> None:
            for row, model in enumerate(models):
                values = {name: float(curve[row, epoch]) for name, curve in curves.items()}
                known = {name: value for name, value in values.items() if math.isfinite(value)}
                if known:
                    log(model, epoch, known)

        yield on_epoch


def _plain(values: Mapping[str, Any]) -> Parameters:
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in values.items()
        if value is not None
    }
