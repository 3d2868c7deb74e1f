"""Pickles read without unpickling them: unpickling runs code.

The standard library's `pickletools` lists the opcodes and runs nothing; the few opcodes that plain
values of protocol 2 need are carried out here. A global is a name on the stack: it is never
imported and never called. The reader of a format gives a meaning to the few names that it knows.
"""

import io
import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from onelayer.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Global:
    """The name of something that a pickle would import: module and name."""

    name: str


class RefusedError(Exception):
    """The current opcode is refused; the message is the reason."""


@dataclass
class Vocabulary:
    """The names that a format's pickles may hold besides plain values; none is imported.

    `reduce(function, arguments)` returns the value of a call, `build(target, state)` sets the state
    of such a value, `persistent(key)` returns a value that is stored outside the pickle. They raise
    RefusedError. `numbers` are further opcodes for numbers, `unknown` is the message for other
    names.
    """

    globals: Mapping[str, Global]
    reduce: Callable[[Any, Any], Any]
    build: Callable[[Any, Any], None] | None = None
    persistent: Callable[[Any], Any] | None = None
    numbers: tuple[str, ...] = ()
    unknown: str = "refuses the global {!r}"


def read_pickle(
    where: str, content: bytes, words: Vocabulary, most: int, take: Callable[[Any], T]
) -> T:
    """Return `take(value)` for the value of a pickle of protocol 2 of at most `most` opcodes.

    Raises
    ------
    InputError
        If it is anything else, or `take` refuses it. Names the byte.
    """
    stream, machine, position = io.BytesIO(content), _Machine(words), 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pickletools warns of odd escapes in some arguments
            for count, (opcode, argument, place) in enumerate(pickletools.genops(stream)):
                position = place or 0
                if count == most:
                    raise RefusedError(f"more than {most:,} opcodes")
                machine.step(opcode.name, argument)
        return take(machine.pop())
    except RefusedError as error:
        raise InputError(f"{where}: byte {position}: {error}") from error
    except (ArithmeticError, LookupError, ValueError, Warning, struct.error) as error:
        raise InputError(
            f"{where}: byte {stream.tell()}: not a pickle of protocol 2, or cut short"
        ) from error


@dataclass
class _Machine:
    """The pickle stack machine, without the opcodes that could run code."""

    words: Vocabulary
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)  # the stacks under each MARK
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "STOP":
                pass
            case "PROTO":
                if argument != 2:
                    raise RefusedError(f"pickle protocol {argument}, expected 2")
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
                    raise RefusedError(f"nothing was stored under {argument}")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                if argument not in self.words.globals:
                    raise RefusedError(self.words.unknown.format(str(argument)[:100]))
                self.stack.append(self.words.globals[argument])
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.words.reduce(function, arguments))
            case "BUILD" if self.words.build:
                state = self.pop()
                self.words.build(self.top(object), state)
            case "LONG1" | "BINFLOAT" if name in self.words.numbers:
                self.stack.append(argument)
            case "BINPERSID" if self.words.persistent:
                self.stack.append(self.words.persistent(self.pop()))
            case _:
                raise RefusedError(f"refuses the opcode {name}")

    def pop(self) -> Any:
        if not self.stack:
            raise RefusedError("nothing on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.below:
            raise RefusedError("no mark on the stack")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise RefusedError(f"expected a {kind.__name__} on the stack")
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        keys = items[::2]
        # Only strings and numbers are hashed: nested tuples of a few bytes can take forever.
        if len(items) % 2 or not all(type(key) in (str, int) for key in keys):
            raise RefusedError("expected pairs of a string or a whole number and a value")
        self.top(dict).update(zip(map(str, keys), items[1::2], strict=True))
