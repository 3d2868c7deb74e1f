"""Verification: train a stored run again from its options and data, and compare bit for bit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.dataset import Dataset
from onelayer.errors import InputError
from onelayer.evaluation.results import Results
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments.experiment import cross_validate_spec, load_data, train_spec
from onelayer.experiments.spec import Spec, load_spec
from onelayer.option import takes
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.machine import Machine
from onelayer.training.provenance import elsewhere
from onelayer.training.run import CURVES, Run

_NOT_OF_THE_PLACE = {"date", "seconds", "stacks", "digests", "processes"}


@dataclass(frozen=True)
class Departure:
    """The first difference between a training and the stored one: its name, epoch and model.

    `quantity` is the curve, or the part of the run, that differs; `distance` is its largest
    difference over all models at that epoch, NaN where only one of the two is a number.
    """

    training: str
    epoch: int
    model: int
    quantity: str
    distance: float

    def __str__(self) -> str:
        return (
            f"{self.training}: leaves the stored one at epoch {self.epoch}, model {self.model}: "
            f"{self.quantity} differs by {self.distance:.3g}"
        )


@dataclass(frozen=True)
class Receipt:
    """The compared trainings, the first difference of each that differs, and known reasons."""

    trainings: tuple[str, ...]
    departures: tuple[Departure, ...]
    reasons: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether all trainings are bit-identical."""
        return not self.departures


@takes(machine=Machine)
@checked
def verify(
    folder: str | Path,
    *,
    machine: Machine,
    source: str | Path | None = None,
    announce: Callable[[str], None] = print,
) -> Receipt:
    """Train all of a folder of results again, and compare: runs, repeats, folds, variants.

    `source` is the place of the data set, if not the cache. `announce` gets a sentence for each
    comparison.

    Raises
    ------
    InputError
        If the folder holds no results, or the data are not those of the training.
    """
    stored = RunFolder.open(Path(folder))
    departures, names, reasons = list[Departure](), list[str](), dict[str, None]()
    for part, found, spec in _experiments(stored):
        data = load_data(spec.data, None if source is None else Path(source))
        _check_data(stored.path, found.run, data)
        same = replace(machine, stacks=machine.stacks or len(found.run.provenance["stacks"]))
        for name, before, again in _pairs(found, spec, data, same):
            names.append(f"{part}{name}")
            departure = find_departure(names[-1], before, again)
            announce(f"{names[-1]}: the same" if departure is None else str(departure))
            if departure is not None:
                departures.append(departure)
            if isinstance(before, Run) and isinstance(again, Run):
                here = {k: v for k, v in again.provenance.items() if k not in _NOT_OF_THE_PLACE}
                reasons |= dict.fromkeys(elsewhere(before.provenance, here))
    return Receipt(tuple(names), tuple(departures), tuple(reasons))


def _experiments(stored: RunFolder) -> Iterator[tuple[str, Results, Spec]]:
    """Yield name, results and spec of the experiment of a folder, and of its variants."""
    results, spec = stored.results(), load_spec(str(stored.spec_file))
    yield "", results, spec
    for variant, own in zip(spec.variants, spec.of_variants(), strict=True):
        yield f"{variant.name}, ", stored.variant(variant.name).results(), own


def _check_data(path: Path, run: Run, data: Dataset) -> None:
    before = run.provenance.get("digests", data.digests)
    for file in sorted(before.keys() | data.digests.keys()):
        if before.get(file) != data.digests.get(file):
            raise InputError(
                f"{path}: the data are not those of the training: {file} has another SHA-256; "
                "expected the same files"
            )


def _pairs(
    found: Results, spec: Spec, data: Dataset, machine: Machine
) -> Iterator[tuple[str, Run | CrossValidation, Run | CrossValidation]]:
    """Yield each training of an experiment: its name, the stored one, and the new one."""
    settings = list(found.run.settings)
    if found.cross_validation is not None:
        again = cross_validate_spec(spec, data, settings, machine)
        assert again is not None
        yield "folds", found.cross_validation, again
    for number, before in enumerate((found.run, *found.repeats)):
        name = f"repeat {number}" if number else "training"
        yield name, before, train_spec(spec, data, list(before.settings), machine, number)


def find_departure(name: str, before: Any, again: Any) -> Departure | None:
    """Return the first difference of two trainings, None if they are bit-identical."""
    stored, new = _curves(before), _curves(again)
    found = [
        Departure(name, epoch, model, quantity.replace("_", " "), distance)
        for quantity in stored
        for epoch, model, distance in _differences(stored[quantity], new[quantity])
    ]
    if found or not isinstance(before, Run):
        return min(found, key=lambda departure: departure.epoch, default=None)
    for part in ("weights", "biases"):
        ours, theirs = getattr(before, part), getattr(again, part)
        for model in np.flatnonzero((ours != theirs).reshape(len(ours), -1).any(axis=1))[:1]:
            distance = float(abs(ours - theirs).max())
            return Departure(name, int(before.kept[model]), int(model), part, distance)
    return None


def _curves(training: Run | CrossValidation) -> dict[str, tuple[NDArray[np.intp], NDArray[Any]]]:
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


def _differences(
    one: tuple[NDArray[np.intp], NDArray[Any]], other: tuple[NDArray[np.intp], NDArray[Any]]
) -> Iterator[tuple[int, int, float]]:
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
