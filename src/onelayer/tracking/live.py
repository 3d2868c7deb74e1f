"""A training in a browser while it runs: the explorable page, updated by a server in a thread."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.evaluation.selection import choose
from onelayer.report.explore import as_json, render_page, run_facts
from onelayer.training.engine import Engine
from onelayer.training.epochs import Parameters
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.job import Job
from onelayer.training.log import Curves
from onelayer.training.options import TrainingOptions
from onelayer.training.run import CURVES, History, Run

if TYPE_CHECKING:
    from onelayer.tracking.live_server import News

OFTEN = 0.25  # seconds between two copies of the curves, at least
WEIGHTS = 1_500_000  # bytes of the weights that are sent
_LARGEST = 100_000_000  # bytes; the weights of a larger stack are not copied
_RARELY, _SHARE = 1.0, 20  # least seconds between two copies of weights, and multiple of a copy


def check_live() -> None:
    """Raise InputError where the packages of the server are missing."""
    try:
        import onelayer.tracking.live_server  # noqa: F401
    except ImportError as error:
        raise InputError("live: pip install 'onelayer[live]' to watch a training") from error


@contextmanager
def open_live(
    title: str,
    data: Dataset,
    settings: Sequence[Hyperparameters],
    options: TrainingOptions,
    tell: Callable[[str], None],
) -> Iterator["Live"]:
    """Yield the callbacks of a training, which a page on 127.0.0.1 shows; `tell` gets its address.

    After the block the page says how it ended. Its button ends this process as Ctrl-C does.
    """
    from onelayer.tracking.live_server import LiveServer

    live = Live(title, data, settings, options)
    server = LiveServer(live.page, live.news, _interrupt)
    status = "The training was stopped."
    try:
        tell(server.url)
        yield live
        status = "The training ended."
    except Exception:
        status = "The training ended in an error."
        raise
    finally:
        live.end(status)
        server.close()


def _interrupt() -> None:
    """End this process as Ctrl-C does, also where that is ignored."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.raise_signal(signal.SIGTERM if ignored else signal.SIGINT)


class _State(NamedTuple):
    """The state that the page shows. It is replaced, never changed, so a reader sees one moment."""

    number: int
    status: str
    over: bool
    run: Run
    weighted: NDArray[np.bool_]


