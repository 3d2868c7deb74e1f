"""The exact solver against scikit-learn's and SciPy's, closed forms and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import xlogy
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from made import make_data
from onelayer.data.dataset import Dataset, Split
from onelayer.data.derived import Derived
from onelayer.data.in_memory import dataset_from
from onelayer.data.sample_weights import bootstrap_weights
from onelayer.data.scaling import Scaling
from onelayer.data.shards import Shards
from onelayer.errors import InputError
from onelayer.experiments.spec import ExperimentOptions
from onelayer.model import network
from onelayer.model.losses import LOSSES, find_loss
from onelayer.training.conversions import C_from_l2
from onelayer.training.exact import search
from onelayer.training.exact.axes import blocks_of
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.solve import solve as least_cost
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train

SMOOTH = [name for name, loss in LOSSES.items() if loss.smooth]
each_loss = pytest.mark.parametrize("loss", SMOOTH)
DECAYS = [1, 0.01, 1e-4]


def samples(seed, N=80, D=5, K=4):
    """Return features of several means and units, and labels that cannot be separated by them."""
    generator = np.random.default_rng(seed)
    X = generator.normal(3, 1 + np.arange(D), (N, D))
    W = generator.normal(size=(K, D)) / (1 + np.arange(D))
    y = network.predictions(X @ W.T + 2 * generator.gumbel(size=(N, K)))
    y[:K] = np.arange(K)
    return X, y


def problem(X, y, loss="cross-entropy", K=None, weights=None, **options):
    """Return the problem of features that are scaled already."""
    D = X.shape[1]
    weights = np.ones(len(y)) if weights is None else weights
    as_it_is = Scaling("none", np.zeros(D), np.ones(D))
    return Problem(Split(X, y), weights, as_it_is, find_loss(loss), K or y.max() + 1, **options)


def solve(X, y, l2, loss="cross-entropy", *, K=None, weights=None, tolerance=1e-10, fast=True):
    return least_cost(problem(X, y, loss, K, weights), l2, tolerance=tolerance, fast=fast)[0]


def cost_of(X, y, W, b, l2, loss="cross-entropy", weights=None):
    values = find_loss(loss).values(network.scores(X, W, b), y)
    return np.average(values, weights=weights) + l2 * np.sum(W**2)


def sound(solution, tolerance=1e-10):
    return not any(solution.shortfalls(tolerance))


def cost_by_scipy(X, y, l2, loss, K):
    """Return the least cost by SciPy, with the textbook's slopes; l2 may be a λ a feature."""
    X, shape = X - X.mean(axis=0), (K, X.shape[1] + 1)
    l2 = np.broadcast_to(l2, X.shape[1])

    def cost(flat):
        W, b = np.split(flat.reshape(shape), [-1], axis=1)
        S = network.scores(X, W, b[:, 0])
        G = find_loss(loss).slopes(S, y) / len(y)
        gradient = np.hstack([G.T @ X + 2 * l2 * W, G.sum(axis=0)[:, None]])
        cost = cost_of(X, y, W, b[:, 0], 0, loss) + np.sum(l2 * W**2)
        return cost, gradient.ravel()

    options = {"maxiter": 9000, "maxfun": 9000, "ftol": 1e-16, "gtol": 1e-8, "maxcor": 50}
    start = np.zeros(np.prod(shape))
    return minimize(cost, start, jac=True, method="L-BFGS-B", options=options).fun


def cost_by_scikit_learn(X, y, l2, K):
    """Return the cost of K sigmoids, each a LogisticRegression of its own with C = 1 / 2λKN."""
    cost = 0.0
    for k in np.unique(y):
        model = LogisticRegression(
            C=1 / (2 * l2 * K * len(y)), solver="newton-cholesky", tol=1e-12
        ).fit(X, y == k)
        s = model.decision_function(X)
        cost += np.mean(np.logaddexp(0, s) - s * (y == k)) / K + l2 * np.sum(model.coef_**2)
    return cost


CHOLESKY, CG = "newton-cholesky", "newton-cg"


