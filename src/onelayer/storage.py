"""Atomic writing: a file or folder appears complete, or not at all.

A new folder is built in a workshop, a hidden folder `.<name>.<random>.onelayer` beside its place,
whose `lock` the process holds while it lives. Then it replaces the old file or folder in one step.
A killed process leaves a workshop without a lock; the next writer of the same name removes it.
Parts that must survive a kill are whole files in `<name>.unfinished`, which has a lock, too.
"""

import ctypes
import glob
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onelayer.errors import InputError
from onelayer.plain_values import parse_json, read_text

if TYPE_CHECKING:
    from filelock import BaseFileLock

MANIFEST = "files.json"
_NEW, _OLD, _LOCK = "new", "old", "lock"  # two folders and a file in a workshop
_UNFINISHED = ".unfinished"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of an empty file; on success sync it and rename it to `path`.

    On any exception, Ctrl-C included, the file is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_litter(path)
    with _workshop(path) as workshop:
        temporary = workshop / _NEW
        temporary.touch(0o600)
        yield temporary
        with temporary.open("r+b") as file:  # some systems sync only files opened for writing
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)


@dataclass(frozen=True)
class Manifest:
    """The content of files.json: the id of the run, and the SHA-256 of each of its files by name.

    A name is a path below the folder, with slashes.
    """

    run_id: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def check(self, folder: Path, name: str) -> None:
        """Raise InputError if the file `name` in `folder` has changed since it was written."""
        path = folder / name
        if path.is_file() and self.files.get(name) != _digest(path):
            raise InputError(
                f"{path}: not the file that its run wrote (another SHA-256 than in {MANIFEST}); "
                "it was changed, or copied from another run"
            )


def read_manifest(folder: Path) -> Manifest | None:
    """Return the content of files.json in `folder`, None if it is missing or not onelayer's."""
    path = folder / MANIFEST
    try:
        found = parse_json(read_text(path))
        if isinstance(found, list) and MANIFEST in found:  # as an earlier onelayer wrote it
            found = {"run": "", "files": dict.fromkeys(map(str, found), "")}
        run_id, files = found["run"], found["files"]
    except (OSError, InputError, LookupError, TypeError):
        return None
    texts = [run_id, *files.values()] if isinstance(files, dict) else [None]
    return Manifest(run_id, files) if all(isinstance(text, str) for text in texts) else None


