"""A folder of results is one run, whole, whatever happens while it is written."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest

import interrupted
from anywhere import ordinary_user
from onelayer import load_dataset, load_run, storage
from onelayer.cli import run as run_command
from onelayer.cli.options import place_of
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import RunFolder, count_look
from onelayer.evaluation.test_log import name_of_test
from onelayer.storage import added_files, output_folder

TRAIN = ["train", "digits", "--epochs", "1", "--report", "none", "--out"]


def workshops(path):
    return sorted(path.parent.glob(f".{path.name}.*"))


ADDED = interrupted.OLD | interrupted.NEW


def is_whole(found):
    runs = {"old": [interrupted.OLD, ADDED], "new": [interrupted.NEW]}
    mine = sorted(interrupted.MINE.values())
    return (
        found["files"] in runs[found["run"]]
        and found["listed"] == sorted(found["files"])
        and found["others"] == mine
    )


EVERY = [pytest.param(1, marks=pytest.mark.kill, id="every step"), pytest.param(7, id="some steps")]


def interrupt(kind, way, every):
    """Return what interrupted.py found after an interruption at each step, or at some."""
    command = [sys.executable, interrupted.__file__, kind, way, str(every)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    tries = json.loads(done.stdout)
    assert len(tries) > 70 / every
    return tries


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("kind", ["kill", "ctrl-c", "signals"])
@pytest.mark.parametrize("way", ["exchange", "rename"])
def test_whenever_force_is_interrupted_the_folder_is_one_whole_run(kind, way, every):
    tries = interrupt(kind, way, every)
    assert {one["tidy"]["run"] for one in tries} == {"old", "new"}
    statuses = {"kill": [-signal.SIGKILL], "ctrl-c": [1], "signals": [129, 130, 143]}[kind]
    gone = any(one["left"] is None for one in tries)
    assert gone == ((way, kind) == ("rename", "kill")) or (every > 1 and not gone)
    for step, one in enumerate(tries):
        # Without an exchange a kill may hit the moment between two renames: the next run mends it.
        between = way == "rename" and kind == "kill" and one["left"] is None
        assert between or is_whole(one["left"]), (step, one)
        assert is_whole(one["tidy"]), (step, one)
        assert one["litter"] == [], (step, one)
        assert one["status"] in (0, *statuses), (step, one)


@pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged on Linux alone")
@pytest.mark.parametrize("every", EVERY)
def test_whenever_adding_files_is_killed_all_of_them_are_there_or_none(every):
    tries = interrupt("kill", "add", every)
    assert all(is_whole(one[when]) for one in tries for when in ("left", "tidy"))
    assert not any(one["litter"] for one in tries)
    assert {len(one["left"]["files"]) for one in tries} == {len(interrupted.OLD), len(ADDED)}


def test_what_a_killed_training_leaves_goes_with_the_next_but_never_a_living_ones(tmp_path, capsys):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "onelayer", "train", "digits", "--epochs", "1000000"]
    with subprocess.Popen([*command, "--out", out], stderr=subprocess.DEVNULL) as training:
        try:
            deadline = time.monotonic() + 60
            while not any((one / "lock").exists() for one in workshops(out)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            living = workshops(out)
            assert run_command([*TRAIN, str(out), "--force"]) == 2  # a folder is of one process
            assert "another process is filling it" in capsys.readouterr().err
            assert workshops(out) == living
        finally:
            training.kill()
    assert workshops(out) == living
    assert run_command([*TRAIN, str(out)]) == 0
    assert os.listdir(tmp_path) == ["out"]
    before = RunFolder.open(out)
    assert run_command([*TRAIN, str(out), "--force"]) == 0
    assert len(RunFolder.open(out).looks()) == 2
    assert RunFolder.open(out).run_id != before.run_id


def test_only_workshops_without_an_owner_are_litter(tmp_path):
    path = tmp_path / "run"
    strangers = [".run.backup", ".run.12345678.onelayer", ".running.12345678.onelayer"]
    for name in strangers:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes").write_text("mine")
    (tmp_path / ".run.abcdefgh.onelayer").mkdir()  # killed before it took the lock
    with output_folder(path, force=True) as first, output_folder(tmp_path / "other"):
        with output_folder(path):
            assert first.exists()
        (first / "a").write_text("1")
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == sorted([*strangers, "other", "run"])


def test_a_system_without_an_exchange_renames(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.ctypes, "CDLL", lambda *_, **__: object())
    for text in ("1", "2"):
        with output_folder(tmp_path / "run", force=True) as new:
            (new / text).write_text(text)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["2", "files.json"]
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_stranger_in_a_file_system_without_links_is_copied(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    with output_folder(tmp_path / "run") as new:
        (new / "a").write_text("1")
    (tmp_path / "run" / "notes").write_text("mine")
    (tmp_path / "run" / "link").symlink_to("nowhere")
    (tmp_path / "run" / "empty").mkdir(mode=0o700)
    monkeypatch.setattr(os, "link", refuse)
    with output_folder(tmp_path / "run", force=True) as new:
        (new / "b").write_text("2")
        (new / "notes").write_text("3")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["b", "empty", "files.json", "link", "notes", "notes.kept"]
    assert (tmp_path / "run" / "notes.kept").read_text() == "mine"
    assert os.readlink(tmp_path / "run" / "link") == "nowhere"
    assert (tmp_path / "run" / "empty").stat().st_mode & 0o777 == 0o700


def test_a_file_system_without_locks_is_written_to(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with output_folder(tmp_path / "run") as new:
        (new / "a").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_current_folder_is_not_taken_away(tmp_path, monkeypatch):
    with output_folder(tmp_path / "run") as new:
        (new / "a").write_text("1")
    (tmp_path / "run" / "sub").mkdir()
    for place in ("run", "run/sub"):
        monkeypatch.chdir(tmp_path / place)
        with (
            pytest.raises(InputError, match="the current folder cannot be replaced"),
            output_folder(tmp_path / "run", force=True),
        ):
            pass
    monkeypatch.chdir(tmp_path / "run")
    with added_files(Path()) as new:
        (new / "b").write_text("2")
    assert Path("b").read_text() == "2"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's unshare")
def test_a_folder_that_is_mounted_is_not_replaced(tmp_path):
    (place := tmp_path / "a \\ place").mkdir()
    shell = 'mount --bind "$1" "$1" && exec "$2" -m onelayer train digits --out "$1"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", place, sys.executable],
        capture_output=True,
        text=True,
    )
    if done.returncode in (1, 32) or "unshare" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "a mount point cannot be replaced; choose a new folder inside it" in done.stderr


AS_A_USER = """
import contextlib, io, json, sys
from onelayer.cli import run
found = []
for command in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        status = run(command)
    found.append((status, told.getvalue()))
