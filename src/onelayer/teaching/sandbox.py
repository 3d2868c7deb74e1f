"""Somebody else's code, called in a process of its own: arrays go in, arrays come out.

The process is one that `jail` has locked up. It holds no answers and no secret; what it sends back
is data of a known size, never a verdict, and is judged here. It is asked one question at a time,
so that code which does not answer one loses that one.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from onelayer.errors import printable
from onelayer.teaching.jailed import JailedProcess, Limits, NoAnswerError, Status
from onelayer.teaching.wire import encode

LONGEST_MESSAGE = 500  # characters of what code says of itself


@dataclass(frozen=True)
class Outcome:
    """What came of a call: what the function returned, or in one line why it returned nothing.

    `changed` holds the arguments and keywords as they are after the call, where the function has
    written to them; `output` is what was printed.
    """

    status: Status
    value: Any = None
    message: str = ""
    changed: Any = None
    output: str = ""
    seconds: float = 0.0


@dataclass
class Sandbox:
    """Calls of the code in `folder`, of which the process sees a copy; closed at the block's end.

    `lacks` says in words what could not be locked, once a process has been started.
    """

    folder: Path
    limits: Limits = field(default_factory=Limits)
    lacks: list[str] = field(default_factory=list, init=False)
    _process: JailedProcess | None = field(default=None, init=False)
    _spent: float = field(default=0.0, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, entry: str, *arguments: Any, **keywords: Any) -> Outcome:
        """Return what `entry` gives: "file.py:function" or "package.module:function".

        Arguments are numbers, texts, arrays, and lists, tuples and dicts of them. The code keeps
        its state from call to call; after one that did not return, it starts anew.

        Raises
        ------
        InputError
            If no process can be started here.
        """
        seconds = min(self.limits.wall, self.limits.total - self._spent)
        if seconds <= 0:
            return Outcome("timeout", message=f"all calls took {self.limits.total:g} seconds")
        request = encode({"entry": entry, "arguments": arguments, "keywords": keywords})
        if self._process is None:
            self._process = JailedProcess(self.folder, self.limits)
            self.lacks = self._process.lacks
        begin = time.monotonic()
        try:
            reply = _checked(self._process.ask(request, seconds))
        except NoAnswerError as failed:
            outcome = Outcome(failed.status, message=failed.message)
        else:
            outcome = Outcome(**reply)
        took, output = time.monotonic() - begin, self._process.take_output()
        self._spent += took
        if outcome.status not in ("answered", "raised"):
            self._end()
        return replace(outcome, output=output, seconds=took)

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None


def run_in_sandbox(
    folder: Path, entry: str, *arguments: Any, limits: Limits | None = None, **keywords: Any
) -> Outcome:
    """Return what one call of the code in `folder` gives, in a process for it alone."""
    with Sandbox(folder, limits or Limits()) as sandbox:
        return sandbox.call(entry, *arguments, **keywords)


def _checked(reply: Any) -> dict[str, Any]:
    """Return the status and the value or message of a reply, whoever wrote it."""
    match reply:
        case {"status": str("answered"), "value": value, "changed": changed, **rest} if not rest:
            return {"status": "answered", "value": value, "changed": changed}
        case {"status": str("raised"), "message": str(message), **rest} if not rest:
            return {"status": "raised", "message": printable(message[:LONGEST_MESSAGE])}
    raise NoAnswerError("damaged", "the code wrote into the pipe of its answers")
