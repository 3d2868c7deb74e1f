"""A slip: one wrong idea, with its code. A wrong formula contains a few of them."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Slip:
    """One mistake: its code, a short name, one sentence, and a hint without the solution.

    `right` is the correct formula. Advice is not a fault: the formula is right.
    """

    code: str
    name: str
    sentence: str
    hint: str
    right: str
    advice: bool = False


_TEXTS = tomllib.loads(files(__package__).joinpath("slips.toml").read_text("utf-8"))
CODES = {code: Slip(code, **texts) for code, texts in _TEXTS.items()}


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to compute a part of the formula; `slip` is its mistake, None if it is right.

    `slope` computes the part of the gradient, `value` the corresponding part of the cost.
    """

    slip: Slip | None
    formula: str
    slope: Callable[..., Any] | None = None
    value: Callable[..., Any] | None = None


Axis = Sequence[Variant]


@dataclass(frozen=True)
class Finding:
    """A slip, its place, and the formula in that place."""

    slip: Slip
    where: str
    found: str = ""

    @property
    def code(self) -> str:
        """The code of the slip."""
        return self.slip.code

    @property
    def fault(self) -> bool:
        """Whether it is a mistake, not advice."""
        return not self.slip.advice

    def __str__(self) -> str:
        formula = f" Found {self.found}; right is {self.slip.right}." if self.found else ""
        return f"{self.code} {self.where}: {self.slip.name}. {self.slip.sentence}{formula}"
