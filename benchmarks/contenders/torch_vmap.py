"""PyTorch: torch.func.vmap over grad of a functional loss, plain SGD."""

import torch
from torch.func import grad, vmap
from torch.nn import functional

from benchmarks.contenders.torch_data import float32, measure_stack, tensors
from benchmarks.work import Epoch, Outcome, Problem

Parameters = tuple[torch.Tensor, torch.Tensor]


def prepare(problem: Problem) -> Epoch:
    """Return an epoch over W (M, K, D) and b (M, K)."""
    M, K, D = problem.weights.shape
    splits = tensors(problem)
    X, y = splits["train"]
    W, b = float32(problem.weights), float32(problem.biases)
    l2, rates = float32(problem.l2), float32(problem.learning_rates)
    batches = problem.batches()
    gradients = vmap(grad(_cost), in_dims=(0, 0, None, None))

    @torch.no_grad()
    def epoch() -> Outcome:
        for rows in batches:
            dW, db = gradients((W, b), l2, X[rows], y[rows])
            W.sub_(rates[:, None, None] * dW)
            b.sub_(rates[:, None] * db)
        return measure_stack(splits, W.view(M * K, D), b.view(M * K), l2, M)

    return epoch


def _cost(
    parameters: Parameters, l2: torch.Tensor, X: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return equation (5) of one model, W (K, D) and b (K,)."""
    W, b = parameters
    return functional.cross_entropy(X @ W.T + b, y) + l2 * W.square().sum()
