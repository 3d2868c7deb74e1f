"""Designed points that hide no mistake: sizes are different primes, λ and b are not 0."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.streams import Stream, random_stream
from onelayer.model.losses import CROSS_ENTROPY, Loss, find_loss

Array = NDArray[Any]
Sizes = tuple[int, int, int]
SIZES = (7, 13, 5)  # N, D, K: no product of two of them is the third
PICTURES = (7, 3072, 10)  # for code that works for the sizes of CIFAR-10 only
L2 = 0.3
STEP = 1e-2  # of a numerical gradient under test: truncation is visible, rounding is not
BATCH, RATE, EPOCHS = 4, 0.1, 3  # of a descent under test, over ROWS samples
ROWS = 12
_LARGE = 1000.0  # scores whose exponential overflows
_DRAWS = 30  # of a point, until no two slips look alike there
_CUT = 0.02  # from 0 and 1: a p that no clipping reaches
_WIDE = (53, 211, 11)  # sizes at which rounding to float32 is visible


@dataclass(frozen=True, eq=False)
class Point:
    """A batch X (N, D), y (N,), parameters W (K, D), b (K,), and λ: the arguments of a gradient."""

    X: Array
    y: NDArray[np.intp]
    W: Array
    b: Array
    l2: float
    loss: Loss = CROSS_ENTROPY

    @property
    def sizes(self) -> Sizes:
        """N, D and K."""
        return (*self.X.shape, len(self.W))

    @cached_property
    def S(self) -> Array:
        """The scores (N, K)."""
        S: Array = self.X @ self.W.T + self.b
        return S

    @cached_property
    def P(self) -> Array:
        """The softmax of the scores (N, K)."""
        E = np.exp(self.S - self.S.max(axis=1, keepdims=True))
        P: Array = E / E.sum(axis=1, keepdims=True)
        return P

    @cached_property
    def Y(self) -> Array:
        """The labels, one-hot (N, K)."""
        return np.eye(len(self.W))[self.y]


def draw_point(
    sizes: Sizes = SIZES, l2: float = L2, loss: str = "cross-entropy", seed: int = 0
) -> Point:
    """Return a point with scores of order 1, b ≠ 0 and labels that are unbalanced and unsorted.

    The features have different means and different scales.
    """
    generator = random_stream(seed, Stream.CHECKED_PARAMETERS, *sizes)
    for _ in range(_DRAWS):
        point = Point(*_draw(generator, sizes), l2, find_loss(loss))
        if _tells_apart(point):
            break
    return point


def _draw(generator: np.random.Generator, sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """Return X, y, W and b."""
    N, D, K = sizes
    X = generator.standard_normal((N, D)) * generator.uniform(0.5, 1.5, D) + 0.3
    W = generator.standard_normal((K, D)) / np.sqrt(D)
    b = generator.uniform(0.2, 0.9, K) * np.where(np.arange(K) % 2, -1, 1)
    y = np.floor(K * generator.random(N) ** 1.7).astype(np.intp)
    y[1::3] = np.argmax(X @ W.T + b, axis=1)[1::3]  # some predictions are right, others wrong
    y[0] = K - 1
    return X, y, W, b


def _tells_apart(point: Point) -> bool:
    """Return whether slips in the labels, and in the first and last row, show at a point.

    The gradient of the bias sees the labels by their counts alone.
    """
    Y, K = point.Y, len(point.W)
    shifted = [*(np.roll(Y, n, axis=1) for n in (1, -1)), *(Y @ np.eye(K, k=n) for n in (1, -1))]
    permuted = [Y[:, ::-1], Y.T.reshape(Y.shape), Y.reshape(Y.shape[::-1]).T]
    counts = [{tuple(A.sum(axis=0)) for A in each} for each in ([Y], shifted, permuted)]
    apart = len(set().union(*counts)) == sum(map(len, counts))
    ends = (point.P * Y).sum(axis=1)[[0, -1]]
    return bool(apart and (ends > _CUT).all() and (ends < 1 - _CUT).all())


def probe_points(base: Point, seed: int = 0) -> dict[str, Point]:
    """Return the points by name: the base, and its changes for the laws."""
    _, D, K = base.sizes
    fits = base.sizes[1:] == SIZES[1:]
    S = base.X @ base.W.T
    large = base.W * (_LARGE / S.flat[np.abs(S).argmax()])  # the largest score is positive
    return {
        "base": base,
        "again": base,
        "single": replace(base, X=base.X[:1], y=base.y[:1]),
        "twice": replace(base, X=np.concatenate([base.X] * 2), y=np.concatenate([base.y] * 2)),
        "shifted": replace(base, b=base.b + 2.0),
        "blank": replace(base, X=np.zeros_like(base.X)),
        "free": replace(base, l2=0.0),
        "large": replace(base, W=large, l2=base.l2 / _LARGE),
        "wide": _with_bias(
            draw_point(_WIDE if fits else base.sizes, base.l2, base.loss.name, seed), base
        ),
        "epochs": _with_bias(draw_point((ROWS, D, K), base.l2, base.loss.name, seed), base),
        "one batch": replace(base, X=base.X[:BATCH], y=base.y[:BATCH]),
    }


def _with_bias(point: Point, base: Point) -> Point:
    """Return the point without a bias if the base has none."""
    return point if base.b.any() else replace(point, b=np.zeros_like(point.b))


def splits() -> list[Array]:
    """Return features of three splits (n, D), with different means and deviations."""
    generator = random_stream(0, Stream.CHECKED_PARAMETERS, 3)
    sizes = zip((11, 7, 5), (0.5, 0.9, 0.1), strict=True)
    spread = generator.uniform(0.5, 2, SIZES[1])
    return [mean + spread * generator.random((n, SIZES[1])) for n, mean in sizes]


def images() -> Array:
    """Return weights (3, 3072); their pictures differ from each other and from mirror images."""
    generator = random_stream(0, Stream.CHECKED_PARAMETERS, 4)
    W: Array = generator.standard_normal((3, 3072)) * np.array([[1.0], [2.0], [0.5]])
    return W
