"""Writing that leaves a whole file or folder, or nothing at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onelayer.errors import InputError

MANIFEST = "files.json"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # some systems sync only what is open for writing
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output_folder(path: Path, *, force: bool) -> None:
    """Raise InputError unless `path` can take output: absent, empty, or a folder and `force`."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: exists and is not a folder; choose another --out")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise InputError(f"{path}: the folder exists; add --force to replace what it holds of ours")


def check_output_file(path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Raise InputError unless `path` ends in one of `suffixes` and is free, or `force`."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    if path.exists() and not force:
        raise InputError(f"{path}: exists; add --force to replace it")


@contextmanager
def output_folder(path: Path, *, force: bool = False, add: bool = False) -> Iterator[Path]:
    """Yield an empty staging folder whose files appear in `path` when the block succeeds.

    An existing folder is refused without `force`. With it, files that an earlier run wrote (listed
    in its files.json) are replaced or removed, everything else stays; a stranger's file in the way
    is kept under `<name>.kept`. With `add` nothing is removed: new files join the earlier run's.
    On any exception nothing in `path` has changed.

    Raises
    ------
    InputError
        If `path` is no folder, or is a folder that is not empty and `force` is not given.
    """
    check_output_folder(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield staging
        check_output_folder(path, force=force)  # another process may have been quicker
        fresh = {str(file.relative_to(staging)) for file in _files(staging)} | {MANIFEST}
        earlier = _manifest(path)
        listed = fresh | earlier if add else fresh
        (staging / MANIFEST).write_text(json.dumps(sorted(listed), indent=1) + "\n")
        staging.chmod(0o777 & ~_umask())
        if path.exists():
            _move(staging, path, fresh, earlier)
            _remove(path, earlier - listed)
        else:
            staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, path: Path, fresh: set[str], earlier: set[str]) -> None:
    """Move the files `fresh` into `path`, over those of the earlier run but over no stranger's."""
    for name in sorted(fresh):
        target = path / name
        if target.exists() and name not in earlier:
            target.rename(_unused(target.with_name(f"{target.name}.kept")))
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)


def _remove(path: Path, names: set[str]) -> None:
    """Remove the named files and the folders that this leaves empty."""
    for name in names:
        stale = path / name
        if stale.is_file() or stale.is_symlink():  # files.json may say anything
            stale.unlink()
        for folder in stale.relative_to(path).parents[:-1]:
            if (path / folder).is_dir() and not any((path / folder).iterdir()):
                (path / folder).rmdir()


def _manifest(path: Path) -> set[str]:
    """Return the names that an earlier run listed, if they are plain names below `path`.

    A run lists its files.json too: one that does not is a stranger's.
    """
    try:
        names = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        return set()
    root = path.resolve()
    names = names if isinstance(names, list) else []
    names = [name for name in names if isinstance(name, str) and "\0" not in name]
    plain = [name for name in names if not Path(name).is_absolute() and ".." not in name]
    return {name for name in plain if (root / name).resolve().is_relative_to(root)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _unused(path: Path) -> Path:
    """Return `path`, or the first of `path.1`, `path.2`, … that does not exist."""
    candidate, count = path, 0
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}.{count}")
    return candidate


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
