import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.data.batches import ORDERS, batches
from onelayer.errors import InputError


def rows(n: int, size: int, order: str, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.arange(n)[selected] for selected in batches(n, size, order, generator)]


@given(st.integers(1, 200), st.integers(1, 250), st.sampled_from(ORDERS), st.integers(0, 99))
def test_every_sample_comes_exactly_once(n, size, order, seed):
    epoch = rows(n, size, order, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(n))
    assert [len(batch) for batch in epoch[:-1]] == [size] * (len(epoch) - 1)
    assert len(epoch[-1]) == (n % size or min(n, size))


def test_file_order_takes_consecutive_rows_and_draws_nothing():
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    assert list(batches(7, 3, "file", generator)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert generator.bit_generator.state == before


def test_the_seed_decides_the_shuffle():
    first, again, other = (np.concatenate(rows(50, 8, "shuffled", seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_epoch_is_shuffled_anew():
    generator = np.random.default_rng(0)
    first, second = (np.concatenate(list(batches(50, 8, "shuffled", generator))) for _ in range(2))
    assert not np.array_equal(first, second)


def test_the_permutation_is_drawn_at_once_and_not_when_it_is_used():
    generator = np.random.default_rng(0)
    epoch = batches(50, 8, "shuffled", generator)
    np.testing.assert_array_equal(
        np.concatenate(list(epoch)), np.random.default_rng(0).permutation(50)
    )


def test_an_unknown_order_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown order 'shuffle'; did you mean 'shuffled'"):
        batches(5, 2, "shuffle", np.random.default_rng(0))
