"""A model out of a run predicts as the run does, wherever it goes: a file, ONNX, PyTorch."""

import json
import struct
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import onelayer
from made import make_data
from onelayer.data.columns import Columns
from onelayer.data.in_memory import dataset_from
from onelayer.data.scaling import METHODS
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import open_model
from onelayer.model import network
from onelayer.model.losses import LOSSES
from onelayer.training.classifier import Classifier, load_model, model_of
from onelayer.training.export import export_model, to_onnx
from rounding import rounding
from stored_records import read_record

GOLDEN = Path(__file__).parent / "golden"
X = make_data().test.X


def fit(loss="cross-entropy", scaling="unit", **protocol):
    data = make_data(image_shape=(3, 2, 2))
    settings = onelayer.grid(loss=[loss], l2=[0, 0.1], learning_rate=[0.1])
    return onelayer.train(data, settings, batch_size=10, epochs=3, scaling=scaling, **protocol)


def split_file(content):
    """Return the header and the bytes of the tensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_file(header, tensors):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def rounding_of_scores(model):
    """Bound how far two ways to compute the scores of X may lie apart."""
    shift, factor = model.scaling.shift, model.scaling.factor
    size = (X + np.abs(shift)) * factor @ np.abs(model.weights).T + np.abs(model.biases)
    return rounding(size.max(), X.shape[1] + 4, model.weights.dtype)


def rounding_of_probabilities(model):
    """As `rounding_of_scores`: no probability moves by more than the score that moves most."""
    return rounding_of_scores(model) + rounding(1, len(model.weights) + 4, model.weights.dtype)


@pytest.fixture(scope="module")
def run():
    return fit()


@pytest.fixture
def model(run):
    return model_of(run, 1)


@pytest.fixture
def written(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("scaling", METHODS)
def test_a_model_scores_as_its_run_does(scaling):
    run = fit(scaling=scaling)
    for m in range(2):
        model = model_of(run, m)
        S, bound = run.scores(X)[:, m], rounding_of_scores(model)
        np.testing.assert_allclose(model.scores(X), S, rtol=0, atol=bound)
        np.testing.assert_array_equal(model.predict(X), model.scores(X).argmax(axis=1))


def test_probabilities_are_softmax_or_normalised_sigmoids_by_the_loss(run):
    P = model_of(run).probabilities(X)
    np.testing.assert_allclose(P, network.probabilities(model_of(run).scores(X)), atol=1e-6)
    model = model_of(fit("binary-cross-entropy"))
    sigmoid = 1 / (1 + np.exp(-model.scores(X).astype(float)))
    expected = sigmoid / sigmoid.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.probabilities(X), expected, rtol=1e-12)
    with pytest.raises(InputError, match="hinge has only scores"):
        model_of(fit("hinge")).probabilities(X)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_saved_model_comes_back_bit_for_bit(loss, tmp_path):
    model = model_of(fit(loss, "standardise", dtype="float64"))
    model.save(tmp_path / "m")
    back = onelayer.load_model(tmp_path / "m")
    assert back.weights.tobytes() == model.weights.tobytes()
    assert back.biases.tobytes() == model.biases.tobytes()
    for name in ("shift", "factor"):
        assert getattr(back.scaling, name).tobytes() == getattr(model.scaling, name).tobytes()
    rest = ("class_names", "image_shape", "full_scale", "hyperparameters", "dataset", "digests")
    for name in (*rest, "version"):
        assert getattr(back, name) == getattr(model, name)
    assert model.digests == {"made.bin": "abc"}


def test_identical_fits_write_identical_bytes(tmp_path):
    for name in "ab":
        model_of(fit()).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("form", [1, 2, 3, 4])
def test_a_file_of_any_format_predicts_for_ever_what_it_did(form):
    record = json.loads((GOLDEN / "model-1.json").read_text())
    model = load_model(GOLDEN / f"model-{form}.safetensors")
    features = np.array(record["features"], np.uint8)
    np.testing.assert_allclose(
        model.probabilities(features), record["probabilities"], rtol=0, atol=1e-6
    )
    assert model.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert (model.image_shape, model.full_scale) == ((3, 2, 2), 255)
    assert (model.hyperparameters.l2, model.version) == (0.01, "0.1.0")


def test_the_present_format_is_the_golden_one(tmp_path):
    """Another way to write needs another number, and a way up from this one."""
    columns = Columns(tuple("abcdefghijkl"), "kind")
    model = load_model(GOLDEN / "model-1.safetensors")
    replace(model, columns=columns, pool="mean").save(tmp_path / "m")
    golden = GOLDEN / "model-4.safetensors"
    assert read_record(tmp_path / "m") == read_record(golden)
    written, expected = load_file(tmp_path / "m"), load_file(golden)
    assert written.keys() == expected.keys()
    assert all(written[name].tobytes() == expected[name].tobytes() for name in expected)


def test_a_writer_that_fails_leaves_the_old_file(written, model, monkeypatch):
    before = written.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(ENOSPC, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        replace(model, dataset="other").save(written)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 5}, "its format is 5 and this onelayer reads up to 4; a later one may read it"),
        ({"format": "2"}, "its format is '2'"),
        ({"format": None}, "its format is None"),
        ({"kind": "run"}, "it is of the kind 'run'"),
        ({"class_names": ["a", "b", "c"]}, "class_names of the shape (3,), expected (4)"),
        ({"class_names": ["a", "b", "c", "c"]}, "two classes are called 'c'"),
        ({"class_names": ["a", "b", "c", "\x1b[31m"]}, "cannot be seen"),
        ({"class_names": ["a", "b", "c", 4]}, "class_names.3: found 4, expected str"),
        ({"class_names": None}, "class_names: found None"),
        ({"image_shape": [3, 2]}, "image_shape: found [3, 2]"),
        ({"image_shape": [3, 2, 3]}, "image_shape (3, 2, 3)"),
        ({"image_shape": [-3, -2, 2]}, "image_shape (-3, -2, 2)"),
        ({"image_shape": [3.0, 2, 2]}, "image_shape.0: found 3.0, expected int"),
        ({"full_scale": 0.0}, "full scale 0.0"),
        ({"full_scale": float("nan")}, "full scale nan"),
        ({"full_scale": "255"}, "full_scale: found '255', expected float"),
        ({"scaling": {"method": "unti"}}, "unknown scaling 'unti'; did you mean 'unit'"),
        ({"hyperparameters": {"l3": 1}}, "hyperparameters.l3: not expected"),
        ({"hyperparameters": {"l2": "much"}}, "hyperparameters.l2: found 'much', expected float"),
        ({"hyperparameters": {"loss": ["hinge"]}}, "hyperparameters.loss: found ['hinge']"),
        ({"hyperparameters": {"schedule": 5}}, "hyperparameters.schedule: found 5"),
        ({"hyperparameters": {"warmup": float("inf")}}, "hyperparameters.warmup: found inf"),
        ({"digests": {"a": 1}}, "digests.a: found 1, expected str"),
        ({"dataset": 7}, "dataset: found 7, expected str"),
    ],
)
def test_a_record_that_cannot_be_is_refused_in_one_line(written, change, words):
    header, tensors = split_file(written.read_bytes())
    stored = json.loads(header["__metadata__"]["onelayer"])
    place = stored if change.keys() & {"format", "kind"} else stored["record"]
    place |= change
    header["__metadata__"]["onelayer"] = json.dumps(stored)
    written.write_bytes(join_file(header, tensors))
    with pytest.raises(InputError) as caught:
        load_model(written)
    assert str(caught.value).startswith(f"{written}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weights": np.zeros((4, 11), np.float32)}, "shift of the shape (12,), expected (11)"),
        ({"weights": np.zeros((4, 12), np.float16)}, "weights of float16"),
        ({"weights": np.zeros(48, np.float32)}, "weights of the shape (48,)"),
        ({"weights": np.full((4, 12), np.nan, np.float32)}, "not finite"),
        ({"biases": np.zeros(4)}, "biases of float64"),
        ({"biases": np.zeros(3, np.float32)}, "biases of the shape (3,)"),
        ({"scaling.factor": np.full(12, np.inf)}, "factor: found inf, expected a finite"),
        ({"more": np.zeros(1)}, "array 'more': not expected"),
        ({"weights": None}, "weights: missing"),
    ],
)
def test_tensors_that_cannot_be_are_refused(written, arrays, words):
    header, _ = split_file(written.read_bytes())
    changed = {k: a for k, a in (load_file(written) | arrays).items() if a is not None}
    save_file(changed, written, header["__metadata__"])
    with pytest.raises(InputError) as caught:
        load_model(written)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no model that can be read"),
        (b"\x00" * 8, "holds no model that can be read"),
        (b"\xff" * 100, "a header of 18,446,744,073,709,551,615 bytes"),
        (struct.pack("<Q", 1 << 40) + b"{}", "a header of"),
        (join_file({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"1234"),
         "holds no model that can be read"),
        (join_file({}, b""), "a safetensors file, but not one of onelayer"),
        (join_file({"__metadata__": {"onelayer": "["}}, b""), "Expecting value"),
        (join_file({"__metadata__": {"onelayer": "[" * 100_000}}, b""), "brackets too deep"),
        (join_file({"__metadata__": {"onelayer": "[1]"}}, b""), "its format is 0, expected 4"),
        (b"\x80\x04cposix\nsystem\n", "a header of"),
    ],
)  # fmt: skip
def test_foreign_files_are_refused(tmp_path, content, words):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputError, match="m: ") as caught:
        load_model(tmp_path / "m")
    assert words in str(caught.value)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_a_model_or_one_line(tmp_path_factory, data):
    content = bytearray((GOLDEN / "model-2.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        said = f"{path}: {np.isfinite(load_model(path).weights).all()}"
    except InputError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert not said.endswith("False")


def test_features_that_are_wrong_are_refused(model):
    with pytest.raises(InputError, match=r"shape \(53, 11\), expected \(N, 12\)"):
        model.scores(X[:, :11])
    for value in (np.nan, np.inf, 1e308):
        broken = X.astype(float)
        broken[7, 3] = value
        with pytest.raises(InputError, match="row 7: a value is missing, infinite or too large"):
            model.scores(broken)


def test_a_model_that_is_not_there_or_was_stopped_is_refused(run):
    with pytest.raises(InputError, match="model 2: the run has 2, numbered from 0"):
        model_of(run, 2)
    stopped = replace(run, stopped=("", "epoch 1, batch 2"))
    with pytest.raises(InputError, match="model 1 was stopped in epoch 1, batch 2"):
        model_of(stopped, 1)


def test_a_saved_run_is_opened_at_its_first_model_unless_told(run, tmp_path):
    run.save(tmp_path)
    np.testing.assert_array_equal(open_model(tmp_path).weights, run.weights[0])
    np.testing.assert_array_equal(open_model(tmp_path, 1).weights, run.weights[1])
    with pytest.raises(InputError, match="model 5: the run has 2"):
        open_model(tmp_path, 5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scaling", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_says_the_same(loss, scaling, dtype, tmp_path):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = model_of(fit(loss, scaling, dtype=dtype))
    export_model(model, tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    outputs = [output.name for output in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, {"features": X.astype(dtype)}), strict=True))
    S, bound = model.scores(X), rounding_of_scores(model)
    np.testing.assert_allclose(found["scores"], S, rtol=0, atol=bound)
    if loss == "hinge":
        assert outputs == ["scores"]
    else:
        P, bound = model.probabilities(X), rounding_of_probabilities(model)
        np.testing.assert_allclose(found["probabilities"], P, rtol=0, atol=bound)
    meaning = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(meaning["class_names"])) == model.class_names
    assert json.loads(meaning["image_shape"]) == [3, 2, 2]


def far_from_0():
    """Return a model of times that differ by seconds, and times."""
    times = 1.6e9 + np.random.default_rng(0).random((60, 1)) * 100
    data = dataset_from(times, (times[:, 0] > 1.6e9 + 50).astype(int))
    settings = onelayer.grid(learning_rate=[0.3])
    return model_of(onelayer.train(data, settings, scaling="standardise")), times


def test_far_from_0_onnx_takes_doubles_and_says_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, times = far_from_0()
    export_model(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_inputs()[0].type == "tensor(double)"
    scores = session.run(["scores"], {"features": times})[0]
    assert np.ptp(scores) > 1
    np.testing.assert_allclose(scores, model.scores(times), rtol=0, atol=1e-5)


@pytest.mark.torch
def test_far_from_0_a_torch_layer_is_of_doubles_or_refused():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    model, times = far_from_0()
    with torch.no_grad():
        scores = model.to_torch()(torch.tensor(times)).numpy()
    np.testing.assert_allclose(scores, model.scores(times), rtol=0, atol=1e-5)
    farther = replace(model, scaling=replace(model.scaling, shift=np.array([1.6e15])))
    with pytest.raises(InputError, match="too far from 0"):
        farther.to_torch()


def test_onnx_is_the_same_bytes_again(model, tmp_path):
    pytest.importorskip("onnx")
    for name in ("a.onnx", "b.onnx"):
        export_model(model, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_missing_onnx_is_told(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'onelayer\[onnx\]'"):
        to_onnx(model)


def test_an_export_replaces_nothing_unless_forced(model, written):
    with pytest.raises(InputError, match="exists; add --force"):
        export_model(model, written)
    export_model(model, written, force=True)
    with pytest.raises(InputError, match=r"ends in \.safetensors or \.onnx"):
        export_model(model, written.with_suffix(".pt"))


@pytest.mark.torch
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scaling", METHODS)
def test_a_torch_layer_of_stored_features_says_the_same(loss, scaling):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    model = model_of(fit(loss, scaling))
    state = torch.get_rng_state()
    linear = model.to_torch()
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        S = linear(torch.tensor(X.astype(np.float32)))
    bound = rounding_of_scores(model)
    np.testing.assert_allclose(S.numpy(), model.scores(X), rtol=0, atol=bound)


def test_a_missing_torch_is_told(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'onelayer\[torch\]'"):
        model.to_torch()


def test_the_type_is_public():
    assert onelayer.Classifier is Classifier
