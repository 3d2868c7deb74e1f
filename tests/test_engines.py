"""One contract for every engine: each model equals the float64 textbook, whatever the shapes."""

import platform
import shutil
import sys
from functools import partial
from importlib.util import find_spec

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
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.evaluation.metrics import confusion_matrices
from onelayer.model import network
from onelayer.training import compiled_engine
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine
from onelayer.training.engines import best_engine
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train
from onelayer.training.numpy_engine import NumpyEngine

ENGINES = {
    "numpy": NumpyEngine,
    **{f"compiled-{width}": partial(CompiledEngine, width=width) for width in WIDTHS},
}
# Bounds on the weights (of size 0.1) after a few steps in float32.
BOUND = 2e-5

any_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())


def problem(M, K, D, N=150, seed=0, stored=np.uint8):
    generator = np.random.default_rng(seed)
    X = generator.integers(0, 256, (N, D)).astype(stored)
    scaling = Scaling("made", generator.uniform(0, 200, D), generator.uniform(0.001, 0.01, D))
    weights = generator.normal(0, 0.1, (M, K, D)).astype(np.float32)
    biases = generator.normal(0, 0.1, (M, K)).astype(np.float32)
    options = {"l2": generator.uniform(0, 0.1, M), "learning_rates": generator.uniform(0, 0.05, M)}
    return Split(X, generator.integers(0, K, N)), weights, biases, options, scaling


def check_against_textbook(engine, M, K, D, batch, stored=np.uint8, shuffled=False):
    split, weights, biases, options, scaling = problem(M, K, D, stored=stored)
    stack = engine(weights, biases, scaling=scaling, **options)
    X = scaling.apply(split.X)
    order = np.random.default_rng(1).permutation(len(split)) if shuffled else np.arange(len(split))
    steps = [order[start : start + batch] for start in range(0, len(order), batch)]
    for rows in steps:
        stack.step(split, rows if shuffled else slice(rows[0], rows[-1] + 1))
    got_weights, got_biases = stack.parameters()
    losses, hits = stack.evaluate(split)
    penalties = stack.penalties()
    for m in range(M):
        W, b = weights[m].astype(float), biases[m].astype(float)
        l2, rate = options["l2"][m], options["learning_rates"][m]
        for rows in steps:
            W, b = network.descend(X[rows], split.y[rows], W, b, l2=l2, learning_rate=rate)
        np.testing.assert_allclose(got_weights[m], W, rtol=0, atol=BOUND)
        np.testing.assert_allclose(got_biases[m], b, rtol=0, atol=BOUND)
        S = network.scores(X, got_weights[m].astype(float), got_biases[m].astype(float))
        assert losses[m] == pytest.approx(network.loss(S, split.y), rel=1e-5)
        assert hits[m] == pytest.approx(np.mean(network.predictions(S) == split.y), abs=0.01)
        assert penalties[m] == pytest.approx(l2 * np.sum(got_weights[m].astype(float) ** 2))


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


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(2, 9), st.integers(1, 70), st.integers(1, 150), st.booleans())
def test_any_shape_equals_the_textbook(M, K, D, batch, shuffled):
    for engine in ENGINES.values():
        check_against_textbook(engine, M, K, D, batch, shuffled=shuffled)


@any_engine
@pytest.mark.parametrize("N", [1, 95, 96, 97, 500, 501])
def test_evaluation_covers_every_row_once(engine, N):
    split, weights, biases, options, scaling = problem(3, 4, 25, N=N)
    losses, hits = engine(weights, biases, scaling=scaling, **options).evaluate(split)
    for m in range(3):
        S = network.scores(scaling.apply(split.X), weights[m].astype(float), biases[m])
        assert losses[m] == pytest.approx(network.loss(S, split.y), rel=1e-5)
        assert hits[m] == np.mean(network.predictions(S) == split.y)


@any_engine
@pytest.mark.parametrize("K", [2, 3, 17])
def test_equal_scores_cost_log_k_and_predict_the_first_class(engine, K):
    split, weights, biases, options, scaling = problem(2, K, 20)
    losses, hits = engine(0 * weights, 0 * biases, scaling=scaling, **options).evaluate(split)
    assert losses == pytest.approx(np.log(K), rel=3e-7)
    np.testing.assert_array_equal(hits, np.mean(split.y == 0))


