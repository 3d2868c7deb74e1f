"""One contract for every engine: each model equals the float64 textbook, whatever the shapes."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made import make_data
from made_folder import write_folder
from onelayer.data import batches as batch_orders
from onelayer.data.batches import ORDERS
from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.evaluation.confusions import confusion_matrices
from onelayer.model import network
from onelayer.model.losses import LOSSES
from onelayer.training import compiled_engine
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine, kernel_trains
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.loop import train
from onelayer.training.machine import Machine
from onelayer.training.numpy_engine import NumpyEngine
from onelayer.training.run import CURVES

ENGINES = {
    "numpy": NumpyEngine,
    **{f"compiled-{w}": type("Compiled", (CompiledEngine,), {"width": w}) for w in WIDTHS},
}
if find_spec("torch"):
    from onelayer.training.torch_engine import TorchEngine
    from onelayer.training.torch_rows import RowsEngine

    # The second keeps splits on the device, as if that were not the processor itself.
    kept = {"free_bytes": classmethod(lambda cls: 10**12)}
    ENGINES |= {"torch": TorchEngine, "torch-kept": type("Kept", (TorchEngine,), kept)}
    ENGINES["torch-rows"] = RowsEngine  # of a rank that is alone, all rows
# Bounds on the weights (of size 0.1) after a few steps in float32.
BOUND = 2e-5

any_engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(engine, id=name, marks=[pytest.mark.torch] * name.startswith("torch"))
        for name, engine in ENGINES.items()
    ],
)


def problem(M, K, D, N=150, seed=0, stored=np.uint8, momentum=False):
    """Models of all losses, every second with momentum, every fourth Nesterov's, if asked."""
    generator = np.random.default_rng(seed)
    X = generator.integers(0, 256, (N, D)).astype(stored)
    scaling = Scaling("made", generator.uniform(0, 200, D), generator.uniform(0.001, 0.01, D))
    weights = generator.normal(0, 0.1, (M, K, D)).astype(np.float32)
    biases = generator.normal(0, 0.1, (M, K)).astype(np.float32)
    models = [
        Hyperparameters(
            l2=generator.uniform(0, 0.1),
            learning_rate=generator.uniform(0.001, 0.03),
            loss=list(LOSSES)[m % 3],
            momentum=0.7 if momentum and m % 2 else 0,
            nesterov=momentum and m % 4 == 3,
        )
        for m in range(M)
    ]
    return Split(X, generator.integers(0, K, N)), weights, biases, models, scaling


def rates_of(models):
    return np.array([model.learning_rate for model in models])


def textbook_steps(X, y, W, b, setting, batches, weights=None):
    """Equations (8) to (11) step by step, with v ← μ v + g where there is momentum."""
    speed_W, speed_b, rate = 0 * W, 0 * b, setting.learning_rate
    for rows in batches:
        w = None if weights is None else weights[rows].astype(float)
        if w is not None and not w.any():
            continue
        kind = LOSSES[setting.loss]
        dW, db = network.gradients(X[rows], y[rows], W, b, setting.l2, kind, w)
        speed_W, speed_b = setting.momentum * speed_W + dW, setting.momentum * speed_b + db
        if setting.nesterov:
            dW, db = dW + setting.momentum * speed_W, db + setting.momentum * speed_b
        else:
            dW, db = speed_W, speed_b
        W, b = W - rate * dW, b - rate * db
    return W, b


def check_against_textbook(
    engine, M, K, D, batch, stored=np.uint8, shuffled=False, weigh=None, momentum=False
):
    split, weights, biases, models, scaling = problem(M, K, D, stored=stored, momentum=momentum)
    stack = engine(weights, biases, settings=models, scaling=scaling)
    X, y, rates = scaling.apply(split.X), split.y, rates_of(models)
    order = np.random.default_rng(1).permutation(len(split)) if shuffled else np.arange(len(split))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    w = None if weigh is None else SampleWeights(weigh(M, len(split)), np.arange(M))
    for rows in batches:
        chosen = rows if shuffled else slice(rows[0], rows[-1] + 1)
        stack.step(split, chosen, rates, None if w is None else w.of(chosen))
    got_weights, got_biases = stack.parameters()
    losses, accuracies = stack.evaluate(split, w)
    penalties = stack.penalties()
    for m, setting in enumerate(models):
        own = None if w is None else w.values[m].astype(float)
        start = weights[m].astype(float), biases[m].astype(float)
        W, b = textbook_steps(X, y, *start, setting, batches, own)
        np.testing.assert_allclose(got_weights[m], W, rtol=0, atol=BOUND)
        np.testing.assert_allclose(got_biases[m], b, rtol=0, atol=BOUND)
        S = network.scores(X, got_weights[m].astype(float), got_biases[m].astype(float))
        expected = network.loss(S, y, LOSSES[setting.loss], own)
        assert losses[m] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        right = np.average(network.predictions(S) == y, weights=own)
        assert accuracies[m] == pytest.approx(right, abs=0.02)
        assert penalties[m] == pytest.approx(setting.l2 * np.sum(got_weights[m].astype(float) ** 2))


