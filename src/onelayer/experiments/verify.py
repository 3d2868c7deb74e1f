"""Verification: train a stored run again from its options and data, and compare bit for bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.dataset import Dataset
from onelayer.errors import InputError, about
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.evaluation.results import Results
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.task import TASK_FILE
from onelayer.experiments.departure import Departure, find_departure
from onelayer.experiments.experiment import cross_validate_spec, load_data, train_spec
from onelayer.experiments.feature_sets import load_feature_sets
from onelayer.experiments.probe import probe, read_call
from onelayer.experiments.spec import Spec, load_spec
from onelayer.option import takes
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import HERE, Machine
from onelayer.training.provenance import elsewhere, place_of, recorded
from onelayer.training.ranks import check_alone


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


@dataclass(frozen=True)
class _Pair:
    """A training as it is stored, and again, each with its provenance if it is known."""

    name: str
    before: Any
    again: Any
    place: Mapping[str, Any] = field(default_factory=dict)
    here: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Model:
    setting: Hyperparameters
    weights: NDArray[np.floating]
    biases: NDArray[np.floating]


@takes(machine=Machine)
@checked
def verify(
    folder: str | Path,
    *,
    machine: Machine,
    source: str | Path | None = None,
    announce: Callable[[str], None] = print,
) -> Receipt:
    """Train all of a folder again, and compare: runs, repeats, folds and variants, or probes.

    `source` is the place of the data set of a run, if not the cache. `announce` gets a sentence for
    each comparison. Probes take the memory of the first time unless `machine` has another one.

    Raises
    ------
    InputError
        If the folder holds no results, does not say how they were made, or the data are not those
        of the training.
    """
    check_alone("verify")
    stored = RunFolder.open(Path(folder))
    find = _probes if stored.has_probes else _trainings
    departures, names, reasons = list[Departure](), list[str](), dict[str, None]()
    for pair in find(stored, machine, None if source is None else Path(source)):
        names.append(pair.name)
        departure = find_departure(pair.name, pair.before, pair.again)
        announce(f"{pair.name}: the same" if departure is None else str(departure))
        if departure is not None:
            departures.append(departure)
        reasons |= dict.fromkeys(elsewhere(pair.place, place_of(pair.here)))
        if of_some := pair.place.get("elsewhere"):
            reasons[str(of_some)] = None
    return Receipt(tuple(names), tuple(departures), tuple(reasons))


def _trainings(stored: RunFolder, machine: Machine, source: Path | None) -> Iterator[_Pair]:
    """Yield each training of an experiment and of its variants."""
    for part, found, spec in _experiments(stored):
        data = load_data(spec.data, source)
        before = found.run.provenance
        _check_data(stored.path, recorded(before, "digests", Mapping), data)
        same = replace(machine, stacks=machine.stacks or len(recorded(before, "stacks", list)))
        for pair in _pairs(found, spec, data, same):
            yield replace(pair, name=f"{part}{pair.name}")


def _experiments(stored: RunFolder) -> Iterator[tuple[str, Results, Spec]]:
    """Yield name, results and spec of the experiment of a folder, and of its variants."""
    results, spec = stored.results(), load_spec(str(stored.spec_file))
    yield "", results, spec
    for variant, own in zip(spec.variants, spec.of_variants(), strict=True):
        yield f"{variant.name}, ", stored.variant(variant.name).results(), own


def _check_data(path: Path, before: Mapping[str, str], data: Dataset) -> None:
    for file in sorted(before.keys() | data.digests.keys()):
        if before.get(file) != data.digests.get(file):
            raise InputError(
                f"{path}: the data are not those of the training: {file} has another SHA-256; "
                "expected the same files"
            )


def _pairs(found: Results, spec: Spec, data: Dataset, machine: Machine) -> Iterator[_Pair]:
    """Yield each training of an experiment."""
    settings = list(found.run.settings)
    if found.cross_validation is not None:
        folds = cross_validate_spec(spec, data, settings, machine)
        yield _Pair("folds", found.cross_validation, folds)
    for number, before in enumerate((found.run, *found.repeats)):
        name = f"repeat {number}" if number else "training"
        again = train_spec(spec, data, list(before.settings), machine, number)
        yield _Pair(name, before, again, before.provenance, again.provenance)


def _probes(stored: RunFolder, machine: Machine, source: Path | None) -> Iterator[_Pair]:
    """Yield the probes of each feature set."""
    if source is not None:
        raise InputError(f"source: {source}; probes read the files of the first time: leave it out")
    before, kept, task = stored.probes(), stored.probe_models(), stored.task()
    with about(stored.path / TASK_FILE):
        call, models = read_call(task.call), list[Classifier]()
        memory = recorded(call["machine"], "memory", int | float)
    here = memory if machine.memory == HERE.memory else machine.memory
    again = probe(
        _feature_sets(stored.path, before, call),
        call["settings"],
        options=call["options"],
        machine=replace(
            machine, memory=here, stacks=machine.stacks or call["machine"].get("stacks")
        ),
        asked=call["asked"],
        fractions=call["fractions"],
        on_model=lambda _, model: models.append(model),
    )
    if len(kept) != len(models):
        raise InputError(f"{stored.path}: holds {len(kept)} models; expected {len(models)}")
    places = {**before.provenance, "memory": memory}, {**again.provenance, "memory": here}
    found = _by_set(again, models)
    for name, record in _by_set(before, kept).items():
        yield _Pair(name, record, found[name], *places)


def _feature_sets(
    path: Path, probing: Probing | LabelProbing, call: Mapping[str, Any]
) -> dict[str, Dataset]:
    """Return the feature sets of a call, or raise InputError if they are not those of before."""
    feature_sets = load_feature_sets(call["sources"], **call["data"])
    names = [features.name for features in probing.feature_sets]
    if [*feature_sets] != names:
        raise InputError(
            f"{path}: holds probes of {', '.join(names)}, and {', '.join(feature_sets)} are there "
            "now; expected the same feature sets"
        )
    digests = recorded(probing.provenance, "digests", Mapping)
    for name, data in feature_sets.items():
        _check_data(path, recorded(digests, name, Mapping), data)
    return feature_sets


def _by_set(probing: Probing | LabelProbing, models: Sequence[Classifier]) -> dict[str, Any]:
    """Return all that is known of each feature set, in the order of the work, by its name."""
    parameters = iter([_Model(one.hyperparameters, one.weights, one.biases) for one in models])
    if isinstance(probing, Probing):
        return {
            features.name: {
                "tried": features.tried,
                "by_labels": features.by_labels,
                "model": next(parameters),
                **vars(features),
            }
            for features in probing.feature_sets
        }
    return {
        features.name: {
            label: {"model": one.setting and next(parameters), "probe": one}
            for label, one in zip(probing.labels, features.probes, strict=True)
        }
        | {name: value for name, value in vars(features).items() if name != "probes"}
        for features in probing.feature_sets
    }
