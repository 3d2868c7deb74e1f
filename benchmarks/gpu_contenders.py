"""Who trains a stack on a device: ours, and what people write in PyTorch and JAX.

All hold the same features and labels on the device, begin with W = 0 and b = 0 and take steps of
SGD with momentum on the same batches, whose row numbers are on the device beforehand, but not for
ours: those of a user are not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onelayer import Hyperparameters, Split
from onelayer.data.derived import widened
from onelayer.data.scaling import Scaling
from onelayer.training.torch_engine import TorchEngine

MOMENTUM = 0.9
_ROWS = 4096  # that peers evaluate together


@dataclass(frozen=True)
class Problem:
    """Features (N, D) of float16 and labels (N,) of both splits on a device; η and λ (M,)."""

    device: str
    precision: str
    batch_size: int
    classes: int
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    rates: np.ndarray
    l2: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, K and D."""
        return len(self.rates), self.classes, self.train[0].shape[1]

    def column(self, values: np.ndarray) -> Tensor:
        """Return a number for each model on the device, (M, 1, 1)."""
        return torch.tensor(values, dtype=torch.float32, device=self.device)[:, None, None]


class Contender(Protocol):
    """A stack that steps and is evaluated."""

    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """Take a step on these rows of the training split; `there` has them on the device."""
        ...

    def evaluate(self) -> list[float]:
        """Return every model's mean loss on the validation split; counts hits, too."""
        ...


class Ours:
    """The package's engine, with the splits that it opened."""

    def __init__(self, problem: Problem, engine: type[TorchEngine] = TorchEngine) -> None:
        M, K, D = problem.shape
        settings = [
            Hyperparameters(float(l2), float(rate), momentum=MOMENTUM)
            for l2, rate in zip(problem.l2, problem.rates, strict=True)
        ]
        start = np.zeros((M, K, D), np.float32)
        make = engine.on(problem.device, problem.precision)
        scaling = Scaling("none", np.zeros(D), np.ones(D))
        self._stack = make(start, start[:, :, 0], settings=settings, scaling=scaling)
        self._rates = problem.rates
        self._train, self._validation = (
            self._stack.open(split_of(*split)) for split in (problem.train, problem.validation)
        )

    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """See Contender.step."""
        self._stack.step(self._train, rows, self._rates)

    def evaluate(self) -> list[float]:
        """See Contender.evaluate."""
        return self._stack.evaluate(self._validation).loss.tolist()


class Uncompiled(TorchEngine):
    """Our engine without torch.compile."""

    def _fused(self, work: Callable[..., Any]) -> Callable[..., Any]:
        return work


class Loop:
    """A list of nn.Linear, one summed loss, one SGD: the linear probes of DINOv2."""

    def __init__(self, problem: Problem) -> None:
        M, K, D = problem.shape
        self._problem = problem
        self._layers = [torch.nn.Linear(D, K, device=problem.device) for _ in range(M)]
        groups: list[dict[str, Any]] = []
        for layer, rate, l2 in zip(self._layers, problem.rates, problem.l2, strict=True):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
            groups.append({"params": [layer.weight], "lr": rate, "weight_decay": 2 * l2})
            groups.append({"params": [layer.bias], "lr": rate})
        self._optimiser = torch.optim.SGD(groups, momentum=MOMENTUM, foreach=True)

    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """See Contender.step."""
        X, y = (part[there] for part in self._problem.train)
        X = X.float()
        self._optimiser.zero_grad()
        sum(functional.cross_entropy(layer(X), y) for layer in self._layers).backward()
        self._optimiser.step()

    @torch.inference_mode()
    def evaluate(self) -> list[float]:
        """See Contender.evaluate."""
        return measure(self._problem, lambda X: torch.stack([f(X) for f in self._layers], dim=1))


class Stacked:
    """One addmm over W (M·K, D), slopes by hand, updates by torch._foreach."""

    def __init__(self, problem: Problem) -> None:
        M, K, D = problem.shape
        self._problem, make = problem, partial(torch.zeros, device=problem.device)
        self._W, self._b, self._v, self._u = make(M, K, D), make(M, K), make(M, K, D), make(M, K)
        self._decays = (2 * problem.l2).tolist()
        self._steps = (-problem.rates).tolist()

    def _scores(self, X: Tensor) -> Tensor:
        return torch.addmm(self._b.flatten(), X, self._W.flatten(0, 1).T).view(-1, *self._b.shape)

    @torch.inference_mode()
    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """See Contender.step."""
        X, y = (part[there] for part in self._problem.train)
        X = X.float()
        G = self._scores(X).softmax(2)
        one = G.new_full((1, 1, 1), -1.0)
        G.scatter_add_(
            2, y[:, None, None].expand(len(y), G.shape[1], 1), one.expand(*G.shape[:2], 1)
        )
        G /= len(y)
        gradient = (G.flatten(1).T @ X).view_as(self._W)
        decay = torch._foreach_mul(list(self._W), self._decays)
        torch._foreach_add_(list(gradient), decay)
        self._go(self._W, self._v, gradient)
        self._go(self._b, self._u, G.sum(0))

    def _go(self, P: Tensor, v: Tensor, gradient: Tensor) -> None:
        v.mul_(MOMENTUM).add_(gradient)
        torch._foreach_add_(list(P), torch._foreach_mul(list(v), self._steps))

    @torch.inference_mode()
    def evaluate(self) -> list[float]:
        """See Contender.evaluate."""
        return measure(self._problem, self._scores)