def check_output_folder(path: Path, *, force: bool) -> None:
    """Raise InputError unless `path` can take output: absent, empty, or a folder and `force`."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: exists and is not a folder; choose another --out")
    _check_above(path)
    if not path.is_dir():
        return
    if any(path.iterdir()) and not force:
        raise InputError(f"{path}: the folder is not empty; add --force to replace an earlier run")
    if what := _why_it_stays(path):
        raise InputError(f"{path}: {what} cannot be replaced; choose a new folder inside it")
    _check_writable(path)


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: the folder is read-only for this user; choose another --out")


def _check_above(path: Path) -> None:
    above = next(one for one in Path(os.path.abspath(path)).parents if os.path.lexists(one))
    if not above.is_dir():
        raise InputError(f"{path}: {above} is not a folder; choose another --out")


def _why_it_stays(path: Path) -> str:
    """Return the reason why a folder cannot be replaced as a whole, "" if it can."""
    if os.path.ismount(path) or _is_bound(path):
        return "a mount point"
    # A shell there would be left in a deleted folder.
    return "the current folder" if Path.cwd().is_relative_to(path.resolve()) else ""


def check_output_file(path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Raise InputError unless `path` ends in one of `suffixes` and is free, or `force`."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    if path.exists() and not force:
        raise InputError(f"{path}: exists; add --force to replace it")


def _is_bound(path: Path) -> bool:
    """Return whether `path` is a bind mount on Linux, which ismount does not see."""
    name = re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", str(path.resolve()))
    try:
        mounts = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return False
    return any(line.split(" ")[4:5] == [name] for line in mounts.split("\n"))


@contextmanager
def output_folder(path: Path, *, force: bool = False, run_id: str = "") -> Iterator[Path]:
    """Yield an empty folder, which becomes `path` in one step when the block succeeds.

    Without `force` an existing folder is refused. With it, the files of an earlier run (those in
    its files.json) are removed and all others stay; one whose name is needed is renamed to
    `<name>.kept`. The new files.json holds `run_id` and the digests of the new files. On any
    exception `path` is unchanged; after a kill it is the old folder or the new one.

    Raises
    ------
    InputError
        If `path` is not a folder, is the current one, or is not empty and `force` is not given.
    """
    place = Path(os.path.abspath(path))  # "." has no name
    _remove_litter(place)
    check_output_folder(path, force=force)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _workshop(place) as workshop:
        new = workshop / _NEW
        new.mkdir()
        yield new
        check_output_folder(path, force=force)  # another process may have been quicker
        _write_manifest(new, Manifest(run_id, _digests(new)))
        _sync(new)
        if not place.exists():
            new.rename(place)
        else:
            earlier = read_manifest(place)
            listed = {*earlier.files, MANIFEST} if earlier else set[str]()
            _replace(place, workshop, listed, [_swap, _rename])
        _sync_folder(place.parent)


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Yield `path`, or the first of `path-2`, `path-3`, … that does not exist, as an empty folder.

    It is made before the block runs, so no other process gets the same one. If the block leaves it
    empty, it is removed.

    Raises
    ------
    InputError
        If the parent of `path` is not a folder.
    """
    _check_above(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = itertools.chain([path.name], (f"{path.name}-{number}" for number in itertools.count(2)))
    place = next(place for place in map(path.with_name, names) if _make(place))
    try:
        yield place
    finally:
        with suppress(OSError):  # it holds the outcome
            place.rmdir()


def _make(folder: Path) -> bool:
    """Make a folder; False if there is something of this name."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


@contextmanager
def added_files(path: Path) -> Iterator[Path]:
    """Yield an empty folder; after the block its files are added to the run in the folder `path`.

    They appear all at once; a file of the same name that is not the run's is renamed to
    `<name>.kept`. If the folder itself must stay (the current folder, a mount point), or the system
    cannot exchange folders, they appear one by one, each of them whole.
    """
    path = path.resolve()  # a link to the folder stays a link
    _remove_litter(path)
    _check_writable(path)
    with _workshop(path) as workshop:
        new = workshop / _NEW
        new.mkdir()
        yield new
        earlier = read_manifest(path)
        known = earlier or Manifest()
        fresh = _digests(new)
        _write_manifest(new, Manifest(known.run_id, {**known.files, **fresh}))
        _sync(new)
        replaced = {*(fresh.keys() & known.files.keys()), *([MANIFEST] if earlier else [])}
        if _why_it_stays(path) or not _replace(path, workshop, replaced, [_swap]):
            # The list comes first: it may name a file that is missing, but it must miss no file.
            for name in (MANIFEST, *sorted(fresh)):
                if name not in replaced and os.path.lexists(path / name):
                    (path / name).rename(_unused(path / f"{name}.kept"))
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).replace(path / name)
        _sync_folder(path.parent)


def unfinished_place(path: Path) -> Path:
    """Return the folder for the parts of the folder `path` until it is complete."""
    place = Path(os.path.abspath(path))  # "." has no name
    return place.with_name(place.name + _UNFINISHED)


def latest_unfinished(usual: Path) -> Path:
    """Return the folder with the latest unfinished parts, of `usual` and its numbered neighbours.

    Raises
    ------
    InputError
        If there are none.
    """
    places = usual.parent.glob(f"{usual.name}*{_UNFINISHED}")
    name = re.compile(rf"{re.escape(usual.name)}(-\d+)?{re.escape(_UNFINISHED)}")
    found = [place for place in places if name.fullmatch(place.name)]
    if not found:
        raise InputError(f"{usual}: nothing unfinished there to go on with; name its --out")
    latest = max(found, key=lambda place: place.stat().st_mtime_ns)
    return latest.with_name(latest.name.removesuffix(_UNFINISHED))


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Yield the folder for parts of `path`, locked while the block runs.

    It stays after the block, also after an exception, unless it is empty.

    Raises
    ------
    InputError
        If another process has locked it.
    """
    from filelock import FileLock

    place = unfinished_place(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / _LOCK)
    if not _claim(place, lock):
        raise InputError(f"{path}: another process is filling it; choose another --out")
    try:
        yield place
    finally:
        if all(entry.name == _LOCK or entry.name.startswith(".") for entry in place.iterdir()):
            shutil.rmtree(place)  # the hidden files are workshops of killed processes
        lock.release()


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` that is locked while the block runs, and removed afterwards."""
    from filelock import FileLock

    workshop = path.with_name(f".{path.name}.{secrets.token_hex(4)}.onelayer")
    lock = FileLock(workshop / _LOCK)

    def remove() -> None:
        _clear(workshop, path)
        lock.release()
        shutil.rmtree(workshop, ignore_errors=True)

    with _afterwards(remove), _told_of(path, workshop):
        while not _claim(workshop, lock):
            pass
        yield workshop


def _claim(workshop: Path, lock: "BaseFileLock") -> bool:
    """Make the folder and lock it; False if another process removed it as litter in between."""
    from filelock import Timeout

    workshop.mkdir(0o700, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except NotImplementedError:  # a file system without locks: never removed as litter
        return True
    if (workshop / _LOCK).exists():
        return True
    lock.release()
    return False


@contextmanager
def _afterwards(remove: Callable[[], None]) -> Iterator[None]:
    """Call `remove` when the block ends, and once more if a signal interrupts that call."""
    try:
        yield
        remove()
    except BaseException:
        remove()
        raise


@contextmanager
def _told_of(path: Path, temporary: Path) -> Iterator[None]:
    """Replace the file name of an OSError by `path` if it lies in `temporary` or is missing."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(temporary):
            error.filename = str(path)
        raise


def _remove_litter(path: Path) -> None:
    """Remove the workshops beside `path` whose owners no longer live."""
    from filelock import FileLock, Timeout

    for workshop in path.parent.glob(f".{glob.escape(path.name)}.????????.onelayer"):
        try:
            if (workshop / _LOCK).is_file():
                with FileLock(workshop / _LOCK).acquire(timeout=0):
                    _clear(workshop, path)
                shutil.rmtree(workshop, ignore_errors=True)
            else:
                workshop.rmdir()  # killed at its first step; later it is not empty
        except (OSError, Timeout, NotImplementedError):
            continue  # its owner lives, or it is not a workshop


def _clear(workshop: Path, path: Path) -> None:
    """Remove the folders of a workshop; if `path` was moved away, put the new one there."""
    if (workshop / _OLD).exists() and not path.exists():
        (workshop / _NEW).rename(path)
    for name in (_NEW, _OLD):
        shutil.rmtree(workshop / name, ignore_errors=True)


def _replace(
    path: Path, workshop: Path, listed: set[str], ways: Sequence[Callable[[Path, Path], bool]]
) -> bool:
    """Replace `path` by the new folder and all files that are not `listed`; False if impossible.

    Uses the first of the `ways` that works on this system.
    """
    new = workshop / _NEW
    shutil.copymode(path, new)
    _carry_over(path, new, listed)
    if not any(way(workshop, path) for way in ways):
        return False
    _carry_over(workshop / _OLD, path, listed)  # files that appeared during the exchange
    return True


def _swap(workshop: Path, path: Path) -> bool:
    """Exchange the new folder and `path` in one step, if the system can."""
    exchanged = _exchange(workshop / _NEW, path)
    if exchanged:
        (workshop / _NEW).rename(workshop / _OLD)
    return exchanged


def _rename(workshop: Path, path: Path) -> bool:
    """Replace `path` by the new folder in two steps."""
    path.rename(workshop / _OLD)  # from here on, _clear puts the new folder into its place
    (workshop / _NEW).rename(path)
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2  # Linux; glibc 2.28
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _carry_over(old: Path, new: Path, listed: set[str], prefix: str = "") -> None:
    """Link all files in `old` that are not `listed` into `new`; rename one whose name is taken."""
    for entry in sorted(os.scandir(old), key=lambda entry: entry.name):
        source, target = Path(entry.path), new / entry.name
        if not entry.is_dir(follow_symlinks=False):
            if prefix + entry.name not in listed:
                _link(source, target)
            continue
        if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
            target = target.with_name(f"{target.name}.kept")
        made = not target.exists()
        if made:
            target.mkdir()
            shutil.copymode(source, target)
        _carry_over(source, target, listed, f"{prefix}{entry.name}/")
        if made and any(source.iterdir()) and not any(target.iterdir()):
            target.rmdir()  # it held only files of the earlier run


def _link(source: Path, target: Path) -> None:
    """Link `target`, or the first of its `.kept` names that is free, to the file `source`."""
    place, kept = target, target.with_name(f"{target.name}.kept")
    while os.path.lexists(place) or (
        place != target and os.path.lexists(source.parent / place.name)
    ):
        if os.path.lexists(place) and _is_same(source, place):
            return
        place = kept if place == target else _next_name(kept, place)
    try:
        os.link(source, place, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without links
        shutil.copy2(source, place, follow_symlinks=False)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are the same file, or one is a copy of the other made by _link."""
    a, b = one.lstat(), other.lstat()
    identity = (a.st_ino, a.st_dev) == (b.st_ino, b.st_dev)
    return identity or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _unused(path: Path) -> Path:
    """Return `path`, or the first of `path.1`, `path.2`, … that does not exist."""
    candidate = path
    while os.path.lexists(candidate):
        candidate = _next_name(path, candidate)
    return candidate


def _next_name(path: Path, last: Path) -> Path:
    number = int(last.suffix[1:]) if last != path else 0
    return path.with_name(f"{path.name}.{number + 1}")


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in the folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    record = {"run": manifest.run_id, "files": dict(sorted(manifest.files.items()))}
    with atomic_file(folder / MANIFEST) as path:
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _sync(folder: Path) -> None:
    """Flush `folder`, with all files and folders in it, to the disk."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("r+b") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; on Windows, where no folder opens, do nothing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
