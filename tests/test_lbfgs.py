"""Batched L-BFGS on functions whose minimum is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der

from onelayer.training.exact.lbfgs import Point, minimise


def quadratics(seed, M=4, n=12, units=3.0):
    """Return A (M, n, n), positive definite, and c (M, n) of ½ xᵀAx − cᵀx."""
    generator = np.random.default_rng(seed)
    B = generator.normal(size=(M, n, n))
    d = 10 ** generator.uniform(-units, units, (M, n))
    A = (B @ B.transpose(0, 2, 1) + n * np.eye(n)) * d[:, :, None] * d[:, None]
    return A, generator.normal(size=(M, n)) * d


def evaluator(A, c):
    def evaluate(x, models):
        Ax = np.einsum("mij,mj->mi", A[models], x)
        cost = np.einsum("mi,mi->m", x, Ax / 2 - c[models])
        return Point(cost, Ax - c[models], 1 / np.einsum("mii->mi", A[models]))

    return evaluate


def preconditioned(point, models):
    """Return gᵀ D⁻¹ g, which knows no units, over what is asked for."""
    return np.einsum("mn,mn->m", point.gradient**2, point.inverse) / 1e-16


def search(A, c, **options):
    x = np.zeros(c.shape)
    return minimise(
        evaluator(A, c), x, preconditioned, **{"rounding": 1e-15, "most": 500} | options
    )


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0, 3, 12]))
def test_the_minimum_of_a_quadratic_solves_its_equations_in_any_units(seed, units):
    A, c = quadratics(seed, units=units)
    x, counts = search(A, c)
    d = np.sqrt(np.einsum("mii->mi", A))
    expected = np.linalg.solve(A / d[:, :, None] / d[:, None], (c / d)[..., None])[..., 0]
    np.testing.assert_allclose(x * d, expected, atol=1e-6)
    assert (counts < 100).all()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_each_model_of_a_batch_is_found_as_if_alone(seed):
    A, c = quadratics(seed)
    A[1] *= 1e6
    together, counts = search(A, c)
    for model in range(len(A)):
        alone, count = search(A[[model]], c[[model]])
        assert count == counts[model]
        np.testing.assert_allclose(together[model], alone[0], rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("kind", ["no bottom", "not a number", "a wrong gradient"])
def test_a_model_that_cannot_converge_harms_no_other(kind):
    A, c = quadratics(0)
    evaluate = evaluator(A, c)

    def spoilt(x, models):
        cost, gradient, inverse = evaluate(x, models)
        bad = models == 2
        if kind == "no bottom":
            cost[bad], gradient[bad] = x[bad].sum(axis=1), 1.0
        elif kind == "not a number":
            cost[bad] = np.nan
        else:
            gradient[bad] *= -1
        return Point(cost, gradient, inverse)

    x, counts = minimise(spoilt, np.zeros(c.shape), preconditioned, rounding=1e-15, most=60)
    expected, others = search(A, c)
    assert counts[2] <= 61
    sound = [0, 1, 3]
    np.testing.assert_array_equal(counts[sound], others[sound])
    np.testing.assert_allclose(x[sound], expected[sound], rtol=1e-12)


def test_a_curved_valley_is_followed_to_its_end():
    start = np.array([[-1.2, 1.0], [3.0, -5.0]])

    def evaluate(x, models):
        gradients = np.array([rosen_der(row) for row in x])
        return Point(np.array([rosen(row) for row in x]), gradients, np.ones(x.shape))

    x, _ = minimise(evaluate, start, preconditioned, rounding=1e-15, most=500)
    np.testing.assert_allclose(x, 1, atol=1e-6)


def test_what_is_at_its_minimum_is_evaluated_once_and_stays():
    A, c = quadratics(1)
    x = np.linalg.solve(A, c[..., None])[..., 0]
    same, counts = minimise(
        evaluator(A, c), x, lambda point, models: np.zeros(len(models)), rounding=0, most=9
    )
    np.testing.assert_array_equal(same, x)
    assert (counts == 1).all()
