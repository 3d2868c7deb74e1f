"""A course: made, handed out, its band, variants, and the grades of what comes back."""

import csv
import json
import math
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests import classroom
from tests.submissions import COURSE, GRADIENTS

from onelayer.errors import InputError
from onelayer.evaluation.statistics import student_quantile
from onelayer.teaching import gradebook, handout
from onelayer.teaching.band import Band, band_of
from onelayer.teaching.claims import Judge, Judged, find_claim
from onelayer.teaching.course import CourseFolder
from onelayer.teaching.grading import Graded, Grader
from onelayer.teaching.handed_in import list_submissions, student_in, take_in
from onelayer.teaching.judging import judge_here
from onelayer.teaching.pages import write_pages
from onelayer.teaching.similarity import fingerprints, similar_pairs
from onelayer.teaching.variants import OpenCourse, open_course
from onelayer.training.loop import train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the sandbox needs a Unix")
SMALL = {
    "rows = 1000": "rows = 150",
    "band_runs = 20": "band_runs = 4",
    "epochs = 40": "epochs = 20",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small course, handed out and graded in seconds."""
    path = tmp_path_factory.mktemp("courses") / "softmax"
    handout.make_course(path, "digits")
    text = (path / "course.toml").read_text()
    for old, new in SMALL.items():
        assert old in text
        text = text.replace(old, new)
    (path / "course.toml").write_text(text)
    secret = CourseFolder(path / "course.toml").secret_file
    assert len(secret.read_text()) == 64
    secret.write_text("0123456789abcdef" * 4)  # all that is drawn from it is the same in every test
    return path


@pytest.fixture(scope="module")
def opened(folder: Path) -> OpenCourse:
    return open_course(folder / "course.toml")


def test_the_secret_is_in_nothing_that_is_handed_out(folder: Path, opened: OpenCourse) -> None:
    secret = opened.secret
    handed_out = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in handed_out} >= {
        "assignment.md", "assignment.ipynb", "starter.py", "check_public.py", "data.npz",
        "course.toml",
    }  # fmt: skip
    assert not [path for path in handed_out if secret in path.read_bytes()]
    assert opened.folder.secret_file.stat().st_mode & 0o077 == 0


def test_a_variant_is_a_function_of_secret_and_student(opened: OpenCourse) -> None:
    ana, again, ben = (opened.variant(student) for student in ("ana", "ana", "ben"))
    np.testing.assert_array_equal(ana.rows, again.rows)
    assert ana.settings == again.settings
    assert (ana.seed, ana.point_seed) == (again.seed, again.point_seed)
    assert ana.point_seed != ben.point_seed
    assert not np.array_equal(ana.rows, ben.rows)
    other = OpenCourse(opened.folder, opened.course, opened.base, b"another secret" * 4)
    assert other.variant("ana").point_seed != ana.point_seed


def test_a_variant_permutes_the_classes_and_keeps_every_sample(opened: OpenCourse) -> None:
    variant = opened.variant("ana")
    data = opened.data(variant)
    assert len(data.train) == 150
    assert len(set(variant.rows.tolist())) == 150
    for row in (0, 75, 149):
        np.testing.assert_array_equal(data.train.X[row], opened.base.train.X[variant.rows[row]])
    named = np.array(data.class_names)[data.test.y]
    np.testing.assert_array_equal(named, np.array(opened.base.class_names)[opened.base.test.y])


def test_the_band_is_the_prediction_interval_of_its_trainings(opened: OpenCourse) -> None:
    variant = opened.variant("ana")
    band = band_of(opened, variant)
    assert band.accuracies.shape == (4, 4)
    sd = band.accuracies.std(axis=0, ddof=1)
    np.testing.assert_allclose(band.mean, band.accuracies.mean(axis=0))
    np.testing.assert_allclose(band.half_width, student_quantile(3) * sd * math.sqrt(1 + 1 / 4))
    assert len({tuple(row) for row in band.accuracies.tolist()}) > 1, "orders differ"
    kept = band_of(opened, variant)
    np.testing.assert_array_equal(kept.accuracies, band.accuracies)


def judge_in(judge: Judge, kind: str, folder: Path) -> Judged:
    return judge.of(kind, find_claim(kind, folder))


def test_a_training_handed_in_lies_in_the_band(opened: OpenCourse, tmp_path: Path) -> None:
    """Weights are run; figures and predictions are compared; those of another data set fail."""
    variant = opened.variant("ana")
    data = opened.data(variant)
    band = Band(np.vstack([band_of(opened, variant).accuracies] * 2))
    judge = Judge(data, variant.settings, band, slack=0.03)
    options = {"batch_size": 50, "epochs": 20, "seed": 99}
    run = train(data, variant.settings, **options)
    W, b = run.weights[0], run.biases[0]
    called = np.argmax(data.test.X @ W.T + b, axis=1)
    accuracy = np.mean(called == data.test.y)
    for name in ("weights.safetensors", "weights.npz", "weights.csv", "predictions.csv"):
        (tmp_path / name.replace(".", "-")).mkdir()
    save_file({"W": W, "b": b}, tmp_path / "weights-safetensors" / "weights.safetensors")
    np.savez(tmp_path / "weights-npz" / "weights.npz", W=W.T, b=b)
    table = np.column_stack([W, b])
    np.savetxt(tmp_path / "weights-csv" / "weights.csv", table, delimiter=",")
    words = "\n".join(["prediction", *(data.class_names[k] for k in called)])
    (tmp_path / "predictions-csv" / "predictions.csv").write_text(words)
    for kind in ("weights-safetensors", "weights-npz", "weights-csv", "predictions-csv"):
        judged = judge_in(judge, kind.split("-")[0], tmp_path / kind)
        assert judged.share == 1, judged
        assert f"{accuracy:.4f}" in judged.lines[0]
    np.savez(tmp_path / "weights-npz" / "weights.npz", W=np.roll(W, 1, axis=0), b=b)
    assert judge_in(judge, "weights", tmp_path / "weights-npz").share == 0


def test_figures_are_worth_the_share_of_them_in_the_band(
    opened: OpenCourse, tmp_path: Path
) -> None:
    settings = opened.variant("").settings
    band = Band(np.array([[0.4, 0.5, 0.6, 0.7], [0.42, 0.52, 0.62, 0.72]]))
    judge = Judge(opened.base, settings, band)
    (tmp_path / "accuracies.csv").write_text("setting,accuracy\na,0.41\nb,0.99\nc,0.61\nd,0.71\n")
    judged = judge_in(judge, "accuracies", tmp_path)
    assert judged.share == 0.75
    assert "0.9900 is outside of" in judged.lines[1]


CLAIMS = {
    "missing": (None, "no file accuracies.csv"),
    "lines": ("accuracy\n0.5\n", "1 lines; expected 4"),
    "words": ("accuracy\n0.5\nhalf\n0.5\n0.5\n", "line 3: found 'half'"),
    "not finite": ("accuracy\n0.5\nnan\n0.5\n0.5\n", "line 3: found 'nan'"),
}


@pytest.mark.parametrize(("text", "words"), CLAIMS.values(), ids=CLAIMS)
def test_a_claim_that_cannot_be_read_is_told(
    opened: OpenCourse, tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "accuracies.csv").write_text(text)
    judge = Judge(opened.base, opened.variant("").settings, Band(np.full((2, 4), 0.5)))
    with pytest.raises(InputError, match=words):
        judge_in(judge, "accuracies", tmp_path)


def test_the_band_is_printed_into_text_and_notebook(opened: OpenCourse) -> None:
    band = Band(np.full((2, 4), 0.5))
    path = handout.write_band(opened, band)
    notebook = json.loads((opened.folder.folder / "assignment.ipynb").read_text())
    for text in (path.read_text(), "".join(cell["source"] for cell in notebook["cells"])):
        assert text.count("0.5000 ± 0.0000") == 4


def test_each_student_gets_a_copy_of_their_own(opened: OpenCourse, tmp_path: Path) -> None:
    handout.hand_out(opened, "ana", tmp_path / "ana")
    with np.load(tmp_path / "ana" / "data.npz", allow_pickle=False) as arrays:
        data = opened.data(opened.variant("ana"))
        np.testing.assert_array_equal(arrays["X_train"], data.train.X)
        np.testing.assert_array_equal(arrays["y_test"], data.test.y)
    told = (tmp_path / "ana" / "assignment.md").read_text()
    assert told.count("±") == 4
    for setting in opened.variant("ana").settings:
        assert f"| {setting.l2:g} | {setting.learning_rate:g} |" in told


def test_starter_code_fails_the_public_checks_and_right_code_passes(
    folder: Path, tmp_path: Path
) -> None:
    checks = (folder / "check_public.py").read_text()
    starter = (folder / "starter.py").read_text()
    for text, right in ((starter, False), (COURSE, True)):
        names: dict[str, object] = {}
        module = type(sys)("starter")
        exec(text, vars(module))
        sys.modules["starter"] = module
        try:
            exec(checks, names)
        finally:
            del sys.modules["starter"]
        passed = []
        for name, test in names.items():
            if name.startswith("test_"):
                try:
                    test()  # type: ignore[operator]
                    passed.append(True)
                except NotImplementedError:
                    passed.append(False)
        assert passed == [right] * 3


# What is handed in, the points of the check of the gradient (4), and what is told.
HANDED_IN = {
    "right": (COURSE, 4.0, "right"),
    "1/N missing": (classroom.text_of(GRADIENTS[0]), 2.0, "G01"),
    "another mistake": (COURSE.replace("P - Y", "Y - P"), 0.0, "G1"),
    "forges": (classroom.BAD["forges"], 0.0, "L01"),
    "shapes": (classroom.BAD["shapes"], 0.0, "expected ∂J/∂W of the shape 5×13"),
    "nothing": (classroom.BAD["nothing"], 0.0, "such as ComputeGradients"),
    "import": (classroom.BAD["import"], 0.0, "No module named 'package_that_is_not_there'"),
    "syntax": (classroom.BAD["syntax"], 0.0, "was never closed"),
}


@pytest.mark.parametrize(("text", "points", "told"), HANDED_IN.values(), ids=HANDED_IN)
def test_a_submission_gets_its_points_and_its_line(
    opened: OpenCourse, tmp_path: Path, text: str, points: float, told: str
) -> None:
    (tmp_path / "ana.py").write_bytes(text.replace("\n", "\r\n").encode())
    graded = Grader(opened).grade(tmp_path / "ana.py")
    gradient = next(check for check in graded.checks if check.kind == "gradient")
    assert gradient.points == points, graded
    assert told in " ".join([*gradient.lines, *graded.notes])
    assert graded.student == "ana"


@pytest.mark.parametrize("form", classroom.FORMS, ids=lambda form: form.__name__.lstrip("_"))
def test_every_form_is_taken_in(form: object, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    form(tmp_path / "in", "ana", {"code.py": COURSE})  # type: ignore[operator]
    (path,) = list_submissions(tmp_path / "in")
    taken = take_in(path, tmp_path / "out")
    assert (taken.folder / taken.code).is_file()


def test_bad_packages_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    classroom.bad_packages(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in" / "link.zip", "w") as archive:
        link = zipfile.ZipInfo("code.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(tmp_path / "in" / "deep.zip", "w") as archive:
        archive.writestr("a/" * 400 + "code.py", COURSE)  # removing it would end the class
    (tmp_path / "in" / "long.py").write_text("x = [" + "1, " * 200_000 + "]\n")
    told = {
        "deep.zip": "400 folders",
        "long.py": "600,007 characters",
        "escape-none.zip": "leads out",
        "bomb-none.zip": "134,217,728 bytes",
        "link.zip": "a link",
        "damaged-none.zip": "cannot be unpacked",
        "linked-none": "a link",
        "empty-none": "report.txt",
    }
    for path in list_submissions(tmp_path / "in"):
        place = tmp_path / "out" / path.name
        place.mkdir(parents=True)
        with pytest.raises(InputError, match=told.pop(path.name)):
            take_in(path, place)
    assert not told
    assert not (tmp_path / "escaped.py").exists()


@pytest.mark.classroom
def test_a_class_is_graded_goes_on_and_is_written(opened: OpenCourse, tmp_path: Path) -> None:
    submissions = tmp_path / "in"
    submissions.mkdir()
    (submissions / "ana.py").write_text(COURSE)
    (submissions / "=cmd.py").write_text(COURSE.replace("dW", "gradient_of_W"))
    (submissions / "ben.py").write_text(classroom.text_of(GRADIENTS[0]))
    (submissions / "eve.zip").write_bytes(b"no zip")
    results = gradebook.grade_all(opened, submissions, tmp_path / "out")
    assert [graded.student for graded in results] == ["=cmd", "ana", "ben", "eve"]
    assert [graded.points for graded in results] == [9, 9, 7, 0]
    kept = tmp_path / "out" / "results" / "ana.json"
    stamp = kept.stat().st_mtime_ns
    again = gradebook.grade_all(opened, submissions, tmp_path / "out")
    assert again == results
    assert kept.stat().st_mtime_ns == stamp, "graded again"
    path = gradebook.write_grades(results, opened.course, tmp_path / "out")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["student"] for row in rows] == ["'=cmd", "ana", "ben", "eve"]
    assert rows[2]["diagnoses"] == "G01"
    page = write_pages(results, opened.course, tmp_path / "out").read_text("utf-8")
    assert "1/N missing" in page
    assert "This is a hint" in page, "ana's text is that of =cmd, renamed"
    student = (tmp_path / "out" / "students" / "ben.html").read_text("utf-8")
    assert "7 of 10 points" in student
    assert "data:image/svg+xml" in student
    shutil.rmtree(tmp_path / "out")


class Dying(Grader):
    def grade(self, path: Path, digest: str = "", student: str | None = None) -> Graded:
        if path.stem == "eve":
            os._exit(1)
        return super().grade(path, digest, student)


@pytest.mark.classroom
def test_the_others_are_graded_though_the_process_that_grades_ends(
    opened: OpenCourse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for student in ("ana", "eve", "ben"):
        (tmp_path / f"{student}.py").write_text(COURSE)
    monkeypatch.setattr(gradebook, "Grader", Dying)
    results = gradebook.grade_all(opened, tmp_path, tmp_path.parent / "out")
    assert [(each.student, each.points) for each in results] == [("ana", 9), ("ben", 9), ("eve", 0)]
    assert results[2].notes == ("the process that graded it has ended",)


def test_fingerprints_do_not_see_names_and_comments() -> None:
    renamed = COURSE.replace("dW", "g").replace("def ", "# mine\ndef ").replace("'", '"')
    marks = {"a": fingerprints(COURSE), "b": fingerprints(renamed)}
    marks |= {"c": fingerprints(classroom.planted.HINGE)}
    assert [(pair.first, pair.second) for pair in similar_pairs(marks)] == [("a", "b")]
    assert fingerprints("def f(:\n'") == frozenset()


def test_tolerance_and_credit_are_those_of_the_check() -> None:
    names: dict[str, object] = {}
    exec(COURSE.replace("dW = G @ X.T / N", "dW = (1 + 1e-4) * G @ X.T / N"), names)
    assert judge_here("gradient", names, points=3).points == 0
    assert judge_here("gradient", names, points=3, absolute=1e-2).points == 3
    exec(COURSE.replace("G @ X.T / N", "G @ X.T"), names)
    credit = {"G01": 0.25}
    assert judge_here("gradient", names, points=4, credit=credit).points == 1


BROKEN = {
    "unknown code": ("credit = { G01", "credit = { X99", "code of a diagnosis 'X99'"),
    "unknown kind": ('kind = "cost"', 'kind = "costs"', "did you mean 'cost'"),
    "credit": ("G01 = 0.5", "G01 = 2", "less than or equal to 1"),
    "twice": ('kind = "cost"', 'kind = "gradient"', "two checks are called 'gradient'"),
    "key": ("rows =", "row =", "unknown key 'row'"),
}


@pytest.mark.parametrize(("old", "new", "words"), BROKEN.values(), ids=BROKEN)
def test_a_malformed_course_is_told(
    folder: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "course.toml"
    path.write_text((folder / "course.toml").read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        CourseFolder(path).load()


def test_a_missing_secret_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(InputError, match="secret: no such file"):
        open_course(tmp_path / "copy" / "course.toml")


WHO = {
    "Gradescope": ({"users": [{"id": 7, "email": "a@b"}]}, "7"),
    "PrairieLearn": ({"params": {"student": "ana"}, "variant_seed": 3}, "ana"),
    "seed": ({"params": {}, "variant_seed": "3"}, "3"),
}


@pytest.mark.parametrize(("told", "student"), WHO.values(), ids=WHO)
def test_metadata_say_who_handed_in(tmp_path: Path, told: dict[str, object], student: str) -> None:
    (tmp_path / "metadata.json").write_text(json.dumps(told))
    assert student_in(tmp_path / "metadata.json") == student
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(InputError, match="who handed in"):
        student_in(tmp_path / "metadata.json")
