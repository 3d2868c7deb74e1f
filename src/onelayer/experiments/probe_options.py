"""The options of a probe: their defaults, and checks of which go together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onelayer.data.dataset import Dataset
from onelayer.data.multilabel import has_both
from onelayer.errors import InputError, shown
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.multilabel import find_choice
from onelayer.option import COUNT, Checked, option
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions

# Defaults of probes that differ from those of training: the exact solver, with a λ that is found.
# For descent: standardised features need no wider grid; falling rates with momentum end near the
# least cost; only the end of a probe is evaluated.
GRID: Mapping[str, Sequence[Any]] = {
    "l2": (0.0, 0.001, 0.01, 0.1, 1.0),
    "learning_rate": (0.1, 0.01, 0.001),
    "schedule": ("cosine",),
    "momentum": (0.9,),
}
DEFAULTS: Mapping[str, Any] = {
    "solver": "exact",
    "scaling": "standardise",
    "evaluate_every": 0,
}


def probe_grid(solver: str = "descent", **values: Sequence[Any]) -> list[Hyperparameters] | None:
    """Return the settings of a probe: GRID, with these `values` in place of its own.

    For the exact solver, the `values` with the λ of GRID; without values None, so that λ is found.
    """
    if solver == "exact":
        return grid(**{"l2": GRID["l2"], **values}) if values else None
    return grid(**{**GRID, **values})


SMALLEST_C, LARGEST_C = 1e-20, 1e20  # beyond these, λ does not fit in float32


def _read_C(given: Any) -> tuple[float, ...]:
    """Return the numbers of a list, or of a text with commas."""
    try:
        values = given.split(",") if isinstance(given, str) else list(given)
        read = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        read = ()
    if not read or not all(SMALLEST_C <= value <= LARGEST_C for value in read):
        raise InputError(
            f"C is {shown(given)}; expected numbers from {SMALLEST_C:g} to {LARGEST_C:g}: 0.1,1,10"
        )
    return read


@dataclass(frozen=True)
class ProbeOptions(Checked):
    """Options of a probe: its parts beside the probe of all labels, and the choice of a setting.

    Each C stands for λ = 1 / (2 N C), for two classes 1 / (N C), with N labelled rows.
    """

    draws: int = option(
        5,
        "Number of random subsets per fraction, and of label shuffles.",
        least=1,
        most=1000,
    )
    metric: str | None = option(
        None,
        "Metric on the validation split that chooses (default: accuracy; log-loss where a row may "
        f"have several labels): {', '.join(METRICS)}.",
        kind=str,
        choices=METRICS,
    )
    control: bool = option(False, "Also probe with shuffled labels and report the selectivity.")
    C: tuple[float, ...] | None = option(
        None,
        "Values of LogisticRegression's C to try, in place of λ: 0.1,1,10.",
        kind=tuple,
        parse=_read_C,
    )
    halvings: int = option(
        0, "Number of times that the interval around the best C is halved.", least=0, most=20
    )
    refit: bool = option(
        False, "Train the setting chosen with all labels again, on training and validation rows."
    )
    iterations: int | None = option(
        None,
        "Number of mini-batches to train with, in place of epochs.",
        kind=int,
        least=1,
        most=10**9,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.halvings and len(self.C or ()) < 2:
            raise InputError(
                f"halvings is {self.halvings} and C is {shown(self.C)}; expected two values of C "
                "or more, to halve the interval between them"
            )

    @property
    def chooses_by(self) -> str:
        """The name of the metric that chooses if a row has one class."""
        return self.metric or "accuracy"

    @property
    def chooses_labels_by(self) -> str:
        """The name of the metric that chooses for each label if a row may have several.

        A ranking alone is often best with a λ so large that no probability exceeds 0.5.
        """
        return self.metric or "log-loss"


def check_search(
    asked: ProbeOptions, settings: Sequence[Hyperparameters] | None, options: TrainingOptions
) -> None:
    """Raise InputError if options exclude each other."""
    exact = options.solver == "exact"
    if asked.C and (settings is not None or not exact):
        other = "settings of its own (--l2, --loss)" if exact else "solver descent"
        raise InputError(
            f"C is {shown(asked.C)}, which the exact solver tries in place of settings, and there "
            f"is {other}; leave one of them out"
        )
    if asked.iterations is None:
        return
    if exact:
        raise InputError(
            f"iterations is {asked.iterations}; the exact solver takes no mini-batches: leave it "
            "out, or ask for solver descent"
        )
    if options.epochs != TrainingOptions().epochs:
        raise InputError(
            f"iterations is {asked.iterations} and epochs is {options.epochs}; give one of them"
        )


def check_shard(machine: Machine) -> None:
    """Raise InputError if processes are to share rows."""
    if machine.shard == "rows":
        raise InputError(
            "shard is rows, and probes share feature sets: each process trains on all rows of one; "
            "it takes shard models"
        )


def with_iterations(options: TrainingOptions, iterations: int | None, rows: int) -> TrainingOptions:
    """Return the options with the number of epochs that gives `iterations` mini-batches."""
    if iterations is None:
        return options
    epochs = math.ceil(iterations / math.ceil(rows / options.batch_size))
    return replace(options, epochs=min(epochs, COUNT))


def check_several_labels(data: Dataset, fractions: Sequence[float], asked: ProbeOptions) -> None:
    """Raise InputError for options that do not suit multi-label data."""
    wanted = {
        "C": asked.C is not None,
        "refit": asked.refit,
        "iterations": asked.iterations is not None,
    }
    if named := ", ".join(name for name, given in wanted.items() if given):
        raise InputError(
            f"{data.name}: {named}: of one class a row, and here a row may have several labels; "
            "leave that out"
        )
    find_choice(asked.chooses_labels_by)
    compared = has_both(data.splits["test"].y[:, has_both(data.train.y)])
    if (asked.control or {*fractions} - {1.0}) and not len(compared):
        raise InputError(
            f"{data.name}: each label is in all test rows or in none, so there is no mean average "
            "precision to compare; leave fractions and control out"
        )
