"""Code in the sandbox: what it returns arrives, and what it attacks stands."""

import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onelayer.errors import InputError
from onelayer.teaching import jailed
from onelayer.teaching.remote import NotAnsweredError, remote_functions
from onelayer.teaching.sandbox import Limits, Sandbox, run_in_sandbox
from onelayer.teaching.wire import LENGTH, WireError, decode, encode

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the sandbox needs a Unix")
SHORT = Limits(wall=0.7, cpu=2, memory=2**30, output=2**16, answer=2**16)


def folder_of(path: Path, code: str) -> Path:
    (path / "code").mkdir()
    (path / "code" / "code.py").write_text(code)
    (path / "code").chmod(0o755)
    return path / "code"


def test_values_of_every_type_return_unchanged() -> None:
    value = {
        "W": np.arange(6.0, dtype="f4").reshape(2, 3).T,
        "complex": np.array([1 + 2j]),
        "empty": np.zeros((0, 4), dtype=bool),
        "rest": [None, True, 3, -0.5, float("inf"), "é", (np.int64(2), [])],
    }
    back = decode(encode(value)[LENGTH:])
    np.testing.assert_array_equal(back["W"], value["W"])
    assert back["W"].dtype == np.float32
    assert back["complex"] == 1 + 2j
    assert back["empty"].shape == (0, 4)
    assert back["rest"] == [None, True, 3, -0.5, float("inf"), "é", (2, [])]
    assert repr(decode(encode(object())[LENGTH:])) == "<builtins.object>"


def body_of(tree: str) -> bytes:
    return len(tree).to_bytes(LENGTH, "little") + tree.encode()


