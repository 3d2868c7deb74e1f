"""Conventions of a function under test: the layout of its arrays, found by names and by trials.

The sizes N, D and K are different primes, so a wrong layout usually fails or returns another shape.
Of the layouts that work, the one with the answer nearest to the right one is taken.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.points import BATCH, EPOCHS, RATE, STEP, Point
from onelayer.spellings import NAMES, Spelled, quantity_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """A layout of the arguments: sides of X and W, shape of b, labels, container, type, library."""

    columns: bool = True  # X is D×N
    classes_first: bool = True  # W is K×D
    bias: str = "column"
    one_hot: bool = True
    container: str = "arrays"
    dtype: str = "float64"
    torch: bool = False

    def told(self, wanted: Mapping[str, str]) -> str:
        """Return a description of the layout, for the quantities of a function's parameters."""
        network = "network" in wanted.values()
        words = {
            "X": f"X {'D×N' if self.columns else 'N×D'}",
            "S": f"s {'K×N' if self.columns else 'N×K'}",
            "P": f"P {'K×N' if self.columns else 'N×K'}",
            "W": f"W {'K×D' if self.classes_first else 'D×K'}",
            "b": f"b {self.bias}",
            "y": "Y one-hot" if self.one_hot else "labels y",
            "one-hot": "Y one-hot",
            "classes": "labels y",
            "network": f"{self.container} with W and b",
        }
        asked = {*wanted.values(), *(("W", "b") if network else ())}
        parts = [words[quantity] for quantity in words if quantity in asked]
        if self.torch:
            parts.append(f"PyTorch {self.dtype}")
        return ", ".join(parts)

    def give(self, quantity: str, point: Point) -> Any:
        """Return a quantity of the point in this layout."""
        if quantity == "network":
            W, b = self.give("W", point), self.give("b", point)
            return {"dict": {"W": W, "b": b}, "layers": [{"W": W, "b": b}]}.get(
                self.container, {"W": [W], "b": [b]}
            )
        if quantity in _SETTINGS:
            return _SETTINGS[quantity]
        made = self._array(quantity, point)
        return self._as_tensor(made) if isinstance(made, np.ndarray) else made

    def _array(self, quantity: str, point: Point) -> Any:
        if quantity == "l2":
            return point.l2
        if quantity == "W":
            return self._typed(point.W if self.classes_first else point.W.T)
        if quantity == "b":
            shape = {"column": (-1, 1), "row": (1, -1)}.get(self.bias, (-1,))
            return self._typed(point.b.reshape(shape))
        if quantity == "classes" or (quantity == "y" and not self.one_hot):
            return point.y.copy()
        rows = {"X": point.X, "y": point.Y, "one-hot": point.Y, "P": point.P, "S": point.S}
        values = rows[quantity]
        return self._typed(values.T if self.columns else values)

    def _typed(self, array: Array) -> Array:
        return np.array(array, dtype=self.dtype)

    def _as_tensor(self, array: Array) -> Any:
        if not self.torch:
            return array
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.requires_grad_() if tensor.is_floating_point() else tensor


_SETTINGS = {
    "h": STEP,
    "rate": RATE,
    "batch": BATCH,
    "epochs": EPOCHS,
    "descent": Spelled(
        {name: NAMES[name] for name in ("batch", "rate", "epochs")},
        {"batch": BATCH, "rate": RATE, "epochs": EPOCHS},
    ),
}


def readings_of(function: Callable[..., Any], orders: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield possible quantities of the parameters: by their names, or else by their places.

    `orders` are signatures of the role, such as "X y P W l2". A parameter of an unknown name with a
    default is left alone.

    Raises
    ------
    TypeError
        If the quantity of a parameter is unknown.
    """
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    listed = [p for p in inspect.signature(function).parameters.values() if p.kind not in kinds]
    known = {quantity for order in orders for quantity in order.split()}
    told = _told({p.name: q if (q := quantity_of(p.name)) in known else "" for p in listed})
    needed = [p.name for p in listed if p.default is p.empty]
    if all(map(told.get, needed)) and len({*told.values()} - {""}) == sum(map(bool, told.values())):
        yield {name: quantity for name, quantity in told.items() if quantity}
        return
    fitting = 0
    for names, order in product((list(told), needed), orders):
        places = order.split()
        agree = (told[name] in ("", place) for name, place in zip(names, places, strict=False))
        if len(places) == len(names) and all(agree):
            fitting += 1
            yield dict(zip(names, places, strict=True))
    if not fitting:
        raise TypeError(f"takes ({', '.join(told)}); which of them is X, Y, W, b, λ is unclear")


def _told(told: dict[str, str]) -> dict[str, str]:
    """Return the same; if there are two parameters for labels, one is one-hot, one has numbers."""
    if [*told.values()].count("y") != 2:
        return told
    return {
        name: quantity if quantity != "y" else "one-hot" if name[0] == "Y" else "classes"
        for name, quantity in told.items()
    }


def call(function: Callable[..., Any], wanted: Mapping[str, str], given: Mapping[str, Any]) -> Any:
    """Call the function with the given quantity for each of its parameters."""
    by_place, by_name = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in wanted and parameter.kind is parameter.POSITIONAL_ONLY:
            by_place.append(given[wanted[name]])
        elif name in wanted:
            by_name[name] = given[wanted[name]]
    return function(*by_place, **by_name)


def layouts(wanted: Mapping[str, str]) -> Iterator[Layout]:
    """Yield the possible layouts of these parameters, the likeliest first."""
    quantities = set(wanted.values())
    network = "network" in quantities
    no_bias = not network and "b" not in quantities and "P" not in quantities
    biases = ("none",) if no_bias else ("column", "vector", "row")
    labels = (False, True) if wanted.get("y") == "y" else (True, False)
    containers = ("dict", "layers", "lists") if network else ("arrays",)
    kinds = [("float64", False)]
    if "torch" in sys.modules:
        kinds += [("float64", True), ("float32", True)]
    for (dtype, torch), one_hot, columns, classes_first, bias, container in product(
        kinds, labels, (True, False), (True, False), biases, containers
    ):
        yield Layout(columns, classes_first, bias, one_hot, container, dtype, torch)


def arrays_of(found: Any) -> list[Array]:
    """Return the arrays of numbers in the return value of a function, in order."""
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, list | tuple) and not _is_matrix(found):
        return [array for value in found for array in arrays_of(value)]
    if hasattr(found, "detach"):  # a tensor
        found = found.detach().cpu().numpy()
    array = np.asarray(found)
    return [array] if array.dtype.kind in "fiub" else []


def _is_matrix(found: Sequence[Any]) -> bool:
    """Whether nested lists of numbers are one array."""
    if not isinstance(found, list) or not all(isinstance(e, int | float | list) for e in found):
        return False
    try:
        return np.asarray(found).dtype.kind in "fiub"
    except ValueError:  # rows of different lengths
        return False
