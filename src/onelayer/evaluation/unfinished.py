"""Probes that are finished while others are not: kept beside the output, whatever ends the work.

Each feature set is a record of its own, so a kill loses the one that was being probed at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.errors import InputError, shown
from onelayer.evaluation.optimism import DIVISIONS
from onelayer.evaluation.probing import FeatureSet
from onelayer.evaluation.run_folder import file_of_set
from onelayer.plain_values import to_json
from onelayer.records import SHARE, Kind, check_arrays
from onelayer.storage import check_output_folder, unfinished_folder, unfinished_place
from onelayer.training.classifier import Classifier
from onelayer.training.hyperparameters import Hyperparameters

_ASKED = "asked.json"
_ANEW = "or --force without --resume to begin again"


@dataclass(frozen=True)
class Asked:
    """What probes were asked for: the settings, None where λ is found, and all options by name."""

    settings: tuple[Hyperparameters, ...] | None
    options: Mapping[str, Any]

    def differences(self, now: "Asked") -> Iterator[str]:
        """Yield in words what is another now."""
        if self.settings != now.settings:
            yield f"the settings were {_words(self.settings)}, not {_words(now.settings)}"
        for name in {**self.options, **now.options}:
            before, after = self.options.get(name), now.options.get(name)
            if to_json(before) != to_json(after):  # a tuple comes back as a list
                yield f"{name} was {shown(before)}, not {shown(after)}"


@dataclass(frozen=True)
class Probed:
    """The probes of one feature set, and all that the comparison of several takes of them.

    `settings` are all that were tried, `right` (N,) says on which test rows the `model`, the probe
    with all labels, is right, and `provenance` where it was trained. `halves` (S, 2) is what
    best_of_halves says of the settings with all labels. `digests` are those of the rows of each
    split, once it is kept.
    """

    features: FeatureSet
    settings: tuple[Hyperparameters, ...]
    right: Annotated[NDArray[np.bool_], "(N,)"]
    halves: Annotated[NDArray[np.float64], "(S, 2)", SHARE]
    model: Classifier
    provenance: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)


ASKED = Kind("options of unfinished probes", Asked, format=1)
PROBED = Kind("probes of a feature set", Probed, format=1)


@dataclass(frozen=True)
class Unfinished:
    """The feature sets, by name, that are finished of a run that is not, kept in `path`."""

    path: Path
    asked: Asked
    probed: dict[str, Probed] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def hold(
        cls, out: Path, asked: Asked, *, force: bool = False, resume: bool = False
    ) -> Iterator["Unfinished"]:
        """Yield what is kept for the output folder `out`, held by this process alone.

        With `resume` it is what was kept before, else nothing. When the block succeeds it goes.

        Raises
        ------
        InputError
            As check_resumable does; if another process holds it, or it was asked for something
            else.
        """
        check_resumable(out, force=force, resume=resume)
        with unfinished_folder(out) as place:
            check_resumable(out, force=force, resume=resume)  # another may have been quicker
            if not (resume and _records(place)):
                _clear(place)
            elif found := "; ".join(ASKED.load(place / _ASKED).differences(asked)):
                raise InputError(
                    f"{out}: {found}, in what is to be resumed; expected the same, {_ANEW}"
                )
            kept = [PROBED.load(path) for path in _records(place)]
            yield cls(place, asked, {each.features.name: each for each in kept})
            _clear(place)

    def check(self, feature_sets: Mapping[str, Dataset]) -> None:
        """Raise InputError if a finished feature set is not among these, or has other rows now."""
        for name, kept in self.probed.items():
            if name not in feature_sets:
                raise InputError(
                    f"{self.path}: holds probes of {name}, which is not asked for now; expected "
                    f"the same feature sets or more, {_ANEW}"
                )
            now = digests_of_splits(feature_sets[name])
            if changed := [split for split in now if now[split] != kept.digests.get(split)]:
                raise InputError(
                    f"{name}: the {' and '.join(changed)} rows are not those that were probed "
                    f"before; expected the same data, {_ANEW}"
                )
            check_arrays(kept, N=len(feature_sets[name].splits["test"]), S=2 * DIVISIONS)

    def tell(self, here: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is kept, and in what it was trained otherwise than `here`, by provenance."""
        if self.probed:
            yield f"{', '.join(self.probed)}: finished before"
        for name, kept in self.probed.items():
            for what in sorted(here.keys() & kept.provenance.keys()):
                if kept.provenance[what] != here[what]:
                    was = f"{shown(kept.provenance[what])}, not {shown(here[what])}"
                    yield f"{name}: trained where {what} is {was}; the last digits may be others"

    def keep(self, probed: Probed, data: Dataset) -> None:
        """Store the probes of a feature set, whole or not at all."""
        if not (self.path / _ASKED).is_file():
            ASKED.save(self.asked, self.path / _ASKED)
        name = probed.features.name
        self.probed[name] = replace(probed, digests=digests_of_splits(data))
        PROBED.save(self.probed[name], self.path / file_of_set(len(self.probed), name))


def check_resumable(out: Path, *, force: bool, resume: bool) -> None:
    """Raise InputError unless the folder `out` can be filled; nothing is lost without `force`."""
    check_output_folder(out, force=force)
    if (found := len(_records(unfinished_place(out)))) and not (force or resume):
        raise InputError(
            f"{out}: {found} of the feature sets of an earlier probe are finished; add --resume to "
            "go on with it, or --force to begin again"
        )


def digests_of_splits(data: Dataset) -> dict[str, str]:
    """Return the SHA-256 of the rows of each split."""
    return {name: split.digest() for name, split in data.splits.items()}


def _words(settings: Sequence[Hyperparameters] | None) -> str:
    return "a path of λ" if settings is None else shown("; ".join(map(str, settings)))


def _records(place: Path) -> list[Path]:
    return sorted(place.glob("*.safetensors"))


def _clear(place: Path) -> None:
    for path in (*_records(place), place / _ASKED):
        path.unlink(missing_ok=True)
