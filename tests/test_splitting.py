"""Held-out rows: counts against scikit-learn, laws of every split and fold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from made import make_data
from made_folder import write_folder
from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import Split
from onelayer.data.splitting import check_no_leak, fold_weights, fold_weights_from, split_off
from onelayer.errors import InputError

seeds = st.integers(0, 2**32)
class_sizes = st.lists(st.integers(5, 40), min_size=1, max_size=6)


def labels(sizes, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def numbered(y):
    """Return a split whose row n holds nothing but n."""
    return Split(np.arange(len(y))[:, None], y)


def counts(weights, y):
    """Return how many rows of each class each model holds out, (M, K)."""
    return np.array([np.bincount(y[row == 0], minlength=y.max() + 1) for row in weights])


@given(st.lists(st.integers(10, 40), min_size=1, max_size=6), st.floats(0.2, 0.8), seeds)
def test_each_class_gives_its_share_to_a_whole_row(sizes, share, seed):
    y = labels(sizes)
    rest, held = split_off(numbered(y), share, seed)
    assert len(held) == round(share * len(y))
    given_up = np.bincount(held.y, minlength=len(sizes))
    assert (abs(given_up - np.array(sizes) * len(held) / len(y)) < 1).all()
    assert len(rest) + len(held) == len(y)


@given(class_sizes, seeds)
def test_both_parts_keep_the_order_and_together_are_the_whole(sizes, seed):
    y = labels(sizes)
    rest, held = split_off(numbered(y), 0.4, seed)
    for part in (rest, held):
        rows = part.X[:, 0]
        assert (np.diff(rows) > 0).all()
        np.testing.assert_array_equal(part.y, y[rows])
    np.testing.assert_array_equal(np.sort(np.vstack([rest.X, held.X])[:, 0]), np.arange(len(y)))


def test_the_class_shares_are_scikit_learns():
    y = labels([300, 120, 60, 20])  # shares of 100 rows that are whole: no remainder to dispute
    _, held = split_off(numbered(y), 100, 0)
    _, theirs = next(StratifiedShuffleSplit(1, test_size=100, random_state=0).split(y, y))
    np.testing.assert_array_equal(np.bincount(held.y), np.bincount(y[theirs]))


def test_the_seed_alone_decides_which_rows_and_every_row_may_come():
    y = labels([20, 30])
    drawn = [split_off(numbered(y), 10, seed)[1].X[:, 0] for seed in (*range(60), 0)]
    np.testing.assert_array_equal(drawn[0], drawn[-1])
    often = np.bincount(np.concatenate(drawn[:60]), minlength=50)
    assert often.min() > 0
    assert often.max() < 30  # 12 of 60 expected, deviation 3


def test_mapped_shards_give_their_rows_in_the_type_stored(tmp_path):
    data = make_data(N=60, dtype=np.float32)
    mapped = load_dataset(write_folder(tmp_path, data, {"train": [17, 1, 42]}))
    for ours, expected in zip(
        split_off(mapped.train, 25, 3), split_off(data.train, 25, 3), strict=True
    ):
        np.testing.assert_array_equal(ours.X, expected.X)
        np.testing.assert_array_equal(ours.y, expected.y)
        assert ours.X.dtype == np.float32
        assert ours.files == ()


@pytest.mark.parametrize("samples", [0, -3, 20, 1000, 1.0001, 0.001, 0.999, np.nan, np.inf])
def test_a_share_or_number_that_leaves_a_part_empty_is_refused(samples):
    with pytest.raises(InputError, match=r"expected a share between 0 and 1, or .* 1 to 19"):
        split_off(numbered(labels([10, 10])), samples, 0)


@pytest.mark.parametrize("samples", [2, 0.9])
def test_a_class_that_would_be_missing_from_a_part_is_named(samples):
    with pytest.raises(InputError, match="class 1 has 3 of 43 rows, too few to be in both"):
        split_off(numbered(labels([40, 3])), samples, 0)


@given(class_sizes, st.integers(2, 5), st.integers(1, 3), st.booleans(), seeds)
def test_each_repeat_holds_out_every_row_once(sizes, folds, repeats, stratified, seed):
    y = labels(sizes)
    weights = fold_weights(y, folds, repeats=repeats, seed=seed, stratified=stratified)
    assert weights.shape == (repeats * folds, len(y))
    assert weights.dtype == np.uint8
    held_out = 1 - weights.reshape(repeats, folds, -1).astype(int)
    np.testing.assert_array_equal(held_out.sum(axis=1), 1)


@given(class_sizes, st.integers(2, 5), seeds)
def test_stratified_folds_are_even_as_scikit_learns_are(sizes, folds, seed):
    y = labels(sizes)
    ours = counts(fold_weights(y, folds, seed=seed), y)
    theirs = [
        np.bincount(y[rows], minlength=len(sizes))
        for _, rows in StratifiedKFold(folds, shuffle=True, random_state=0).split(y, y)
    ]
    np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))
    assert np.ptp(ours, axis=0).max() <= 1
    assert np.ptp(ours.sum(axis=1)) <= 1


@given(st.integers(5, 60), st.integers(2, 5), seeds)
def test_folds_that_are_not_stratified_are_of_even_size_whatever_the_labels(N, folds, seed):
    y = np.arange(N)  # no class has two rows
    sizes = (fold_weights(y, folds, seed=seed, stratified=False) == 0).sum(axis=1)
    assert np.ptp(sizes) <= 1


def test_repeats_differ_and_more_of_them_begin_with_the_fewer():
    y = labels([30, 30])
    three = fold_weights(y, 5, repeats=3, seed=1)
    np.testing.assert_array_equal(fold_weights(y, 5, repeats=1, seed=1), three[:5])
    assert (three[:5] != three[5:10]).any()
    assert (fold_weights(y, 5, seed=2) != three[:5]).any()


@given(
    st.lists(st.integers(0, 9), min_size=20, max_size=80), st.integers(2, 6), st.booleans(), seeds
)
def test_a_group_is_never_on_both_sides_and_no_fold_is_empty(group_of_row, folds, stratified, seed):
    groups = np.array(group_of_row + list(range(10)))
    y = np.random.default_rng(seed).integers(0, 3, len(groups))
    weights = fold_weights(y, folds, seed=seed, stratified=stratified, groups=groups)
    for row in weights:
        assert not set(groups[row == 0]) & set(groups[row == 1])
    np.testing.assert_array_equal((weights == 0).sum(axis=0), 1)
    assert (weights == 0).any(axis=1).all()
    check_no_leak(weights, groups)


def unevenness(held_out_counts):
    """Return the mean deviation of the folds' shares of each class."""
    return (held_out_counts / held_out_counts.sum(axis=0)).std(axis=0).mean()


