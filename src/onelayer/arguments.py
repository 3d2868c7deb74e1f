"""Arguments of public functions and fields of dataclasses, checked against declared types."""

import dataclasses
import inspect
import os
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import InputError, shown, unknown_name

F = TypeVar("F", bound=Callable[..., Any])

_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path",
    type(None): "None", np.ndarray: "an array of real numbers",
    Mapping: "a mapping", Sequence: "a list", tuple: "a tuple or list", Callable: "a function",
}  # fmt: skip
_ARRAY_OR_NONE = ArrayLike | None  # not a union of two: ArrayLike is itself one
_LARGEST = 1 << 63  # a larger whole number would overflow
_NUMBERS: dict[Any, Any] = {int: Integral, float: Real, bool: (bool, np.bool_)}


def checked(function: F) -> F:
    """Let a function refuse arguments that are not of its declared types.

    Examples
    --------
    >>> @checked
    ... def double(number: float):
    ...     return 2 * number
    >>> double("2")
    Traceback (most recent call last):
    onelayer.errors.InputError: number is '2'; expected a number
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        hints = hints_of(function)
        for name, value in signature.bind(*arguments, **keywords).arguments.items():
            if name in hints and signature.parameters[name].kind != inspect.Parameter.VAR_KEYWORD:
                check_type(name, value, hints[name])
        return function(*arguments, **keywords)

    return call  # type: ignore[return-value]


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raise InputError unless the value is of the type `hint`: a bool is not a number."""
    if get_origin(hint) is Literal and isinstance(value, str) and value not in get_args(hint):
        raise unknown_name(name, value, get_args(hint))
    if not _fits(value, hint):
        raise InputError(f"{name} is {shown(value)}; expected {_words(hint)}")


def check_fields(record: Any) -> None:
    """Raise InputError unless the fields of a dataclass are of the types that it declares."""
    cls: Any = type(record)
    hints = hints_of(cls)
    for each in dataclasses.fields(record):
        check_type(each.name, getattr(record, each.name), hints[each.name])


def real_numbers(name: str, values: Any) -> NDArray[Any]:
    """Return an array, list or frame as an array.

    Raises
    ------
    InputError
        If it does not hold real numbers, or its rows are of several lengths.
    """
    if not _holds_numbers(values):
        raise InputError(f"{name} is {shown(values)}; expected an array of real numbers")
    return without_mask(values)


def without_mask(values: Any) -> NDArray[Any]:
    """Return values as a plain array, with masked values as missing ones, NaN or None.

    Examples
    --------
    >>> without_mask(np.ma.masked_equal([1, 2, 3], 2))
    array([ 1., nan,  3.])
    """
    if not np.ma.is_masked(values):
        return np.asarray(values)
    kind: Any = np.result_type(values, np.float32) if values.dtype.kind in "biuf" else object
    missing = np.nan if values.dtype.kind in "biuf" else None
    plain: NDArray[Any] = values.astype(kind).filled(missing)
    return plain


def _holds_numbers(values: Any) -> bool:
    if hasattr(values, "toarray"):  # scipy's sparse matrices
        return False
    if hasattr(values, "dtype") and hasattr(values, "shape"):  # mapped files are not read for this
        return getattr(values.dtype, "kind", "O") in "biuf"
    try:
        return np.asarray(values).dtype.kind in "biuf"
    except (TypeError, ValueError, OverflowError):
        return False


@cache
def hints_of(declared: Any) -> dict[str, Any]:
    """Return the types that a function or a dataclass declares, with the shapes of arrays."""
    return get_type_hints(declared, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if hint == _ARRAY_OR_NONE:
        return value is None or _fits(value, ArrayLike)
    if hint == ArrayLike or origin is np.ndarray:
        return _holds_numbers(value) and (hint == ArrayLike or hasattr(value, "dtype"))
    if origin is Annotated:
        return _fits(value, args[0])
    if origin in (Union, types.UnionType):
        is_path = Path not in args or not isinstance(value, str) or _can_be_path(value)
        return is_path and any(_fits(value, each) for each in args)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if hint in _NUMBERS:
        is_bool = isinstance(value, bool | np.bool_)
        in_range = not isinstance(value, int) or abs(value) < _LARGEST
        return isinstance(value, _NUMBERS[hint]) and is_bool == (hint is bool) and in_range
    if origin is Callable or origin is type(Callable):
        return callable(value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, args[1]) for each in value.values())
    if origin in (tuple, Sequence):
        is_row = origin is Sequence and isinstance(value, np.ndarray) and value.size > 0
        listed = value.tolist() if is_row else value
        kind = (tuple, list) if origin is tuple else Sequence
        if isinstance(listed, str | bytes) or not isinstance(listed, kind):
            return False
        expected = args if origin is tuple and args[-1] is not ... else args[:1] * len(listed)
        return len(listed) == len(expected) and all(map(_fits, listed, expected))
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)


def _can_be_path(text: str) -> bool:
    try:
        return "\0" not in text and bool(os.fsencode(text))
    except UnicodeEncodeError:
        return False


def _words(hint: Any) -> str:
    """Return the values of a type, in words."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in (ArrayLike, _ARRAY_OR_NONE):
        return _WORDS[np.ndarray]
    if origin is Annotated:
        return _words(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, args)))
    if origin is Literal:
        return " or ".join(map(str, args))
    if hint in _WORDS or origin in _WORDS:
        words = _WORDS[hint if hint in _WORDS else origin]
        inner = [each for each in args if isinstance(each, type)]
        named = inner and inner[-1] not in _WORDS and origin in (tuple, Sequence, Mapping)
        return f"{words} of {inner[-1].__name__}" if named else words
    return f"a {getattr(hint, '__name__', hint)}"
