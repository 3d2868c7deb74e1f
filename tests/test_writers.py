"""Results and packages for the places where teachers grade, held to the fields they publish."""

import base64
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.submissions import COURSE

from onelayer.teaching import packages, writers
from onelayer.teaching.course import CheckSpec
from onelayer.teaching.grading import Graded
from onelayer.teaching.handout import make_course
from onelayer.teaching.judging import judge_here
from onelayer.teaching.variants import OpenCourse, open_course

# gradescope-autograders.readthedocs.io/en/latest/specs: the keys and their types.
GRADESCOPE = {
    "score": (int, float), "execution_time": (int, float), "output": str, "output_format": str,
    "test_output_format": str, "test_name_format": str, "visibility": str, "stdout_visibility": str,
    "extra_data": dict, "tests": list, "leaderboard": list,
}  # fmt: skip
GRADESCOPE_TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str,
    "name_format": str, "number": str, "output": str, "output_format": str, "tags": list,
    "visibility": str, "extra_data": dict,
}  # fmt: skip
VISIBLE = {"hidden", "after_due_date", "after_published", "visible"}
# prairielearn.readthedocs.io/en/latest/externalGrading
PRAIRIELEARN = {
    "gradable": bool, "score": (int, float), "message": str, "output": str, "images": list,
    "tests": list, "format_errors": (str, list),
}  # fmt: skip
PRAIRIELEARN_TEST = {
    "name": str, "description": str, "points": (int, float), "max_points": (int, float),
    "message": str, "output": str, "images": list,
}  # fmt: skip


def assert_fields(told: dict[str, Any], published: dict[str, Any]) -> None:
    for name, value in told.items():
        assert name in published, name
        assert isinstance(value, published[name]), (name, value)


@pytest.fixture(scope="module")
def graded() -> Graded:
    """One right check, one half right, one hidden, of a submission of which something is said."""
    names: dict[str, Any] = {}
    exec(COURSE.replace("G @ X.T / N", "G @ X.T"), names)
    checks = (
        judge_here("accuracy", names, points=1),
        judge_here("gradient", names, points=4, credit={"G01": 0.5}),
        judge_here("descent", names, points=2, visibility="hidden"),
    )
    return Graded("ana", "", checks, ("a note <&> \x1b[31m",), 1.5)


def test_gradescope_reads_its_fields(graded: Graded) -> None:
    told = json.loads(writers.gradescope(graded))
    assert_fields(told, GRADESCOPE)
    for test in told["tests"]:
        assert_fields(test, GRADESCOPE_TEST)
        assert test["visibility"] in VISIBLE
        assert test["status"] in ("passed", "failed")
        assert 0 <= test["score"] <= test["max_score"]
    assert [test["score"] for test in told["tests"]] == [1, 2, 0]
    assert told["tests"][1]["tags"] == ["G01"]
    assert told["stdout_visibility"] in VISIBLE


def test_prairielearn_reads_its_fields_and_pictures(graded: Graded) -> None:
    text = writers.prairielearn(graded)
    told = json.loads(text)
    assert_fields(told, PRAIRIELEARN)
    assert told["score"] == pytest.approx(3 / 7)
    assert told["gradable"]
    for test in told["tests"]:
        assert_fields(test, PRAIRIELEARN_TEST)
    (picture,) = told["tests"][1]["images"]
    assert set(picture) == {"label", "url"}
    head, packed = picture["url"].split(",", 1)
    assert head == "data:image/svg+xml;base64"
    ElementTree.fromstring(base64.b64decode(packed))
    assert told["tests"][2] == {
        "name": "descent", "description": told["tests"][2]["description"], "points": 0,
        "max_points": 2, "output": "", "images": [],
    }  # fmt: skip


def test_prairielearn_takes_no_attempt_for_what_cannot_run(graded: Graded) -> None:
    nothing = Graded("eve", "", (), ("a zip that cannot be unpacked",), 0.1)
    told = json.loads(writers.prairielearn(nothing))
    assert_fields(told, PRAIRIELEARN)
    assert not told["gradable"]
    assert told["format_errors"] == ["a zip that cannot be unpacked"]


def test_junit_counts_what_fails(graded: Graded) -> None:
    suite = ElementTree.fromstring(writers.junit(graded)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "2", "0")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["gradient", "descent"]
    assert [case.get("classname") for case in suite.iter("testcase")] == ["onelayer"] * 3


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenCourse:
    path = tmp_path_factory.mktemp("courses") / "softmax"
    make_course(path, "digits")
    text = (path / "course.toml").read_text()
    for old, new in (("band_runs = 20", "band_runs = 2"), ("epochs = 40", "epochs = 2")):
        assert old in text
        text = text.replace(old, new)
    (path / "course.toml").write_text(text)
    return open_course(path / "course.toml")


