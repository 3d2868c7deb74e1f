"""The results of an experiment: everything that its report is made from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.evaluation.calibration import Calibration
from onelayer.evaluation.confusions import Confusions, accuracies
from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.frames import history_columns
from onelayer.evaluation.predictions import Ensemble, Predictions
from onelayer.evaluation.selection import Selection
from onelayer.evaluation.statistics import Spread, spread
from onelayer.model.gradient_check import GradientCheck
from onelayer.model.losses import Loss, find_loss
from onelayer.records import FINITE, SHARE, Arrays, Kind, Within, check_arrays, only_more_fields
from onelayer.storage import atomic_file
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.engine_check import EngineCheck
from onelayer.training.hyperparameters import LARGEST
from onelayer.training.run import Run

CHECKS_FILE = "gradient_check.json"
ENGINE_CHECKS_FILE = "engine_check.json"


@dataclass(frozen=True)
class BatchCheck:
    """A gradient check of a loss on the first `images` training samples, with weight decay `l2`.

    `place` is the kind of W and b at which it was made, "random" or "initial".
    """

    name: str
    images: Annotated[int, Within(1)]
    l2: Annotated[float, Within(0, LARGEST)]
    loss: str
    place: str
    check: GradientCheck

    def __post_init__(self) -> None:
        W, b = self.check.errors_W.shape, self.check.errors_b.shape
        if len(W) != 2 or b != W[:1] or 0 in W:
            raise InputError(f"errors of the shapes {W} and {b}, expected (K, D) and (K,)")
        worst, shape = self.check.worst, {"W": W, "b": b}.get(self.check.worst.parameter, ())
        inside = [0 <= place < size for place, size in zip(worst.index, shape, strict=False)]
        if not inside or not all(inside) or len(worst.index) != len(shape):
            raise InputError(f"worst: {worst.parameter}{[*worst.index]} is no entry of W or b")


def count_failed(checks: Sequence[BatchCheck], engine_checks: Sequence[EngineCheck]) -> int:
    """Return the number of checks that failed."""
    passed = [batch.check.passed for batch in checks] + [each.passed for each in engine_checks]
    return passed.count(False)


@dataclass(frozen=True)
class Results:
    """The results of an experiment: `run` (M models), R `repeats` in shuffled order, checks, test.

    `published` has one accuracy a setting, NaN where there is none. `confusion` counts the test
    samples of `run` for each model, none for a model that was not evaluated; `repeat_accuracies`
    (R, M) are the test accuracies of the repeats. `selection` is the choice of a model, by
    `cross_validation` if there is one, else on the validation split. `optimal_costs` (M,) are the
    least training costs for the λ and the loss of a model, NaN where unknown.

    Raises
    ------
    InputError
        If the shapes do not match.
    """

    title: str
    source: str
    notice: str
    published: Annotated[NDArray[np.float64], "(M,)", SHARE]
    run: Run
    repeats: Annotated[tuple[Run, ...], "(R,)"]
    confusion: Confusions
    repeat_accuracies: Annotated[NDArray[np.float64], "(R, M)", SHARE]
    checks: tuple[BatchCheck, ...]
    engine_checks: tuple[EngineCheck, ...]
    selection: Selection
    cross_validation: CrossValidation | None
    predictions: Predictions
    ensembles: tuple[Ensemble, ...]
    optimal_costs: Annotated[NDArray[np.float64], "(M,)", FINITE]
    author: str = ""

    def __post_init__(self) -> None:
        M, K = len(self.run.settings), len(self.run.class_names)
        check_arrays(self, self.selection, self.confusion, M=M, K=K)
        if (self.confusion.n_models, self.confusion.n_classes) != (M, K):
            raise InputError(
                f"confusion of {self.confusion.n_models} models and {self.confusion.n_classes} "
                f"classes, expected {M} and {K}"
            )
        if self.cross_validation is not None:
            check_arrays(self.cross_validation, M=M)
        self._check_predictions()

    def _check_predictions(self) -> None:
        """Raise InputError unless the predictions match the models and rows in `confusion`."""
        right, K = self.predictions.right, len(self.run.class_names)
        counts = self.confusion.samples[self.evaluated]
        if right.size and (len(right) != len(counts) or (counts != right.shape[1]).any()):
            raise InputError(f"right of the shape {right.shape} for confusions of {counts}")
        for scored in (self.predictions.test, self.predictions.validation):
            if scored is not None and scored.scores.shape[1] != K:
                raise InputError(f"scores of the shape {scored.scores.shape}, expected {K} classes")
        mistakes, shape = self.predictions.mistakes, self.run.weights.shape
        if mistakes is not None and mistakes.X.shape[1] != shape[2]:
            raise InputError(f"images of {mistakes.X.shape[1]} numbers, expected {shape[2]}")

    @property
    def test_samples(self) -> int:
        """The number of samples in the test split."""
        return int(self.confusion.samples.max())

    @cached_property
    def test_accuracies(self) -> NDArray[np.float64]:
        """Accuracy of every model on the test split (M,), NaN where it was not evaluated."""
        return accuracies(self.confusion)

    @cached_property
    def repeat_spread(self) -> Spread:
        """Mean, sd, minimum and maximum of the repeats' test accuracies, each (M,)."""
        return spread(self.repeat_accuracies)

    @property
    def evaluated(self) -> NDArray[np.intp]:
        """The models that were evaluated on the test split."""
        return np.flatnonzero(self.confusion.samples)

    @property
    def selected(self) -> int:
        """The model chosen without the test split, so that its test accuracy is unbiased."""
        return self.selection.chosen

    @property
    def diverged(self) -> bool:
        """Whether the chosen model diverged: then all did, and there is no choice."""
        return bool(self.run.stopped[self.selected])

    @property
    def failed_checks(self) -> int:
        """The number of checks, of gradients and of the engine, that failed."""
        return count_failed(self.checks, self.engine_checks)

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the chosen model's test probabilities, None if it has none."""
        link, test = self.selected_loss.link, self.predictions.test
        if link is None or test is None:
            return None
        return Calibration(link, test, self.predictions.validation)

    @property
    def selected_loss(self) -> Loss:
        """The loss of the chosen model."""
        return find_loss(self.run.settings[self.selected].loss)


