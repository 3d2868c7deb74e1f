"""An option is described once, as a field of a dataclass; every door is made from that field.

`option` makes the field. From it come the validation (`check`), the command line, the keys of spec
and config files, the keywords of the Python functions (`takes`), labels and the table in the docs.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, TypeVar

from onelayer.errors import InputError, shown, unknown_name
from onelayer.plain_values import check_text

LARGEST_INT = 1 << 63  # a larger integer would overflow

COUNT = 1_000_000  # the largest number of epochs: more would take years
SEED = 2**53  # the largest seed: every program reads it exactly, also from JSON

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """One option: its meaning and its values.

    `kind` is bool, int, float or str; for any other class, `parse` alone checks the values. Numbers
    lie from `least` to `most`, strictly above `above` and below `below`. `choices` are the known
    texts. `parse` raises InputError for a text that it cannot read; for any other class it returns
    the value. None is a value if it is the default. `label` formats a value in the name of a model,
    `flag` is the name on the command line if it differs, and `aliases` are further names there.
    """

    name: str
    annotation: Any
    help: str
    kind: type
    default: Any
    symbol: str = ""
    label: str = "{}"
    flag: str = ""
    aliases: Sequence[str] = ()
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: Iterable[str] = ()
    parse: Callable[[Any], Any] | None = None

    @property
    def heading(self) -> str:
        """The symbol, or else the name in words."""
        return self.symbol or self.name.replace("_", " ")

    @property
    def sentence(self) -> str:
        """The help text with the symbol before it."""
        return f"{self.symbol}: {self.help}" if self.symbol else self.help

    @property
    def expected(self) -> str:
        """The values it takes, in words."""
        if self.kind is bool:
            return "true or false"
        if self.kind not in (int, float):
            return "a text"
        words = "a whole number" if self.kind is int else "a number"
        if self.above > -math.inf:
            words += f" above {self.above:g}"
        elif self.least > -math.inf:
            words += f" from {self.least:g}"
        if self.below < math.inf:
            words += f", below {self.below:g}"
        elif self.most < math.inf:
            exact = self.kind is int or self.most < 1e9
            words += f", up to {self.most:,.0f}" if exact else f", up to {self.most:g}"
        return words

    def read(self, value: Any) -> Any:
        """Return the value as one of `kind`.

        Raises
        ------
        InputError
            If it is of another type, out of range, or an unknown name.
        """
        if value is None and self.default is None:
            return None
        if self.kind in (bool, int, float):
            value = self._number(value)
        elif self.kind is str and not isinstance(value, str):
            raise self._error(value)
        elif self.kind is str:
            check_text(value, f"{self.name}: ")
        if self.choices and value not in self.choices:
            raise unknown_name(self.name, value, self.choices)
        if self.parse is not None:
            parsed = self.parse(value)
            return value if self.kind in (bool, int, float, str) else parsed
        return value

    def _number(self, value: Any) -> bool | int | float:
        """Return a number of `kind` in the range; 3.0 is a whole number, true is not a number."""
        try:
            number = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise self._error(value) from None
        is_bool = type(value).__name__ in ("bool", "bool_")  # Python's or NumPy's
        if isinstance(value, str) or is_bool != (self.kind is bool) or number != value:
            raise self._error(value)
        in_range = self.least <= number <= self.most and self.above < number < self.below
        if not in_range or (self.kind is int and abs(number) >= LARGEST_INT):
            raise self._error(value)
        return number  # type: ignore[no-any-return]

    def _error(self, value: Any) -> InputError:
        return InputError(f"{self.name} is {shown(value)}; expected {self.expected}")


def option(default: Any, help: str, *, kind: type | None = None, **rest: Any) -> Any:
    """Return a dataclass field that an Option describes, by default of the default's type."""
    described = {"help": help, "kind": kind or type(default), "default": default, **rest}
    return dataclasses.field(default=default, metadata={"option": described})


@cache
def options_of(*classes: type) -> Mapping[str, Option]:
    """Return the options of dataclasses, by name, in the order of their fields."""
    return {
        field.name: Option(field.name, field.type, **field.metadata["option"])
        for cls in classes
        for field in dataclasses.fields(cls)
        if "option" in field.metadata
    }


def unknown_option(kind: str, name: str, options: Mapping[str, Option]) -> InputError:
    """Return the error for an unknown option; for an alias it suggests the name."""
    for each in options.values():
        if name in each.aliases:
            return InputError(f"unknown {kind} {name!r}; did you mean {each.name!r}?")
    return unknown_name(kind, name, options)


class Checked:
    """A frozen dataclass of options that checks its values, and their types, when it is built.

    Raises
    ------
    InputError
        If a value is of another type, out of range, or an unknown name.
    """

    def __post_init__(self) -> None:
        for name, described in options_of(type(self)).items():  # type: ignore[arg-type]
            object.__setattr__(self, name, described.read(getattr(self, name)))


def build(cls: type[T], values: Mapping[str, Any], kind: str = "option") -> T:
    """Return a `cls` with these values.

    Raises
    ------
    InputError
        If a name is not one of its fields (suggests the nearest), or `cls` refuses a value.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"found {shown(values)}; expected a value for each {kind}")
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_option(kind, name, options_of(cls))  # type: ignore[arg-type]
    return cls(**values)


def takes(
    defaults: Mapping[str, Any] | None = None, /, **groups: type
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a function take the fields of dataclasses as its own keywords.

    `@takes(options=TrainingOptions)` builds the argument `options` from the keywords that are
    fields of TrainingOptions, unless `options` is given itself. `help()` shows each field with its
    default; `defaults` are the defaults that differ for this function.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Size(Checked):
    ...     width: int = option(1, "Width in pixels.", least=1)
    >>> @takes(size=Size)
    ... def area(height, *, size):
    ...     return height * size.width
    >>> area(3, width=2)
    6
    >>> inspect.signature(area)
    <Signature (height, *, width: int = 1)>
    """
    own_defaults = defaults or {}

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        fields = {name: options_of(cls) for name, cls in groups.items()}
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.name not in groups]
        made = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=own_defaults.get(name, each.default),
                annotation=each.annotation,
            )
            for options in fields.values()
            for name, each in options.items()
        ]
        names = [each.name for each in (*own, *made)]

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> R:
            for name in keywords:
                if name not in names and name not in groups:
                    raise unknown_name(f"argument of {function.__name__}", name, names)
            for group, cls in groups.items():
                given = {name: keywords.pop(name) for name in fields[group] if name in keywords}
                if group not in keywords or given:
                    own = {k: v for k, v in own_defaults.items() if k in fields[group]}
                    keywords[group] = cls(**{**own, **given})
            return function(*arguments, **keywords)

        call.__signature__ = signature.replace(parameters=own + made)  # type: ignore[attr-defined]
        return call

    return decorate
