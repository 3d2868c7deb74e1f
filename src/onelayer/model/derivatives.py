"""Numerical derivatives of a cost with respect to W and b.

A derivative needs only to know the cost after one entry was moved by a small amount. `BlackBox`
finds that out by calling any cost function once per entry; `LinearLayer` knows that moving W[k, d]
by δ moves one column of scores, s_k ← s_k + δ x_d, and so gets all K·D costs in K passes over the
batch. Both feed the same quotients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError, unknown_name
from onelayer.model import network
from onelayer.model.losses import CROSS_ENTROPY, Loss

Array = NDArray[Any]
Cost = Callable[[Array, Array], Any]
Method = Literal["forward", "centred", "complex"]
METHODS: tuple[str, ...] = get_args(Method)
DEFAULT_STEPS = {"forward": 1e-6, "centred": 1e-5, "complex": 1e-30}


class PerturbedCosts(Protocol):
    """What a numerical derivative asks for."""

    def at(self) -> tuple[Array, Array]:
        """Return the costs where nothing is moved, added up as those of `moved` are.

        They may have the shapes (K, D) and (K,) or any that is broadcast to them.
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


@dataclass(frozen=True)
class BlackBox:
    """Any `cost(W, b)`, called once for every entry of W (K, D) and b (K,).

    The cost gets read-only arrays, so one that forgets to restore what it moved is found out.

    Raises
    ------
    InputError
        If the cost writes into its arguments, or drops the imaginary part of a complex step.
    """

    cost: Cost
    W: Array
    b: Array

    def at(self) -> tuple[Array, Array]:
        """Return cost(W, b)."""
        cost = np.asarray(self._call(_locked(self.W), _locked(self.b)))
        return cost, cost

    def moved(self, delta: complex) -> tuple[Array, Array]:
        """Return cost with W[k, d] + delta for every k, d, and with b[k] + delta for every k."""
        W, b = _locked(self.W), _locked(self.b)
        costs_W, seen_W = self._each_entry(self.W, delta, lambda moved: self._call(moved, b))
        costs_b, seen_b = self._each_entry(self.b, delta, lambda moved: self._call(W, moved))
        if isinstance(delta, complex) and not (seen_W or seen_b):
            raise InputError(
                "the cost function turns complex numbers into real ones, so the complex step "
                'cannot see through it; use method="centred"'
            )
        return costs_W, costs_b

    def _each_entry(
        self, array: Array, delta: complex, cost: Callable[[Array], Any]
    ) -> tuple[Array, bool]:
        """Return the cost with each entry moved, and whether any of them was complex."""
        kind = np.result_type(array, delta)
        moving = array.astype(kind)
        shown = moving.view()
        shown.flags.writeable = False
        costs, seen = np.empty(array.shape, kind), False
        for index in np.ndindex(array.shape):
            moving[index] += delta
            costs[index] = value = cost(shown)
            seen |= np.iscomplexobj(value)
            moving[index] = array[index]
        return costs, seen

    def _call(self, W: Array, b: Array) -> Any:
        try:
            return self.cost(W, b)
        except ValueError as error:
            if "read-only" in str(error):
                raise InputError(
                    "the cost function writes into its arguments; a cost must leave W and b alone"
                ) from error
            raise


def _locked(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


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

    def at(self) -> tuple[Array, Array]:
        """Return J(W, b) for every entry, by the very sums of `moved`.

        In another order they would differ by a few units in the last place: divided by a step of
        1e-6, more than a check allows where the derivative is nearly zero.
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
