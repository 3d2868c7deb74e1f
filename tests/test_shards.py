"""Shards read like the one array that they are parts of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.data.shards import Shards

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def cut(sizes, D=3, dtype=np.uint8):
    """Return an array (N, D) and the same rows as shards of the sizes."""
    whole = np.random.default_rng(0).integers(0, 256, (sum(sizes), D)).astype(dtype)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    return whole, Shards([part.copy() for part in parts])


@given(sizes, st.slices(60))
def test_every_slice_is_that_of_one_array(sizes, selected):
    whole, shards = cut(sizes)
    np.testing.assert_array_equal(shards[selected], whole[selected])


@given(sizes, st.data())
def test_every_index_array_is_that_of_one_array(sizes, data):
    whole, shards = cut(sizes)
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=40))
    rows = np.array(rows, dtype=np.intp)
    np.testing.assert_array_equal(shards[rows], whole[rows])


def test_shape_type_and_length_are_those_of_one_array():
    whole, shards = cut([3, 1, 5], dtype=np.float32)
    assert (shards.shape, shards.dtype, len(shards), shards.ndim) == (whole.shape, "f4", 9, 2)
    np.testing.assert_array_equal(np.asarray(shards), whole)
    assert np.asarray(shards, np.float64).dtype == np.float64


def test_a_slice_within_a_shard_is_a_view_and_one_across_an_end_is_not():
    parts = [np.zeros((4, 2)), np.ones((4, 2))]
    shards = Shards(parts)
    for inside, part in ((slice(0, 4), 0), (slice(4, 8), 1), (slice(5, 7), 1)):
        assert np.shares_memory(shards[inside], parts[part])
    assert not any(np.shares_memory(shards[3:5], part) for part in parts)


def test_addresses_are_where_the_rows_begin():
    parts = [np.zeros((4, 2)), np.ones((3, 2))]
    at = Shards(parts).addresses(np.array([6, 0, 4, 3]))
    rows = [parts[1][2:], parts[0], parts[1], parts[0][3:]]
    np.testing.assert_array_equal(at, [row.ctypes.data for row in rows])


@pytest.mark.parametrize("rows", [[0, 7], [-1, 2]])
@pytest.mark.parametrize("read", [Shards.__getitem__, Shards.addresses])
def test_rows_that_are_not_there_are_refused(rows, read):
    with pytest.raises(IndexError, match="of 7"):
        read(cut([4, 3])[1], np.array(rows))


def test_arrays_that_differ_are_no_shards():
    with pytest.raises(ValueError, match="too many values"):
        Shards([np.zeros((2, 3)), np.zeros((2, 4))])
