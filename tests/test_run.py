"""What a run leaves on disk comes back bit for bit, and nothing else is read."""

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import onelayer
from made import make_data
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.training.hyperparameters import grid


@pytest.fixture
def run():
    settings = grid(l2=[0, 0.1], learning_rate=[0.05])
    return onelayer.train(make_data(image_shape=(3, 2, 2)), settings, batch_size=10, epochs=2)


def test_a_saved_run_comes_back_bit_for_bit(run, tmp_path):
    run.save(tmp_path)
    back = onelayer.load_run(tmp_path)
    assert back.weights.tobytes() == run.weights.tobytes()
    assert back.biases.tobytes() == run.biases.tobytes()
    for name, curve in vars(run.history).items():
        assert getattr(back.history, name).tobytes() == curve.tobytes()
    for name in (
        "settings",
        "stopped",
        "ended",
        "class_names",
        "image_shape",
        "training",
        "provenance",
    ):
        assert getattr(back, name) == getattr(run, name)
    X = make_data().test.X
    np.testing.assert_array_equal(back.scores(X), run.scores(X))


def test_scores_are_equation_1_on_scaled_features(run):
    X = make_data().test.X
    for m in range(2):
        expected = network.scores(X / 255, run.weights[m].astype(float), run.biases[m])
        np.testing.assert_allclose(run.scores(X)[:, m], expected, atol=1e-5)


def test_identical_runs_write_identical_weights(run, tmp_path):
    run.save(tmp_path / "a")
    run.save(tmp_path / "b")
    first, second = ((tmp_path / name / "run.safetensors").read_bytes() for name in "ab")
    assert first == second


def test_provenance_names_versions_threads_and_digests(run):
    assert run.provenance["numpy"] == np.__version__
    assert run.provenance["threads"] >= 1
    assert run.provenance["digests"] == {"made.bin": "abc"}
    assert run.provenance["seconds"] > 0


def test_a_missing_file_is_named(run, tmp_path):
    run.save(tmp_path)
    (tmp_path / "run.safetensors").unlink()
    with pytest.raises(InputError, match=r"run\.safetensors: no such file"):
        onelayer.load_run(tmp_path)


def test_damaged_files_are_refused_with_the_reason(run, tmp_path):
    run.save(tmp_path)
    whole = (tmp_path / "run.safetensors").read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        (tmp_path / "run.safetensors").write_bytes(whole[:length])
        with pytest.raises(InputError, match="holds no run that can be read"):
            onelayer.load_run(tmp_path)


def test_weights_that_do_not_fit_the_record_are_refused(run, tmp_path):
    run.save(tmp_path)
    path = tmp_path / "run.safetensors"
    with safe_open(path, "numpy") as file:
        header = file.metadata()
    arrays = load_file(path)
    save_file(arrays | {"weights": arrays["weights"][:1]}, path, header)
    with pytest.raises(InputError, match="weights"):
        onelayer.load_run(tmp_path)
