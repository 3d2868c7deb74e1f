"""What a teacher uploads to the place where they grade: packages, test files, notebooks."""

import io
import json
import shlex
import uuid
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onelayer.errors import InputError
from onelayer.storage import atomic_file, output_folder
from onelayer.teaching.course import CLAIMS, CheckSpec, Course
from onelayer.teaching.handout import COURSE, cell_of, parts_of, render, write_notebook
from onelayer.teaching.variants import OpenCourse

_RUNNABLE, _OWN = 0o100755 << 16, 0o100600 << 16  # modes, as a zip keeps them


def write_gradescope(opened: OpenCourse, out: Path) -> None:
    """Write the zip of an autograder: setup.sh, run_autograder, course and secret."""
    files = {
        "setup.sh": _script("setup.sh"),
        "run_autograder": _script("run_autograder"),
        **_files_of(opened),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = _OWN if "/" in name else _RUNNABLE
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    with atomic_file(out) as new:
        new.write_bytes(packed.getvalue())


def write_prairielearn(opened: OpenCourse, out: Path) -> None:
    """Write the folder of a question: info.json, question.html, and tests/ with what grades."""
    course = opened.course
    seconds = min(600, int(course.limits.total) + 60)
    with output_folder(out) as new:
        info = render(
            "prairielearn.json", title=json.dumps(course.title), seconds=seconds, uuid=uuid.uuid4()
        )
        (new / "info.json").write_text(info, "utf-8")
        (new / "question.html").write_text(render("prairielearn.html"), "utf-8")
        (new / "tests").mkdir()
        (new / "tests" / "Dockerfile").write_text(render("Dockerfile", version=_version()), "utf-8")
        run = new / "tests" / "run.sh"
        run.write_bytes(_script("prairielearn.sh"))
        run.chmod(0o755)
        for name, data in _files_of(opened).items():
            (new / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
            (new / "tests" / name).write_bytes(data)


def write_otter(opened: OpenCourse, out: Path) -> None:
    """Write a test file of otter-grader for each check of functions, in the folder `out`.

    A check with partial credit becomes several test cases: one for each share that can remain.
    """
    with output_folder(out) as new:
        for check in _of_functions(opened.course):
            name = f"{_plain(check.name)}.py"
            (new / name).write_text(_python("otter.py.in", opened.course, check), "utf-8")


def write_pytest(opened: OpenCourse, out: Path) -> None:
    """Write a test file of pytest with a test for each check of functions."""
    checks = _of_functions(opened.course)
    with atomic_file(out) as new:
        cases = [_fields(opened.course, check) for check in checks]
        new.write_text(render("test_course.py.in", cases=cases), "utf-8")


def write_nbgrader(opened: OpenCourse, out: Path) -> None:
    """Write the source notebook of nbgrader: starter code to solve, a graded cell a check."""
    folder = opened.folder.folder
    text, code = ((folder / name).read_text("utf-8") for name in ("assignment.md", "starter.py"))
    cells: list[dict[str, Any]] = [cell_of("markdown", text)]
    for number, part in enumerate(parts_of(code)):
        cells.append(cell_of("code", part) | _nbgrader(f"part-{number}", solution=True))
    for check in _of_functions(opened.course):
        source = _python("nbgrader.py.in", opened.course, check)
        cells.append(
            cell_of("code", source)
            | _nbgrader(_plain(check.name), grade=True, locked=True, points=check.points)
        )
    write_notebook(cells, out)


def _nbgrader(name: str, **what: Any) -> dict[str, Any]:
    """Return the metadata by which nbgrader knows a cell, in the form of its schema 3."""
    usual = {"grade": False, "locked": False, "solution": False, "task": False}
    return {"metadata": {"nbgrader": {"grade_id": name, "schema_version": 3, **usual, **what}}}


def _of_functions(course: Course) -> list[CheckSpec]:
    """Return the checks that can be made where the code of the student itself runs."""
    checks = [check for check in course.checks if check.kind not in CLAIMS]
    if not checks:
        raise InputError("the course has no check of a function, so there is nothing to write")
    return checks


def _python(template: str, course: Course, check: CheckSpec) -> str:
    fields = _fields(course, check)
    hidden = check.visibility != "visible"
    return render(template, check=check, fields=fields, cases=cases_of(check), hidden=hidden)


def _fields(course: Course, check: CheckSpec) -> dict[str, Any]:
    """Return the arguments of judging.judge_here that make this check."""
    return {
        "kind": check.kind,
        "points": check.points,
        "title": check.name,
        "relative": check.relative,
        "absolute": check.absolute,
        "credit": dict(check.credit),
        "half": course.half,
    }


def cases_of(check: CheckSpec) -> list[tuple[float, float]]:
    """Return pairs: the share that is needed, and the points that it adds to the one before."""
    shares = sorted({*check.credit.values(), 1.0} - {0.0})
    before = [0.0, *shares]
    return [
        (share, round((share - less) * check.points, 10))
        for less, share in zip(before, shares, strict=False)
    ]


def _files_of(opened: OpenCourse) -> dict[str, bytes]:
    """Return the files of the course and of the teacher's folder, by where they lie."""
    folder = opened.folder
    files = {f"course/{COURSE}": folder.file.read_bytes()}
    files["course.teacher/secret"] = opened.secret
    for path in sorted((folder.own / "bands").glob("*.json")):
        files[f"course.teacher/bands/{path.name}"] = path.read_bytes()
    return files


def _script(name: str, **facts: Any) -> bytes:
    return render(name, version=shlex.quote(_version()), **facts).encode()


def _version() -> str:
    return version("onelayer")


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


PACKAGES: dict[str, Callable[[OpenCourse, Path], None]] = {
    "gradescope": write_gradescope,
    "prairielearn": write_prairielearn,
    "otter": write_otter,
    "nbgrader": write_nbgrader,
    "pytest": write_pytest,
}