@pytest.mark.parametrize(
    ("solver", "K"), [("lbfgs", 2), ("lbfgs", 3), (CG, 3), (CG, 10), (CHOLESKY, 2), (CHOLESKY, 10)]
)
def test_cost_and_predictions_are_those_of_logistic_regression(solver, K):
    X, y = samples(K, K=K, N=200)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    solution = solve(X, y, DECAYS)
    assert sound(solution)
    for model, l2 in enumerate(DECAYS):
        C = C_from_l2(l2, len(y), K)
        peer = LogisticRegression(C=C, solver=solver, tol=1e-10, max_iter=20_000).fit(X, y)
        W, b = peer.coef_, peer.intercept_
        if K == 2:  # one row, the difference of two that are opposite
            W, b = np.vstack([-W, W]) / 2, np.append(-b, b) / 2
        assert solution.cost[model] == pytest.approx(cost_of(X, y, W, b, l2), rel=1e-9)
        S = network.scores(X, solution.weights[model], solution.biases[model])
        np.testing.assert_array_equal(network.predictions(S), peer.predict(X))


@pytest.mark.parametrize("K", [2, 4])
def test_sigmoids_are_a_logistic_regression_each(K):
    X, y = samples(0, K=K)
    solution = solve(X, y, DECAYS, "binary-cross-entropy")
    expected = [cost_by_scikit_learn(X, y, l2, K) for l2 in DECAYS]
    np.testing.assert_allclose(solution.cost, expected, rtol=1e-9)
    assert sound(solution)


@each_loss
@pytest.mark.parametrize("shape", [(90, 4, 3), (12, 20, 3), (4, 6, 4), (3, 2, 2)], ids=str)
def test_the_least_cost_is_scipys(shape, loss):
    N, D, K = shape  # the second is wider than long, the others have one sample a class or more
    X, y = samples(1, N, D, K)
    solution = solve(X, y, [1, 0.01], loss)
    expected = [cost_by_scipy(X, y, l2, loss, K) for l2 in (1, 0.01)]
    np.testing.assert_allclose(solution.cost, expected, rtol=1e-8)
    assert sound(solution)
    for W, b, cost, l2 in zip(
        solution.weights, solution.biases, solution.cost, (1, 0.01), strict=True
    ):
        assert cost_of(X, y, W, b, l2, loss) == pytest.approx(cost, rel=1e-12)


@each_loss
def test_features_that_are_constant_twice_there_or_more_than_rows_change_no_more_than_they_must(
    loss,
):
    X, y = samples(2)
    columns = [0, 1, 1, 2, 3, 4]
    twice = np.hstack([X[:, columns], np.full((len(y), 2), 7.0)])
    solution = solve(twice, y, [0.01], loss, tolerance=1e-12)
    W = solution.weights[0]
    np.testing.assert_allclose(W[:, 1], W[:, 2], atol=1e-6)
    np.testing.assert_allclose(W[:, 6:], 0, atol=1e-9)
    # Two equal columns share a weight: half of its square is paid, as for one that is √2 as large.
    larger = X * np.where(np.arange(5) == 1, np.sqrt(2), 1)
    assert solution.cost[0] == pytest.approx(solve(larger, y, [0.01], loss).cost[0], rel=1e-9)
    wide = solve(X[:3], y[:3], [0.1], loss).weights[0]
    centred = X[:3] - X[:3].mean(axis=0)
    span = np.linalg.pinv(centred) @ centred
    np.testing.assert_allclose(wide @ span, wide, atol=1e-12)


@each_loss
def test_other_units_with_the_decay_that_goes_with_them_change_nothing(loss):
    X, y = samples(3)
    expected = solve(X, y, [0.01], loss).cost
    for unit in (1e-12, 1e25):
        other = solve(X * unit, y, [0.01 * unit**2], loss)
        np.testing.assert_allclose(other.cost, expected, rtol=1e-9)
        assert sound(other)
    far = solve(X + 1e6, y, [0.01], loss, tolerance=1e-8)
    np.testing.assert_allclose(far.cost, expected, rtol=1e-8)


@pytest.mark.parametrize("l2", [1e-3, 1e-8])
def test_features_of_very_different_units_are_solved(l2):
    X, y = samples(4)
    units = 10.0 ** np.array([-4, -2, 0, 2, 4])
    solution = solve(X * units, y, [l2], tolerance=1e-8)
    # SciPy has it easier: features of one unit, each with the λ that goes with its own.
    expected = cost_by_scipy(X, y, l2 / units**2, "cross-entropy", 4)
    assert solution.cost[0] == pytest.approx(expected, rel=1e-7)
    assert sound(solution, 1e-8)


