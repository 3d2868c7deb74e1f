"""PyTorch with the stack fused by hand: two addmm a batch over all models, no autograd."""

import torch

from benchmarks.contenders.torch_data import float32, measure_stack, tensors
from benchmarks.work import Epoch, Outcome, Problem


def prepare(problem: Problem) -> Epoch:
    """Return an epoch over the stacked weights (M·K, D)."""
    M, K, D = problem.weights.shape
    splits = tensors(problem)
    X, y = splits["train"]
    W = float32(problem.weights).view(M * K, D)
    b = float32(problem.biases).view(M * K)
    l2, rates = float32(problem.l2), float32(problem.learning_rates)
    decays = (1 - 2 * rates * l2).repeat_interleave(K)[:, None]
    batches = problem.batches()

    @torch.inference_mode()
    def epoch() -> Outcome:
        for rows in batches:
            X_batch, y_batch = X[rows], y[rows]
            B = len(y_batch)
            G = torch.addmm(b, X_batch, W.T).view(B, M, K).softmax(2)
            G.scatter_add_(2, y_batch[:, None, None].expand(B, M, 1), G.new_full((B, M, 1), -1.0))
            G *= rates[:, None] / B
            G = G.view(B, M * K)
            W.mul_(decays).addmm_(G.T, X_batch, alpha=-1)
            b.sub_(G.sum(0))
        return measure_stack(splits, W, b, l2, M)

    return epoch