class Live:
    """The state of a training for its page: the training writes it, the server's thread reads it.

    `on_stack` and `on_epoch` are callbacks of train. They copy rarely and never wait.
    """

    def __init__(
        self,
        title: str,
        data: Dataset,
        settings: Sequence[Hyperparameters],
        options: TrainingOptions,
    ) -> None:
        self._title, self._data, self._options = title, data, options
        self._settings = tuple(settings)
        M, K, D = len(settings), data.n_classes, data.n_features
        self._scaling = Scaling(options.scaling, np.zeros(D), np.ones(D))
        # No weights are known yet; a broadcast zero takes no memory.
        zero = np.float32(0)
        self._parameters: Parameters = (
            np.broadcast_to(zero, (M, K, D)),
            np.zeros((M, K), zero.dtype),
        )
        self._weighted = np.zeros(M, bool)
        self._parts: dict[int, tuple[range, Curves]] = {}
        self._stack: Engine | None = None
        self._began = self._due = self._weights_due = -math.inf
        self._state = self._copy(0, "The training has not begun: checks and folds come first.")
        self._told: tuple[int, str] = (-1, "")

    def on_stack(self, job: Job, models: range, stack: Engine) -> None:
        """Keep the stack whose weights are shown, unless they are too many to copy."""
        if job.scaling is not None:
            self._scaling = job.scaling
        small = self._parameters[0].size * self._parameters[0].itemsize <= _LARGEST
        self._stack = stack if small else None

    def on_epoch(self, epoch: int, curves: Curves, models: range) -> None:
        """Copy the curves, and sometimes the weights, after an epoch of a stack."""
        now = time.monotonic()
        if not self._parts:
            self._began = now
        self._parts[models.start] = models, curves
        if now >= self._due or epoch == self._options.epochs:
            if now >= self._weights_due or epoch == self._options.epochs:
                self._take_weights(models)
            self._post(self._describe(epoch, models, now - self._began))
            self._due = time.monotonic() + OFTEN

    def end(self, status: str) -> None:
        """Say how the training ended."""
        self._stack = None
        self._post(status, over=True)

    def page(self) -> str:
        """Return the page as it is now."""
        state = self._state
        words = f"{len(self._settings):,} settings on {self._data.name}"
        return render_page(
            _facts_of(state), title=self._title, notice=self._data.notice, summary=words, live=True
        )

    def news(self) -> "News":
        """Return the latest state as JSON, made once for all readers."""
        from onelayer.tracking.live_server import News

        state = self._state
        if self._told[0] != state.number:
            facts = {"status": state.status, "over": state.over, "facts": _facts_of(state)}
            self._told = state.number, as_json(facts)
        return News(*self._told, state.over)

    def _post(self, status: str, *, over: bool = False) -> None:
        self._state = self._copy(self._state.number + 1, status, over=over)

    def _take_weights(self, models: range) -> None:
        """Copy the weights of the stack that trains."""
        if self._stack is None:
            return
        began, some = time.monotonic(), slice(models.start, models.stop)
        weights, biases = (np.array(old, np.float32) for old in self._parameters)
        with np.errstate(over="ignore"):  # they may diverge
            weights[some], biases[some] = self._stack.parameters()
        self._parameters = weights, biases
        self._weighted = self._weighted.copy()
        self._weighted[some] = True
        now = time.monotonic()
        self._weights_due = now + max(_RARELY, _SHARE * (now - began))

    def _describe(self, epoch: int, models: range, seconds: float) -> str:
        """Return the progress of the training, and the time left at the mean speed."""
        M, E = len(self._settings), self._options.epochs
        done = (models.start + len(models) * epoch / max(E, 1)) / M
        if self._options.solver == "exact":
            return f"{models.stop} of {M} settings are solved."
        if done >= 1 or E == 0:
            return "The settings are trained; repeats and the evaluation follow."
        part = "" if len(models) == M else f" of settings {models.start + 1} to {models.stop}"
        left = f", about {_duration(seconds * (1 - done) / done)} left" if done > 0 else ""
        return f"Epoch {epoch} of {E}{part}{left}"

    def _copy(self, number: int, status: str, *, over: bool = False) -> _State:
        """Return the current state, with a Run of the curves so far."""
        M = len(self._settings)
        every = [curves for _, curves in self._parts.values() if curves]
        C = next((len(curve[0]) for curve in every[0].values()), 1) if every else 1
        joined = {name: np.full((M, C), np.nan) for name in CURVES}
        for models, curves in self._parts.values():
            for name in joined.keys() & curves.keys():
                joined[name][models.start : models.stop] = curves[name]
        known = np.isfinite(np.concatenate(list(joined.values()))).any(axis=0)
        if not known.any():
            known[0] = True
        # Each setting counts with its last measurement.
        kept = np.flatnonzero(known)[-1] * np.ones(M, np.intp)
        for model, finite in enumerate(np.isfinite(joined["train_loss"])):
            if finite.any():
                kept[model] = np.flatnonzero(finite)[-1]
        run = Run(
            settings=self._settings,
            training={
                "dataset": self._data.name,
                "full_scale": self._data.full_scale,
                "validation_samples": len(self._data.validation or ()),
                **vars(self._options),
            },
            weights=self._parameters[0],
            biases=self._parameters[1],
            history=History(
                np.flatnonzero(known), **{name: curve[:, known] for name, curve in joined.items()}
            ),
            kept=kept,
            stopped=("",) * M,
            ended=("",) * M,
            scaling=self._scaling,
            class_names=self._data.class_names,
            image_shape=self._data.image_shape,
            columns=self._data.columns,
            provenance={},
        )
        return _State(number, status, over, run, self._weighted)


def _facts_of(state: _State) -> dict[str, Any]:
    run, unknown = state.run, np.full(len(state.run.settings), np.nan)
    with np.errstate(over="ignore"):  # weights that diverge, as float16
        return run_facts(run, choose(run), unknown, room=WEIGHTS, weighted=state.weighted)


def _duration(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two.

    Examples
    --------
    >>> _duration(200)
    '3 min'
    """
    units = [(3600, "h"), (60, "min"), (1, "s")]
    size, unit = next(each for each in units if seconds >= 2 * each[0] or each[0] == 1)
    return f"{seconds / size:.0f} {unit}"
