"""Functions of code in the sandbox, to be called here as if they were defined here.

Whoever asks them questions keeps the questions and the answers in this process:

    with Sandbox(folder) as sandbox:
        functions, failed = remote_functions(sandbox, "code.py")
        dW, db = functions["ComputeGradients"](X, Y, P, W, 0.1)
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onelayer.errors import InputError, printable
from onelayer.teaching import loading
from onelayer.teaching.sandbox import LONGEST_MESSAGE, Sandbox

_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)


class NotAnsweredError(InputError):
    """A function of the code in the sandbox gave no value; the message says why in one line."""


def remote_functions(sandbox: Sandbox, file: str) -> tuple[dict[str, Callable[..., Any]], str]:
    """Return the functions that a .py file or notebook defines, by name, with their signatures.

    They raise NotAnsweredError where the code fails. What they write to their arguments is written
    to those here. Also returned is the first error of the file's own lines, empty if there is none.

    Raises
    ------
    InputError
        If the file ends the process, or takes longer than a call may take.
    """
    outcome = sandbox.call(f"{loading.__name__}:describe", file)
    match outcome.value:
        case {"functions": dict(functions), "failed": str(failed), "torch": bool(torch)}:
            failed = printable(failed[:LONGEST_MESSAGE])
        case _:
            raise InputError(f"{file}: {outcome.message or 'no Python that can be loaded'}")
    if torch:
        with contextlib.suppress(ImportError):  # so that tensors can be given
            importlib.import_module("torch")
    named = {name: each for name, each in functions.items() if _is_name(name)}
    made = {name: _remote(sandbox, file, name, each) for name, each in named.items()}
    return {name: function for name, function in made.items() if function}, failed


def _is_name(name: str) -> bool:
    """Return whether this is the name of a function, or of a class and its method."""
    parts = name.split(".")
    return len(parts) <= 2 and all(part.isidentifier() for part in parts)


def _remote(sandbox: Sandbox, file: str, name: str, parameters: Any) -> Callable[..., Any] | None:
    """Return the function of this name; None if its parameters are none that Python knows."""
    lost: list[str] = []  # why its process is no more: it is not asked again

    def function(*arguments: Any, **keywords: Any) -> Any:
        if lost:
            raise NotAnsweredError(lost[0])
        outcome = sandbox.call(f"{file}:{name}", *arguments, **keywords)
        if outcome.status not in ("answered", "raised"):
            lost.append(outcome.message)
        if outcome.status != "answered":
            raise NotAnsweredError(outcome.message)
        if outcome.changed:
            _write([list(arguments), keywords], outcome.changed)
        return outcome.value

    try:
        signature = inspect.Signature([_parameter(*each) for each in parameters])
    except (TypeError, ValueError, LookupError):
        return None
    function.__name__ = name
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _parameter(name: str, kind: int, default: list[Any]) -> inspect.Parameter:
    given = default[0] if default else inspect.Parameter.empty
    return inspect.Parameter(name, _KINDS[kind], default=given)


def _write(ours: Any, theirs: Any) -> None:
    """Write their arrays into those of ours that lie in the same places."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in ours.keys() & theirs.keys():
            _write(ours[name], theirs[name])
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        for mine, other in zip(ours, theirs, strict=False):
            _write(mine, other)
    elif isinstance(ours, np.ndarray) and _form(theirs) == _form(ours):
        ours[...] = theirs


def _form(value: Any) -> tuple[Any, Any]:
    return getattr(value, "dtype", None), getattr(value, "shape", None)
