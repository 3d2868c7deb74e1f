"""What a wrong gradient looks like where no formula of the library gives it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.matching import SINGLE, relative_distance
from onelayer.model.doctor.slips import Finding, declare

Array = NDArray[Any]

RATIO = declare(
    "P01",
    "a constant ratio",
    "Every entry is the same multiple of what it should be.",
    "Which sizes, or products of sizes, is that number?",
    "ratio 1",
)
PENALTY_LIKE = declare(
    "P02",
    "off by a multiple of W",
    "What is too much, or too little, is a multiple of W: look at the weight decay.",
    "What is your gradient for λ = 0?",
    "2λW",
)
ONE_LINE = declare(
    "P03",
    "one class or feature is wrong",
    "All entries are right but those of one row or column.",
    "Does a loop or a slice leave out the first or the last?",
    "all classes, all features",
)
RANK_1 = declare(
    "P04",
    "off by a matrix of rank 1",
    "The difference is one vector times another: one sample, or one mean, is taken wrongly.",
    "Which sample would give such a difference alone?",
    "Σ_n g_n x_nᵀ",
)
MISPLACED = declare(
    "P05",
    "right values in wrong places",
    "The values are those of the gradient, in another order.",
    "Where do you transpose, reshape or sort?",
    "∂J/∂W in the order of W",
)
NOISE = declare(
    "P06",
    "off by noise",
    "The differences are small and without a pattern, as of low precision or a numerical gradient.",
    "Which dtype has each array on the way, and which step has a difference?",
    "float64",
)
ONLY_BIAS = declare(
    "P07",
    "the gradient of b alone is wrong",
    "∂J/∂W is right and ∂J/∂b is not, by no formula that is known here.",
    "∂J/∂W without the features is ∂J/∂b. Which line differs?",
    "(1/N) Σ_n g_n",
)
ONLY_WEIGHTS = declare(
    "P08",
    "the gradient of W alone is wrong",
    "∂J/∂b is right and ∂J/∂W is not: the slopes are right, the features or the penalty are not.",
    "Only two terms of ∂J/∂W do not appear in ∂J/∂b.",
    "(1/N) Gᵀ X + 2λW",
)
UNKNOWN = declare(
    "P09",
    "wrong, by no formula that is known here",
    "The gradient is wrong, and no wrong formula of the library gives it.",
    "Try one sample, two features and two classes by hand.",
    "(1/N) Gᵀ X + 2λW",
)


def patterns(found: Array, right: Array, W: Array, where: str) -> Iterator[Finding]:
    """Yield what the difference of a part of the gradient looks like; nothing fits as a rule."""
    difference = found - right
    size = np.abs(right).max()
    ratio = float((found * right).sum() / (right * right).sum())
    if relative_distance(found, ratio * right) <= SINGLE:
        yield Finding(RATIO, where, f"{ratio:.6g} times the gradient")
    elif np.abs(difference).max() <= 1e-5 * size:
        yield Finding(NOISE, where, f"differences up to {np.abs(difference).max() / size:.1e}")
    elif found.ndim == 2:
        yield from _of_matrix(found, right, W, where)
    elif np.allclose(np.sort(found), np.sort(right), rtol=0, atol=SINGLE * size):
        yield Finding(MISPLACED, where)


def _of_matrix(found: Array, right: Array, W: Array, where: str) -> Iterator[Finding]:
    difference, size = found - right, np.abs(right).max()
    factor = float((difference * W).sum() / (W * W).sum())
    wrong = np.abs(difference) > 1e-6 * size
    values = np.linalg.svd(difference, compute_uv=False)
    if relative_distance(difference, factor * W) <= SINGLE:
        yield Finding(PENALTY_LIKE, where, f"{factor:+.6g} W too much")
    elif wrong.any(axis=1).sum() == 1:
        yield Finding(ONE_LINE, where, f"row {int(wrong.any(axis=1).argmax())} alone is wrong")
    elif wrong.any(axis=0).sum() == 1:
        yield Finding(ONE_LINE, where, f"column {int(wrong.any(axis=0).argmax())} alone is wrong")
    elif np.allclose(np.sort(found, None), np.sort(right, None), rtol=0, atol=SINGLE * size):
        yield Finding(MISPLACED, where)
    elif values[1] <= 1e-6 * values[0]:
        yield Finding(RANK_1, where)
