"""Return values: quantities recognised by their sizes, in the shapes of docs/maths.md."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model import network
from onelayer.model.doctor.conventions import Layout, arrays_of
from onelayer.model.doctor.matching import relative_distance
from onelayer.model.doctor.points import BATCH, EPOCHS, RATE, Point

Array = NDArray[Any]
Arrays = dict[str, Array]


def take_gradient(found: Any, layout: Layout, point: Point) -> Arrays:
    """Return dW (K, D), db (K,) and the cost, those that the function returned.

    `turned` is 1 if dW has the shape of Wᵀ.

    Raises
    ------
    ValueError
        If no array has the size of W, or one number stands where ∂J/∂b belongs.
    """
    _, D, K = point.sizes
    taken: Arrays = {}
    arrays = arrays_of(found)
    for array in arrays:
        if array.dtype.kind not in "fiub":
            continue
        if array.size == K * D:
            taken.setdefault("dW", array)
        elif array.size == K:
            taken.setdefault("db", array.reshape(K))
        elif array.size == 1:
            taken.setdefault("cost", array.reshape(()))
    sides = (K, D) if layout.classes_first else (D, K)
    if "dW" not in taken:
        raise ValueError(f"expected ∂J/∂W of the shape {_shape(sides)}, found {_shapes(arrays)}")
    if layout.bias != "none" and "db" not in taken and arrays[-1].size == 1:
        raise ValueError(f"expected ∂J/∂b of {K} numbers, found {_shapes(arrays[-1:])}")
    turned = taken["dW"].shape == sides[::-1]
    values = taken["dW"].T if turned else taken["dW"].reshape(sides)
    taken["dW"] = values if layout.classes_first else values.T
    if layout.bias == "none":
        taken.pop("db", None)
    return taken | ({"turned": np.array(1.0)} if turned else {})


def take_number(found: Any, layout: Layout, point: Point) -> Arrays:
    """Return the numbers in a return value, the last first: a cost comes after its loss."""
    arrays = arrays_of(found)
    numbers = [array.reshape(()) for array in arrays if array.size == 1]
    if not numbers:
        raise ValueError(f"expected one number, found {_shapes(arrays)}")
    return {"value": numbers[-1]}


def take_rows(found: Any, layout: Layout, point: Point) -> Arrays:
    """Return the array with the shape of the probabilities, as (N, K).

    Raises
    ------
    ValueError
        If there is none.
    """
    N, _, K = point.sizes
    shape = (K, N) if layout.columns else (N, K)
    arrays = arrays_of(found)
    fitting = [array for array in arrays if array.shape == shape]
    if not fitting:
        raise ValueError(f"expected an array of the shape {_shape(shape)}, found {_shapes(arrays)}")
    return {"value": fitting[-1].T if layout.columns else fitting[-1]}


def _shape(sides: tuple[int, ...]) -> str:
    return "×".join(map(str, sides)) or "one number"


def _shapes(arrays: list[Array]) -> str:
    return ", ".join(_shape(array.shape) for array in arrays) or "nothing"


def right_gradient(point: Point) -> Arrays:
    """Return the textbook's ∂J/∂W and ∂J/∂b."""
    dW, db = network.gradients(point.X, point.y, point.W, point.b, point.l2, point.loss)
    return {"dW": dW, "db": db}


def right_cost(point: Point) -> Arrays:
    """Return the textbook's J."""
    J = network.cost(point.X, point.y, point.W, point.b, point.l2, point.loss)
    return {"value": np.asarray(J)}


def right_accuracy(point: Point) -> Arrays:
    """Return the accuracy: the share of rows whose largest score is that of their class."""
    return {"value": np.asarray(np.mean(network.predictions(point.S) == point.y))}


def right_descent(point: Point) -> Arrays:
    """Return W and b after the epochs of descent, with batches in the order of the rows."""
    W, b = point.W, point.b
    for _ in range(EPOCHS):
        for first in range(0, len(point.X), BATCH):
            rows = slice(first, first + BATCH)
            X, y = point.X[rows], point.y[rows]
            W, b = network.descend(X, y, W, b, l2=point.l2, learning_rate=RATE, kind=point.loss)
    return {"dW": W, "db": b}


def distance(taken: Mapping[str, Array], right: Mapping[str, Array], layout: Layout) -> float:
    """Return the distance of an answer from the right one, 10 if it is NaN or missing."""
    expected = [name for name in right if not (name == "db" and layout.bias == "none")]
    found = [
        relative_distance(taken[name], right[name]) if name in taken else np.inf
        for name in expected
    ]
    return float(min(max(found), 10.0)) + ("turned" in taken)


TAKE: dict[str, tuple[Callable[[Any, Layout, Point], Arrays], Callable[[Point], Arrays]]] = {
    "gradient": (take_gradient, right_gradient),
    "numerical": (take_gradient, right_gradient),
    "cost": (take_number, right_cost),
    "probabilities": (take_rows, lambda point: {"value": point.P}),
    "forward": (take_rows, lambda point: {"value": point.P}),
    "softmax": (take_rows, lambda point: {"value": point.P}),
    "accuracy": (take_number, right_accuracy),
    "descent": (take_gradient, right_descent),
}
