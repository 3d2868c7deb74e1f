"""Gradient check: the analytic gradient against a numerical one, entry by entry."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.arguments import checked
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.faces import face
from onelayer.model import derivatives, network
from onelayer.model.black_box import HIDES, BlackBox, Cost, Place, as_array, cover, describe
from onelayer.model.derivatives import LinearLayer, PerturbedCosts
from onelayer.model.losses import find_loss
from onelayer.records import COUNT
from onelayer.thread_pools import limited

Array = NDArray[Any]
Gradient = Callable[[Array, Array], tuple[Array, Array]]
Precision = Literal["double", "extended"]
EXTENDED = bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)
_DTYPES = {"double": np.float64, "extended": np.longdouble}
# The relative errors of a right gradient in float64: rounding divided by the step, or truncation.
DEFAULT_TOLERANCES = {"forward": 1e-2, "centred": 1e-4, "complex": 1e-12}
_TOLERANCE = 1e-6  # of the differences that replace other methods: see docs/maths.md
_TO_BLAME = "differences of the cost in other steps agree: the gradient is wrong, not the cost"
_UNSEEN = (
    "differences of the cost agree with both within their errors, so one of the two may be wrong: "
    "the gradient, or the {} step, which may miss a small part of the cost"
)
_ROUNDING = 16  # units in the last place of the largest derivative: it is a sum of many terms


@dataclass(frozen=True)
class WorstEntry:
    """The entry with the largest relative error, and its two derivatives."""

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
    """The result of a check: the relative error of every entry, the worst one, the verdict.

    errors_W is (K, D), errors_b (K,), NaN where an entry was not checked; `passed` means that no
    error exceeds `tolerance`. `analytic` and `numerical` are the two gradients, (∂J/∂W, ∂J/∂b)
    each; a check read from a file has none. `note` explains why the method was replaced, or whether
    the gradient or the cost is wrong; a failed check is `undecided` if that cannot be known.
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
    note: str = field(default="", metadata={"stored": False})
    undecided: bool = field(default=False, metadata={"stored": False})

    @property
    def parameters(self) -> int:
        """The number of all partial derivatives."""
        return self.errors_W.size + self.errors_b.size

    @property
    def compared(self) -> int:
        """The number of partial derivatives that were compared."""
        return int(sum(np.sum(~np.isnan(errors)) for errors in (self.errors_W, self.errors_b)))

    @property
    def max_error_W(self) -> float:
        """The largest relative error of an entry of W."""
        return float(np.fmax.reduce(self.errors_W, axis=None))

    @property
    def max_error_b(self) -> float:
        """The largest relative error of an entry of b."""
        return float(np.fmax.reduce(self.errors_b, axis=None))

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance; the error of a NaN is infinite."""
        return self.worst.error <= self.tolerance

    @face("report.notebook:html")
    def _repr_html_(self) -> Any:
        """Return the HTML for a notebook: the verdict, the largest errors and the worst entry."""

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "UNDECIDED" if self.undecided else "FAILED"
        of = f"{self.compared} of " if self.compared < self.parameters else ""
        return (
            f"gradient check {verdict}: {of}{self.parameters} partial derivatives, "
            f"{self.method} step {self.step:g}, tolerance {self.tolerance:g}; worst {self.worst}"
            + (f"; {self.note}" if self.note else "")
        )


def relative_errors(analytic: Array, numerical: Array, eps: float) -> NDArray[np.float64]:
    """Return |ga − gn| / max(eps, |ga| + |gn|), entry by entry; infinity where one is NaN."""
    size = np.maximum(eps, np.abs(analytic) + np.abs(numerical))
    with np.errstate(invalid="ignore"):
        errors = np.asarray(np.abs(analytic - numerical) / size, dtype=np.float64)
    return np.where(np.isnan(errors), np.inf, errors)


def draw_place(
    X: Array, n_classes: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normal W (K, D) and b (K,) for a check: the scores of X (N, D) are of order 1.

    At the initial W and b of a training the scores are near 0, where most mistakes have no effect:
    a forgotten bias, a wrong softmax or a violated margin would not be found.
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
    entries: int | None = None,
) -> GradientCheck:
    """Check `gradient(W, b) -> (dW, db)` against numerical derivatives of `cost(W, b) -> J`.

    Both are black boxes, which are checked at W (K, D) and b (K,) in float64. The cost is called
    once or twice per entry. For a large W, `entries` is the number of entries to check: all of b
    and some of W, always the same, at least one in every row and column, so that no wrong class and
    no wrong feature is missed. The defaults of `step` and `tolerance` depend on `method`.
    The complex step needs a cost whose operations keep complex numbers: it is compared with centred
    differences first, and replaced by them if it misses a part of the cost. At a kink any slope
    between the left and the right one counts as right.

    Raises
    ------
    InputError
        If dW or db has the wrong shape, `entries` is too small, or the cost cannot be
        differentiated: it does not return a number, is random, computes in float32, or changes W or
        b.

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
    W, b = np.array(W, dtype=np.float64), np.array(b, dtype=np.float64)
    for name, array in (("W", W), ("b", b)):
        if array.size == 0 or not np.isfinite(array).all():
            raise InputError(f"{name} of the shape {array.shape}; expected finite numbers")
    with limited(1), warnings.catch_warnings():  # many small products: threads only wait
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        analytic = _as_gradients(gradient(W.copy(), b.copy()), W, b)
        place = Place(BlackBox(cost, W, b, _choose(W, b, entries)))
        place.check_steady()
        if method == "complex" and (reason := place.hidden_from_the_complex_step()):
            return _check_by_differences(place.box, place.step, analytic, eps, tolerance, reason)
        check = _check(place.box, analytic, method, step, eps, tolerance)
        return check if check.passed else _diagnose(place, check, analytic, tolerance)


