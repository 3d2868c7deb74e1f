"""Numerical derivatives of a cost with respect to W and b.

A derivative needs only the cost after one entry was moved by a small amount. A `BlackBox`
(black_box.py) calls any cost function once per entry; `LinearLayer` uses that moving W[k, d] by δ
moves one column of scores, s_k ← s_k + δ x_d, and so computes all K·D costs in K passes over the
batch. Both are used in the same quotients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.model import network
from onelayer.model.losses import CROSS_ENTROPY, Loss

Array = NDArray[Any]
Method = Literal["forward", "centred", "complex"]
METHODS: tuple[str, ...] = get_args(Method)
DEFAULT_STEPS = {"forward": 1e-6, "centred": 1e-5, "complex": 1e-30}
_LADDER = 0.1 * 4.0 ** -np.arange(12)  # steps: for the first curvature dominates, then rounding
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of a cost, relative: it is a sum of many terms


class PerturbedCosts(Protocol):
    """The costs that a numerical derivative needs."""

    @property
    def chosen(self) -> tuple[Any, Any]:
        """The entries of W and b whose costs are known: a mask each, or True for all."""
        ...

    def at(self) -> tuple[Array, Array]:
        """Return the costs without a move, summed in the same order as those of `moved`.

        They may have the shapes (K, D) and (K,), or shapes that broadcast to them.
        """
        ...

    def moved(self, delta: complex) -> tuple[Array, Array]:
        """Return the costs with one entry of W (K, D), and of b (K,), moved by `delta`."""
        ...


def numerical_gradient(costs: PerturbedCosts, method: str, step: float) -> tuple[Array, Array]:
    """Return ∂J/∂W (K, D) and ∂J/∂b (K,) by finite differences or by the complex step.

    forward: (J(w + h) − J(w)) / h; centred: (J(w + h) − J(w − h)) / 2h;
    complex: Im J(w + ih) / h, which subtracts nothing and so loses no digits
    (Squire and Trapp 1998, doi:10.1137/S003614459631241X).
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if not 0 < step < np.inf:
        raise InputError(f"step is {step}; expected a finite number above 0")
    if method == "forward":
        ahead, base = costs.moved(step), costs.at()
        return (ahead[0] - base[0]) / step, (ahead[1] - base[1]) / step
    if method == "centred":
        ahead, behind = costs.moved(step), costs.moved(-step)
        return (ahead[0] - behind[0]) / (2 * step), (ahead[1] - behind[1]) / (2 * step)
    ahead = costs.moved(1j * step)
    return ahead[0].imag / step, ahead[1].imag / step


class Slope(NamedTuple):
    """The derivative of a function of one number at 0.

    `value` is accurate to `error`. At a kink the slopes on both sides differ by `jump`, and `value`
    is their mean; without a kink `jump` is about 0.
    """

    value: float
    error: float
    jump: float


def slope_at_0(function: Callable[[float], Any]) -> Slope:
    """Return the slope of a function by centred differences, extrapolated to the step 0.

    Each step is 4 times smaller than the one before. The estimate that differs least from its
    neighbours is returned (Ridders 1982, doi:10.1016/S0141-1195(82)80057-0), since no single step
    suits every cost.
    """
    with np.errstate(all="ignore"):
        at, ahead, behind = (
            function(0.0),
            *(np.array([function(sign * h) for h in _LADDER]) for sign in (1, -1)),
        )
        size = np.fmax.reduce([abs(at), *np.abs(ahead), *np.abs(behind)])
        rounding = _ROUNDING * size / _LADDER
        estimates, found = (ahead - behind) / (2 * _LADDER), []
        for order in (1, 2, 3):
            finer = estimates[1:] + np.diff(estimates) / (16**order - 1)
            errors = np.maximum(abs(finer - estimates[1:]), abs(finer - estimates[:-1]))
            errors = np.where(np.isnan(errors), np.inf, errors + rounding[order:])
            best = int(np.argmin(errors))
            found.append((float(errors[best]), float(finer[best]), best + order))
            estimates = finer
        error, value, step = min(found)
        step = min(step + 3, len(_LADDER) - 1)  # finer: curvature must not look like a kink
        bends = (ahead - at + (behind - at)) / _LADDER
        jump = (4 * bends[step] - bends[step - 1]) / 3  # without a kink they shrink with h
    return Slope(value, error, float(abs(jump)))


def noise_of(function: Callable[[float], Any]) -> float:
    """Return the noise of a function of one number near 0, relative to its size and slope.

    The fourth differences of a smooth function vanish with the step; those of its rounding do not
    (Moré and Wild 2011, doi:10.1137/100786125). The median ignores single kinks.
    """
    for spacing in (1e-6, 1e-5, 1e-4):
        values = np.array([function(spacing * n) for n in range(30)])
        noise = float(np.median(np.abs(np.diff(values, 4)))) / 16
        if noise > 0:
            return noise / float(np.abs(values).max() + np.ptp(values) / (30 * spacing))
    return 0.0


def known_to(costs: PerturbedCosts, step: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return ∂J/∂W and ∂J/∂b by centred differences at two steps, and bounds on their errors.

    At a kink the bounds include every slope between the left and the right one.
    """
    at, ahead, behind, far_ahead, far_behind = (
        costs.at(), *(costs.moved(delta) for delta in (step, -step, 2 * step, -2 * step))
    )  # fmt: skip
    values, errors = [], []
    for J, p, m, pp, mm in zip(at, ahead, behind, far_ahead, far_behind, strict=True):
        near, far = (p - m) / (2 * step), (pp - mm) / (4 * step)
        jump = 2 * (p - J + (m - J)) / step - (pp - J + (mm - J)) / (2 * step)
        rounding = _ROUNDING * np.abs(J) / step
        values.append((4 * near - far) / 3)
        errors.append(np.abs(near - far) + np.abs(jump) + rounding)
    return (values[0], values[1]), (errors[0], errors[1])


@dataclass(frozen=True)
class LinearLayer:
    """The cost of equation (5) on the batch X (N, D), y (N,), with all its perturbations at once.

    Takes K passes over an (N, D) array instead of K·D evaluations of the cost.
    """

    X: Array
    y: NDArray[np.intp]
    W: Array
    b: Array
    l2: float
    loss: Loss = CROSS_ENTROPY
    chosen: ClassVar[tuple[Any, Any]] = (True, True)

    def at(self) -> tuple[Array, Array]:
        """Return J(W, b) for every entry, summed in the same order as in `moved`.

        Another order would change the last digits: divided by a step of 1e-6, that is more than a
        check allows where the derivative is nearly zero.
        """
        return self.moved(0.0)

    def moved(self, delta: complex) -> tuple[Array, Array]:
        """Return J with W[k, d] + delta for every k, d, and with b[k] + delta for every k."""
        S = network.scores(self.X, self.W, self.b)
        squares = np.sum(self.W**2)
        penalty_W = self.l2 * (squares - self.W**2 + (self.W + delta) ** 2)
        ones = np.ones((len(self.y), 1))
        losses_W = [self._losses(S, k, delta * self.X) for k in range(len(self.W))]
        losses_b = [self._losses(S, k, delta * ones)[0] for k in range(len(self.W))]
        return np.array(losses_W) + penalty_W, np.array(losses_b) + self.l2 * squares

    def _losses(self, S: Array, k: int, change: Array) -> Array:
        """Return the mean losses (C,) after adding each column of `change` (N, C) to s_k."""
        losses: Array = self.loss.values_with(S, self.y, k, S[:, [k]] + change).mean(axis=0)
        return losses
