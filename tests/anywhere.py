"""Runs a fast part of the tests again as other machines would: `make test-anywhere`.

Each setting varies several things at once. Together they vary the processor that BLAS, NumPy and
the kernel see, threads, hash seed, time zone, locale, umask, user, home, proxy, and paths with a
space. All tests are collected twice, too: pytest-xdist needs the same ids in every process.
"""

import contextlib
import locale
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
OFFLINE = ["-m", "not cifar10 and not slow and not torch"]

NUMBERS = "calibration classifier cross_validation engines ensembles gradient_check losses network"
MORE_NUMBERS = (
    "exact lbfgs metrics optimum plan predictions protocol run sample_weights scaling training"
)
# Against scikit-learn's solver, or many searches: half a minute in which only scipy computes.
SLOW_NUMBERS = "not scikit_learns and not above_the_smallest"
PLACES = "archive cache catalog config_file download folder formats pickled spec storage tables"


def numpy_features() -> list[str]:
    """Return the features of this processor that NumPy can be told not to use."""
    return np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])


def processor(blas: str, kernel: str, without: Iterable[str]) -> dict[str, str]:
    """Return the environment in which this processor is taken for an older one."""
    older = {"ONELAYER_KERNEL": kernel, "NPY_DISABLE_CPU_FEATURES": " ".join(without)}
    return older | ({"OPENBLAS_CORETYPE": blas} if platform.machine() == "x86_64" else {})


def turkish() -> str:
    """Return the locale in which the small I is not i, if this machine has it, or else C."""
    try:
        locale.setlocale(locale.LC_ALL, "tr_TR.UTF-8")
    except locale.Error:
        return "C"
    return "tr_TR.UTF-8"


def ordinary_user(folder: Path) -> list[str]:
    """Return what to put before a command of root's so that it may do no more than others."""
    if os.geteuid() != 0:
        return []
    (locked := folder / "locked").mkdir(mode=0o555)
    may_write = [sys.executable, "-c", "import os, sys; print(os.access(sys.argv[1], os.W_OK))"]
    for prefix in (
        "unshare --user --map-user=54321 --map-group=54321",  # a user without a name
        "setpriv --bounding-set=-all --inh-caps=-all",  # root without its powers
    ):
        with contextlib.suppress(OSError):
            command = [*prefix.split(), *may_write, str(locked)]
            if subprocess.run(command, capture_output=True, text=True).stdout == "False\n":
                return prefix.split()
    print("skipped: an ordinary user (neither unshare nor setpriv can make root one here)")
    return []


def tests(names: str) -> list[str]:
    """Return the files of tests of these names."""
    return [f"tests/test_{name}.py" for name in names.split()]


def run(name: str, command: list[str], changes: dict[str, str], umask: int = -1) -> bool:
    """Run a command with changes of the environment, tell how it ended, and return if well."""
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | changes,
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    last = done.stdout.rstrip().rpartition("\n")[2]
    told = f"{name}: {last} ({time.monotonic() - start:.0f} s on the clock)"
    if done.returncode:
        settings = [f"{key}={value}" for key, value in changes.items()]
        told = f"{done.stdout}\n{told}\n  again: {shlex.join(['env', *settings, *command])}"
    print(told, flush=True)
    return done.returncode == 0


def collect(seed: int) -> list[str]:
    """Return the ids of all tests as a process with this hash seed sees them."""
    time.sleep(1.1 * seed)  # so that the clock shows another second
    command = [*PYTEST, "--collect-only", "-m", ""]
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr)
    return [line for line in done.stdout.splitlines() if "::" in line]


def main() -> int:
    """Run all settings, as many at a time as there are processors; 1 if one of them fails."""
    features = numpy_features()
    newest = [name for name in features if name.startswith(("AVX512", "X86_V4"))]
    numbers = [*PYTEST, *OFFLINE, "-k", SLOW_NUMBERS, *tests(NUMBERS), *tests(MORE_NUMBERS)]
    with (
        tempfile.TemporaryDirectory(prefix="any where ") as place,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        home, temporary = Path(place, "my home"), Path(place, "tmp")
        home.mkdir()
        temporary.mkdir()
        stranger = {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "LC_ALL": turkish(),
            "TZ": "XXX-14",
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "PYTHONHASHSEED": "3",
        }
        outcomes = [
            pool.submit(
                run,
                "an AVX2 processor",
                numbers,
                processor("Haswell", "avx2", newest)
                | {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "XXX+11:30"},
            ),
            pool.submit(
                run,
                "a processor of 2008, NumPy alone, one thread",
                numbers,
                processor("Nehalem", "none", features)
                | {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            ),
            pool.submit(
                run,
                "an ordinary user in another place, with a processor of 2011",
                [*ordinary_user(Path(place)), *PYTEST, *OFFLINE, *tests(PLACES)],
                processor("Sandybridge", "none", newest) | stranger,
                0o077,
            ),
        ]
        first, second = pool.map(collect, (1, 2))
        passed = [outcome.result() for outcome in outcomes]
    differing = sorted(set(first) ^ set(second))
    print(
        f"collected twice: {len(first)} tests, {len(differing)} ids that differ",
        *differing,
        sep="\n",
    )
    return 0 if all(passed) and first == second and first else 1


if __name__ == "__main__":
    sys.exit(main())