class LinearCrossEntropy:
    """F.linear_cross_entropy on W (K, M, D): PyTorch's own loss of a stack, with autograd."""

    def __init__(self, problem: Problem) -> None:
        M, K, D = problem.shape
        make = partial(torch.zeros, device=problem.device)
        self._problem, self._W, self._v = problem, make(K, M, D).requires_grad_(), make(K, M, D)
        self._rates = problem.column(problem.rates)[:, 0]
        self._decays = problem.column(2 * problem.l2)[:, 0]

    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """See Contender.step; it has no biases, which other contenders' cost hardly anything."""
        X, y = (part[there] for part in self._problem.train)
        y = y[:, None].expand(len(y), len(self._rates))
        loss = functional.linear_cross_entropy(X.float(), self._W, y, reduction="sum") / len(y)
        (gradient,) = torch.autograd.grad(loss, self._W)
        with torch.no_grad():
            self._v.mul_(MOMENTUM).add_(gradient).add_(self._decays * self._W)
            self._W.sub_(self._rates * self._v)

    @torch.inference_mode()
    def evaluate(self) -> list[float]:
        """See Contender.evaluate."""
        return measure(self._problem, lambda X: torch.einsum("bd,kmd->bmk", X, self._W))


class Jax:
    """JAX: vmap over grad of a functional loss, one jit a step; arrays shared by DLPack."""

    def __init__(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp

        M, K, D = problem.shape
        self._problem, self._jnp = problem, jnp
        share = partial(jax.tree.map, jnp.from_dlpack)
        self._train, self._validation = share(problem.train), share(problem.validation)
        self._state = [jnp.zeros((2, M, K, D)), jnp.zeros((2, M, K))]
        rates, l2 = jnp.float32(problem.rates), jnp.float32(problem.l2)

        def loss(W: Any, b: Any, X: Any, y: Any) -> Any:
            S = X @ W.T + b
            return (jax.nn.logsumexp(S, 1) - jnp.take_along_axis(S, y[:, None], 1)[:, 0]).mean()

        def step(state: Any, X: Any, y: Any, rows: Any) -> Any:
            X, y = X[rows].astype(jnp.float32), y[rows]
            (W, v), (b, u) = state
            dW, db = jax.vmap(jax.grad(loss, (0, 1)), (0, 0, None, None))(W, b, X, y)
            v = MOMENTUM * v + dW + 2 * l2[:, None, None] * W
            u = MOMENTUM * u + db
            W, b = W - rates[:, None, None] * v, b - rates[:, None] * u
            return jnp.stack([W, v]), jnp.stack([b, u])

        self._step = jax.jit(step, donate_argnums=0)
        self._loss = jax.jit(jax.vmap(loss, (0, 0, None, None)))

    def step(self, rows: np.ndarray, there: Tensor) -> None:
        """See Contender.step."""
        self._state = self._step(self._state, *self._train, self._jnp.asarray(rows))

    def evaluate(self) -> list[float]:
        """See Contender.evaluate."""
        (X, y), (W, b) = self._validation, (part[0] for part in self._state)
        blocks = [slice(n, n + _ROWS) for n in range(0, len(y), _ROWS)]
        sums = [
            self._loss(W, b, X[at].astype(self._jnp.float32), y[at]) * len(y[at]) for at in blocks
        ]
        return (sum(sums) / len(y)).tolist()


def split_of(X: Tensor, y: Tensor) -> Split:
    """Return a split of the package from features and labels on a device."""
    return Split(widened(X.cpu().numpy()), y.cpu().numpy())


def measure(problem: Problem, scores: Callable[[Tensor], Tensor]) -> list[float]:
    """Return the mean loss of every model on the validation split; hits are counted, too."""
    X, y = problem.validation
    loss = hits = torch.zeros((), device=problem.device)
    for at in range(0, len(y), _ROWS):
        S, own = scores(X[at : at + _ROWS].float()), y[at : at + _ROWS]
        of_label = S.gather(2, own[:, None, None].expand(*S.shape[:2], 1))[..., 0]
        loss = loss + (S.logsumexp(2) - of_label).sum(0)
        hits = hits + (S.argmax(2) == own[:, None]).sum(0)
    return (loss / len(y)).tolist()


def contenders(problem: Problem) -> dict[str, Callable[[Problem], Contender]]:
    """Return who can take part on this device, by name."""
    found: dict[str, Callable[[Problem], Contender]] = {"onelayer": Ours}
    if problem.device.startswith("cuda"):
        found["onelayer, not compiled"] = partial(Ours, engine=Uncompiled)
    found |= {"loop of nn.Linear": Loop, "addmm + foreach": Stacked}
    if hasattr(functional, "linear_cross_entropy"):
        found["F.linear_cross_entropy"] = LinearCrossEntropy
    if find_spec("jax") and _jax_sees(problem.device):
        found["JAX, vmap + jit"] = Jax
    return found


def _jax_sees(device: str) -> bool:
    import jax

    return (jax.default_backend() == "gpu") == device.startswith("cuda")