def test_two_points_have_the_weights_of_one_equation():
    X, y, l2 = np.array([[-1.5], [1.5]]), np.array([0, 1]), 0.02
    solution = solve(X, y, [l2], tolerance=1e-14)
    # W = (−w, w), scores ±1.5 w, l = log(1 + exp(−3 w)), cost l + 2 λ w².
    w = brentq(lambda w: 4 * l2 * w - 3 / (1 + np.exp(3 * w)), 0, 10, xtol=1e-15)
    np.testing.assert_allclose(solution.weights[0, :, 0], [-w, w], rtol=1e-6)
    assert solution.cost[0] == pytest.approx(np.log1p(np.exp(-3 * w)) + 2 * l2 * w**2, rel=1e-13)


@each_loss
def test_a_huge_decay_leaves_one_step_down_the_gradient(loss):
    X, y = samples(5)
    solution = solve(X, y, [1e6], loss, tolerance=1e-12)
    shares = np.bincount(y) / len(y)
    G = (shares - np.eye(4)[y]) / len(y) / (4 if find_loss(loss).averaged else 1)
    np.testing.assert_allclose(solution.weights[0], -G.T @ X / 2e6, rtol=1e-3, atol=1e-9)


@each_loss
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_with_the_largest_decay_no_weights_cost_a_share_more_at_most(loss, share):
    X, y = samples(17)
    own = problem(X, y, loss)
    (largest,) = own.largest_l2(share)
    b = find_loss(loss).biases(np.bincount(y) / len(y))
    flat = cost_of(X, y, np.zeros((4, 5)), b, 0, loss)
    least = least_cost(own, [largest], tolerance=1e-10)[0].cost[0]
    assert least <= flat <= least * (1 + share / (1 - share))


@each_loss
def test_weights_count_rows_and_rows_without_one_are_not_there(loss):
    X, y = samples(6)
    counts = bootstrap_weights(80, 1, 0)[0].astype(float)
    repeated = np.repeat(np.arange(80), counts.astype(int))
    weighted = solve(X, y, DECAYS, loss, weights=counts, K=4)
    np.testing.assert_allclose(
        weighted.cost, solve(X[repeated], y[repeated], DECAYS, loss, K=4).cost, rtol=1e-9
    )


@each_loss
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-5, 1))
def test_rare_classes_heavy_tails_and_classes_apart_are_proven_too(loss, seed, exponent):
    generator = np.random.default_rng(seed)
    X = np.exp(2 * generator.normal(size=(60, 4))) * (generator.random((60, 4)) < 0.7)
    y = generator.choice(4, 60, p=[0.9, 0.05, 0.04, 0.01])
    y[:2] = 0, 1
    X[:, 0] += 9 * y * generator.integers(2)
    weights = generator.gamma(0.2, size=60) + 1e-12
    solution = solve(X, y, [10**exponent], loss, K=4, weights=weights, tolerance=1e-6)
    assert sound(solution, 1e-6)


@each_loss
def test_models_of_other_rows_are_solved_on_their_own_rows(loss):
    data, generator = made(0), np.random.default_rng(0)
    weights = generator.integers(0, 3, (3, len(data.train))).astype(float)
    options = {"solver": "exact", "tolerance": 1e-10, "scaling": "none", "dtype": "float64"}
    together = train(
        data, grid(l2=[0.1, 0.01, 1e-3], loss=[loss]), sample_weights=weights, **options
    )
    for model, l2 in enumerate([0.1, 0.01, 1e-3]):
        rows = np.repeat(np.arange(len(data.train)), weights[model].astype(int))
        own = Split(data.train.X[rows], data.train.y[rows])
        alone = solve(own.X, own.y, [l2], loss, K=4)
        cost = together.final("train_cost")[model]
        assert cost == pytest.approx(alone.cost[0], rel=1e-9)
        assert together.convergence.excess[model] <= 1e-10 * cost
    assert together.ended == ("", "", "")


def test_class_weights_are_repeated_rows():
    data = made(1)
    options = {"solver": "exact", "tolerance": 1e-10, "scaling": "none", "dtype": "float64"}
    run = train(data, grid(l2=[0.01]), class_weight=[1, 2, 1, 3], **options)
    rows = np.repeat(np.arange(len(data.train)), np.array([1, 2, 1, 3])[data.train.y])
    repeated = solve(data.train.X[rows], data.train.y[rows], [0.01])
    assert run.final("train_cost")[0] == pytest.approx(repeated.cost[0], rel=1e-9)


def made(seed):
    data = make_data(D=5, dtype=np.float64, full_scale=2.0, seed=seed)
    return Dataset("made", data.train, data.validation, data.test, data.class_names, 1.0, None)


