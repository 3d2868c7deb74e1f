import tracemalloc

import numpy as np
import pytest

from onelayer.data.dataset import Split
from onelayer.data.derived import Derived, are_finite, bfloat16, widened

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


HALVES = {
    "float16": lambda bits: widened(bits.view(np.float16)),
    "bfloat16": bfloat16,
    "of another processor": lambda bits: widened(bits.view(np.float16).astype(">f2")),
}


@pytest.mark.parametrize("made", HALVES.values(), ids=HALVES)
def test_the_bits_of_a_half_say_whether_it_is_finite(made):
    """For all 65,536 of them."""
    X = made(np.arange(2**16, dtype=np.uint16).reshape(-1, 4))
    np.testing.assert_array_equal(are_finite(X, slice(None)), np.isfinite(X[:]))


def test_a_digest_is_of_what_is_stored_in_which_order_of_bytes():
    one, same, other = (
        Split(widened(X), np.zeros(20, int)).digest()
        for X in (STORED, STORED.astype(">f2"), STORED + np.float16(1))
    )
    assert one == same != other
    assert one == Split(widened(np.asfortranarray(STORED)), np.zeros(20, np.int8)).digest()


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
