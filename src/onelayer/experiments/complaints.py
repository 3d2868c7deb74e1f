"""What is wrong with a spec, in the words of this project instead of pydantic's."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from onelayer.errors import InputError, unknown_name

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number from {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number up to {le:g}",
    "literal_error": "{expected}",
    "model_type": "a table",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "string_type": "a text",
    "too_short": "a list of {min_length} or more",
    "tuple_type": "a list",
}


@contextmanager
def plain_words(model: type[BaseModel], place: str = "") -> Iterator[None]:
    """Turn what pydantic finds wrong with a `model` into an InputError that begins with `place`."""
    try:
        yield
    except ValidationError as error:
        raise InputError(place + explain(error, model)) from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line the first thing that is wrong: its key, what was found, what would be right.

    A value that may be of several types has failed each of them, and all are named; unless it is
    of one of them and wrong within: then what is wrong within it is told.
    """
    complaints = error.errors(include_url=False)
    places = [_find(complaint["loc"], model) for complaint in complaints]
    first, section = places[0]
    keys = max((keys for keys, _ in places if keys[: len(first)] == first), key=len)
    about = [
        complaint for complaint, (place, _) in zip(complaints, places, strict=True) if place == keys
    ]
    key, found = ".".join(keys), about[0]["input"]
    if len(about) == 1:
        match about[0]["type"]:
            case "missing":
                return f"{key}: not given, and it has no default"
            case "extra_forbidden":
                table = ".".join(keys[:-1])
                kind = f"key of {table}" if table else "key"
                return str(unknown_name(kind, keys[-1], section.model_fields))
            case "literal_error":
                known = re.findall("'(.*?)'", about[0]["ctx"]["expected"])
                return str(unknown_name(key, str(found), known))
            case "value_error":
                return f"{key}: {about[0]['ctx']['error']}".removeprefix(": ")
    *others, last = dict.fromkeys(map(_expected, about))
    expected = f"{', '.join(others)} or {last}" if others else last
    return f"{key or 'the file'}: found {found!r:.60}; expected {expected}"


def _find(
    location: Sequence[int | str], model: type[BaseModel]
) -> tuple[list[str], type[BaseModel]]:
    """Return the keys of a location in `model`, and the section that holds the last of them.

    After the key of a field of several types pydantic puts the name of a type, which is no key.
    """
    keys: list[str] = []
    is_type = False
    for part in location:
        if is_type:
            is_type = False
            continue
        keys.append(str(part))
        field = model.model_fields.get(str(part))
        if field is not None:
            kinds = get_args(field.annotation)
            is_union = get_origin(field.annotation) in (Union, UnionType)
            is_type = is_union and len(set(kinds) - {NoneType}) > 1
            sections = (kind for kind in (field.annotation, *kinds) if _is_section(kind))
            model = next(sections, model)
    return keys, model


def _is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _expected(complaint: ErrorDetails) -> str:
    """Say what would be right; what is not in the list is left in pydantic's words."""
    words = _EXPECTED.get(complaint["type"])
    return words.format(**complaint.get("ctx", {})) if words else complaint["msg"]