def test_classes_without_rows_cost_nothing():
    X, y = samples(7)
    other = y + (y > 1)  # no 2
    softmax, fewer = solve(X, other, DECAYS), solve(X, y, DECAYS)
    np.testing.assert_allclose(softmax.cost, fewer.cost, rtol=1e-12)
    sigmoids = solve(X, other, DECAYS, "binary-cross-entropy")
    # Each sigmoid counts a K-th, and there are five, one of which is 0 wherever it is asked.
    expected = [cost_by_scikit_learn(X, other, l2, 5) for l2 in DECAYS]
    np.testing.assert_allclose(sigmoids.cost, expected, rtol=1e-9)
    for loss, solution in (("cross-entropy", softmax), ("binary-cross-entropy", sigmoids)):
        W, b = solution.weights[1], solution.biases[1]
        assert cost_of(X, other, W, b, 0.01, loss) == pytest.approx(solution.cost[1], rel=1e-12)


@each_loss
def test_one_class_alone_ends(loss):
    X, _ = samples(8)
    solution = solve(X, np.ones(80, np.intp), [0, 0.1], loss, K=3)
    np.testing.assert_allclose(solution.cost, 0, atol=1e-6)
    assert np.isfinite(solution.biases).all()


@each_loss
def test_the_search_in_float64_finds_the_same(loss):
    X, y = samples(9)
    fast, slow = (solve(X, y, [0.1, 1e-3], loss, tolerance=1e-12, fast=fast) for fast in (1, 0))
    np.testing.assert_allclose(fast.cost, slow.cost, rtol=2e-12)
    np.testing.assert_allclose(fast.weights, slow.weights, atol=1e-4)


@pytest.mark.parametrize("fast", [True, False])
def test_a_search_from_a_solution_is_short_and_leaves_it_as_it_is(fast):
    X, y = samples(10)
    own = problem(X, y)
    _, start = least_cost(own, [0.01], tolerance=1e-6, fast=fast)
    before = start.copy()
    warm, _ = least_cost(own, [0.009], tolerance=1e-6, start=start, fast=fast)
    cold, _ = least_cost(own, [0.009], tolerance=1e-6, fast=fast)
    np.testing.assert_array_equal(start, before)
    assert warm.evaluations[0] < cold.evaluations[0]
    assert warm.cost[0] == pytest.approx(cold.cost[0], rel=1e-6)


@each_loss
def test_rows_in_shards_and_rows_that_do_not_fit_give_the_same(loss, tmp_path):
    X, y = samples(11, N=3000)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    stored = np.load(tmp_path / "X.npy", mmap_mode="r")
    shards = Shards([stored[:700], stored[700:]])
    expected = least_cost(problem(np.array(stored), y, loss), DECAYS, tolerance=1e-8)[0]
    for rows, memory in ((stored, 0), (shards, 1 << 30), (shards, 0)):
        found = least_cost(problem(rows, y, loss, memory=memory), DECAYS, tolerance=1e-8)[0]
        np.testing.assert_allclose(found.cost, expected.cost, rtol=2e-8)
        np.testing.assert_allclose(found.evaluations, expected.evaluations, atol=3)


@pytest.mark.parametrize("shape", [(3000, 8), (40, 60)])
def test_rows_that_are_not_held_are_read_once_in_order_at_each_evaluation(shape):
    X, y = samples(11, N=shape[0], D=shape[1])
    read = []

    def make(stored, at):
        read.append(at)
        return stored[at]

    rows = Derived(X.astype(np.float32), make, shape[1:], np.float32)
    held, streamed = (problem(rows, y, memory=memory) for memory in (1 << 30, 0))
    expected, _ = least_cost(held, [1e-3], tolerance=1e-6)
    read.clear()
    with threadpool_limits(1):
        found, _ = least_cost(streamed, [1e-3], tolerance=1e-6)
    starts = [at.start for at in read]
    passes = starts.count(0)
    assert starts == [some.start for some in blocks_of(len(y), shape[1] + 1)] * passes
    assert found.evaluations[0] < passes <= found.evaluations[0] + 6  # and the proof
    assert found.cost[0] == pytest.approx(expected.cost[0], rel=2e-6)


def test_threads_change_no_more_than_rounding():
    X, y = samples(12, N=3000)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(solve(X, y, DECAYS, tolerance=1e-8))
    np.testing.assert_allclose(found[0].cost, found[1].cost, rtol=1e-8)
    assert sound(found[0], 1e-8)
    assert sound(found[1], 1e-8)


