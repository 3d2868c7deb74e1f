import hashlib
import http.server
import os
import shlex
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from onelayer.data.fetching import download as module
from onelayer.data.fetching.download import RemoteFile, download, pack_npm
from onelayer.errors import InputError

CONTENT = np.random.default_rng(0).bytes(700_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with the faults that a test switches on; notes the ranges asked for."""

    content = CONTENT
    ranges = True
    breaks_after: int | None = None  # bytes of each answer
    wrong_start = 0
    status: int | None = None
    length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def remote(self) -> RemoteFile:
        return RemoteFile(f"http://127.0.0.1:{self.server_port}/file", len(CONTENT), DIGEST)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and self.server.ranges:
            first = start + self.server.wrong_start
            self.send_response(206)
            last, total = len(self.server.content) - 1, len(self.server.content)
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        else:
            start = 0
            self.send_response(200)
        body = self.server.content[start:]
        if self.server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of these tests are on this machine, however it reaches others."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def test_a_file_arrives_whole(server, path):
    assert download(server.remote, path).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_partial_file_is_resumed_where_it_ends(server, path):
    path.write_bytes(CONTENT[:300_000])
    assert download(server.remote, path).read_bytes() == CONTENT
    assert server.asked == ["bytes=300000-"]


def test_a_complete_file_asks_nobody(server, path):
    path.write_bytes(CONTENT)
    download(server.remote, path)
    assert server.asked == []


@pytest.mark.parametrize("held", [bytes(300_000), bytes(len(CONTENT)), CONTENT + b"more"])
def test_a_partial_file_of_something_else_starts_again(server, path, held):
    path.write_bytes(held)
    assert download(server.remote, path).read_bytes() == CONTENT
    assert server.asked[-1] is None


def test_a_server_without_ranges_sends_everything_again(server, path):
    server.ranges = False
    path.write_bytes(b"?" * 300_000)
    assert download(server.remote, path).read_bytes() == CONTENT


def test_a_server_without_a_length_is_read_to_the_end(server, path):
    server.length = False
    assert download(server.remote, path).read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_again(server, path):
    server.breaks_after = 250_000
    assert download(server.remote, path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=250000-", "bytes=500000-"]


def test_a_connection_that_brings_nothing_is_given_up_and_keeps_what_came(server, path):
    path.write_bytes(CONTENT[:1000])
    server.breaks_after = 0
    with pytest.raises(InputError, match="broke off after 1,000 of 700,000 bytes"):
        download(server.remote, path)
    assert path.read_bytes() == CONTENT[:1000]


def test_a_connection_that_always_breaks_off_is_given_up(server, path):
    server.breaks_after = 10
    with pytest.raises(InputError, match="connection was lost again and again"):
        download(server.remote, path)
    assert path.read_bytes() == CONTENT[:200]


def test_other_content_is_refused_and_not_kept(server, path):
    server.content = bytes(len(CONTENT))
    with pytest.raises(InputError, match=f"/file: has the sha256 .*, expected {DIGEST}"):
        download(server.remote, path)
    assert not path.exists()


def test_another_size_is_refused_before_it_is_downloaded(server, path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(InputError, match="offers 26 bytes, expected 700,000"):
        download(server.remote, path)
    assert not path.exists()


def test_a_part_from_another_place_is_not_appended(server, path):
    path.write_bytes(CONTENT[:1000])
    server.wrong_start = 5
    with pytest.raises(InputError, match="sends byte 1005 first when asked for 1000"):
        download(server.remote, path)
    assert path.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("status", [403, 404, 416, 500])
def test_a_refusal_is_quoted(server, path, status):
    server.status = status
    with pytest.raises(InputError, match=f"/file: answers {status} "):
        download(server.remote, path)


def test_nobody_there_fails_at_once(server, path):
    remote = RemoteFile("http://127.0.0.1:1/file", 10, DIGEST)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/file: cannot be reached"):
        download(remote, path)
    assert not path.exists()


def test_a_silent_server_is_given_up_after_the_timeout(path, monkeypatch):
    import socket

    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = RemoteFile(f"http://127.0.0.1:{silent.getsockname()[1]}/file", 10, DIGEST)
        with pytest.raises(InputError, match=r"cannot be reached: timed out"):
            download(remote, path)


def test_what_came_before_ctrl_c_is_resumed(server, path, monkeypatch):
    @contextmanager
    def interrupted_bar(*arguments, **settings):
        def update(completed: float, detail: str) -> None:
            if completed >= 300_000:
                raise KeyboardInterrupt

        yield update

    with monkeypatch.context() as patch:
        patch.setattr(module, "progress_bar", interrupted_bar)
        with pytest.raises(KeyboardInterrupt):
            download(server.remote, path)
    held = path.stat().st_size
    assert 300_000 <= held < len(CONTENT)
    assert download(server.remote, path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={held}-"]


def fake_npm(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an `npm` that runs `body` alone on the PATH."""
    if os.name != "posix":
        pytest.skip("the stand-in for npm is a script with a first line")
    script = folder / "bin" / "npm"
    script.parent.mkdir()
    (folder / "npm.py").write_text(f"import sys, os, pathlib\n{body}\n")
    python = shlex.join([sys.executable, str(folder / "npm.py")])
    script.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(script.parent))


def test_npm_is_asked_to_pack_and_to_run_nothing(tmp_path, monkeypatch):
    body = "pathlib.Path('arguments').write_text('\\n'.join(sys.argv[1:]))\n"
    body += "pathlib.Path('a-1.0.tgz').write_bytes(b'packed'); print('a-1.0.tgz')"
    fake_npm(tmp_path, body, monkeypatch)
    assert pack_npm("a@1.0", tmp_path / "npm", 6).read_bytes() == b"packed"
    arguments = (tmp_path / "npm/arguments").read_text().splitlines()
    assert arguments[:3] == ["pack", "a@1.0", "--ignore-scripts"]
    assert f"--cache={tmp_path / 'npm' / 'cache'}" in arguments


def test_npm_is_quoted_when_it_fails(tmp_path, monkeypatch):
    body = "sys.exit('npm error code ENOTFOUND\\nnpm error syscall x\\nnpm error no such host')"
    fake_npm(tmp_path, body, monkeypatch)
    with pytest.raises(InputError, match=r"^npm pack a@1\.0: code ENOTFOUND; no such host$"):
        pack_npm("a@1.0", tmp_path / "npm", 6)


def test_without_npm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm is not on the PATH"):
        pack_npm("a@1.0", tmp_path / "npm", 6)


def test_npm_is_killed_on_ctrl_c(tmp_path, monkeypatch):
    body = "pathlib.Path('pid').write_text(str(os.getpid()))\nimport time; time.sleep(60)"
    fake_npm(tmp_path, body, monkeypatch)

    def interrupt(seconds: float) -> None:
        if (tmp_path / "npm/pid").exists() and (tmp_path / "npm/pid").read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack_npm("a@1.0", tmp_path / "npm", 6)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "npm/pid").read_text()), 0)
