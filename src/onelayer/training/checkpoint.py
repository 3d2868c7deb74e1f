"""Checkpoints: what a training has done so far, kept beside its output and taken up after a kill.

Every job of a piece of work has a name, and every stack of it one file: what is left of it when it
is trained, else the last two of its checkpoints. Work that is done again with the same checkpoints
finds the stacks that are trained, goes on inside the one that is not, and ends with the same bits.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.errors import InputError, shown
from onelayer.plain_values import to_json
from onelayer.process import HeldSignals, held_signals
from onelayer.records import Kind, check_arrays
from onelayer.storage import unfinished_folder, unfinished_place
from onelayer.training.engine import Engine, State
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Log, Trained
from onelayer.training.provenance import elsewhere, provenance

_MINUTE = 60.0
_KEPT = 2  # checkpoints of a stack
CHECKPOINTS = "checkpoints"  # in the folder of what is unfinished
_ENDING = ".safetensors"


@dataclass(frozen=True)
class Spacing:
    """When checkpoints are written: after so many epochs or seconds; the first after a `delay`."""

    epochs: int = 0
    seconds: float = 0.0
    delay: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Spacing":
        """Read a number of epochs, of minutes (2min), auto or none.

        Raises
        ------
        InputError
            If the text is none of them.
        """
        if text == "auto":
            return cls(seconds=_MINUTE, delay=_MINUTE)
        try:
            spacing = (
                cls(seconds=float(text.removesuffix("min")) * _MINUTE)
                if text.endswith("min")
                else cls(epochs=0 if text == "none" else int(text))
            )
        except ValueError:
            spacing = cls(epochs=-1)
        if text != "none" and not (spacing.epochs > 0 or 0 < spacing.seconds < float("inf")):
            raise InputError(
                f"checkpoint is {shown(text)}; expected a number of epochs (5), of minutes (2min), "
                "auto or none"
            )
        return spacing


@dataclass(frozen=True)
class Asked:
    """What was asked for: the settings, None where they are found, and all options by name."""

    settings: tuple[Hyperparameters, ...] | None
    options: Mapping[str, Any]

    def differences(self, now: "Asked") -> Iterator[str]:
        """Yield in words what is another now."""
        if self.settings != now.settings:
            yield f"the settings were {_words(self.settings)}, not {_words(now.settings)}"
        yield from _differences(self.options, now.options)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in {**before, **now}:
        was, new = before.get(name), now.get(name)
        if isinstance(was, Mapping) and isinstance(new, Mapping):
            yield from _differences(was, new)
        elif to_json(was) != to_json(new):  # a tuple comes back as a list
            yield f"{name} was {shown(was)}, not {shown(new)}"


@dataclass(frozen=True)
class Checkpoint:
    """A stack of a job: the state of its engine and its log, or what is `trained`.

    `digests` are those of all arrays that the job is given, by name, `models` the first of the
    stack and the one after its last, `seconds` those that the job took until now.
    """

    asked: Asked
    digests: Mapping[str, str]
    provenance: Mapping[str, Any]
    models: tuple[int, int]
    seconds: float
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    log: Log | None = None
    trained: Trained | None = None

    @property
    def words(self) -> str:
        """How far the stack is."""
        models = f"models {self.models[0]} to {self.models[1] - 1}"
        if self.log is None:
            return f"{models} are trained"
        more = f", batch {self.log.batches} of the next" if self.log.batches else ""
        return f"{models}: epoch {self.log.epoch} of {self.asked.options['epochs']}{more}"


CHECKPOINT = Kind("checkpoint", Checkpoint, format=1, sealed=True)


@dataclass
class _Clock:
    """When a piece of work began, when its last checkpoint was written, and what was told."""

    begin: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Checkpoints:
    """Where and when the jobs of a piece of work are kept; nowhere without a `folder`.

    `announce` is told where a checkpoint cannot be read or written; `prepare` is called before the
    first is written.
    """

    folder: Path | None = None
    spacing: Spacing = Spacing()
    announce: Callable[[str], None] = print
    prepare: Callable[[], None] = lambda: None
    job: str = ""
    _clock: _Clock = field(default_factory=_Clock)

    @classmethod
    @contextmanager
    def hold(
        cls,
        place: "str | Path | Checkpoints | None",
        every: str,
        announce: Callable[[str], None] = print,
    ) -> Iterator["Checkpoints"]:
        """Yield the checkpoints kept for the folder `place`; they go when the block succeeds.

        Raises
        ------
        InputError
            If another process holds them.
        """
        if place is None or isinstance(place, Checkpoints):
            yield place or NOWHERE
            return
        with unfinished_folder(Path(place)) as held:
            found = cls.beside(held, every, announce, lambda: None)
            try:
                yield found
            except BaseException:
                if found.files():
                    announce(f"note: what is trained is kept in {held}; the same call goes on")
                raise
            found.clear()

    @classmethod
    def beside(
        cls, place: Path, every: str, announce: Callable[[str], None], prepare: Callable[[], None]
    ) -> "Checkpoints":
        """Return those in the folder `place` of what is unfinished, which the caller holds."""
        return cls(place / CHECKPOINTS, Spacing.parse(every), announce, prepare)

    def of(self, job: str) -> "Checkpoints":
        """Return those of a job, or of a part with several jobs, of the same work."""
        return replace(self, job=f"{self.job}-{job}" if self.job else job)

    def files(self) -> list[Path]:
        """Return all that are kept."""
        return [] if self.folder is None else sorted(self.folder.glob(f"*{_ENDING}"))

    def clear(self) -> None:
        """Remove all that are kept."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def records(self) -> Iterator[tuple[str, Checkpoint]]:
        """Yield all that are kept, each after the name of its job; raises InputError as `load`."""
        for path in self.files():
            yield path.name.split(".")[0], CHECKPOINT.load(path)

    def tell(self, notes: Iterable[str]) -> None:
        """Announce each note once, however many jobs have it."""
        for note in notes:
            if note not in self._clock.told:
                self._clock.told.add(note)
                self.announce(f"note: {note}")

    @property
    def on(self) -> bool:
        """Whether anything is kept by now."""
        wanted = self.folder is not None and (self.spacing.epochs or self.spacing.seconds)
        return bool(wanted) and time.monotonic() >= self._clock.begin + self.spacing.delay

    def due(self, log: Log) -> bool:
        """Return whether a checkpoint is to be written now."""
        if not self.on:
            return False
        if self.spacing.epochs:
            return log.batches == 0 and log.epoch > 0 and log.epoch % self.spacing.epochs == 0
        return time.monotonic() >= self._clock.last + self.spacing.seconds

    def save(self, record: Checkpoint, name: str) -> bool:
        """Write a record, whole or not at all; a full disk does not end the training."""
        assert self.folder is not None
        self._clock.last = time.monotonic()
        try:
            self.prepare()
            CHECKPOINT.save(record, self.folder / name)
        except OSError as error:
            where = f"{error.filename or self.folder}: {error.strerror or error}"
            self.announce(f"note: {where}: no checkpoint written; the training goes on")
            return False
        return True