def masks(M, N):
    """A fifth of the rows is held out, another for each model; and whole batches for the first."""
    held_out = np.random.default_rng(2).integers(0, 5, (M, N)) == 0
    held_out[0, :60] = True
    return (~held_out).astype(np.uint8)


def counts(M, N):
    return np.random.default_rng(3).poisson(1.0, (M, N)).astype(np.uint8)


def reals(M, N):
    return np.random.default_rng(4).gamma(1.0, 1.0, (M, N))


WEIGHTS = {"masks": masks, "counts": counts, "reals": reals}


@any_engine
@pytest.mark.parametrize("M", [1, 3, 20, 100])
@pytest.mark.parametrize("K", [2, 10])
def test_every_number_of_models_equals_the_textbook(engine, M, K):
    check_against_textbook(engine, M, K, D=37, batch=40)


@any_engine
def test_a_thousand_classes_equal_the_textbook(engine):
    check_against_textbook(engine, 1, 1000, D=20, batch=64)


@any_engine
@pytest.mark.parametrize("D", [1, 15, 16, 17, 1151, 1152, 3072])
def test_every_number_of_features_equals_the_textbook(engine, D):
    check_against_textbook(engine, 2, 3, D, batch=50)


@any_engine
@pytest.mark.parametrize("stored", [np.uint8, np.int16, np.float32, np.float64, bool])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_stored_type_equals_the_textbook(engine, stored, shuffled):
    check_against_textbook(engine, 2, 4, D=33, batch=47, stored=stored, shuffled=shuffled)


@any_engine
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(2, 9), st.integers(1, 70), st.integers(1, 150), st.booleans())
def test_any_shape_equals_the_textbook(engine, M, K, D, batch, shuffled):
    check_against_textbook(engine, M, K, D, batch, shuffled=shuffled)


@any_engine
@pytest.mark.parametrize("weigh", WEIGHTS.values(), ids=WEIGHTS.keys())
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("M", [1, 7])
def test_weights_of_samples_and_momentum_equal_the_textbook(engine, weigh, momentum, M):
    check_against_textbook(engine, M, 5, D=37, batch=33, weigh=weigh, momentum=momentum)


@any_engine
def test_momentum_beside_models_without_it_equals_the_textbook(engine):
    check_against_textbook(engine, 12, 4, D=21, batch=30, momentum=True, shuffled=True)


@any_engine
def test_rows_without_weight_come_back_as_they_were_scored_before_the_step(engine):
    split, weights, biases, models, scaling = problem(6, 4, 30)
    stack = engine(weights, biases, settings=models, scaling=scaling)
    rows, w = slice(20, 90), masks(6, 70)
    w[5] = 1
    stack.step(split, rows, rates_of(models), w)
    held_out = stack.take_held_out()
    X, y = scaling.apply(split.X[rows]), split.y[rows]
    for m, setting in enumerate(models):
        S = network.scores(X, weights[m].astype(float), biases[m].astype(float))
        out = w[m] == 0
        losses = LOSSES[setting.loss].values(S, y)[out]
        assert held_out.loss[m] == pytest.approx(losses.sum(), rel=1e-5)
        assert held_out.hits[m] == (network.predictions(S) == y)[out].sum()
        assert held_out.rows[m] == out.sum()
    stack.step(split, rows, rates_of(models))
    assert stack.take_held_out() is None


@any_engine
@pytest.mark.parametrize("momentum", [False, True])
def test_a_model_with_the_rate_0_or_no_weights_stays_as_it_is(engine, momentum):
    split, weights, biases, models, scaling = problem(4, 3, 20, momentum=momentum)
    stack = engine(weights, biases, settings=models, scaling=scaling)
    stack.step(split, slice(0, 40), rates_of(models))  # speed, where there is momentum
    before = stack.parameters()
    w = np.ones((4, 50))
    w[1] = 0
    stack.step(split, slice(40, 90), rates_of(models) * [1, 1, 1, 0], w)
    moved = [(old != new).any() for old, new in zip(before[0], stack.parameters()[0], strict=True)]
    assert moved == [True, False, True, False]
    np.testing.assert_array_equal(before[1][[1, 3]], stack.parameters()[1][[1, 3]])


