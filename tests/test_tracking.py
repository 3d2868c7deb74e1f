"""Trackers are told every model's settings and curves: their own readers find those of the run."""

import sys

import numpy as np
import pytest

from made import make_data
from onelayer.cli import run
from onelayer.errors import InputError
from onelayer.tracking.trackers import open_tracker
from onelayer.training.cross_validation import cross_validate
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.loop import train
from onelayer.training.machine import GB, Machine
from onelayer.training.run import CURVES

SETTINGS = grid(l2=[0, 0.1], learning_rate=[0.01, 0.02], schedule=["constant", "step:2:0.5"])
SHARED = {"batch_size": 10, "patience": None}
ENGINE = Machine().find_engine("float32", SETTINGS)
SMALL = 3 * ENGINE.model_bytes(4, 12, 10) / GB  # three models fit at once


def train_tracked(target, settings=SETTINGS, **protocol):
    with open_tracker(target, "made", settings, SHARED) as follow:
        return train(make_data(), settings, batch_size=10, on_epoch=follow, **protocol)


def read_tensorboard(folder):
    """Return scalars {name: [(step, value)]} and hyperparameters of each run, by its folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import metadata

    runs = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        events = accumulator.EventAccumulator(str(file)).Reload()
        scalars = {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        start = metadata.parse_session_start_info_plugin_data(content)
        values = {
            name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
        }
        runs[file.parent.name] = scalars, values
    return runs


def read_mlflow(folder):
    """Return metrics, parameters (as text) and status of each run, by its name."""
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(folder.as_uri())
    experiment = client.get_experiment_by_name("made").experiment_id
    runs = {}
    for found in client.search_runs([experiment]):
        metrics = {
            name: [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, name)]
            for name in found.data.metrics
        }
        runs[found.info.run_name] = metrics, found.data.params, found.info.status
    return runs


def curve(run, name, model):
    """Return the known (epoch, value) pairs of a model's curve."""
    pairs = zip(run.history.measured.tolist(), getattr(run.history, name)[model], strict=True)
    return [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in pairs if value == value]


@pytest.mark.parametrize("memory", [SMALL, 1.0])
def test_the_callback_knows_which_models_the_curves_are_of(memory):
    told = {name: np.full((len(SETTINGS), 4), np.nan) for name in CURVES}

    def listen(epoch, curves, models):
        for name, curve in curves.items():
            told[name][models.start : models.stop, epoch] = curve[:, epoch]

    run = train(make_data(), SETTINGS, batch_size=10, epochs=3, memory=memory, on_epoch=listen)
    assert (len(run.provenance["stacks"]) > 1) == (memory == SMALL)
    for name in CURVES:
        np.testing.assert_array_equal(told[name], getattr(run.history, name))


def test_folds_are_told_resample_by_resample():
    weights = np.array([np.arange(53) % 2, np.arange(53) % 2 == 0])
    told = np.full((2 * len(SETTINGS), 4), np.nan)

    def listen(epoch, curves, models):
        if epoch > 0:
            told[models.start : models.stop, epoch] = curves["held_out_loss"][:, epoch]

    options = {"batch_size": 10, "epochs": 3, "memory": SMALL, "on_epoch": listen}
    judged = cross_validate(make_data(), SETTINGS, weights, **options)
    np.testing.assert_array_equal(told[:, 1:].reshape(2, len(SETTINGS), 3), judged.loss_curves)


def test_tensorboard_reads_back_every_curve_of_every_model(tmp_path):
    pytest.importorskip("tensorboard")
    run = train_tracked(f"tensorboard:{tmp_path}", epochs=3, memory=SMALL)
    runs = read_tensorboard(tmp_path)
    assert len(runs) == len(SETTINGS)
    for model, (scalars, hyperparameters) in enumerate(runs.values()):
        assert set(scalars) == set(CURVES)
        for name in CURVES:
            assert scalars[name] == curve(run, name, model)
        assert hyperparameters == vars(SETTINGS[model]) | {"batch_size": 10}
    assert list(runs)[5] == "5 λ=0.1, η=0.01, step-2-0.5"


