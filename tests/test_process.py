"""A command and those who started it: signals, closed pipes, full disks, odd environments."""

import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

import onelayer
from onelayer.evaluation.run_folder import RunFolder

SIGNALS = [s for s in signal.Signals if s.name in ("SIGHUP", "SIGINT", "SIGTERM")]
BEGIN = """
import atexit, os, signal, sys, weakref
from onelayer.process import run_process, Stopped
number = int(sys.argv[1])
def send(one=number): os.kill(os.getpid(), one)
def go_on():
 for _ in range(10**9): pass  # until the signal is heard
"""
END = "\nsys.exit(run_process(work))"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and devices of POSIX")
TRAIN = ["train", "digits", "--epochs", "1", "--report", "none", "--out"]


def python(code, *arguments, **options):
    """Run code in a new process with its output captured."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120, "text": True}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, **given | options)


def command(*arguments, begin="", **options):
    """Run the command line in a new process, after the code `begin`."""
    code = f"import sys; {begin}\nfrom onelayer.__main__ import main; main()"
    return python(code, *arguments, **options)


WORKS = {
    "plain": "def work(): send(); go_on()",
    # More of them, while it cleans up.
    "cleaning": """
def work():
    try: send(); go_on()
    finally:
        for n in (1, 2, 15) * 9: send(n)
        print("cleaned")
""",
    # In a place from which Python lets no error out.
    "finalizer": """
class A:
    def __del__(self): send()
def work(): A(); go_on()
""",
    "swallowed": """
def work():
    try: send()
    except BaseException: pass
    go_on()
""",
    # As a C module does whose import is broken off.
    "printed": """
def work():
    try: send()
    except BaseException: sys.excepthook(*sys.exc_info())
    go_on()