def _keep_counts(content: Any, arrays: Arrays) -> tuple[Any, Arrays]:
    """Turn the whole confusion matrices of format 1 into their counts above 0."""
    record, matrices = content["record"], arrays.pop("confusion")
    if matrices.ndim != 3 or matrices.dtype.kind != "i":
        raise InputError(f"confusion of {matrices.dtype} and the shape {matrices.shape}")
    kept = Confusions.of(matrices)
    sizes = {"n_models": kept.n_models, "n_classes": kept.n_classes}
    counts = {"confusion.cells": kept.cells, "confusion.counts": kept.counts}
    return record | {"confusion": sizes}, arrays | counts


# Without the runs, which are records of their own.
RESULTS = Kind(
    "results",
    Results,
    format=3,
    apart=("run", "repeats"),
    upgrades={1: _keep_counts, 2: only_more_fields},
)


def write_checks(
    checks: Sequence[BatchCheck], engine_checks: Sequence[EngineCheck], folder: Path
) -> None:
    """Write gradient_check.json and engine_check.json.

    Every error matrix is a CSV file, W as (K, D), b as (K, 1). All files are for other programs:
    onelayer does not read them.
    """
    records = []
    for batch in checks:
        check = batch.check
        which = batch.name, batch.loss, batch.l2
        matrices = {letter: _matrix_file(*which, letter) for letter in "Wb"}
        _write_matrix(folder / matrices["W"], check.errors_W)
        _write_matrix(folder / matrices["b"], check.errors_b[:, None])
        records.append(
            {
                "name": batch.name,
                "method": check.method,
                "step": check.step,
                "images": batch.images,
                "l2": batch.l2,
                "loss": batch.loss,
                "place": batch.place,
                "eps": check.eps,
                "tolerance": check.tolerance,
                "parameters": check.parameters,
                "max_error_W": check.max_error_W,
                "max_error_b": check.max_error_b,
                "passed": check.passed,
                "worst": asdict(check.worst),
                "matrices": matrices,
            }
        )
    _write_json(folder / CHECKS_FILE, records)
    _write_json(folder / ENGINE_CHECKS_FILE, [asdict(check) for check in engine_checks])


def _matrix_file(name: str, loss: str, l2: float, letter: str) -> str:
    """Return the path of the errors of W or b in the output folder."""
    return f"gradient_check/{Path(name).name}_{Path(loss).name}_l2_{l2:g}_{letter}.csv"


def _write_json(path: Path, record: object) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _write_matrix(path: Path, matrix: NDArray[np.float64]) -> None:
    with atomic_file(path) as temporary:
        np.savetxt(temporary, matrix, fmt="%.17g", delimiter=",")


def write_history(run: Run, path: Path) -> None:
    """Write the curves, a row for each model and epoch; epoch 0 is before training."""
    write_csv(history_columns(run), path)
