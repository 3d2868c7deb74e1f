"""What keeps one job in the checkpoints of a piece of work, and finds it there again."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.errors import InputError
from onelayer.process import HeldSignals, held_signals
from onelayer.training.checkpoint import CHECKPOINT, ENDING, Asked, Checkpoint, Checkpoints
from onelayer.training.engine import Engine, MakeEngine, State
from onelayer.training.log import Log, Trained
from onelayer.training.provenance import elsewhere, origin_of

_KEPT = 2  # checkpoints of a stack


class Keeper:
    """The checkpoints of one job: what was asked for, and the arrays that it is given, by name."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        asked: Asked,
        arrays: Mapping[str, Split | Iterable[NDArray[Any]]],
        make_engine: MakeEngine,
    ) -> None:
        self.seconds = 0.0  # that the job took before it was resumed
        self._checkpoints, self._asked, self._arrays = checkpoints, asked, arrays
        self._make_engine = make_engine
        self._begin, self._saved = monotonic(), 0
        self._held = HeldSignals()

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {name: _digest(value) for name, value in self._arrays.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked for, and the digests of all arrays, by name."""
        return self._asked.facts | self._digests

    def trained(self, models: range) -> Trained | None:
        """Return what is left of a stack, if it is trained.

        Raises
        ------
        InputError
            If it cannot be read, or something else was asked for.
        """
        path = self._path(models)
        if path is None or not path.is_file():
            return None
        record = self._checked(CHECKPOINT.load(path), path, models)
        if record.trained is None:
            raise InputError(f"{path}: found a checkpoint, expected a stack that is trained")
        return record.trained

    def resume(self, models: range, stack: Engine) -> Log | None:
        """Let a stack take up its last checkpoint; return its log, None if there is none.

        Raises
        ------
        InputError
            If none can be read, or something else was asked for.
        """
        files = self._files(models)
        for number, path in enumerate(reversed(files)):
            try:
                record = CHECKPOINT.load(path)
            except InputError as error:
                if number == len(files) - 1:
                    raise
                self._checkpoints.announce(f"note: {error}; the one before is taken")
                continue
            self._saved = _number(files[-1])
            return self._take_up(self._checked(record, path, models), path, stack)
        return None

    def _take_up(self, record: Checkpoint, path: Path, stack: Engine) -> Log:
        try:
            if record.log is None:
                raise InputError("it has no log")
            _check_state(record.state, stack.state())
            record.log.check(len(range(*record.models)), record.asked.options["epochs"])
        except InputError as error:
            raise InputError(f"{path}: no checkpoint of this stack: {error}") from error
        stack.load(record.state)
        return record.log

    def _checked(self, record: Checkpoint, path: Path, models: range) -> Checkpoint:
        """Return the record of a stack, or raise InputError if it is of something else."""
        changes = [*record.asked.differences(self._asked)]
        changes += [
            f"{name} is not what it was"
            for name in sorted(record.digests.keys() | self._digests.keys())
            if record.digests.get(name) != self._digests.get(name)
        ]
        if record.models != (models.start, models.stop):
            changes.append(f"a stack was of other models: memory or engine was another ({models})")
        if changes:
            raise InputError(
                f"{path}: {'; '.join(changes)}, in what is to be resumed; expected the same, or "
                f"remove {path.parent.parent} to begin again"
            )
        self._checkpoints.tell(elsewhere(record.provenance, self._here))
        self.seconds = max(self.seconds, record.seconds)
        return record

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Hold a first signal back until the next pause, while the block runs."""
        if not self._checkpoints.wanted:
            yield
            return
        with held_signals() as self._held:
            yield

    def pause(self, models: range, log: Log, stack: Engine) -> None:
        """Write a checkpoint of a stack if one is due, or a signal has come, which then ends it."""
        if self._held.came:
            if self._checkpoints.on:
                self._save(models, log, stack)
            self._held.deliver()
        elif self._checkpoints.due(log):
            self._save(models, log, stack)

    def _save(self, models: range, log: Log, stack: Engine) -> None:
        self._saved += 1
        record = replace(self._record(models), state=stack.state(), log=log)
        older = self._files(models)[: 1 - _KEPT]
        self._checkpoints.save(record, f"{self._stem(models)}.{self._saved:06d}{ENDING}", older)

    def finish(self, models: range, trained: Trained) -> None:
        """Keep what is left of a stack in place of its checkpoints."""
        if self._checkpoints.on:
            record = replace(self._record(models), trained=trained)
            self._checkpoints.save(record, f"{self._stem(models)}{ENDING}", self._files(models))

    def _record(self, models: range) -> Checkpoint:
        seconds = self.seconds + monotonic() - self._begin
        bounds = (models.start, models.stop)
        return Checkpoint(self._asked, self._digests, self._here, bounds, seconds)

    @cached_property
    def _here(self) -> dict[str, Any]:
        return origin_of(self._make_engine)

    def _stem(self, models: range) -> str:
        return f"{self._checkpoints.job or 'training'}.{models.start}"

    def _path(self, models: range) -> Path | None:
        folder = self._checkpoints.folder
        return None if folder is None else folder / f"{self._stem(models)}{ENDING}"

    def _files(self, models: range) -> list[Path]:
        """Return the checkpoints of a stack, the last one last."""
        name = re.compile(rf"{re.escape(self._stem(models))}\.[0-9]+{re.escape(ENDING)}")
        every = (path for path in self._checkpoints.files() if name.fullmatch(path.name))
        return sorted(every, key=_number)


def _number(path: Path) -> int:
    return int(path.name.split(".")[-2])


def _digest(value: Split | Iterable[NDArray[Any]]) -> str:
    if isinstance(value, Split):
        return value.digest()
    found = hashlib.sha256()
    for array in value:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _check_state(state: Mapping[str, NDArray[Any]], now: State) -> None:
    """Raise InputError unless an engine whose state is `now` can take over the other one."""
    for name in now.keys() - state.keys():
        raise InputError(f"its state has no {name}")
    for name, array in state.items():
        like = now.get(name, now.get(name.replace("best_", "").replace("velocity_", "")))
        if like is not None and (like.shape, like.dtype) != (array.shape, array.dtype):
            found = f"{array.dtype} of the shape {array.shape}"
            raise InputError(f"{name} is {found}, expected {like.dtype} of {like.shape}")
