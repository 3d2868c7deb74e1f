"""Splits for PyTorch: kept on the device as they are stored, or sent to it batch by batch."""

from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelayer.data.dataset import BLOCK, Features, Split
from onelayer.data.derived import Derived
from onelayer.data.scaling import Scaling
from onelayer.training.engine import Rows

_TYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(kind): getattr(torch, np.dtype(kind).name)
    for kind in ("bool", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
}
_AHEAD = 2  # batches by which the processor may be ahead of the device


@dataclass(eq=False)
class KeptSplit:
    """A split on a device: X (N, D) in the type in which it is stored, y (N,).

    `order` is the last order of its rows, here and on the device.
    """

    split: Split
    X: Tensor
    y: Tensor
    order: tuple[NDArray[np.intp], Tensor] | None = None


# Stacks with different scalings share one copy of a split. A kept split holds a reference to its
# Split, so no other Split can have the same id.
_kept: MutableMapping[tuple[int, torch.device], KeptSplit] = WeakValueDictionary()


class Feed:
    """Sends the batches of splits to a device, scaled and in the type of the models.

    Data for a CUDA device goes through pinned memory. A stream of its own copies the features: the
    next batch is copied while the device computes the last one.
    """

    def __init__(self, device: torch.device, scaling: Scaling, dtype: np.dtype[Any]) -> None:
        self._device, self._scaling, self._dtype = device, scaling, dtype
        self._numbers: dict[torch.dtype, tuple[Tensor | None, Tensor | None]] = {}
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._behind: deque[Any] = deque()

    def open(self, split: Split, room: int) -> "KeptSplit | Split":
        """Return the split on the device if it takes at most `room` bytes, else unchanged."""
        known = _kept.get((id(split), self._device))
        if known is not None:
            return known
        sample = _read(split.X, slice(0, 1))
        takes = len(split) * (sample.nbytes + split.y.itemsize + np.intp().itemsize)
        if takes > room or self._scales_before(split.X):
            return split
        X = torch.empty((len(split), sample.shape[1]), dtype=sample.dtype, device=self._device)
        for rows in split.blocks(BLOCK):
            X[rows] = self.upload(_read(split.X, rows))
        kept = KeptSplit(split, X, self.upload(_labels(split, slice(None))))
        return _kept.setdefault((id(split), self._device), kept)

    def batch(self, data: "KeptSplit | Split", rows: Rows) -> tuple[Tensor, Tensor]:
        """Return x (B, D) of equation (1) and labels (B,) on the device."""
        if isinstance(data, KeptSplit):
            at = rows if isinstance(rows, slice) else self._row_numbers(data, rows)
            return self._scale(data.X[at], data.split.X), data.y[at]
        self._wait_for_room()
        if self._scales_before(data.X):
            X = self._scaling.apply(data.X[rows], self._dtype)
            return self.upload(torch.from_numpy(X)), self.upload(_labels(data, rows))
        stored = self._upload_aside(_read(data.X, rows))
        return self._scale(stored, data.X), self.upload(_labels(data, rows))

    def _row_numbers(self, data: KeptSplit, rows: NDArray[np.intp]) -> Tensor:
        """Return the numbers of rows on the device, cut from their order, which is sent once."""
        order = _order_of(rows)
        if order is None:
            return self.upload(torch.from_numpy(rows))
        if data.order is None or data.order[0] is not order:
            data.order = None  # first, since there is room for one
            data.order = order, self.upload(torch.tensor(order))
        first = (rows.ctypes.data - order.ctypes.data) // order.itemsize
        return data.order[1][first : first + len(rows)]

    def upload(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the device, copied in turn with the other work there."""
        if self._side is None:
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _upload_aside(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the device, copied beside the other work there."""
        if self._side is None:
            return tensor.to(self._device)
        now = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._side):
            there = self.upload(tensor)
        now.wait_stream(self._side)
        there.record_stream(now)
        return there

    def _wait_for_room(self) -> None:
        """Wait until the device has at most _AHEAD batches left to compute."""
        if self._side is None:
            return
        self._behind.append(torch.cuda.current_stream(self._device).record_event())
        if len(self._behind) > _AHEAD:
            self._behind.popleft().synchronize()

    def _scales_before(self, X: Features) -> bool:
        """Return whether the processor has to scale, since Apple's GPUs have no float64."""
        if self._device.type != "mps":
            return False
        precise = _TYPES[self._scaling.precision(X.dtype, self._dtype)]
        return torch.float64 in (precise, _read(X, slice(0, 1)).dtype)

    def _scale(self, stored: Tensor, X: Features) -> Tensor:
        """Return x of the stored features, with the same arithmetic as Scaling.apply."""
        precise = _TYPES[self._scaling.precision(X.dtype, self._dtype)]
        shift, factor = self._numbers_in(precise)
        x = stored.to(precise)
        if shift is not None:
            x = x - shift
        if factor is not None:
            x = x * factor
        return x.to(_TYPES[self._dtype])

    def _numbers_in(self, kind: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """Return shift and factor in a type; None for a shift of 0 and a factor of 1."""
        if kind not in self._numbers:
            shift, factor = self._scaling.shift, self._scaling.factor
            self._numbers[kind] = (
                self.upload(torch.from_numpy(shift).to(kind)) if shift.any() else None,
                self.upload(torch.from_numpy(factor).to(kind)) if (factor != 1).any() else None,
            )
        return self._numbers[kind]


def _order_of(rows: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Return the order of an epoch that these rows are cut from, else None.

    It cannot be written to, so it is still what was sent: see data.batches.
    """
    order = rows.base
    if not isinstance(order, np.ndarray) or order.flags.writeable:
        return None
    return order if order.strides == rows.strides else None


def _read(X: Features, rows: Rows) -> Tensor:
    """Return rows in their stored type if PyTorch has it, else in float64."""
    if isinstance(X, Derived) and X.widens:
        halves = torch.from_numpy(_owned(X.stored(rows)))
        return halves.view(torch.bfloat16) if X.kind == "bfloat16" else halves
    stored = X[rows]
    native = stored.dtype.newbyteorder("=")
    return torch.from_numpy(_owned(stored.astype(native if native in _TYPES else "f8", copy=False)))


def _labels(split: Split, rows: Rows) -> Tensor:
    return torch.from_numpy(_owned(split.y[rows].astype(np.int64, copy=False)))


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that PyTorch may share: writable and contiguous."""
    return np.require(array, requirements=["C", "W"])
