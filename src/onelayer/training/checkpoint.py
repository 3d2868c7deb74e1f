"""Checkpoints: the state of a training, kept beside its output, to resume it after a kill.

Every job of a piece of work has a name. Every stack of a job has its own files: the last two of its
checkpoints, or one file with its outcome when it is trained. The same work with the same
checkpoints loads the trained stacks, resumes the one that is not, and ends with the same bits.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from errno import ENOENT
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from onelayer.errors import InputError, shown
from onelayer.plain_values import to_json
from onelayer.records import Kind
from onelayer.storage import unfinished_folder, unfinished_place
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Log, Trained
from onelayer.training.world import world

_MINUTE = 60.0
_NAMED = {"auto": (0, _MINUTE, _MINUTE), "none": (0, 0.0, 0.0)}
CHECKPOINTS = "checkpoints"  # a folder in the folder of the unfinished work
ENDING = ".safetensors"


@dataclass(frozen=True)
class Spacing:
    """The time between checkpoints, in epochs or seconds; the first comes after a `delay`."""

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
        if text in _NAMED:
            return cls(*_NAMED[text])
        found = re.fullmatch(r"([0-9]{1,9})|([0-9]{1,9}(?:\.[0-9]{1,9})?)min", text)
        epochs, minutes = (float(number or 0) for number in found.groups()) if found else (0, 0)
        if not (epochs or minutes):
            raise InputError(
                f"checkpoint is {shown(text)}; expected a number of epochs (5), of minutes (2min), "
                "auto or none"
            )
        return cls(int(epochs), minutes * _MINUTE)


@dataclass(frozen=True)
class Asked:
    """A request: the settings, None where a search finds them, and all options by name."""

    settings: tuple[Hyperparameters, ...] | None
    options: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """Settings and options by name, in words or plain values."""
        return {"settings": "; ".join(map(str, self.settings or ())), **self.options}

    def differences(self, now: "Asked") -> Iterator[str]:
        """Yield one sentence for each difference between this request and `now`."""
        if self.settings != now.settings:
            yield f"the settings were {_words(self.settings)}, not {_words(now.settings)}"
        yield from _differences(self.options, now.options)


def _words(settings: tuple[Hyperparameters, ...] | None) -> str:
    return "a path of λ" if settings is None else shown("; ".join(map(str, settings)))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in {**before, **now}:
        was, new = before.get(name), now.get(name)
        if isinstance(was, Mapping) and isinstance(new, Mapping):
            yield from _differences(was, new)
        elif to_json(was) != to_json(new):  # a tuple comes back as a list
            yield f"{name} was {shown(was)}, not {shown(new)}"


@dataclass(frozen=True)
class Checkpoint:
    """A stack of a job: the state of its engine and its log, or its outcome, `trained`.

    `digests` are those of all arrays of the job, by name; `models` are the first of the stack and
    the one after its last; `seconds` is the time of the job until now.
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
        """The progress of the stack, in words."""
        if self.log is None:
            return "trained"
        more = f", batch {self.log.batches} of the next" if self.log.batches else ""
        return f"epoch {self.log.epoch} of {self.asked.options['epochs']}{more}"


CHECKPOINT = Kind("checkpoint", Checkpoint, format=1, sealed=True)


@dataclass
class _Clock:
    """The start of a piece of work, the time of its last checkpoint, and the notes so far."""

    begin: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Checkpoints:
    """The place and the times of checkpoints of a piece of work; no checkpoints without `folder`.

    `announce` is called if a checkpoint cannot be read or written; `prepare` is called before the
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
        """Yield the checkpoints for the folder `place`; remove them when the block succeeds.

        Raises
        ------
        InputError
            If another process holds them.
        """
        if place is None or isinstance(place, Checkpoints):
            yield place or NOWHERE
            return
        if not world().leads:
            yield cls.shared(unfinished_place(Path(place)), every)
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
        """Return the checkpoints in `place`, a folder of unfinished work that the caller locked."""
        return cls(place / CHECKPOINTS, Spacing.parse(every), announce, prepare)

    @classmethod
    def shared(
        cls, place: Path, every: str, prepare: Callable[[], None] = lambda: None
    ) -> "Checkpoints":
        """Return those in a folder that rank 0 holds, for another rank.

        None are written where that folder is not to be seen, as on another machine's disk.
        """

        def check() -> None:
            if not place.is_dir():
                raise FileNotFoundError(ENOENT, "the folder of rank 0 is not here", str(place))
            prepare()

        return cls.beside(place, every, lambda _: None, check)

    def of(self, job: str) -> "Checkpoints":
        """Return the checkpoints of a job of the same work, or of a part with several jobs."""
        return replace(self, job=f"{self.job}-{job}" if self.job else job)

    def files(self) -> list[Path]:
        """Return the files of all checkpoints."""
        return [] if self.folder is None else sorted(self.folder.glob(f"*{ENDING}"))

    def clear(self) -> None:
        """Remove all checkpoints, or those of this job and its parts."""
        if self.folder is not None and not self.job:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in self.files():
            if path.name.startswith(self.job):
                with suppress(OSError):
                    path.unlink()

    def latest(self) -> tuple[dict[str, Checkpoint], list[str]]:
        """Return the last record of each stack, by job and models, and errors for bad files."""
        found, damaged = dict[str, Checkpoint](), list[str]()
        for path in self.files():  # sorted: the outcome of a trained stack comes last
            try:
                record = CHECKPOINT.load(path)
            except InputError as error:
                damaged.append(str(error))
            else:
                first, end = record.models
                found[f"{path.name.split('.')[0]}, models {first} to {end - 1}"] = record
        return found, damaged

    def tell(self, notes: Iterable[str]) -> None:
        """Announce each note once, even if several jobs have it."""
        for note in notes:
            if note not in self._clock.told:
                self._clock.told.add(note)
                self.announce(f"note: {note}")

    @property
    def wanted(self) -> bool:
        """Whether checkpoints will be written, now or later."""
        return self.folder is not None and (self.spacing.epochs or self.spacing.seconds) > 0

    @property
    def on(self) -> bool:
        """Whether checkpoints are written from now on."""
        return self.wanted and time.monotonic() >= self._clock.begin + self.spacing.delay

    def due(self, log: Log) -> bool:
        """Return whether it is time to write a checkpoint."""
        if not self.on:
            return False
        if self.spacing.epochs:
            return log.batches == 0 and log.epoch > 0 and log.epoch % self.spacing.epochs == 0
        return time.monotonic() >= self._clock.last + self.spacing.seconds

    def save(self, record: Checkpoint, name: str, replaced: Sequence[Path]) -> None:
        """Write a record, whole or not at all, and remove the files that it replaces.

        A full disk does not end the training.
        """
        assert self.folder is not None
        self._clock.last = time.monotonic()
        try:
            self.prepare()
            CHECKPOINT.save(record, self.folder / name)
            for path in replaced:
                path.unlink(missing_ok=True)
        except OSError as error:
            where = f"{error.filename or self.folder}: {error.strerror or error}"
            self.announce(f"note: {where}: no checkpoint written; the training goes on")


NOWHERE = Checkpoints()


def checkpoints_of(out: Path) -> Checkpoints:
    """Return the checkpoints for the folder `out`, for reading."""
    return Checkpoints(unfinished_place(out) / CHECKPOINTS)
