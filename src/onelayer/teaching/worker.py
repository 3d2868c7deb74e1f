"""The program in the jail: call functions of somebody else's code, and send what they return.

    python -m onelayer.teaching.worker FOLDER REPLY LACKS

Everything here belongs to that code as soon as it is loaded. So nothing that is sent is believed
to be more than what the code says.
"""

import importlib
import importlib.util
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from onelayer.teaching.wire import decode, encode, read_frame


def main() -> None:
    """Copy the folder here, then answer requests from standard input until it ends."""
    folder, pipe, lacks = sys.argv[1:]
    shutil.copytree(folder, ".", symlinks=True, dirs_exist_ok=True)
    sys.path.insert(0, os.getcwd())
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with open(int(pipe), "wb", buffering=0) as reply:
        _send(reply, {"status": "ready", "lacks": json.loads(lacks)})
        while (body := read_frame(requests)) is not None:
            _send(reply, _answer(decode(body)))


def _send(reply: Any, told: dict[str, Any]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    waiting = memoryview(encode(told))
    while waiting:
        waiting = waiting[reply.write(waiting) :]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the call gave, or the error that it raised."""
    try:
        called = find_entry(request["entry"])
        value = called(*request["arguments"], **request["keywords"])
        encode(value)
    except BaseException as error:
        return {"status": "raised", "message": _line_of(error)}
    return {"status": "answered", "value": value}


def find_entry(entry: str) -> Any:
    """Return what `entry` names: "file.py:function" here, or "package.module:function"."""
    home, _, name = entry.partition(":")
    module = _load(home) if home.endswith(".py") else importlib.import_module(home)
    return getattr(module, name)


def _load(file: str) -> ModuleType:
    """Return the module of a file, which runs once."""
    name = Path(file).stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == os.path.abspath(file):
        return known
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(file))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line_of(error: BaseException) -> str:
    """Return the error in one line, with the last line of the code that it passed through."""
    here = os.getcwd()
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if os.path.abspath(f.filename).startswith(here)]
    place = f"{os.path.relpath(own[-1].filename)}, line {own[-1].lineno}: " if own else ""
    words = " ".join(str(error).split())
    return f"{place}{type(error).__name__}{f': {words}' * bool(words)}"[:500]


if __name__ == "__main__":
    main()
