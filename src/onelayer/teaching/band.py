"""The band of accuracies that a right implementation reaches: trainings in other orders.

A new training, in an order of its own, lies in mean ± t · sd · √(1 + 1/R) of R trainings with a
probability of 95 % (the prediction interval of a normal sample).
"""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.errors import InputError
from onelayer.evaluation.confusions import accuracies, confusion_matrices
from onelayer.evaluation.statistics import spread, student_quantile
from onelayer.plain_values import parse_json, read_text
from onelayer.progress import Update
from onelayer.report.blocks import Column, Table, make_table
from onelayer.storage import atomic_file
from onelayer.teaching.variants import OpenCourse, Variant, options_of_course
from onelayer.training.loop import train
from onelayer.training.run import Run


@dataclass(frozen=True)
class Band:
    """Test accuracies of R trainings of M settings (R, M), and the intervals that follow."""

    accuracies: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean accuracy of each setting (M,)."""
        return spread(self.accuracies).mean

    @property
    def half_width(self) -> NDArray[np.float64]:
        """How far the band reaches from the mean, t · sd · √(1 + 1/R), of each setting (M,)."""
        R = len(self.accuracies)
        width: NDArray[np.float64] = (
            student_quantile(R - 1) * spread(self.accuracies).sd * math.sqrt(1 + 1 / R)
        )
        return width

    def holds(self, accuracy: float, setting: int, slack: float = 0.0) -> bool:
        """Whether an accuracy lies in the band of a setting, or at most `slack` outside."""
        off = abs(accuracy - self.mean[setting])
        return bool(off <= self.half_width[setting] + slack)

    def ends(self, setting: int) -> tuple[float, float]:
        """Return both ends of the band of a setting."""
        middle, reach = float(self.mean[setting]), float(self.half_width[setting])
        return middle - reach, middle + reach

    def told(self, setting: int) -> str:
        """Return the band of a setting in words."""
        return f"{self.mean[setting]:.4f} ± {self.half_width[setting]:.4f}"


def band_of(opened: OpenCourse, variant: Variant, update: Update | None = None) -> Band:
    """Return the band of a variant: the one that is kept in the teacher's folder, or a new one."""
    course, data = opened.course, opened.data(variant)
    options = replace(
        options_of_course(course, variant), order="shuffled", evaluate_every=0, snapshots=0
    )
    key = [data.train.digest(), list(data.class_names), repr(variant.settings), repr(options)]
    digest = hashlib.sha256(json.dumps([*key, course.band_runs]).encode()).hexdigest()
    path = opened.folder.own / "bands" / f"{digest[:24]}.json"
    if path.is_file():
        return _read(path)
    rows = []
    for number in range(course.band_runs):
        run = train(data, variant.settings, options=replace(options, seed=options.seed + number))
        rows.append(test_accuracies(run, data))
        if update:
            update(number + 1)
    with atomic_file(path) as new:
        new.write_text(json.dumps({"accuracies": rows}))
    return Band(np.array(rows))


def test_accuracies(run: Run, data: Dataset) -> list[float]:
    """Return the test accuracy of each model of a run, NaN where it was stopped."""
    sound = [model for model in range(len(run.settings)) if not run.stopped[model]]
    shares = accuracies(confusion_matrices(run, data.test, sound))
    return [float(share) for share in shares]


def _read(path: Path) -> Band:
    try:
        values = np.array(parse_json(read_text(path))["accuracies"], np.float64)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a band; delete it, and it is measured again") from error
    if values.ndim != 2 or len(values) < 2:
        raise InputError(f"{path}: not a band; delete it, and it is measured again")
    return Band(values)


def band_table(band: Band, variant: Variant) -> Table:
    """Return the band of every setting of a variant, as a table."""
    M = len(variant.settings)
    return make_table(
        "band",
        f"Test accuracies of {len(band.accuracies)} trainings in shuffled orders; another one lies "
        "in the band with a probability of 95 %.",
        Column("setting", "words", [f"{setting}" for setting in variant.settings]),
        Column("mean", "decimals", band.mean),
        Column("band", "range", [band.ends(m) for m in range(M)]),
    )
