"""A model has one probability for a row, whoever asks: the link of its loss gives it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_softmax

from made import make_data
from onelayer.estimator.classifier import OneLayerClassifier
from onelayer.evaluation.model_evaluation import evaluate_model
from onelayer.evaluation.predictions import score
from onelayer.evaluation.ranking import rank_files
from onelayer.model.links import SIGMOIDS, SOFTMAX
from onelayer.model.losses import LOSSES
from onelayer.report.confidence import draw_true_class
from onelayer.training.classifier import model_of
from onelayer.training.export import to_onnx

LINKED = [name for name, loss in LOSSES.items() if loss.link]
each_link = pytest.mark.parametrize("link", [SOFTMAX, SIGMOIDS], ids=["softmax", "sigmoids"])


def scores(seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(20, 4))


def test_the_links_are_their_definitions():
    S = scores(0)
    np.testing.assert_allclose(SOFTMAX.log_probabilities(S), log_softmax(S, axis=1), rtol=1e-13)
    shares = expit(S) / expit(S).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(SIGMOIDS.probabilities(S), shares, rtol=1e-13)


@each_link
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 30))
def test_rows_are_distributions_for_every_finite_score(link, seed, exponent):
    S = scores(seed, 10**exponent)
    P = link.probabilities(S)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
    assert (np.take_along_axis(P, S.argmax(axis=1)[:, None], axis=1) >= P).all()
    assert np.isfinite(link.log_probabilities(S)).all()


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.log_loss])
def test_a_log_loss_is_minus_the_logarithm_of_the_probability(loss):
    S, y = scores(1), np.arange(20) % 4
    log_p = LOSSES[loss].link.log_probabilities(S)[np.arange(20), y]
    np.testing.assert_allclose(LOSSES[loss].values(S, y), -log_p, rtol=1e-12)


@pytest.mark.parametrize("loss", LINKED)
def test_whoever_asks_gets_the_same_probability_of_a_row(loss, tmp_path):
    """File, prediction, estimator, report, evaluation and ONNX."""
    onnxruntime = pytest.importorskip("onnxruntime")
    data = make_data()
    X, y = np.asarray(data.train.X), data.train.y
    fitted = OneLayerClassifier(loss=loss, learning_rate=0.1, epochs=5, random_state=0).fit(X, y)
    # The estimator's data set has no full scale and no name: what it trained is asked all the same.
    model = replace(model_of(fitted.run_), class_names=data.class_names)
    rows = np.asarray(data.test.X)
    P = model.probabilities(rows)
    assert len(np.unique(P.argmax(axis=1))) > 1

    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(fitted.predict_proba(rows), P, **close)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(rows)), P, **close)

    np.save(tmp_path / "rows.npy", rows.astype(np.float64))
    best = [ranking.values[0] for ranking in rank_files(model, [str(tmp_path / "rows.npy")])]
    np.testing.assert_allclose(best, P.max(axis=1), **close)

    kept = score(fitted.run_, data.test, 0)
    np.testing.assert_allclose(kept.certainties(LOSSES[loss].link), P, **close)

    found = evaluate_model(model, data)
    mean = np.nansum(found.reliability.confidence * found.reliability.count) / len(rows)
    assert mean == pytest.approx(P.max(axis=1).mean(), rel=1e-4)

    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    (said,) = session.run(["probabilities"], {"features": rows.astype(np.float32)})
    np.testing.assert_allclose(said, P, rtol=1e-4, atol=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"])


@pytest.mark.parametrize("loss", LINKED)
def test_the_reports_histogram_counts_those_probabilities(loss):
    from made_results import make_results

    results = make_results((0.5,), settings=None, repeats=())
    run = replace(results.run, settings=tuple(replace(s, loss=loss) for s in results.run.settings))
    results, test = replace(results, run=run), results.predictions.test
    link = LOSSES[loss].link
    panels = draw_true_class(results, test).figure.axes
    true, right = link.probabilities(test.scores)[:, 0], test.scores.argmax(axis=1) == 0
    for ax, rows in zip(panels, (right, ~right), strict=True):
        (bars,) = ax.patches
        np.testing.assert_array_equal(
            bars.get_data().values, np.histogram(true[rows], 20, (0, 1))[0]
        )
