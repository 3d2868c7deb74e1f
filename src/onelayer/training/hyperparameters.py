"""What each model of a stack has of its own."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from onelayer.errors import InputError

MOST_SETTINGS = 1_000_000
LARGEST = 1e30  # whatever is larger overflows in float32 before it diverges


@dataclass(frozen=True)
class Hyperparameters:
    """One model's settings.

    `l2` is λ of equation (5), without a factor ½; `learning_rate` is η of equations (8) and (9);
    `init_sd` is the standard deviation of the normal distribution that W and b start from.

    Raises
    ------
    InputError
        If a value is negative, beyond 1e30 or not a number, or the learning rate is 0.
    """

    l2: float = 0.0
    learning_rate: float = 0.01
    init_sd: float = 0.01

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= LARGEST:
                raise InputError(f"{name} is {value}; expected a number from 0 to {LARGEST:g}")
        if self.learning_rate == 0:
            raise InputError("learning_rate is 0; it must be above 0")

    def __str__(self) -> str:
        sd = "" if self.init_sd == Hyperparameters.init_sd else f", σ={self.init_sd:g}"
        return f"λ={self.l2:g}, η={self.learning_rate:g}{sd}"


def grid(
    *,
    l2: Sequence[float] = (Hyperparameters.l2,),
    learning_rate: Sequence[float] = (Hyperparameters.learning_rate,),
    init_sd: Sequence[float] = (Hyperparameters.init_sd,),
) -> list[Hyperparameters]:
    """Return every combination of the values, the last name varying fastest.

    Raises
    ------
    InputError
        If there are more than a million combinations, or a value is out of range.
    """
    count = len(l2) * len(learning_rate) * len(init_sd)
    if count > MOST_SETTINGS:
        raise InputError(f"a grid of {count:,} settings; expected at most {MOST_SETTINGS:,}")
    return [Hyperparameters(*values) for values in itertools.product(l2, learning_rate, init_sd)]
