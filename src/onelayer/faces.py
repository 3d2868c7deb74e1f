"""Faces of an object that a later stage makes: its class knows no more of them than their names."""

import inspect
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def face(home: str) -> Callable[[F], F]:
    r"""Let a method return what the function `home`, a "module:name" of onelayer, makes of it.

    The method holds the words, the arguments and their defaults, and has no body. The module is
    loaded by the first call, so what trains neither draws nor loads what does.

    Examples
    --------
    >>> class Name(str):
    ...     @face("errors:visible")
    ...     def seen(self):
    ...         "Return the name with escapes for what is hidden."
    >>> Name("a" + chr(0x202E)).seen()
    'a\\u202e'
    """
    module, name = home.split(":")

    def bind(method: F) -> F:
        signature = inspect.signature(method)

        @wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            function = getattr(import_module(f"onelayer.{module}"), name)
            return function(*bound.args, **bound.kwargs)

        return call  # type: ignore[return-value]

    return bind
