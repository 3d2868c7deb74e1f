"""Records: the one way to store a dataclass of arrays and plain values, and to read it back.

A record is one file, so it is whole or not there. `.safetensors` holds the arrays and, as JSON in
its header, everything else; `.json` is for records without arrays. No pickle: no file runs code.
A new kind of record is its dataclass and one line:

    CHECKPOINT = Kind("checkpoint", Checkpoint, format=1)
    CHECKPOINT.save(checkpoint, path)
    checkpoint = CHECKPOINT.load(path)
"""

import dataclasses
import errno
import hashlib
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import numpy as np
from numpy.typing import NDArray

from onelayer.arguments import check_fields, hints_of
from onelayer.errors import InputError, shown
from onelayer.plain_values import LONGEST, check_plain, parse_json, read_text, to_json
from onelayer.storage import atomic_file

KEY = "onelayer"  # one key in the metadata: the library writes several keys in any order
_LARGEST_FLOAT = float(np.finfo(np.float64).max)
_LARGEST_INT = 1 << 63  # a larger integer would overflow

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
Upgrade = Callable[[Any, Arrays], tuple[Any, Arrays]]


@dataclass(frozen=True)
class Within:
    """The range of the numbers in a field: `Annotated[float, Within(0, 1)]`.

    In an array NaN stands for an unknown value; elsewhere it is out of range.
    """

    least: float
    most: float = math.inf

    def check(self, place: str, value: Any) -> None:
        """Raise InputError if a number of the field `place` is out of range."""
        numbers = np.asarray(value)
        known = numbers[~np.isnan(numbers)] if isinstance(value, np.ndarray) else numbers
        wrong = known[~((known >= self.least) & (known <= self.most))]
        if wrong.size:
            raise InputError(f"{place}: found {wrong.flat[0]:g}, expected {self.expected}")

    @property
    def expected(self) -> str:
        """The range in words."""
        if self == FINITE:
            return "a finite number"
        above = f"{self.least:g} or more"
        return above if self.most == math.inf else f"{self.least:g} to {self.most:g}"


SHARE, COUNT = Within(0, 1), Within(0)
FINITE = Within(-_LARGEST_FLOAT, _LARGEST_FLOAT)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How records of one type are stored: their name in the file, and the number of the format.

    The fields called `apart` are stored elsewhere: `save` leaves them out, `load` is given them.
    A field with the metadata {"stored": False} is not stored at all and comes back as its default.
    `upgrades` holds, for an old format number, the function that turns the JSON and the arrays of
    such a file into what the next format stores under "record"; a file that has no number is of
    format 0. Formats without a way up are refused. A `sealed` record holds its own SHA-256: where
    no list of files has one, a bit that the disk changed is found.
    """

    name: str
    type: type[T]
    format: int
    apart: tuple[str, ...] = ()
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)
    sealed: bool = False

    def save(self, record: T, path: str | Path, run_id: str = "") -> None:
        """Write the record, whole or not at all; `run_id` is the id of its run, if any.

        Equal records give equal bytes.

        Raises
        ------
        InputError
            If the plain values take more than 32 MiB of JSON.
        """
        path, arrays = Path(path), dict[str, NDArray[Any]]()
        header: dict[str, Any] = {"kind": self.name, "format": self.format}
        header |= {"run": run_id} if run_id else {}
        header["record"] = _encode(record, "", arrays, self.apart)
        readable = path.suffix == ".json"
        if readable and arrays:
            raise TypeError(f"{path}: a .json record cannot hold the array {next(iter(arrays))}")
        check_plain(header)
        header |= {"seal": _seal(header, arrays)} if self.sealed else {}
        text = to_json(header, 1 if readable else None)
        if len(text.encode()) > LONGEST:
            raise InputError(f"{path}: the {self.name} has too many settings or names to be stored")
        with atomic_file(path) as temporary:
            if readable:
                temporary.write_text(text + "\n", "utf-8")
            else:
                from safetensors import SafetensorError
                from safetensors.numpy import save_file

                try:
                    save_file(arrays, temporary, {KEY: text})
                except SafetensorError as error:  # a full disk
                    raise OSError(errno.EIO, str(error)) from error

    def load(self, path: str | Path, run_id: str = "", **apart: Any) -> T:
        """Return the record in the file; `apart` are the values of the fields stored elsewhere.

        Raises
        ------
        InputError
            If there is no such file, it is damaged, of another kind, of a format that cannot be
            read, or not of the run `run_id`. Names the file, the place in it and the cause.
        """
        path = Path(path)
        if not path.is_file():
            found = "not a file" if path.exists() else "no such file"
            raise InputError(f"{path}: {found}; expected {self.name} stored by onelayer")
        try:
            header, arrays = _read(path)
            if self.sealed and header.pop("seal", "") != _seal(header, arrays):
                raise InputError("it is not what was written: its SHA-256 is another")
            content = self._content(header, arrays)
            if run_id and header.get("run", run_id) != run_id:
                raise InputError("it belongs to another run than the rest of its folder")
            record: T = _decode(self.type, content[0], "", content[1], apart)
            if content[1]:
                raise InputError(f"array {min(content[1])!r}: not expected")
        except MemoryError:
            raise
        except RecursionError as error:
            raise InputError(f"{path}: {self._refusal}: brackets too deep") from error
        except Exception as error:  # errors of the library, and of checks of unforeseen values
            raise InputError(f"{path}: {self._refusal}: {_one_line(error)}") from error
        return record

    @property
    def _refusal(self) -> str:
        return f"holds no {self.name} that can be read"

    def _content(self, header: Any, arrays: Arrays) -> tuple[Any, Arrays]:
        """Return the record's plain values and arrays, brought to the present format."""
        kind, number = self.name, 0
        if isinstance(header, dict):
            kind, number = header.get("kind", kind), header.get("format", 0)
        if kind != self.name:
            raise InputError(f"it is of the kind {shown(kind)}")
        if type(number) is not int:
            raise InputError(f"its format is {shown(number)}, expected a whole number")
        if number > self.format:
            raise InputError(
                f"its format is {shown(number)} and this onelayer reads up to {self.format}; "
                "a later one may read it"
            )
        if number == self.format and "record" not in header:
            raise InputError("it has no record")
        content = header["record"] if number == self.format else header
        for old in range(number, self.format):
            if old not in self.upgrades:
                raise InputError(f"its format is {number}, expected {self.format}")
            content, arrays = self.upgrades[old](content, arrays)
        return content, arrays