def _choose(W: Array, b: Array, entries: int | None) -> tuple[Any, Any]:
    """Return masks of the entries of W and b to check."""
    if entries is None:
        return True, True
    fewest = max(W.shape, default=1) + b.size
    if entries < fewest:
        raise InputError(
            f"entries is {entries}; expected {fewest:,} or more here: all of b, and of W one in "
            "every row and column"
        )
    return cover(W.shape, entries - b.size, random_stream(0, Stream.CHECKED_PARAMETERS)), True


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

    This is the check of check_gradient, with a LinearLayer instead of a black box. With "extended"
    precision both sides are computed in the platform's long double: for a derivative that is a mean
    of 100 terms that nearly cancel, the rounding of float64 alone is several 1e-12 of eps = 1e-5.
    If a long double is no longer than a double, the tolerance is therefore ten times as large.
    """
    X, W, b = (np.asarray(array, dtype=_DTYPES[precision]) for array in (X, W, b))
    kind = find_loss(loss)
    analytic = network.gradients(X, y, W, b, l2, kind)
    if tolerance is not None and precision == "extended" and not EXTENDED:
        tolerance *= 10
    layer = LinearLayer(X, y, W, b, l2, kind)
    place = _place_of(layer)
    if method == "complex" and (reason := place.hidden_from_the_complex_step()):
        return _check_by_differences(layer, place.step, analytic, eps, tolerance, reason)
    return _check(layer, analytic, method, step, eps, tolerance)


def gradient_known_to(layer: LinearLayer) -> tuple[tuple[Array, Array], tuple[Any, Any]]:
    """Return ∂J/∂W and ∂J/∂b by the complex step, and bounds on their errors without rounding.

    If the complex step misses a part of the cost, they come from differences.
    """
    place = _place_of(layer)
    if place.hidden_from_the_complex_step():
        return derivatives.known_to(layer, place.step)
    step = derivatives.DEFAULT_STEPS["complex"]
    return derivatives.numerical_gradient(layer, "complex", step), (0, 0)


def _place_of(layer: LinearLayer) -> Place:
    X, W, b = (array.astype(np.float64) for array in (layer.X, layer.W, layer.b))
    cost = partial(network.cost, X, layer.y, l2=layer.l2, kind=layer.loss)
    return Place(BlackBox(cost, W, b))


def _check(
    costs: PerturbedCosts,
    analytic: tuple[Array, Array],
    method: str,
    step: float | None,
    eps: float,
    tolerance: float | None,
) -> GradientCheck:
    step = derivatives.DEFAULT_STEPS.get(method, 0.0) if step is None else step
    numerical = derivatives.numerical_gradient(costs, method, step)
    tolerance = DEFAULT_TOLERANCES[method] if tolerance is None else tolerance
    return _compare(costs, analytic, numerical, method, step, eps, tolerance)


def _compare(
    costs: PerturbedCosts,
    analytic: tuple[Array, Array],
    numerical: tuple[Array, Array],
    method: str,
    step: float,
    eps: float,
    tolerance: float,
    note: str = "",
) -> GradientCheck:
    if not 0 <= eps < np.inf:
        raise InputError(f"eps is {eps}; expected a finite number from 0 up")
    floor = _floor(numerical, tolerance)
    errors_W, errors_b = (
        np.where(chosen, relative_errors(a, n, max(eps, floor)), np.nan)
        for a, n, chosen in zip(analytic, numerical, costs.chosen, strict=True)
    )
    return GradientCheck(
        method=method,
        step=step,
        eps=eps,
        tolerance=tolerance,
        errors_W=errors_W,
        errors_b=errors_b,
        worst=_worst((errors_W, errors_b), analytic, numerical),
        analytic=analytic,
        numerical=numerical,
        note=note,
    )


def _floor(numerical: tuple[Array, Array], tolerance: float) -> float:
    """Return the size of a derivative below which rounding alone exceeds the tolerance.

    A small derivative is a sum of terms that cancel, each as large as the largest derivative.
    """
    largest = max(float(np.max(np.abs(n), where=np.isfinite(n), initial=0)) for n in numerical)
    ulp = float(np.finfo(numerical[0].dtype).eps)
    return _ROUNDING * ulp * largest / tolerance if tolerance > 0 else 0.0


def _diagnose(
    place: Place, check: GradientCheck, analytic: tuple[Array, Array], tolerance: float | None
) -> GradientCheck:
    """Return the failed check with a note on its cause, or a better check if it was misled."""
    worst = check.worst
    slope = place.slope_of(worst.parameter, worst.index)
    room = 10 * slope.error + 0.51 * slope.jump
    right, seen = (abs(g - slope.value) <= room for g in (worst.analytic, worst.numerical))
    if right and slope.jump > 10 * slope.error:
        reason = (
            f"{worst.parameter}{list(worst.index)} is at a kink of the cost, where any slope "
            "between those on both sides is right, so centred differences were taken"
        )
        return _check_by_differences(place.box, place.step, analytic, check.eps, tolerance, reason)
    if right and not seen:
        reason = (
            HIDES
            if check.method == "complex"
            else f"{check.method} differences are too coarse here, so finer ones were taken"
        )
        return _check_by_differences(place.box, place.step, analytic, check.eps, tolerance, reason)
    note = _UNSEEN.format(check.method) if right else _TO_BLAME
    return replace(check, note=note, undecided=right)


def _check_by_differences(
    costs: PerturbedCosts,
    step: float,
    analytic: tuple[Array, Array],
    eps: float,
    tolerance: float | None,
    reason: str,
) -> GradientCheck:
    """Check by centred differences at two steps, whose difference bounds the error."""
    values, errors = derivatives.known_to(costs, step)
    numerical = tuple(
        np.where(np.isnan(a), n, np.clip(a, n - error, n + error))
        for a, n, error in zip(analytic, values, errors, strict=True)
    )
    tolerance = max(_TOLERANCE, tolerance or 0)
    check = _compare(
        costs, analytic, (numerical[0], numerical[1]), "centred", step, eps, tolerance, reason
    )
    at = values["Wb".index(check.worst.parameter)][check.worst.index]
    check = replace(check, numerical=values, worst=replace(check.worst, numerical=float(at)))
    return check if check.passed else replace(check, note=f"{reason}; {_TO_BLAME}")


def _as_gradients(found: Any, W: Array, b: Array) -> tuple[Array, Array]:
    """Return the two gradients as arrays of the shapes of W and b."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise InputError(
            f"the gradient function must return two arrays, dW and db; it returned "
            f"{describe(found)}"
        )
    dW, db = (as_array(values) for values in found)
    for name, array, ours, theirs in (("W", dW, W, found[0]), ("b", db, b, found[1])):
        if array.shape != ours.shape:
            swapped = "; dW comes first, then db" if dW.shape == b.shape else ""
            raise InputError(
                f"the gradient of {name} has the shape {array.shape}, "
                f"expected {ours.shape}{swapped}"
            )
        if array.dtype.kind not in "iuf":
            found_type = describe(theirs) if array.dtype == object else array.dtype
            raise InputError(f"the gradient of {name} is {found_type}, expected real numbers")
    return dW, db


def _worst(
    errors: tuple[Array, Array], analytic: tuple[Array, Array], numerical: tuple[Array, Array]
) -> WorstEntry:
    """Return the checked entry with the largest error."""
    ranked = [np.where(np.isnan(error), -np.inf, error) for error in errors]
    at = int(np.max(ranked[1]) > np.max(ranked[0]))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ranked[at]), ranked[at].shape))
    return WorstEntry(
        parameter="Wb"[at],
        index=index,
        error=float(errors[at][index]),
        analytic=float(analytic[at][index]),
        numerical=float(numerical[at][index]),
    )
