"""Sums over rows: the loss of many models, and its derivatives."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.model.losses import Loss
from onelayer.thread_pools import limited, pools
from onelayer.training.exact.axes import Floats, blocks_of
from onelayer.training.exact.lbfgs import Models
from onelayer.training.exact.rows import Rows

UNPACKED = 1_000_000  # multiplications up to which OpenBLAS need not copy the factors first
FEWEST = 16  # rows for which such a product is worth its call


class Pool(NamedTuple):
    """Threads, each of which multiplies matrices without further threads."""

    threads: int
    executor: Executor


@contextmanager
def open_pool() -> Iterator[Pool]:
    """Yield a pool of as many threads as BLAS would use."""
    libraries = [library for library in pools() if library["user_api"] == "blas"]
    threads = max((library["num_threads"] for library in libraries), default=1)
    with limited(1), ThreadPoolExecutor(threads) as executor:
        yield Pool(threads, executor)


@dataclass(frozen=True)
class WeightedLoss:
    """A loss of weighted rows: `labels` (T, N) among K classes, for each of T targets.

    `shares` (N,) are the weights of the rows.
    """

    loss: Loss
    labels: NDArray[np.intp]
    shares: Floats
    n_classes: int

    @property
    def opposed(self) -> bool:
        """Whether one class has the opposite weights of the other: half of the products suffice."""
        return self.loss.relative and self.n_classes == 2

    @property
    def columns(self) -> int:
        """The columns that one model adds to a product."""
        return 1 if self.opposed else self.n_classes


class Wanted(NamedTuple):
    """What is added up beside the loss and the derivative by the biases."""

    weights: bool  # the derivative by the weights
    curvature: bool  # the second derivative by the biases, the whole matrix


GRADIENT, BIASES, EVERYTHING = Wanted(True, False), Wanted(False, True), Wanted(True, True)


@dataclass
class Sums:
    """Sums over weighted rows, for each model.

    The loss (M,), its derivative by the parameters (M, K, P), or 0 for weights that are not wanted,
    and its second derivative by the biases, the diagonal (M, K) and, if wanted, the whole matrix
    (M, K, K).
    """

    loss: Floats
    gradient: Floats
    bend: Floats
    curvature: Floats


def add_up(
    of: WeightedLoss,
    targets: Models,
    rows: Rows,
    V: Floats,
    pool: Pool,
    wanted: Wanted,
) -> Sums:
    """Return the sums at parameters V (M, K, P), of models with these targets (M,).

    Each thread of the pool adds up its own rows.
    """
    blocks = blocks_of(len(of.shares), V.shape[2])
    parts = min(pool.threads, len(blocks))
    cuts = [len(blocks) * part // parts for part in range(parts + 1)]
    shares = [blocks[first:last] for first, last in itertools.pairwise(cuts)]
    add_up = partial(_add_up_blocks, of, targets, rows, V, wanted=wanted)
    first, *others = (map if parts == 1 else pool.executor.map)(add_up, shares)
    for other in others:
        first.loss += other.loss
        first.gradient += other.gradient
        first.bend += other.bend
        first.curvature += other.curvature
    return first


def _add_up_blocks(
    of: WeightedLoss,
    targets: Models,
    rows: Rows,
    V: Floats,
    blocks: Sequence[slice],
    wanted: Wanted,
) -> Sums:
    M, K, P = V.shape
    opposed = of.opposed
    V = (V[:, :1] - V[:, 1:]) / 2 if opposed else V
    flat = V.reshape(-1, P).astype(rows.dtype)
    across = np.ascontiguousarray(flat.T)
    few = UNPACKED // flat.size
    longest = blocks[0].stop
    few = few if few >= FEWEST else longest
    pieces = [slice(first, first + few) for first in range(0, longest, few)]
    sums = Sums(
        np.zeros(M),
        np.zeros((M, K, P)),
        np.zeros((M, K)),
        np.zeros((M, K, K) if wanted.curvature else 0),
    )
    total, product = np.zeros_like(flat), np.empty_like(flat)
    with np.errstate(over="ignore", invalid="ignore"):
        for some in blocks:
            Z, y, w = rows.read(some), of.labels[:, some], of.shares[some]
            w_like = w.astype(rows.dtype)
            S = np.empty((len(flat), len(Z)), rows.dtype)  # each class lies in one piece
            for piece in pieces:
                S[:, piece] = (Z[piece] @ across).T
            own = len(S) // M
            for m in range(M):
                part = S[m * own : (m + 1) * own]
                of_model = np.concatenate([part, -part]) if opposed else part
                if wanted.curvature:
                    sums.curvature[m] += of.loss.curvature(of_model.T, w)
                values, slopes = of.loss.values_and_slopes(of_model.T, y[targets[m]])
                sums.loss[m] += values @ w
                sums.bend[m] += w_like @ of.loss.bends(slopes)
                np.multiply(slopes.T[:own], w_like, out=part)
            if not wanted.weights:
                total[:, -1] += S.sum(axis=1)
                continue
            for piece in pieces:
                total += np.matmul(S[:, piece], Z[piece], out=product)
    sums.gradient += total.reshape(V.shape)
    if opposed:
        sums.gradient[:, 1] *= -1
    return sums
