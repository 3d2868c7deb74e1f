"""What is kept of single rows against what the weights say, and its file against damage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import expit, softmax

from made import make_data
from made_results import make_folds, make_results
from onelayer.errors import InputError
from onelayer.evaluation.metrics import accuracies, confusion_matrices, predict
from onelayer.evaluation.predictions import (
    PREDICTIONS_FILE,
    Ensemble,
    Scored,
    ask_together,
    find_right,
    keep_predictions,
    load_predictions,
    score,
)
from onelayer.evaluation.results import FOLDS_FILE, load_results
from onelayer.model.links import SOFTMAX
from onelayer.model.losses import LOSSES
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.loop import train

DATA = make_data(N=61, image_shape=(3, 2, 2))
SETTINGS = grid(l2=[0, 0.5, 0.01], learning_rate=[0.1])


@pytest.fixture(scope="module")
def run():
    return train(DATA, SETTINGS, batch_size=10, epochs=3)


def scores_by_hand(run, model, split):
    X = split.X.astype(np.float64) / 255
    return X @ run.weights[model].astype(np.float64).T + run.biases[model]


def test_the_kept_scores_are_those_of_the_weights(run):
    kept = keep_predictions(DATA, run, [0, 1, 2], 1)
    for scored, split in ((kept.test, DATA.test), (kept.validation, DATA.validation)):
        np.testing.assert_allclose(scored.scores, scores_by_hand(run, 1, split), atol=1e-5)
        np.testing.assert_array_equal(scored.y, split.y)
        assert scored.scores.dtype == np.float32
    expected = softmax(scores_by_hand(run, 1, DATA.test), axis=1)
    np.testing.assert_allclose(kept.test.certainties(SOFTMAX), expected, atol=1e-5)


def test_right_rows_add_up_to_the_confusion_matrices(run):
    right = find_right(run, DATA.test, [0, 2])
    np.testing.assert_array_equal(right, predict(run, DATA.test.X)[[0, 2]] == DATA.test.y)
    confusion = confusion_matrices(run, DATA.test)[[0, 2]]
    np.testing.assert_array_equal(right.mean(axis=1), accuracies(confusion))


def test_mistakes_are_wrong_and_none_that_is_left_out_is_more_confident(run):
    kept = keep_predictions(DATA, run, [1], 1)
    P, rows = softmax(scores_by_hand(run, 1, DATA.test), axis=1), kept.mistakes.rows
    wrong = P.argmax(axis=1) != DATA.test.y
    assert wrong[rows].all()
    np.testing.assert_allclose(P[rows].max(axis=1), np.sort(P[wrong].max(axis=1))[::-1][:24])
    np.testing.assert_array_equal(kept.mistakes.X, DATA.test.X[rows])


def test_without_a_link_the_lead_over_the_true_class_ranks_the_mistakes(run):
    hinge = replace(run, settings=tuple(replace(s, loss="hinge") for s in run.settings))
    rows, S = keep_predictions(DATA, hinge, [1], 1).mistakes.rows, scores_by_hand(run, 1, DATA.test)
    lead = S.max(axis=1) - S[np.arange(61), DATA.test.y]
    assert (lead[rows] > 0).all()
    np.testing.assert_allclose(lead[rows], np.sort(lead[lead > 0])[::-1][:24], rtol=1e-4)


def test_an_ensemble_with_a_member_without_probabilities_has_a_vote_alone(run):
    settings = tuple(replace(s, loss=loss) for s, loss in zip(run.settings, LOSSES, strict=True))
    mixed = replace(run, settings=settings)
    found = ask_together("settings", [(mixed, [0, 1, 2])], DATA.test)
    assert found.mean_probability is None
    S = np.array([scores_by_hand(run, m, DATA.test) for m in range(3)])
    sigmoids = expit(S[2]) / expit(S[2]).sum(axis=1, keepdims=True)
    P = softmax(S[0], axis=1) + 1 / 4 + sigmoids
    votes = np.eye(4)[S.argmax(axis=2)].sum(axis=0) + 0.1 * P
    assert found.majority_vote == np.mean(votes.argmax(axis=1) == DATA.test.y)


def test_an_ensemble_over_runs_and_settings_is_the_mean_and_the_vote_of_all(run):
    other = train(DATA, SETTINGS, batch_size=10, epochs=1, order="shuffled", seed=1)
    found = ask_together("repeats", [(run, [0, 2]), (other, [1])], DATA.test)
    members = [(run, 0), (run, 2), (other, 1)]
    P = np.array([softmax(scores_by_hand(r, m, DATA.test), axis=1) for r, m in members])
    votes = np.eye(4)[P.argmax(axis=2)].sum(axis=0) + 0.1 * P.mean(axis=0)
    assert found == Ensemble(
        "repeats",
        3,
        np.mean(P.mean(axis=0).argmax(axis=1) == DATA.test.y),
        np.mean(votes.argmax(axis=1) == DATA.test.y),
    )


def test_ensembles_do_not_depend_on_the_blocks_they_are_asked_in(run, monkeypatch):
    whole = ask_together("settings", [(run, [0, 1, 2])], DATA.test)
    monkeypatch.setattr("onelayer.evaluation.predictions._NUMBERS", 100)
    assert ask_together("settings", [(run, [0, 1, 2])], DATA.test) == whole


def test_scores_that_overflow_float32_are_cut_and_their_order_is_kept(run):
    weights = run.weights.astype(np.float64)
    weights[0, 2] = 1e200
    scored = score(replace(run, weights=weights), DATA.test, 0)
    assert (scored.scores.argmax(axis=1) == 2).all()
    assert np.isfinite(scored.certainties(SOFTMAX)).all()


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_split_that_is_not_there_is_not_kept(run, missing):
    kept = keep_predictions(replace(DATA, **{missing: None}), run, [0, 1], 1)
    assert getattr(kept, missing) is None
    assert (kept.mistakes is None) == (kept.right.size == 0) == (missing == "test")


def test_without_splits_there_is_no_file(run, tmp_path):
    nothing = keep_predictions(replace(DATA, test=None, validation=None), run, [0], 0)
    nothing.save(tmp_path)
    assert not list(tmp_path.iterdir())
    assert load_predictions(tmp_path).test is None


def test_what_is_stored_comes_back(run, tmp_path):
    kept = keep_predictions(DATA, run, [0, 1, 2], 1)
    kept.save(tmp_path)
    back = load_predictions(tmp_path)
    np.testing.assert_array_equal(back.right, kept.right)
    for part in ("test", "validation", "mistakes"):
        for name, value in vars(getattr(kept, part)).items():
            np.testing.assert_array_equal(getattr(getattr(back, part), name), value)
    assert back.mistakes.X.dtype == np.uint8


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    make_results(samples=50, cross_validation=make_folds(3)).save(folder)
    return folder


def damage(name, change):
    return lambda arrays: arrays | {name: change(arrays[name])}


@pytest.mark.parametrize(
    "change",
    [
        damage("test_scores", lambda a: a[:-1]),
        damage("test_scores", lambda a: a[:, :2]),
        damage("test_scores", lambda a: np.where(a > 1, np.nan, a)),
        damage("test_scores", lambda a: a.astype(np.float64)),
        damage("test_y", lambda a: a + 3),
        damage("test_y", lambda a: a - 1),
        damage("test_y", lambda a: a.astype(np.float32)),
        damage("validation_y", lambda a: a[:0]),
        damage("right", lambda a: a[:1]),
        damage("right", lambda a: a.astype(np.uint8)),
        damage("mistakes", lambda a: a + 10_000),
        damage("mistakes", lambda a: a[:3]),
        damage("mistakes_X", lambda a: a[:, :5]),
        damage("full_scale", lambda a: a * 0),
        lambda arrays: {name: a for name, a in arrays.items() if name != "test_y"},
    ],
)
def test_damaged_predictions_are_refused_in_one_line(stored, tmp_path, change):
    shutil.copytree(stored, tmp_path / "out")
    path = tmp_path / "out" / PREDICTIONS_FILE
    save_file({k: np.ascontiguousarray(a) for k, a in change(load_file(path)).items()}, path)
    with pytest.raises(InputError, match="not results that can be read") as told:
        load_results(tmp_path / "out")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [PREDICTIONS_FILE, FOLDS_FILE])
def test_a_torn_file_is_refused(stored, tmp_path, name):
    shutil.copytree(stored, tmp_path / "out")
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not results that can be read"):
        load_results(tmp_path / "out")


def test_missing_folds_are_refused(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "out")
    (tmp_path / "out" / FOLDS_FILE).unlink()
    with pytest.raises(InputError, match="not results that can be read"):
        load_results(tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("selection", None),
        ("selection", {"chosen": 3}),
        ("selection", {"chosen": -1}),
        ("selection", {"best": 1.5}),
        ("selection", {"rule": "worst"}),
        ("selection", {"rule": []}),
        ("selection", {"means": [0.5]}),
        ("selection", {"intervals": [0.5, 0.6, 0.7]}),
        ("selection", {"within": [True]}),
        ("ensembles", [{"members": "strangers", "size": 2}]),
        ("ensembles", [{"members": "settings", "size": "a", "mean_probability": 0.5,
                        "majority_vote": 0.5}]),
        ("ensembles", [{"members": "settings", "size": 2, "mean_probability": 1.5,
                        "majority_vote": 0.5}]),
        ("optimal_costs", [1]),
        ("cross_validation", {"n_train": 10}),
        ("cross_validation", {"n_train": 0, "n_held_out": 0}),
    ],
)  # fmt: skip
def test_an_edited_choice_is_refused_in_one_line(stored, tmp_path, key, value):
    shutil.copytree(stored, tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    record = json.loads(path.read_text())
    record[key] = record[key] | value if key == "selection" and value else value
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="not results that can be read") as told:
        load_results(tmp_path / "out")
    assert "\n" not in str(told.value)


def test_scores_without_rows_are_refused():
    with pytest.raises(InputError, match="finite float32"):
        Scored(np.zeros((0, 3), np.float32), np.zeros(0, int))


def test_a_stopped_setting_keeps_no_scores():
    settings = [Hyperparameters(l2=1e20, learning_rate=1e10), Hyperparameters()]
    run = train(DATA, settings, batch_size=10, epochs=1)
    kept = keep_predictions(DATA, run, [1], 0)
    assert kept.test is kept.validation is kept.mistakes is None
    assert kept.right.shape == (1, 61)
