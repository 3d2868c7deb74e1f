import json
import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onelayer.errors import InputError
from onelayer.storage import added_files, atomic_file, fresh_folder, output_folder


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def write_run(folder: Path, *, force: bool = False, **files: str) -> None:
    with output_folder(folder, force=force) as staging:
        for name, text in files.items():
            path = staging / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def test_a_file_appears_whole(tmp_path):
    with atomic_file(tmp_path / "new/file.txt") as temporary:
        temporary.write_text("content")
        assert not (tmp_path / "new/file.txt").exists()
    assert contents(tmp_path) == {"new/file.txt": "content"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_of_by_the_name_of_the_output(tmp_path):
    with (
        pytest.raises(OSError, match="No space left") as caught,
        output_folder(tmp_path / "run"),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
    assert caught.value.filename == str(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_inside_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder; choose another --out"):
        write_run(tmp_path / "file/new/run", a="1")


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path):
    everyone = threading.Barrier(20)

    def write(number):
        everyone.wait()
        with fresh_folder(tmp_path / "runs" / "a") as place:
            write_run(place, name=str(number))
            return place

    with ThreadPoolExecutor(20) as threads:
        places = list(threads.map(write, range(20)))
    names = {"a", *(f"a-{number}" for number in range(2, 21))}
    assert {place.name for place in places} == names
    assert [(place / "name").read_text() for place in places] == list(map(str, range(20)))


def test_a_fresh_folder_of_a_run_that_failed_is_gone(tmp_path):
    with pytest.raises(ValueError, match="bad"), fresh_folder(tmp_path / "a"):
        raise ValueError("bad")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    inside = fresh_folder(tmp_path / "file/new/run")
    with pytest.raises(InputError, match="file is not a folder; choose another --out"), inside:
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_file_is_as_it_was_after_an_exception(error, tmp_path):
    (tmp_path / "file").write_text("old")

    def write_half() -> None:
        with atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert contents(tmp_path) == {"file": "old"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_killed_writer_of_a_file_leaves_goes_with_the_next(tmp_path):
    if (child := os.fork()) == 0:
        with atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    with atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("content")
        assert not left.exists()
    assert contents(tmp_path) == {"file": "content"}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_files_and_folders_have_the_modes_that_open_and_mkdir_give(tmp_path):
    write_run(tmp_path / "run", a="x")
    with atomic_file(tmp_path / "file") as temporary:
        temporary.touch()
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()
    mode = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert mode["file"] == mode["plain"]
    assert mode["run"] == mode["folder"]


def test_a_folder_appears_when_the_block_succeeds(tmp_path):
    with output_folder(tmp_path / "run") as staging:
        (staging / "a").write_text("1")
        assert not (tmp_path / "run").exists()
    assert set(contents(tmp_path)) == {"run/a", "run/files.json"}
    assert contents(tmp_path)["run/a"] == "1"


def test_an_exception_leaves_no_trace(tmp_path):
    write_run(tmp_path / "run", a="1")
    before = contents(tmp_path)

    def write_half() -> None:
        with output_folder(tmp_path / "run", force=True) as staging:
            (staging / "a").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert contents(tmp_path) == before


def test_a_folder_that_holds_something_is_refused_without_force(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="add --force"):
        write_run(tmp_path, a="1")
    assert contents(tmp_path) == {"notes": "mine"}


def test_an_empty_folder_is_taken(tmp_path):
    write_run(tmp_path, a="1")
    assert contents(tmp_path)["a"] == "1"


@pytest.mark.parametrize("force", [False, True])
def test_a_file_or_a_link_in_the_place_of_the_folder_is_refused(force, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("file", "link", "nowhere"):
        with pytest.raises(InputError, match=f"{name}: exists and is not a folder"):
            write_run(tmp_path / name, force=force, a="1")


def test_force_replaces_what_the_earlier_run_wrote_and_nothing_else(tmp_path):
    write_run(tmp_path / "run", a="1", b="1", figures__c="1")
    (tmp_path / "run/notes").write_text("mine")
    write_run(tmp_path / "run", force=True, a="2")
    found = contents(tmp_path / "run")
    assert set(found) == {"a", "notes", "files.json"}
    assert (found["a"], found["notes"]) == ("2", "mine")
    assert not (tmp_path / "run/figures").exists()


def test_added_files_join_those_of_the_earlier_run_and_go_with_them(tmp_path):
    write_run(tmp_path / "run", a="1", b="1")
    with added_files(tmp_path / "run") as staging:
        (staging / "b").write_text("2")
        (staging / "c").write_text("2")
    found = contents(tmp_path / "run")
    assert (found["a"], found["b"], found["c"]) == ("1", "2", "2")
    write_run(tmp_path / "run", force=True, d="3")
    assert set(contents(tmp_path / "run")) == {"d", "files.json"}


def test_force_keeps_a_strangers_file_under_another_name(tmp_path):
    write_run(tmp_path / "run", a="1")
    (tmp_path / "run/b").write_text("mine")
    (tmp_path / "run/b.kept").write_text("mine too")
    write_run(tmp_path / "run", force=True, b="2")
    found = contents(tmp_path / "run")
    assert (found["b"], found["b.kept"], found["b.kept.1"]) == ("2", "mine too", "mine")


@pytest.mark.parametrize(
    "listed",
    ["{", "{}", "3", "[" * 100_000]
    + [json.dumps(names) for names in (["../victim"], ["."], [""], ["sub"], ["a\0b"], [1, None])]
    + ["absolute"],
)
def test_a_list_of_files_that_says_anything_harms_nothing(listed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").write_text("mine")
    run = Path("run")
    listed = listed.replace("absolute", json.dumps([str(tmp_path / "run/sub/notes")]))
    (run / "sub").mkdir(parents=True)
    (run / "sub/notes").write_text("mine")
    (run / "files.json").write_text(listed)
    write_run(run, force=True, a="1")
    found = contents(tmp_path)
    assert (found["victim"], found["run/sub/notes"], found["run/a"]) == ("mine", "mine", "1")
    assert found["run/files.json.kept"] == listed
