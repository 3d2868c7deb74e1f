"""Resamples, class weights and the weights of users: values and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, poisson
from sklearn.utils.class_weight import compute_class_weight

from onelayer.data.sample_weights import (
    RESAMPLINGS,
    bootstrap_weights,
    check_sample_weights,
    class_weights,
)
from onelayer.errors import InputError

NAMES = ("cat", "dog", "horse")


@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**32))
def test_a_bootstrap_draws_as_many_rows_as_there_are(n, resamples, seed):
    weights = bootstrap_weights(n, resamples, seed)
    assert weights.shape == (resamples, n)
    assert weights.dtype == np.uint8
    np.testing.assert_array_equal(weights.sum(axis=1), n)


def test_a_bootstrap_draws_every_row_alike():
    drawn = bootstrap_weights(50, 2000, 0).sum(axis=0)
    assert chisquare(drawn).pvalue > 0.001


@pytest.mark.parametrize("kind", RESAMPLINGS)
def test_a_row_is_out_of_the_bag_in_1_of_e_resamples(kind):
    out, p = bootstrap_weights(1000, 200, 0, kind) == 0, np.exp(-1)
    assert out.mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / out.size))


def test_poisson_counts_are_distributed_as_scipys():
    found = np.bincount(bootstrap_weights(1000, 100, 0, "poisson").ravel(), minlength=7)
    expected = 1e5 * np.append(poisson.pmf(np.arange(6), 1), poisson.sf(5, 1))
    assert chisquare(np.append(found[:6], found[6:].sum()), expected).pvalue > 0.001


@pytest.mark.parametrize("kind", RESAMPLINGS)
def test_more_resamples_begin_with_the_fewer_and_all_differ(kind):
    many = bootstrap_weights(40, 9, 5, kind)
    np.testing.assert_array_equal(bootstrap_weights(40, 3, 5, kind), many[:3])
    assert len(np.unique(many, axis=0)) == 9
    assert (bootstrap_weights(40, 9, 6, kind) != many).any()


@pytest.mark.parametrize(("n", "resamples"), [(0, 1), (1, 0), (-1, 5)])
def test_no_rows_or_resamples_are_refused(n, resamples):
    with pytest.raises(InputError, match="expected at least 1 of each"):
        bootstrap_weights(n, resamples, 0)


def test_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown kind of resampling 'posson'; did you mean 'poi"):
        bootstrap_weights(5, 1, 0, "posson")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_balanced_weights_are_scikit_learns_and_average_to_1(sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    ours = class_weights(y, [str(k) for k in range(len(sizes))], "balanced")
    theirs = compute_class_weight("balanced", classes=np.arange(len(sizes)), y=y)
    np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    assert ours[y].mean() == pytest.approx(1)


@given(st.lists(st.integers(0, 3), min_size=20, max_size=40).filter(any))
def test_balanced_weights_of_rows_used_several_times_are_those_of_the_rows_drawn_out(counts):
    y = np.arange(len(counts)) % 3
    drawn = np.repeat(y, counts)
    ours = class_weights(y, NAMES, "balanced", counts)
    present = np.unique(drawn)
    theirs = compute_class_weight("balanced", classes=present, y=drawn)
    np.testing.assert_allclose(ours[present], theirs, rtol=1e-14)
    assert not ours[np.setdiff1d(y, present)].any()


def test_weights_come_by_name_or_in_the_order_of_the_classes():
    y = np.array([0, 1, 2])
    np.testing.assert_array_equal(class_weights(y, NAMES, {"horse": 3, "cat": 0.5}), [0.5, 1, 3])
    np.testing.assert_array_equal(class_weights(y, NAMES, [1, 0, 2.5]), [1, 0, 2.5])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balance", "unknown class weights 'balance'; did you mean 'balanced'"),
        ({"hose": 2}, "unknown class 'hose'; did you mean 'horse'"),
        ({"dog": -1}, r"the weight of class dog is -1\.0"),
        ([1, 1, np.nan], "the weight of class horse is nan"),
        ([np.inf, 1, 1], "the weight of class cat is inf"),
        ([0, 0, 0], "all 0"),
        ([1, 1], r"shape \(2,\), expected one for each of the 3"),
    ],
)
def test_class_weights_that_cannot_be_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        class_weights(np.array([0, 1, 1]), NAMES, weights)


@pytest.mark.parametrize(
    "weights", [[0, 1, 0.5, 2], np.ones((3, 4), bool), np.eye(3, 4, dtype=np.uint8)]
)
def test_weights_for_all_models_or_for_each_are_taken(weights):
    check_sample_weights(weights, 3, 4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, -2, 1], "^sample weights: row 2 has -2"),
        ([[1] * 4, [1, np.nan, 1, 1], [1] * 4], "^sample weights of model 1: row 1 has nan"),
        ([np.inf, 1, 1, 1], "row 0 has inf"),
        ([[1] * 4, [1] * 4, [0] * 4], "of model 2: all are zero"),
        ([0] * 4, "^sample weights: all are zero"),
        ([1, 1, 1], r"of int64 and the shape \(3,\), expected .* \(4,\) or \(3, 4\)"),
        (np.ones((4, 3)), r"shape \(4, 3\)"),
        (np.ones(4, complex), "of complex128"),
        (["1", "1", "1", "1"], "sample weights of <U1"),
    ],
)
def test_weights_that_cannot_be_are_refused_with_the_row(weights, message):
    with pytest.raises(InputError, match=message):
        check_sample_weights(weights, 3, 4)