def test_grouped_folds_are_at_least_as_even_as_scikit_learns():
    ours, theirs = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        group_sizes = generator.dirichlet(np.full(40, 2.0))
        groups = generator.choice(40, 400, p=group_sizes)
        y = (generator.random(400) < generator.random(40)[groups]).astype(int)
        ours.append(unevenness(counts(fold_weights(y, 5, seed=seed, groups=groups), y)))
        peer = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(y, y, groups)
        theirs.append(unevenness(np.array([np.bincount(y[rows]) for _, rows in peer])))
    assert np.mean(ours) <= np.mean(theirs)


def test_groups_without_strata_are_dealt_by_size_as_scikit_learns():
    groups = np.random.default_rng(0).choice(30, 500, p=np.arange(1, 31) / 465)
    y = np.zeros(500, np.intp)
    ours = counts(fold_weights(y, 4, seed=0, stratified=False, groups=groups), y)[:, 0]
    theirs = [len(rows) for _, rows in GroupKFold(4).split(y, y, groups)]
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds 1: expected at least 2"),
        ({"folds": 4}, "folds 4: expected at most 3, the rows of the smallest of the 2 classes"),
        ({"folds": 14, "stratified": False}, "folds 14: expected at most 13, the rows there are"),
        ({"folds": 3, "repeats": 0}, "repeats 0: expected at least 1"),
        ({"folds": 3, "groups": ["a"] * 6 + ["b"] * 7}, "folds 3: expected at most 2, the number"),
        ({"folds": 2, "groups": [1, 2]}, r"groups of the shape \(2,\), expected \(13,\)"),
    ],
)
def test_folds_that_cannot_be_are_refused_with_the_reason(options, message):
    with pytest.raises(InputError, match=message):
        fold_weights(labels([10, 3]), **options, seed=0)


def test_folds_of_the_users_own_are_held_out_by_ascending_number():
    weights = fold_weights_from([7, 2, 2, 7, 5], groups=["a", "b", "b", "a", "c"])
    np.testing.assert_array_equal(weights, [[1, 0, 0, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 0, 1]])


@pytest.mark.parametrize(
    ("fold_of_row", "message"),
    [
        ([0, 0, 0], "1 fold in all: expected at least 2"),
        ([0, -1, 1], "expected the number of a fold, 0 or more"),
        ([0.0, 1.0], "folds of float64"),
        ([[0, 1]], r"shape \(1, 2\)"),
    ],
)
def test_folds_of_the_users_own_that_are_none_are_refused(fold_of_row, message):
    with pytest.raises(InputError, match=message):
        fold_weights_from(fold_of_row)


def test_a_leaking_group_is_named():
    with pytest.raises(InputError, match="group ann is on both sides: model 0 holds out 1 of its"):
        fold_weights_from([0, 1, 1], groups=["ann", "ann", "bob"])
    weights = np.array([[1.0, 0.5, 1.0, 1.0], [0.0, 0.0, 2.0, 0.0]])
    with pytest.raises(InputError, match="group 4 is on both sides: model 1 holds out 1 of its 2"):
        check_no_leak(weights, [3, 3, 4, 4])
    check_no_leak(weights[:1], [3, 3, 4, 4])  # weights that are not 0 all train
