"""Any cost function of W and b: called once per entry, and tested for what a check would miss."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.model.derivatives import DEFAULT_STEPS, Slope, noise_of, slope_at_0
from onelayer.progress import progress_bar

Array = NDArray[Any]
Cost = Callable[[Array, Array], Any]
_STEP = 1e-4  # of the differences that replace other methods, in units of the parameters
_PATIENCE = 1.0  # seconds; a quicker check shows no bar
_NOISE = 1e-10  # relative; the noise of float64 is below, that of float32 above
HIDES = (
    "the complex step does not see all of this cost (abs, norm, vdot, max, comparisons and casts "
    "to real numbers hide parts of it; np.sum(W * W) does not), so centred differences were taken"
)


@dataclass(frozen=True)
class BlackBox:
    """Any `cost(W, b)`, called once for every chosen entry of W (K, D) and b (K,).

    `chosen` are masks of the shapes of W and b, or True for all entries. The cost gets read-only
    arrays, so that a cost which writes into them is found.

    Raises
    ------
    InputError
        If the cost writes into its arguments, or does not return one number, which for real W and b
        must be real and finite.
    """

    cost: Cost
    W: Array
    b: Array
    chosen: tuple[Any, Any] = (True, True)

    def at(self) -> tuple[Array, Array]:
        """Return cost(W, b)."""
        cost = np.asarray(self._call(_locked(self.W), _locked(self.b)))
        return cost, cost

    def moved(self, delta: complex) -> tuple[Array, Array]:
        """Return the cost with W[k, d] + delta for every chosen k, d, and likewise b; else NaN."""
        W, b = _locked(self.W), _locked(self.b)
        places = [
            [tuple(index) for index in np.argwhere(np.broadcast_to(mask, array.shape))]
            for mask, array in zip(self.chosen, (W, b), strict=True)
        ]
        count = sum(map(len, places))
        with progress_bar("gradient check: entry", count, after=_PATIENCE) as update:
            done = (update(number, "") for number in range(1, count + 1))
            return (
                _each_entry(W, places[0], delta, lambda moved: self._call(moved, b), done),
                _each_entry(b, places[1], delta, lambda moved: self._call(W, moved), done),
            )

    def along(self, towards_W: Array, towards_b: Array) -> Callable[[complex], Any]:
        """Return t ↦ cost(W + t · towards_W, b + t · towards_b); NaN where it is undefined."""

        def cost(t: complex) -> Any:
            try:
                return _number(
                    self._ask(_locked(self.W + t * towards_W), _locked(self.b + t * towards_b))
                )
            except (ValueError, ArithmeticError) as error:
                if isinstance(error, InputError):
                    raise
                return np.nan

        return cost

    def _call(self, W: Array, b: Array) -> Any:
        """Return the cost as a number; for real W and b it must be real and finite."""
        J = _number(self._ask(W, b))
        if np.iscomplexobj(W) or np.iscomplexobj(b):
            return J
        if not np.isfinite(J) or J.imag != 0:
            raise InputError(f"the cost function returned {J}, expected a finite real number")
        return J.real

    def _ask(self, W: Array, b: Array) -> Any:
        try:
            return self.cost(W, b)
        except ValueError as error:
            if "read-only" in str(error):
                raise InputError(
                    "the cost function writes into its arguments; a cost must leave W and b alone"
                ) from error
            raise


def _each_entry(
    array: Array,
    places: Sequence[tuple[int, ...]],
    delta: complex,
    cost: Callable[[Array], Any],
    done: Iterator[None],
) -> Array:
    """Return the cost with each entry in `places` moved by delta; NaN at other entries."""
    moving = array.astype(np.result_type(array, delta))
    shown = moving.view()
    shown.flags.writeable = False
    costs = np.full_like(moving, np.nan)
    for index in places:
        moving[index] += delta
        costs[index] = cost(shown)
        moving[index] = array[index]
        next(done)
    return costs


def cover(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> Array:
    """Return a mask of at least `count` entries, drawn so that each row and column has one.

    The mask has at least as many entries as the longest side of the array.
    """
    sides = [np.resize(generator.permutation(side), max(shape)) for side in shape]
    mask = np.zeros(shape, bool)
    mask[tuple(sides)] = True
    others = np.flatnonzero(~mask)
    more = max(0, count - int(mask.sum()))
    mask.ravel()[generator.permutation(others)[:more]] = True
    return mask


def _number(value: Any) -> Any:
    """Return the cost as a NumPy number, real or complex."""
    number = as_array(value)
    if number.shape != () or number.dtype.kind not in "iufc":
        raise InputError(f"the cost function returned {describe(value)}, expected one number")
    return number[()]


def as_array(value: Any) -> Array:
    """Return a value as an array; an array of None if it cannot be one."""
    try:
        return np.asarray(value)
    except Exception:  # for sequences of different lengths, or from another library
        return np.array(None)


def describe(value: Any) -> str:
    """Return a short description of a value for a message."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of the shape {value.shape}"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _locked(array: Array) -> Array:
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


class Place:
    """A cost at one point, W and b, and its behaviour near it; `step` suits differences there."""

    def __init__(self, box: BlackBox) -> None:
        self.box = box
        parameters = np.concatenate([box.W.ravel(), box.b.ravel()])
        self.scale = float(np.sqrt(np.mean(parameters**2))) or 1.0
        self.step = _STEP * self.scale
        generator = random_stream(0, Stream.CHECKED_PARAMETERS)
        drawn = [generator.standard_normal(array.shape) for array in (box.W, box.b)]
        # One direction moves all entries; along the other, entries near 0 keep their sign.
        self.directions = (
            (self.scale * drawn[0], self.scale * drawn[1]),
            (box.W * drawn[0], box.b * drawn[1]),
        )

    def check_steady(self) -> None:
        """Raise InputError if the cost is random, or as rough as in float32."""
        cost, again = (float(self.box.at()[0]) for _ in "12")
        if abs(cost - again) > 1e-12 * abs(cost):
            raise InputError(
                f"the cost function returns {cost:.9g} and then {again:.9g} at the same W and b; "
                "expected the same number each time: fix its seed, keep no state between calls"
            )
        noise = noise_of(self.box.along(*self.directions[0]))
        if noise > _NOISE:
            raise InputError(
                f"the cost function is rough near {cost:.9g}: it jumps by {noise:.0e} of its "
                "size, as in float32; expected float64 throughout, to differentiate it"
            )

    def hidden_from_the_complex_step(self) -> str:
        """Return the reason why the complex step misses a part of the cost; "" if it does not."""
        h = DEFAULT_STEPS["complex"]
        for direction in self.directions:
            cost = self.box.along(*direction)
            try:
                seen = float(cost(1j * h).imag) / h
            except InputError:
                raise
            except Exception as error:  # from any library that the cost calls
                return (
                    f"the cost does not take complex numbers ({type(error).__name__}), so centred "
                    "differences were taken"
                )
            slope = slope_at_0(cost)
            if not abs(seen - slope.value) <= 10 * slope.error + slope.jump / 2:
                return HIDES
        return ""

    def slope_of(self, parameter: str, index: tuple[int, ...]) -> Slope:
        """Return the slope of the cost along one entry, in units of the entry."""
        towards = {"W": np.zeros_like(self.box.W), "b": np.zeros_like(self.box.b)}
        towards[parameter][index] = self.scale
        found = slope_at_0(self.box.along(towards["W"], towards["b"]))
        return Slope(*(number / self.scale for number in found))