@any_engine
def test_rows_of_a_strided_read_only_view_are_read_in_place(engine):
    split, weights, biases, options, scaling = problem(2, 3, 40)
    records = np.zeros((len(split), 41), np.uint8)
    records[:, 1:] = split.X
    records.flags.writeable = False
    stacks = [engine(weights, biases, scaling=scaling, **options) for _ in "12"]
    for stack, X in zip(stacks, (split.X, records[:, 1:]), strict=True):
        stack.step(Split(X, split.y), np.array([5, 3, 140, 7]))
        stack.step(Split(X, split.y), slice(10, 31))
    for ours, theirs in zip(*(stack.parameters() for stack in stacks), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@any_engine
def test_a_model_that_overflows_keeps_its_weights_and_harms_no_other(engine):
    split, weights, biases, options, scaling = problem(3, 4, 50)
    wild = weights.copy()
    wild[1] = np.sign(wild[1]) * 3e38
    stack = engine(wild, biases, scaling=scaling, **options)
    calm = engine(
        weights[[0, 2]],
        biases[[0, 2]],
        scaling=scaling,
        **{name: values[[0, 2]] for name, values in options.items()},
    )
    for start in (0, 50, 100):
        rows = slice(start, start + 50)
        np.testing.assert_array_equal(stack.step(split, rows), [True, False, True])
        calm.step(split, rows)
    got, expected = stack.parameters()[0], calm.parameters()[0]
    np.testing.assert_array_equal(got[1], wild[1])
    np.testing.assert_allclose(got[[0, 2]], expected, rtol=0, atol=1e-6)
    losses = stack.evaluate(split).loss
    assert np.isfinite(losses).tolist() == [True, False, True]


@any_engine
def test_huge_but_finite_scores_have_a_finite_loss(engine):
    split, weights, biases, options, scaling = problem(1, 3, 4)
    weights *= 1e30
    stack = engine(weights, biases, scaling=scaling, **options)
    assert stack.step(split, slice(0, 10)).all()
    assert np.isfinite(stack.evaluate(split).loss).all()


LAYOUTS = {
    "one mapped file": {},
    "ragged shards": {"train": (1, 250, 3, 199, 247), "validation": (699, 1)},
    "shards smaller than a batch": {"train": (7,) * 100, "validation": (350, 350)},
}


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
    models = grid(l2=[0, 0.1], learning_rate=[0.01, 0.1])
    for scaling in ("unit", "standardise"):
        protocol = {"batch_size": 47, "epochs": 2, "scaling": scaling, "engine": engine}
        expected = train(data, models, order=order, **protocol)
        with monkeypatch.context() as pieces:
            pieces.setattr(compiled_engine, "_EVALUATION_BLOCKS", 2)
            got = train(mapped, models, order=order, **protocol)
        assert got.weights.tobytes() == expected.weights.tobytes()
        assert got.biases.tobytes() == expected.biases.tobytes()
        for name, curve in vars(expected.history).items():
            assert getattr(got.history, name).tobytes() == curve.tobytes(), name
        ours, theirs = confusion_matrices(got, mapped.test), confusion_matrices(got, data.test)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(not WIDTHS, reason="no compiled engine on this machine")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_compiled_engines_bits_do_not_depend_on_the_threads(width, threads):
    data = make_data(N=300, D=2000, K=10)
    protocol = {"batch_size": 70, "epochs": 2, "engine": partial(CompiledEngine, width=width)}
    models = grid(l2=[0, 0.1], learning_rate=[0.01, 0.1])
    one, many = (train(data, models, threads=count, **protocol) for count in (1, threads))
    assert one.weights.tobytes() == many.weights.tobytes()
    assert one.history.train_loss.tobytes() == many.history.train_loss.tobytes()
    assert (one.provenance["threads"], many.provenance["threads"]) == (1, threads)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux" or not shutil.which("gcc"),
    reason="needs gcc on Linux, x86-64",
)
def test_the_kernel_was_built_where_there_is_a_compiler():
    assert find_spec("onelayer.training._kernel") is not None


def test_float64_is_trained_with_numpy():
    assert best_engine("float64") is NumpyEngine
    assert best_engine("float32") is (CompiledEngine if WIDTHS else NumpyEngine)


def test_no_threads_are_refused():
    with pytest.raises(InputError, match="threads 0"):
        train(make_data(), grid(), batch_size=10, threads=0)
