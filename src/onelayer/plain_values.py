"""Plain values of JSON and TOML: read from untrusted files, and written as JSON."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onelayer.errors import InputError

LONGEST = 1 << 25  # bytes of JSON: parsed values may take twenty times as much memory
_LONGEST_TEXT = 10_000  # characters of a text in it
_DEEPEST = 32  # brackets in brackets
_LONGEST_NUMBER = 1000  # digits: more than any float has


def read_text(path: Path, longest: int = LONGEST) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises
    ------
    InputError
        If it is not a file, has more than `longest` bytes, or is not UTF-8; does not name it.
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
    """Return the value of a JSON text, checked: see check_plain.

    Raises
    ------
    InputError
        If it is not JSON, a key is given twice, a number has hundreds of digits, a text is too
        long, or the nesting is too deep.
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
    """Raise InputError if parsed JSON or TOML holds an invalid text, or is nested too deep."""
    if isinstance(value, str):
        check_text(value)
        # dc80 to dcff stand for bytes in the name of a file that are not text.
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
    """Return JSON as a text that UTF-8 can hold, even if a file name in it is not text."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON has the same escapes
