"""One step of the engine against the numerical gradient: right ones pass, wrong ones do not."""

from importlib.util import find_spec

import numpy as np
import pytest

from made import make_data
from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling, fit_scaling
from onelayer.model import network
from onelayer.model.gradient_check import check_layer, draw_place
from onelayer.model.losses import LOSSES, Loss, find_loss
from onelayer.training import engine_check
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine
from onelayer.training.engine_check import check_engine
from onelayer.training.numpy_engine import NumpyEngine

DATA = make_data(N=120, D=40, K=5)
ENGINES = [
    pytest.param(NumpyEngine, "float32", id="numpy-float32"),
    pytest.param(NumpyEngine, "float64", id="numpy-float64"),
    pytest.param(
        CompiledEngine,
        "float32",
        id="kernel-float32",
        marks=pytest.mark.skipif(not WIDTHS, reason="this machine has no compiled kernel"),
    ),
]
if find_spec("torch"):
    from onelayer.training.torch_engine import TorchEngine

    ENGINES += [
        pytest.param(TorchEngine, dtype, id=f"torch-{dtype}", marks=pytest.mark.torch)
        for dtype in ("float32", "float64")
    ]


def check(engine, dtype, loss, scaling="unit", seed=0, data=DATA):
    return check_engine(
        engine, data.train, data.n_classes, fit_scaling(scaling, data),
        loss=loss, dtype=dtype, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("scaling", ["unit", "standardise"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("engine", "dtype"), ENGINES)
def test_every_engine_follows_every_loss_within_its_rounding(engine, dtype, loss, scaling):
    found = check(engine, dtype, loss, scaling)
    assert found.passed, str(found)
    assert found.telling
    rounding = 1e-3 if dtype == "float32" else 1e-12
    assert max(found.tolerance_W, found.tolerance_b) < rounding
    assert (found.engine, found.dtype, found.loss) == (engine.__name__, dtype, loss)


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_holds_at_other_places(seed):
    for dtype in ("float32", "float64"):
        for loss in LOSSES:
            assert check(NumpyEngine, dtype, loss, "standardise", seed).passed


def test_the_place_has_scores_of_order_one_and_biases_whatever_the_unit():
    X = np.random.default_rng(0).normal(5, 2, (50, 300))
    for unit in (1e-6, 1.0, 1e6):
        W, b = draw_place(X * unit, 10, seed=1)
        assert 0.5 < network.scores(X * unit, W, b).std() < 3
        assert np.abs(b).min() > 0
        np.testing.assert_array_equal(W, draw_place(X * unit, 10, seed=1)[0])


class _Wrong(NumpyEngine):
    """An engine that remembers where it began, for the faults to come."""

    def __init__(self, weights, biases, *, settings, scaling):
        super().__init__(weights, biases, settings=settings, scaling=scaling)
        self._first = weights, biases


class _DecaysHalf(_Wrong):
    def __init__(self, weights, biases, *, settings, scaling):
        super().__init__(weights, biases, settings=settings, scaling=scaling)
        self._l2 = self._l2 / 2


class _ForgetsBiases(_Wrong):
    def parameters(self):
        return super().parameters()[0], self._first[1]


class _DecaysBiases(_Wrong):
    def parameters(self):
        W, b = super().parameters()
        return W, 0.99 * b


class _OneEntryIsOff(_Wrong):
    def parameters(self):
        W, b = super().parameters()
        W[:, 2, 3] += 0.01 * np.abs(W - self._first[0]).max(axis=(1, 2))
        return W, b


class _NeverSteps(_Wrong):
    def step(self, split, rows, rates, weights=None):
        return super().step(split, rows, 0 * rates, weights)


class _DiesOut(_Wrong):
    def parameters(self):
        W, b = super().parameters()
        return W * np.nan, b


FAULTS = [
    _DecaysHalf, _ForgetsBiases, _DecaysBiases, _OneEntryIsOff, _NeverSteps, _DiesOut
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_wrong_engine_fails(fault, dtype, loss):
    found = check(fault, dtype, loss)
    assert not found.passed, str(found)
    assert "FAILED" in str(found)


@pytest.mark.parametrize("loss", ["hinge", "binary-cross-entropy"])
def test_an_engine_that_takes_another_loss_fails(loss):
    class TakesCrossEntropy(NumpyEngine):
        def __init__(self, weights, biases, *, settings, scaling):
            super().__init__(weights, biases, settings=settings, scaling=scaling)
            self._losses = [(find_loss("cross-entropy"), slice(None))]

    assert not check(TakesCrossEntropy, "float32", loss).passed


@pytest.mark.parametrize(("engine", "dtype"), ENGINES)
def test_far_from_0_an_engine_follows_the_gradient_as_well(engine, dtype):
    X = 1e8 + np.random.default_rng(0).integers(0, 2, (60, 30)).astype(np.float64)
    scaling = Scaling("standardise", np.full(30, 1e8 + 0.3), np.full(30, 2.0))
    found = check_engine(
        engine, Split(X, np.arange(60) % 3), 3, scaling, loss="cross-entropy", dtype=dtype
    )
    assert found.passed, str(found)
    assert found.telling


def test_at_a_kink_of_the_loss_the_check_says_that_it_cannot_tell(monkeypatch):
    """With equal scores and b = (1, 0) the margin of the hinge is 0: either slope is right."""
    kink = lambda X, K, seed: (np.ones((K, X.shape[1])), np.array([1.0, 0.0]))  # noqa: E731
    monkeypatch.setattr(engine_check, "draw_place", kink)
    split, scaling = (
        Split(np.ones((1, 3)), np.zeros(1, np.intp)),
        Scaling("none", np.zeros(3), np.ones(3)),
    )
    found = check_engine(NumpyEngine, split, 2, scaling, loss="hinge", dtype="float64")
    assert not found.telling
    assert "too large" in str(found)


def test_the_rows_are_those_that_are_asked_for_and_no_more_than_there_are():
    scaling = fit_scaling("unit", DATA)
    for images, used in ((7, 7), (10**6, 120)):
        found = check_engine(
            NumpyEngine, DATA.train, 5, scaling, loss="hinge", dtype="float64", images=images
        )
        assert found.images == used
        assert found.passed


class AbsoluteError(Loss):
    """Written with abs, which the complex step does not see."""

    name = "absolute-error"
    title = "absolute error and squares"

    def values(self, S, y):
        return np.abs(S - np.eye(S.shape[1])[y]).sum(axis=1) + (np.abs(S) ** 2).sum(axis=1) / 2

    def slopes(self, S, y):
        return np.sign(S - np.eye(S.shape[1])[y]) + S


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_the_complex_step_does_not_see_is_checked_by_differences(monkeypatch, seed):
    loss = AbsoluteError()
    monkeypatch.setitem(LOSSES, loss.name, loss)
    X, y = fit_scaling("unit", DATA).apply(DATA.train.X), DATA.train.y
    place = draw_place(X, DATA.n_classes, seed)
    found = check_layer(X, y, *place, 0.5, loss=loss.name)
    assert found.passed, str(found)
    assert found.method == "centred"
    for dtype in ("float32", "float64"):
        assert check(NumpyEngine, dtype, loss.name, seed=seed).passed
    monkeypatch.setattr(loss, "slopes", lambda S, y: AbsoluteError.slopes(loss, S, y) + 0.01 * S)
    assert not check_layer(X, y, *place, 0.5, loss=loss.name).passed
    assert not check(NumpyEngine, "float32", loss.name, seed=seed).passed