print(json.dumps(found))
"""


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_read_only_result_is_one_clear_line_and_stays_as_it_is(tmp_path, monkeypatch):
    if not (prefix := ordinary_user(tmp_path)) and os.geteuid() == 0:
        pytest.skip("runs as root, which neither unshare nor setpriv can make an ordinary user")
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", X=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3)
    quiet = ["--report", "none", "--threads", "1", "--out", "out"]
    train = ["train", "data.npz", "--epochs", "1", "--batch-size", "20", *quiet]
    assert run_command(train) == 0
    commands = [
        [*train, "--force"],
        ["probe", "data.npz", *quiet, "--force"],
        ["report", "out"],
        ["evaluate", "out", "data.npz"],
        ["export", "out", "--out", "out/model.onnx"],
    ]
    before = contents(Path("out"))
    Path("out").chmod(0o555)
    (Path("out") / "test_evaluations.json").chmod(0o444)
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", AS_A_USER],
            input=json.dumps(commands),
            capture_output=True,
            text=True,
        )
    finally:
        Path("out").chmod(0o755)
    assert done.stderr == ""
    for command, (status, told) in zip(commands, json.loads(done.stdout), strict=True):
        assert status == 2, command
        assert re.fullmatch(r"onelayer: \S*out\b.*(read-only|Permission denied).*\n", told), command
    assert contents(Path("out")) == before
    assert {path.name for path in Path().iterdir()} <= {"data.npz", "out", "locked"}


def test_a_further_run_gets_a_folder_with_a_number_and_its_look_is_still_a_further_one(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    train = TRAIN[:-1]

    def call(*arguments):
        assert run_command(list(arguments)) == 0
        return capsys.readouterr().out

    assert "number 2" not in call(*train)
    out = call(*train)
    assert "evaluation number 2 of the test set" in out
    assert out.endswith(f"results: {Path('runs/digits-2')}\n")
    again, inside = (load_run(Path("runs/digits", name)) for name in ("", "run"))
    assert again.weights.tobytes() == inside.weights.tobytes()
    split = name_of_test(load_dataset("digits"))
    assert "evaluation number 3 of the test set" in count_look(Path("runs/digits"), 0.5, split)
    assert run_command([*TRAIN, "runs/digits-2"]) == 2  # a name that is given must be free
    assert "add --force" in capsys.readouterr().err
    Path("runs/digits-2/test_evaluations.json").write_text("{")  # no matter to its neighbours
    assert "number 3 of the test set" in count_look(Path("runs/digits"), 0.5, split)
    with place_of(None, "digits", force=True) as place:
        assert place == Path("runs/digits")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits", "digits-2"]


def test_looks_at_other_test_splits_do_not_count(tmp_path):
    for number, split in enumerate("aabba", 1):
        with RunFolder.create(tmp_path / f"run-{number}") as folder:
            warning = folder.add_look(1, 0.5, split)
        told = {2: "number 2 ", 4: "number 2 ", 5: "number 3 "}.get(number, "")
        assert told in warning
        assert bool(told) == bool(warning)


def test_looks_survive_a_kill_between_two_renames(tmp_path):
    path = tmp_path / "run"
    with RunFolder.create(path) as folder:
        folder.add_look(1, 0.5, "")
    stopped = tmp_path / ".run.12345678.onelayer"  # as a kill there leaves it
    stopped.mkdir()
    (stopped / "lock").touch()
    path.rename(stopped / "old")
    with output_folder(tmp_path / "newer") as newer:
        RunFolder(newer).add_look(2, 0.6, "")
    (tmp_path / "newer").rename(stopped / "new")
    with RunFolder.create(path, force=True) as folder:
        folder.add_look(3, 0.7, "")
    assert [look.models for look in RunFolder.open(path).looks()] == [2, 3]
    assert list(tmp_path.iterdir()) == [path]
