import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.data.batches import ORDERS, RUN, WINDOW, batches
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


@given(st.integers(1, 60_000), st.integers(50, 40_000), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_every_sample_of_many_windows_comes_exactly_once(n, size, seed):
    epoch = rows(n, size, "windowed", seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(n))
    assert {len(batch) for batch in epoch[:-1]} <= {size}


def test_every_window_is_read_in_long_runs():
    n, window = 10 * WINDOW * RUN, WINDOW * RUN
    order = np.concatenate(rows(n, window, "windowed"))
    for first in range(0, n, window):
        runs = np.split(read := np.sort(order[first : first + window]), WINDOW)
        assert all(run[-1] - run[0] == RUN - 1 for run in runs), "a run has a gap"
        assert (np.diff(read) != 1).sum() > WINDOW / 2, "the runs are neighbours"


def test_windows_are_of_nearly_the_same_size_however_many_samples_there_are():
    n = (WINDOW + 1) * RUN  # cut carelessly the second window would be a single run
    order = np.concatenate(rows(n, 100, "windowed")) // RUN
    assert [len(np.unique(window)) for window in np.split(order, [33 * RUN])] == [33, 32]


def test_up_to_one_window_a_windowed_order_is_a_uniform_shuffle():
    n = 4000
    places = np.array([np.concatenate(rows(n, 100, "windowed", seed)) for seed in range(200)])
    means = places.mean(axis=0)  # of 200 uniform numbers below n, at every place of the order
    sd = n / np.sqrt(12 * 200)
    assert abs(means - (n - 1) / 2).max() < 5 * sd
    assert means.std() == pytest.approx(sd, rel=0.1)


def test_the_seed_decides_the_windows_and_every_epoch_draws_anew():
    generator, again = np.random.default_rng(4), np.random.default_rng(4)
    first, second = (np.concatenate(list(batches(900, 50, "windowed", generator))) for _ in "12")
    next(batches(900, 50, "windowed", again))  # an epoch left early changes no later one
    np.testing.assert_array_equal(np.concatenate(list(batches(900, 50, "windowed", again))), second)
    assert not np.array_equal(first, second)


def entropy(labels, K):
    """Return the entropy in nats of the classes of a batch."""
    shares = np.bincount(labels, minlength=K) / len(labels)
    return -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))


def test_sorted_classes_are_mixed_nearly_as_well_by_windows_as_by_a_shuffle():
    n, K, generator = 200_000, 10, np.random.default_rng(0)
    y = np.arange(n) * K // n
    mixed = {
        order: np.mean([entropy(y[batch], K) for batch in batches(n, 100, order, generator)])
        for order in ORDERS
    }
    assert mixed["file"] == 0
    # A batch of 100 falls short of log K by about (K − 1) / 200, and a window of 64 runs, each of
    # one class, by another (K − 1) / 128.
    assert mixed["shuffled"] == pytest.approx(np.log(K) - (K - 1) / 200, abs=0.01)
    assert mixed["windowed"] == pytest.approx(mixed["shuffled"] - (K - 1) / 128, abs=0.02)


def test_an_unknown_order_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown order 'shuffle'; did you mean 'shuffled'"):
        batches(5, 2, "shuffle", np.random.default_rng(0))
