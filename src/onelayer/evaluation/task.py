"""A request for an output folder, with the call that makes it, to make it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onelayer.records import Kind
from onelayer.training.checkpoint import Asked

TASK_FILE = "asked.json"


@dataclass(frozen=True)
class Task:
    """The request for an output folder, and the call that makes it.

    `call` holds the arguments of the `command` "reproduce" or "probe" as plain values. Probes of
    data in memory have neither, as no other process has these data.
    """

    asked: Asked
    command: Literal["", "reproduce", "probe"] = ""
    call: Mapping[str, Any] = field(default_factory=dict)


TASK = Kind("request", Task, format=1, sealed=True)
