"""What ends training, what is kept, and when is measured."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from made import make_data
from onelayer.errors import InputError
from onelayer.training import epochs as epoch_loop
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.job import initial_parameters
from onelayer.training.loop import train

MODELS = [Hyperparameters(0, 0.1), Hyperparameters(0.01, 0.3), Hyperparameters(0.5, 0.02)]


def test_the_best_epochs_parameters_are_kept():
    data = make_data(N=60)
    last = train(data, MODELS, batch_size=10, epochs=30)
    best = train(data, MODELS, batch_size=10, epochs=30, keep="best")
    np.testing.assert_array_equal(best.kept, last.history.validation_accuracy.argmax(axis=1))
    for m, epoch in enumerate(best.kept):
        until = train(data, MODELS, batch_size=10, epochs=int(epoch))
        np.testing.assert_allclose(best.weights[m], until.weights[m], rtol=0, atol=1e-6)
        assert best.final("validation_loss")[m] == last.history.validation_loss[m, epoch]


def test_a_model_ends_after_its_patience_and_the_others_go_on():
    data = make_data(N=60)
    whole = train(data, MODELS, batch_size=10, epochs=40).history.validation_accuracy
    run = train(data, MODELS, batch_size=10, epochs=40, patience=3)
    for m, curve in enumerate(whole):
        best, end = 0, 40
        for epoch in range(1, 41):
            best = epoch if curve[epoch] > curve[best] else best
            if epoch - best == 3:
                end = epoch
                break
        assert run.kept[m] == best
        ended = np.isnan(run.history.validation_accuracy[m])
        assert ended.argmax() == end + 1 if ended.any() else end >= run.history.epochs
        assert bool(run.ended[m]) == (end < 40)
    assert run.history.epochs == max(np.isfinite(run.history.train_loss).sum(axis=1)) - 1


def test_evaluation_every_n_epochs_changes_no_weights():
    data = make_data()
    every = train(data, MODELS, batch_size=10, epochs=7)
    for n, epochs in ((3, [0, 3, 6, 7]), (0, [7]), (7, [0, 7]), (9, [0, 7])):
        some = train(data, MODELS, batch_size=10, epochs=7, evaluate_every=n)
        assert some.history.measured.tolist() == epochs
        assert some.weights.tobytes() == every.weights.tobytes()
        np.testing.assert_array_equal(some.history.train_loss, every.history.train_loss[:, epochs])


def test_when_the_time_is_up_what_is_there_is_measured_and_kept(monkeypatch):
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(epoch_loop.time, "perf_counter", clock)
    run = train(make_data(), MODELS, batch_size=10, epochs=40, time_limit=20)
    assert all("the time was up" in reason for reason in run.ended)
    assert run.history.epochs == 4  # of six batches, a second each
    assert np.isfinite(run.history.train_loss).all()
    assert run.kept.tolist() == [4, 4, 4]


def test_a_diverged_model_keeps_its_best_epoch():
    models = [MODELS[0], Hyperparameters(10.0, 1e4)]
    run = train(make_data(), models, batch_size=10, epochs=30, keep="best")
    assert run.stopped == ("", "")
    assert "diverged" in run.ended[1]
    assert np.isfinite(run.final("validation_loss")).all()


def test_a_plateau_follows_the_validation_loss_of_its_own_model():
    data = make_data(N=60)
    models = [MODELS[1], replace(MODELS[1], schedule="plateau:1:0.1")]
    run = train(data, models, batch_size=10, epochs=25)
    losses, rate, lowest, stalled = run.history.validation_loss[1], 0.3, np.inf, 0
    for epoch in range(1, 26):
        better = losses[epoch] < lowest * (1 - 1e-4)
        lowest, stalled = (losses[epoch], 0) if better else (lowest, stalled + 1)
        if stalled > 1:
            rate, stalled = rate * 0.1, 0
    assert rate < 0.3  # or the test says nothing
    assert losses[-1] < run.history.validation_loss[0, -1]


def test_training_without_validation_leaves_its_curves_empty():
    data = replace(make_data(), validation=None)
    run = train(data, MODELS, batch_size=10, epochs=3)
    assert np.isnan(run.history.validation_loss).all()
    assert np.isfinite(run.history.train_loss).all()


@pytest.mark.parametrize("options", [{"patience": 2}, {"keep": "best"}])
def test_what_looks_at_validation_is_refused_without_it(options):
    data = replace(make_data(), validation=None)
    with pytest.raises(InputError, match="needs validation data, and made has none"):
        train(data, MODELS, batch_size=10, **options)
    with pytest.raises(InputError, match="evaluate_every is 0"):
        train(make_data(), MODELS, batch_size=10, evaluate_every=0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience is 0; expected a whole number from 1"),
        ({"evaluate_every": -1}, "evaluate_every is -1"),
        ({"time_limit": 0}, "time_limit is 0; expected a number above 0"),
        ({"keep": "bset"}, "did you mean 'best'"),
        ({"epoch": 3}, "unknown argument of train 'epoch'; did you mean 'epochs'"),
        ({"augmentation": "flip"}, "not images"),
        ({"class_weight": "balance"}, "did you mean 'balanced'"),
        ({"sample_weights": np.zeros(53)}, "all are zero"),
        ({"sample_weights": np.full(53, np.nan)}, "row 0 has nan"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        train(make_data(), MODELS, **{"batch_size": 10} | options)


def test_balanced_classes_weigh_as_sample_weights_do():
    data = make_data()
    counts = np.bincount(data.train.y, minlength=4)
    expected = train(data, MODELS, batch_size=10, sample_weights=(53 / (4 * counts))[data.train.y])
    run = train(data, MODELS, batch_size=10, class_weight="balanced")
    assert run.weights.tobytes() == expected.weights.tobytes()


def test_augmented_training_sees_flipped_images():
    """Half of all images flipped: W becomes nearly symmetric where the data are not."""
    data = make_data(N=200, D=2, K=2, image_shape=(1, 1, 2))
    data.train.X[:, 0], data.train.X[:, 1] = data.train.y * 255, 0
    protocol = {"batch_size": 20, "epochs": 60, "dtype": "float64"}
    models = [Hyperparameters(0, 0.5, init="zeros")]
    plain = train(data, models, **protocol).weights[0]
    flipped = train(data, models, augmentation="flip", **protocol).weights[0]
    assert abs(plain[1, 1]) == 0
    assert flipped[1, 0] == pytest.approx(flipped[1, 1], rel=0.05)


def test_inits_are_drawn_as_they_say():
    data = make_data(D=2000, K=10)
    models = grid(init=["normal", "xavier", "zeros"], init_seed=[0, 1])
    weights, biases = initial_parameters(data, models, seed=3)
    assert weights[2].std() == pytest.approx(np.sqrt(2 / 2010), rel=0.02)
    assert not weights[4:].any()
    assert not biases[2:].any()
    np.testing.assert_allclose(weights[2] / np.sqrt(2 / 2010), weights[0] / 0.01)
    draw = stats.kstest(weights[1].ravel() / 0.01, "norm")
    assert draw.pvalue > 1e-3
    correlation = np.corrcoef(weights[0].ravel(), weights[1].ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(weights[0].size)
