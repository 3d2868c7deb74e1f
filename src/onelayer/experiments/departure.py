"""The first difference between a training and the stored one, down to the bit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.probing import Drawn, Labelled
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import CURVES, Run

Curve = tuple[NDArray[np.intp], NDArray[Any]]  # epochs (C,), values (M, C)
Keys = tuple[str, ...]
_ONE_OF = {"tried": "setting", "draws": "draw"}


@dataclass(frozen=True)
class Departure:
    """The first difference between a training and the stored one: its name, place and quantity.

    `place` is an epoch and a model, or the labels and the setting of a probe. `quantity` is the
    curve, or the part of the results, that differs; `distance` is its largest difference there over
    all models, NaN where only one of the two is a number.
    """

    training: str
    place: str
    quantity: str
    distance: float

    def __str__(self) -> str:
        how = "is another" if math.isnan(self.distance) else f"differs by {self.distance:.3g}"
        where = f" at {self.place}" if self.place else ""
        return f"{self.training}: leaves the stored one{where}: {self.quantity} {how}"


def find_departure(name: str, before: Any, again: Any) -> Departure | None:
    """Return the first difference of two trainings, None if they are bit-identical.

    They are two runs, two cross-validations, or two records of probes in the order of the work.
    """
    if not isinstance(before, Run | CrossValidation):
        return _of_records(name, before, again)
    stored, new = _curves(before), _curves(again)
    found = [
        (epoch, model, quantity.replace("_", " "), distance)
        for quantity in stored
        for epoch, model, distance in _differences(stored[quantity], new[quantity])
    ]
    if not found and isinstance(before, Run):
        found = [*_of_parameters(before, again)]
    if not found:
        return None
    epoch, model, quantity, distance = min(found, key=lambda one: one[0])
    return Departure(name, f"epoch {epoch}, model {model}", quantity, distance)


def _of_parameters(before: Run, again: Run) -> Iterator[tuple[int, int, str, float]]:
    """Yield the kept epoch, the model and the distance where weights or biases differ."""
    for part in ("weights", "biases"):
        ours, theirs = getattr(before, part), getattr(again, part)
        for model in np.flatnonzero((ours != theirs).reshape(len(ours), -1).any(axis=1))[:1]:
            yield int(before.kept[model]), int(model), part, float(abs(ours - theirs).max())


def _curves(training: Run | CrossValidation) -> dict[str, Curve]:
    """Return the epochs (C,) and the values (M, C) of every curve."""
    if isinstance(training, Run):
        history = training.history
        return {name: (history.measured, getattr(history, name)) for name in CURVES}
    curves = {each.name: getattr(training, each.name) for each in fields(training)}
    flat = {n: v.reshape(-1, v.shape[-1]) for n, v in curves.items() if n.endswith("_curves")}
    ends = {n: v.reshape(-1, 1) for n, v in curves.items() if n in ("accuracy", "loss")}
    E = next(iter(flat.values())).shape[1]
    epochs = {**dict.fromkeys(flat, np.arange(1, E + 1)), **dict.fromkeys(ends, np.array([E]))}
    return {name: (epochs[name], values) for name, values in {**flat, **ends}.items()}


def _differences(one: Curve, other: Curve) -> Iterator[tuple[int, int, float]]:
    """Yield epoch, model and distance of the first difference of two curves; none if equal."""
    every = np.union1d(one[0], other[0])
    a, b = (_at(every, *curve) for curve in (one, other))
    unequal = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    for column in np.flatnonzero(unequal.any(axis=0))[:1]:
        models = np.flatnonzero(unequal[:, column])
        distance = abs(a[models, column] - b[models, column]).max()
        yield int(every[column]), int(models[0]), float(distance)


def _at(every: NDArray[np.intp], epochs: NDArray[np.intp], values: NDArray[Any]) -> NDArray[Any]:
    filled = np.full((len(values), len(every)), np.nan)
    filled[:, np.searchsorted(every, epochs)] = values
    return filled


def _of_records(name: str, before: Any, again: Any) -> Departure | None:
    """Return the first difference of two records, in the order of their fields."""
    stored, new = ({place: value for place, *value in _values(one)} for one in (before, again))
    for place, (words, _) in {**new, **stored}.items():
        one, other = (some[place][1] if place in some else None for some in (stored, new))
        if not _same(one, other):
            quantity = place[-1].replace("_", " ")
            return Departure(name, ", ".join(words), quantity, _distance(one, other))
    return None


def _values(record: Any, words: Keys = (), place: Keys = ()) -> Iterator[tuple[Keys, Keys, Any]]:
    """Yield every number, text and array in a record: its place, the place in words, itself."""
    items = vars(record) if is_dataclass(record) else record
    if not isinstance(items, Mapping):
        yield place, words[:-1], record
        return
    for key, value in items.items():
        several = isinstance(value, tuple)
        for number, item in enumerate(value if several else [value], 1):
            name = f"{_ONE_OF.get(key, key)} {number}" if several else key
            yield from _values(item, (*words, _words(name, item)), (*place, name))


def _words(name: str, item: Any) -> str:
    """Return the words for a part of a record: probes are named by their labels and their λ."""
    if isinstance(item, Drawn) and name != "control":
        return f"{item.labels:,} {'labels' if isinstance(item, Labelled) else 'rows'}"
    setting = getattr(item, "setting", None)
    own = f", λ={setting.l2:g}" if isinstance(setting, Hyperparameters) else ""
    return name.replace("_", " ") + own


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other or (one != one and other != other))  # NaN is the same as NaN


def _distance(one: Any, other: Any) -> float:
    try:
        return float(np.abs(np.subtract(one, other)).max())
    except (TypeError, ValueError):  # no numbers, or arrays of other shapes
        return math.nan
