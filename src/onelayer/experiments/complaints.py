"""Errors of pydantic about a spec, as one line: the key, what was found, what is expected."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from onelayer.errors import InputError, unknown_name


@contextmanager
def plain_words(model: type[BaseModel], place: str = "") -> Iterator[None]:
    """Turn a pydantic error about a `model` into an InputError that begins with `place`."""
    try:
        yield
    except ValidationError as error:
        raise InputError(place + explain(error, model)) from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line about the first error.

    A value that may be of several types has failed all of them, and the line names them all.
    """
    complaints = error.errors(include_url=False)
    first = complaints[0]
    keys, section = _find(first["loc"], model)
    key = ".".join(keys)
    if first["type"] == "missing":
        return f"{key}: not given, and it has no default"
    if first["type"] == "extra_forbidden":
        table = ".".join(keys[:-1])
        kind = f"key of {table}" if table else "key"
        return str(unknown_name(kind, keys[-1], section.model_fields))
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}".removeprefix(": ")
    about = [each["msg"] for each in complaints if _find(each["loc"], model)[0] == keys]
    expected = " or ".join(message.removeprefix("Input should be ") for message in about)
    return f"{key or 'the file'}: found {first['input']!r:.60}; expected {expected}"


def _find(
    location: Sequence[int | str], model: type[BaseModel]
) -> tuple[list[str], type[BaseModel]]:
    """Return the keys of a location in `model`, and the section that holds the last key.

    The name of a type, which pydantic puts after the key of a field of several types, is not a key.
    """
    keys: list[str] = []
    section: type[BaseModel] | None = model
    for part in location:
        is_key = isinstance(part, int) or section is not None
        if is_key:
            keys.append(str(part))
        if isinstance(part, str) and section is not None:
            model, field = section, section.model_fields.get(part)
            section = _section_in(field.annotation) if field is not None else None
    return keys, model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, alone or in a tuple, if it holds one."""
    kinds = (annotation, *get_args(annotation))
    sections = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(sections, None)
