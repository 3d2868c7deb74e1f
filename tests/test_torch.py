"""Losses, steps and schedules against PyTorch's of the same names; run by make test-torch."""

import numpy as np
import pytest

from made import make_data
from onelayer.data.catalog import load_dataset
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.losses import LOSSES
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.job import initial_parameters
from onelayer.training.loop import train
from onelayer.training.schedules import LearningRates

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
pytestmark = pytest.mark.torch


def theirs(name, scores, labels, weight=None):
    functional = torch.nn.functional
    if name == "cross-entropy":
        return functional.cross_entropy(scores, labels, weight=weight)
    if name == "hinge":
        return functional.multi_margin_loss(scores, labels) * scores.shape[1]
    one_hot = functional.one_hot(labels, scores.shape[1]).to(scores)
    return functional.binary_cross_entropy_with_logits(scores, one_hot)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(5))
def test_losses_and_their_gradients(name, seed):
    generator = np.random.default_rng(seed)
    S, y = generator.normal(size=(20, 7)) * 3, generator.integers(7, size=20)
    scores = torch.tensor(S, requires_grad=True)
    value = theirs(name, scores, torch.tensor(y))
    value.backward()
    assert network.loss(S, y, LOSSES[name]) == pytest.approx(value.item(), rel=1e-13)
    np.testing.assert_allclose(
        LOSSES[name].slopes(S, y) / 20, scores.grad.numpy(), rtol=1e-12, atol=1e-15
    )


def torch_run(data, setting, *, batch_size, epochs, scheduler=None, class_weights=None):
    """Train with torch.optim.SGD on the batches in file order; return W, b and the rates."""
    X = torch.tensor(data.train.X / 255)
    y = torch.tensor(data.train.y)
    V, u = torch.tensor(data.validation.X / 255), torch.tensor(data.validation.y)
    start = initial_parameters(data, [setting], seed=0)
    W, b = (torch.tensor(array[0], requires_grad=True) for array in start)
    groups = [{"params": [W], "weight_decay": 2 * setting.l2}, {"params": [b]}]
    optimizer = torch.optim.SGD(
        groups, setting.learning_rate, momentum=setting.momentum, nesterov=setting.nesterov
    )
    control = scheduler(optimizer) if scheduler else None
    plateau = isinstance(control, torch.optim.lr_scheduler.ReduceLROnPlateau)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            optimizer.zero_grad()
            theirs(setting.loss, X[rows] @ W.T + b, y[rows], class_weights).backward()
            optimizer.step()
        if plateau:
            control.step(theirs(setting.loss, V @ W.T + b, u).item())
        elif control:
            control.step()
    return W.detach().numpy(), b.detach().numpy(), rates


schedulers = {
    "constant": None,
    "exponential:0.9": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "step:3:0.1": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.1),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
    "plateau:1:0.3": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, "min", 0.3, 1),
}


@pytest.mark.parametrize("schedule", schedulers)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0, False), (0.8, False), (0.8, True)])
@pytest.mark.parametrize("loss", LOSSES)
def test_training_step_by_step(schedule, momentum, nesterov, loss):
    setting = Hyperparameters(
        0.01, 0.05, loss=loss, schedule=schedule, momentum=momentum, nesterov=nesterov
    )
    data, protocol = make_data(), {"batch_size": 10, "epochs": 10}
    W, b, rates = torch_run(data, setting, scheduler=schedulers[schedule], **protocol)
    run = train(data, [setting], dtype="float64", order="file", **protocol)
    np.testing.assert_allclose(run.weights[0], W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.biases[0], b, rtol=0, atol=1e-12)
    if not schedule.startswith("plateau"):
        control = LearningRates([setting], 10)
        np.testing.assert_allclose([control.of_epoch(e)[0] for e in range(10)], rates, rtol=1e-12)


def test_warm_up_is_linear_lr():
    def warm_up(optimizer):
        return torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)

    setting = Hyperparameters(0, 0.1, warmup=4)
    _, _, rates = torch_run(make_data(), setting, batch_size=10, epochs=8, scheduler=warm_up)
    control = LearningRates([setting], 8)
    np.testing.assert_allclose([control.of_epoch(e)[0] for e in range(8)], rates, rtol=1e-12)


def test_class_weights_weigh_as_in_cross_entropy():
    setting, own = Hyperparameters(0.01, 0.05), [0.5, 2.0, 1.0, 3.0]
    data, protocol = make_data(), {"batch_size": 10, "epochs": 5}
    W, _, _ = torch_run(data, setting, class_weights=torch.tensor(own).double(), **protocol)
    run = train(data, [setting], dtype="float64", order="file", class_weight=own, **protocol)
    np.testing.assert_allclose(run.weights[0], W, rtol=0, atol=1e-12)


def test_what_torch_saves_is_read_without_it(tmp_path):
    X = torch.arange(960.0).reshape(40, 24)
    y = torch.arange(40) % 3
    views = {
        "a view": torch.cat([X[:1], X])[1:], "transposed": X.T.contiguous().T,
        "every second": torch.repeat_interleave(X, 2, dim=1)[:, ::2], "learned": X.requires_grad_(),
        "a parameter": torch.nn.Parameter(X),
    }  # fmt: skip
    for held in [
        *({"features": view, "labels": y, "lr": 0.1, "big": 2**40} for view in views.values()),
        *({"X": X.detach().to(kind), "y": y.int()} for kind in (torch.float64, torch.int16)),
        (X, y), [X, y.tolist()],
        {"train": {"X": X[:30], "y": y[:30]}, "test": {"X": X[30:], "y": y[30:]}},
    ]:  # fmt: skip
        torch.save(held, tmp_path / "a.pt")
        if isinstance(held, list):
            with pytest.raises(InputError, match=r'a sequence of 2 items; torch.save\({"X": X'):
                load_dataset(tmp_path / "a.pt")
            continue
        data = load_dataset(tmp_path / "a.pt")
        rows = np.concatenate([split.X for split in data.splits.values()])
        np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], X.detach())


def test_bfloat16_and_half_precision_are_widened_as_torch_does(tmp_path):
    X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    for kind in (torch.bfloat16, torch.float16):
        torch.save({"X": X.to(kind), "y": torch.arange(40) % 2}, tmp_path / "a.pt")
        data = load_dataset(tmp_path / "a.pt")
        rows = np.concatenate([split.X for split in data.splits.values()])
        expected = X.to(kind).float().numpy()
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(expected, axis=0))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (torch.nn.Linear(2, 2), "holds 'torch.nn.modules.linear Linear', expected tensors alone"),
        (torch.nn.Linear(2, 2).state_dict(), "arrays: weight, bias; expected X and y"),
        (torch.ones(4, 2), "one tensor, without labels"),
        ({"X": torch.eye(4).to_sparse(), "y": torch.ones(4)}, "_rebuild_sparse_tensor"),
        ({"X": torch.ones(4, 2).to(torch.float8_e5m2), "y": torch.ones(4)}, "_rebuild_tensor_v3"),
    ],
)
def test_what_is_no_data_in_a_file_of_torch_is_told(held, message, tmp_path):
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path / "a.pt")