def test_mlflow_reads_back_every_curve_of_every_model(tmp_path):
    pytest.importorskip("mlflow")
    run = train_tracked(f"mlflow:{tmp_path}", epochs=3, memory=SMALL)
    runs = read_mlflow(tmp_path)
    assert len(runs) == len(SETTINGS)
    for model, name in enumerate(sorted(runs)):
        metrics, params, status = runs[name]
        assert name == f"{model} {SETTINGS[model]}"
        assert set(metrics) == set(CURVES)
        assert all(metrics[name] == curve(run, name, model) for name in CURVES)
        expected = vars(SETTINGS[model]) | {"batch_size": 10}
        assert params == {name: str(value) for name, value in expected.items()}
        assert status == "FINISHED"


def test_trainings_one_right_after_another_stay_apart(tmp_path):
    pytest.importorskip("tensorboard")
    for _ in range(2):
        train_tracked(f"tensorboard:{tmp_path}", SETTINGS[:1], epochs=0)
    assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 2


def test_what_is_not_known_is_not_told(tmp_path):
    pytest.importorskip("tensorboard")
    settings = [Hyperparameters(l2=10.0, learning_rate=1e4), Hyperparameters()]
    run = train_tracked(f"tensorboard:{tmp_path}", settings, epochs=30, evaluate_every=4)
    assert run.stopped[0]
    assert not run.stopped[1]
    for model, (scalars, _) in enumerate(read_tensorboard(tmp_path).values()):
        assert scalars["train_loss"] == curve(run, "train_loss", model)
    assert len(curve(run, "train_loss", 0)) < len(curve(run, "train_loss", 1)) == 9


def interrupt(target):
    with open_tracker(target, "made", SETTINGS[:1], {}) as follow:
        follow(0, {"train_loss": np.array([[0.5]])}, range(1))
        raise KeyboardInterrupt


def test_an_interrupted_training_keeps_what_was_told_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    with pytest.raises(KeyboardInterrupt):
        interrupt(f"tensorboard:{tmp_path}")
    [(scalars, _)] = read_tensorboard(tmp_path).values()
    assert scalars == {"train_loss": [(0, 0.5)]}


def test_an_interrupted_training_keeps_what_was_told_to_mlflow_as_failed(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(KeyboardInterrupt):
        interrupt(f"mlflow:{tmp_path}")
    [(metrics, _, status)] = read_mlflow(tmp_path).values()
    assert (metrics, status) == ({"train_loss": [(0, 0.5)]}, "FAILED")


def test_an_experiment_that_mlflow_has_deleted_ends_in_one_line(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    train_tracked(f"mlflow:{tmp_path}", SETTINGS[:1], epochs=0)
    client = mlflow.MlflowClient(tmp_path.as_uri())
    client.delete_experiment(client.get_experiment_by_name("made").experiment_id)
    with pytest.raises(InputError, match=r"MLflow cannot write there: .*active"):
        train_tracked(f"mlflow:{tmp_path}", SETTINGS[:1], epochs=0)


def test_nothing_is_written_before_training_begins(tmp_path):
    pytest.importorskip("tensorboard")
    with open_tracker(f"tensorboard:{tmp_path / 'tb'}", "made", SETTINGS, {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_command_tracks_the_main_run_alone(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    arguments = ["train", "digits", "--l2", "0,0.1", "--epochs", "1", "--repeats", "1"]
    arguments += ["--track", f"tensorboard:{tmp_path / 'tb'}", "--out", str(tmp_path / "out")]
    arguments += ["--report", "none"]
    assert run(arguments) == 0
    capsys.readouterr()
    runs = read_tensorboard(tmp_path / "tb")
    assert list(runs) == ["0 λ=0, η=0.01", "1 λ=0.1, η=0.01"]
    assert all(len(scalars["train_loss"]) == 2 for scalars, _ in runs.values())
    assert runs["1 λ=0.1, η=0.01"][1].items() >= {"dataset": "digits", "epochs": 1}.items()


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch, kind):
    for module in [name for name in sys.modules if name.split(".")[0] == kind] or [kind]:
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InputError, match=rf"pip install 'onelayer\[{kind}\]'"),
        open_tracker(f"{kind}:{tmp_path}", "made", SETTINGS, {}),
    ):
        pass


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tensorbord:x", "unknown tracker 'tensorbord'; did you mean 'tensorboard'"),
        ("tensorboard", "tracker 'tensorboard': expected tensorboard:FOLDER"),
        ("mlflow:", "tracker 'mlflow:': expected mlflow:FOLDER"),
    ],
)
def test_a_tracker_that_is_not_one_is_refused(target, message):
    with pytest.raises(InputError, match=message), open_tracker(target, "made", SETTINGS, {}):
        pass
