"""Metrics, intervals, weight images and stored results against closed forms and referees."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix

from made import make_data
from onelayer.data.dataset import Split
from onelayer.errors import InputError
from onelayer.evaluation.confusions import Confusions, accuracies, confusion_matrices, predict
from onelayer.evaluation.predictions import ask_together, keep_predictions
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.selection import choose
from onelayer.evaluation.statistics import spread, wilson_interval
from onelayer.evaluation.weight_images import total_variation, weight_images
from onelayer.model.gradient_check import check_layer
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.engine_check import EngineCheck
from onelayer.training.hyperparameters import grid
from onelayer.training.job import initial_parameters
from onelayer.training.loop import train

DATA = make_data(image_shape=(3, 2, 2))
SETTINGS = grid(l2=[0, 0.5], learning_rate=[0.1])


@pytest.fixture(scope="module")
def run():
    return train(DATA, SETTINGS, batch_size=10, epochs=3)


def test_confusion_and_accuracy_equal_scikit_learns(run):
    confusion = confusion_matrices(run, DATA.test)
    for m, predicted in enumerate(predict(run, DATA.test.X)):
        expected = confusion_matrix(DATA.test.y, predicted, labels=range(4))
        np.testing.assert_array_equal(confusion[m].toarray(), expected)
        assert accuracies(confusion)[m] == accuracy_score(DATA.test.y, predicted)


def test_the_last_accuracy_of_the_curve_is_that_of_the_confusion_matrix(run):
    measured = accuracies(confusion_matrices(run, DATA.validation))
    np.testing.assert_array_equal(measured, run.history.validation_accuracy[:, -1])


def test_labels_of_bytes_are_counted_right_for_many_classes():
    data = make_data(K=100)
    run = train(data, SETTINGS, batch_size=10, epochs=1)
    narrow = Split(data.test.X, data.test.y.astype(np.uint8))
    for found, expected in zip(
        confusion_matrices(run, narrow), confusion_matrices(run, data.test), strict=True
    ):
        np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_an_empty_confusion_matrix_has_no_accuracy():
    np.testing.assert_array_equal(
        accuracies(Confusions.of(np.array([[[0, 0], [0, 0]], [[3, 1], [0, 4]]]))), [np.nan, 7 / 8]
    )


@given(st.integers(1, 500), st.data())
def test_the_wilson_interval_equals_scipys(samples, data):
    hits = data.draw(st.integers(0, samples))
    expected = binomtest(hits, samples).proportion_ci(method="wilson")
    low, high = wilson_interval(hits / samples, samples)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


def test_the_spread_of_repeats_is_their_sample_deviation():
    summary = spread(np.array([[0.1, 0.5], [0.2, 0.5], [0.6, 0.5]]))
    np.testing.assert_allclose(summary.mean, [0.3, 0.5])
    np.testing.assert_allclose(summary.sd, [np.sqrt(0.07), 0])
    np.testing.assert_allclose([summary.min, summary.max], [[0.1, 0.5], [0.6, 0.5]])


@pytest.mark.parametrize("repeats", [0, 1])
def test_too_few_repeats_have_no_deviation(repeats):
    summary = spread(np.full((repeats, 2), 0.5))
    assert np.isnan(summary.sd).all()
    assert summary.repeats == repeats


def test_a_weight_image_is_its_row_of_W_scaled_by_its_own_minimum_and_maximum(run):
    images = weight_images(run)
    assert images.shape == (2, 4, 2, 2, 3)
    row = run.weights[1, 3].astype(float)
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                stored = row[channel * 4 + i * 2 + j]
                expected = (stored - row.min()) / (row.max() - row.min())
                assert images[1, 3, i, j, channel] == pytest.approx(expected)


def test_runs_on_other_than_images_have_no_weight_images(run):
    with pytest.raises(InputError, match="not images"):
        weight_images(replace(run, image_shape=None))


def test_total_variation_of_known_images():
    flat, checkers = np.full((8, 8, 3), 0.3), np.indices((8, 8)).sum(axis=0)[..., None] % 2
    noise = np.random.default_rng(0).random((600, 600, 1))
    assert total_variation(flat) == 0
    assert total_variation(checkers) == 2
    assert total_variation(noise) == pytest.approx(2 / 3, rel=0.01)


ENGINE_CHECK = EngineCheck("NumpyEngine", "float32", "hinge", 0.5, 9, 1e-7, 2e-7, 1e-5, 2e-5)


def make_results(run, repeats=2):
    (W, *_), (b, *_) = initial_parameters(DATA, SETTINGS, 0)
    X, y = DATA.train.X[:9] / 255, DATA.train.y[:9]
    others = tuple(
        train(DATA, SETTINGS, batch_size=10, epochs=3, order="shuffled", seed=seed)
        for seed in range(repeats)
    )
    repeated = [accuracies(confusion_matrices(other, DATA.test)) for other in others]
    check = check_layer(X, y, W, b, 0.5, loss="hinge")
    return Results(
        title="made",
        source="here",
        notice="",
        published=np.array([0.25, np.nan]),
        run=run,
        repeats=others,
        confusion=confusion_matrices(run, DATA.test),
        repeat_accuracies=np.array(repeated).reshape(-1, 2),
        checks=(BatchCheck("small", 9, 0.5, "hinge", "random", check),),
        engine_checks=(ENGINE_CHECK,),
        selection=choose(run, None),
        cross_validation=make_folds(),
        predictions=keep_predictions(DATA, run, [0, 1], choose(run, None).chosen),
        ensembles=(ask_together("settings", [(run, [0, 1])], DATA.test),),
        optimal_costs=np.array([0.5, np.nan]),
    )


def make_folds():
    generator = np.random.default_rng(0)
    return CrossValidation(
        *(generator.random((3, 2, *tail)) for tail in ((), (), (4,), (4,))), 40, 20
    )


@pytest.mark.parametrize("repeats", [0, 2])
def test_stored_results_come_back_with_every_number(run, tmp_path, repeats):
    results = make_results(run, repeats)
    RunFolder(tmp_path).save_results(results)
    back = RunFolder.open(tmp_path).results()
    np.testing.assert_array_equal(back.test_accuracies, results.test_accuracies)
    np.testing.assert_array_equal(back.published, results.published)
    np.testing.assert_array_equal(back.repeat_accuracies, results.repeat_accuracies)
    assert len(back.repeats) == repeats
    for part in ("selection", "cross_validation"):
        for name, value in vars(getattr(results, part)).items():
            np.testing.assert_array_equal(getattr(getattr(back, part), name), value)
    assert back.ensembles == results.ensembles
    np.testing.assert_array_equal(back.optimal_costs, results.optimal_costs)
    assert back.engine_checks == results.engine_checks
    assert (back.checks[0].loss, back.checks[0].place) == ("hinge", "random")
    ours, theirs = results.checks[0].check, back.checks[0].check
    np.testing.assert_array_equal(theirs.errors_W, ours.errors_W)
    np.testing.assert_array_equal(theirs.errors_b, ours.errors_b)
    assert theirs.worst == ours.worst
    assert theirs.passed


def test_history_csv_has_a_row_for_each_model_and_epoch(run, tmp_path):
    RunFolder(tmp_path).save_results(make_results(run))
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["epoch"]) for row in rows] == [
        (str(m), str(e)) for m in range(2) for e in range(4)
    ]
    assert float(rows[6]["validation_cost"]) == pytest.approx(run.history.validation_cost[1, 2])


def test_results_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        RunFolder.open(tmp_path).results()
