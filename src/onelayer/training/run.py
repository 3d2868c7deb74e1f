"""The result of a training, and its record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import checked
from onelayer.data.columns import Columns
from onelayer.data.contents import check_class_names
from onelayer.data.in_memory import rows_of
from onelayer.data.scaling import METHODS, Scaling
from onelayer.errors import InputError, unknown_name
from onelayer.faces import face
from onelayer.option import build, option
from onelayer.records import COUNT, SHARE, Kind, check_arrays, only_more_fields
from onelayer.training.convergence import Convergence
from onelayer.training.hyperparameters import LARGEST, Hyperparameters
from onelayer.training.naming import setting_labels, setting_words
from onelayer.training.options import TrainingOptions
from onelayer.training.snapshots import Snapshots

RUN_FILE, RUN_FOLDER = "run.safetensors", "run"  # the file, and its place in an output folder
CURVES = (
    "train_loss",
    "train_cost",
    "train_accuracy",
    "validation_loss",
    "validation_cost",
    "validation_accuracy",
)


@dataclass(frozen=True)
class History:
    """The curves of every model, each (M, C), in the C epochs `measured`; 0 is before training.

    Loss is the mean of l, cost is equation (5). After the epoch in which a model was stopped or
    ended its curves are NaN. The curves of a split that does not exist are all NaN.
    """

    measured: Annotated[NDArray[np.intp], "(C,)", COUNT]
    train_loss: Annotated[NDArray[np.float64], "(M, C)"]
    train_cost: Annotated[NDArray[np.float64], "(M, C)"]
    train_accuracy: Annotated[NDArray[np.float64], "(M, C)", SHARE]
    validation_loss: Annotated[NDArray[np.float64], "(M, C)"]
    validation_cost: Annotated[NDArray[np.float64], "(M, C)"]
    validation_accuracy: Annotated[NDArray[np.float64], "(M, C)", SHARE]

    def __post_init__(self) -> None:
        if len(self.measured) < 1 or (np.diff(self.measured) < 1).any():
            raise InputError("measured: expected one epoch or more, each later than the one before")

    @property
    def epochs(self) -> int:
        """E, the number of epochs trained, of the longest training."""
        return int(self.measured[-1])


@dataclass(frozen=True)
class TrainingRecord(TrainingOptions):
    """The options and the data of a training."""

    dataset: str = option("", "Name of the data set.")
    full_scale: float = option(1.0, "Stored number that stands for 1.", above=0, most=LARGEST)
    train_samples: int = option(1, "Number of training samples.", least=1)
    validation_samples: int = option(0, "Number of validation samples.", least=0)


@dataclass(frozen=True)
class Run:
    """M models after training: settings, weights (M, K, D), biases (M, K), curves, provenance.

    `kept` (M,) is the epoch of each model's parameters: its last or its best. `stopped` holds for
    each model the place where it diverged ("epoch 3, batch 17") or "", `ended` any other reason to
    end before the last epoch. `training` holds the fields of TrainingRecord. `columns` are the
    names of a table's columns, `pool` is the pooling of tokens. `convergence` exists after the
    exact solver, for which an epoch is one evaluation of all samples. `snapshots` exist if they
    were asked for.

    Raises
    ------
    InputError
        If the shapes do not match.
    """

    settings: Annotated[tuple[Hyperparameters, ...], "(M,)"]
    training: Mapping[str, Any]
    weights: Annotated[NDArray[Any], "(M, K, D)"]
    biases: Annotated[NDArray[Any], "(M, K)"]
    history: History
    kept: Annotated[NDArray[np.intp], "(M,)"]
    stopped: Annotated[tuple[str, ...], "(M,)"]
    ended: Annotated[tuple[str, ...], "(M,)"]
    scaling: Scaling
    class_names: Annotated[tuple[str, ...], "(K,)"]
    image_shape: tuple[int, int, int] | None
    provenance: Mapping[str, Any]
    columns: Columns | None = None
    convergence: Convergence | None = None
    pool: str | None = None
    snapshots: Snapshots | None = None

    def __post_init__(self) -> None:
        optional = (self.columns, self.convergence, self.snapshots)
        parts = [part for part in optional if part is not None]
        check_arrays(self, self.history, self.scaling, *parts)
        object.__setattr__(self, "training", vars(build(TrainingRecord, self.training)))
        if self.scaling.method not in METHODS:
            raise unknown_name("scaling", self.scaling.method, METHODS)
        if self.weights.dtype not in (np.float32, np.float64) or self.weights.size == 0:
            raise InputError(f"weights of {self.weights.dtype}, shape {self.weights.shape}")
        if len(self.class_names) < 2:
            raise InputError("class_names: expected two texts or more")
        check_class_names("class_names", self.class_names)
        D, shape = self.weights.shape[2], self.image_shape
        if shape is not None and (min(shape) < 1 or math.prod(shape) != D):
            raise InputError(f"image_shape {shape}, expected (channels, height, width) of {D}")
        if not np.isin(self.kept, self.history.measured).all():
            raise InputError("parameters kept from an epoch that was not measured")

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each setting's name, λ, η and all other values in which settings differ."""
        return setting_words(self.settings, self.training["solver"])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A short name for each setting; no two are equal."""
        return setting_labels(self.settings, self.training["solver"])

    @checked
    def final(self, name: str) -> NDArray[np.float64]:
        """Return the values (M,) of a curve in the kept epochs."""
        if name not in CURVES:
            raise unknown_name("curve", name, CURVES)
        columns = np.searchsorted(self.history.measured, self.kept)
        values: NDArray[np.float64] = getattr(self.history, name)[range(len(columns)), columns]
        return values

    @property
    @face("report.plots:Plots")
    def plot(self) -> Any:
        """The figures of this run, `plot.curves()` and `plot.weights()`; see report/plots.py."""

    @checked
    @face("evaluation.frames:run_frame")
    def to_frame(self, library: str = "pandas", *, curves: bool = False) -> Any:
        """Return a data frame of pandas or polars with a row for each setting, like grid.csv.

        It holds the number of the setting, its hyperparameters, the end of its training, and loss,
        cost and accuracy of the kept epoch. With `curves` it has a row for each setting and
        measured epoch.

        Raises
        ------
        InputError
            If the library is unknown, or not installed.

        Examples
        --------
        >>> data = onelayer.load_dataset("digits")
        >>> run = onelayer.train(data, onelayer.grid(l2=[0, 1]), epochs=2)
        >>> run.to_frame("polars", curves=True).shape[0]  # epochs 0, 1 and 2 of each
        6
        """

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: the best settings and their curves."""

    def scores(self, X: Any) -> NDArray[Any]:
        """Return the scores (N, M, K) of stored (unscaled) features X (N, D).

        In a frame, the columns of the training data are found by name. The scores of a stopped
        model may not be finite.
        """
        M, K, D = self.weights.shape
        X = rows_of(X, self.columns)
        if X.ndim != 2 or X.shape[1] != D:
            raise InputError(f"features of the shape {X.shape}, expected (N, {D})")
        scaled = self.scaling.apply(X, self.weights.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            S: NDArray[Any] = scaled @ self.weights.reshape(M * K, D).T
            S += self.biases.reshape(M * K)
        return S.reshape(len(X), M, K)

    @checked
    def save(self, folder: str | Path) -> None:
        """Write run.safetensors into `folder`, whole or not at all."""
        RUN.save(self, Path(folder) / RUN_FILE)


RUN = Kind("run", Run, format=7, upgrades=dict.fromkeys((3, 4, 5, 6), only_more_fields))


@checked
def load_run(folder: str | Path) -> Run:
    """Read the Run that Run.save wrote into `folder`, or that of an output folder of `train`.

    Raises
    ------
    InputError
        If there is no run, or the file is damaged; names it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> run = onelayer.train(onelayer.load_dataset("digits"), onelayer.grid(l2=[0, 0.1]), epochs=1)
    >>> with TemporaryDirectory() as folder:
    ...     run.save(folder)
    ...     onelayer.load_run(folder).history.train_loss.shape
    (2, 2)
    """
    path = Path(folder) / RUN_FILE
    inside = Path(folder) / RUN_FOLDER / RUN_FILE
    return RUN.load(inside if inside.is_file() and not path.is_file() else path)