BODIES = {
    "empty": b"",
    "cut": encode(np.ones(9))[LENGTH:-1],
    "no JSON": (3).to_bytes(LENGTH, "little") + b"abc",
    "objects": (58).to_bytes(LENGTH, "little")
    + b'{"tree": {"array": 0}, "arrays": [["|O", [1]]]}           '
    + bytes(8),
    "huge": (60).to_bytes(LENGTH, "little")
    + b'{"tree": {"array": 0}, "arrays": [["<f8", [99999999999]]]}  ',
    "deep": (60_000).to_bytes(LENGTH, "little") + b"[" * 60_000,
    "endless side": body_of('{"tree": 0, "arrays": [["<f8", [Infinity]]]}'),
    "half a side": body_of('{"tree": 0, "arrays": [["<f8", [0.5]]]}'),
    "another type": body_of('{"tree": 0, "arrays": [["f8", [0]]]}'),
    "one array twice": body_of(
        '{"tree": {"list": [{"array": 0}, {"array": 0}]}, "arrays": [["<f8", [0]]]}'
    ),
    "type": (44).to_bytes(LENGTH, "little") + b'{"tree": {"eval": ["exit()"]}, "arrays": []}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_that_are_no_frame_are_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        decode(body)


def test_code_is_called_with_arrays_and_keeps_its_state(tmp_path: Path) -> None:
    code = "calls = []\ndef f(X, *, lam):\n    calls.append(1)\n    return lam * X, len(calls)\n"
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        first = sandbox.call("code.py:f", np.eye(2), lam=0.5)
        second = sandbox.call("code.py:f", np.eye(2), lam=2)
    np.testing.assert_array_equal(first.value[0], np.eye(2) / 2)
    assert (first.value[1], second.value[1]) == (1, 2)


def test_an_error_is_one_line_with_its_place(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, "def f():\n    print('so far')\n    raise ValueError('no\\nway')\n"
    )
    outcome = run_in_sandbox(folder, "code.py:f")
    assert outcome.status == "raised"
    assert outcome.message == "code.py, line 3: ValueError: no way"
    assert outcome.output == "so far\n"


# Each attack in f; the last column is the status that it ends with.
ATTACKS = {
    "os._exit": ("import os\ndef f():\n    os._exit(0)", "ended"),
    "sys.exit": ("import sys\ndef f():\n    sys.exit(0)", "raised"),
    "exit at import": ("import os\nos._exit(3)", "ended"),
    "segfault": ("import ctypes\ndef f():\n    ctypes.string_at(0)", "ended"),
    "sleeps": ("import time\ndef f():\n    time.sleep(60)", "timeout"),
    "ignores signals": (
        "import signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except OSError: pass\ndef f():\n    while True: pass",
        "timeout",
    ),
    "100 GB": ("import numpy as np\ndef f():\n    return np.ones(100 * 2**30 // 8)", "raised"),
    "fork bomb": (
        "import os\ndef f():\n    while True:\n        try: os.fork()\n"
        "        except OSError: pass",
        "timeout",
    ),
    "flood": ("def f():\n    while True: print('x' * 4000)", "flooded"),
    "large answer": ("import numpy as np\ndef f():\n    return np.ones(2**20)", "damaged"),
    "endless frame": (
        "import os\ndef f():\n    for n in range(3, 99):\n        try: os.write(n, b'\\xff' * 64)\n"
        "        except OSError: pass",
        "damaged",
    ),
    "file bomb": (
        "def f():\n    with open('x', 'wb') as file:\n        while True: file.write(bytes(2**20))",
        "raised",
    ),
    "an error that cannot tell itself": (
        "class E(BaseException):\n    def __str__(self): raise OSError\ndef f(): raise E",
        "raised",
    ),
    "deep answer": ("def f():\n    a = []\n    a.append(a)\n    return a", "answered"),
    "nothing": ("def f():\n    return 0", "answered"),
}


FORGERIES = {
    "results.json": "import json\njson.dump({'score': 100}, open('results.json', 'w'))\n",
    "a verdict": 'print(\'{"passed": true, "score": 100}\')\n',
    "NumPy": "import numpy as np\nnp.allclose = lambda *a, **k: True\nnp.abs = lambda x: 0 * x\n",
    "onelayer": "import onelayer.teaching.wire as w\nw.encode = lambda value: b''\n",
    "a frame": (
        "import os\nfrom onelayer.teaching.wire import encode\nfor n in range(3, 99):\n"
        "    try: os.write(n, encode({'status': 'answered', 'value': 1, 'score': 100}))\n"
        "    except OSError: pass\n"
    ),
    "a status that is an array": (
        "import os\nimport numpy as np\nfrom onelayer.teaching.wire import encode\n"
        "for n in range(3, 99):\n"
        "    try: os.write(n, encode({'status': np.ones(2), 'value': 1, 'changed': None}))\n"
        "    except OSError: pass\n"
    ),
    "frames": (
        "import sys\nframe = sys._getframe()\nseen = []\nwhile frame:\n"
        "    seen.append(str(frame.f_locals))\n    frame = frame.f_back\n"
    ),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory):
    """One sandbox for all attacks: each is the call after another that was lost."""
    folder = tmp_path_factory.mktemp("attacks")
    for name, (code, _) in ATTACKS.items():
        (folder / f"{name}.py").write_text(code + "\n")
    for name, code in FORGERIES.items():
        (folder / f"forges {name}.py").write_text(code + "def f(X):\n    return X + 1\n")
    with Sandbox(folder, SHORT) as sandbox:
        yield sandbox


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_loses_its_answer_and_nothing_else(attacked: Sandbox, attack: str) -> None:
    outcome = attacked.call(f"{attack}.py:f")
    assert outcome.status == ATTACKS[attack][1], outcome
    assert not isinstance(outcome.value, np.ndarray)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_code_claims_is_no_answer(attacked: Sandbox, forgery: str) -> None:
    """A wrong value stays wrong, whatever else the code says and does."""
    files = sorted(os.listdir(attacked.folder))
    outcome = attacked.call(f"forges {forgery}.py:f", np.zeros(2))
    if outcome.status == "answered":
        np.testing.assert_array_equal(outcome.value, [1, 1])
    else:
        assert outcome.value is None
    assert sorted(os.listdir(attacked.folder)) == files


def test_frames_hold_no_point_but_the_one_that_is_asked(tmp_path: Path) -> None:
    """The next point is sent once the last is answered, and no answer is ever sent."""
    code = (
        "import gc\nimport numpy as np\ndef f(X):\n"
        "    return [float(o.ravel()[0]) for o in gc.get_objects() + gc.get_referents("
        "*gc.get_objects()) if isinstance(o, np.ndarray) and o.size]\n"
    )
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        seen = [sandbox.call("code.py:f", np.array([[point]])).value for point in (7.25, 8.25)]
    assert 8.25 not in seen[0]
    assert set(seen[1]) >= {8.25}


@pytest.fixture
def jail(tmp_path: Path):
    """A sandbox with all that Linux has; where a machine withholds it, it must say so."""
    code = (
        "import os, socket\ndef connect():\n    socket.create_connection(('127.0.0.1', PORT), 1)\n"
        "def look(path): return os.path.exists(path)\n"
        "def write(path): open(path, 'w').write('x')\n"
        "def environment(): return dict(os.environ)\n"
        "def kill(number): os.kill(number, 9)\n"
    )
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        sandbox.call("builtins:abs", 1)
        if sandbox.lacks:
            pytest.skip("; ".join(sandbox.lacks))
        yield sandbox


def test_the_jail_has_no_network_no_secret_and_no_way_out(jail: Sandbox, tmp_path: Path) -> None:
    import socket

    secret = tmp_path / "secret"
    secret.write_text("key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = jail.folder / "code.py"
        assert not jail.call("code.py:look", str(secret)).value
        assert jail.call("code.py:look", "code.py").value
        wrote = [jail.call("code.py:write", str(path)) for path in (code, secret, "/usr/x")]
        assert {each.status for each in wrote} == {"raised"}
        assert jail.call("code.py:write", "here").status == "answered"
        assert jail.call("code.py:kill", os.getpid()).status == "raised"
        reached = run_in_sandbox(
            folder_of(tmp_path / "code", f"PORT = {server.getsockname()[1]}\n" + code.read_text()),
            "code.py:connect",
        )
    assert reached.status == "raised"
    assert secret.read_text() == "key"


def test_the_environment_is_empty(jail: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONELAYER_SECRET", "key")
    assert "ONELAYER_SECRET" not in jail.call("code.py:environment").value


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which sandboxes are made; not below tmp_path, which only its owner enters."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        monkeypatch.setattr("tempfile.tempdir", name)
        yield Path(name)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_nothing_outlives_the_process_that_grades(boxes: Path, tmp_path: Path) -> None:
    code = (
        "import os, time\ndef f():\n    os.fork()\n    os.fork() or os.setsid()\n"
        "    time.sleep(99)\n"
    )
    folder = folder_of(tmp_path, code)
    grade = (
        "import sys, pathlib\nfrom onelayer.teaching.sandbox import run_in_sandbox\n"
        f"run_in_sandbox(pathlib.Path({str(folder)!r}), 'code.py:f')\n"
    )
    environment = os.environ | {"TMPDIR": str(boxes)}
    with subprocess.Popen([sys.executable, "-c", grade], env=environment) as grader:
        deadline = time.monotonic() + 30
        while len(_processes_of(boxes)) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(_processes_of(boxes)) >= 4, "the jail, the code and its forks"
        grader.kill()
    deadline = time.monotonic() + 30
    while (held := _processes_of(boxes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not held


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_code_does_not_end_what_watches_it(boxes: Path, tmp_path: Path) -> None:
    """Signals to the group of the process reach no other than the code's own."""
    code = (
        "import os, time\ndef f():\n    if os.fork() == 0:\n        time.sleep(0.1)\n"
        "        os.kill(0, 9)\n    elif os.getpgid(0) != os.getpid(): os.setsid()\n"
        "    time.sleep(99)\n"
    )
    assert run_in_sandbox(folder_of(tmp_path, code), "code.py:f", limits=SHORT).value is None
    assert not _processes_of(boxes)


LEAVES = """
import ctypes, os, time

def sessions():
    if os.fork(): return
    os.setsid()
    os.fork()
    time.sleep(99)

def chain():
    if os.fork(): return
    os.setsid()
    while True: os.fork() and os._exit(0)

def tracer():
    ready, tell = os.pipe()
    if os.fork(): return len(os.read(ready, 1))
    os.setsid()
    traced = os.fork()
    if traced == 0: time.sleep(99)
    if os.fork() == 0:
        ctypes.CDLL(None).ptrace(16, traced, 0, 0)
        os.write(tell, b"1")
        time.sleep(99)
    os._exit(0)

def folders():
    os.mkdir("locked")
    open("locked/x", "w")
    os.chmod("locked", 0)
    for _ in range(1000):
        os.mkdir("d")
        os.chdir("d")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no namespaces at all")
def test_without_namespaces_nothing_is_left(
    boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jail = tmp_path / "refused.py"
    jail.write_text(
        f"import json, sys\nsys.path.insert(0, {str(jailed._HERE)!r})\nimport jail\n"
        "jail._NAMESPACES = {'unknown': 1}\nsys.exit(jail.main(json.loads(sys.argv[1])))\n"
    )
    monkeypatch.setattr(jailed, "_JAIL", jail)
    limits = Limits(processes=10_000)  # without namespaces it is of all processes of a user
    with Sandbox(folder_of(tmp_path, LEAVES), limits) as sandbox:
        try:
            outcomes = [
                sandbox.call(f"code.py:{name}")
                for name in ("sessions", "chain", "tracer", "folders")
            ]
        except InputError as error:
            if os.getuid() == 0 and "Permission denied" in str(error):
                pytest.skip("this Python can be read by root alone")
            raise
    assert {each.status for each in outcomes} == {"answered"}, outcomes
    assert [each.split(" (")[0] for each in sandbox.lacks] == ["namespaces"]
    assert not _processes_of(boxes)
    assert not os.listdir(boxes)


def _processes_of(folder: Path) -> list[str]:
    """The processes whose command names the folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(each.parent.name)
    return found


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        run_in_sandbox(tmp_path / "nowhere", "code.py:f")


def test_a_forged_description_gives_no_function(tmp_path: Path) -> None:
    code = (
        "import os\nimport numpy as np\nfrom onelayer.teaching.wire import encode\n"
        "functions = {'kind': [['x', 99, []]], 'default': [['x', 1, {'a': 1}]],\n"
        "    'name': [['x y', 1, []]], '\\x1b[2J': [], 'arrays': np.ones((1, 3)), 'right': []}\n"
        "found = {'functions': functions, 'failed': '\\n\\x1b[2J' * 9999, 'torch': False}\n"
        "for n in range(3, 99):\n"
        "    try: os.write(n, encode({'status': 'answered', 'value': found, 'changed': None}))\n"
        "    except OSError: pass\n"
    )
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        functions, failed = remote_functions(sandbox, "code.py")
    assert [*functions] == ["right"]
    assert failed.isprintable()
    assert len(failed) < 10_000


def test_functions_are_called_from_here_with_their_signatures(tmp_path: Path) -> None:
    code = (
        "import numpy as np\ndef ComputeGradients(X, Y, *, lam=0.5, h=None):\n"
        "    X += 1\n    return {'W': X, 'b': lam}\n"
        "def fails(X): raise KeyError('y')\nopen('missing.mat')\ndef late(): pass\n"
        "while True: pass\n"
    )
    X = np.zeros((2, 3))
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        functions, failed = remote_functions(sandbox, "code.py")
        found = functions["ComputeGradients"](X, Y=[X.copy()], lam=2)
        with pytest.raises(NotAnsweredError, match=r"code\.py, line 5: KeyError: 'y'"):
            functions["fails"](X)
    assert [*functions] == ["ComputeGradients", "fails", "late"]
    assert failed.startswith("code.py, line 6: FileNotFoundError")
    parameters = inspect.signature(functions["ComputeGradients"]).parameters
    assert (parameters["lam"].default, parameters["h"].default) == (0.5, None)
    assert parameters["X"].default is inspect.Parameter.empty
    np.testing.assert_array_equal(found["W"], np.ones((2, 3)))
    np.testing.assert_array_equal(X, np.ones((2, 3)))


def test_a_notebook_runs_cell_by_cell_without_magics(tmp_path: Path) -> None:
    cells = [
        "%matplotlib inline\n!pip install x\nimport numpy as np",
        "raise OSError('no data')",
        "%%time\ndef f(X):\n    return np.sum(X)",
        "%%bash\nrm -rf /",
        "files = !ls\nlen?\nmany = 7",
        "def g(X):\n    return (many + X\n    % 3)",
        "%time x = (",
    ]
    notebook = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    folder = folder_of(tmp_path, "")
    (folder / "mine.ipynb").write_text(json.dumps(notebook))
    with Sandbox(folder) as sandbox:
        functions, failed = remote_functions(sandbox, "mine.ipynb")
        assert functions["f"](np.ones(3)) == 3
        assert functions["g"](5) == 9
    assert failed == "mine.ipynb, cell 2, line 1: OSError: no data"


def test_settings_are_found_by_any_spelling(tmp_path: Path) -> None:
    class Settings(dict):
        patterns = {"batch": "n_?batch", "rate": "eta|lr"}  # noqa: RUF012

    code = "def f(p): return [p['n_batch'], p.lr, p['rate'], *p, p.get('none', 0)]\n"
    with Sandbox(folder_of(tmp_path, code)) as sandbox:
        outcome = sandbox.call("code.py:f", Settings(batch=4, rate=0.1))
    assert outcome.value == [4, 0.1, 0.1, 4, 0.1, 0], outcome


def test_the_textbook_is_not_in_the_jail(jail: Sandbox) -> None:
    assert jail.call("onelayer.model.network:gradients").message.startswith("ModuleNotFoundError")
