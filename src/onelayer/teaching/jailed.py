"""A process that `jail` has locked up: its pipes, its limits, and its end."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onelayer.errors import InputError, printable
from onelayer.teaching.wire import LENGTH, WireError, decode

Status = Literal["answered", "raised", "ended", "timeout", "flooded", "damaged"]
_START = 60.0  # seconds until Python and NumPy are loaded, on a machine that is busy
_CHUNK = 2**16
_HERE = Path(__file__).resolve().parent
_JAIL = _HERE / "jail.py"
_INSIDE = (  # all of onelayer that code sees
    "__init__.py",
    "methods_as_functions.py",
    "spellings.py",
    "teaching/__init__.py",
    "teaching/worker.py",
    "teaching/loading.py",
    "teaching/wire.py",
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What code may take: seconds of a call (`wall`), of all (`total`), `cpu`; bytes, processes."""

    wall: float = 10.0
    total: float = 120.0
    cpu: int = 60
    memory: int = 4 * 2**30
    processes: int = 16
    file_size: int = 2**24
    output: int = 2**20
    answer: int = 2**26

    def of_system(self) -> dict[str, int]:
        """Return them by the names of the module `resource`."""
        return {
            "RLIMIT_CPU": self.cpu,
            "RLIMIT_AS": self.memory,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_FSIZE": self.file_size,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0,
        }


class NoAnswerError(Exception):
    """A process from which no answer will come."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class JailedProcess:
    """One process in a jail, its pipes and its folders."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        if sys.platform == "win32":
            raise InputError("the sandbox needs Linux or macOS; on Windows, WSL has the first")
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        self.limits = limits
        self.output, self.n_output = b"", 0
        self.box = Path(tempfile.mkdtemp(prefix="onelayer-")).resolve()
        code = _copy(folder, self.box)
        pipes = [os.pipe() for _ in range(4)]
        (requests, self.requests), (self.replies, reply), (self.printed, printed), life = pipes
        self.life = life[1]
        plan = _plan(self.box, code, limits) | {"reply": reply, "life": life[0]}
        plan["command"] += [str(code), str(reply)]
        self.jail = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_JAIL), json.dumps(plan)],
            stdin=requests,
            stdout=printed,
            stderr=printed,
            pass_fds=(reply, life[0]),
            start_new_session=True,
            env={},
            cwd=self.box,
        )
        for handle in (requests, reply, printed, life[0]):
            os.close(handle)
        for handle in (self.requests, self.replies, self.printed):
            os.set_blocking(handle, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.replies, selectors.EVENT_READ)
        self.selector.register(self.printed, selectors.EVENT_READ)
        self.lacks = self._start()

    def _start(self) -> list[str]:
        try:
            match self.ask(b"", _START):
                case {"status": "ready", "lacks": list(lacks)}:
                    return lacks
                case _:
                    raise NoAnswerError("damaged", "it gave no sign")
        except NoAnswerError as failed:
            said = printable(" ".join(self.take_output().split()))[-300:]
            self.end()
            raise InputError(f"the sandbox did not start: {said or failed.message}") from failed

    def ask(self, request: bytes, seconds: float) -> Any:
        """Send a request, return the value of the next frame; without one raise NoAnswerError."""
        deadline = time.monotonic() + seconds
        waiting, came = memoryview(request), bytearray()
        if waiting:
            self.selector.register(self.requests, selectors.EVENT_WRITE)
        while not _is_whole(came, self.limits.answer):
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswerError("timeout", f"no answer within {seconds:g} seconds")
            for key, _ in self.selector.select(left):
                if key.fd == self.requests:
                    waiting = self._write(waiting)
                elif key.fd == self.printed:
                    self._take_printed()
                else:
                    self._take_reply(came)
        if waiting:
            raise NoAnswerError("damaged", "the code answered before it was asked")
        try:
            return decode(bytes(came[LENGTH:]))
        except WireError as error:
            raise NoAnswerError("damaged", "the code wrote into the pipe of its answers") from error

    def _write(self, waiting: memoryview) -> memoryview:
        try:
            waiting = waiting[os.write(self.requests, waiting[:_CHUNK]) :]
        except BrokenPipeError as error:
            raise self._ended() from error
        except BlockingIOError:
            return waiting
        if not waiting:
            self.selector.unregister(self.requests)
        return waiting

    def _take_reply(self, came: bytearray) -> None:
        """Take what is there, but no byte beyond the frame."""
        missing = LENGTH - len(came)
        if missing <= 0:
            missing = LENGTH + int.from_bytes(came[:LENGTH], "little") - len(came)
        found = os.read(self.replies, min(missing, 16 * _CHUNK))
        if not found:
            raise self._ended()
        came += found

    def _take_printed(self) -> None:
        found = os.read(self.printed, _CHUNK)
        if not found:
            self.selector.unregister(self.printed)
        self.n_output += len(found)
        self.output += found[: self.limits.output - len(self.output)]
        if self.n_output > self.limits.output:
            raise NoAnswerError(
                "flooded", f"the code printed more than {self.limits.output:,} bytes"
            )

    def _ended(self) -> NoAnswerError:
        """Return why the process is no more."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.jail.wait(timeout=1)
        status = self.jail.returncode
        return NoAnswerError("ended", f"the code ended its process{_told(status)}")

    def take_output(self) -> str:
        """Return what was printed since the last time."""
        with contextlib.suppress(BlockingIOError, KeyError, NoAnswerError):
            while True:
                self._take_printed()
        text = self.output.decode(errors="replace")
        self.output, self.n_output = b"", 0
        return text

    def end(self) -> None:
        """End the process and all that it has started, and remove its folders."""
        os.close(self.life)
        try:
            self.jail.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.jail.kill()
            self.jail.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.jail.pid, 9)
        self.selector.close()
        for handle in (self.requests, self.replies, self.printed):
            os.close(handle)
        _remove(self.box)


def _remove(box: Path) -> None:
    """Remove a folder, whatever code has made in it."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(box, ignore_errors=True)
    if box.exists():  # folders that are locked, or too deep for Python
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, str(box)], stderr=subprocess.DEVNULL, check=False)


