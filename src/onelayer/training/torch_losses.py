"""The losses of model/losses.py on tensors: scores (B, M, K), labels y (B,).

Softmax is written out, since PyTorch's own is slow for few classes on a CPU; torch.compile turns it
into one pass.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from onelayer.errors import InputError
from onelayer.model.losses import BinaryCrossEntropy, CrossEntropy, Hinge


class TorchLoss(NamedTuple):
    """Values (B, M) and slopes (B, M, K) of scores (B, M, K)."""

    values: Callable[[Tensor, Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(S: Tensor, y: Tensor) -> Tensor:
    Z = S - S.amax(dim=2, keepdim=True)
    return Z.exp().sum(dim=2).log() - _of_label(Z, y)


def _cross_entropy_slopes(S: Tensor, y: Tensor) -> Tensor:
    E = (S - S.amax(dim=2, keepdim=True)).exp()
    return E / E.sum(dim=2, keepdim=True) - _own(S, y).to(S.dtype)


def _hinge(S: Tensor, y: Tensor) -> Tensor:
    return _margins(S, y).clamp(min=0).sum(dim=2)


def _hinge_slopes(S: Tensor, y: Tensor) -> Tensor:
    violated = (_margins(S, y) > 0).to(S.dtype)
    return torch.where(_own(S, y), -violated.sum(dim=2, keepdim=True), violated)


def _binary(S: Tensor, y: Tensor) -> Tensor:
    softplus = -functional.logsigmoid(-S)
    return (softplus.sum(dim=2) - _of_label(S, y)) / S.shape[2]


def _binary_slopes(S: Tensor, y: Tensor) -> Tensor:
    return (torch.sigmoid(S) - _own(S, y).to(S.dtype)) / S.shape[2]


def _margins(S: Tensor, y: Tensor) -> Tensor:
    """Return s_j − s_y + 1, and 0 at y."""
    return torch.where(_own(S, y), 0, S - _of_label(S, y)[..., None] + 1)


def _of_label(S: Tensor, y: Tensor) -> Tensor:
    """Return the score of every row's own class, (B, M)."""
    return S.gather(2, y[:, None, None].expand(-1, S.shape[1], 1))[..., 0]


def _own(S: Tensor, y: Tensor) -> Tensor:
    """Return whether a class is the row's own, (B, 1, K)."""
    return torch.arange(S.shape[2], device=S.device) == y[:, None, None]


TORCH_LOSSES = {
    CrossEntropy.name: TorchLoss(_cross_entropy, _cross_entropy_slopes),
    Hinge.name: TorchLoss(_hinge, _hinge_slopes),
    BinaryCrossEntropy.name: TorchLoss(_binary, _binary_slopes),
}
Groups = Sequence[tuple[TorchLoss, Tensor | None]]  # each loss and its models; None: all models


def check_losses(names: Iterable[str]) -> None:
    """Raise InputError if a loss is not written for PyTorch."""
    for name in names:
        if name not in TORCH_LOSSES:
            raise InputError(f"engine torch has no loss {name!r}; engine numpy trains it")


def scaled_slopes(
    groups: Groups, S: Tensor, y: Tensor, factor: Tensor, stopped: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """Return dl/ds (B, M, K) times a factor (M,) or (B, M), and when models were stopped (M,).

    A model with a score that is not finite is stopped in this step; its slopes are 0.
    """
    if not len(S):  # a rank may have no rows of this batch
        return S, stopped
    low, high = S.aminmax(dim=2)
    sound = low.amin(dim=0).isfinite() & high.amax(dim=0).isfinite()  # NaN passes through both
    stopped = torch.where(sound | (stopped > 0), stopped, step)
    G = _by_loss(groups, "slopes", S, y) * factor[..., None]
    return torch.where((stopped == 0)[:, None], G, 0), stopped


def values_and_hits(groups: Groups, S: Tensor, y: Tensor) -> Tensor:
    """Return l, and 1 where the prediction is right, (2, B, M), for scores (B, M, K)."""
    values = _by_loss(groups, "values", S, y)
    return torch.stack((values, (S.argmax(dim=2) == y[:, None]).to(S.dtype)))


def _by_loss(groups: Groups, quantity: str, S: Tensor, y: Tensor) -> Tensor:
    """Return values or slopes of scores (B, M, K), each model by its own loss."""
    parts = [
        getattr(loss, quantity)(S if models is None else S[:, models], y) for loss, models in groups
    ]
    if len(parts) == 1:
        return parts[0]
    joined = S.new_empty(S.shape[: parts[0].ndim])
    for (_, models), part in zip(groups, parts, strict=True):
        joined[:, models] = part
    return joined
