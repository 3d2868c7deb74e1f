"""Values as bytes, between the process that grades and the one that runs somebody else's code.

A frame is its length and its body; a body is a JSON tree, in which arrays stand by their number,
and the arrays' own bytes. Nothing in it can be run, and nothing is allocated before its size is
held against the bytes that came.
"""

import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

LENGTH = 8  # bytes of a length
_LONGEST_TREE = 4 * 2**20  # bytes of JSON
_DEEPEST = 32
_KINDS = "biufc"  # of arrays: booleans, integers, floats, complex numbers
_TYPE = re.compile(rf"[<>|][{_KINDS}]\d{{1,2}}")


class WireError(ValueError):
    """Bytes that are no frame."""


def encode(value: Any) -> bytes:
    """Return the frame of a value: numbers, texts, arrays, and lists, tuples and dicts of them.

    Of anything else, only the name of its type travels; of a dict with `patterns` they do, too:
    regular expressions of the names by which each key may be asked for.
    """
    arrays: list[NDArray[Any]] = []
    tree = {"tree": _shrink(value, arrays, 0), "arrays": [[a.dtype.str, a.shape] for a in arrays]}
    text = json.dumps(tree).encode()
    parts = [len(text).to_bytes(LENGTH, "little"), text]
    parts += [np.ascontiguousarray(array).tobytes() for array in arrays]
    return b"".join([sum(map(len, parts)).to_bytes(LENGTH, "little"), *parts])


def _plain(kind: str, value: Any) -> Any:
    """Return an array for a tensor and a dict for one with patterns."""
    return value[1] if kind == "spelled" else value


def decode(body: bytes, keep: Callable[[str, Any], Any] = _plain) -> Any:
    """Return the value of a frame's body; an unknown type becomes an `Other`.

    What was a tensor of PyTorch is an array here, and a dict with patterns a dict, unless `keep`
    makes more of the kinds "tensor" and "spelled".

    Raises
    ------
    WireError
        If the bytes are anything else than a frame that `encode` could have made.
    """
    try:
        length = int.from_bytes(body[:LENGTH], "little")
        if not length <= min(len(body) - LENGTH, _LONGEST_TREE):
            raise WireError("a tree that is cut off or too long")
        found = json.loads(body[LENGTH : LENGTH + length])
        arrays = _cut(memoryview(body)[LENGTH + length :], found["arrays"])
        return _grow(found["tree"], dict(enumerate(arrays)), keep, 0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise WireError(f"not a frame: {error!r:.200}") from error


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the body of the next frame of a stream that blocks, None at its end."""
    head = stream.read(LENGTH)
    return stream.read(int.from_bytes(head, "little")) if len(head) == LENGTH else None


class Other:
    """Stands for a value of a type that does not travel."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _shrink(value: Any, arrays: list[NDArray[Any]], depth: int) -> Any:
    if depth > _DEEPEST:
        return {"other": "something nested too deeply"}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return {type(value).__name__: [_shrink(each, arrays, depth + 1) for each in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name, _ in value.items()):
        held = {name: _shrink(each, arrays, depth + 1) for name, each in value.items()}
        patterns = getattr(value, "patterns", None)
        return {"spelled": [patterns, {"dict": held}]} if patterns else {"dict": held}
    array = _as_array(value)
    if array is None:
        return {"other": f"{type(value).__module__}.{type(value).__qualname__}"}
    arrays.append(array)
    return {"tensor" if hasattr(value, "detach") else "array": len(arrays) - 1}


def _as_array(value: Any) -> NDArray[Any] | None:
    if hasattr(value, "detach"):  # a tensor of PyTorch, which may want its gradient
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray | np.generic):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in _KINDS else None


def _cut(data: memoryview, forms: list[Any]) -> list[NDArray[Any]]:
    """Return the arrays that lie behind each other in `data`, in their types and shapes."""
    arrays, at = [], 0
    for name, shape in forms:
        sizes = [operator.index(n) for n in shape]
        if not _TYPE.fullmatch(name) or len(sizes) > 32 or min(sizes, default=0) < 0:
            raise WireError(f"an array of {name!r:.40}, shape {shape!r:.40}")
        dtype = np.dtype(name)
        end = at + math.prod(sizes) * dtype.itemsize
        if end > len(data):
            raise WireError("an array that is cut off")
        arrays.append(np.frombuffer(data[at:end], dtype).reshape(sizes).copy())
        at = end
    return arrays


def _grow(
    tree: Any, arrays: dict[int, NDArray[Any]], keep: Callable[[str, Any], Any], depth: int
) -> Any:
    """Return the value of a tree; each array is taken once, lest few bytes become many."""
    if depth > _DEEPEST + 1:
        raise WireError("a tree that is too deep")
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            raise WireError("a list without its type")
        return tree

    def grow(each: Any) -> Any:
        return _grow(each, arrays, keep, depth + 1)

    ((kind, held),) = tree.items()
    match kind:
        case "array":
            return arrays.pop(held)
        case "tensor":
            return keep(kind, arrays.pop(held))
        case "other":
            return Other(str(held)[:200])
        case "dict":
            return {name: grow(each) for name, each in held.items()}
        case "spelled":
            patterns, values = held
            return keep(kind, (patterns, grow(values)))
    return {"list": list, "tuple": tuple}[kind](map(grow, held))