def _is_whole(came: bytearray, limit: int) -> bool:
    """Whether a frame has come whole; raise NoAnswerError for one that will be too long."""
    if len(came) < LENGTH:
        return False
    length = int.from_bytes(came[:LENGTH], "little")
    if length > limit:
        raise NoAnswerError("damaged", f"an answer of {length:,} bytes; expected at most {limit:,}")
    return len(came) == LENGTH + length


def _copy(folder: Path, box: Path) -> Path:
    """Return a copy of the folder that any user can read; its links stay links."""
    copy = box / "code"
    box.chmod(0o755)
    try:
        shutil.copytree(folder, copy, symlinks=True)
    except OSError:
        shutil.rmtree(box, ignore_errors=True)
        raise
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def _plan(box: Path, code: Path, limits: Limits) -> dict[str, Any]:
    """Return what the jail is to do, with two empty folders in `box`; see jail.main."""
    root, scratch = box / "root", box / "scratch"
    root.mkdir()
    scratch.mkdir()
    python = {sys.prefix, sys.base_prefix, *site.getsitepackages()}
    package = _HERE.parent
    own = [package / name for name in _INSIDE]
    return {
        "root": str(root),
        "scratch": str(scratch),
        "shown": [*python, str(code), *map(str, own)],
        "hidden": str(package),
        "limits": limits.of_system(),
        "command": [sys.executable, "-I", "-B", "-m", "onelayer.teaching.worker"],
        "environment": {
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "MPLBACKEND": "agg",
            **dict.fromkeys(_THREADS, "1"),
        },
    }


def _told(status: int | None) -> str:
    """Return how a process ended, for the end of a sentence."""
    if not status:
        return "" if status is None else " with status 0"
    if status <= 128:
        return f" with status {status}"
    with contextlib.suppress(ValueError):
        return f" by the signal {signal.Signals(status - 128).name}"
    return f" with status {status}"
