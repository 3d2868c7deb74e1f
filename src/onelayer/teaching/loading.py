"""Somebody else's code as modules: a file, or a notebook's cells. Runs in the jail alone."""

import ast
import contextlib
import importlib
import inspect
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from onelayer.methods_as_functions import methods_in

_PLAIN = (bool, int, float, str, type(None))
_SECONDS = 2  # that a line of a file may take: those that train or wait are left
_UNTIMED = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Try)
_TIMED = ("time", "timeit", "capture", "prun")  # magics of a cell that is Python all the same


def find(entry: str) -> Any:
    """Return what `entry` names: "file.py:function" here, or "package.module:function"."""
    home, _, name = entry.rpartition(":")
    module = load(home) if home.endswith((".py", ".ipynb")) else importlib.import_module(home)
    return vars(module).get("__methods__", {}).get(name) or getattr(module, name)


def describe(file: str) -> dict[str, Any]:
    """Return what a file defines: its functions with their parameters, each a name, kind, default.

    `failed` is the first error of its own lines, of which the others were run; `torch` is whether
    it has loaded PyTorch.
    """
    module = load(file)
    functions = {}
    for name, value in (vars(module) | vars(module)["__methods__"]).items():
        if callable(value) and not inspect.isclass(value) and not name.startswith("__"):
            try:
                functions[name] = _parameters(value)
            except (TypeError, ValueError):
                continue
    return {
        "functions": functions,
        "failed": getattr(module, "__failed__", ""),
        "torch": "torch" in sys.modules,
    }


def _parameters(function: Any) -> list[tuple[str, int, list[Any]]]:
    """Return name, kind and default of each parameter; without a default that is an empty list."""
    told = []
    for each in inspect.signature(function).parameters.values():
        plain = each.default if type(each.default) in _PLAIN else None
        told.append((each.name, int(each.kind), [] if each.default is each.empty else [plain]))
    return told


def load(file: str) -> ModuleType:
    """Return the module of a file or notebook, which runs once, as far as it can."""
    name = Path(file).stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == os.path.abspath(file):
        return known
    module = ModuleType(name)
    module.__file__ = os.path.abspath(file)
    sys.modules[name] = module
    try:
        for source, place in _parts(Path(file)):
            _run(source, place, module)
    except Exception as error:
        _note(module, error)
    vars(module)["__methods__"] = methods_in(vars(module))
    return module


def _run(source: str | bytes, place: str, module: ModuleType) -> None:
    """Run the statements one after another: one that fails or lasts is noted, and passed over."""
    try:
        statements = ast.parse(source, place).body
    except (SyntaxError, ValueError) as error:
        _note(module, error)
        return
    future = [s for s in statements if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    for statement in statements:
        try:
            code = compile(ast.Module([*future, statement], []), place, "exec")
            with _in_time(statement):
                exec(code, vars(module))
        except (Exception, SystemExit) as error:
            _note(module, error)


@contextlib.contextmanager
def _in_time(statement: ast.stmt) -> Iterator[None]:
    """Interrupt a statement that lasts, unless it defines or imports."""
    timed = hasattr(signal, "setitimer") and not isinstance(statement, _UNTIMED)
    if timed:
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(*_: object) -> None:
    raise TimeoutError(f"takes longer than {_SECONDS} seconds")


def _note(module: ModuleType, error: BaseException) -> None:
    """Keep the first error; a part that is no Python goes before, for all of it is lost."""
    if not hasattr(module, "__failed__") or isinstance(error, SyntaxError):
        vars(module)["__failed__"] = line_of(error)


def _parts(path: Path) -> Iterator[tuple[str | bytes, str]]:
    """Yield the sources to run one after another, and how each is called in an error."""
    if path.suffix == ".py":
        yield path.read_bytes(), str(path.absolute())
        return
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"], start=1):
        if cell["cell_type"] == "code":
            source = _without_magics("".join(cell["source"]))
            yield source, f"{path.absolute()}, cell {number}"


def _without_magics(source: str) -> str:
    """Return the source without what only IPython understands, in as many lines."""
    cell = re.match(r"\s*%%(\w+).*", source)
    if cell and cell[1] not in _TIMED:
        return ""
    with contextlib.suppress(SyntaxError):
        ast.parse(source)  # a line of Python may begin with %, too
        return source
    source = re.sub(r"^([ \t]*[\w, ]+= *)[%!].*$", r"\1None", source, flags=re.MULTILINE)
    return re.sub(r"^([ \t]*)([%!?].*|[\w.]+\?+ *)$", r"\1pass", source, flags=re.MULTILINE)


def line_of(error: BaseException) -> str:
    """Return the error in one line, with the last line of the code that it passed through."""
    here = os.getcwd()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(here)]
    place = f"{os.path.relpath(own[-1].filename)}, line {own[-1].lineno}: " if own else ""
    try:
        words = " ".join(str(error).split())
    except Exception:  # an error of the code's own, that cannot tell itself
        words = ""
    return f"{place}{type(error).__name__}{f': {words}' * bool(words)}"[:500]