def only_more_fields(header: Any, arrays: Arrays) -> tuple[Any, Arrays]:
    """Return the content for a next format that only added fields with defaults."""
    return header.get("record", header), arrays


def check_arrays(*records: Any, **sizes: int) -> None:
    """Check the arrays of dataclasses against the types and shapes that their fields declare.

    A field declares its shape in letters, `Annotated[NDArray[np.float64], "(M, K)"]`; for a tuple
    it is the length. A letter means the same number in all `records`: the one in `sizes`, or else
    that of the first field with the letter.

    Raises
    ------
    InputError
        If an array has another type or shape; names the field.
    """
    for record in records:
        cls: Any = type(record)
        check_fields(record)
        for name, hint in hints_of(cls).items():
            kind, *rules = get_args(hint) if get_origin(hint) is Annotated else [hint]
            for shape in (rule for rule in rules if isinstance(rule, str)):
                value = getattr(record, name)
                _check_shape(name, value, re.findall(r"\w+", shape), sizes)
                _check_dtype(name, value, kind)


def _check_shape(name: str, value: Any, letters: list[str], sizes: dict[str, int]) -> None:
    found = value.shape if isinstance(value, np.ndarray) else (len(value),)
    expected = [int(letter) if letter.isdigit() else sizes.get(letter) for letter in letters]
    for place, number in enumerate(found[: len(letters)]):
        if expected[place] is None:  # the first use of a letter fixes its number
            expected[place] = sizes.setdefault(letters[place], number)
    if list(found) != expected:
        words = ", ".join(
            letter if number is None else str(number)
            for letter, number in zip(letters, expected, strict=True)
        )
        raise InputError(f"{name} of the shape {found}, expected ({words})")


