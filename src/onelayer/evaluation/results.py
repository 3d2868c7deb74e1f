"""What an experiment leaves behind: everything that its report is drawn from."""

import csv
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.evaluation.metrics import accuracies
from onelayer.evaluation.predictions import Ensemble, Predictions, load_predictions
from onelayer.evaluation.selection import Selection
from onelayer.evaluation.statistics import Spread, check_accuracies, spread
from onelayer.model.gradient_check import GradientCheck, WorstEntry
from onelayer.model.losses import Loss, find_loss
from onelayer.storage import atomic_file
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.engine_check import EngineCheck
from onelayer.training.run import CURVES, Run, load_run

RESULTS_FILE = "results.json"
CHECKS_FILE = "gradient_check.json"
ENGINE_CHECKS_FILE = "engine_check.json"
FOLDS_FILE = "cross_validation.safetensors"
_FOLDS = ("accuracy", "loss", "accuracy_curves", "loss_curves")


@dataclass(frozen=True)
class BatchCheck:
    """A gradient check of a loss on the first `images` training samples, with weight decay `l2`.

    `place` says at which W and b, "random" or "initial" ones.
    """

    name: str
    images: int
    l2: float
    loss: str
    place: str
    check: GradientCheck


def count_failed(checks: Sequence[BatchCheck], engine_checks: Sequence[EngineCheck]) -> int:
    """Return the number of checks that failed."""
    passed = [batch.check.passed for batch in checks] + [each.passed for each in engine_checks]
    return passed.count(False)


