"""The best of M models on the rows that chose it, against simulation and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import onelayer
from onelayer.evaluation.model_evaluation import evaluate_model
from onelayer.evaluation.optimism import best_of_halves, optimism_of, rows_to_choose
from test_probe import K, make_features


def test_of_models_that_guess_it_is_the_mean_of_the_largest_of_m_binomial_shares():
    generator, M, rows = np.random.default_rng(0), 20, 200
    found = []
    for seed in range(12):
        right = generator.random((2 * rows, M)) < 0.3
        found.append(optimism_of([best_of_halves(right, rows, seed)], M, rows))
    best = (generator.binomial(rows, 0.3, (20_000, M)) / rows).max(axis=1)
    deviation = np.sqrt(0.3 * 0.7 / rows)
    size = np.mean([one.size for one in found])
    assert size == pytest.approx(best.mean() - 0.3, abs=0.25 * deviation)
    assert np.mean([one.other for one in found]) == pytest.approx(0.3, abs=0.25 * deviation)


@settings(max_examples=25)
@given(arrays(bool, st.tuples(st.integers(2, 12), st.integers(1, 4))), st.integers(0, 3))
def test_it_is_never_negative_and_none_for_a_single_model(right, seed):
    rows = rows_to_choose(len(right), 5)
    found = optimism_of([best_of_halves(right, rows, seed)], right.shape[1], rows)
    assert found.size >= -1e-12
    if right.shape[1] == 1:
        assert found.size == pytest.approx(0, abs=1e-12)


@settings(max_examples=15)
@given(arrays(bool, (8, 5)), st.integers(0, 3))
def test_the_best_of_all_parts_is_that_of_all_models_together(right, seed):
    parts = [best_of_halves(right[:, some], 4, seed) for some in (slice(0, 2), slice(2, 5))]
    together, whole = optimism_of(parts, 5, 4), best_of_halves(right, 4, seed)
    assert together == optimism_of([whole], 5, 4)


def test_a_single_row_says_nothing():
    assert rows_to_choose(1, 10) == 0
    assert optimism_of([best_of_halves(np.ones((1, 3), bool), 0, 0)], 3, 0) is None


def test_a_probe_tells_that_of_its_settings_and_never_shows_them_the_test_split(monkeypatch):
    data, tried = make_features(0.5), onelayer.grid(l2=[1e-4, 1e-2, 1])
    looked = []

    def look(model, data, split="test", metrics=()):
        looked.append((split, model.hyperparameters.l2))
        return evaluate_model(model, data, split, metrics)

    monkeypatch.setattr("onelayer.experiments.probe_training.evaluate_model", look)
    found = onelayer.probe({"a": data, "b": make_features(0.4)}, tried)
    chosen = [features.probe.setting.l2 for features in found.feature_sets]
    assert [l2 for split, l2 in looked if split == "test"] == chosen
    run = onelayer.train(data, tried, solver="exact", scaling="standardise")
    y = data.validation.y
    right = [onelayer.model_of(run, m).predict(data.validation.X) == y for m in range(3)]
    expected = optimism_of([best_of_halves(np.stack(right, axis=1), 100, 0)], 3, 100)
    assert found.feature_sets[0].optimism == expected
    assert (found.optimism.models, found.optimism.rows) == (6, 100)
    assert found.optimism.same >= max(f.optimism.same for f in found.feature_sets)
    assert 1 / K < found.optimism.other <= found.optimism.same
