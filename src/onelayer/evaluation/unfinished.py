"""Unfinished work: its finished parts, kept beside its output whatever ends the work.

Each feature set that is probed is a record of its own, and so is each stack that is trained; see
onelayer.training.checkpoint for what a kill inside one loses.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.evaluation.multilabel import LabelFeatures
from onelayer.evaluation.optimism import DIVISIONS
from onelayer.evaluation.probing import FeatureSet
from onelayer.evaluation.run_folder import file_of_set
from onelayer.evaluation.statistics import RESAMPLES
from onelayer.evaluation.task import TASK, TASK_FILE, Task
from onelayer.records import SHARE, Kind, check_arrays
from onelayer.storage import check_output_folder, unfinished_folder, unfinished_place
from onelayer.training.checkpoint import CHECKPOINTS, NOWHERE, Checkpoints, checkpoints_of
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.multilabel import label_model
from onelayer.training.provenance import elsewhere

_ANEW = "or --force without --resume to begin again"


@dataclass(frozen=True)
class Probed:
    """The probes of one feature set, with the data for a comparison of several sets.

    `settings` are all that were tried. `model` is the probe with all labels; `right` (N,) is true
    for the test rows that it predicts correctly; `provenance` is that of its training. `halves`
    (S, 2) is the outcome of best_of_halves for the settings with all labels. `digests` are those of
    the rows of each split, in a stored record.
    """

    features: FeatureSet
    settings: tuple[Hyperparameters, ...]
    right: Annotated[NDArray[np.bool_], "(N,)"]
    halves: Annotated[NDArray[np.float64], "(S, 2)", SHARE]
    model: Classifier
    provenance: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)

    def models(self, data: Dataset) -> Iterator[tuple[str, Classifier]]:
        """Yield the name and the model of the feature set."""
        yield self.features.name, self.model


@dataclass(frozen=True)
class ProbedLabels:
    """The probes of one feature set of multi-label data, with the data to compare several sets.

    `weights` (T, 2, D) and `biases` (T, 2), on features of this `scaling`, are those of the T
    labels that have a probe. `drawn` (R,) is the mean average precision in each resample of the
    test rows. `provenance` and `digests` are as in Probed.

    Raises
    ------
    InputError
        If there are weights or biases of another number of labels.
    """

    features: LabelFeatures
    weights: Annotated[NDArray[Any], "(T, 2, D)"]
    biases: Annotated[NDArray[Any], "(T, 2)"]
    scaling: Scaling
    drawn: Annotated[NDArray[np.float64], "(R,)"]
    provenance: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        T = sum(probe.setting is not None for probe in self.features.probes)
        check_arrays(self, self.scaling, T=T)

    def models(self, data: Dataset) -> Iterator[tuple[str, Classifier]]:
        """Yield the name, of feature set and label, and the model of each label that has one."""
        probes = zip(data.class_names, self.features.probes, strict=True)
        learned = ((label, probe.setting) for label, probe in probes if probe.setting is not None)
        for (label, setting), W, b in zip(learned, self.weights, self.biases, strict=True):
            model = label_model(data, setting, W, b, self.scaling)
            yield f"{self.features.name}/{label}", model


Finished = Probed | ProbedLabels
LABELS = "labels"  # the name of an option: the labels of multi-label data
PROBED = Kind("probes of a feature set", Probed, format=1)
PROBED_LABELS = Kind("probes of the labels of a feature set", ProbedLabels, format=1)


@dataclass(frozen=True)
class Unfinished:
    """The finished parts of unfinished work, in `path`: feature sets by name, and checkpoints."""

    path: Path
    task: Task
    checkpoints: Checkpoints
    probed: dict[str, Finished] = field(default_factory=dict)

    @classmethod
    def find(cls, out: Path, task: Task, checkpoints: Checkpoints = NOWHERE) -> "Unfinished":
        """Return the finished parts for the output folder `out`, none if nothing is unfinished.

        Raises
        ------
        InputError
            If they belong to another request.
        """
        place = unfinished_place(out)
        if not _is_kept(out):
            return cls(place, task, checkpoints)
        if found := "; ".join(TASK.load(place / TASK_FILE).asked.differences(task.asked)):
            raise InputError(
                f"{out}: {found}, in what is to be resumed; expected the same, {_ANEW}"
            )
        probed = {each.features.name: each for each in finished_sets(task, place)}
        return cls(place, task, checkpoints, probed)

    @classmethod
    @contextmanager
    def hold(
        cls,
        out: Path,
        task: Task,
        *,
        every: str = "none",
        force: bool = False,
        resume: bool = False,
        announce: Callable[[str], None] = print,
    ) -> Iterator["Unfinished"]:
        """Yield the finished parts for the output folder `out`, locked for this process.

        With `resume` they are those of earlier calls, else none. When the block succeeds they are
        removed, else `announce` gets a sentence on how to continue. `every` is the spacing of
        checkpoints.

        Raises
        ------
        InputError
            As check_resumable does; if another process has locked them, or they belong to another
            request.
        """
        check_resumable(out, force=force, resume=resume)
        with unfinished_folder(out) as place:
            check_resumable(out, force=force, resume=resume)  # another process may have come first
            if not (resume and _is_kept(out)):
                _clear(place)
            describe = partial(_describe, task, place)
            checkpoints = Checkpoints.beside(place, every, announce, describe)
            found = cls.find(out, task, checkpoints)
            try:
                yield found
            except BaseException:
                if _is_kept(out):
                    how = _command(out) if task.command else "the same call with resume=True"
                    announce(f"note: what is finished is kept in {place}; {how} goes on")
                raise
            _clear(place)

    @staticmethod
    def share(out: Path, task: Task, every: str) -> Checkpoints:
        """Return the checkpoints of what rank 0 holds, for another rank."""
        place = unfinished_place(out)
        return Checkpoints.shared(place, every, partial(_describe, task, place))

    def check(self, feature_sets: Mapping[str, Dataset]) -> None:
        """Raise InputError if a finished feature set is missing here, or has other rows now."""
        for name, kept in self.probed.items():
            if name not in feature_sets:
                raise InputError(
                    f"{self.path}: holds probes of {name}, which is not asked for now; expected "
                    f"the same feature sets or more, {_ANEW}"
                )
            data = feature_sets[name]
            now = digests_of_splits(data)
            if changed := [split for split in now if now[split] != kept.digests.get(split)]:
                raise InputError(
                    f"{name}: the {' and '.join(changed)} rows are not those that were probed "
                    f"before; expected the same data, {_ANEW}"
                )
            sizes = {"N": len(data.splits["test"]), "S": 2 * DIVISIONS, "R": RESAMPLES}
            check_arrays(kept, **sizes, D=data.n_features)

    def tell(self, here: Mapping[str, Any]) -> Iterator[str]:
        """Yield sentences: the finished sets, and differences of their provenance from `here`."""
        if self.probed:
            yield f"{', '.join(self.probed)}: finished before"
        for name, kept in self.probed.items():
            for words in elsewhere(kept.provenance, here):
                yield f"{name}: {words}"

    def keep(self, probed: Finished, data: Dataset) -> None:
        """Store the probes of a feature set, whole or not at all."""
        _describe(self.task, self.path)
        name = probed.features.name
        self.probed[name] = replace(probed, digests=digests_of_splits(data))
        path = self.path / file_of_set(len(self.probed), name)
        _kind_of(self.task).save(self.probed[name], path)
        self.checkpoints.of(job_of_set(name)).clear()


def job_of_set(name: str) -> str:
    """Return the name of a feature set's job among the checkpoints: a name may hold any letter."""
    return f"probe-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def check_resumable(out: Path, *, force: bool, resume: bool) -> None:
    """Raise InputError unless `out` can be filled; without `force` no earlier work is lost."""
    check_output_folder(out, force=force)
    if force or resume or not _is_kept(out):
        return
    if found := len(records_of(unfinished_place(out))):
        raise InputError(
            f"{out}: {found} of the feature sets of an earlier probe are finished; add --resume to "
            "go on with it, or --force to begin again"
        )
    raise InputError(
        f"{out}: an earlier training is unfinished; {_command(out)} goes on with it, --force "
        "begins again"
    )


