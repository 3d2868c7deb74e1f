"""Faces of an object (plots, tables, HTML) that a later stage makes; its class only names them."""

import inspect
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def face(home: str) -> Callable[[F], F]:
    r"""Let a method call the function `home`, a "module:name" of onelayer, with its object.

    The method has a docstring, arguments and defaults, but no body. The first call loads the
    module, so that training does not load the code that draws.

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
