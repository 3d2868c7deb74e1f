"""Say whether our epoch has become slower than it was: `python -m benchmarks.compare BASE`.

Head (the working tree, committed or not) and base are each copied and built in a temporary folder,
and run in turns. The exit status is 1 if head is slower by more than 10 % and 20 ms, or wrong.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import FrameType

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.harness import Plan, Record, measure
from benchmarks.machine import cores
from benchmarks.process import ROOT, Start
from benchmarks.summary import paired_ratio, table
from benchmarks.work import Work

RATIO, SECONDS = 1.10, 0.020  # both must be exceeded: noise passes the one or the other
HEAD, BASE = "head", "base"


@dataclass(frozen=True)
class Verdict:
    """Head against base at one number of models: median seconds, median paired ratio."""

    models: int
    head: float
    base: float
    ratio: float

    @property
    def slower(self) -> bool:
        """Whether both thresholds are exceeded."""
        return self.ratio > RATIO and self.head - self.base > SECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print the table, return the exit status."""
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with checkouts(options.base) as folders:
            record = _measure(folders, options)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))}: failed\n{error.stderr}", file=sys.stderr)
        return 2
    for fault in record.disqualified:
        print(f"{fault['contender']}: {fault['reason']}")
    verdicts = judge(record, options.models)
    print(_describe(verdicts))
    return int(bool(record.disqualified) or any(verdict.slower for verdict in verdicts))


def judge(record: Record, models: Sequence[int]) -> list[Verdict]:
    """Return the verdict for each number of models that both have run."""
    verdicts = []
    for M in models:
        head, base = (_seconds(record, name, M) for name in (HEAD, BASE))
        ratio = paired_ratio(head, base)
        if ratio is not None:
            verdicts.append(Verdict(M, median(head.values()), median(base.values()), ratio))
    return verdicts


@contextmanager
def checkouts(revision: str, repository: Path = ROOT) -> Iterator[dict[str, Path]]:
    """Yield a folder for the working tree and one for `revision`; gone afterwards, come what may.

    Raises
    ------
    subprocess.CalledProcessError
        If git does not know the revision.
    """
    with tempfile.TemporaryDirectory(prefix="onelayer-compare-") as temporary:
        folders = {name: Path(temporary) / name for name in (HEAD, BASE)}
        try:
            _git(repository, "worktree", "add", "--detach", str(folders[BASE]), revision)
            _copy_head(repository, folders[HEAD])
            yield folders
        finally:
            shutil.rmtree(folders[BASE], ignore_errors=True)
            _git(repository, "worktree", "prune")


def _copy_head(repository: Path, folder: Path) -> None:
    """Copy what git knows or would take; what is ignored, built files above all, stays behind."""
    listed = _git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, folder / name)


def _git(repository: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(repository), *arguments]).stdout


def _run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _measure(folders: Mapping[str, Path], options: argparse.Namespace) -> Record:
    target = next(contender.target for contender in CONTENDERS if contender.name == OURS)
    for name, folder in folders.items():
        print(f"{name}: {_build(folder)}", flush=True)
    starts = {name: Start(target, folder / "src") for name, folder in folders.items()}
    works = [Work(models) for models in options.models]
    return measure(starts, works, Plan(options.rounds, float("inf"), cores()), _silent)


def _build(folder: Path) -> str:
    """Build the extension beside its sources, if this revision has one; return what was done."""
    if not (folder / "setup.py").exists():
        return "nothing to compile"
    done = _run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], folder)
    built = [path.name for path in (folder / "src").rglob("*") if path.suffix in {".so", ".pyd"}]
    if not built:  # the extension is optional: setup.py succeeds without it
        reasons = [line for line in done.stderr.splitlines() if "error" in line]
        return f"NOT COMPILED, so its NumPy engine runs: {(reasons or ['no compiler?'])[0]}"
    return f"compiled {', '.join(built)}"


def _seconds(record: Record, name: str, models: int) -> dict[int, float]:
    return {
        turn["round"]: turn["seconds"]
        for turn in record.turns
        if turn["contender"] == name and turn["models"] == models
    }


def _describe(verdicts: Sequence[Verdict]) -> str:
    header = ["models", "base s", "head s", "head / base, paired", "verdict"]
    rows = [
        [
            str(verdict.models),
            f"{verdict.base:.4f}",
            f"{verdict.head:.4f}",
            f"{verdict.ratio:.3f}",
            "slower" if verdict.slower else "passes",
        ]
        for verdict in verdicts
    ]
    return table(header, rows)


def _leave(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that every `finally` on the way is run."""
    sys.exit(128 + number)


def _silent(text: str) -> None:
    """Say nothing of the rounds."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 4, 20], metavar="M")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default 15)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