NOWHERE = Checkpoints()


def checkpoints_of(out: Path) -> Checkpoints:
    """Return what is kept for the folder `out`, to be looked at."""
    return Checkpoints(unfinished_place(out) / CHECKPOINTS)


class Keeper:
    """The checkpoints of one job: what was asked for, and the arrays that it is given, by name."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        asked: Asked,
        arrays: Mapping[str, Split | Iterable[NDArray[Any]]],
    ) -> None:
        self.seconds = 0.0  # that the job took before it was resumed
        self._checkpoints, self._asked, self._arrays = checkpoints, asked, arrays
        self._begin, self._saved = time.monotonic(), 0
        self._held = HeldSignals()

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {name: _digest(value) for name, value in self._arrays.items()}

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
            self._saved = len(files) and _number(files[-1])
            return self._take_up(self._checked(record, path, models), path, stack)
        return None

    def _take_up(self, record: Checkpoint, path: Path, stack: Engine) -> Log:
        before = record.provenance.get("engine")
        if before != type(stack).__name__:
            raise InputError(
                f"{path}: trained by {before}, and here trains {type(stack).__name__}; expected "
                "the same engine"
            )
        try:
            if record.log is None:
                raise InputError("it has no log")
            _check_state(record.state, stack.state())
            check_arrays(record.log, M=len(range(*record.models)))
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
        if not self._checkpoints.on and not self._checkpoints.spacing.delay:
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
        record = replace(self._record(models, stack), state=stack.state(), log=log)
        name = f"{self._stem(models)}.{self._saved:06d}{_ENDING}"
        if self._checkpoints.save(record, name):
            for path in self._files(models)[:-_KEPT]:
                path.unlink()

    def finish(self, models: range, stack: Engine, trained: Trained) -> None:
        """Keep what is left of a stack in place of its checkpoints."""
        if not self._checkpoints.on:
            return
        record = replace(self._record(models, stack), trained=trained)
        if self._checkpoints.save(record, f"{self._stem(models)}{_ENDING}"):
            for path in self._files(models):
                path.unlink()

    def _record(self, models: range, stack: Engine) -> Checkpoint:
        seconds = self.seconds + time.monotonic() - self._begin
        bounds = (models.start, models.stop)
        return Checkpoint(self._asked, self._digests, self._provenance(stack), bounds, seconds)

    def _provenance(self, stack: Engine) -> dict[str, Any]:
        return self._here | {"engine": type(stack).__name__}

    @cached_property
    def _here(self) -> dict[str, Any]:
        return provenance()

    def _stem(self, models: range) -> str:
        return f"{self._checkpoints.job or 'training'}.{models.start}"

    def _path(self, models: range) -> Path | None:
        folder = self._checkpoints.folder
        return None if folder is None else folder / f"{self._stem(models)}{_ENDING}"

    def _files(self, models: range) -> list[Path]:
        """Return the checkpoints of a stack, the last one last."""
        stem = self._stem(models) + "."
        every = [path for path in self._checkpoints.files() if path.name.startswith(stem)]
        return sorted((path for path in every if path.name.count(".") == 3), key=_number)


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


def _words(settings: tuple[Hyperparameters, ...] | None) -> str:
    return "a path of λ" if settings is None else shown("; ".join(map(str, settings)))
