"""Principal axes against NumPy's eigenvectors of the whole Gram matrix."""

import numpy as np
import pytest

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.training.exact import axes

D = 40


def features(N, seed=0):
    """Return features whose spread falls along axes of their own, and their shares."""
    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(generator.normal(size=(D, D)))[0]
    X = generator.normal(size=(N, D)) * 2.0 ** -np.arange(D) @ turn + 3
    shares = generator.uniform(size=N)
    return X, shares / shares.sum()


def axes_of(X, shares):
    as_it_is = Scaling("none", np.zeros(D), np.ones(D))
    return axes.principal_axes(
        Split(X, np.zeros(len(X), np.intp)), np.arange(len(X)), as_it_is, shares
    )


def eigenvectors(X, shares):
    Z = (X - shares @ X) * np.sqrt(shares)[:, None]
    values, vectors = np.linalg.eigh(Z.T @ Z)
    return values[::-1], vectors[:, ::-1]


@pytest.mark.parametrize("count", [1, 7, D])
def test_a_basis_begins_with_the_given_vectors(count):
    given = np.linalg.qr(np.random.default_rng(1).normal(size=(D, count)))[0]
    basis = axes.Reflections.completing(given)
    Q = basis.along(np.eye(D))
    np.testing.assert_allclose(Q.T @ Q, np.eye(D), atol=1e-13)
    np.testing.assert_allclose(np.abs((given * Q[:, :count]).sum(axis=0)), 1, atol=1e-13)
    np.testing.assert_allclose(basis.back(np.eye(D)), Q.T, atol=1e-13)


@pytest.mark.parametrize(("N", "most"), [(200, D), (20, D), (200, 10)], ids=["all", "few", "some"])
def test_the_first_axes_are_eigenvectors_and_no_eigenvalue_is_larger(N, most, monkeypatch):
    X, shares = features(N)
    monkeypatch.setattr(axes, "LARGEST", most)
    monkeypatch.setattr(axes, "SKETCHED", 8)
    found = axes_of(X, shares)
    values, vectors = eigenvectors(X, shares)
    along = found.turn(X)[:, :-1]
    assert found.count == along.shape[1]
    spread = np.sort(shares @ along**2)[::-1]
    np.testing.assert_allclose(spread[:4], values[:4], rtol=1e-3)
    if most == D:  # all are found, and their spread with them
        np.testing.assert_allclose(np.sort(found.spread)[::-1][:4], values[:4], rtol=1e-3)
    Q = found.basis.back(np.eye(found.count))  # its rows are the axes
    near = np.abs(Q @ vectors[:, :3]).max(axis=0)
    np.testing.assert_allclose(near, 1, atol=1e-3)
    assert values[0] <= found.largest <= 500 * values[0]
    np.testing.assert_allclose(found.mean, shares @ X, rtol=1e-12)


def test_features_of_one_value_have_axes():
    found = axes_of(np.ones((5, D)), np.full(5, 0.2))
    assert np.isfinite(found.largest)
    assert not found.turn(np.ones((5, D)))[:, :-1].any()
