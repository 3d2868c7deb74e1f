"""Event files that TensorBoard reads."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from onelayer.errors import InputError
from onelayer.tracking.trackers import Log, Parameters


@contextmanager
def follow(folder: Path, experiment: str, models: Mapping[str, Parameters]) -> Iterator[Log]:
    """Yield a Log that writes folder/experiment/time/model/events.out.tfevents.….

    Each call appends whole records, so TensorBoard can follow, and an interruption loses nothing.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise InputError("tensorboard: pip install 'onelayer[tensorboard]' to track") from error
    began = time.time()
    moment = datetime.fromtimestamp(began).strftime("%Y-%m-%d-%H%M%S.%f")
    names = list(models)

    def log(model: int, epoch: int, values: Mapping[str, float]) -> None:
        # Windows allows no colon in a name, and schedules have some.
        run = folder / experiment / moment / names[model].replace(":", "-")
        path = run / f"events.out.tfevents.{began:.0f}"
        events = []
        if not path.exists():
            run.mkdir(parents=True, exist_ok=True)
            events.append(Event(wall_time=began, file_version="brain.Event:2"))
            hyperparameters = hparams_pb(dict(models[names[model]]))
            events.append(Event(wall_time=began, summary=hyperparameters))
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        events.append(Event(wall_time=time.time(), step=epoch, summary=Summary(value=scalars)))
        with path.open("ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())

    yield log