def _command(out: Path) -> str:
    return f"onelayer resume {quote(str(out))}"


def _describe(task: Task, place: Path) -> None:
    """Write the request into the folder `place`, before the first finished part."""
    if not (place / TASK_FILE).is_file():
        TASK.save(task, place / TASK_FILE)


def digests_of_splits(data: Dataset) -> dict[str, str]:
    """Return the SHA-256 of the rows of each split."""
    return {name: split.digest() for name, split in data.splits.items()}


def _is_kept(out: Path) -> bool:
    """Return whether there are finished parts or checkpoints for the folder `out`."""
    return bool(records_of(unfinished_place(out)) or checkpoints_of(out).files())


def records_of(place: Path) -> list[Path]:
    """Return the files of the finished feature sets."""
    return sorted(place.glob("*.safetensors"))


def finished_sets(task: Task, place: Path) -> list[Finished]:
    """Return the finished feature sets in the folder `place`."""
    return [_kind_of(task).load(path) for path in records_of(place)]


def _kind_of(task: Task) -> Kind[Any]:
    """Return the kind of the records of feature sets: that of labels, if the request names them."""
    return PROBED_LABELS if LABELS in task.asked.options else PROBED


def _clear(place: Path) -> None:
    Checkpoints(place / CHECKPOINTS).clear()
    for path in (*records_of(place), place / TASK_FILE):
        path.unlink(missing_ok=True)
