"""The engine on PyTorch, for GPUs: the contract of NumpyEngine on tensors (M, K, D).

Nothing in a step waits for the device. Steps, stopped models and sums over held-out rows live
there. The order of an epoch, learning rates and sample weights are sent to it without a wait.
Learning rates and batch size are multiplied into the slopes. Where all models share their momentum
μ, v ← μ v + Gᵀ X is one product. On CUDA torch.compile makes one pass over the scores of what is
written here as several.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from onelayer.data.dataset import Split
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.training import torch_device
from onelayer.training.engine import Evaluation, HeldOut, Models, Opened, PerModel, Rows, State
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.torch_data import Feed, KeptSplit
from onelayer.training.torch_losses import (
    TORCH_LOSSES,
    Groups,
    check_losses,
    scaled_slopes,
    values_and_hits,
)
from onelayer.training.torch_products import Products

Array = NDArray[Any]
_ROUNDINGS = {"float32": 0.0, "tf32": 2.0**-10, "bfloat16": 2.0**-8}  # tf32 may cut digits off
_EVALUATED = {"cpu": 1 << 20}  # features and scores of a block to evaluate: they fit the cache
_ROWS = 1000  # of a batch, to estimate the memory of a stack when a split is opened


class TorchEngine:
    """A stack of M networks in PyTorch on one `device`, its products in one `precision`.

    Raises
    ------
    InputError
        If a loss of a setting is not written for PyTorch, or the device's memory runs out.
    """

    device = "cpu"
    precision = "float32"
    rounding = 0.0

    @classmethod
    def on(cls, device: str, precision: str) -> type[Self]:
        """Return this class for a device and a precision."""
        own = {"device": device, "precision": precision, "rounding": _ROUNDINGS[precision]}
        return type(cls.__name__, (cls,), own)

    @classmethod
    def origin(cls) -> dict[str, str]:
        """See OnDevice.origin."""
        device = torch_device.describe_device(cls.device)
        return {"device": device, "precision": cls.precision, "torch": torch.__version__}

    @classmethod
    def free_bytes(cls) -> int | None:
        """See OnDevice.free_bytes."""
        return torch_device.free_bytes(cls.device)

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        settings: Sequence[Hyperparameters],
        scaling: Scaling,
    ) -> None:
        self._shape = weights.shape
        self._device, self._dtype = torch.device(self.device), weights.dtype
        self._feed = Feed(self._device, scaling, self._dtype)
        self._products = Products(self.precision, self._device)
        # The type of sums over many rows: float64 if the device has it.
        self._double = torch.float32 if self._device.type == "mps" else torch.float64
        with self._at_work():
            self._W, self._b = self._tensor(weights), self._tensor(biases)  # (M, K, D), (M, K)
            self._stopped = torch.zeros(len(weights), dtype=torch.int64, device=self._device)
            self._steps = torch.zeros((), dtype=torch.int64, device=self._device)
            self._ones = torch.ones_like(self._W[:, 0, 0])
            self._momenta = self._momenta_at_rest(settings)
        self._l2 = np.array([setting.l2 for setting in settings])
        self._known_rates = np.full(len(weights), np.nan)
        self._held_out: Tensor | None = None  # (3, M): losses, hits, rows
        self._best: tuple[Tensor, Tensor] | None = None
        self._groups = self._losses_of(settings)
        self._slopes, self._found = self._fused(scaled_slopes), self._fused(values_and_hits)
        self._glide, self._follow = self._fused(_glide), self._fused(_follow)

    def open(self, split: Split) -> Opened:
        """See Engine.open: a split is kept on the device if it leaves room for the stack."""
        free = self.free_bytes()
        if free is None:
            return split
        M, K, D = self._shape
        with self._at_work():
            return self._feed.open(split, free - M * self.model_bytes(K, D, _ROWS))

    def step(self, data: Opened, rows: Rows, rates: PerModel, weights: Array | None = None) -> None:
        """See Engine.step: equations (8) to (11) for all models at once."""
        with self._at_work():
            X, y, at, count = self._batch(data, rows)
            S = self._scores(X)
            self._steps += 1
            shares = self._ones / count
            if weights is not None:
                totals = weights.sum(axis=1, dtype=np.float64)
                rates, weights = np.where(totals > 0, rates, 0), weights[:, at]
                shares = self._tensor((weights / np.where(totals > 0, totals, 1)[:, None]).T)
            self._set_rates(rates)
            factor = shares * self._rates if self._momenta is None else shares
            G, self._stopped = self._slopes(self._groups, S, y, factor, self._stopped, self._steps)
            if weights is not None:
                self._hold_out(S, y, self._tensor((weights == 0).T, bool))
            self._descend(X, G, every=bool((rates > 0).all()))

    def steps_until_stopped(self) -> NDArray[np.int64]:
        """See Engine.steps_until_stopped."""
        return as_array(self._stopped)

    def take_held_out(self) -> HeldOut | None:
        """See Engine.take_held_out."""
        taken, self._held_out = self._held_out, None
        return None if taken is None else HeldOut(*as_array(taken, np.float64))

    def evaluate(self, data: Opened, weights: SampleWeights | None = None) -> Evaluation:
        """See Engine.evaluate: block by block, the sums over blocks in float64."""
        loss, hits, totals = self._sums(data, weights)
        with np.errstate(invalid="ignore"):
            return Evaluation(loss / totals, np.minimum(hits / totals, 1))

    def _sums(self, data: Opened, weights: SampleWeights | None) -> Array:
        """Return the sums over a split of losses, correct predictions and weights, (3, M)."""
        M, K, D = self._shape
        split = data.split if isinstance(data, KeptSplit) else data
        sums, totals = torch.zeros((2, M), dtype=self._double, device=self._device), np.zeros(M)
        entries = _EVALUATED.get(self._device.type, 1 << 26)
        with self._at_work():
            for rows in split.blocks(max(1, entries // (D + M * K))):
                X, y = self._feed.batch(data, rows)
                found = self._found(self._groups, self._scores(X), y)
                if weights is not None:
                    w = weights.of(rows)
                    totals += w.sum(axis=1, dtype=np.float64)
                    found = found * self._tensor(w.T)
                sums += found.sum(dim=1, dtype=self._double)
        if weights is None:
            totals += len(split)
        return np.stack((*as_array(sums, np.float64), totals))

    def penalties(self) -> NDArray[np.float64]:
        """See Engine.penalties."""
        norms = torch.linalg.vector_norm(self._W, dim=(1, 2), dtype=self._double)
        with np.errstate(over="ignore"):
            return np.asarray(self._l2 * as_array(norms, np.float64) ** 2)

    def parameters(self) -> tuple[Array, Array]:
        """See Engine.parameters."""
        return as_array(self._W), as_array(self._b)

    def remember(self, models: Models) -> None:
        """See Engine.remember."""
        if self._best is None:
            self._best = self._W.clone(), self._b.clone()
        self._copy(models, (self._W, self._b), self._best)

    def recall(self, models: Models) -> None:
        """See Engine.recall."""
        if self._best is not None:
            self._copy(models, self._best, (self._W, self._b))

    def state(self) -> State:
        """See Engine.state."""
        kept = {name: as_array(tensor) for name, tensor in self._parts().items()}
        if self._held_out is not None:
            kept["held_out"] = as_array(self._held_out, np.float64)
        return kept | {"steps": as_array(self._steps), "stopped": as_array(self._stopped)}

    def load(self, state: Mapping[str, Array]) -> None:
        """See Engine.load."""
        if "best_weights" in state and self._best is None:
            self._best = torch.empty_like(self._W), torch.empty_like(self._b)
        for name, tensor in self._parts().items():
            tensor.copy_(self._tensor(state[name]))
        self._steps.fill_(int(state["steps"]))
        self._stopped = self._tensor(state["stopped"], np.int64)
        self._held_out = None
        if "held_out" in state:
            sums = torch.tensor(state["held_out"], dtype=self._double)
            self._held_out = self._feed.upload(sums)

    @staticmethod
    def model_bytes(n_classes: int, n_features: int, batch_size: int) -> int:
        """See MakeEngine.model_bytes.

        Counted in float64, a weight takes seven places: the initial draw, its copy in the models'
        precision, the weight itself, its velocity or gradient, the best weight, an intermediate
        value of the update, and the copy that is returned.
        """
        return n_classes * (n_features * 7 * 8 + 8 * 8 * batch_size)

    def _batch(self, data: Opened, rows: Rows) -> tuple[Tensor, Tensor, Rows, int]:
        """Return x and labels of a batch, their places in the batch, and its size."""
        X, y = self._feed.batch(data, rows)
        return X, y, slice(None), len(y)

    def _scores(self, X: Tensor) -> Tensor:
        """Return the scores (B, M, K)."""
        S = self._products.scores(X, self._W.flatten(0, 1), self._b.flatten())
        return S.view(len(X), *self._b.shape)

    def _set_rates(self, rates: PerModel) -> None:
        """Send learning rates (M,), and the decays that follow from them, if they are new."""
        if not np.array_equal(rates, self._known_rates):
            self._known_rates = rates.copy()
            self._rates = self._tensor(rates)
            self._decays = self._tensor(1 - 2 * rates * self._l2)

    def _descend(self, X: Tensor, G: Tensor, *, every: bool) -> None:
        """Take the step of X (B, D) and G (B, M, K); `every`: no model has a rate of 0."""
        G, sums, of = G.flatten(1), G.sum(dim=0), self._momenta
        if of is None:
            self._decay()
            self._products.accumulate(self._W.flatten(0, 1), G, X, beta=1, alpha=-1)
            self._b.sub_(sums)
        elif every and of.shared is not None:
            rates, twice_l2 = self._of_moving(self._rates), self._of_moving(of.twice_l2)
            self._products.accumulate(of.W.flatten(0, 1), G, X, beta=of.shared, alpha=1)
            of.b.mul_(of.shared).add_(sums)
            self._glide(self._W, of.W, rates[:, None], twice_l2[:, None])
            self._glide(self._b, of.b, rates, 0 * twice_l2)
        else:
            gradient = torch.zeros_like(self._W)
            self._products.accumulate(gradient.flatten(0, 1), G, X, beta=0, alpha=1)
            self._go_along(of, gradient, sums)

    def _decay(self) -> None:
        """Take the part of the step that is weight decay, if no model has momentum."""
        if self._l2.any():
            self._W.mul_(torch.where(self._stopped == 0, self._decays, 1)[:, None, None])

    def _of_moving(self, numbers: Tensor) -> Tensor:
        """Return numbers (M,) of the models as (M, 1), with 0 for those that were stopped."""
        return torch.where(self._stopped == 0, numbers, 0)[:, None]

    def _go_along(self, of: "_Momenta", gradient: Tensor, sums: Tensor) -> None:
        """Take a step with momentum from the gradients of the loss by W (M, K, D) and b (M, K)."""
        rates = self._of_moving(self._rates)
        gradient = gradient + self._of_moving(of.twice_l2)[:, None] * self._W
        momentum, nesterov = of.momentum[:, None], of.nesterov[:, None]
        self._follow(self._W, of.W, gradient, rates[:, None], momentum[:, None], nesterov[:, None])
        self._follow(self._b, of.b, sums, rates, momentum, nesterov)

    def _hold_out(self, S: Tensor, y: Tensor, held_out: Tensor) -> None:
        """Add the sums over the held-out rows (B, M), for models that were not stopped."""
        counted = torch.where(held_out & (self._stopped == 0), self._found(self._groups, S, y), 0)
        sums = torch.cat((counted, held_out[None])).sum(dim=1, dtype=self._double)
        self._held_out = sums if self._held_out is None else self._held_out + sums

    def _losses_of(self, settings: Sequence[Hyperparameters]) -> Groups:
        """Return each loss that occurs, with the numbers of its models."""
        names = np.array([setting.loss for setting in settings])
        check_losses(names)
        if (names == names[0]).all():
            return [(TORCH_LOSSES[names[0]], None)]
        return [
            (TORCH_LOSSES[name], self._tensor(np.flatnonzero(names == name), np.int64))
            for name in np.unique(names)
        ]

    def _momenta_at_rest(self, settings: Sequence[Hyperparameters]) -> "_Momenta | None":
        """Return momenta with velocities of 0; None if no model has momentum."""
        momentum = np.array([setting.momentum for setting in settings])
        if not momentum.any():
            return None
        nesterov = np.array([setting.nesterov for setting in settings])
        same = (momentum == momentum[0]).all() and not nesterov.any()
        return _Momenta(
            self._tensor(momentum),
            self._tensor(nesterov, bool),
            self._tensor([2 * setting.l2 for setting in settings]),
            float(momentum[0]) if same else None,
            torch.zeros_like(self._W),
            torch.zeros_like(self._b),
        )

    def _parts(self) -> dict[str, Tensor]:
        """Return the tensors that change from step to step, by their names in the state."""
        parts = {"weights": self._W, "biases": self._b}
        if self._momenta is not None:
            parts |= {"velocity_weights": self._momenta.W, "velocity_biases": self._momenta.b}
        if self._best is not None:
            parts |= {"best_weights": self._best[0], "best_biases": self._best[1]}
        return parts

    def _copy(self, models: Models, source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """Copy the rows of these models."""
        chosen = self._tensor(np.flatnonzero(models), np.int64)
        for old, new in zip(target, source, strict=True):
            old[chosen] = new[chosen]

    def _tensor(self, array: ArrayLike, dtype: Any = None) -> Tensor:
        """Return a copy on the device, in the type `dtype` or that of the models."""
        with np.errstate(over="ignore"):  # a model that overflows is found out and stopped
            return self._feed.upload(torch.from_numpy(np.array(array, dtype or self._dtype)))

    def _fused(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled to one pass, if CUDA and Triton are there."""
        there = find_spec("triton") and any(map(shutil.which, ("cc", "gcc", "clang")))
        return torch.compile(work) if self._device.type == "cuda" and there else work

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Multiply in the chosen precision; say in a line if memory runs out."""
        try:
            with self._products.allowed():
                yield
        except torch.OutOfMemoryError:
            raise InputError(
                f"device {self.device}: its memory ran out in a stack of {self._shape[0]:,} "
                "models; a smaller memory (--memory) cuts it into smaller stacks"
            ) from None


class _Momenta(NamedTuple):
    """Momentum, whether it is Nesterov's, and 2 λ of every model (M,); the velocities of W and b.

    `shared` is the momentum if all models have the same one and none has Nesterov's, else None.
    """

    momentum: Tensor
    nesterov: Tensor
    twice_l2: Tensor
    shared: float | None
    W: Tensor
    b: Tensor


def _glide(P: Tensor, v: Tensor, rates: Tensor, twice_l2: Tensor) -> None:
    """Add the weight decay to velocities v, which have the rest, and step along them."""
    v.addcmul_(P, twice_l2)
    P.addcmul_(v, rates, value=-1)


def _follow(
    P: Tensor, v: Tensor, gradient: Tensor, rates: Tensor, momentum: Tensor, nesterov: Tensor
) -> None:
    """Set v to μ v + g where the rate is not 0, and step along v, or g + μ v with Nesterov's."""
    v.copy_(torch.where(rates > 0, momentum * v + gradient, v))
    P.sub_(rates * torch.where(nesterov, gradient + momentum * v, v))


def as_array(tensor: Tensor, dtype: Any = None) -> Array:
    """Return a copy as an array."""
    return np.array(tensor.cpu().numpy(), dtype)
