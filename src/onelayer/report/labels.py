"""The format of numbers and names, the same in every figure, table and sentence."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onelayer.training.run import Run

MISSING = "–"
LISTED = 12  # items in a sentence
MOST_ROWS = 1000  # the largest table of classes that is shown as a whole
PER_CENT = "\N{NO-BREAK SPACE}%"


def decimals(value: float, digits: int = 4) -> str:
    """Return a number with a fixed count of decimals, or a dash if it is missing.

    A very large number is written with an exponent.
    """
    if math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3e}"


def scientific(value: float, digits: int = 4) -> str:
    """Return a small or large number with an exponent, or "not a number"."""
    return "not a number" if math.isnan(value) else f"{value:.{digits}e}"


def p_value(p: float, digits: int = 4) -> str:
    """Return a p-value with `digits` decimals, "< 0.0001" if smaller, a dash if it is missing."""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else decimals(p, digits)


def signed(value: float, digits: int = 4) -> str:
    """Return a difference with its sign and four decimals."""
    return f"{value:+.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Kind:
    """A kind of values: their format, their digits, and the names of their parts in a file."""

    write: Callable[[Any, int], str]
    digits: int = 4
    parts: tuple[str, ...] = ("",)


def _estimate(value: tuple[float, float, float], digits: int) -> str:
    middle, *ends = value
    return decimals(middle, digits) + ("" if math.isnan(ends[0]) else f" ({_range(ends, digits)})")


def _range(ends: Sequence[float], digits: int) -> str:
    return "–".join(decimals(end, digits) for end in ends)


def _change(value: tuple[float, float], digits: int) -> str:
    return " to ".join(f"{v:,}" if isinstance(v, int) else decimals(v, digits) for v in value)


def _spread(value: tuple[float, float], digits: int) -> str:
    mean, sd = value
    return signed(mean, digits) + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}")


KINDS = {
    "words": Kind(lambda value, _: one_line(value)),
    "flag": Kind(lambda value, _: "yes" if value else ""),
    "count": Kind(lambda value, _: f"{value:,}"),
    "number": Kind(lambda value, digits: f"{value:.{digits}g}", 6),  # an option or a measure
    "decimals": Kind(decimals),  # accuracies, losses, probabilities
    "difference": Kind(signed),
    "small": Kind(lambda value, digits: scientific(value, digits).replace("-", "−"), 2),
    "exponent": Kind(scientific),
    "p": Kind(p_value),
    "range": Kind(_range, 4, ("_low", "_high")),
    "estimate": Kind(_estimate, 4, ("", "_low", "_high")),
    "change": Kind(_change, 4, ("_before", "_after")),
    "spread": Kind(_spread, 4, ("_mean", "_sd")),
    "part": Kind(lambda value, _: f"{value[0]:,} of {value[1]:,}", parts=("", "_of")),
    "epoch": Kind(lambda value, d: f"{value[0]:.{d}f} (epoch {value[1]})", parts=("", "_epoch")),
}


def is_missing(value: Any) -> bool:
    """Return whether a value of a table is missing: None, NaN, or without its first part."""
    first = value[0] if isinstance(value, tuple) else value
    return first is None or (isinstance(first, float) and math.isnan(first))


def count_of(number: int, noun: str) -> str:
    """Return a count with its noun, which takes an s unless the number is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listing(items: Sequence[str], last: str = "and") -> str:
    """Return a list of at most LISTED items; with semicolons, as names of settings have commas."""
    if len(items) > LISTED:
        items = [*items[: LISTED - 1], f"{len(items) - LISTED + 1:,} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{'; '.join(items[:-1])} {last} {items[-1]}"


def one_line(text: str) -> str:
    """Return the text without line breaks and repeated blanks."""
    return " ".join(text.split())


def wrapped(text: str, letters: int) -> str:
    """Return a title in lines of about this number of letters."""
    return "\n".join(textwrap.wrap(text, letters, break_long_words=False)) or text


def shortened(name: str, letters: int) -> str:
    """Return a class name on one line, cut to this number of letters."""
    name = one_line(name)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def validated(run: Run) -> bool:
    """Return whether a model was measured on a validation split."""
    return not np.isnan(run.history.validation_loss).all()


def split_words(run: Run) -> str:
    """Return the names of the splits of the curves."""
    return "training and validation split" if validated(run) else "training split"