def _check_dtype(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is np.ndarray:
        (scalar,) = get_args(get_args(hint)[1])
        if scalar is not Any and value.dtype != scalar:
            raise InputError(f"{name} of {value.dtype}, expected {np.dtype(scalar)}")


def _read(path: Path) -> tuple[Any, Arrays]:
    """Return the JSON and the arrays of a file; sizes in it are checked before they are used."""
    if path.suffix == ".json":
        return parse_json(read_text(path)), {}
    from safetensors import safe_open

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(2 * LONGEST, path.stat().st_size):  # quotes in the JSON are escaped
        raise InputError(f"a header of {length:,} bytes in a file of {path.stat().st_size:,}")
    with safe_open(path, framework="numpy") as tensors:
        text = (tensors.metadata() or {}).get(KEY)
        if text is None:
            raise InputError("a safetensors file, but not one of onelayer")
        names = list(tensors.keys())
        return parse_json(text), {name: tensors.get_tensor(name) for name in names}


def _seal(header: Mapping[str, Any], arrays: Arrays) -> str:
    """Return the SHA-256 of all that a record holds."""
    found = hashlib.sha256(to_json(header, None).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _encode(value: Any, place: str, arrays: Arrays, apart: tuple[str, ...] = ()) -> Any:
    """Return the value for JSON; its arrays go into `arrays`, by their place in the record."""
    if isinstance(value, np.ndarray):
        arrays[place] = np.asarray(value, value.dtype.newbyteorder("="), order="C")
        return None
    if dataclasses.is_dataclass(value):
        stored = [f.name for f in dataclasses.fields(value) if f.metadata.get("stored", True)]
        value = {name: getattr(value, name) for name in stored if name not in apart}
    if isinstance(value, Mapping):
        plain = {name: _encode(one, _join(place, name), arrays) for name, one in value.items()}
        return {name: one for name, one in plain.items() if _join(place, name) not in arrays}
    if isinstance(value, tuple | list):
        return [_encode(one, _join(place, number), arrays) for number, one in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _decode(
    hint: Any, value: Any, place: str, arrays: Arrays, apart: Mapping[str, Any] | None = None
) -> Any:
    """Return the value that _encode stored, of the type `hint`; its arrays leave `arrays`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = _decode(args[0], value, place, arrays)
        for rule in args[1:]:
            if isinstance(rule, Within):
                rule.check(place, found)
        return found
    if origin in (Union, types.UnionType):  # X | None
        absent = value is None and place not in arrays
        return None if absent else _decode(args[0], value, place, arrays)
    if origin is np.ndarray:
        if place not in arrays:
            raise InputError(f"{place or 'the array'}: missing")
        _check_dtype(place, arrays[place], hint)
        return arrays.pop(place)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _decode_dataclass(hint, value, place, arrays, apart or {})
    if origin is tuple and isinstance(value, list):
        hints = args[:1] * len(value) if args[1:] == (...,) else args
        if len(hints) == len(value):
            places = [_join(place, number) for number in range(len(value))]
            return tuple(map(_decode, hints, value, places, [arrays] * len(value)))
    if origin in (dict, Mapping) and isinstance(value, dict):
        below = f"{place}."
        inner = [name.removeprefix(below) for name in arrays if name.startswith(below)]
        value = value | dict.fromkeys(inner) if get_origin(args[1]) is np.ndarray else value
        return {name: _decode(args[1], one, _join(place, name), arrays)
                for name, one in value.items()}  # fmt: skip
    if hint is Any or (origin is Literal and value in args) or _is_plain(value, hint):
        return value
    name = hint.__name__ if origin is None else re.sub(r"\w+\.", "", str(hint))
    raise InputError(f"{place or 'record'}: found {shown(value)}, expected {name}")


def _decode_dataclass(
    cls: Any, value: dict[str, Any], place: str, arrays: Arrays, apart: Mapping[str, Any]
) -> Any:
    fields, values = {field.name: field for field in dataclasses.fields(cls)}, dict(apart)
    for name, hint in hints_of(cls).items():
        inner = _join(place, name)
        if name in apart:
            continue
        if name in value or inner in arrays:
            values[name] = _decode(hint, value.get(name), inner, arrays)
        elif fields[name].default is fields[name].default_factory:  # both MISSING
            raise InputError(f"{inner}: missing")
    if unknown := value.keys() - fields.keys():
        raise InputError(f"{_join(place, min(unknown))}: not expected")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{place}: {error}" if place else str(error)) from error


def _is_plain(value: Any, hint: Any) -> bool:
    """Whether the value is of the plain type `hint`: a bool is not a number, an int is a float."""
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if isinstance(value, bool) or not isinstance(value, int):
        return hint is float and isinstance(value, float)
    return hint in (int, float) and abs(value) < _LARGEST_INT


def _join(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or repr(error)
