"""What the PyTorch contenders share: features (N, D) and labels (N,) as tensors, and curves."""

import numpy as np
import torch

from benchmarks.work import SPLITS, Outcome, Problem

Splits = dict[str, tuple[torch.Tensor, torch.Tensor]]
EVALUATION_ROWS = 1000


def tensors(problem: Problem) -> Splits:
    """Return both splits, features in float32."""
    return {
        split: (
            torch.from_numpy(problem.features(split, np.float32)),
            torch.from_numpy(problem.labels(split)),
        )
        for split in SPLITS
    }


def float32(array: np.ndarray) -> torch.Tensor:
    """Return a copy as a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))


def measure_stack(
    splits: Splits, W: torch.Tensor, b: torch.Tensor, l2: torch.Tensor, n_models: int
) -> Outcome:
    """Return the curves of the stack W (M·K, D), b (M·K,), block by block."""
    penalties = (l2 * W.square().view(n_models, -1).sum(1)).double()
    outcome = {}
    for split, (X, y) in splits.items():
        losses = torch.zeros(n_models, dtype=torch.float64)
        hits = torch.zeros(n_models, dtype=torch.int64)
        for X_block, y_block in zip(
            X.split(EVALUATION_ROWS), y.split(EVALUATION_ROWS), strict=True
        ):
            S = torch.addmm(b, X_block, W.T).view(len(y_block), n_models, -1)
            of_label = S.gather(2, y_block[:, None, None].expand(-1, n_models, 1))[..., 0]
            losses += (S.logsumexp(2) - of_label).sum(0)
            hits += (S.argmax(2) == y_block[:, None]).sum(0)
        outcome[f"{split}_loss"] = (losses / len(y)).tolist()
        outcome[f"{split}_cost"] = (losses / len(y) + penalties).tolist()
        outcome[f"{split}_accuracy"] = (hits / len(y)).tolist()
    return outcome
