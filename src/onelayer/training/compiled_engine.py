"""The engine for float32 on processors with AVX2 or AVX-512: kernel/stack.c through cffi.

Products this thin (B = 100 rows, M·K = 10 to 1000 columns) reach a third to two thirds of BLAS's
own rate in BLAS. The kernel cuts the features into parts that stay in each core's cache, converts
stored features there, and folds weight decay and update into the product for the gradient.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import feature_type
from onelayer.data.dataset import Features, Split
from onelayer.data.derived import Derived
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.data.shards import Shards
from onelayer.errors import InputError, unknown_name
from onelayer.training.engine import Evaluation, HeldOut, Models, PerModel, Rows, State
from onelayer.training.hyperparameters import Hyperparameters

Array = NDArray[Any]


def _load_kernel() -> Any:
    """Return the compiled module, or None where the package was installed without a compiler.

    GNU's OpenMP lets waiting threads spin for milliseconds, which is harmless on an idle machine;
    beside another busy process the waiting thread holds the processor that the last thread needs,
    and a step takes ten times as long. The setting is read once, when the library is loaded.
    """
    asked = os.environ.get("GOMP_SPINCOUNT")
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    try:
        return import_module("onelayer.training._kernel")
    except ImportError:
        return None
    finally:
        if asked is None:
            del os.environ["GOMP_SPINCOUNT"]


_kernel = _load_kernel()
_SETTING = np.dtype([("l2", "f8"), ("momentum", "f8"), ("nesterov", "i4"), ("loss", "i4")])
_TYPES = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2}
_EVALUATION_BLOCKS = 128  # of the kernel, a call: enough for all threads
_WIDEST = {"avx512": 16, "avx2": 8, "none": 0}  # floats in a register, by ONELAYER_KERNEL


def _usable_widths() -> tuple[int, ...]:
    """Return the register widths of this machine that ONELAYER_KERNEL allows, the widest first."""
    allowed = os.environ.get("ONELAYER_KERNEL") or "avx512"
    if allowed not in _WIDEST:
        raise unknown_name("ONELAYER_KERNEL", allowed, _WIDEST)
    if _kernel is None:
        return ()
    return tuple(w for w in (16, 8) if w <= _WIDEST[allowed] and _kernel.lib.stack_supports(w))


WIDTHS = _usable_widths()


def kernel_trains(loss: str) -> bool:
    """Return whether the kernel runs on this machine and has the loss of that name."""
    return bool(WIDTHS) and _loss_number(loss) >= 0


def _loss_number(name: str) -> int:
    """Return the kernel's number for a loss, −1 if it does not have the loss."""
    return int(_kernel.lib.stack_loss(name.encode()))


