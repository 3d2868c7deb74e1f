"""Runs in MLflow's local file store."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from onelayer.errors import InputError
from onelayer.tracking.trackers import Log, Parameters


@contextmanager
def follow(folder: Path, experiment: str, models: Mapping[str, Parameters]) -> Iterator[Log]:
    """Yield a Log that adds a run for every model to the store in `folder`.

    The runs end as FINISHED, or as FAILED if an exception ends the block.
    """
    # MLflow's file store must be allowed explicitly, and no telemetry may leave this machine.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise InputError("mlflow: pip install 'onelayer[mlflow]' to track") from error
    client = MlflowClient(folder.resolve().as_uri())
    names = list(models)
    runs: dict[int, str] = {}

    @cache
    def number() -> str:
        known = client.get_experiment_by_name(experiment)
        return str(known.experiment_id if known else client.create_experiment(experiment))

    def begin(model: int) -> str:
        run: str = client.create_run(number(), run_name=names[model]).info.run_id
        params = [Param(name, str(value)) for name, value in models[names[model]].items()]
        client.log_batch(run, params=params, synchronous=True)
        return run

    def log(model: int, epoch: int, values: Mapping[str, float]) -> None:
        if model not in runs:
            runs[model] = begin(model)
        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, epoch) for name, value in values.items()]
        client.log_batch(runs[model], metrics=metrics, synchronous=True)

    status = "FAILED"
    try:
        yield log
        status = "FINISHED"
    except MlflowException as error:
        raise InputError(f"{folder}: MLflow cannot write there: {error.message}") from error
    finally:
        for run in runs.values():
            client.set_terminated(run, status)