@dataclass(frozen=True)
class Results:
    """An experiment after it ran: `run` (M models), R `repeats` in shuffled order, checks, test.

    `published` has one accuracy a setting, NaN where there is none. `confusion` (M, K, K) counts
    the test samples of `run` (see confusion_matrices), all zero for a model that was not evaluated;
    `repeat_accuracies` (R, M) are the test accuracies of the repeats. `selection` says which model
    was chosen, by `cross_validation` if there is one, else on the validation split. `optimal_costs`
    (M,) are the least training costs that the λ and the loss of a model allow, NaN where unknown.

    Raises
    ------
    InputError
        If the shapes do not belong together.
    """

    title: str
    source: str
    notice: str
    published: NDArray[np.float64]
    run: Run
    repeats: tuple[Run, ...]
    confusion: NDArray[np.intp]
    repeat_accuracies: NDArray[np.float64]
    checks: tuple[BatchCheck, ...]
    engine_checks: tuple[EngineCheck, ...]
    selection: Selection
    cross_validation: CrossValidation | None
    predictions: Predictions
    ensembles: tuple[Ensemble, ...]
    optimal_costs: NDArray[np.float64]

    def __post_init__(self) -> None:
        M, K = len(self.run.settings), len(self.run.class_names)
        shapes = {
            "published": (self.published.shape, (M,)),
            "optimal costs": (self.optimal_costs.shape, (M,)),
            "selection": (self.selection.means.shape, (M,)),
            "confusion": (self.confusion.shape, (M, K, K)),
            "repeat accuracies": (self.repeat_accuracies.shape, (len(self.repeats), M)),
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise InputError(f"{name} of the shape {found}, expected {expected}")
        if (self.confusion < 0).any():
            raise InputError("confusion holds a negative count")
        self._check_cross_validation()
        self._check_predictions()
        if not all(isinstance(text, str) for text in (self.title, self.source, self.notice)):
            raise InputError("title, source and notice must be texts")

    def _check_cross_validation(self) -> None:
        folds = self.cross_validation
        if folds is None:
            return
        M = len(self.run.settings)
        for name in _FOLDS:
            shape = getattr(folds, name).shape
            if shape[:2] != (len(folds.accuracy), M):
                raise InputError(f"{name} of {len(folds.accuracy)} folds of the shape {shape}")
        check_accuracies(folds.accuracy)
        if min(folds.n_train, folds.n_held_out) < 1:
            raise InputError(f"folds of {folds.n_train} and {folds.n_held_out} samples")

    def _check_predictions(self) -> None:
        """Raise InputError unless they are of the models and rows that `confusion` counts."""
        right, K = self.predictions.right, len(self.run.class_names)
        counts = self.confusion.sum(axis=(1, 2))[self.evaluated]
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
        return int(self.confusion.sum(axis=(1, 2)).max())

    @property
    def test_accuracies(self) -> NDArray[np.float64]:
        """Accuracy of every model on the test split (M,), NaN where it was not evaluated."""
        return accuracies(self.confusion)

    @property
    def repeat_spread(self) -> Spread:
        """Mean, sd, minimum and maximum of the repeats' test accuracies, each (M,)."""
        return spread(self.repeat_accuracies)

    @property
    def evaluated(self) -> NDArray[np.intp]:
        """The models that were evaluated on the test split."""
        return np.flatnonzero(self.confusion.any(axis=(1, 2)))

    @property
    def selected(self) -> int:
        """The chosen model: without the test split, so its test accuracy is an honest estimate."""
        return self.selection.chosen

    @property
    def failed_checks(self) -> int:
        """The number of checks, of gradients and of the engine, that failed."""
        return count_failed(self.checks, self.engine_checks)

    @property
    def selected_loss(self) -> Loss:
        """The loss of the chosen model."""
        return find_loss(self.run.settings[self.selected].loss)

    def save(self, folder: Path) -> None:
        """Write everything: the files that load_results reads, and history.csv for others."""
        self.run.save(folder / "run")
        for number, repeat in enumerate(self.repeats, 1):
            repeat.save(folder / "repeats" / str(number))
        record = {
            "title": self.title,
            "source": self.source,
            "notice": self.notice,
            "published": _nullable(self.published),
            "confusion": self.confusion.tolist(),
            "repeat_accuracies": [_nullable(row) for row in self.repeat_accuracies],
            "selection": _selection_record(self.selection),
            "ensembles": [asdict(ensemble) for ensemble in self.ensembles],
            "optimal_costs": _nullable(self.optimal_costs),
            "cross_validation": self._save_cross_validation(folder),
        }
        _write_json(folder / RESULTS_FILE, record)
        self.predictions.save(folder)
        save_checks(folder, self.checks, self.engine_checks)
        _write_history(folder / "history.csv", self.run)

    def _save_cross_validation(self, folder: Path) -> dict[str, int] | None:
        """Write its arrays, if there is one, and return the rest of it."""
        from safetensors.numpy import save

        folds = self.cross_validation
        if folds is None:
            return None
        arrays = {name: np.ascontiguousarray(getattr(folds, name)) for name in _FOLDS}
        with atomic_file(folder / FOLDS_FILE) as path:
            path.write_bytes(save(arrays))
        return {"n_train": folds.n_train, "n_held_out": folds.n_held_out}


def load_results(folder: Path) -> Results:
    """Read what Results.save wrote.

    Raises
    ------
    InputError
        If `folder` does not hold such results; names the file.
    """
    from safetensors import SafetensorError

    if not (folder / RESULTS_FILE).is_file():
        raise InputError(f"{folder / RESULTS_FILE}: not found; expected an output folder of ours")
    try:
        record = json.loads((folder / RESULTS_FILE).read_text("utf-8"))
        run = load_run(folder / "run")
        repeats = np.array(record["repeat_accuracies"], dtype=np.float64)
        return Results(
            title=record["title"],
            source=record["source"],
            notice=record["notice"],
            published=np.array(record["published"], dtype=np.float64),
            run=run,
            repeats=tuple(
                load_run(folder / "repeats" / str(number)) for number in range(1, len(repeats) + 1)
            ),
            confusion=np.array(record["confusion"], dtype=np.intp),
            repeat_accuracies=repeats.reshape(len(repeats), len(run.settings)),
            checks=tuple(_load_checks(folder)),
            engine_checks=tuple(_load_engine_checks(folder)),
            selection=_load_selection(record["selection"]),
            cross_validation=_load_cross_validation(folder, record["cross_validation"]),
            predictions=load_predictions(folder),
            ensembles=tuple(Ensemble(**ensemble) for ensemble in record["ensembles"]),
            optimal_costs=np.array(record["optimal_costs"], dtype=np.float64),
        )
    except (
        ArithmeticError, AttributeError, LookupError, OSError, RecursionError, SafetensorError,
        TypeError, ValueError,
    ) as error:  # fmt: skip
        raise InputError(f"{folder}: not results that can be read ({error!r})") from error


def _selection_record(selection: Selection) -> dict[str, Any]:
    return {
        "rule": selection.rule,
        "chosen": selection.chosen,
        "best": selection.best,
        "means": _nullable(selection.means),
        "standard_errors": _nullable(selection.standard_errors),
        "intervals": [_nullable(row) for row in selection.intervals],
        "within": selection.within.tolist(),
    }


def _load_selection(record: dict[str, Any]) -> Selection:
    return Selection(
        rule=record["rule"],
        chosen=operator.index(record["chosen"]),
        best=operator.index(record["best"]),
        means=np.array(record["means"], dtype=np.float64),
        standard_errors=np.array(record["standard_errors"], dtype=np.float64),
        intervals=np.array(record["intervals"], dtype=np.float64),
        within=np.array(record["within"], dtype=bool),
    )


def _load_cross_validation(folder: Path, record: dict[str, Any] | None) -> CrossValidation | None:
    from safetensors.numpy import load_file

    if record is None:
        return None
    arrays = load_file(folder / FOLDS_FILE)
    return CrossValidation(
        arrays["accuracy"],
        arrays["loss"],
        arrays["accuracy_curves"],
        arrays["loss_curves"],
        n_train=operator.index(record["n_train"]),
        n_held_out=operator.index(record["n_held_out"]),
    )


def save_checks(
    folder: Path, checks: tuple[BatchCheck, ...], engine_checks: tuple[EngineCheck, ...]
) -> None:
    """Write gradient_check.json and engine_check.json.

    Every error matrix is a CSV of its own, W as (K, D), b as (K, 1).
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
    """Return where the errors of W or b lie, in the output folder."""
    return f"gradient_check/{Path(name).name}_{Path(loss).name}_l2_{l2:g}_{letter}.csv"


def _load_checks(folder: Path) -> Iterator[BatchCheck]:
    for record in json.loads((folder / CHECKS_FILE).read_text("utf-8")):
        # The record's own file names are not trusted: they could lead anywhere.
        which = record["name"], record["loss"], record["l2"]
        files = [folder / _matrix_file(*which, letter) for letter in "Wb"]
        if not all(file.is_file() for file in files):
            raise InputError(f"{files[0]} and {files[1]}: expected two files of errors")
        errors_W, errors_b = (np.loadtxt(file, delimiter=",", ndmin=2) for file in files)
        worst = record["worst"]
        check = GradientCheck(
            method=record["method"],
            step=record["step"],
            eps=record["eps"],
            tolerance=record["tolerance"],
            errors_W=errors_W,
            errors_b=errors_b[:, 0],
            worst=WorstEntry(**worst | {"index": tuple(worst["index"])}),
        )
        yield BatchCheck(
            record["name"], record["images"], record["l2"], record["loss"], record["place"], check
        )


def _load_engine_checks(folder: Path) -> Iterator[EngineCheck]:
    for record in json.loads((folder / ENGINE_CHECKS_FILE).read_text("utf-8")):
        yield EngineCheck(**record)


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    """Return the values with None for NaN, which JSON has not."""
    return [None if np.isnan(value) else float(value) for value in values]


def _write_json(path: Path, record: object) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _write_matrix(path: Path, matrix: NDArray[np.float64]) -> None:
    with atomic_file(path) as temporary:
        np.savetxt(temporary, matrix, fmt="%.17g", delimiter=",")


def _write_history(path: Path, run: Run) -> None:
    """Write the curves, a row for each model and epoch; epoch 0 is before training."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "epoch", *CURVES])
        for model in range(len(run.settings)):
            for column, epoch in enumerate(run.history.measured):
                values = [getattr(run.history, name)[model, column] for name in CURVES]
                writer.writerow([model, epoch, *(f"{value:.9g}" for value in values)])
