"""What is kept of single rows against what the weights say, and its file against damage."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, softmax

from made import make_data
from made_results import make_folds, make_results
from onelayer.errors import InputError
from onelayer.evaluation.confusions import accuracies, confusion_matrices, predict
from onelayer.evaluation.predictions import (
    Ensemble,
    Predictions,
    Scored,
    ask_together,
    find_right,
    keep_predictions,
    score,
)
from onelayer.evaluation.run_folder import RunFolder
from onelayer.model.links import SOFTMAX
from onelayer.model.losses import LOSSES
from onelayer.records import Kind
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.loop import train
from stored_records import change_record

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
    shares = accuracies(confusion_matrices(run, DATA.test))
    np.testing.assert_array_equal(right.mean(axis=1), shares[[0, 2]])


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


def test_what_is_stored_comes_back(run, tmp_path):
    kept = keep_predictions(DATA, run, [0, 1, 2], 1)
    kind = Kind("predictions", Predictions, format=1)
    kind.save(kept, tmp_path / "a.safetensors")
    back = kind.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(back.right, kept.right)
    for part in ("test", "validation", "mistakes"):
        for name, value in vars(getattr(kept, part)).items():
            np.testing.assert_array_equal(getattr(getattr(back, part), name), value)
    assert back.mistakes.X.dtype == np.uint8


def test_without_splits_nothing_comes_back(run, tmp_path):
    kept = keep_predictions(replace(DATA, test=None, validation=None), run, [0], 0)
    kind = Kind("predictions", Predictions, format=1)
    kind.save(kept, tmp_path / "a.safetensors")
    back = kind.load(tmp_path / "a.safetensors")
    assert (back.right.size, back.test, back.validation, back.mistakes) == (0, None, None, None)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    RunFolder(folder).save_results(make_results(samples=50, cross_validation=make_folds(3)))
    return folder


def refusal(folder):
    with pytest.raises(InputError, match=r"results\.safetensors: holds no results that") as told:
        RunFolder.open(folder).results()
    assert "\n" not in str(told.value)
    return str(told.value)


def damage(name, change):
    name = f"predictions.{name}"
    return lambda arrays: arrays | {name: np.ascontiguousarray(change(arrays[name]))}


@pytest.mark.parametrize(
    "change",
    [
        damage("test.scores", lambda a: a[:-1]),
        damage("test.scores", lambda a: a[:, :2]),
        damage("test.scores", lambda a: np.where(a > 1, np.nan, a)),
        damage("test.scores", lambda a: a.astype(np.float64)),
        damage("test.y", lambda a: a + 3),
        damage("test.y", lambda a: a - 1),
        damage("test.y", lambda a: a.astype(np.float32)),
        damage("validation.y", lambda a: a[:0]),
        lambda arrays: arrays | {"selection.means": np.array([0.5])},
        lambda arrays: arrays | {"selection.intervals": np.zeros((3, 3))},
        lambda arrays: arrays | {"selection.within": np.array([True])},
        lambda arrays: arrays | {"optimal_costs": np.ones(1)},
        damage("right", lambda a: a[:1]),
        damage("right", lambda a: a.astype(np.uint8)),
        damage("mistakes.rows", lambda a: a + 10_000),
        damage("mistakes.rows", lambda a: a[:3]),
        damage("mistakes.X", lambda a: a[:, :5]),
        lambda arrays: {n: a for n, a in arrays.items() if n != "predictions.test.y"},
        lambda arrays: {n: a for n, a in arrays.items() if n != "cross_validation.loss"},
    ],
)
def test_damaged_arrays_are_refused_in_one_line(stored, tmp_path, change):
    shutil.copytree(stored, tmp_path / "out")
    change_record(tmp_path / "out" / "results.safetensors", arrays=change)
    refusal(tmp_path / "out")


def test_a_torn_file_is_refused(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "out")
    path = tmp_path / "out" / "results.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refusal(tmp_path / "out")


ENSEMBLE = {"members": "settings", "size": 2, "mean_probability": 0.5, "majority_vote": 0.5}


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("title", 5, "title: found 5, expected str"),
        ("notice", None, "notice: found None"),
        ("selection", None, "selection: found None"),
        ("selection", {"chosen": 3}, "selection: settings 3"),
        ("selection", {"chosen": -1}, "selection: settings -1"),
        ("selection", {"best": 1.5}, "selection.best: found 1.5, expected int"),
        ("selection", {"rule": "worst"}, "unknown selection rule"),
        ("selection", {"rule": []}, "selection.rule: found []"),
        ("predictions", {"mistakes": {"full_scale": 0}}, "predictions.mistakes: full scale 0"),
        ("ensembles", [{"members": "strangers", "size": 2}], "ensembles.0.mean_probability"),
        ("ensembles", [ENSEMBLE | {"members": "strangers"}], "ensembles.0: "),
        ("ensembles", [ENSEMBLE | {"size": "a"}], "ensembles.0.size: found 'a'"),
        ("ensembles", [ENSEMBLE | {"size": 10**400}], "ensembles.0.size: found 1000"),
        (
            "ensembles",
            [ENSEMBLE | {"mean_probability": 1.5}],
            "ensembles.0.mean_probability: found 1.5",
        ),
        ("cross_validation", {"n_train": "many"}, "cross_validation.n_train: found 'many'"),
        ("cross_validation", {"n_train": 0, "n_held_out": 0}, "cross_validation.n_train: found 0"),
        ("checks", [{}], "checks.0.name: missing"),
    ],
)
def test_an_edited_record_is_refused_with_the_place(stored, tmp_path, key, value, place):
    def change(record):
        inner = record[key] | value if isinstance(value, dict) else value
        return record | {key: inner}

    shutil.copytree(stored, tmp_path / "out")
    change_record(tmp_path / "out" / "results.safetensors", change)
    assert place in refusal(tmp_path / "out")


def test_scores_without_rows_are_refused():
    with pytest.raises(InputError, match="finite float32"):
        Scored(np.zeros((0, 3), np.float32), np.zeros(0, int))


def test_a_stopped_setting_keeps_no_scores():
    settings = [Hyperparameters(l2=1e20, learning_rate=1e10), Hyperparameters()]
    run = train(DATA, settings, batch_size=10, epochs=1)
    kept = keep_predictions(DATA, run, [1], 0)
    assert kept.test is kept.validation is kept.mistakes is None
    assert kept.right.shape == (1, 61)
