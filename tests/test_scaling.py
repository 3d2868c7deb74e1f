import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import METHODS, Scaling, _moments, fit_scaling
from onelayer.errors import InputError
from rounding import rounding


def dataset(X: np.ndarray, full_scale: float = 1.0) -> Dataset:
    samples = Split(X, np.zeros(len(X), np.intp))
    other = Split(X[:1] + X.dtype.type(1), np.zeros(1, np.intp))
    return Dataset("toy", samples, other, None, ("a", "b"), full_scale)


def pixels(n: int = 2500) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 7), dtype=np.uint8)


def test_unit_divides_by_the_full_scale():
    X = np.array([[0, 51, 255]], np.uint8)
    scaled = fit_scaling("unit", dataset(X, full_scale=255)).apply(X)
    np.testing.assert_allclose(scaled, [[0, 0.2, 1]], rtol=1e-15)
    assert scaled[0, 2] == 1


def test_none_changes_nothing_but_the_type():
    X = pixels()
    scaled = fit_scaling("none", dataset(X)).apply(X)
    np.testing.assert_array_equal(scaled, X)
    assert scaled.dtype == np.float64


def test_standardised_training_features_have_mean_0_and_deviation_1():
    X = pixels()  # more rows than one block
    scaled = fit_scaling("standardise", dataset(X)).apply(X)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-14)


def test_standardising_is_scikit_learns():
    X = pixels().astype(np.float64)
    ours = fit_scaling("standardise", dataset(X)).apply(X)
    np.testing.assert_allclose(ours, StandardScaler().fit_transform(X), rtol=1e-12, atol=1e-13)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.floats(-1e300, 1e300)),
    st.floats(-1e16, 1e16),
)
def test_mean_and_deviation_are_those_of_exact_arithmetic(X, offset):
    X = X + offset
    means, deviations = (array[0] for array in _moments(dataset(X).train, np.ones((1, len(X)))))
    for column, mean, deviation in zip(X.T, means, deviations, strict=True):
        bound = rounding(np.abs(column).max(), 4 * len(X)) + np.finfo(float).tiny
        exact = [Fraction(x) for x in column]
        middle = sum(exact) / len(exact)
        assert mean == pytest.approx(float(middle), abs=bound)
        largest = max(abs(x - middle) for x in exact) or Fraction(1)
        share = sum(((x - middle) / largest) ** 2 for x in exact) / len(exact)
        assert deviation == pytest.approx(float(largest) * math.sqrt(share), rel=1e-14, abs=bound)


@given(arrays(np.float64, (5, 1), elements=st.integers(-99, 99)), st.integers(-(2**45), 2**45))
def test_a_large_mean_takes_no_digits_of_the_deviation(X, offset):
    """Numbers and offset are whole, so that their sums are exact."""
    assume(np.ptp(X) > 0)
    X = np.resize(X, (1500, 1))
    near, far = (fit_scaling("standardise", dataset(some)) for some in (X, X + offset))
    assert far.factor[0] == pytest.approx(near.factor[0], rel=1e-10)
    bound = 4 * np.spacing(float(abs(offset))) * near.factor[0] + 1e-9  # the shift is rounded
    np.testing.assert_allclose(far.apply(X + offset), near.apply(X), rtol=0, atol=bound)


@pytest.mark.parametrize("power", [-900, -300, 300, 900])
def test_another_unit_changes_no_bit(power):
    X = np.random.default_rng(0).normal(5, 2, (1500, 3))
    unit = 2.0**power  # squares of 2⁹⁰⁰ overflow, those of 2⁻⁹⁰⁰ vanish
    expected = fit_scaling("standardise", dataset(X)).apply(X)
    other = fit_scaling("standardise", dataset(X * unit)).apply(X * unit)
    np.testing.assert_array_equal(other, expected)


