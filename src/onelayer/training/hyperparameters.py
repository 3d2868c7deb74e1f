"""What each model of a stack has of its own."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from onelayer.errors import InputError, unknown_name
from onelayer.model.losses import find_loss
from onelayer.training.schedules import Schedule

MOST_SETTINGS = 1_000_000
LARGEST = 1e30  # whatever is larger overflows in float32 before it diverges
INITS = ("normal", "xavier", "zeros")


@dataclass(frozen=True)
class Hyperparameters:
    """One model's settings.

    `l2` is λ of equation (5), without a factor ½; `learning_rate` is η of equations (8) and (9),
    which `schedule` (see Schedule) lowers from epoch to epoch after `warmup` epochs of rising.
    `loss` is one of model.losses; `momentum` is μ, Nesterov's if `nesterov`.
    W starts from `init`: "normal" draws W and b with the standard deviation `init_sd`, "xavier"
    draws W with √(2 / (D + K)) (Glorot and Bengio 2010) and "zeros" draws nothing; b is then 0.
    Models of another `init_seed` start from another draw.

    Raises
    ------
    InputError
        If a value is out of its range or a name is unknown.
    """

    l2: float = 0.0
    learning_rate: float = 0.01
    init_sd: float = 0.01
    loss: str = "cross-entropy"
    schedule: str = "constant"
    warmup: int = 0
    momentum: float = 0.0
    nesterov: bool = False
    init: str = "normal"
    init_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("l2", "learning_rate", "init_sd"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise _out_of_range(name, self, f"a number from 0 to {LARGEST:g}")
        if self.learning_rate == 0:
            raise InputError("learning_rate is 0; it must be above 0")
        if not 0 <= self.momentum < 1:
            raise _out_of_range("momentum", self, "at least 0 and below 1")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov without momentum; give a momentum above 0")
        for name in ("warmup", "init_seed"):
            if int(getattr(self, name)) != getattr(self, name) or getattr(self, name) < 0:
                raise _out_of_range(name, self, "a whole number from 0")
        find_loss(self.loss)
        Schedule.parse(self.schedule)
        if self.init not in INITS:
            raise unknown_name("init", self.init, INITS)

    def __str__(self) -> str:
        """Name λ and η, and whatever is not at its default."""
        return ", ".join([f"λ={self.l2:g}, η={self.learning_rate:g}", *self._rest()])

    def _rest(self) -> list[str]:
        own = {name: value for name, value in vars(self).items() if value != DEFAULTS[name]}
        words = {
            "init_sd": f"σ={self.init_sd:g}",
            "loss": self.loss,
            "schedule": self.schedule,
            "warmup": f"warm-up {self.warmup}",
            "momentum": f"μ={self.momentum:g}",
            "nesterov": "Nesterov",
            "init": self.init,
            "init_seed": f"draw {self.init_seed}",
        }
        return [word for name, word in words.items() if name in own]

    def init_deviation(self, n_features: int, n_classes: int) -> tuple[float, float]:
        """Return the standard deviations that W and b are drawn with."""
        if self.init == "normal":
            return self.init_sd, self.init_sd
        if self.init == "xavier":
            return math.sqrt(2 / (n_features + n_classes)), 0.0
        return 0.0, 0.0


DEFAULTS = {field.name: field.default for field in fields(Hyperparameters)}


def _out_of_range(name: str, setting: Hyperparameters, expected: str) -> InputError:
    return InputError(f"{name} is {getattr(setting, name)}; expected {expected}")


def grid(**values: Sequence[Any]) -> list[Hyperparameters]:
    """Return every combination of the values of Hyperparameters, the last name varying fastest.

    The names vary in the order of Hyperparameters' fields, whatever the order of the arguments.

    Raises
    ------
    InputError
        If there are more than a million combinations, a name is unknown or a value out of range.
    """
    for name in values:
        if name not in DEFAULTS:
            raise unknown_name("hyperparameter", name, DEFAULTS)
        if isinstance(values[name], str):
            raise InputError(f"{name} is a text; a grid takes a list: {name}=[{values[name]!r}]")
    count = math.prod(map(len, values.values()))
    if count > MOST_SETTINGS:
        raise InputError(f"a grid of {count:,} settings; expected at most {MOST_SETTINGS:,}")
    names = [name for name in DEFAULTS if name in values]
    combinations = itertools.product(*(values[name] for name in names))
    return [
        Hyperparameters(**dict(zip(names, combination, strict=True)))
        for combination in combinations
    ]
