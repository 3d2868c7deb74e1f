"""The losses of model/losses.py on tensors: scores (B, M, K), labels as `own` (B, 1, K).

`own` is true at the class of a row.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from onelayer.errors import InputError


class TorchLoss(NamedTuple):
    """Values (B, M) and slopes (B, M, K) of scores (B, M, K)."""

    values: Callable[[Tensor, Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(S: Tensor, own: Tensor) -> Tensor:
    return -_of_label(functional.log_softmax(S, dim=2), own)


def _cross_entropy_slopes(S: Tensor, own: Tensor) -> Tensor:
    return functional.softmax(S, dim=2) - own.to(S.dtype)


def _hinge(S: Tensor, own: Tensor) -> Tensor:
    return _margins(S, own).clamp(min=0).sum(dim=2)


def _hinge_slopes(S: Tensor, own: Tensor) -> Tensor:
    violated = (_margins(S, own) > 0).to(S.dtype)
    return torch.where(own, -violated.sum(dim=2, keepdim=True), violated)


def _binary(S: Tensor, own: Tensor) -> Tensor:
    softplus = -functional.logsigmoid(-S)
    return (softplus.sum(dim=2) - _of_label(S, own)) / S.shape[2]


def _binary_slopes(S: Tensor, own: Tensor) -> Tensor:
    return (torch.sigmoid(S) - own.to(S.dtype)) / S.shape[2]


def _margins(S: Tensor, own: Tensor) -> Tensor:
    """Return s_j − s_y + 1, and 0 at y."""
    return torch.where(own, 0, S - _of_label(S, own)[..., None] + 1)


def _of_label(S: Tensor, own: Tensor) -> Tensor:
    """Return the number of every row's own class, (B, M)."""
    return torch.where(own, S, 0).sum(dim=2)


TORCH_LOSSES = {
    "cross-entropy": TorchLoss(_cross_entropy, _cross_entropy_slopes),
    "hinge": TorchLoss(_hinge, _hinge_slopes),
    "binary-cross-entropy": TorchLoss(_binary, _binary_slopes),
}
Groups = Sequence[tuple[TorchLoss, Tensor | None]]  # a loss and its models; None: all of them


def check_losses(names: Iterable[str]) -> None:
    """Raise InputError if a loss is not written for PyTorch."""
    for name in names:
        if name not in TORCH_LOSSES:
            raise InputError(f"engine torch has no loss {name!r}; engine numpy trains it")


def scaled_slopes(
    groups: Groups, S: Tensor, y: Tensor, factor: Tensor, stopped: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """Return dl/ds (B, M, K) times a factor (M,) or (B, M), and where models were stopped (M,).

    A model with a score that is not finite is stopped in this step; its slopes are 0.
    """
    low, high = S.aminmax(dim=2)
    unsound = ~(low.isfinite() & high.isfinite()).all(dim=0)
    stopped = torch.where(unsound & (stopped == 0), step, stopped)
    G = _by_loss(groups, "slopes", S, y) * factor[..., None]
    return torch.where((stopped == 0)[:, None], G, 0), stopped


def values_and_hits(groups: Groups, S: Tensor, y: Tensor) -> Tensor:
    """Return l, and 1 where the prediction is right, of scores (B, M, K), (2, B, M)."""
    values = _by_loss(groups, "values", S, y)
    return torch.stack((values, (S.argmax(dim=2) == y[:, None]).to(S.dtype)))


def _by_loss(groups: Groups, what: str, S: Tensor, y: Tensor) -> Tensor:
    """Return values or slopes of scores (B, M, K), each model by its own loss."""
    own = torch.arange(S.shape[2], device=S.device) == y[:, None, None]  # (B, 1, K)
    parts = [
        getattr(loss, what)(S if models is None else S[:, models], own) for loss, models in groups
    ]
    if len(parts) == 1:
        return parts[0]
    joined = S.new_empty(S.shape[: parts[0].ndim])
    for (_, models), part in zip(groups, parts, strict=True):
        joined[:, models] = part
    return joined
