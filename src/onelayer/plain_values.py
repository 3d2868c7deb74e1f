"""Plain values, of JSON and TOML: read from files that may hold anything, and written as JSON."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onelayer.errors import InputError

LONGEST = 1 << 25  # bytes of JSON: what one parses may take twenty times as much memory
_LONGEST_TEXT = 10_000  # characters of a text in it
_DEEPEST = 32  # brackets in brackets
_LONGEST_NUMBER = 1000  # digits: more than any float has


def read_text(path: Path, longest: int = LONGEST) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises
    ------
    InputError
        If it is no file, has more than `longest` bytes, or is not UTF-8; does not name it.
    """
    if not path.is_file():
        raise InputError("not a file" if path.exists() else "no such file")
    if path.stat().st_size > longest:
        raise InputError(f"{path.stat().st_size:,} bytes, expected at most {longest:,}")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start:,} is not UTF-8 text") from error


def parse_json(text: str) -> Any:
    """Return what a JSON text holds: see check_plain.

    Raises
    ------
    InputError
        If it is not JSON, or a key is given twice, a number has hundreds of digits, or a text or
        the nesting is too long or deep to be meant.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_whole)
    except RecursionError as error:
        raise InputError("brackets too deep") from error
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}") from error
    check_plain(value)
    return value


def check_plain(value: Any, levels: int = _DEEPEST) -> None:
    """Raise InputError if a text or the nesting in parsed JSON or TOML cannot be meant."""
    if isinstance(value, str):
        check_text(value)
        # From dc80 to dcff they are bytes of a file's name that are no text.
        if re.search("[\ud800-\udc7f\udd00-\udfff]", value):
            raise InputError(f"the text {value[:40]!a} holds half of a character")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise InputError(f"brackets too deep, expected at most {_DEEPEST}")
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            check_plain(inner, levels - 1)


def check_text(text: str, place: str = "") -> None:
    """Raise InputError if a text has more letters than a record holds; names the `place`."""
    if len(text) > _LONGEST_TEXT:
        raise InputError(
            f"{place}a text of {len(text):,} letters, expected at most {_LONGEST_TEXT:,}"
        )


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise InputError(f"{name[:40]!r} is given twice")
        table[name] = value
    return table


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise InputError(f"a number of {len(digits):,} digits")
    return int(digits)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON as text that UTF-8 can hold, whatever bytes the name of a file is made of."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON has the same escapes
