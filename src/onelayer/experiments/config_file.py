"""The options of a command in a file, and how such files are read."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelayer.errors import InputError, unknown_name
from onelayer.plain_values import LONGEST, check_plain, parse_json, read_text

LONGEST_TOML = 1 << 20  # bytes, which take a second to read


def shipped_files(folder: Path) -> dict[str, Path]:
    """Return the TOML files of a folder of the package, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_file(kind: str, name: str, folder: Path) -> Path:
    """Return the file of the package with this `name`, in `folder`, or the file `name`.

    Raises
    ------
    InputError
        If there is no such file; calls it by its `kind` and suggests the nearest name.
    """
    path = shipped_files(folder).get(name) or Path(name)
    if path.is_file():
        return path
    if path.suffix in (".toml", ".json") or path.parent != Path():
        raise InputError(f"{path}: no such {kind} file")
    raise unknown_name(kind, name, shipped_files(folder))


def read_table(path: Path) -> dict[str, Any]:
    """Return the table in the file `path`: JSON if that is its suffix, else TOML.

    Raises
    ------
    InputError
        If it holds no table or is far too large; names the file and, if possible, the line.
    """
    is_json = path.suffix == ".json"
    try:
        text = read_text(path, LONGEST if is_json else LONGEST_TOML)
        table = parse_json(text) if is_json else tomllib.loads(text)
        if not is_json:
            check_plain(table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    if not isinstance(table, dict):
        raise InputError(f"{path}: found {table!r:.60}; expected a table of keys")
    return table


def load_config(path: Path, options: Mapping[str, str]) -> dict[str, str]:
    """Return the value of every option that the file `path` sets, as a text of the command line.

    Its keys are those of `options`, with - or _, which maps each key to its option: an option may
    have several keys. A list becomes a text with commas, true and false become yes and no.

    Raises
    ------
    InputError
        If the file cannot be read, a key is not an option (suggests the nearest) or given twice, or
        a value is neither a text, a number, true or false nor a list of those.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    values: dict[str, str] = {}
    keys: dict[str, str] = {}
    for key, value in read_table(path).items():
        option = key.replace("_", "-")
        if option not in options:
            raise InputError(f"{path}: {unknown_name('key', option, options)}")
        if (other := keys.setdefault(options[option], key)) != key:
            raise InputError(f"{path}: {option} is given twice, as {other} and as {key}")
        entries = value if isinstance(value, list) else [value]
        if not entries:
            raise InputError(f"{path}: {option}: found an empty list; expected a value")
        for entry in entries:
            if not isinstance(entry, bool | int | float | str):
                raise InputError(
                    f"{path}: {option}: found {entry!r:.60}; expected a text, a number, true or "
                    "false, or a list of those"
                )
        values[option] = ",".join(map(_text, entries))
    return values


def _text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
