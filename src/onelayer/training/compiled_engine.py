"""The engine for float32 on processors with AVX2 or AVX-512: kernel/stack.c through cffi.

Products this thin (B = 100 rows, M·K = 10 to 1000 columns) reach a third to two thirds of BLAS's
own rate in BLAS. The kernel cuts the features into parts that stay in each core's cache, converts
stored features there, and folds weight decay and update into the product for the gradient.
"""

import os
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.training.engine import Evaluation, Rows

Array = NDArray[Any]


def _load_kernel() -> Any:
    """Return the compiled module, or None where the package was installed without a compiler.

    GNU's OpenMP lets waiting threads spin for milliseconds, which is harmless on an idle machine;
    beside another busy process it holds the processor that the thread waited for needs, and a
    step takes ten times as long. The setting is read once, when the library is loaded.
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
_TYPES = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2}
WIDTHS = tuple(w for w in (16, 8) if _kernel is not None and _kernel.lib.stack_supports(w))


class CompiledEngine:
    """A stack of M networks in float32; the same contract and parameters as NumpyEngine.

    The bits of the result are the same for any number of threads. `width` is the number of floats
    in a vector register, one of WIDTHS.

    Raises
    ------
    MemoryError
        If there is not enough memory for the weights or a batch.
    """

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        l2: Array,
        learning_rates: Array,
        scaling: Scaling,
        width: int | None = None,
    ) -> None:
        M, K, D = self._shape = weights.shape
        self._ffi, self._lib = _kernel.ffi, _kernel.lib
        self._l2 = np.asarray(l2, dtype=np.float64)
        decays = np.repeat(1 - 2 * np.asarray(learning_rates, dtype=np.float64) * self._l2, K)
        arrays = (weights, biases, learning_rates, decays, scaling.shift, scaling.factor)
        stack = self._lib.stack_new(
            width or WIDTHS[0], M, K, D, *(self._floats(array) for array in arrays)
        )
        self._stack = self._ffi.gc(self._enough(stack), self._lib.stack_free)

    def step(self, split: Split, rows: Rows) -> NDArray[np.bool_]:
        """See Engine.step: equations (8) to (11) for all models at once."""
        if isinstance(rows, slice) or not _is_readable(split.X):
            features, index = _stored(split.X[rows]), self._ffi.NULL
        else:  # the kernel gathers the rows where they are
            features, index = split.X, self._buffer("int64_t[]", rows)
        y = np.ascontiguousarray(split.y[rows], dtype=np.int64)
        sound = np.empty(self._shape[0], dtype=bool)
        self._enough(
            self._lib.stack_step(
                self._stack,
                *self._features(features),
                index,
                self._buffer("int64_t[]", y),
                len(y),
                self._buffer("uint8_t[]", sound),
            )
        )
        return sound

    def evaluate(self, split: Split) -> Evaluation:
        """See Engine.evaluate: block by block, summed in float64."""
        M, N = self._shape[0], len(split)
        losses, hits = np.empty(M), np.empty(M, dtype=np.int64)
        features, y = _stored(split.X), np.ascontiguousarray(split.y, dtype=np.int64)
        self._enough(
            self._lib.stack_evaluate(
                self._stack,
                *self._features(features),
                self._buffer("int64_t[]", y),
                N,
                self._buffer("double[]", losses),
                self._buffer("int64_t[]", hits),
            )
        )
        return Evaluation(losses / N, hits / N)

    def penalties(self) -> NDArray[np.float64]:
        """See Engine.penalties."""
        squares = np.empty(self._shape[0])
        self._lib.stack_squares(self._stack, self._buffer("double[]", squares))
        return np.asarray(self._l2 * squares)

    def parameters(self) -> tuple[Array, Array]:
        """See Engine.parameters."""
        M, K, D = self._shape
        weights, biases = np.empty((M, K, D), np.float32), np.empty((M, K), np.float32)
        self._lib.stack_parameters(
            self._stack, self._buffer("float[]", weights), self._buffer("float[]", biases)
        )
        return weights, biases

    def _features(self, X: Array) -> tuple[Any, int, int]:
        """Return the address, the type and the bytes a row of stored features."""
        return self._ffi.cast("char *", X.ctypes.data), _TYPES[X.dtype], X.strides[0]

    def _floats(self, array: Array) -> Any:
        with np.errstate(over="ignore"):  # a model that overflows is found out and stopped
            return self._buffer("float[]", np.ascontiguousarray(array, dtype=np.float32))

    def _buffer(self, kind: str, array: Array) -> Any:
        return self._ffi.from_buffer(kind, array)

    def _enough(self, outcome: Any) -> Any:
        """Raise MemoryError for the 0 or NULL by which the kernel says that memory ran out."""
        if not outcome:
            raise MemoryError("not enough memory for this stack of models")
        return outcome


def _stored(X: Array) -> Array:
    """Return X as the kernel reads it: one of its types, values of a row side by side."""
    if _is_readable(X):
        return X
    return np.ascontiguousarray(X, dtype=X.dtype if X.dtype in _TYPES else np.float32)


def _is_readable(X: Array) -> bool:
    return X.dtype in _TYPES and X.strides[1] == X.itemsize