@any_engine
@pytest.mark.parametrize("N", [1, 95, 96, 97, 500, 501])
def test_evaluation_covers_every_row_once(engine, N):
    split, weights, biases, models, scaling = problem(3, 4, 25, N=N)
    losses, hits = engine(weights, biases, settings=models, scaling=scaling).evaluate(split)
    for m, setting in enumerate(models):
        S = network.scores(scaling.apply(split.X), weights[m].astype(float), biases[m])
        expected = network.loss(S, split.y, LOSSES[setting.loss])
        assert losses[m] == pytest.approx(expected, rel=1e-5)
        assert hits[m] == np.mean(network.predictions(S) == split.y)


@any_engine
@pytest.mark.parametrize("K", [2, 3, 17])
def test_equal_scores_cost_log_k_and_predict_the_first_class(engine, K):
    split, weights, biases, _, scaling = problem(2, K, 20)
    models = [Hyperparameters()] * 2
    stack = engine(0 * weights, 0 * biases, settings=models, scaling=scaling)
    losses, hits = stack.evaluate(split)
    assert losses == pytest.approx(np.log(K), rel=3e-7)
    np.testing.assert_array_equal(hits, np.mean(split.y == 0))


@any_engine
def test_rows_of_a_strided_read_only_view_are_read_in_place(engine):
    split, weights, biases, models, scaling = problem(2, 3, 40)
    records = np.zeros((len(split), 41), np.uint8)
    records[:, 1:] = split.X
    records.flags.writeable = False
    stacks = [engine(weights, biases, settings=models, scaling=scaling) for _ in "12"]
    for stack, X in zip(stacks, (split.X, records[:, 1:]), strict=True):
        stack.step(Split(X, split.y), np.array([5, 3, 140, 7]), rates_of(models))
        stack.step(Split(X, split.y), slice(10, 31), rates_of(models))
    for ours, theirs in zip(*(stack.parameters() for stack in stacks), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@any_engine
@pytest.mark.parametrize("momentum", [False, True])
def test_a_model_that_overflows_keeps_its_weights_and_harms_no_other(engine, momentum):
    split, weights, biases, models, scaling = problem(3, 4, 50, momentum=momentum)
    wild = weights.copy()
    wild[1] = np.sign(wild[1]) * 3e38
    stack = engine(wild, biases, settings=models, scaling=scaling)
    calm = engine(weights[[0, 2]], biases[[0, 2]], settings=models[::2], scaling=scaling)
    for start in (0, 50, 100):
        rows = slice(start, start + 50)
        stack.step(split, rows, rates_of(models))
        np.testing.assert_array_equal(stack.steps_until_stopped(), [0, 1, 0])
        calm.step(split, rows, rates_of(models[::2]))
    got, expected = stack.parameters()[0], calm.parameters()[0]
    np.testing.assert_array_equal(got[1], wild[1])
    np.testing.assert_allclose(got[[0, 2]], expected, rtol=0, atol=1e-6)
    losses = stack.evaluate(split).loss
    assert np.isfinite(losses).tolist() == [True, False, True]


@any_engine
def test_huge_but_finite_scores_have_a_finite_loss(engine):
    split, weights, biases, models, scaling = problem(3, 3, 4)
    weights *= 1e30
    stack = engine(weights, biases, settings=models, scaling=scaling)
    stack.step(split, slice(0, 10), rates_of(models))
    assert not stack.steps_until_stopped().any()
    assert np.isfinite(stack.evaluate(split).loss).all()


@any_engine
@pytest.mark.parametrize("momentum", [False, True])
def test_a_loaded_state_goes_on_with_the_same_bits(engine, momentum):
    split, weights, biases, models, scaling = problem(4, 3, 50, momentum=momentum)
    weights[1] = np.sign(weights[1]) * 3e38  # one that is stopped in step 1
    stack = engine(weights, biases, settings=models, scaling=scaling)
    for start in (0, 40):
        stack.step(split, slice(start, start + 40), rates_of(models))
        stack.remember(np.array([start == 0, False, True, False]))
    state = stack.state()
    other = engine(0 * weights, 0 * biases, settings=models, scaling=scaling)
    other.load(state)
    for one in (stack, other):
        one.step(split, slice(80, 120), rates_of(models))
    for name, array in stack.state().items():
        np.testing.assert_array_equal(other.state()[name], array, err_msg=name)
    assert other.steps_until_stopped().tolist() == [0, 1, 0, 0]
    other.recall(np.array([True, False, True, False]))
    stack.recall(np.array([True, False, True, False]))
    for ours, theirs in zip(other.parameters(), stack.parameters(), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@any_engine
def test_a_loaded_state_goes_on_with_the_sums_over_rows_without_weight(engine):
    split, weights, biases, models, scaling = problem(3, 3, 50)
    stack, other = (engine(weights, biases, settings=models, scaling=scaling) for _ in range(2))
    counted = np.random.default_rng(0).integers(0, 2, (3, 40)).astype(float)
    stack.step(split, slice(0, 40), rates_of(models), counted)
    other.load(stack.state())
    for one in (stack, other):
        one.step(split, slice(40, 80), rates_of(models), counted)
    for ours, theirs in zip(other.take_held_out(), stack.take_held_out(), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert "held_out" not in stack.state()  # they were taken


@any_engine
def test_each_model_recalls_what_was_remembered_of_it(engine):
    split, weights, biases, models, scaling = problem(3, 3, 50)
    stack = engine(weights, biases, settings=models, scaling=scaling)
    seen = []
    for step in range(3):
        stack.remember(np.arange(3) >= step)  # model m for the last time in step m
        seen.append(stack.parameters())
        stack.step(split, slice(40 * step, 40 * step + 40), rates_of(models))
    last = stack.parameters()
    stack.recall(np.array([True, True, False]))
    for m, (W, b) in enumerate([seen[0], seen[1], last]):
        np.testing.assert_array_equal(stack.parameters()[0][m], W[m])
        np.testing.assert_array_equal(stack.parameters()[1][m], b[m])


@any_engine
def test_weighted_accuracies_are_never_above_1(engine):
    split, weights, biases, _, scaling = problem(2, 2, 3, N=997)
    models = [Hyperparameters()] * 2
    right = Split(split.X, np.zeros(997, np.intp))
    stack = engine(0 * weights, 0 * biases, settings=models, scaling=scaling)
    for seed in range(20):
        w = np.random.default_rng(seed).gamma(1.0, 1.0, (1, 997))
        accuracy = stack.evaluate(right, SampleWeights(w, np.zeros(2, np.intp))).accuracy
        assert (accuracy <= 1).all()
        assert accuracy == pytest.approx(1, abs=1e-6)


LAYOUTS = {
    "one mapped file": {},
    "ragged shards": {"train": (1, 250, 3, 199, 247), "validation": (699, 1)},
    "shards smaller than a batch": {"train": (7,) * 100, "validation": (350, 350)},
}


@any_engine
@pytest.mark.parametrize("stored", [np.float32, np.float64, np.int64, np.float16])
def test_features_far_from_0_keep_their_digits(engine, stored):
    generator = np.random.default_rng(0)
    size, unit = {np.float16: (1000.0, 0.5), np.float32: (1.6e9, 128.0)}.get(stored, (1.6e9, 1.0))
    units = generator.integers(0, 9, (80, 40))
    X = (size + unit * units).astype(stored)
    scaling = Scaling("made", size + unit * units.mean(axis=0), 1 / (unit * units.std(axis=0)))
    y, setting = generator.integers(0, 3, 80), Hyperparameters(learning_rate=0.1)
    stack = engine(
        np.zeros((1, 3, 40), np.float32), np.zeros((1, 3), np.float32),
        settings=[setting], scaling=scaling,
    )  # fmt: skip
    stack.step(Split(X, y), slice(0, 80), np.array([0.1]))
    Z = (units - units.mean(axis=0)) / units.std(axis=0)
    W, b = textbook_steps(Z, y, np.zeros((3, 40)), np.zeros(3), setting, [slice(None)])
    np.testing.assert_allclose(stack.parameters()[0][0], W, rtol=0, atol=1e-7)
    loss = network.loss(network.scores(Z, W, b), y, LOSSES["cross-entropy"])
    assert stack.evaluate(Split(X, y)).loss[0] == pytest.approx(loss, abs=1e-6)


@any_engine
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("stored", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("sizes", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_mapped_files_give_the_bits_of_memory(tmp_path, monkeypatch, engine, order, stored, sizes):
    # Small windows, and for what is mapped small pieces: none may show in the result.
    monkeypatch.setattr(batch_orders, "RUN", 16)
    monkeypatch.setattr(batch_orders, "WINDOW", 5)
    full_scale = 255.0 if stored is np.uint8 else 1.0
    data = make_data(N=700, D=37, dtype=stored, full_scale=full_scale)
    mapped = load_dataset(write_folder(tmp_path, data, sizes))
    models = grid(l2=[0.1], learning_rate=[0.05], loss=[*LOSSES])
    for scaling in ("unit", "standardise"):
        protocol = {"batch_size": 47, "epochs": 2, "scaling": scaling, "engine": engine}
        expected = train(data, models, order=order, **protocol)
        with monkeypatch.context() as pieces:
            pieces.setattr(compiled_engine, "_EVALUATION_BLOCKS", 2)
            got = train(mapped, models, order=order, **protocol)
        assert got.weights.tobytes() == expected.weights.tobytes()
        assert got.biases.tobytes() == expected.biases.tobytes()
        for name in CURVES:
            curve = getattr(expected.history, name)
            assert getattr(got.history, name).tobytes() == curve.tobytes(), name
        ours, theirs = confusion_matrices(got, mapped.test), confusion_matrices(got, data.test)
        np.testing.assert_array_equal(ours.cells, theirs.cells)
        np.testing.assert_array_equal(ours.counts, theirs.counts)


@pytest.mark.skipif(not WIDTHS, reason="no compiled engine on this machine")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_compiled_engines_bits_do_not_depend_on_the_threads(width, threads):
    data = make_data(N=300, D=2000, K=10)
    protocol = {"batch_size": 70, "epochs": 2, "engine": ENGINES[f"compiled-{width}"]}
    models = grid(l2=[0, 0.1], learning_rate=[0.01, 0.1])
    one, many = (train(data, models, threads=count, **protocol) for count in (1, threads))
    assert one.weights.tobytes() == many.weights.tobytes()
    assert one.history.train_loss.tobytes() == many.history.train_loss.tobytes()
    assert (one.provenance["threads"], many.provenance["threads"]) == (1, threads)


HEADER = Path(sysconfig.get_path("include"), "Python.h")


@pytest.mark.skipif(
    platform.machine() != "x86_64"
    or sys.platform != "linux"
    or not (shutil.which("gcc") and HEADER.is_file()),
    reason="needs gcc and Python's headers on Linux, x86-64",
)
def test_the_kernel_was_built_where_there_is_a_compiler():
    assert find_spec("onelayer.training._kernel") is not None


def test_float64_is_trained_with_numpy():
    assert Machine().find_engine("float64", grid()) is NumpyEngine
    best = CompiledEngine if WIDTHS else NumpyEngine
    assert Machine().find_engine("float32", grid()) is best
    assert Machine(engine="numpy").find_engine("float32", grid()) is NumpyEngine


@pytest.mark.skipif(not WIDTHS, reason="this machine has no compiled kernel")
def test_the_kernel_has_every_loss_of_the_package_and_no_other():
    assert all(kernel_trains(loss) for loss in LOSSES)
    assert not kernel_trains("squared-error")


def widths_allowed_by(kernel):
    code = "from onelayer.training.compiled_engine import WIDTHS; print(*WIDTHS)"
    environment = os.environ | {"ONELAYER_KERNEL": kernel}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    if done.returncode:
        raise InputError(done.stderr.decode())
    return list(map(int, done.stdout.split()))


def test_the_kernel_is_no_wider_than_the_environment_allows():
    every = widths_allowed_by("avx512")
    assert every == widths_allowed_by("")
    assert widths_allowed_by("avx2") == [width for width in every if width == 8]
    assert widths_allowed_by("none") == []
    with pytest.raises(InputError, match="unknown ONELAYER_KERNEL 'avx'; did you mean 'avx2'"):
        widths_allowed_by("avx")


def test_an_engine_that_is_unknown_or_cannot_train_this_is_refused():
    with pytest.raises(InputError, match="unknown engine 'numpi'; did you mean 'numpy'"):
        Machine(engine="numpi")
    if WIDTHS:
        with pytest.raises(InputError, match="dtype float64"):
            train(make_data(), grid(), engine="compiled", dtype="float64")


@pytest.mark.parametrize(
    "asked", [{"engine": "torch"}, {"device": "cuda"}], ids=["engine", "device"]
)
def test_without_pytorch_the_extra_is_named(monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        InputError, match=r"PyTorch is not installed: pip install 'onelayer\[torch\]'"
    ):
        Machine(**asked)


def test_a_device_that_is_no_name_is_refused_without_pytorch():
    with pytest.raises(
        InputError, match="device is 'gpu'; expected auto, cpu, cuda, cuda:N or mps"
    ):
        Machine(device="gpu")
    with pytest.raises(InputError, match="need engine torch; engine is 'numpy'"):
        Machine(engine="numpy", device="cuda:1")


def test_no_threads_are_refused():
    with pytest.raises(InputError, match="threads is 0"):
        train(make_data(), grid(), batch_size=10, threads=0)
