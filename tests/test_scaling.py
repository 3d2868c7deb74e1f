import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import METHODS, fit_scaling
from onelayer.errors import InputError


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


@given(st.floats(-1e6, 1e6), st.integers(1, 3000))
def test_a_constant_feature_becomes_0_whatever_its_value(value, n):
    X = np.full((n, 1), value)
    scaled = fit_scaling("standardise", dataset(X)).apply(X)
    np.testing.assert_allclose(scaled, 0, atol=1e-6)


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


def test_an_unknown_scaling_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown scaling 'standardize'; did you mean 'standardi"):
        fit_scaling("standardize", dataset(pixels()))
