import tracemalloc

import numpy as np
import pytest

from onelayer.data.derived import Derived, widened

STORED = np.arange(60, dtype=np.float16).reshape(20, 3)
ORDER = np.random.default_rng(0).permutation(20)
ASKED = {
    "slice": slice(3, 17, 2),
    "backwards": slice(None, 4, -3),
    "rows": np.array([5, 0, 19, 5]),
    "from the end": np.array([-1, -20, 3]),
    "mask": np.arange(20) % 3 == 0,
    "list": [2, 4],
    "none": np.array([], np.intp),
    "row": 7,
    "columns": (slice(2, 5), slice(None, 2)),
}


@pytest.mark.parametrize("at", ASKED.values(), ids=ASKED)
def test_rows_are_those_of_an_array(at):
    X, whole = widened(STORED), STORED.astype(np.float32)
    np.testing.assert_array_equal(X[at], whole[at])
    np.testing.assert_array_equal(X.take(ORDER)[at], whole[ORDER][at])


@pytest.mark.parametrize("row", [20, -21])
@pytest.mark.parametrize("X", [widened(STORED), widened(STORED).take(ORDER)], ids=["all", "some"])
def test_rows_that_are_not_there_are_refused(X, row):
    with pytest.raises(IndexError):
        X[np.array([0, row])]


@pytest.mark.parametrize("at", [slice(5, 9), np.array([3, 999_999])], ids=["slice", "rows"])
def test_few_rows_of_many_take_little_memory(at):
    stored = np.broadcast_to(np.float16(1), (1_000_000, 2))
    X = Derived(stored, lambda stored, at: stored[at], (2,), np.float32)
    tracemalloc.start()
    try:
        X[at]
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
