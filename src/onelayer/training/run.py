"""What training leaves behind, and how it is kept: safetensors and JSON, no pickle."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.scaling import METHODS, Scaling
from onelayer.errors import InputError, unknown_name
from onelayer.storage import atomic_file
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.naming import setting_labels

FORMAT = 2
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
    ended its curves are NaN, and those of a split that does not exist are throughout.
    """

    measured: NDArray[np.intp]
    train_loss: NDArray[np.float64]
    train_cost: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    validation_cost: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        """E, the number of epochs trained, of the longest training."""
        return int(self.measured[-1])


@dataclass(frozen=True)
class Run:
    """M models after training: settings, weights (M, K, D), biases (M, K), curves, provenance.

    `kept` (M,) is the epoch that each model's parameters are of: its last or its best.
    `stopped` holds, for each model, where it became non-finite ("epoch 3, batch 17") or "", `ended`
    what else ended its training before the last epoch. `protocol` says how it was trained: data
    set, samples, and the fields of Protocol.

    Raises
    ------
    InputError
        If the shapes do not belong together.
    """

    settings: tuple[Hyperparameters, ...]
    protocol: Mapping[str, Any]
    weights: NDArray[Any]
    biases: NDArray[Any]
    history: History
    kept: NDArray[np.intp]
    stopped: tuple[str, ...]
    ended: tuple[str, ...]
    scaling: Scaling
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        M, K = len(self.settings), len(self.class_names)
        D = self.weights.shape[-1] if self.weights.ndim else 0
        shapes = {
            "weights": (self.weights.shape, (M, K, D)),
            "biases": (self.biases.shape, (M, K)),
            "kept": (self.kept.shape, (M,)),
            "stopped": ((len(self.stopped),), (M,)),
            "ended": ((len(self.ended),), (M,)),
            "scaling shift": (self.scaling.shift.shape, (D,)),
            "scaling factor": (self.scaling.factor.shape, (D,)),
            "image shape": (math.prod(max(0, side) for side in self.image_shape or (D,)), D),
            **{
                name: (getattr(self.history, name).shape, (M, len(self.history.measured)))
                for name in CURVES
            },
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise InputError(f"{name} of the shape {found}, expected {expected}")
        if not all(isinstance(record, Mapping) for record in (self.protocol, self.provenance)):
            raise InputError("protocol and provenance must be records")
        if not all(
            isinstance(text, str) for text in (*self.class_names, *self.stopped, *self.ended)
        ):
            raise InputError("class names and the ends of models must be texts")
        if not np.isin(self.kept, self.history.measured).all():
            raise InputError("parameters kept from an epoch that was not measured")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A short name for each setting; no two are equal."""
        return setting_labels(self.settings)

    def final(self, name: str) -> NDArray[np.float64]:
        """Return the values (M,) of a curve in the epochs that the parameters are of."""
        columns = np.searchsorted(self.history.measured, self.kept)
        values: NDArray[np.float64] = getattr(self.history, name)[range(len(columns)), columns]
        return values

    def scores(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the scores (N, M, K) of stored (unscaled) features X (N, D).

        Those of a stopped model may not be finite.
        """
        M, K, D = self.weights.shape
        scaled = self.scaling.apply(X, self.weights.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            S: NDArray[Any] = scaled @ self.weights.reshape(M * K, D).T
            S += self.biases.reshape(M * K)
        return S.reshape(len(X), M, K)

    def save(self, folder: str | Path) -> None:
        """Write run.json and run.safetensors into `folder`, each whole or not at all."""
        from safetensors.numpy import save

        folder = Path(folder)
        arrays = {
            "weights": self.weights,
            "biases": self.biases,
            "scaling_shift": self.scaling.shift,
            "scaling_factor": self.scaling.factor,
            "kept": self.kept,
            "history_measured": self.history.measured,
            **{f"history_{name}": getattr(self.history, name) for name in CURVES},
        }
        record = {
            "format": FORMAT,
            "settings": [asdict(setting) for setting in self.settings],
            "protocol": dict(self.protocol),
            "stopped": self.stopped,
            "ended": self.ended,
            "scaling": self.scaling.method,
            "class_names": self.class_names,
            "image_shape": self.image_shape,
            "provenance": dict(self.provenance),
        }
        with atomic_file(folder / "run.safetensors") as path:
            path.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))
        with atomic_file(folder / "run.json") as path:
            path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_run(folder: str | Path) -> Run:
    """Read the Run that Run.save wrote into `folder`.

    Raises
    ------
    InputError
        If a file is missing or is not what Run.save writes; names the file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    for name in ("run.json", "run.safetensors"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: not found; expected a folder that a run was saved in"
            )
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
        if record["format"] != FORMAT:
            raise InputError(f"{folder / 'run.json'}: format {record['format']}, expected {FORMAT}")
        arrays = load_file(folder / "run.safetensors")
        shape = record["image_shape"]
        if record["scaling"] not in METHODS:
            raise unknown_name("scaling", str(record["scaling"]), METHODS)
        return Run(
            settings=tuple(Hyperparameters(**setting) for setting in record["settings"]),
            protocol=record["protocol"],
            weights=arrays["weights"],
            biases=arrays["biases"],
            history=History(
                arrays["history_measured"],
                **{name: arrays[f"history_{name}"] for name in CURVES},
            ),
            kept=arrays["kept"],
            stopped=tuple(record["stopped"]),
            ended=tuple(record["ended"]),
            scaling=Scaling(record["scaling"], arrays["scaling_shift"], arrays["scaling_factor"]),
            class_names=tuple(record["class_names"]),
            image_shape=None if shape is None else (shape[0], shape[1], shape[2]),
            provenance=record["provenance"],
        )
    except (KeyError, TypeError, IndexError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder}: not a run that can be read ({error!r})") from error
