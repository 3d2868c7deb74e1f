"""The engine on PyTorch for ranks that have a part of the rows each: sums go over all ranks.

Blocks of rows are dealt to the ranks in turn, so that each rank has about as many rows of a batch,
in random order and in file order. The batches are those of one process.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelayer.data.dataset import Features, Split
from onelayer.data.derived import Derived
from onelayer.data.sample_weights import SampleWeights
from onelayer.training.engine import Opened, Rows
from onelayer.training.torch_engine import TorchEngine, as_array
from onelayer.training.world import World, world

DEALT = 64  # consecutive rows that go to one rank


@dataclass(frozen=True, eq=False)
class OwnRows:
    """The rows of a split that a rank has: their numbers (n,), and the handle of these rows."""

    whole: Split
    rows: NDArray[np.intp]
    opened: Opened


# As in torch_data: an OwnRows holds a reference to its Split, so no other Split has the same id.
_opened: MutableMapping[tuple[int, int, int, torch.device], OwnRows] = WeakValueDictionary()


class RowsEngine(TorchEngine):
    """A stack that every rank has, each with its own rows; gradients and losses are summed.

    All ranks find the same: on devices of one kind the same bits.
    """

    def __init__(self, *parameters: Any, **options: Any) -> None:
        super().__init__(*parameters, **options)
        self._world = world()

    def open(self, split: Split) -> Opened:
        """See Engine.open: this rank's rows of the split."""
        ranks = self._world
        key = id(split), ranks.rank, ranks.size, self._device
        known = _opened.get(key)
        if known is None:
            rows = _dealt(len(split), ranks)
            own = Split(_chosen(split.X, rows), split.y[rows], split.files)
            known = _opened[key] = OwnRows(split, rows, super().open(own))
        return known

    def _hold_out(self, S: Tensor, y: Tensor, held_out: Tensor) -> None:
        """See TorchEngine._hold_out: summed over ranks in each step, so that all have one state."""
        before, self._held_out = self._held_out, None
        super()._hold_out(S, y, held_out)
        self._world.sum(self._held_out)
        if before is not None and self._held_out is not None:
            self._held_out += before

    def _sums(self, data: Opened, weights: SampleWeights | None) -> NDArray[Any]:
        """See TorchEngine._sums."""
        data = self.open(data) if isinstance(data, Split) else data
        if weights is not None:
            weights = SampleWeights(weights.values[:, data.rows], weights.groups)
        sums = torch.from_numpy(super()._sums(data.opened, weights)).to(self._device, self._double)
        self._world.sum(sums)
        return as_array(sums, np.float64)

    def _batch(self, data: Opened, rows: Rows) -> tuple[Tensor, Tensor, Rows, int]:
        """See TorchEngine._batch: the rows of the batch that this rank has.

        Of a batch that was made for itself, such as an augmented one, each rank takes a share.
        """
        ranks, whole = self._world, data if isinstance(data, Split) else data.whole
        rows = np.arange(*rows.indices(len(whole))) if isinstance(rows, slice) else rows
        if whole is data:
            at = np.arange(ranks.rank, len(rows), ranks.size)
            return *self._feed.batch(data, rows[at]), at, len(rows)
        at = np.flatnonzero(_is_own(rows, ranks))
        return *self._feed.batch(data.opened, _place(rows[at], ranks)), at, len(rows)

    def _descend(self, X: Tensor, G: Tensor, *, every: bool) -> None:
        """See TorchEngine._descend: gradients and stopped models are summed in one call."""
        M, K, D = self._shape
        found = torch.zeros(M * (K * D + K + 1), dtype=self._W.dtype, device=self._device)
        gradient, sums, unsound = found.split((M * K * D, M * K, M))
        self._products.accumulate(gradient.view(M * K, D), G.flatten(1), X, beta=0, alpha=1)
        sums.copy_(G.sum(dim=0).flatten())
        unsound.copy_(self._stopped == self._steps)
        self._world.sum(found)
        now = (unsound > 0) & (self._stopped == 0)
        self._stopped = torch.where(now, self._steps, self._stopped)
        if self._momenta is not None:
            self._go_along(self._momenta, gradient.view(M, K, D), sums.view(M, K))
            return
        moving = self._stopped == 0
        self._decay()
        self._W.sub_(torch.where(moving[:, None, None], gradient.view(M, K, D), 0))
        self._b.sub_(torch.where(moving[:, None], sums.view(M, K), 0))


def _dealt(n_samples: int, ranks: World) -> NDArray[np.intp]:
    """Return the rows that this rank has of a split, in their order."""
    starts = np.arange(ranks.rank * DEALT, n_samples, ranks.size * DEALT)
    rows = (starts[:, None] + np.arange(DEALT)).ravel()
    return rows[rows < n_samples]


def _is_own(rows: NDArray[np.intp], ranks: World) -> NDArray[np.bool_]:
    """Return which of the rows of a split this rank has."""
    return np.asarray(rows // DEALT % ranks.size == ranks.rank)


def _place(rows: NDArray[np.intp], ranks: World) -> NDArray[np.intp]:
    """Return the places of these rows of a split among all rows that the rank has."""
    return np.asarray(rows // (DEALT * ranks.size) * DEALT + rows % DEALT)


def _chosen(X: Features, rows: NDArray[np.intp]) -> Features:
    """Return rows of features, unread until they are used."""
    if isinstance(X, Derived):
        return X.take(rows)
    return Derived(X, lambda stored, at: stored[at], X.shape[1:], X.dtype, rows)
