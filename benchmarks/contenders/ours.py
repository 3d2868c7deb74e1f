"""The package itself, by its public `train`: set-up and first measurement are not timed.

`train` runs in a thread of its own and is held at the end of every epoch, so what is timed is the
package's own loop and nothing is written here a second time. It ends when its epoch is forgotten:
OpenMP keeps threads for every thread that ever used them, and where they are more than the cores
waiting threads go to sleep at once, which no user who trains once would see.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any
from weakref import finalize

import onelayer
from benchmarks.work import CURVES, Epoch, Outcome, Problem

_ENOUGH = 1000  # epochs; the process is ended long before


def prepare(problem: Problem) -> Epoch:
    """Return the epoch of the engine that `train` takes by itself."""
    return _hold(problem)


def prepare_numpy(problem: Problem) -> Epoch:
    """Return the epoch of the engine in NumPy."""
    from onelayer.training.numpy_engine import NumpyEngine

    return _hold(problem, engine=NumpyEngine)


def prepare_torch(problem: Problem) -> Epoch:
    """Return the epoch of the engine on PyTorch, on the CPU."""
    return _hold(problem, engine="torch", device="cpu")


def _hold(problem: Problem, **options: Any) -> Epoch:
    """Start `train` and hold it before its first epoch."""
    go: SimpleQueue[bool] = SimpleQueue()
    done: SimpleQueue[Callable[[], Outcome]] = SimpleQueue()

    def on_epoch(epoch: int, curves: dict[str, Any], *_: object) -> None:
        done.put(lambda: {name: curves[name][:, epoch].tolist() for name in CURVES})
        if not go.get():
            raise SystemExit

    def run() -> None:
        try:
            onelayer.train(
                problem.data,
                problem.settings,
                batch_size=problem.batch_size,
                epochs=_ENOUGH,
                order="file",
                seed=problem.seed,
                on_epoch=on_epoch,
                **options,
            )
        except BaseException as error:
            done.put(_raiser(error))

    def epoch() -> Outcome:
        go.put(True)
        return done.get()()

    thread = Thread(target=run, daemon=True)
    thread.start()
    done.get()()
    finalize(epoch, _end, go, thread)
    return epoch


def _end(go: SimpleQueue[bool], thread: Thread) -> None:
    go.put(False)
    thread.join()


def _raiser(error: BaseException) -> Callable[[], Outcome]:
    def fail() -> Outcome:
        raise error

    return fail
