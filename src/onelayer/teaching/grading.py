"""Grade one submission: its functions are asked in the sandbox, and judged here."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelayer.errors import InputError
from onelayer.model.doctor.diagnosis import Checked, judge
from onelayer.model.doctor.questions import QUESTIONS, Answer, ask_all
from onelayer.model.doctor.roles import ROLES, Found, find_functions
from onelayer.model.doctor.slips import Finding
from onelayer.model.doctor.taking import TAKE
from onelayer.model.gradient_check import relative_errors
from onelayer.teaching.band import band_of
from onelayer.teaching.claims import Judge
from onelayer.teaching.course import CLAIMS, CheckSpec, Course
from onelayer.teaching.handed_in import Submission, source_of, take_in
from onelayer.teaching.remote import remote_functions
from onelayer.teaching.sandbox import Sandbox
from onelayer.teaching.similarity import fingerprints
from onelayer.teaching.variants import OpenCourse, Variant

_LAWS = "L"  # codes of what no tolerance excuses: an answer that varies, an argument written to


@dataclass(frozen=True)
class CheckResult:
    """What a check gave: points, codes of the diagnoses, and sentences for the student.

    `errors` are the relative errors of ∂J/∂W, row by row, where a gradient is wrong.
    """

    name: str
    kind: str
    points: float
    max_points: float
    visibility: str
    codes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    errors: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Graded:
    """A student's result; `notes` are of the submission as a whole, `marks` its fingerprints."""

    student: str
    digest: str
    checks: tuple[CheckResult, ...]
    notes: tuple[str, ...]
    seconds: float
    marks: tuple[int, ...] = ()

    @property
    def points(self) -> float:
        """The points of all checks."""
        return sum(check.points for check in self.checks)

    @property
    def max_points(self) -> float:
        """The points that there are."""
        return sum(check.max_points for check in self.checks)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all diagnoses, each once."""
        return tuple(dict.fromkeys(code for check in self.checks for code in check.codes))


@dataclass(frozen=True)
class Grader:
    """Grades the submissions of a course."""

    opened: OpenCourse

    @property
    def course(self) -> Course:
        """What is graded."""
        return self.opened.course

    def grade(self, path: Path, digest: str = "") -> Graded:
        """Return the result of what was handed in at `path`; what cannot be graded gets 0 points.

        Whatever a submission does, this returns.
        """
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="onelayer-") as place:
            try:
                result = self._grade(take_in(path, Path(place)))
            except InputError as error:
                result = self._nothing(str(error))
            except Exception as error:  # one student's file must not stop the others
                result = self._nothing(f"could not be graded, look at it: {error!r:.200}")
        seconds = time.monotonic() - begin
        return replace(result, digest=digest, seconds=seconds)

    def _nothing(self, why: str) -> Graded:
        checks = tuple(_result(check, 0.0) for check in self.course.checks)
        return Graded("", "", checks, (why,), 0.0)

    def _grade(self, submission: Submission) -> Graded:
        variant = self.opened.variant(submission.student)
        notes: list[str] = []
        asked = [check for check in self.course.checks if check.kind not in CLAIMS]
        answers, found = self._ask(submission, variant, notes) if asked else ([], {})
        checked = {answer.function: (answer, verdict) for answer, verdict in _judged(answers)}
        results = [
            self._claim(check, submission, variant)
            if check.kind in CLAIMS
            else _judge_functions(check, found, checked)
            for check in self.course.checks
        ]
        marks = fingerprints(source_of(submission.folder / submission.code))
        return Graded("", "", tuple(results), tuple(notes), 0.0, tuple(sorted(marks)))

    def _ask(
        self, submission: Submission, variant: Variant, notes: list[str]
    ) -> tuple[list[Answer], dict[str, list[str]]]:
        """Return the answers of the functions, and the names of those that each role has."""
        with Sandbox(submission.folder, self.course.limits.limits) as sandbox:
            try:
                functions, failed = remote_functions(sandbox, submission.code)
            except InputError as error:
                notes.append(str(error))
                return [], {}
            if failed:
                notes.append(f"its own lines end in an error, checked as far as they run: {failed}")
            roles = find_functions(functions)
            wanted = {check.kind for check in self.course.checks}
            asked: Found = {role: each for role, each in roles.items() if role in wanted | {"cost"}}
            answers = ask_all(asked, seed=variant.point_seed)
            if sandbox.lacks:
                notes.append(f"the sandbox lacks {'; '.join(sandbox.lacks)}")
        missing = wanted - asked.keys() - {*CLAIMS}
        if missing:
            there = ", ".join(functions) or "no function"
            notes.append(f"{submission.code} defines {there:.200}")
        return answers, {role: [name for name, _ in each] for role, each in asked.items()}

    def _claim(self, check: CheckSpec, submission: Submission, variant: Variant) -> CheckResult:
        data, band = self.opened.data(variant), band_of(self.opened, variant)
        try:
            judged = Judge(data, variant.settings, band, check.absolute).of(
                check.kind, submission.folder
            )
        except InputError as error:
            return _result(check, 0.0, lines=[str(error).replace(f"{submission.folder}/", "")])
        return _result(check, judged.share, lines=judged.lines)


def _result(
    check: CheckSpec, share: float, codes: Iterable[str] = (), lines: Iterable[str] = ()
) -> CheckResult:
    return CheckResult(
        check.name,
        check.kind,
        round(share * check.points, 10),
        check.points,
        check.visibility,
        tuple(codes),
        tuple(lines),
    )


def _judged(answers: Sequence[Answer]) -> Iterable[tuple[Answer, Checked]]:
    return zip(answers, judge(answers).checked, strict=True) if answers else ()


def _judge_functions(
    check: CheckSpec, found: dict[str, list[str]], checked: dict[str, tuple[Answer, Checked]]
) -> CheckResult:
    """Return the result of all functions of a kind; the worst of them counts."""
    names = found.get(check.kind, [])
    if not names:
        title = ROLES[check.kind].title
        return _result(check, 0.0, lines=[f"no function for the {title} was found"])
    results = [_judge_one(check, *checked[name]) for name in names]
    worst = min(results, key=lambda result: result.points)
    lines = dict.fromkeys(line for result in results for line in result.lines)
    codes = dict.fromkeys(code for result in results for code in result.codes)
    return replace(worst, lines=tuple(lines), codes=tuple(codes))


def _judge_one(check: CheckSpec, answer: Answer, verdict: Checked) -> CheckResult:
    close = _within(check, answer)
    faults = [each for each in verdict.findings if each.fault]
    if close:
        faults = [fault for fault in faults if fault.code.startswith(_LAWS)]
    if not faults:
        return _result(check, 1.0, lines=[f"{answer.function}: right"])
    share = min(check.credit.get(fault.code, 0.0) for fault in faults)
    codes = dict.fromkeys(fault.code for fault in faults)
    result = _result(check, share, codes, map(_line, faults))
    if verdict.found is None or verdict.right is None:
        return result
    errors = relative_errors(verdict.found[0], verdict.right[0], check.absolute)
    return replace(result, errors=tuple(map(tuple, errors.tolist())))


def _line(fault: Finding) -> str:
    """Return what a student reads: what is wrong and a hint, not the line that would be right."""
    found = f" Found: {fault.found}." if fault.found else ""
    return f"{fault.code}, {fault.where}: {fault.slip.sentence}{found} {fault.slip.hint}"


def _within(check: CheckSpec, answer: Answer) -> bool:
    """Whether every value at every point is within the tolerances of the check."""
    if answer.role not in TAKE:
        return False
    right_of = TAKE[answer.role][1]
    for question in QUESTIONS[answer.role]:
        given = answer.of(question)
        for name, right in right_of(answer.points[question]).items():
            if name == "db" and answer.no_bias:
                continue
            room = check.absolute + check.relative * np.abs(right)
            value = given.get(name)
            if value is None or not (np.abs(value - right) <= room).all():
                return False
    return True
