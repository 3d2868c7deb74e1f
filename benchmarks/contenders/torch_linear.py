"""PyTorch the usual way: nn.Linear, cross_entropy, backward, SGD; one model after another."""

import torch
from torch.nn import functional

from benchmarks.contenders.torch_data import Splits, float32, tensors
from benchmarks.work import SPLITS, Epoch, Outcome, Problem, tabulate


def prepare(problem: Problem) -> Epoch:
    """Return an epoch of every model in turn."""
    splits = tensors(problem)
    batches = problem.batches()
    models = [_model(problem, model) for model in range(len(problem.settings))]

    def epoch() -> Outcome:
        rows = []
        for (layer, optimiser), l2 in zip(models, problem.l2, strict=True):
            _train(layer, optimiser, *splits["train"], batches)
            rows.append(_measure(layer, splits, float(l2)))
        return tabulate(rows)

    return epoch


def _model(problem: Problem, model: int) -> tuple[torch.nn.Linear, torch.optim.SGD]:
    """Return the layer and its optimiser; weight_decay is 2λ, on the weights alone."""
    _, K, D = problem.weights.shape
    layer = torch.nn.Linear(D, K)
    with torch.no_grad():
        layer.weight.copy_(float32(problem.weights[model]))
        layer.bias.copy_(float32(problem.biases[model]))
    groups = [
        {"params": [layer.weight], "weight_decay": 2 * float(problem.l2[model])},
        {"params": [layer.bias]},
    ]
    return layer, torch.optim.SGD(groups, lr=float(problem.learning_rates[model]))


def _train(
    layer: torch.nn.Linear,
    optimiser: torch.optim.SGD,
    X: torch.Tensor,
    y: torch.Tensor,
    batches: list[slice],
) -> None:
    for rows in batches:
        optimiser.zero_grad()
        functional.cross_entropy(layer(X[rows]), y[rows]).backward()
        optimiser.step()


@torch.inference_mode()
def _measure(layer: torch.nn.Linear, splits: Splits, l2: float) -> list[float]:
    penalty = l2 * float(layer.weight.square().sum())
    row = []
    for split in SPLITS:
        X, y = splits[split]
        S = layer(X)
        loss = float(functional.cross_entropy(S, y))
        row += [loss, loss + penalty, float((S.argmax(1) == y).float().mean())]
    return row
