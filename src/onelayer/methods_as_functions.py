"""Methods of somebody else's class as functions of W and b, which its objects hold.

An object is made with the sizes D and K of W, gets W, b and λ in the places of its own, and is kept
for calls with arrays of the same shapes:

    functions_of(Network)["Network.gradients"](X=X, Y=Y, W=W, b=b)
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from onelayer.spellings import quantity_of

_SIZES = {
    "D": "d|n_?in(puts?)?|in(puts?)?|features?|pixels|(in|inputs?|features?)_?(size|dims?|features)"
    "|dims?|dimensions?",
    "K": "k|c|n_?out(puts?)?|out(puts?)?|class(es)?|labels|(out|outputs?)_?(size|dims?|features)",
}
_SLOPE = r"(d|g|grads?|gradients?)_?({0})|({0})_?(grads?|gradients?)"
_SLOPES = (_SLOPE.format("w|weights?"), _SLOPE.format("b|bias"))
_GRADIENTS = "grads?|gradients?|cache"
_NONE = inspect.Parameter.empty
_DEFAULTS = {"lam": 0.1}  # a method may not use it
_DEEPER = r"(w|b|weights?|bias|fc|layer)_?[2-9]"  # of a network with more than one layer


def methods_in(namespace: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Return the methods of the classes that a module defines, as functions of W and b, too."""
    home = namespace.get("__name__", "builtins")
    classes = [each for each in namespace.values() if inspect.isclass(each)]
    own = [each for each in classes if each.__module__ == home]
    return {name: method for each in own for name, method in functions_of(each).items()}


def functions_of(cls: type) -> dict[str, Callable[..., Any]]:
    """Return the methods of a class as functions, by names such as "Network.gradients".

    There are none if no object can be made, or if it is no network of one layer.
    """
    try:
        holds = {quantity for quantity, *_ in _places(_made(cls, np.zeros((2, 3)), np.zeros(2)))}
    except Exception:  # any error of the class
        return {}
    if "W" not in holds:
        return {}
    return {
        f"{cls.__name__}.{name}": _function_of(cls, name, holds)
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def _made(cls: type, W: Any, b: Any = None) -> Any:
    """Return an object with the sizes of W (K, D) or (D, K) and b of K entries."""
    size, K = math.prod(_shape(W)), math.prod(_shape(b)) if b is not None else min(_shape(W))
    known = {"K": K, "D": size // K, "W": W, "b": b}
    parameters = list(inspect.signature(cls).parameters.values())
    told = {each.name: _meaning(each.name) for each in parameters}
    needed = [each.name for each in parameters if each.default is each.empty and each.kind < 2]
    if len(needed) == 2 and not any(map(told.get, needed)):
        told |= dict(zip(needed, "DK", strict=True))
    given = {name: known[quantity] for name, quantity in told.items() if quantity in known}
    given |= {name: 0.1 for name in needed if told[name] in ("l2", "rate")}
    return cls(**given)


def _meaning(name: str) -> str:
    plain = re.sub("^(n|num|nr|number_of)_", "", name.strip("_").lower())
    sizes = (size for size, pattern in _SIZES.items() if re.fullmatch(pattern, plain))
    return next(sizes, "") or quantity_of(name)


def _places(made: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield W, b and λ of an object: which it is, the container that holds it, and its key."""
    if hasattr(made, "named_parameters"):  # a module of PyTorch
        parameters = [parameter for _, parameter in made.named_parameters()]
        if [each.ndim for each in parameters] in ([2], [2, 1]):
            yield from zip("Wb", [parameters] * 2, range(len(parameters)), strict=False)
        return
    places = list(_held(vars(made), ""))
    known = [(quantity_of(name), *place) for name, *place in places]
    chosen = [each for each in known if each[0] in ("W", "b", "l2")]
    deeper = any(re.fullmatch(_DEEPER, name) for name, *_ in places)
    if not deeper and len({quantity for quantity, *_ in chosen}) == len(chosen):
        yield from chosen


def _held(container: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, container and key of all that dicts and lists hold, layers in lists too."""
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        called = key.lower() if isinstance(key, str) else name
        if re.fullmatch(_GRADIENTS, called):
            continue
        if isinstance(value, dict | list):
            yield from _held(value, called)
        else:
            yield called, container, key


def _function_of(cls: type, name: str, holds: set[str]) -> Callable[..., Any]:
    """Return the method as a function that takes what its object holds, too."""
    own = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
    given = {quantity_of(each.name) for each in own}
    forward_first = "X" not in given and name != "forward" and hasattr(cls, "forward")
    held = {{"l2": "lam"}.get(each, each): each for each in sorted(holds - given)}
    kept: dict[Any, Any] = {}

    def function(*arguments: Any, **keywords: Any) -> Any:
        values = signature.bind(*arguments, **keywords).arguments
        state = {held[each]: values.pop(each) for each in held if each in values}
        shapes = tuple(_shape(each) for each in state.values())
        if shapes not in kept:
            kept[shapes] = _made(cls, state["W"], state.get("b"))
        made = kept[shapes]
        _put(made, state)
        if forward_first:
            made.forward(values.pop("X"))
        returned = getattr(made, name)(**values)
        return returned if returned is not None else _slopes_of(made)

    extra = [
        inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(each, _NONE))
        for each in [*["X"] * forward_first, *held]
    ]
    plain = [each for each in own if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    signature = inspect.Signature(plain + extra)
    function.__name__ = f"{cls.__name__}.{name}"
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _put(made: Any, state: dict[str, Any]) -> None:
    """Set W, b and λ of an object.

    Raises
    ------
    ValueError
        If its arrays have other shapes.
    """
    for quantity, container, key in list(_places(made)):
        if quantity not in state:
            continue
        new, old = state[quantity], container[key]
        if old is not None and _shape(old) != _shape(new):
            raise ValueError(f"its {quantity} has the shape {_shape(old)}")
        if hasattr(old, "detach"):
            import torch

            old.data, old.grad = torch.as_tensor(new).detach().clone(), None
        else:
            container[key] = np.array(new) if _shape(new) else new


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _slopes_of(made: Any) -> list[Any]:
    """Return the gradients that a method has left in its object."""
    places = [container[key] for _, container, key in _places(made)]
    found = [each.grad for each in places if getattr(each, "grad", None) is not None]
    for pattern in (*_SLOPES, _GRADIENTS):
        found += [each for name, each in vars(made).items() if re.fullmatch(pattern, name.lower())]
    return found
