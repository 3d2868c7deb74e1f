"""The smallest cost against scikit-learn's solvers, closed forms and laws."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from made import make_data
from onelayer.data.catalog import load_dataset
from onelayer.data.sample_weights import bootstrap_weights
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import fold_weights
from onelayer.errors import InputError
from onelayer.evaluation import optimum
from onelayer.evaluation.optimum import find_optimum, optima_of
from onelayer.model import network
from onelayer.model.losses import CROSS_ENTROPY
from onelayer.training.exact import search
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train


def problem(seed, N=60, D=5, K=4):
    """Return features whose mean and units are not those that the search works in."""
    generator = np.random.default_rng(seed)
    X = generator.normal(3, 1 + np.arange(D), (N, D))
    W = generator.normal(size=(K, D)) / (1 + np.arange(D))
    return X, network.predictions(X @ W.T + 2 * generator.gumbel(size=(N, K)))


def peer_cost(X, y, l2, weights=None):
    """Return the cost (5) of scikit-learn's model, by Newton's method: not our solver."""
    weights = np.ones(len(y)) if weights is None else weights
    model = LogisticRegression(
        C=1 / (2 * weights.sum() * l2), solver="newton-cholesky", tol=1e-10, max_iter=1000
    ).fit(X, y, sample_weight=weights)
    losses = CROSS_ENTROPY.values(network.scores(X, model.coef_, model.intercept_), y)
    return np.average(losses, weights=weights) + l2 * np.sum(model.coef_**2)


@pytest.mark.parametrize(("scaling", "l2"), [("unit", 0.01), ("none", 1e-4)])
def test_the_smallest_cost_on_digits_is_scikit_learns(scaling, l2):
    data = load_dataset("digits")
    X, y = fit_scaling(scaling, data).apply(data.train.X[:400]), data.train.y[:400]
    assert find_optimum(X, y, 10, l2).cost == pytest.approx(peer_cost(X, y, l2), rel=1e-8)


@pytest.mark.parametrize("l2", [100, 0.1, 1e-3])
def test_the_smallest_cost_on_made_data_is_scikit_learns(l2):
    X, y = problem(0)
    assert find_optimum(X, y, 4, l2).cost == pytest.approx(peer_cost(X, y, l2), rel=1e-8)


def test_at_the_optimum_the_textbooks_gradient_vanishes():
    X, y = problem(1)
    best = find_optimum(X, y, 4, 0.05, tolerance=1e-12)
    assert best.cost == pytest.approx(network.cost(X, y, best.W, best.b, 0.05), rel=1e-13)
    dW, db = network.gradients(X, y, best.W, best.b, 0.05)
    assert max(np.abs(dW).max(), np.abs(db).max()) < 1e-5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(-4, 2), st.floats(-6, -2))
def test_the_cost_is_above_the_smallest_by_the_tolerance_at_most(seed, exponent, digits):
    X, y = problem(seed)
    rough = find_optimum(X, y, 4, 10**exponent, tolerance=10**digits)
    fine = find_optimum(X, y, 4, 10**exponent)
    assert rough.excess <= 10**digits * rough.cost
    assert rough.cost - rough.excess <= fine.cost


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 1))
def test_no_point_nearby_costs_less(seed, l2):
    X, y = problem(seed)
    best = find_optimum(X, y, 4, l2)
    generator = np.random.default_rng(seed)
    for size in (1e-3, 0.1):
        W = best.W + size * generator.normal(size=best.W.shape)
        b = best.b + size * generator.normal(size=best.b.shape)
        assert network.cost(X, y, W, b, l2) > best.cost * (1 - 1e-8)


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_other_units_with_the_decay_that_goes_with_them_change_nothing(unit):
    X, y = problem(3)
    best = find_optimum(X, y, 4, 0.02, tolerance=1e-11)
    other = find_optimum(X * unit, y, 4, 0.02 * unit**2, tolerance=1e-11)
    assert other.cost == pytest.approx(best.cost, rel=1e-10)
    np.testing.assert_allclose(other.W * unit, best.W, atol=1e-4)
    assert abs(other.iterations - best.iterations) <= best.iterations / 2


def test_a_huge_decay_leaves_the_entropy_of_the_class_frequencies():
    X, y = problem(4)
    shares = np.bincount(y) / len(y)
    assert find_optimum(X, y, 4, 1e9).cost == pytest.approx(-shares @ np.log(shares), abs=1e-7)


def test_counts_as_weights_are_repeated_rows():
    X, y = problem(5)
    counts = bootstrap_weights(60, 1, 0)[0]
    repeated = find_optimum(np.repeat(X, counts, axis=0), np.repeat(y, counts), 4, 0.1)
    weighted = find_optimum(X, y, 4, 0.1, sample_weights=counts)
    assert weighted.cost == pytest.approx(repeated.cost, rel=1e-8)
    np.testing.assert_allclose(weighted.W, repeated.W, atol=1e-4)
    assert weighted.cost == pytest.approx(peer_cost(X, y, 0.1, counts.astype(float)), rel=1e-8)


def test_a_fold_is_solved_as_if_its_held_out_rows_were_not_there():
    X, y = problem(6)
    for weights in fold_weights(y, 3, seed=0, stratified=False):
        held_out = find_optimum(X, y, 4, 0.1, sample_weights=weights)
        removed = find_optimum(X[weights > 0], y[weights > 0], 4, 0.1)
        assert held_out.cost == pytest.approx(removed.cost, rel=1e-12)


def test_features_that_are_constant_leave_the_bias_to_learn():
    y = np.repeat([0, 1], [10, 30])
    best = find_optimum(np.full((40, 3), 7.0), y, 2, 0.1, tolerance=1e-12)
    np.testing.assert_allclose(best.W, 0, atol=1e-9)
    # Costs within 1e-12 of the least: J'' Δ² / 2 ≤ 1e-12 J for the logit, with J'' = p (1 − p).
    within = np.sqrt(2e-12 * best.cost / (3 / 16))
    assert best.b[1] - best.b[0] == pytest.approx(np.log(3), abs=within)


def test_a_class_without_rows_costs_nothing():
    X, y = problem(7)
    best, other = find_optimum(X, y, 4, 0.1), find_optimum(X, y + (y > 1), 5, 0.1)
    assert other.cost == best.cost
    np.testing.assert_array_equal(np.delete(other.W, 2, axis=0), best.W)
    assert network.cost(X, y + (y > 1), other.W, other.b, 0.1) == pytest.approx(best.cost)
    probabilities = network.probabilities(network.scores(X, other.W, other.b))
    np.testing.assert_array_equal(probabilities[:, 2], 0)


@pytest.mark.parametrize("l2", [0, -1, np.nan, np.inf])
def test_without_weight_decay_there_is_no_minimum_to_find(l2):
    X, y = problem(7)
    with pytest.raises(InputError, match="expected a number above 0; without weight decay"):
        find_optimum(X, y, 4, l2)


def test_a_minimum_that_is_not_reached_is_no_answer(monkeypatch):
    X, y = problem(8)
    monkeypatch.setattr(search, "MOST_EVALUATIONS", 3)
    with pytest.raises(InputError, match=r"l2 is 0.001: after \d+ steps the cost"):
        find_optimum(X, y, 4, 0.001)


DATA = make_data(dtype=np.float64, full_scale=1.0)
SETTINGS = grid(l2=[0, 0.01, 1], learning_rate=[0.05, 0.1])


@pytest.fixture(scope="module")
def run():
    return train(DATA, SETTINGS, batch_size=10, epochs=400, scaling="standardise", dtype="float64")


def test_training_nears_the_optimum_of_each_setting_from_above(run):
    optima = optima_of(run, DATA.train)
    assert np.isnan(optima[:2]).all()
    gap = run.history.train_cost[2:] - optima[2:, None]
    assert (gap > 0).all()
    assert (gap[:, -1] < 0.05).all()


@pytest.fixture
def searches(monkeypatch):
    """The decays that are searched for from now on, by loss."""
    decays, solve = [], optimum.solve

    def counted(problem, l2, **options):
        decays.extend((problem.weighted_loss.loss.name, value) for value in l2)
        return solve(problem, l2, **options)

    monkeypatch.setattr(optimum, "solve", counted)
    return decays


def test_each_decay_is_searched_once_and_then_read_from_the_cache(run, searches, tmp_path):
    first = optima_of(run, DATA.train, tmp_path / "optima.json")
    assert searches == [("cross-entropy", 0.01), ("cross-entropy", 1.0)]
    np.testing.assert_array_equal(optima_of(run, DATA.train, tmp_path / "optima.json"), first)
    assert len(searches) == 2
    more = replace(run, settings=(*run.settings[:5], replace(run.settings[0], l2=0.3)))
    optima_of(more, DATA.train, tmp_path / "optima.json")
    assert searches[2:] == [("cross-entropy", 0.3)]


def test_no_optimum_is_searched_for_losses_that_have_none(run, searches):
    losses = ["cross-entropy", "hinge", "binary-cross-entropy"]
    mixed = [
        replace(setting, loss=loss, l2=l2)
        for setting, loss, l2 in zip(run.settings, losses, (0.01, 0.02, 0.04), strict=False)
    ]
    optima = optima_of(replace(run, settings=(*mixed, *run.settings[3:])), DATA.train)
    assert sorted(searches) == [
        ("binary-cross-entropy", 0.04),
        ("cross-entropy", 0.01),
        ("cross-entropy", 1.0),
    ]
    assert np.isfinite(optima).tolist() == [True, False, True, True, True, True]


def test_the_cache_keeps_other_samples_and_scalings_apart(run, searches, tmp_path):
    rescaled = replace(run, scaling=fit_scaling("unit", DATA))
    cases = [(run, DATA.train), (run, DATA.validation), (rescaled, DATA.train)]
    cached = [optima_of(*case, tmp_path / "optima.json") for case in cases]
    assert len(searches) == 6
    for case, optima in zip(cases, cached, strict=True):
        np.testing.assert_array_equal(optima, optima_of(*case, tmp_path / "optima.json"))
        np.testing.assert_array_equal(optima, optima_of(*case))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 9}', '{"format": 3, "record": {"a": {"1.0": NaN}}}', "\xff"]
)
def test_a_file_that_is_no_cache_is_named(run, tmp_path, text):
    (tmp_path / "optima.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"optima\.json: .*delete it"):
        optima_of(run, DATA.train, tmp_path / "optima.json")


def test_the_cache_is_plain_json(run, tmp_path):
    optima = optima_of(run, DATA.train, tmp_path / "optima.json")
    (costs,) = json.loads((tmp_path / "optima.json").read_text())["record"].values()
    assert costs == {"cross-entropy 0.01": optima[2], "cross-entropy 1.0": optima[4]}
