"""Command-line options made from the fields of dataclasses: see onelayer.option."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from onelayer.errors import InputError
from onelayer.option import Option, options_of

_MANY = "Of each model, one value or several: 0,0.1"


@dataclass(frozen=True)
class Group:
    """Options of a dataclass, and defaults that differ; with `many` each takes several values."""

    cls: type
    defaults: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()  # all, if empty
    many: bool = False
    when: str = ""  # the `defaults` hold, in words

    @property
    def options(self) -> dict[str, Option]:
        """The options by name."""
        every = options_of(self.cls)
        return {name: every[name] for name in self.names or every}

    def default(self, name: str) -> Any:
        """Return the default of an option in this group."""
        return self.defaults.get(name, self.options[name].default)

    def build(self, values: Mapping[str, Any], **fixed: Any) -> Any:
        """Return an instance of the dataclass from the values of the command line.

        Raises
        ------
        InputError
            If a value is out of its range: names the option.
        """
        return self.cls(**self.values(values), **fixed)

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the options by name; raises InputError as `build` does."""
        return {name: _check(each, values[name]) for name, each in self.options.items()}

    def lists(self, values: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the lists of values of those options that were given: 0,0.1 or several times.

        Raises
        ------
        InputError
            If a text is not a value of the option.
        """
        return {
            name: _read_list(each, values[name])
            for name, each in self.options.items()
            if values[name]
        }


def command_of(load: Callable[[], Sequence[Group]]) -> type[TyperCommand]:
    """Return the class of a command that also has the options of these groups.

    Their values, by name, are the `obj` of its context. The groups are loaded by a call or the help
    of the command, so that `onelayer --help` does not import them.
    """

    @cache
    def parameters() -> tuple[Any, ...]:
        return tuple(_parameters(load()))

    def many() -> dict[str, Option]:
        groups = [group for group in load() if group.many]
        return {name: each for group in groups for name, each in group.options.items()}

    class DescribedCommand(TyperCommand):
        def get_params(self, ctx: Any) -> list[Any]:
            return [*parameters(), *super().get_params(ctx)]

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            _refuse_spaces(args, [each for each in self.get_params(ctx) if each.multiple], many())
            return super().parse_args(ctx, args)

        def invoke(self, ctx: Any) -> Any:
            ctx.obj = {each.name: ctx.params.pop(each.name) for each in parameters()}
            return super().invoke(ctx)

    return DescribedCommand


def _parameters(groups: Sequence[Group]) -> list[Any]:
    """Return parameters of click, which typer makes from a function with annotations."""

    def function() -> None:
        """Carry the annotations."""

    annotations, defaults = {}, {}
    for group in groups:
        for name, each in group.options.items():
            annotations[name] = Annotated[_type(each, group), _option(each, group)]
            defaults[name] = None if group.many else group.default(name)
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation)
        for name, annotation in annotations.items()
    ]
    function.__annotations__ = annotations
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(function)
    made: Any = typer.main.get_command(app)
    return [each for each in made.params if each.name in annotations]


def _type(each: Option, group: Group) -> Any:
    if group.many:
        return list[str] | None
    kind = each.kind if each.kind in (bool, int, float) else str
    return kind | None if group.default(each.name) is None else kind


def _option(each: Option, group: Group) -> Any:
    flags = (_flag(each), *(f"--{alias}" for alias in each.aliases))
    if not group.many:
        return typer.Option(*flags, help=each.sentence)
    default = group.default(each.name)
    values = default if isinstance(default, tuple) else (default,)
    words = ",".join(_written(value) for value in values)
    when = group.when if each.name in group.defaults else ""
    help_text = f"{each.sentence.removesuffix('.')} (default{when}: {words})."
    return typer.Option(*flags, help=help_text, rich_help_panel=_MANY)


def _refuse_spaces(
    args: Sequence[str], multiple: Sequence[Any], described: Mapping[str, Option]
) -> None:
    """Raise InputError for values separated by a space instead of a comma: --l2 0 0.1."""
    flags = {flag: described.get(each.name) for each in multiple for flag in each.opts}
    for place, given in enumerate(args):
        flag, equals, value = given.partition("=")
        if flag in flags:
            _refuse_words(flag, flags[flag], [*([value] if equals else []), *args[place + 1 :]])


def _refuse_words(flag: str, option: Option | None, after: Sequence[str]) -> None:
    """Raise InputError if more words than the first one `after` a flag are values of its option.

    A word that is not a value of the option, or is the name of a file, is an argument.
    """
    more = itertools.takewhile(partial(_is_value, option), after[1:])
    words = [*after[:1], *more]
    values = " ".join(words).replace(",", " ").split()
    spaced = len(values) > 1 and (len(words) > 1 or not _is_value(option, words[0]))
    if spaced and all(_is_value(option, value) for value in values):
        raise InputError(f"{flag} {' '.join(words)}: write {flag} {','.join(values)}")


def _is_value(option: Option | None, text: str) -> bool:
    """Return whether a word is one value or several of an option, by default of numbers."""
    try:
        for part in filter(None, text.split(",")):
            float(part) if option is None else _read(option, part.strip())
    except ValueError:  # InputError is one
        return False
    return not Path(text).exists()


def _read_list(each: Option, texts: Sequence[str]) -> list[Any]:
    return [_read(each, text.strip()) for text in ",".join(texts).split(",")]


def _read(each: Option, text: str) -> Any:
    """Return the text as a value of the option."""
    value: Any = {"yes": True, "no": False}.get(text, text) if each.kind is bool else text
    if each.kind in (int, float):
        with suppress(ValueError):  # `read` says what is expected
            value = each.kind(text)
    return _check(each, value)


def _check(each: Option, value: Any) -> Any:
    """Return the checked value of the option; an error names the option by its flag."""
    try:
        return each.read(value)
    except InputError as error:
        value_is = f"{each.name} is "
        words = str(error)
        if words.startswith(value_is):
            raise InputError(f"{_flag(each)} is {words.removeprefix(value_is)}") from error
        raise InputError(f"{_flag(each)}: {words}") from error


def _flag(each: Option) -> str:
    return f"--{each.flag or each.name.replace('_', '-')}"


def _written(value: Any) -> str:
    """Return a value as a text for the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
