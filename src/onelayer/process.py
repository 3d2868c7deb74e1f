"""What a command owes to those who started it: its streams, its signals and its exit status.

Writing to standard output or standard error never ends the work: a reader that has gone is no
error, and a full disk is told of once the results are stored. A signal ends the work at once and
leaves the cleaning alone, which a second one does not disturb.
"""

import contextlib
import io
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

_FAILED = 2
GRACE = 6.0  # seconds in which an abandoned process may clean up
_AGAIN = 0.3  # seconds until a signal is raised anew that foreign code has swallowed
_COUNT = r" *0*[1-9]\d{0,8} *"
_PLACED = " *(close|spread|master|primary) *"
# OpenMP's settings that are kept, in these forms: others make it complain, use all cores, or hang.
_OPENMP = {
    "OMP_NUM_THREADS": f"{_COUNT}(,{_COUNT})*",
    "OMP_THREAD_LIMIT": _COUNT,
    "OMP_DYNAMIC": "true|false",
    "OMP_PROC_BIND": f"true|false|{_PLACED}(,{_PLACED})*",
    "OMP_PLACES": "threads|cores|sockets",
    "OMP_WAIT_POLICY": "active|passive",
}


class Stopped(BaseException):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name, such as SIGTERM."""
        return signal.Signals(self.number).name


_asked: list[int] = []  # the number of the signal that came first
_abandoned = threading.Event()


def run_process(work: Callable[[], int]) -> int:
    """Return the exit status of `work`; after the signal n, told in one line, it is 128 + n."""
    try:
        _catch_signals()
        _open_streams()
        _set_environment()
        status = work()
        _ignore_signals()
        check_signals()
    except (Stopped, KeyboardInterrupt) as stopped:
        _ignore_signals()
        number = signal.Signals(getattr(stopped, "number", signal.SIGINT))
        if not _abandoned.is_set():
            print(f"onelayer: interrupted by {number.name}", file=sys.stderr)
        status = _FAILED if _abandoned.is_set() else 128 + number
    return _flush() or status


def check_signals() -> None:
    """Raise Stopped if a signal has come: an import that it breaks off fails with other errors."""
    if _asked:
        raise Stopped(_asked[0])


class HeldSignals:
    """The first signal that is held back, if one has come."""

    def __init__(self) -> None:
        self.came: int | None = None

    def deliver(self) -> None:
        """Let the signal take effect now, as if it came only now."""
        number, self.came = self.came, None
        if number is not None:
            signal.raise_signal(number)


@contextmanager
def held_signals() -> Iterator[HeldSignals]:
    """Hold the first Ctrl-C or SIGTERM back until the end of the block, at the latest.

    A second one takes effect at once. Outside the main thread nothing is held.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    handlers = {number: signal.getsignal(number) for number in _signals()}
    handlers = {n: own for n, own in handlers.items() if own not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, own in handlers.items():
            signal.signal(number, own)

    def hold(number: int, _: FrameType | None) -> None:
        held.came = number
        restore()

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield held
    finally:
        restore()
        held.deliver()


def silence() -> None:
    """Let nothing be seen of what this process writes from now on."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def abandon(why: str) -> None:
    """End this process from a thread of its own: as by SIGTERM, and after GRACE seconds at once.

    A command then has the exit status 2; `why` is told, if there is something to tell.
    """
    _abandoned.set()
    if why:
        os.write(2, f"onelayer: {why}\n".encode())
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(_FAILED)


def _signals() -> list[int]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _catch_signals() -> None:
    for number in _signals():
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks for
            signal.signal(number, _stop)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _stop)  # of the timer that _stop sets
    # Stopped in a place from which nothing can be raised, or inside a C module's own import.
    sys.unraisablehook = lambda told: _show(told, told.exc_value, sys.__unraisablehook__)
    sys.excepthook = lambda *told: _show(told, told[1], lambda told: sys.__excepthook__(*told))


def _show(told: Any, error: BaseException | None, show: Callable[[Any], Any]) -> None:
    if not isinstance(error, Stopped):
        show(told)


def _stop(number: int, _: FrameType | None) -> None:
    """Raise Stopped, again and again until it is heard, but not into what cleans up after it."""
    _asked.append(number)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
    if not _is_ending():
        check_signals()


def _is_ending() -> bool:
    """Return whether code runs that handles Stopped, such as the end of a with statement."""
    error = sys.exception()
    while error and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None


def _ignore_signals() -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


class _Output(io.FileIO):
    """A file that takes all that is written to it; `error` is why some of it went nowhere."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # the other end set it to not block
                select.select([], [self], [])
        except BrokenPipeError:  # nobody reads any more
            return memoryview(data).nbytes
        except OSError as error:
            self.error = error
            return memoryview(data).nbytes
        return written


def _open_streams() -> None:
    """Let standard output and error take everything, and show what they cannot by its escape."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # closed: no file may get its number
        pass
    os.close(handle)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _output(sys.stdout, 1)
    sys.stderr = _output(sys.stderr, 2)


def _output(stream: TextIO | None, handle: int) -> TextIO:
    encoding, by_line = "utf-8", False
    if isinstance(stream, io.TextIOWrapper):
        if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            stream.reconfigure(errors="backslashreplace")  # a console of Windows
            return stream
        encoding, by_line = stream.encoding, stream.line_buffering or stream.write_through
    raw = io.BufferedWriter(_Output(handle, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=by_line)


def _flush() -> int:
    """Write what is still in the buffers; return 2, and say why, if output went nowhere."""
    sys.stdout.flush()
    error = getattr(getattr(sys.stdout.buffer, "raw", None), "error", None)
    if error:
        print(f"onelayer: standard output: {error.strerror}", file=sys.stderr)
    sys.stderr.flush()
    return _FAILED if error else 0


def _set_environment() -> None:
    """Take out of the environment what libraries fail on, wait for or complain of."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook sets its own, for all that is started from it
    os.environ["MATPLOTLIBRC"] = os.devnull  # figures have a look of their own
    if os.path.lexists("matplotlibrc"):  # would be read before that one, whatever it holds
        with contextlib.chdir(Path(__file__).parent):
            import matplotlib  # noqa: F401
    # What PyTorch's libraries complain of when a connection breaks is told in one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    import logging

    # Its complaints are of folders and files that only its own programs need.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not re.fullmatch(r"0*[2-9]\d|0*[1-9]\d\d+", os.environ.get("COLUMNS", "")):
        os.environ.pop("COLUMNS", None)  # nothing can be read in fewer than 20
    for name in [name for name in os.environ if name.startswith(("OMP_", "GOMP_", "KMP_"))]:
        form = _OPENMP.get(name)
        if form is None or not re.fullmatch(form, os.environ[name], re.IGNORECASE):
            del os.environ[name]
