"""How settings and numbers are written, the same in every figure, table and sentence."""

import math
from collections import Counter
from collections.abc import Sequence

from onelayer.training.run import Run

MISSING = "–"
PER_CENT = "\N{NO-BREAK SPACE}%"


def setting_labels(run: Run) -> tuple[str, ...]:
    """Return a short name for each of the M settings; no two are equal."""
    labels = [str(setting) for setting in run.settings]
    if len({setting.init_sd for setting in run.settings}) > 1:
        labels = [
            f"{label}, sd₀={setting.init_sd:g}"
            for label, setting in zip(labels, run.settings, strict=True)
        ]
    twice = {label for label, count in Counter(labels).items() if count > 1}
    return tuple(
        f"{label} (model {number})" if label in twice else label
        for number, label in enumerate(labels, 1)
    )


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


def signed(value: float) -> str:
    """Write a difference with its sign and four decimals."""
    return f"{value:+.4f}".replace("-", "−")


def count_of(number: int, noun: str) -> str:
    """Write a count with its noun, which takes an s unless the number is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listing(items: Sequence[str], last: str = "and") -> str:
    """Join items to be read; semicolons, since the name of a setting holds a comma."""
    if len(items) < 2:
        return "".join(items)
    return f"{'; '.join(items[:-1])} {last} {items[-1]}"


def one_line(text: str) -> str:
    """Return the text without line breaks and repeated blanks."""
    return " ".join(text.split())


def shortened(name: str, letters: int) -> str:
    """Return a class name on one line, cut to so many letters."""
    name = one_line(name)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