def test_the_autograder_of_gradescope_has_its_scripts(opened: OpenCourse, tmp_path: Path) -> None:
    packages.write_gradescope(opened, tmp_path / "autograder.zip")
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        modes = {each.filename: each.external_attr >> 16 for each in archive.infolist()}
        script = archive.read("run_autograder").decode()
    assert set(modes) >= {"setup.sh", "run_autograder", "course/course.toml"}
    assert modes["run_autograder"] & 0o111 == 0o111
    assert modes["course.teacher/secret"] & 0o077 == 0
    assert "--out /autograder/results/results.json" in script
    assert "/autograder/submission_metadata.json" in script


@pytest.mark.classroom
def test_the_run_script_writes_what_gradescope_reads(opened: OpenCourse, tmp_path: Path) -> None:
    """run_autograder itself runs, in a folder that stands for /autograder."""
    packages.write_gradescope(opened, tmp_path / "autograder.zip")
    source = tmp_path / "source"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        archive.extractall(source)
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "mine.py").write_text(COURSE)
    (tmp_path / "submission_metadata.json").write_text('{"users": [{"id": 12}]}')
    script = (source / "run_autograder").read_text().replace("/autograder", str(tmp_path))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", script], check=True, env=environment, capture_output=True)
    told = json.loads((tmp_path / "results" / "results.json").read_text())
    assert_fields(told, GRADESCOPE)
    assert sum(test["score"] for test in told["tests"]) == 9  # of 10: no figures were handed in


def test_a_question_of_prairielearn_says_how_it_is_graded(
    opened: OpenCourse, tmp_path: Path
) -> None:
    packages.write_prairielearn(opened, tmp_path / "question")
    info = json.loads((tmp_path / "question" / "info.json").read_text())
    assert info["gradingMethod"] == "External"
    options = info["externalGradingOptions"]
    assert set(options) == {"enabled", "image", "entrypoint", "timeout"}
    assert 0 < options["timeout"] <= 600
    script = tmp_path / "question" / "tests" / "run.sh"
    assert script.stat().st_mode & 0o111
    assert options["entrypoint"] == "/grade/tests/run.sh"
    assert "/grade/results/results.json" in script.read_text()


@pytest.mark.classroom
def test_pytest_grades_a_file_and_writes_junit(opened: OpenCourse, tmp_path: Path) -> None:
    packages.write_pytest(opened, tmp_path / "test_course.py")
    (tmp_path / "starter.py").write_text(COURSE.replace("P - Y", "Y - P"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run(
        [*command, "test_course.py", "--junitxml=report.xml", "-c", os.devnull, "--rootdir=."],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    suite = ElementTree.parse(tmp_path / "report.xml").getroot().find("testsuite")
    assert suite is not None
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["test_check[gradient]", "test_check[descent]"]
    told = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert told["max_points"] == "2.0"


def test_partial_credit_becomes_cases_that_add_up() -> None:
    check = CheckSpec(kind="gradient", points=4, credit={"G01": 0.5, "G40": 0.75, "G41": 0})
    assert packages.cases_of(check) == [(0.5, 2.0), (0.75, 1.0), (1.0, 1.0)]


def test_the_last_number_of_a_cell_is_the_partial_credit_of_nbgrader(
    opened: OpenCourse, tmp_path: Path
) -> None:
    packages.write_nbgrader(opened, tmp_path / "source.ipynb")
    notebook = json.loads((tmp_path / "source.ipynb").read_text())
    cells = [cell["metadata"].get("nbgrader") for cell in notebook["cells"]]
    known = [cell for cell in cells if cell]
    required = {"grade_id", "schema_version", "grade", "locked", "solution", "task"}
    assert all(set(cell) - {"points"} == required for cell in known)
    names: dict[str, Any] = {}
    exec(COURSE.replace("G @ X.T / N", "G @ X.T"), names)
    named = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in notebook["cells"]}
    cell = named["gradient"]
    lines = [line for line in cell["source"].splitlines() if not line.startswith("###")]
    exec("\n".join(lines[:-1]), names)
    assert eval(lines[-1], names) == 2


@pytest.mark.otter
def test_otter_grader_gives_the_points(opened: OpenCourse, tmp_path: Path) -> None:
    test_files = pytest.importorskip("otter.test_files")
    from otter.nbmeta_config import NBMetadataConfig

    packages.write_otter(opened, tmp_path / "tests")
    text = COURSE.replace("P - Y", "(P - Y) * X.shape[1]").replace(
        "np.mean(k == y)", "np.sum(k == y)"
    )
    names: dict[str, Any] = {}
    exec(text, names)
    points = {}
    for path in sorted((tmp_path / "tests").glob("*.py")):
        file = test_files.create_test_file(str(path), NBMetadataConfig())
        file.run(names)
        results = file.test_case_results
        points[file.name] = sum(r.test_case.points for r in results if r.passed)
    assert points == {
        "probabilities": 1, "cost": 1, "accuracy": 0, "gradient": 2, "descent": 0
    }  # fmt: skip
    shutil.rmtree(tmp_path / "tests")
