"""The metrics against scikit-learn, counting by hand and laws; their intervals against a bootstrap
that draws the rows themselves."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)
from statsmodels.stats.proportion import proportion_confint

from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.evaluation import one_versus_rest
from onelayer.evaluation.calibration import reliability
from onelayer.evaluation.metrics import METRICS, find_metric
from onelayer.evaluation.one_versus_rest import AUROC, AVERAGE_PRECISION, Ranked
from onelayer.evaluation.statistics import bootstrap

GENERATOR = np.random.default_rng(0)
N, K = 300, 8
S = GENERATOR.normal(size=(N, K))
P = softmax(S, axis=1)
Y = (2 * S + GENERATOR.gumbel(size=(N, K))).argmax(axis=1)
COARSE = np.round(8 * P) / 8  # many ties, in rows and in columns


def binary_areas(score, V, y):
    """The macro mean of a score of scikit-learn for two classes, over the classes in y."""
    return np.mean([score(y == k, V[:, k]) for k in np.unique(y)])


REFEREES = {
    "accuracy": lambda V, y: accuracy_score(y, V.argmax(axis=1)),
    "top-5": lambda V, y: top_k_accuracy_score(y, V, k=5, labels=range(V.shape[1])),
    "balanced-accuracy": lambda V, y: balanced_accuracy_score(y, V.argmax(axis=1)),
    "macro-f1": lambda V, y: f1_score(y, V.argmax(axis=1), average="macro"),
    "auroc": lambda V, y: binary_areas(roc_auc_score, V, y),
    "average-precision": lambda V, y: binary_areas(average_precision_score, V, y),
    "log-loss": lambda V, y: log_loss(y, V, labels=range(V.shape[1])),
    "brier": lambda V, y: sum(brier_score_loss(y == k, V[:, k]) for k in range(V.shape[1])),
    "ece": lambda V, y: reliability(V, y).expected_calibration_error,
}
ON_SCORES = [name for name, metric in METRICS.items() if "scores" in metric.takes]


def refereed(name, V, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and do not occur
        return REFEREES[name](V, y)


def test_every_metric_has_a_referee():
    assert METRICS.keys() == REFEREES.keys()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kept", [range(K), (0, 2, 5), (4,)], ids=["all", "some", "one"])
def test_a_metric_equals_its_referee_with_whatever_classes_occur(name, kept):
    rows = np.isin(Y, kept)
    if name == "auroc" and len(kept) == 1:
        assert np.isnan(METRICS[name](P[rows], Y[rows]))
    else:
        expected = refereed(name, P[rows], Y[rows])
        assert METRICS[name](P[rows], Y[rows]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("V", [S, S.astype(np.float32), COARSE], ids=["64", "32", "ties"])
def test_scores_of_either_precision_and_ties_equal_the_referee(name, V):
    expected = refereed(name, V, Y)
    if name == "top-5":  # of equals scikit-learn takes the last classes, we the first
        expected = refereed(name, V[:, ::-1], K - 1 - Y)
    assert METRICS[name](V, Y) == pytest.approx(expected, rel=1e-12)


def test_one_versus_rest_is_scikit_learns_macro_mean():
    expected = roc_auc_score(Y, P, multi_class="ovr", average="macro")
    assert METRICS["auroc"](P, Y) == pytest.approx(expected, rel=1e-12)
    expected = average_precision_score(Y, P, average="macro")
    assert METRICS["average-precision"](P, Y) == pytest.approx(expected, rel=1e-12)


def test_the_metrics_of_certainty_and_of_ignorance():
    y = np.arange(6)
    right, none = np.eye(6), np.full((6, 6), 1 / 6)
    best = {name: metric(right, y) for name, metric in METRICS.items()}
    assert best == {name: float(metric.higher_is_better) for name, metric in METRICS.items()}
    expected = {
        "accuracy": 1 / 6, "top-5": 5 / 6, "balanced-accuracy": 1 / 6, "macro-f1": 2 / 7 / 6,
        "auroc": 1 / 2, "average-precision": 1 / 6, "log-loss": np.log(6), "brier": 5 / 6, "ece": 0,
    }  # fmt: skip
    assert {name: m(none, y) for name, m in METRICS.items()} == pytest.approx(expected, abs=1e-12)
    wrong = METRICS["log-loss"](right, (y + 1) % 6)
    assert wrong == pytest.approx(-np.log(np.finfo(float).tiny))


cases = st.integers(0, 2**32 - 1)


def some_case(seed):
    """Few rows of few classes, with ties."""
    generator = np.random.default_rng(seed)
    N, K = generator.integers(1, 30), generator.integers(2, 7)
    counts = generator.integers(0, 4, (N, K)) + 0.0
    counts[:, 0] += counts.sum(axis=1) == 0
    return generator, counts / counts.sum(axis=1, keepdims=True), generator.integers(K, size=N)


@given(cases)
def test_the_order_of_the_rows_says_nothing(seed):
    generator, V, y = some_case(seed)
    order = generator.permutation(len(y))
    for metric in METRICS.values():
        np.testing.assert_allclose(metric(V[order], y[order]), metric(V, y), rtol=1e-10, atol=1e-14)


@given(cases)
def test_the_order_of_the_classes_says_nothing_without_ties(seed):
    generator, V, y = some_case(seed)
    V += generator.random(V.shape)  # no ties in a row
    V /= V.sum(axis=1, keepdims=True)
    order = generator.permutation(V.shape[1])
    for metric in METRICS.values():
        moved = metric(V[:, order], np.argsort(order)[y])
        np.testing.assert_allclose(moved, metric(V, y), rtol=1e-10, atol=1e-14)


@given(cases)
def test_counts_are_rows_that_are_repeated(seed):
    generator, V, y = some_case(seed)
    counts = generator.integers(0, 3, len(y))
    counts[0] += 1
    for metric in METRICS.values():
        found = metric.statistic_of(V, y)(counts)
        repeated = metric(np.repeat(V, counts, axis=0), np.repeat(y, counts))
        np.testing.assert_allclose(found, repeated, rtol=1e-10, atol=1e-14)


@given(cases)
def test_the_average_of_the_classes_is_between_0_and_1_and_the_best_is_best(seed):
    _, V, y = some_case(seed)
    for name in ("balanced-accuracy", "macro-f1", "auroc", "average-precision"):
        value = METRICS[name](V, y)
        assert np.isnan(value) or 0 <= value <= 1 + 1e-12
        ideal = METRICS[name](np.eye(V.shape[1])[y], y)
        assert not METRICS[name].better(value, ideal + 1e-12)


@given(cases)
def test_the_auroc_of_opposite_scores_is_what_is_missing_to_1(seed):
    _, V, y = some_case(seed)
    both = METRICS["auroc"](V, y) + METRICS["auroc"](-V, y)
    assert np.isnan(both) or both == pytest.approx(1)


@given(cases, st.sampled_from([AUROC, AVERAGE_PRECISION]))
def test_what_a_row_adds_is_the_derivative_by_its_count(seed, area):
    generator, V, y = some_case(seed)
    y = np.append(y, [0, 1])
    V = np.vstack([V, V[generator.integers(len(V), size=2)]])
    ranked, n = Ranked(V[:, :1].T, (y == 0)[None]), generator.integers(len(y))
    found, step = area.slopes(ranked), 1e-5
    ends = []
    for sign in (-1, 1):
        counts = np.ones(len(y))
        counts[ranked.order[0, n]] += sign * step
        ends.append(area.values(ranked, counts)[0])
    derivative = (ends[1] - ends[0]) / (2 * step)
    assert found[n] == pytest.approx(len(y) * derivative, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["auroc", "average-precision"])
def test_of_many_scores_the_intervals_are_those_of_the_first_order(name, monkeypatch):
    generator = np.random.default_rng(0)
    V = generator.normal(size=(3000, 3))
    y = (V + generator.gumbel(size=V.shape)).argmax(axis=1)
    exact = METRICS[name].interval(V, y, 200)
    monkeypatch.setattr(one_versus_rest, "EXACT", 0)
    fast = METRICS[name].interval(V, y, 200)
    assert fast.value == pytest.approx(exact.value, rel=1e-12)
    width = exact.high - exact.low
    assert abs(np.array([fast.low - exact.low, fast.high - exact.high])).max() < 0.05 * width
    assert METRICS[name](np.eye(3)[y], y) == 1
    assert np.isnan(METRICS["auroc"](V, np.zeros(3000, int)))


@pytest.mark.parametrize("name", METRICS)
def test_the_interval_is_wilsons_or_of_rows_that_are_drawn(name):
    metric, y = METRICS[name], Y
    found = metric.interval(P, y, 40, seed=3)
    assert found.value == metric(P, y)
    if metric.is_share:
        expected = proportion_confint(found.value * N, N, method="wilson")
        assert found.method == "Wilson"
    else:
        draws = [random_stream(3, Stream.BOOTSTRAP, r).integers(N, size=N) for r in range(40)]
        values = [refereed(name, P[rows], y[rows]) for rows in draws]
        expected = np.quantile(values, [0.025, 0.975])
        assert found.method == "bootstrap, 40 resamples"
        assert found == metric.interval(P, y, 40, seed=3)
        assert found != metric.interval(P, y, 40, seed=4)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9)


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    values = GENERATOR.normal(size=400)
    drawn = bootstrap([lambda counts: float(counts @ values / 400)], 400, 2000)
    expected = values.std() / 20
    assert drawn.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 2000))


def test_what_has_no_value_has_no_interval():
    found = METRICS["auroc"].interval(P[:5], np.zeros(5, int), 10)
    assert np.isnan([found.value, found.low, found.high]).all()
    one = METRICS["auroc"].interval(P[:3], [0, 0, 1], 30)  # some resamples have only a class
    assert 0 <= one.low <= one.high <= 1


def test_better_knows_the_direction_and_nan_is_the_worst():
    assert find_metric("auroc").better(0.7, 0.6)
    assert find_metric("log-loss").better(0.6, 0.7)
    for metric in METRICS.values():
        assert metric.better(0.5, float("nan"))
        assert not metric.better(float("nan"), 0.5)
        assert not metric.better(0.5, 0.5)


def test_a_metric_chooses_what_it_takes():
    assert METRICS["accuracy"].choose(S, P) is S
    assert METRICS["auroc"].choose(S, P) is P
    assert METRICS["auroc"].choose(S, None) is S
    assert METRICS["brier"].choose(S, None) is None


@pytest.mark.parametrize(
    ("name", "V", "y", "words"),
    [
        ("auroc", [[np.nan, 1]], [0], "values of the shape (1, 2), expected finite ones"),
        ("accuracy", [["a", "b"]], [0], "expected finite ones (rows, classes)"),
        ("accuracy", [1, 2], [0, 1], "values of the shape (2,)"),
        ("macro-f1", [[0, 1]], [2], "y from 2 to 2, expected classes 0 to 1"),
        ("macro-f1", [[0, 1]], [0, 1], "of the shape (2,), expected integers (1,)"),
        ("log-loss", [[0.5, 1.5]], [0], "a value that is not from 0 to 1"),
        ("brier", [[0.5, 0.2]], [0], "sums to 0.7"),
    ],
)
def test_bad_arrays_are_refused(name, V, y, words):
    with pytest.raises(InputError) as error:
        find_metric(name)(V, y)
    assert words in str(error.value)


def test_an_unknown_metric_and_too_few_resamples_are_refused():
    with pytest.raises(InputError, match="unknown metric 'aurok'; did you mean 'auroc'"):
        find_metric("aurok")
    with pytest.raises(InputError, match="resamples is 1; expected at least 2"):
        METRICS["ece"].interval(P, Y, 1)