@each_loss
def test_more_features_than_axes_are_found_for_have_the_same_least_cost(loss, monkeypatch):
    X, y = samples(13)
    expected = solve(X, y, DECAYS, loss)
    monkeypatch.setattr("onelayer.training.exact.axes.LARGEST", 3)
    found = solve(X, y, DECAYS, loss)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-9)
    assert sound(found)


@each_loss
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    most=st.integers(0, 12),
    exponent=st.floats(-6, 1),
    digits=st.floats(-12, -1),
)
def test_no_cost_is_further_above_the_least_than_its_excess(loss, seed, most, exponent, digits):
    X, y = samples(seed, 40, 3, 3)
    l2 = [10**exponent]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MOST_EVALUATIONS", most)
        rough = solve(X, y, l2, loss, tolerance=10**digits)
    fine = solve(X, y, l2, loss, tolerance=1e-11)
    assert rough.cost[0] - rough.convergence.excess[0] <= fine.cost[0]
    assert fine.cost[0] * (1 - 1e-11) <= rough.cost[0]


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.1])
def test_the_excess_is_the_duality_gap_where_the_biases_are_best(monkeypatch, size):
    X, y = samples(14)
    X, l2 = X - X.mean(axis=0), 0.1
    W = solve(X, y, [l2]).weights[0] + size * np.random.default_rng(14).normal(size=(4, 5))
    S = X @ W.T
    b = np.zeros(4)
    for _ in range(30):  # Newton's method: to the last digits on any processor
        P = network.probabilities(S + b)
        H = np.diag(P.mean(axis=0)) - P.T @ P / len(y)
        b -= np.linalg.pinv(H, rcond=1e-12) @ (P - np.eye(4)[y]).mean(axis=0)
    own = problem(X, y)
    assert own.axes.basis is not None
    start = np.hstack([own.axes.basis.along(W), (b + W @ own.axes.mean)[:, None]])[None]
    monkeypatch.setattr(search, "MOST_EVALUATIONS", 0)
    judged, _ = least_cost(own, [l2], tolerance=1e-12, start=start, fast=False)
    A = (P - np.eye(4)[y]).T @ X / len(y)
    # The conjugate of the loss is Σ p log p at p − e, that of λ Σ W² is Σ A² / 4λ at −A.
    dual = -np.mean(xlogy(P, P).sum(axis=1)) - np.sum(A**2) / (4 * l2)
    gap = min(judged.cost[0], judged.cost[0] - dual)
    assert judged.convergence.excess[0] == pytest.approx(gap, rel=1e-3)


def test_without_weight_decay_classes_that_can_be_separated_end_and_harm_no_other():
    X = np.random.default_rng(15).normal(size=(40, 3)) + np.repeat([[-9], [9]], 20, axis=0)
    data = dataset_from(X, np.repeat(["a", "b"], 20), class_names=["a", "b"])
    options = {"solver": "exact", "tolerance": 1e-9, "dtype": "float64"}
    run = train(data, grid(l2=[0, 0.1]), **options)
    alone = train(data, grid(l2=[0.1]), **options)
    assert run.ended == ("λ = 0: nothing bounds the cost from below", "")
    assert np.isnan(run.convergence.excess[0])
    assert run.final("train_cost")[0] < 1e-6
    np.testing.assert_allclose(run.weights[1], alone.weights[0], rtol=1e-9)


@each_loss
@pytest.mark.parametrize("l2", [[0], [1, 0], [0, 1]], ids=str)
@pytest.mark.parametrize("fast", [True, False])
def test_without_weight_decay_the_least_cost_is_scipys_where_there_is_one(l2, loss, fast):
    X, y = samples(16)
    solution = solve(X, y, l2, loss, tolerance=1e-7, fast=fast)
    expected = cost_by_scipy(X, y, 0, loss, 4)
    assert solution.cost[l2.index(0)] == pytest.approx(expected, rel=1e-8)


def test_a_loss_without_second_derivatives_is_refused():
    with pytest.raises(InputError, match=r"solver exact with the loss hinge.*cross-entropy or"):
        train(made(2), grid(loss=["hinge"]), solver="exact")


def test_repeats_of_what_no_seed_changes_are_refused():
    with pytest.raises(InputError, match="repeats is 2; the exact solver ends at the same least"):
        ExperimentOptions(solver="exact", repeats=2)