class CompiledEngine:
    """A stack of M networks in float32; the same contract and parameters as NumpyEngine.

    The bits of the result are the same for any number of threads. `width` is the number of floats
    in a vector register, one of WIDTHS; by default the widest.

    Raises
    ------
    InputError
        If the kernel does not have the loss of a setting.
    MemoryError
        If there is not enough memory for the weights or a batch.
    """

    width: int | None = None

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        settings: Sequence[Hyperparameters],
        scaling: Scaling,
    ) -> None:
        M, K, D = self._shape = weights.shape
        self._ffi, self._lib = _kernel.ffi, _kernel.lib
        self._l2 = np.array([setting.l2 for setting in settings])
        for setting in settings:
            if _loss_number(setting.loss) < 0:
                raise InputError(
                    f"the compiled kernel has no loss {setting.loss!r}; engine numpy trains it"
                )
        fields = [(s.l2, s.momentum, s.nesterov, _loss_number(s.loss)) for s in settings]
        stack = self._lib.stack_new(
            self.width or WIDTHS[0],
            M,
            K,
            D,
            *(self._floats(array) for array in (weights, biases)),
            self._buffer("setting[]", np.array(fields, _SETTING)),
            *(self._doubles(array) for array in (scaling.shift, scaling.factor)),
        )
        self._stack = self._ffi.gc(self._enough(stack), self._lib.stack_free)
        self._kinds = {  # of parameters, by the first part of their names in the state
            "": self._lib.WEIGHTS,
            "velocity_": self._lib.VELOCITIES,
            "best_": self._lib.BEST,
        }
        self._held_out: tuple[Array, Array] | None = None  # sums (M, 2), rows (M,)

    def open(self, split: Split) -> Split:
        """See Engine.open."""
        return split

    def step(self, data: Split, rows: Rows, rates: PerModel, weights: Array | None = None) -> None:
        """See Engine.step: equations (8) to (11) for all models at once."""
        M = self._shape[0]
        if weights is not None:
            if self._held_out is None:
                self._held_out = np.zeros((M, 2)), np.zeros(M)
            self._held_out[1][:] += np.count_nonzero(weights == 0, axis=1)
        sums = self._ffi.NULL
        if self._held_out is not None:
            sums = self._buffer("found[]", self._held_out[0])
        _held, samples = self._samples(data, rows)
        self._enough(
            self._lib.stack_step(
                self._stack,
                *samples,
                self._padded(weights),
                self._doubles(rates),
                sums,
            )
        )

    def steps_until_stopped(self) -> NDArray[np.int64]:
        """See Engine.steps_until_stopped."""
        return self._steps()[1]

    def take_held_out(self) -> HeldOut | None:
        """See Engine.take_held_out."""
        taken, self._held_out = self._held_out, None
        return None if taken is None else HeldOut(taken[0][:, 0], taken[0][:, 1], taken[1])

    def evaluate(self, data: Split, weights: SampleWeights | None = None) -> Evaluation:
        """See Engine.evaluate: block by block, summed in float64."""
        M = self._shape[0]
        sums, totals = np.zeros((M, 2)), np.zeros(M)
        for rows in data.blocks(_EVALUATION_BLOCKS * self._lib.stack_evaluation_rows()):
            w = None if weights is None else weights.of(rows)
            _held, samples = self._samples(data, rows)
            self._enough(
                self._lib.stack_evaluate(
                    self._stack, *samples, self._padded(w), self._buffer("found[]", sums)
                )
            )
            totals += samples[-1] if w is None else w.sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            loss, accuracy = (sums / totals[:, None]).T
        return Evaluation(loss, np.minimum(accuracy, 1))  # weights are summed in float32

    def penalties(self) -> NDArray[np.float64]:
        """See Engine.penalties."""
        squares = np.empty(self._shape[0])
        self._lib.stack_squares(self._stack, self._buffer("double[]", squares))
        return np.asarray(self._l2 * squares)

    def parameters(self) -> tuple[Array, Array]:
        """See Engine.parameters."""
        M, K, D = self._shape
        weights, biases = np.empty((M, K, D), np.float32), np.empty((M, K), np.float32)
        self._get(self._lib.WEIGHTS, weights, biases)
        return weights, biases

    def remember(self, models: Models) -> None:
        """See Engine.remember."""
        self._enough(self._lib.stack_remember(self._stack, self._buffer("uint8_t[]", models)))

    def recall(self, models: Models) -> None:
        """See Engine.recall."""
        self._lib.stack_recall(self._stack, self._buffer("uint8_t[]", models))

    def state(self) -> State:
        """See Engine.state."""
        M, K, D = self._shape
        steps, stopped = self._steps()
        state: State = {"steps": np.array(steps), "stopped": stopped}
        for name, kind in self._kinds.items():
            weights, biases = np.empty((M, K, D), np.float32), np.empty((M, K), np.float32)
            if self._get(kind, weights, biases):
                state |= {f"{name}weights": weights, f"{name}biases": biases}
        if self._held_out is not None:
            sums, rows = self._held_out
            state["held_out"] = np.vstack([sums.T, rows])
        return state

    def load(self, state: Mapping[str, Array]) -> None:
        """See Engine.load."""
        for name, kind in self._kinds.items():
            if f"{name}weights" in state:
                arrays = (self._floats(state[f"{name}{part}"]) for part in ("weights", "biases"))
                self._enough(self._lib.stack_set(self._stack, kind, *arrays))
        stopped = np.ascontiguousarray(state["stopped"], np.int64)
        self._lib.stack_set_steps(
            self._stack, int(state["steps"]), self._buffer("int64_t[]", stopped)
        )
        if "held_out" in state:
            *sums, rows = state["held_out"]
            self._held_out = np.column_stack(sums), rows.copy()

    @staticmethod
    def model_bytes(n_classes: int, n_features: int, batch_size: int) -> int:
        """See MakeEngine.model_bytes.

        A weight takes the initial draw in float64, its copy in float32, the engine's own with its
        velocity and the best ones, and the copy that is handed back.
        """
        return n_classes * (n_features * (8 + 5 * 4) + 8 * 8 * batch_size)

    def _get(self, kind: int, weights: Array, biases: Array) -> bool:
        """Copy out weights and biases of one kind; return whether there are any."""
        arrays = (self._buffer("float[]", array) for array in (weights, biases))
        return bool(self._lib.stack_get(self._stack, kind, *arrays))

    def _steps(self) -> tuple[int, NDArray[np.int64]]:
        """Return the steps taken, and those in which models were stopped (M,)."""
        stopped = np.empty(self._shape[0], np.int64)
        steps = self._lib.stack_get_steps(self._stack, self._buffer("int64_t[]", stopped))
        return int(steps), stopped

    def _samples(self, split: Split, rows: Rows) -> tuple[Array | Shards, tuple[Any, ...]]:
        """Return the features, and the kernel's arguments: type, addresses, labels, number of rows.

        The addresses are valid as long as the caller keeps the features.
        """
        X, addresses = _locate(split.X, rows)
        y = np.ascontiguousarray(split.y[rows], dtype=np.int64)
        buffers = (self._buffer("int64_t[]", array) for array in (addresses, y))
        return X, (_TYPES[X.dtype], *buffers, len(y))

    def _padded(self, weights: Array | None) -> Any:
        """Return weights (M, B) padded with zeros to whole registers, for the kernel; or NULL."""
        if weights is None:
            return self._ffi.NULL
        M, B = weights.shape
        padded = np.zeros((M, self._lib.stack_room(B)), np.float32)
        padded[:, :B] = weights
        return self._buffer("float[]", padded)

    def _floats(self, array: Array) -> Any:
        with np.errstate(over="ignore"):  # a model that overflows is found out and stopped
            return self._buffer("float[]", np.ascontiguousarray(array, dtype=np.float32))

    def _doubles(self, array: Array) -> Any:
        return self._buffer("double[]", np.ascontiguousarray(array, np.float64))

    def _buffer(self, kind: str, array: Array) -> Any:
        return self._ffi.from_buffer(kind, array)

    def _enough(self, outcome: Any) -> Any:
        """Raise MemoryError for the 0 or NULL by which the kernel says that memory ran out."""
        if not outcome:
            raise MemoryError("not enough memory for this stack of models")
        return outcome


def _locate(X: Features, rows: Rows) -> tuple[Array | Shards, NDArray[np.int64]]:
    """Return features that the kernel can read, and the memory address of each of the rows.

    They are X itself if it has one of the kernel's types and the values of a row side by side.
    """
    if isinstance(X, Derived) or X.dtype not in _TYPES or X.strides[1] != X.dtype.itemsize:
        copied = np.ascontiguousarray(X[rows], feature_type([X.dtype]))
        return copied, copied.ctypes.data + np.arange(len(copied)) * copied.strides[0]
    index = np.arange(*rows.indices(len(X))) if isinstance(rows, slice) else rows
    if isinstance(X, Shards):
        return X, X.addresses(index)
    return X, X.ctypes.data + index * X.strides[0]
