"""One trained model and its file: safetensors and JSON, no pickle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
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
from onelayer.model import network
from onelayer.model.links import Link
from onelayer.model.losses import find_loss
from onelayer.records import Arrays, Kind, check_arrays, only_more_fields
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.provenance import recorded
from onelayer.training.run import Run

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Classifier:
    """A trained network, W (K, D) and b (K,), and the meaning of its inputs and outputs.

    `scaling` turns stored features into x of equation (1); `full_scale` is the stored value that
    stands for 1 (255 for 8-bit pixels). `image_shape` is (channels, height, width) if a row is an
    image, else None. `columns` are the names of a table's columns, or None; `pool` is the pooling
    of tokens (N, T, D). `dataset` and `digests` (file: SHA-256) identify the training data,
    `hyperparameters` are its settings, `version` is that of onelayer.

    Raises
    ------
    InputError
        If the shapes or types do not match, or a number is not finite.
    """

    weights: Annotated[NDArray[Any], "(K, D)"]
    biases: Annotated[NDArray[Any], "(K,)"]
    scaling: Scaling
    class_names: Annotated[tuple[str, ...], "(K,)"]
    image_shape: tuple[int, int, int] | None
    full_scale: float
    hyperparameters: Hyperparameters
    dataset: str
    digests: Mapping[str, str]
    version: str
    columns: Columns | None = None
    pool: str | None = None

    def __post_init__(self) -> None:
        check_arrays(self, self.scaling, *(() if self.columns is None else (self.columns,)))
        W, K = self.weights, len(self.class_names)
        if W.dtype not in (np.float32, np.float64) or W.size == 0 or self.biases.dtype != W.dtype:
            raise InputError(
                f"weights of {W.dtype}, shape {W.shape}, biases of {self.biases.dtype}"
            )
        for values in (W, self.biases, self.scaling.shift, self.scaling.factor):
            if not np.isfinite(values).all():
                raise InputError("weights, biases or scaling hold a value that is not finite")
        if max(np.abs(self.scaling.shift).max(), self.scaling.factor.max()) > np.finfo(W.dtype).max:
            raise InputError(f"scaling holds a value that is too large for {W.dtype}")
        if self.scaling.method not in METHODS:
            raise unknown_name("scaling", self.scaling.method, METHODS)
        sides, D = self.image_shape, W.shape[1]
        if sides is not None and (min(sides) < 1 or math.prod(sides) != D):
            raise InputError(f"image_shape {sides}, expected (channels, height, width) of {D}")
        if K < 2:
            raise InputError("class names: expected two texts or more")
        check_class_names("class names", self.class_names)
        if not 0 < self.full_scale < math.inf:
            raise InputError(f"full scale {self.full_scale}, expected a positive one")

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: how the model was made, and its weight images."""

    @property
    def n_features(self) -> int:
        """D, the length of a row of X."""
        return int(self.weights.shape[1])

    @property
    def input_type(self) -> np.dtype[Any]:
        """The type of features for other programs, that of the weights if it is precise enough.

        It is float64 if float32 would move a feature by more than 10⁻⁵ of its standard deviation.
        """
        dtype = self.weights.dtype
        return dtype if self.scaling.fits(dtype) else np.dtype(np.float64)

    @property
    def link(self) -> Link | None:
        """How scores become probabilities; None for a loss without them, such as the hinge."""
        return find_loss(self.hyperparameters.loss).link

    def scores(self, X: Any, first_row: int = 0) -> NDArray[Any]:
        """Return the scores (N, K) of stored (unscaled) features X (N, D): equation (1).

        In a frame of pandas or polars, the columns of the training data are found by name.
        `first_row` is the number of the first row in an error message.

        Raises
        ------
        InputError
            If X has another shape, or a row holds a value that is not finite or overflows.
        """
        X = rows_of(X, self.columns)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise InputError(f"features of the shape {X.shape}, expected (N, {self.n_features})")
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = self.scaling.apply(X, self.weights.dtype)
            S = network.scores(scaled, self.weights, self.biases)
        wrong = np.flatnonzero(~np.isfinite(S).all(axis=1))
        if wrong.size:
            raise InputError(
                f"row {first_row + wrong[0]}: a value is missing, infinite or too large"
            )
        return S

    def probabilities(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities (N, K) of stored features X (N, D); each row sums to 1.

        Raises
        ------
        InputError
            As `scores`; or if the loss of the model has no probabilities.
        """
        if self.link is None:
            raise InputError(f"a model of the loss {self.hyperparameters.loss} has only scores")
        return self.link.probabilities(self.scores(X))

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Return the class index (N,) of the highest score of each row of X (N, D)."""
        return network.predictions(self.scores(X))

    def to_torch(self) -> Any:
        """Return a torch.nn.Linear of stored features, with the scaling folded in.

        Its weights are W·factor, its bias b − W·(factor·shift), computed in float64. It has the
        type of the weights, or float64 if the mean of a feature is so many standard deviations from
        0 that float32 would not distinguish samples.

        Raises
        ------
        InputError
            If PyTorch is not installed, or float64 would not distinguish them either.
        """
        try:
            torch: Any = import_module("torch")
        except ImportError as error:
            raise InputError("to_torch needs PyTorch: pip install 'onelayer[torch]'") from error
        if not self.scaling.fits(np.float64):
            raise InputError(
                "a feature is too far from 0 for its deviation to fold the scaling into one layer; "
                "ONNX keeps both apart"
            )
        W = self.weights * self.scaling.factor
        b = self.biases - W @ self.scaling.shift
        K, D = W.shape
        dtype = getattr(torch, str(self.input_type))
        linear = torch.nn.utils.skip_init(torch.nn.Linear, D, K, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        return linear

    @checked
    def save(self, path: str | Path) -> None:
        """Write the file that load_model reads, whole or not at all; equal models, equal bytes."""
        MODEL.save(self, path)


def _from_format_1(header: Any, arrays: Arrays) -> tuple[Any, Arrays]:
    """Return the content of format 2: the same, with the parts of the scaling in one place."""
    fields = header | {"scaling": {"method": header.get("scaling")}}
    del fields["format"]
    return fields, {name.replace("scaling_", "scaling."): a for name, a in arrays.items()}


# Every format up to this one is read, for ever: tests/golden
MODEL = Kind(
    "model",
    Classifier,
    format=4,
    upgrades={1: _from_format_1, 2: only_more_fields, 3: only_more_fields},
)


@checked
def model_of(run: Run, number: int = 0) -> Classifier:
    """Return model `number` of a run (the first is 0), alone.

    Raises
    ------
    InputError
        If there is no such model, or it was stopped because it was no longer finite.

    Examples
    --------
    >>> data = onelayer.load_dataset("digits")
    >>> run = onelayer.train(data, onelayer.grid(l2=[0, 0.1]), epochs=1)
    >>> model = onelayer.model_of(run, 1)
    >>> model.predict(data.test.X).shape == data.test.y.shape
    True
    """
    M = len(run.settings)
    if not 0 <= number < M:
        raise InputError(f"model {number}: the run has {M}, numbered from 0")
    if run.stopped[number]:
        raise InputError(f"model {number} was stopped in {run.stopped[number]}: it is not finite")
    return Classifier(
        weights=run.weights[number],
        biases=run.biases[number],
        scaling=run.scaling,
        class_names=run.class_names,
        image_shape=run.image_shape,
        full_scale=float(recorded(run.training, "full_scale", int | float)),
        hyperparameters=run.settings[number],
        dataset=recorded(run.training, "dataset", str),
        digests=recorded(run.provenance, "digests", Mapping),
        version=recorded(run.provenance, "onelayer", str),
        columns=run.columns,
        pool=run.pool,
    )


@checked
def load_model(path: str | Path) -> Classifier:
    """Read the model that Classifier.save wrote, of this version or any earlier one.

    In an output folder it reads the model that was chosen.

    Raises
    ------
    InputError
        If there is no such file, it is damaged, it is not a model, or a later version wrote it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> run = onelayer.train(onelayer.load_dataset("digits"), onelayer.grid(), epochs=1)
    >>> with TemporaryDirectory() as folder:
    ...     onelayer.model_of(run).save(Path(folder, "digits.safetensors"))
    ...     model = onelayer.load_model(Path(folder, "digits.safetensors"))
    >>> print(model.hyperparameters)
    λ=0, η=0.01
    """
    path = Path(path)
    return MODEL.load(path / MODEL_FILE if path.is_dir() else path)
