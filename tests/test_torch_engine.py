"""The engine on PyTorch beside the others: whole trainings, types on the device, what it refuses.

Its steps are held to the textbook in test_engines.py. Run by make test-torch.
"""

import numpy as np
import pytest

import onelayer
from made import make_data
from onelayer.cli import run as onelayer_command
from onelayer.data import batches
from onelayer.data.dataset import Dataset, Split
from onelayer.data.derived import bfloat16, widened
from onelayer.data.sample_weights import bootstrap_weights
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.errors import InputError
from onelayer.model import losses
from onelayer.model.losses import LOSSES
from onelayer.training.cross_validation import cross_validate
from onelayer.training.engine_check import check_engine
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.machine import Machine
from onelayer.training.numpy_engine import NumpyEngine
from onelayer.training.run import CURVES

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
pytestmark = pytest.mark.torch

from benchmarks import gpu  # noqa: E402

from onelayer.training import torch_data, torch_device  # noqa: E402
from onelayer.training.torch_engine import TorchEngine  # noqa: E402
from onelayer.training.torch_losses import scaled_slopes, values_and_hits  # noqa: E402

SHORT = ["train", "digits", "--epochs", "1", "--report", "none"]


class Kept(TorchEngine):
    """As if the processor were a device with memory of its own: splits stay on it."""

    @classmethod
    def free_bytes(cls):
        return 10**12


def planted(N=600, D=30, K=5, seed=0):
    """Return features around a centre for each class, so that there is something to learn."""
    generator = np.random.default_rng(seed)
    centres, y = generator.normal(size=(K, D)), generator.integers(0, K, 3 * N)
    X = (centres[y] + 2 * generator.normal(size=(3 * N, D))).astype(np.float32)
    splits = [Split(X[part], y[part]) for part in (slice(N), slice(N, 2 * N), slice(2 * N, None))]
    return Dataset("planted", *splits, tuple("abcde"[:K]))


def both(data, settings, **options):
    """Train in float64 with NumPy's engine and with PyTorch's; return both runs."""
    options = {"batch_size": 16, "epochs": 6, "dtype": "float64"} | options
    return [onelayer.train(data, settings, engine=engine, **options) for engine in ("numpy", Kept)]


