"""Is a gradient right? The analytic one against a numerical one, entry by entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.arguments import checked
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.model import derivatives, network
from onelayer.model.derivatives import BlackBox, Cost, LinearLayer, PerturbedCosts
from onelayer.model.losses import find_loss
from onelayer.records import COUNT

Array = NDArray[Any]
Gradient = Callable[[Array, Array], tuple[Array, Array]]
Precision = Literal["double", "extended"]
EXTENDED = bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)
_DTYPES = {"double": np.float64, "extended": np.longdouble}
# What a right gradient reaches in float64: rounding divided by the step, or truncation.
DEFAULT_TOLERANCES = {"forward": 1e-2, "centred": 1e-4, "complex": 1e-12}


@dataclass(frozen=True)
class WorstEntry:
    """Where the largest relative error stands, and the two derivatives it compares."""

    parameter: str
    index: tuple[int, ...]
    error: float
    analytic: float
    numerical: float

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return (
            f"{self.parameter}[{place}]: relative error {self.error:.2e} "
            f"(analytic {self.analytic:.9e}, numerical {self.numerical:.9e})"
        )


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of a check: relative errors of every entry, the worst of them, the verdict.

    errors_W is (K, D), errors_b (K,); `passed` means that no error exceeds `tolerance`. `analytic`
    and `numerical` are the two gradients, (∂J/∂W, ∂J/∂b) each; a check read from a file has none.
    """

    method: str
    step: float
    eps: float
    tolerance: float
    errors_W: Annotated[NDArray[np.float64], "(K, D)", COUNT]
    errors_b: Annotated[NDArray[np.float64], "(K,)", COUNT]
    worst: WorstEntry
    analytic: tuple[Array, Array] | None = field(default=None, metadata={"stored": False})
    numerical: tuple[Array, Array] | None = field(default=None, metadata={"stored": False})

    @property
    def parameters(self) -> int:
        """The number of partial derivatives that were compared."""
        return self.errors_W.size + self.errors_b.size

    @property
    def max_error_W(self) -> float:
        """The largest relative error of an entry of W."""
        return float(np.max(self.errors_W))

    @property
    def max_error_b(self) -> float:
        """The largest relative error of an entry of b."""
        return float(np.max(self.errors_b))

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance; an error that is not a number is not."""
        return self.worst.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"gradient check {verdict}: {self.parameters} partial derivatives, {self.method} step "
            f"{self.step:g}, tolerance {self.tolerance:g}; worst {self.worst}"
        )


def relative_errors(analytic: Array, numerical: Array, eps: float) -> NDArray[np.float64]:
    """Return |ga − gn| / max(eps, |ga| + |gn|), entry by entry."""
    size = np.maximum(eps, np.abs(analytic) + np.abs(numerical))
    return np.asarray(np.abs(analytic - numerical) / size, dtype=np.float64)


def draw_place(
    X: Array, n_classes: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normal W (K, D) and b (K,) for a check: the scores of X (N, D) are of order 1.

    At the first W and b of a training the scores are near 0 and so are most faults: a forgotten
    bias, a wrong softmax or a violated margin would not show.
    """
    generator = random_stream(seed, Stream.CHECKED_PARAMETERS)
    length = float(np.sqrt(np.mean(np.sum(np.square(X, dtype=np.float64), axis=1)))) or 1.0
    W = generator.standard_normal((n_classes, X.shape[1])) / length
    return W, generator.standard_normal(n_classes)