""",
}
PLACES = [*product(["plain", "cleaning"], SIGNALS), *product(WORKS, SIGNALS[1:2])]


@POSIX
@pytest.mark.parametrize(("work", "number"), dict.fromkeys(PLACES))
def test_a_signal_ends_the_work_in_one_line_and_its_status(work, number):
    done = python(BEGIN + WORKS[work] + END, number)
    assert done.stderr == f"onelayer: interrupted by {number.name}\n"
    out = "cleaned\n" if work == "cleaning" else ""
    assert (done.returncode, done.stdout) == (128 + number, out)


@POSIX
def test_a_signal_after_the_work_changes_nothing():
    done = python(BEGIN + "atexit.register(send)\ndef work(): return 1" + END, signal.SIGTERM)
    assert (done.returncode, done.stderr) == (1, "")


@POSIX
def test_a_signal_that_is_ignored_stays_so():
    code = f"signal.signal(1, signal.SIG_IGN)\n{BEGIN}\ndef work(): send(); return 0{END}"
    done = python("import signal\n" + code, signal.SIGHUP)
    assert (done.returncode, done.stderr) == (0, "")


@POSIX
@pytest.mark.parametrize("module", ["typer", "numpy._core.multiarray", "matplotlib.axes"])
def test_a_signal_during_an_import_shows_no_traceback(module, tmp_path):
    begin = (
        "import os; sys.addaudithook(lambda event, of: event == 'import' and "
        f"of[0] == {module!r} and os.kill(os.getpid(), 15))"
    )
    done = command(*TRAIN, tmp_path / "out", "--report", "html", begin=begin)
    assert done.stderr == "onelayer: interrupted by SIGTERM\n"
    assert (done.returncode, list(tmp_path.iterdir())) == (143, [])


@POSIX
def test_a_signal_during_the_training_leaves_nothing_behind(tmp_path):
    arguments = [*TRAIN, str(tmp_path / "out"), "--epochs", "1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "onelayer", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        while not any(tmp_path.iterdir()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    # On a slow machine a note says first how long the training will take.
    assert (process.returncode, err.splitlines()[-1]) == (130, "onelayer: interrupted by SIGINT")
    assert list(tmp_path.iterdir()) == []


SAY = "from onelayer.process import run_process\nimport os, sys\n"
MUCH = (
    SAY
    + "def work():\n for _ in range(999): print('λ' * 99)\n return 3\nsys.exit(run_process(work))"
)


@POSIX
@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_a_reader_that_has_gone_is_no_error(closed):
    reading, writing = os.pipe()
    os.close(reading)
    code = MUCH.replace("return 3", "print('x', file=sys.stderr); return 3")
    streams = dict.fromkeys(("stdout", "stderr") if closed == "both" else (closed,), writing)
    done = python(code, **streams)
    os.close(writing)
    assert done.returncode == 3
    assert done.stderr in ("x\n", None)


@POSIX
def test_closed_streams_are_no_error_and_no_file_gets_their_numbers(tmp_path):
    code = MUCH.replace("return 3", "sys.exit(open(sys.argv[1], 'w').fileno())")
    shell = f'exec "{sys.executable}" -c "$1" "$2" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, "sh", code, str(tmp_path / "a")])
    assert done.returncode > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_of_when_the_work_is_done():
    with open("/dev/full", "w") as full:
        done = python(MUCH, stdout=full)
    reason = os.strerror(28)
    assert (done.returncode, done.stderr) == (2, f"onelayer: standard output: {reason}\n")


@POSIX
def test_a_reader_that_is_slow_and_does_not_block_gets_all():
    code = MUCH.replace("import os, sys", "import os, sys; os.set_blocking(1, False)")
    process = subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(0.2)
    out, err = process.communicate()
    assert (len(out.decode()), err) == (999 * 100, b"")


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "cp437", "cp1252", "utf-8"])
def test_what_a_stream_cannot_show_comes_as_its_escape(encoding):
    code = SAY + "work = lambda: print('λ\\udce9') or print('λ\\udce9', file=sys.stderr) or 0"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = python(f"{code}\nsys.exit(run_process(work))", env=environment, encoding="utf-8")
    shown = "λ" if encoding == "utf-8" else "\\u03bb"
    assert (done.stdout, done.stderr) == (f"{shown}\\udce9\n", f"{shown}\\udce9\n")


@pytest.mark.parametrize("name", ["matplotlibrc", "named"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"text.usetex: 1\nno.such.key: 3\nbackend: tkagg"]
)
def test_matplotlib_complains_of_nothing_and_reads_no_settings(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    nowhere = dict.fromkeys(("HOME", "MPLCONFIGDIR"), str(tmp_path / name / "none"))
    own = nowhere | {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path / name)}
    say = "print(m.get_backend(), m.rcParams['text.usetex'], len(os.listdir()))"
    code = f"{SAY}def work(): import matplotlib as m; {say}; return 0{END}"
    done = python(code, cwd=tmp_path, env=os.environ | own)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "agg False 1\n")


@POSIX
def test_of_openmps_settings_those_that_are_well_formed_are_kept():
    """Of the others OpenMP complains, or it waits for ever: GOMP_CPU_AFFINITY=x."""
    kept = {"OMP_NUM_THREADS": "2, 1", "OMP_PROC_BIND": "Close", "OMP_PLACES": "cores"}
    gone = {"GOMP_CPU_AFFINITY": "x", "OMP_SCHEDULE": "x", "OMP_STACKSIZE": "1000G"}
    gone |= {"OMP_THREAD_LIMIT": "0", "OMP_DYNAMIC": "x"}
    say = "print(sorted(name for name in os.environ if 'OMP_' in name))"
    done = python(f"{SAY}def work(): {say}; return 0{END}", env=os.environ | kept | gone)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{sorted(kept)}\n")


@POSIX
def test_a_training_in_an_odd_environment_stores_its_results_without_noise(tmp_path):
    """Nobody reads the output, and all that libraries read of their own is unfit."""
    for module in ("random", "numpy", "matplotlib", "typing", "signal"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the module of a stranger')")
    odd = {
        "MPLBACKEND": "module://nonsense",
        "OMP_NUM_THREADS": "many",
        "GOMP_CPU_AFFINITY": "x",
        "COLUMNS": "1",
        "TERM": "dumb",
        "TZ": "Nowhere/None",
        "TMPDIR": "/dev/null/none",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    out = tmp_path / os.fsdecode(b"caf\xe9") / "λ"
    reading, writing = os.pipe()
    os.close(reading)
    # -m begins by putting the current folder before all others.
    done = subprocess.run(
        [sys.executable, "-m", "onelayer", *TRAIN, out],
        stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, env=os.environ | odd,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert RunFolder.open(out).has_results
    assert onelayer.load_run(out / "run").settings
