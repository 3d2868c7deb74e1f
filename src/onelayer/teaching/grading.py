"""Grade one submission: its functions are asked in the sandbox, and judged here."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onelayer.errors import InputError
from onelayer.teaching.band import band_of
from onelayer.teaching.claims import Judge, find_claim
from onelayer.teaching.course import CLAIMS, CheckSpec, Course
from onelayer.teaching.handed_in import Submission, source_of, student_of, take_in
from onelayer.teaching.judging import CheckResult, judge_functions, result_of
from onelayer.teaching.remote import remote_functions
from onelayer.teaching.sandbox import Sandbox
from onelayer.teaching.similarity import fingerprints
from onelayer.teaching.variants import OpenCourse, Variant


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

    def grade(self, path: Path, digest: str = "", student: str | None = None) -> Graded:
        """Return the result of what was handed in at `path`; what cannot be graded gets 0 points.

        Whatever a submission does, this returns. The student is by default called as the file.
        """
        student = student_of(path) if student is None else student
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="onelayer-") as place:
            try:
                result = self._grade(take_in(path, Path(place)), student)
            except InputError as error:
                result = self.nothing(path, digest, str(error))
            except Exception as error:  # one student's file must not stop the others
                why = f"could not be graded, look at it: {error!r:.200}"
                result = self.nothing(path, digest, why)
        seconds = time.monotonic() - begin
        return replace(result, student=student, digest=digest, seconds=seconds)

    def nothing(self, path: Path, digest: str, why: str) -> Graded:
        """Return the result of what cannot be graded, and why."""
        checks = tuple(result_of(check, 0.0) for check in self.course.checks)
        return Graded(student_of(path), digest, checks, (why,), 0.0)

    def _grade(self, submission: Submission, student: str) -> Graded:
        variant = self.opened.variant(student)
        notes: list[str] = []
        asked = [check for check in self.course.checks if check.kind not in CLAIMS]
        judged = {each.name: each for each in self._ask(asked, submission, variant, notes)}
        results = [
            judged.get(check.name) or self._claim(check, submission, variant)
            for check in self.course.checks
        ]
        marks = fingerprints(source_of(submission.folder / submission.code))
        return Graded("", "", tuple(results), tuple(notes), 0.0, tuple(sorted(marks)))

    def _ask(
        self,
        checks: Sequence[CheckSpec],
        submission: Submission,
        variant: Variant,
        notes: list[str],
    ) -> list[CheckResult]:
        """Return the results of the checks of functions, which run in the sandbox."""
        if not checks:
            return []
        with Sandbox(submission.folder, self.course.limits.limits) as sandbox:
            try:
                functions, failed = remote_functions(sandbox, submission.code)
            except InputError as error:
                notes.append(str(error))
                functions, failed = {}, ""
            if failed:
                notes.append(f"some of its own lines end in an error: {failed}")
            results = judge_functions(
                checks, functions, seed=variant.point_seed, half=self.course.half
            )
            notes += [f"the sandbox lacks {each}" for each in sandbox.lacks]
        return results

    def _claim(self, check: CheckSpec, submission: Submission, variant: Variant) -> CheckResult:
        try:
            file = find_claim(check.kind, submission.folder)
            data, band = self.opened.data(variant), band_of(self.opened, variant)
            judged = Judge(data, variant.settings, band, check.absolute).of(check.kind, file)
        except InputError as error:
            return result_of(check, 0.0, lines=[str(error).replace(f"{submission.folder}/", "")])
        return result_of(check, judged.share, lines=judged.lines)