def assert_near(got, expected, share):
    """Hold that no entry differs by more than this share of the largest one."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=share * np.abs(expected).max())


def assert_equal_runs(expected, got, *, atol=1e-12):
    assert_near(got.weights, expected.weights, atol)
    assert_near(got.biases, expected.biases, atol)
    np.testing.assert_array_equal(got.kept, expected.kept)
    assert (got.stopped, got.ended) == (expected.stopped, expected.ended)
    for name in CURVES:
        ours, theirs = getattr(got.history, name), getattr(expected.history, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=atol, err_msg=name)


MIXED = [
    Hyperparameters(0.01, 0.05, momentum=0.9, schedule="cosine"),
    Hyperparameters(0.1, 0.02, loss="hinge", momentum=0.8, nesterov=True, schedule="step:2:0.5"),
    Hyperparameters(0, 0.05, loss="binary-cross-entropy", warmup=3),
    Hyperparameters(0.02, 0.05, schedule="plateau:1:0.5", momentum=0.9),
]
TRAININGS = {
    "momentum, schedules and losses": (MIXED, {}),
    "one momentum": (grid(l2=[0, 0.1], learning_rate=[0.1, 0.01], momentum=[0.9]), {}),
    "best epoch": (grid(learning_rate=[1.0, 0.01]), {"keep": "best"}),
    "early stopping": (grid(learning_rate=[1.0, 0.01], momentum=[0.9]), {"patience": 1}),
    "class weights": (MIXED, {"class_weight": "balanced"}),
    "sample weights": (MIXED, {"sample_weights": bootstrap_weights(600, 4, 0)}),
    "standardised": (MIXED, {"scaling": "standardise", "order": "windowed"}),
    "snapshots": (grid(), {"snapshots": 3}),
}


@pytest.mark.parametrize(("settings", "options"), TRAININGS.values(), ids=TRAININGS.keys())
def test_a_training_is_that_of_numpy(settings, options):
    assert_equal_runs(*both(planted(), settings, **options))


@pytest.mark.parametrize(("order", "pieces"), [("file", 0), ("shuffled", 1), ("windowed", 6)])
def test_the_numbers_of_rows_go_over_once_an_epoch(monkeypatch, order, pieces):
    """In windowed order once a window, here of 100 of 600 rows, with the rest of the one before."""
    monkeypatch.setattr(batches, "RUN", 20)
    monkeypatch.setattr(batches, "WINDOW", 5)
    sent, upload = [], torch_data.Feed.upload

    def counted(feed, tensor):
        sent.extend([len(tensor)] * (tensor.dtype == torch.int64))
        return upload(feed, tensor)

    monkeypatch.setattr(torch_data.Feed, "upload", counted)
    assert_equal_runs(*both(planted(), grid(), order=order))
    labels, numbers = sent[:2], sent[2:]
    assert labels == [600, 600]
    assert len(numbers) == 6 * pieces
    assert sum(numbers) < 6 * (600 + 16 * pieces)


def test_augmented_batches_are_those_of_numpy():
    data = make_data(N=60, D=48, image_shape=(3, 4, 4))
    assert_equal_runs(*both(data, grid(), augmentation="flip,brightness:0.2"))


def test_a_model_that_diverges_is_stopped_where_numpy_stops_it():
    settings = grid(learning_rate=[0.01, 1e30], l2=[0.1])
    expected, got = both(planted(), settings, dtype="float32")
    assert got.stopped == expected.stopped
    assert [place != "" for place in got.stopped] == [False, True]
    assert_near(got.weights[0], expected.weights[0], 1e-5)


def test_no_validation_split_and_no_test_split():
    data = planted()
    assert_equal_runs(*both(Dataset("train", data.train, None, None, data.class_names), grid()))


@pytest.mark.parametrize("scaling", ["unit", "standardise"])
def test_folds_are_those_of_numpy(scaling):
    settings = grid(l2=[0, 0.1], learning_rate=[0.05], momentum=[0.9])
    options = {"batch_size": 16, "epochs": 3, "dtype": "float64", "scaling": scaling}
    weights = (np.arange(600) % 3 != np.arange(3)[:, None]).astype(np.uint8)
    expected, got = (
        cross_validate(planted(), settings, weights, engine=engine, **options)
        for engine in ("numpy", Kept)
    )
    np.testing.assert_allclose(got.accuracy, expected.accuracy, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-11)


def test_a_state_goes_from_one_engine_to_another():
    data, settings = planted(), MIXED
    scaling = fit_scaling("unit", data)
    rates = np.array([setting.learning_rate for setting in settings])
    W = np.random.default_rng(0).normal(0, 0.1, (4, 5, 30))
    W[2] = np.sign(W[2]) * 1e308  # one that is stopped in its first step
    stacks = [
        make(W, W[..., 0], settings=settings, scaling=scaling)
        for make in (TorchEngine, NumpyEngine)
    ]
    for one, other in (stacks, stacks[::-1]):
        one.step(data.train, slice(0, 50), rates)
        one.remember(np.array([True, False, False, True]))
        state = one.state()
        other.load(state)
        for name, array in other.state().items():
            np.testing.assert_array_equal(array, state[name], err_msg=name)
        for stack in (one, other):
            stack.step(data.train, slice(50, 100), rates)
        assert_near(other.parameters()[0], one.parameters()[0], 1e-13)
        assert other.steps_until_stopped().tolist() == [0, 0, 1, 0]
        other.recall(np.ones(4, bool))
        np.testing.assert_array_equal(other.parameters()[0], state["best_weights"])


def test_a_stack_does_not_share_memory_with_what_it_began_from_or_hands_back():
    W, b = np.zeros((1, 5, 30)), np.zeros((1, 5))
    data = planted()
    stack = TorchEngine(W, b, settings=grid(), scaling=fit_scaling("unit", data))
    before = stack.parameters()
    stack.step(data.train, slice(0, 50), np.array([0.1]))
    assert stack.parameters()[0].any()
    assert not any(array.any() for array in (W, b, *before))


HALVES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float16)
UPPER = (HALVES.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
AS_STORED = {
    "uint8": (np.arange(240, dtype=np.uint8).reshape(40, 6), torch.uint8),
    "float16": (widened(HALVES), torch.float16),
    "bfloat16": (bfloat16(UPPER), torch.bfloat16),
    "float32": (HALVES.astype(np.float32)[::-1, ::-1], torch.float32),
    "big-endian": (HALVES.astype(">f8"), torch.float64),
    "uint32": (np.arange(240, dtype=np.uint32).reshape(40, 6), torch.float64),
}


@pytest.mark.parametrize(("X", "kind"), AS_STORED.values(), ids=AS_STORED.keys())
@pytest.mark.parametrize("shifted", [False, True])
def test_a_split_stays_on_the_device_as_it_is_stored(X, kind, shifted):
    scaling = Scaling("made", np.full(6, 0.5 * shifted), np.full(6, 0.25))
    feed = torch_data.Feed(torch.device("cpu"), scaling, np.dtype(np.float32))
    split = Split(X, np.arange(40) % 3)
    kept = feed.open(split, room=10**6)
    assert (kept.X.dtype, tuple(kept.X.shape)) == (kind, (40, 6))
    for rows in (slice(3, 9), np.array([5, 0, 39])):
        for data in (kept, split):
            x, y = feed.batch(data, rows)
            np.testing.assert_array_equal(x, scaling.apply(X[rows], np.float32))
            np.testing.assert_array_equal(y, split.y[rows])
    np.testing.assert_array_equal(
        feed.batch(kept, slice(None))[0], feed.batch(kept, slice(None))[0]
    )


def test_a_processor_scales_for_a_device_without_float64(monkeypatch):
    scaling = Scaling("made", np.full(6, 1e6), np.full(6, 0.25))
    feed = torch_data.Feed(torch.device("cpu"), scaling, np.dtype(np.float32))
    monkeypatch.setattr(feed, "_scales_before", lambda X: True)
    split = Split(1e6 + HALVES.astype(np.float64), np.arange(40) % 3)
    assert feed.open(split, 10**6) is split
    x, y = feed.batch(split, slice(3, 9))
    np.testing.assert_array_equal(x, scaling.apply(split.X[3:9], np.float32))
    np.testing.assert_array_equal(y, split.y[3:9])


def test_a_split_for_which_there_is_no_room_is_read_batch_by_batch():
    feed = torch_data.Feed(torch.device("cpu"), fit_scaling("unit", planted()), np.dtype("f4"))
    split = planted().train
    takes = split.X.nbytes + 2 * split.y.nbytes  # rows, labels and an order
    assert feed.open(split, takes - 1) is split
    kept = feed.open(split, takes)
    assert kept is not split
    assert feed.open(split, 0) is kept  # another stack on the same device: once for both


def test_bfloat16_products_change_curves_by_less_than_their_digits():
    """The factors keep 8 bits. Measured: losses within 0.1 %, accuracies within 3 of 600 rows."""
    data, settings = planted(), grid(l2=[0, 0.01], learning_rate=[0.1, 0.01], momentum=[0.9])
    exact, rounded = (
        onelayer.train(data, settings, engine="torch", precision=precision, device="cpu",
                       batch_size=32, epochs=10)
        for precision in ("float32", "bfloat16")
    )  # fmt: skip
    for split in ("train", "validation"):
        ours, theirs = (getattr(run.history, f"{split}_loss") for run in (rounded, exact))
        np.testing.assert_allclose(ours, theirs, rtol=2.0**-8)
        assert (ours != theirs).any()
        ours, theirs = (getattr(run.history, f"{split}_accuracy") for run in (rounded, exact))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.01)
    assert rounded.provenance["precision"] == "bfloat16"


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_check_knows_what_bfloat16_rounds(loss):
    data = make_data(N=120, D=40, K=5)
    rough = TorchEngine.on("cpu", "bfloat16")
    found = check_engine(
        rough, data.train, 5, fit_scaling("unit", data), loss=loss, dtype="float32"
    )
    assert found.passed, str(found)
    assert found.error_W > 1e-5
    assert found.dtype == "float32 with products in bfloat16"


def test_float32_is_multiplied_in_float32_whatever_the_process_allows():
    data = planted()
    options = {"engine": "torch", "device": "cpu", "batch_size": 32, "epochs": 2}
    expected = onelayer.train(data, grid(), **options)
    torch.set_float32_matmul_precision("medium")
    try:
        got = onelayer.train(data, grid(), **options)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert got.weights.tobytes() == expected.weights.tobytes()


def test_what_is_compiled_for_cuda_is_one_graph_with_the_same_values():
    generator = torch.Generator().manual_seed(0)
    S, y = torch.randn(7, 3, 5, generator=generator), torch.arange(7) % 5
    S[2, 1, 0] = torch.inf
    settings = [Hyperparameters(loss=loss) for loss in LOSSES]
    W = np.zeros((3, 5, 2))
    groups = TorchEngine(W, W[..., 0], settings=settings, scaling=None)._groups
    stopped, step = torch.tensor([0, 0, 4]), torch.tensor(9)
    learning = (torch.rand(7, 3, generator=generator), stopped, step)
    for function, rest in ((scaled_slopes, learning), (values_and_hits, ())):
        whole = torch.compile(function, fullgraph=True, backend="eager")(groups, S, y, *rest)
        for ours, theirs in zip(whole, function(groups, S, y, *rest), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    G, now = scaled_slopes(groups, S, y, *learning)
    assert now.tolist() == [0, 9, 4]
    assert [part.any().item() for part in G.unbind(dim=1)] == [True, False, False]


def test_the_run_names_engine_device_and_version():
    run = onelayer.train(planted(), grid(), engine="torch", device="cpu", epochs=1, threads=1)
    named = {"engine": "TorchEngine", "device": "cpu", "precision": "float32", "threads": 1}
    assert run.provenance.items() >= (named | {"torch": torch.__version__}).items()


def test_a_loss_of_ones_own_is_refused_by_name(monkeypatch):
    class Squares(losses.Hinge):
        name = "squares"

    monkeypatch.setitem(LOSSES, "squares", Squares())
    with pytest.raises(InputError, match="engine torch has no loss 'squares'; engine numpy"):
        onelayer.train(planted(), grid(loss=["squares"]), engine="torch", device="cpu")


def refusal(capsys, *arguments):
    """Return the one line that a command ends with in status 2."""
    assert onelayer_command([*SHORT, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_without_a_gpu_the_command_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "this PyTorch sees no CUDA device" in refusal(capsys, "--device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "there are 1, from cuda:0" in refusal(capsys, "--device", "cuda:3")


def test_a_pytorch_without_cuda_is_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    said = refusal(capsys, "--device", "cuda", "--engine", "torch")
    assert f"this PyTorch ({torch.__version__}) was built without CUDA" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "gpu"], "expected auto, cpu, cuda, cuda:N or mps"),
        (["--device", "mps"], "sees no GPU of Apple's"),
        (["--engine", "torch", "--device", "cpu", "--precision", "tf32"], "devices of CUDA alone"),
        (["--precision", "bfloat16", "--dtype", "float64"], "expected dtype float32"),
        (["--engine", "numpy", "--device", "cuda"], "need engine torch; engine is 'numpy'"),
        (["--precision", "float16"], "unknown precision 'float16'"),
    ],
)
def test_what_a_device_cannot_do_is_refused(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert words in refusal(capsys, *arguments)


def test_apples_gpus_have_no_float64():
    with pytest.raises(InputError, match="device is mps and dtype float64"):
        torch_device.check_numbers("mps", "float32", "float64")


def test_a_device_with_too_little_memory_says_how_much_would_do(monkeypatch, capsys):
    many = ["--l2", "0,0.1,0.2,0.3", "--engine", "torch", "--device", "cpu", "--memory", "1"]
    one = TorchEngine.model_bytes(10, 64, 100)
    monkeypatch.setattr(torch_device, "free_bytes", lambda device: 2 * one)
    said = refusal(capsys, *many)
    assert "a stack of 4 models needs" in said
    assert "--memory" in said
    monkeypatch.setattr(torch_device, "free_bytes", lambda device: one // 2)
    assert "another device would do" in refusal(capsys, *many)


def test_memory_that_runs_out_on_the_way_is_one_line(monkeypatch, capsys):
    def burst(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TorchEngine, "_scores", burst)
    said = refusal(capsys, "--engine", "torch", "--device", "cpu")
    assert "its memory ran out in a stack of 1 models" in said


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = Machine(engine="torch").find_engine("float32", grid())
    assert (found.device, found.__name__) == ("mps", "TorchEngine")
    assert Machine(device="cpu").find_engine("float32", grid()) is not TorchEngine


def test_the_benchmark_of_a_gpu_runs_on_a_processor_at_a_small_size(capsys):
    assert gpu.main(["--device", "cpu", "--small", "--rounds", "1", "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| floor |") == 3
    assert printed.count("| onelayer |") == 3
    assert "NO, by" not in printed  # all contenders did the same work


def test_the_benchmark_of_a_gpu_says_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert gpu.main([]) == 2
    assert "built without CUDA" in capsys.readouterr().err


def test_the_floor_is_products_and_bytes_of_an_epoch():
    job = gpu.Job("made", rows=10, validation=6, features=8, classes=3, rates=1, l2=1, batch_size=4)
    products = 2 * 8 * 6 * (10 + 10 + 16)
    moved = 3 * 20 * 6 * 8 + 10 * (4 * 8 + 16 * 6) + 16 * (2 * 8 + 8 * 6)
    assert gpu.Card(1.0, np.inf).floor(job, 2) == products
    assert gpu.Card(np.inf, 1.0).floor(job, 2) == moved
