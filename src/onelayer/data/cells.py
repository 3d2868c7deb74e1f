"""The text of a cell: a missing value, a number or another text. One rule for all tables.

A number is written as most programs write it: digits, a point, an exponent. Python's float()
accepts more (1_000, digits of other scripts, infinity), so other programs would read other numbers.
"""

import math
import re

MISSING = frozenset(("", "?", "-", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nat"))
_UNREAD = re.compile(  # 12%, 1.234,56, 1_000, $5, 12 cm; no date, no 0001.png
    r"[+-]?[^\w\s]?\d(?:[\d.,_' ]*\d)?[ ]?[%°]?[^\W\d_]{0,3}|[+-]?infinity"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?inf", re.ASCII)

_LONGEST = 400  # characters that are examined: no number is longer


def is_missing(text: str) -> bool:
    """Return whether a text is a missing value; case and blanks around it do not matter.

    Examples
    --------
    >>> [is_missing(text) for text in ("", " N/A ", "NaN", "?", "0", "no")]
    [True, True, True, True, False, False]
    """
    return len(text) < _LONGEST and text.strip().lower() in MISSING


def read_number(text: str) -> float | None:
    """Return a text as a number, NaN for a missing value, or None if it is neither.

    A number that is too large for 64 bits is infinite.

    Examples
    --------
    >>> [read_number(text) for text in (" -1.5e3", ".5", "NA", "1_000", "1,5", "infinity")]
    [-1500.0, 0.5, nan, None, None, None]
    """
    text = text.strip().lower()
    if text in MISSING:
        return math.nan
    return float(text) if _NUMBER.fullmatch(text) else None


def is_like_number(text: str) -> bool:
    """Return whether a text is a number, or looks like one that is not read: 12%, 1_000, 5 cm.

    Examples
    --------
    >>> [is_like_number(text) for text in ("1e3", "12%", "$1,000", "12 cm", "0001.png", "a7")]
    [True, True, True, True, False, False]
    """
    text = text.strip().lower()[:_LONGEST]
    return bool(_NUMBER.fullmatch(text) or _UNREAD.fullmatch(text))


def with_point(text: str) -> str:
    """Return a text with its decimal comma as a point; a text with a point becomes no number."""
    return text.replace(".", "·").replace(",", ".")


def is_number(text: str, comma: bool = False) -> bool:
    """Return whether a text is a number or a missing value, perhaps with a decimal `comma`."""
    found = read_number(text) is not None
    return found or (comma and read_number(with_point(text)) is not None)
