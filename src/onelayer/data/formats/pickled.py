"""The batches of CIFAR-10's python version, read without unpickling them.

Unpickling runs code. Here the opcodes are listed by the standard library's `pickletools`, which
runs nothing, and the few that these files use (protocol 2, as Python 2 wrote it) build plain
values. A global is a name on the stack: it is never imported and never called.
"""

import io
import pickletools
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.files import read_file
from onelayer.errors import InputError


@dataclass(frozen=True)
class _Global:
    name: str


_RECONSTRUCT = _Global("numpy.core.multiarray _reconstruct")
_NDARRAY = _Global("numpy ndarray")
_DTYPE = _Global("numpy dtype")
_GLOBALS = {known.name: known for known in (_RECONSTRUCT, _NDARRAY, _DTYPE)}


@dataclass(frozen=True)
class _ByteType:
    """Stands for numpy.dtype("u1")."""


@dataclass(eq=False)
class _Array:
    """Stands for the array that numpy's _reconstruct would make; BUILD fills its state."""

    state: object = None


class _RefusedError(Exception):
    """What is wrong with the opcode at hand."""


def read_batch(
    path: Path, rows: int, columns: int, labels: str = "labels"
) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the "data" (rows, columns) uint8 and the list `labels` of a pickled batch.

    Raises
    ------
    InputError
        If the file is anything else. Names the file and the byte.
    """
    stream = io.BytesIO(read_file(path, limit=rows * (columns + 1024) + 65536))
    most = 10 * rows + 1000  # a real batch has about 3 a row: no file keeps us busy for long
    machine, position = _Machine(), 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pickletools warns of odd escapes in some arguments
            for count, (opcode, argument, place) in enumerate(pickletools.genops(stream)):
                position = place or 0
                if count == most:
                    raise _RefusedError(f"more than {most:,} opcodes")
                machine.step(opcode.name, argument)
        batch = machine.pop()
        return _pixels(batch, rows, columns), _labels(batch, rows, labels)
    except _RefusedError as error:
        raise InputError(f"{path}: byte {position}: {error}") from error
    except (ArithmeticError, LookupError, ValueError, Warning, struct.error) as error:
        raise InputError(
            f"{path}: byte {stream.tell()}: not a pickle of protocol 2, or cut short"
        ) from error


@dataclass
class _Machine:
    """The pickle stack machine, without the opcodes that could do anything."""

    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)  # the stacks under each MARK
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "STOP":
                pass
            case "PROTO":
                if argument != 2:
                    raise _RefusedError(f"pickle protocol {argument}, expected 2")
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "BINUNICODE":
                self.stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING":  # bytes as Latin-1 characters
                self.stack.append(argument)
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "TUPLE":
                items = self.pop_to_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(reversed(items)))
            case "APPEND" | "APPENDS":
                items = [self.pop()] if name == "APPEND" else self.pop_to_mark()
                self.top(list).extend(items)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top(object)
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise _RefusedError(f"nothing was stored under {argument}")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                if argument not in _GLOBALS:
                    raise _RefusedError(f"refuses the global {str(argument)[:100]!r}")
                self.stack.append(_GLOBALS[argument])
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(_reduce(function, arguments))
            case "BUILD":
                self.build(self.pop())
            case _:
                raise _RefusedError(f"refuses the opcode {name}")

    def pop(self) -> Any:
        if not self.stack:
            raise _RefusedError("nothing on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.below:
            raise _RefusedError("no mark on the stack")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise _RefusedError(f"expected a {kind.__name__} on the stack")
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        keys = items[::2]
        # Hashing only strings: nested tuples of a few bytes take for ever to hash.
        if len(items) % 2 or not all(isinstance(key, str) for key in keys):
            raise _RefusedError("expected pairs of a string and a value")
        self.top(dict).update(zip(keys, items[1::2], strict=True))

    def build(self, state: Any) -> None:
        target = self.top(object)
        if isinstance(target, _Array):
            target.state = state
        elif not isinstance(target, _ByteType):  # the state of a one-byte type says nothing
            raise _RefusedError("refuses to build anything but an array and its type")


def _reduce(function: Any, arguments: Any) -> object:
    # The constants stand on the left: a hostile tuple is compared no deeper than they go.
    if function == _RECONSTRUCT and arguments == (_NDARRAY, (0,), "b"):
        return _Array()
    if function == _DTYPE and arguments == ("u1", 0, 1):
        return _ByteType()
    raise _RefusedError("refuses to make anything but an array of unsigned bytes")


def _pixels(batch: Any, rows: int, columns: int) -> NDArray[np.uint8]:
    array = batch.get("data") if isinstance(batch, dict) else None
    state = array.state if isinstance(array, _Array) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise _RefusedError('no array under the key "data"')
    _, shape, kind, fortran, content = state
    if (rows, columns) != shape or not isinstance(kind, _ByteType):
        raise _RefusedError(f"expected an array of {rows:,} × {columns:,} unsigned bytes")
    if not isinstance(content, str) or len(content) != rows * columns:
        raise _RefusedError(f"expected {rows * columns:,} bytes of pixels")
    pixels = np.frombuffer(content.encode("latin-1"), np.uint8)
    return pixels.reshape(columns, rows).T if fortran is True else pixels.reshape(rows, columns)


def _labels(batch: dict[str, Any], rows: int, name: str) -> list[int]:
    labels = batch.get(name)
    if not isinstance(labels, list) or len(labels) != rows:
        raise _RefusedError(f'expected a list of {rows:,} numbers under the key "{name}"')
    if not all(type(label) is int for label in labels):
        raise _RefusedError(f'the list "{name}" holds something else than whole numbers')
    return labels
