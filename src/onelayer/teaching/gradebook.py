"""All submissions of a course: graded over the cores, kept one by one, written as a whole."""

import hashlib
import json
import os
import re
import signal
import zlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path

from pydantic import TypeAdapter

from onelayer.evaluation.csv_export import write_rows
from onelayer.progress import progress_bar
from onelayer.storage import atomic_file
from onelayer.teaching.course import Course
from onelayer.teaching.grading import Graded, Grader
from onelayer.teaching.handed_in import list_submissions, student_of
from onelayer.teaching.variants import OpenCourse

_GRADED = TypeAdapter(Graded)


def grade_all(opened: OpenCourse, submissions: Path, out: Path) -> list[Graded]:
    """Return the results of all submissions, in the order of the students.

    Each is kept in `out`/results as soon as it is known, and not graded again while neither the
    submission nor the course changes.
    """
    grader = Grader(opened)
    paths = list_submissions(submissions)
    digests = {path: _digest(path, opened.folder.file) for path in paths}
    kept = {path: _kept(out, path, digests[path]) for path in paths}
    missing = [path for path in paths if kept[path] is None]
    with progress_bar("grading", len(paths)) as update:
        update(len(paths) - len(missing))
        done = len(paths) - len(missing)
        for path, graded in _in_processes(grader, missing, digests):
            kept[path] = graded
            _keep(out, path, graded)
            done += 1
            update(done, detail=graded.student)
    return [graded for graded in kept.values() if graded is not None]


def _in_processes(
    grader: Grader, paths: Sequence[Path], digests: dict[Path, str]
) -> Iterator[tuple[Path, Graded]]:
    """Yield each path with its result, as soon as it is there.

    If a process that grades ends, those that are left are graded one by one, to find out by which.
    """
    left = yield from _in_one_pool(grader, paths, digests)
    for path in left:
        if (yield from _in_one_pool(grader, [path], digests)):
            yield path, grader.nothing(path, digests[path], "the process that graded it has ended")


def _in_one_pool(
    grader: Grader, paths: Sequence[Path], digests: dict[Path, str]
) -> Generator[tuple[Path, Graded], None, list[Path]]:
    """Yield results; return the paths that have none, because a process has ended."""
    left, workers = list(paths), min(len(paths), os.cpu_count() or 1)
    if not left:
        return []
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (grader,)) as pool:
        waiting: dict[Future[Graded], Path] = {
            pool.submit(_grade, path, digests[path]): path for path in paths
        }
        try:
            for future in as_completed(waiting):
                with suppress(BrokenProcessPool):
                    yield waiting[future], future.result()
                    left.remove(waiting[future])
        except BaseException:  # asked to stop: at once, not after the submissions that run
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            raise
    return left


_grader: list[Grader] = []  # of this process


def _prepare(grader: Grader) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that was started first decides
    signal.signal(signal.SIGTERM, _leave)
    _grader[:] = [grader]


def _leave(*_: object) -> None:
    """End the submission that is being graded, its sandbox and its folders, and begin no other."""
    _grader.clear()
    raise SystemExit


def _grade(path: Path, digest: str) -> Graded:
    return _grader[0].grade(path, digest)


def _digest(path: Path, course: Path) -> str:
    """Return what a result is of: the bytes that were handed in, and the course's file."""
    found = hashlib.sha256(course.read_bytes())
    for each in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
        found.update(f"\0{each.relative_to(path.parent)}\0".encode("utf-8", "surrogateescape"))
        if each.is_file() and not each.is_symlink():
            with each.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def file_name(student: str) -> str:
    """Return a student's id as the name of a file."""
    plain = re.sub(r"[^\w.-]", "_", student)[:100].lstrip(".") or "_"
    return plain if plain == student else f"{plain}-{zlib.crc32(student.encode()):08x}"


def _place(out: Path, path: Path) -> Path:
    return out / "results" / f"{file_name(student_of(path))}.json"


def _keep(out: Path, path: Path, graded: Graded) -> None:
    with atomic_file(_place(out, path)) as new:
        new.write_text(json.dumps(asdict(graded)), "utf-8")


def _kept(out: Path, path: Path, digest: str) -> Graded | None:
    """Return the result that is kept of this submission, None if there is none of these bytes."""
    with suppress(OSError, ValueError):
        graded = _GRADED.validate_python(json.loads(_place(out, path).read_text("utf-8")))
        return graded if graded.digest == digest else None
    return None


def write_grades(results: Sequence[Graded], course: Course, out: Path) -> Path:
    """Write grades.csv, a line a student: points, those of each check, diagnoses and notes."""
    names = [check.name for check in course.checks]
    path = out / "grades.csv"
    with atomic_file(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        write_rows([["student", "points", "of", *names, "diagnoses", "seconds", "notes"]], file)
        write_rows(map(_cells, results), file)
    return path


def _cells(graded: Graded) -> list[str]:
    """Return what the line of a student holds."""
    points = (graded.points, graded.max_points, *(check.points for check in graded.checks))
    words = [" ".join(graded.codes), f"{graded.seconds:.1f}", " | ".join(graded.notes)]
    return [graded.student, *(f"{each:g}" for each in points), *words]
