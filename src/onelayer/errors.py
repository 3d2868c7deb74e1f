"""The one kind of error that bad input raises."""

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LISTED, COMPARED = 40, 1000  # names in a message, and those that are compared with a wrong one
LONGEST = 60  # letters of a wrong name


class InputError(ValueError):
    """Bad input, in one line: the file or option, the value found, and the right values."""


class DivergedError(InputError):
    """Every setting diverged, so that none could be chosen: a command ends with status 3."""


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Let the message of an InputError in the block begin with the file that it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def printable(text: str) -> str:
    """Return the text with escapes for control characters and invisible characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """Return a value as Python writes it, on one line and cut if it is long."""
    if getattr(value, "shape", ()) and hasattr(value, "dtype"):
        return f"an array of {value.dtype}, shape {value.shape}"
    words = " ".join(repr(value).split())
    return words if len(words) <= 60 else f"{words[:60]}…"


def is_hidden(character: str) -> bool:
    """Whether a character is invisible: a control, a direction mark, a line break.

    Two joiners do not count: some scripts and emoji need them.
    """
    unseen = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return unseen and character not in "\u200c\u200d"


def visible(text: str) -> str:
    """Return the text with escapes for hidden characters, except line feeds."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if is_hidden(c) and c != "\n" else c for c in text
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not one of `known`; it suggests the nearest."""
    names = sorted(known)
    nearest = difflib.get_close_matches(str(name)[:LONGEST].lower(), names[:COMPARED], n=1)
    more = ", …" * (len(names) > LISTED)
    hint = (
        f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(names[:LISTED])}{more}"
    )
    return InputError(f"unknown {kind} {name!r:.60}; {hint}")
