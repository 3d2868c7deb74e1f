"""The program in the jail: call functions of somebody else's code, and send what they return.

    python -m onelayer.teaching.worker FOLDER REPLY LACKS

Everything here belongs to that code as soon as it is loaded. So nothing that is sent is believed
to be more than what the code says.
"""

import json
import os
import shutil
import sys
from typing import Any

from onelayer.spellings import Spelled
from onelayer.teaching.loading import find, line_of
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
            _send(reply, _answer(decode(body, _keep)))


def _send(reply: Any, told: dict[str, Any]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    waiting = memoryview(encode(told))
    while waiting:
        waiting = waiting[reply.write(waiting) :]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the call gave, or the error that it raised."""
    before = encode([request["arguments"], request["keywords"]])
    try:
        value = find(request["entry"])(*request["arguments"], **request["keywords"])
        encode(value)
    except BaseException as error:
        return {"status": "raised", "message": line_of(error)}
    after = [request["arguments"], request["keywords"]]
    changed = after if encode(after) != before else None
    return {"status": "answered", "value": value, "changed": changed}


def _keep(kind: str, value: Any) -> Any:
    """Return what the code under test is to be given: tensors, and settings of any spelling."""
    if kind == "spelled":
        return Spelled(*value)
    import torch

    tensor = torch.from_numpy(value.copy())
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


if __name__ == "__main__":
    main()
