"""The two matrix products of a step, in float32, TF32 or with factors of bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Products:
    """Products with a stack W (M·K, D) on a device; sums have the type of the models."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self._precision, self._device = precision, device

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Use this precision for products of float32, whatever PyTorch is set to in the process."""
        backend = self._backend()
        if backend is None:
            yield
            return
        before = backend.fp32_precision
        backend.fp32_precision = "tf32" if self._precision == "tf32" else "ieee"
        try:
            yield
        finally:
            backend.fp32_precision = before

    def scores(self, X: Tensor, W: Tensor, b: Tensor) -> Tensor:
        """Return X Wᵀ + b, (B, M·K)."""
        if self._precision == "bfloat16":
            return self._rounded(X, W.T).add_(b)
        return torch.addmm(b, X, W.T)

    def accumulate(self, P: Tensor, G: Tensor, X: Tensor, beta: float, alpha: float) -> None:
        """Set P (M·K, D) to β P + α Gᵀ X."""
        if self._precision == "bfloat16":
            P.mul_(beta).add_(self._rounded(G.T, X), alpha=alpha)
        else:
            P.addmm_(G.T, X, beta=beta, alpha=alpha)

    def _rounded(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product in float32 of factors that are rounded to bfloat16."""
        left, right = left.bfloat16(), right.bfloat16()
        if self._device.type == "cuda":
            return torch.mm(left, right, out_dtype=torch.float32)
        return left.float() @ right.float()  # the CPU has no such product: slower, the same numbers

    def _backend(self) -> Any:
        kinds: dict[str, Any] = {"cuda": torch.backends.cuda, "cpu": torch.backends.mkldnn}
        return getattr(kinds.get(self._device.type), "matmul", None)
