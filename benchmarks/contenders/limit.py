"""No contender but the yardstick: one large float32 matrix product."""

import numpy as np

from benchmarks.work import Epoch, Outcome, Problem

SIDE = 4096
OPERATIONS = 2 * SIDE**3


def prepare(problem: Problem) -> Epoch:
    """Return the product of two square matrices; the problem does not matter."""
    left, right = np.random.default_rng(problem.seed).random((2, SIDE, SIDE), dtype=np.float32)
    product = np.empty_like(left)

    def epoch() -> Outcome:
        np.matmul(left, right, out=product)
        return {}

    return epoch
