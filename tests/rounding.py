"""How far two sums of the same numbers may lie apart, on any processor."""

from typing import Any

import numpy as np


def rounding(size: Any, terms: int, dtype: Any = np.float64) -> Any:
    """Bound the difference between two sums of `terms` numbers, added in any order.

    `size` is the sum of their magnitudes. Each sum is off by (terms − 1) · eps/2 · size at most
    (Higham 2002, section 4.2); a product that is added counts as one term more.
    """
    return terms * np.finfo(dtype).eps * size
