"""A student's file: its functions run in the sandbox, their answers are judged here."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from onelayer.errors import InputError
from onelayer.model.doctor.diagnosis import Diagnosis, judge
from onelayer.model.doctor.questions import ask_all
from onelayer.model.doctor.roles import EXAMPLES, find_functions
from onelayer.model.losses import find_loss
from onelayer.teaching.remote import remote_functions
from onelayer.teaching.sandbox import Sandbox

_LARGEST = 2**24  # bytes of a file


def examine(path: Path, loss: str | None = None, half: bool | None = None) -> Diagnosis:
    """Return the diagnosis of the functions that a .py file or a notebook defines.

    The file and the Python files beside it are copied into a sandbox and run there.

    Raises
    ------
    InputError
        If the file cannot be read or run, or defines no function whose name tells its role.
    """
    if loss is not None:
        find_loss(loss)
    _check(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in {path, *path.parent.glob("*.py")}:
            if each.is_file() and each.stat().st_size <= _LARGEST:
                shutil.copyfile(each, folder / each.name)
        with Sandbox(folder) as sandbox:
            functions, failed = remote_functions(sandbox, path.name)
            answers = ask_all(find_functions(functions), loss or "")
            if not answers:
                raise InputError(f"{path}: {_none_found(list(functions), failed)}")
            lacks = sandbox.lacks
    diagnosis = judge(answers, half)
    notes = [f"some lines of the file fail: {failed}"] if failed else []
    notes += [f"the sandbox lacks {each}" for each in lacks]
    return replace(diagnosis, notes=(*diagnosis.notes, *notes))


def _check(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: a folder; name the .py file or notebook in it")
    if path.suffix not in (".py", ".ipynb"):
        raise InputError(f"{path}: expected a .py file or a notebook, .ipynb")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes; expected a file of code")


def _none_found(names: list[str], failed: str) -> str:
    if failed and not names:
        return f"no function could be loaded: {failed}"
    defined = f"it defines {', '.join(names[:12])}" if names else "it defines no function"
    fails = f"; some lines fail: {failed}" if failed else ""
    return f"no function to check: expected one such as {', '.join(EXAMPLES)}; {defined}{fails}"