@checked
def check_gradient(
    cost: Cost,
    gradient: Gradient,
    W: ArrayLike,
    b: ArrayLike,
    *,
    method: derivatives.Method = "complex",
    step: float | None = None,
    eps: float = 1e-5,
    tolerance: float | None = None,
) -> GradientCheck:
    """Check `gradient(W, b) -> (dW, db)` against numerical derivatives of `cost(W, b) -> J`.

    Both are black boxes; W (K, D) and b (K,) are the place of the check, in float64. The cost is
    called once or twice per parameter. `step` and `tolerance` default to what suits `method`;
    the complex step needs a cost made of operations that carry complex numbers through.

    Raises
    ------
    InputError
        If dW or db has the wrong shape, or the cost cannot be differentiated (see BlackBox).

    Examples
    --------
    >>> def cost(W, b):  # J = Σ W² + Σ b
    ...     return np.sum(W**2) + np.sum(b)
    >>> def gradient(W, b):
    ...     return 2 * W, np.ones_like(b)
    >>> onelayer.check_gradient(cost, gradient, np.ones((3, 2)), np.zeros(3)).passed
    True
    >>> def wrong(W, b):  # the factor 2 is missing
    ...     return W, np.ones_like(b)
    >>> onelayer.check_gradient(cost, wrong, np.ones((3, 2)), np.zeros(3)).passed
    False
    """
    W, b = np.asarray(W, dtype=np.float64), np.asarray(b, dtype=np.float64)
    for name, place in (("W", W), ("b", b)):
        if place.size == 0 or not np.isfinite(place).all():
            raise InputError(f"{name} of the shape {place.shape}; expected finite numbers")
    return _check(BlackBox(cost, W, b), gradient(W.copy(), b.copy()), method, step, eps, tolerance)


def check_layer(
    X: Array,
    y: NDArray[np.intp],
    W: Array,
    b: Array,
    l2: float,
    *,
    method: str = "complex",
    step: float | None = None,
    eps: float = 1e-5,
    tolerance: float | None = None,
    precision: Precision = "double",
    loss: str = "cross-entropy",
) -> GradientCheck:
    """Check network.gradients on the batch X (N, D), y (N,): all K·D + K partials in seconds.

    The same check as check_gradient's, by LinearLayer instead of the black box. With "extended"
    precision both sides are computed in the platform's long double: where a derivative is a mean of
    100 terms that nearly cancel, float64's own rounding is worth several 1e-12 of eps = 1e-5. Where
    a long double is no longer than a double, the tolerance is therefore ten times as wide.
    """
    X, W, b = (np.asarray(array, dtype=_DTYPES[precision]) for array in (X, W, b))
    kind = find_loss(loss)
    analytic = network.gradients(X, y, W, b, l2, kind)
    if tolerance is not None and precision == "extended" and not EXTENDED:
        tolerance *= 10
    return _check(LinearLayer(X, y, W, b, l2, kind), analytic, method, step, eps, tolerance)


def _check(
    costs: PerturbedCosts,
    analytic: tuple[Array, Array],
    method: str,
    step: float | None,
    eps: float,
    tolerance: float | None,
) -> GradientCheck:
    step = derivatives.DEFAULT_STEPS.get(method, 0.0) if step is None else step
    if not 0 <= eps < np.inf:
        raise InputError(f"eps is {eps}; expected a finite number from 0 up")
    if not isinstance(analytic, tuple | list) or len(analytic) != 2:
        raise InputError("the gradient function must return two arrays, dW and db")
    numerical = derivatives.numerical_gradient(costs, method, step)
    for name, ours, theirs in zip("Wb", numerical, analytic, strict=True):
        if np.shape(theirs) != ours.shape:
            raise InputError(
                f"the gradient of {name} has the shape {np.shape(theirs)}, expected {ours.shape}"
            )
    errors_W, errors_b = (
        relative_errors(a, n, eps) for a, n in zip(analytic, numerical, strict=True)
    )
    return GradientCheck(
        method=method,
        step=step,
        eps=eps,
        tolerance=DEFAULT_TOLERANCES[method] if tolerance is None else tolerance,
        errors_W=errors_W,
        errors_b=errors_b,
        worst=_worst((errors_W, errors_b), analytic, numerical),
        analytic=(analytic[0], analytic[1]),
        numerical=numerical,
    )


def _worst(
    errors: tuple[Array, Array], analytic: tuple[Array, Array], numerical: tuple[Array, Array]
) -> WorstEntry:
    """Find the largest error; one that is not a number counts as the largest."""
    ranked = [np.where(np.isnan(error), np.inf, error) for error in errors]
    at = int(np.max(ranked[1]) > np.max(ranked[0]))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ranked[at]), ranked[at].shape))
    return WorstEntry(
        parameter="Wb"[at],
        index=index,
        error=float(errors[at][index]),
        analytic=float(analytic[at][index]),
        numerical=float(numerical[at][index]),
    )
