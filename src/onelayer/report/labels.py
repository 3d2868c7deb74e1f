"""How numbers and names are written, the same in every figure, table and sentence."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from onelayer.training.run import Run

MISSING = "–"
LISTED = 12  # items in a sentence
PER_CENT = "\N{NO-BREAK SPACE}%"


def decimals(value: float, digits: int = 4) -> str:
    """Write a number with a fixed count of decimals, a dash where it is missing.

    A number too large for that to be legible is written with an exponent.
    """
    if math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3e}"


def scientific(value: float, digits: int = 4) -> str:
    """Write a small or large number with an exponent, or that it is not a number."""
    return "not a number" if math.isnan(value) else f"{value:.{digits}e}"


def p_value(p: float, digits: int = 4) -> str:
    """Write a p-value with so many decimals, or that it is smaller; a dash where it is missing."""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else decimals(p, digits)


def signed(value: float) -> str:
    """Write a difference with its sign and four decimals."""
    return f"{value:+.4f}".replace("-", "−")


def count_of(number: int, noun: str) -> str:
    """Write a count with its noun, which takes an s unless the number is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listing(items: Sequence[str], last: str = "and") -> str:
    """Join items to be read, at most LISTED; semicolons, as the name of a setting holds a comma."""
    if len(items) > LISTED:
        items = [*items[: LISTED - 1], f"{len(items) - LISTED + 1:,} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{'; '.join(items[:-1])} {last} {items[-1]}"


def one_line(text: str) -> str:
    """Return the text without line breaks and repeated blanks."""
    return " ".join(text.split())


def wrapped(text: str, letters: int) -> str:
    """Break a title into lines of about so many letters."""
    return "\n".join(textwrap.wrap(text, letters, break_long_words=False)) or text


def shortened(name: str, letters: int) -> str:
    """Return a class name on one line, cut to so many letters."""
    name = one_line(name)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def validated(run: Run) -> bool:
    """Whether there was a validation split (or a model that lived to see it)."""
    return not np.isnan(run.history.validation_loss).all()


def split_words(run: Run) -> str:
    """Name the splits that the curves are of."""
    return "training and validation split" if validated(run) else "training split"
