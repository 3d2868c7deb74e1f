"""Interrupts the writing of a folder at each of its steps in turn, and says what is there then.

A step is whatever Python tells its audit hooks of: opening, linking, renaming, removing, … The n-th
try dies, gets Ctrl-C, or as a command gets signals at step n and all later ones; the last one is
not interrupted. Each runs in a fork.

    interrupted.py {kill,ctrl-c,signals} {exchange,rename,add} [N]

prints a JSON list of the tries; with N at every N-th step alone.
"""

import json
import os
import signal
import sys
import tempfile
from itertools import count
from pathlib import Path

import onelayer.storage as storage
from onelayer.process import run_process

OLD = {"a": "old", "b": "old", "figures/c": "old"}
NEW = {"a": "new", "d": "new", "figures/e": "new"}
MINE = {"notes": "mine 1", "sub/notes": "mine 2", "d": "mine 3"}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def write_run(path, files):
    with storage.output_folder(path, force=True, run_id=next(iter(files.values()))) as new:
        write(new, files)


def add_files(path, files):
    with storage.added_files(path) as new:
        write(new, files)


def look(path):
    """Return the run's files, the names of those whose digest is wrong, and all other texts."""
    manifest = storage.read_manifest(path)
    if manifest is None:
        return None
    found = {
        str(file.relative_to(path)): file for file in path.rglob("*")
        if file.is_file() and file.name != storage.MANIFEST
    }  # fmt: skip
    return {
        "run": manifest.run_id,
        "files": {name: found[name].read_text() for name in manifest.files if name in found},
        "listed": sorted(manifest.files),
        "others": sorted(f.read_text() for name, f in found.items() if name not in manifest.files),
    }


def interrupt_at(step, kind):
    """Let this process die, or be told Ctrl-C or signals, at its step number `step` from now on."""
    steps = count()
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    parts = ("open", "os.", "shutil.", "ctypes.", "tempfile.", "fcntl.")

    def hook(event, _):
        if not event.startswith(parts) or (now := next(steps)) < step:
            return
        if kind == "signals":
            signal.raise_signal(signals[now % 3])
        elif now == step:
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    sys.addaudithook(hook)


def try_once(folder, step, kind, write_new):
    """Return whether the write was interrupted, what is there then, and after the next write."""
    path = folder / "run"
    write_run(path, OLD)
    write(path, MINE)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            if kind == "signals":
                os._exit(run_process(lambda: interrupt_at(step, kind) or write_new(path, NEW) or 0))
            interrupt_at(step, kind)
            write_new(path, NEW)
        except KeyboardInterrupt:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = look(path)
    with storage.added_files(path):  # what the next writer does first is to tidy up
        tidy = look(path)
    litter = [name for name in os.listdir(folder) if name != "run"]
    return {"status": status, "left": left, "tidy": tidy, "litter": litter}


def main(kind, way, every="1"):
    os.fsync = lambda _: None  # it takes most of the time, and a kill does not undo it
    if way == "rename":
        storage._exchange = lambda *_: False
    tries = []
    while not tries or tries[-1]["status"]:
        with tempfile.TemporaryDirectory() as name:
            write_new = add_files if way == "add" else write_run
            tries.append(try_once(Path(name), len(tries) * int(every), kind, write_new))
    print(json.dumps(tries))


if __name__ == "__main__":
    main(*sys.argv[1:])
