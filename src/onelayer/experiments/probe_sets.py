"""The work of probes: every feature set is probed alone, and all are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.data.multilabel import label_subset_weights
from onelayer.data.splitting import subset_weights
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.evaluation.unfinished import (
    LABELS,
    Finished,
    digests_of_splits,
    job_of_set,
)
from onelayer.experiments.multilabel import compare_labels, probe_labels
from onelayer.experiments.probe_options import (
    ProbeOptions,
    check_search,
    check_several_labels,
    check_shard,
    probe_grid,
    with_iterations,
)
from onelayer.experiments.probe_training import compare_features, probe_features
from onelayer.experiments.workload import Progress, Workload
from onelayer.progress import progress_bar
from onelayer.training.checkpoint import Asked, Checkpoints
from onelayer.training.engine import MakeEngine
from onelayer.training.hyperparameters import Hyperparameters, check_settings, grid
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions
from onelayer.training.path import MOST
from onelayer.training.provenance import software_of
from onelayer.training.world import shared, world

AnyProbing = Probing | LabelProbing


@dataclass(frozen=True)
class Probes:
    """Feature sets of the same rows, the work on each of them, and how it is done."""

    feature_sets: Mapping[str, Dataset]
    work: Workload
    options: TrainingOptions
    asked: ProbeOptions
    machine: Machine

    @classmethod
    def of(
        cls,
        feature_sets: Mapping[str, Dataset],
        settings: Sequence[Hyperparameters] | None,
        fractions: Sequence[float],
        options: TrainingOptions,
        asked: ProbeOptions,
        machine: Machine,
    ) -> "Probes":
        """Return the probes that are asked for; the epochs are then the number of iterations."""
        check_shard(machine)
        first = next(iter(feature_sets.values()))
        if first.multilabel:
            check_several_labels(first, fractions, asked)
        settings = probe_grid(options.solver) if settings is None else settings
        check_search(asked, settings, options)
        fractions = sorted({*map(float, fractions), 1.0})
        on_path = max(MOST, len(asked.C or ()) + 2 * asked.halvings)
        check_settings(on_path if settings is None else len(settings), len(fractions), asked.draws)
        options = with_iterations(options, asked.iterations, len(first.train))
        subsets = _draw_subsets(first, fractions, asked.draws, options.seed)
        shuffles, judged = asked.draws if asked.control else 0, len(first.splits["validation"])
        work = Workload(settings, subsets, shuffles, judged, options.solver, int(asked.refit))
        return cls(feature_sets, work, options, asked, machine)

    @property
    def first(self) -> Dataset:
        """The first feature set: the others have the same rows and labels."""
        return next(iter(self.feature_sets.values()))

    @property
    def request(self) -> Asked:
        """The request, which work that is resumed must share."""
        labels = {LABELS: self.first.class_names} if self.first.multilabel else {}
        return Asked(
            None if self.work.settings is None else tuple(self.work.settings),
            {
                "fractions": [*self.work.subsets],
                **labels,
                **asdict(self.asked),
                **asdict(self.options),
            },
        )

    @property
    def make_engine(self) -> MakeEngine:
        """The class of the engine that trains."""
        return self.machine.find_engine(self.options.dtype, self.work.settings or grid())

    def _facts(self) -> dict[str, Any]:
        """Return what must be the same on all ranks, by name."""
        own = {"feature sets": [*self.feature_sets], "memory": self.machine.memory}
        digests = {
            f"{name}, {split}": digest
            for name, data in self.feature_sets.items()
            for split, digest in digests_of_splits(data).items()
        }
        return self.request.facts | software_of(self.make_engine) | own | digests

    def find(
        self,
        known: Mapping[str, Finished],
        checkpoints: Checkpoints,
        keep: Callable[[Finished, Dataset], None] = lambda found, data: None,
    ) -> list[Finished]:
        """Return the probes of all feature sets; rank 0 has some that are `known`.

        Of several ranks each probes one of the others at a time. `keep` is called with the probes
        of each of them, and its data.
        """
        here = world()
        if here.size > 1:
            here.agree(self._facts())
        done = dict(here.gather(known)[0])
        missing = [name for name in self.feature_sets if name not in done]
        with self._progress(missing[here.rank :: here.size]) as progress:
            for found in shared(missing, partial(self._find, progress, checkpoints)):
                done[found.features.name] = found
                keep(found, self.feature_sets[found.features.name])
        return [done[name] for name in self.feature_sets]

    @contextmanager
    def _progress(self, own: Sequence[str]) -> Iterator[Progress]:
        """Yield the progress on a rank's own feature sets; rank 0 shows its own for that of all."""
        if not world().leads:
            yield Progress(lambda done, words: None, self.work)
            return
        total = sum(self.work.of_set(self.feature_sets[name]) for name in own)
        with progress_bar("probes", total, share=True) as tell:
            yield Progress(tell, self.work)

    def _find(self, progress: Progress, checkpoints: Checkpoints, name: str) -> Finished:
        """Return the probes of one feature set."""
        data, kept = self.feature_sets[name], checkpoints.of(job_of_set(name))
        of_one: Callable[..., Finished] = probe_labels if data.multilabel else probe_features
        return of_one(name, data, self.asked, self.options, self.machine, progress, kept)

    def compare(self, probed: Sequence[Finished]) -> AnyProbing:
        """Return the comparison of the probes of all feature sets."""
        compare: Callable[..., AnyProbing] = (
            compare_labels if self.first.multilabel else compare_features
        )
        return compare(self.feature_sets, probed, self.work.settings, self.asked, self.options)


def _draw_subsets(
    data: Dataset, fractions: Sequence[float], draws: int, seed: int
) -> dict[float, NDArray[np.uint8]]:
    """Return the weights (R, N) of the subsets of each fraction; the full set comes once."""
    of = label_subset_weights if data.multilabel else subset_weights
    weights = of(data.train.y, fractions, draws=draws, seed=seed, class_names=data.class_names)
    return {
        fraction: weights[: draws if fraction < 1 else 1, place]
        for place, fraction in enumerate(fractions)
    }
