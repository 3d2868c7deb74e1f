"""Hyperparameters: the settings in which the models of a stack differ."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onelayer.errors import InputError, shown
from onelayer.model.losses import CROSS_ENTROPY, LOSSES
from onelayer.option import COUNT, SEED, Checked, option, options_of, unknown_option
from onelayer.training.schedules import Schedule

MOST_SETTINGS = 100_000  # a record has no room for the names of more
LARGEST = 1e30  # a larger number overflows in float32 before it diverges


@dataclass(frozen=True)
class Hyperparameters(Checked):
    """The settings of one model.

    W starts from `init`: "normal" draws W and b with the standard deviation `init_sd`, "xavier"
    draws W with √(2 / (D + K)) (Glorot and Bengio 2010) and "zeros" draws nothing; b is then 0.
    The learning rate is η of equations (8) and (9), l2 is λ of equation (5), without a factor ½.

    Raises
    ------
    InputError
        If a value is out of its range or a name is unknown.

    Examples
    --------
    >>> print(Hyperparameters(l2=0.1, momentum=0.9))
    λ=0.1, η=0.01, μ=0.9
    """

    l2: float = option(
        0.0,
        "Weight of the penalty Σ W².",
        symbol="λ",
        label="λ={:g}",
        aliases=("lambda",),
        least=0,
        most=LARGEST,
    )
    learning_rate: float = option(
        0.01,
        "Learning rate.",
        symbol="η",
        label="η={:g}",
        aliases=("lr",),
        above=0,
        most=LARGEST,
    )
    init_sd: float = option(
        0.01,
        "Standard deviation of the initial weights.",
        symbol="σ",
        label="σ={:g}",
        least=0,
        most=LARGEST,
    )
    loss: str = option(CROSS_ENTROPY.name, f"Loss: {', '.join(LOSSES)}.", choices=LOSSES)
    schedule: str = option(
        "constant",
        "Learning-rate schedule: constant, exponential:FACTOR, step:EPOCHS:FACTOR, cosine or "
        "plateau:EPOCHS:FACTOR.",
        parse=Schedule.parse,
    )
    warmup: int = option(
        0,
        "Number of epochs over which the learning rate rises.",
        label="warm-up {}",
        least=0,
        most=COUNT,
    )
    momentum: float = option(0.0, "Momentum.", symbol="μ", label="μ={:g}", least=0, below=1)
    nesterov: bool = option(False, "Nesterov momentum.", label="Nesterov")
    init: str = option(
        "normal", "Initial weights: normal, xavier or zeros.", choices=("normal", "xavier", "zeros")
    )
    init_seed: int = option(
        0, "Number of the draw of initial weights.", label="draw {}", least=0, most=SEED
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov without momentum; give a momentum above 0")

    def __str__(self) -> str:
        """Return λ, η and all values that differ from their defaults."""
        named = {
            name: each.label.format(getattr(self, name))
            for name, each in OPTIONS.items()
            if name in ("l2", "learning_rate") or getattr(self, name) != each.default
        }
        return ", ".join(named.values())

    def init_deviation(self, n_features: int, n_classes: int) -> tuple[float, float]:
        """Return the standard deviations that W and b are drawn with."""
        if self.init == "normal":
            return self.init_sd, self.init_sd
        if self.init == "xavier":
            return math.sqrt(2 / (n_features + n_classes)), 0.0
        return 0.0, 0.0


OPTIONS = options_of(Hyperparameters)


def check_settings(count: int, parts: int = 1, times: int = 1) -> None:
    """Raise InputError for more than MOST_SETTINGS models.

    The models are `count` settings on `parts` folds or subsets, drawn `times` times.
    """
    if count > MOST_SETTINGS:
        raise InputError(f"a grid of {count:,} settings; expected at most {MOST_SETTINGS:,}")
    if (models := count * parts * times) > MOST_SETTINGS:
        raise InputError(
            f"{count:,} settings on {parts:,} folds or subsets, drawn {times:,} times, are "
            f"{models:,} models; expected at most {MOST_SETTINGS:,}"
        )


def grid(**values: Sequence[Any]) -> list[Hyperparameters]:
    """Return every combination of the values of Hyperparameters, the last name varying fastest.

    The names vary in the order of Hyperparameters' fields, not in the order of the arguments.

    Raises
    ------
    InputError
        If there are more than 100,000 combinations, a name is unknown or a value out of range.

    Examples
    --------
    >>> [setting.l2 for setting in grid(l2=[0, 0.1], learning_rate=[0.01, 0.001])]
    [0.0, 0.0, 0.1, 0.1]
    """
    for name in values:
        if name not in OPTIONS:
            raise unknown_option("hyperparameter", name, OPTIONS)
        if isinstance(values[name], str):
            raise InputError(f"{name} is a text; a grid takes a list: {name}=[{values[name]!r}]")
    try:
        count = math.prod(map(len, values.values()))
    except TypeError as error:
        raise InputError(f"a grid of {shown(values)}; expected a list for each name") from error
    check_settings(count)
    names = [name for name in OPTIONS if name in values]
    combinations = itertools.product(*(values[name] for name in names))
    return [
        Hyperparameters(**dict(zip(names, combination, strict=True)))
        for combination in combinations
    ]