def test_rows_without_weight_take_no_digits_of_the_others():
    X = 1.6e9 + np.random.default_rng(0).random((2500, 1))
    X[::7] = -1e300
    weights = np.ones((1, len(X)))
    weights[:, ::7] = 0
    found = fit_scaling("standardise", dataset(X), weights[0])
    own = X[weights[0] > 0] - 1.6e9  # exact
    assert found.factor[0] == pytest.approx(1 / own.std(), rel=1e-7)
    assert found.shift[0] - 1.6e9 == pytest.approx(own.mean(), abs=1e-6)


def test_what_cannot_be_standardised_is_told_with_its_feature():
    X = np.array([[0.0, 1e308], [1.0, -1e308]])
    with pytest.raises(InputError, match=r"^toy: numbers of feature 1 .* too far apart"):
        fit_scaling("standardise", dataset(X))


@given(st.floats(-1e300, 1e300), st.integers(1, 3000))
def test_a_constant_feature_is_0_then_and_later(value, n):
    X = np.full((n, 1), value)
    scaling = fit_scaling("standardise", dataset(X))
    np.testing.assert_array_equal(scaling.apply(X), 0)
    np.testing.assert_array_equal(scaling.apply(X / 2 + 7), 0)


def test_a_feature_that_only_rounding_moves_is_constant():
    X = np.full((500, 1), 0.3)
    X[::3] = 0.1 + 0.2
    assert np.ptp(X) > 0
    assert fit_scaling("standardise", dataset(X)).factor[0] == 0
    X[0] += 1e-12
    assert fit_scaling("standardise", dataset(X)).factor[0] > 0


@given(
    arrays(np.float64, (5, 3), elements=st.floats(-1e3, 1e3, width=16)),
    st.floats(0.125, 8, width=16),
    st.floats(-100, 100, width=16),
)
def test_standardising_forgets_units_and_origin(X, factor, shift):
    X[0] += 1000  # no feature is constant
    before = fit_scaling("standardise", dataset(X)).apply(X)
    other = X * factor + shift
    after = fit_scaling("standardise", dataset(other)).apply(other)
    np.testing.assert_allclose(after, before, atol=1e-8)


def test_only_the_training_split_is_looked_at():
    X = pixels().astype(np.float64)
    data = dataset(X)
    data.validation.X[:] = 1e9
    scaling = fit_scaling("standardise", data)
    np.testing.assert_allclose(scaling.shift, X.mean(axis=0), rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_the_type_is_what_was_asked_for_and_the_stored_values_stay(method):
    X = pixels()
    before = X.copy()
    scaling = fit_scaling(method, dataset(X, full_scale=255))
    single = scaling.apply(X, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, scaling.apply(X), rtol=1e-5, atol=1e-6)
    scaling.apply(X.astype(np.float32), np.float32)
    np.testing.assert_array_equal(X, before)


def test_values_that_already_have_the_type_are_not_overwritten():
    X = pixels().astype(np.float64)
    before = X.copy()
    fit_scaling("standardise", dataset(X)).apply(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("stored", [np.float32, np.float64, np.int64])
def test_features_are_rounded_after_they_were_scaled(stored):
    X = np.random.default_rng(0).integers(10**6, 10**6 + 9, (50, 3)).astype(stored)
    scaling = fit_scaling("standardise", dataset(X))
    exact = (X.astype(float) - X.astype(float).mean(axis=0)) / X.astype(float).std(axis=0)
    np.testing.assert_allclose(scaling.apply(X, np.float32), exact, rtol=1e-6, atol=1e-9)


def test_what_overflows_is_infinite_without_a_warning():
    scaling = Scaling("standardise", np.array([-1e308]), np.array([1e300]))
    np.testing.assert_array_equal(scaling.apply(np.array([[1e308], [1.0]])), np.inf)


def test_an_unknown_scaling_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown scaling 'standardize'; did you mean 'standardi"):
        fit_scaling("standardize", dataset(pixels()))
