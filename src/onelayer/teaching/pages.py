"""What students and teachers read: a page for each student, and an overview of all."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from onelayer.model.doctor.slips import CODES
from onelayer.report import style
from onelayer.report.blocks import (
    Block,
    Bullets,
    Column,
    Paragraph,
    Picture,
    Report,
    Section,
    Subheading,
    compose,
    make_table,
)
from onelayer.report.labels import count_of
from onelayer.report.page import render_html, write_page
from onelayer.storage import atomic_file
from onelayer.teaching.course import Course
from onelayer.teaching.gradebook import file_name
from onelayer.teaching.grading import Graded
from onelayer.teaching.judging import CheckResult
from onelayer.teaching.similarity import Pair, similar_pairs

SIMILAR = (
    "Texts that share most of their tokens. This is a hint to look at both, no proof: a short "
    "exercise has few solutions, and both may follow one textbook."
)
_CELL = 18  # pixels of an error in the matrix


@dataclass(frozen=True)
class _Student:
    graded: Graded
    folder: Path


def write_pages(results: Sequence[Graded], course: Course, out: Path) -> Path:
    """Write students/ID.html for each, and overview.html; return the overview."""
    (out / "students").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as figures:
        for graded in results:
            page = render_html(student_page(graded, course, Path(figures)))
            with atomic_file(out / "students" / f"{file_name(graded.student)}.html") as new:
                new.write_text(page, "utf-8", newline="\n")
    path = out / "overview.html"
    write_page(overview(results, course, out / "figures"), path, figures=True)
    return path


def student_page(graded: Graded, course: Course, folder: Path) -> Report:
    """Return what a student reads: the points, and of each check what was found and a hint.

    Checks that are hidden say nothing but their points. Pictures are put into `folder`.
    """
    points = f"{graded.points:g} of {graded.max_points:g} points"
    parts = (section.of(_Student(graded, folder)) for section in _STUDENT)
    return Report(
        f"{course.title}: {graded.student}",
        points,
        "",
        tuple(part for part in parts if part.blocks),
    )


def _points(student: _Student) -> Iterator[Block]:
    checks = student.graded.checks
    yield make_table(
        "points",
        "Points of each check.",
        Column("check", "words", [check.name for check in checks]),
        Column("diagnosis", "words", [" ".join(_shown(check).codes) for check in checks]),
        Column("points", "number", [check.points for check in checks]),
        Column("of", "number", [check.max_points for check in checks]),
    )
    if student.graded.notes:
        yield Bullets(student.graded.notes)


def _found(student: _Student) -> Iterator[Block]:
    for number, check in enumerate(map(_shown, student.graded.checks)):
        if check.lines:
            yield Subheading(check.name)
            yield Bullets(check.lines)
        if check.errors:
            path = student.folder / f"{number}.svg"
            path.write_text(error_matrix(check.errors), "utf-8")
            yield Picture(
                path,
                path,
                "Relative errors of ∂J/∂W at a probe point, a row a class, a column a feature: "
                "white is right, black is as wrong as can be.",
                "The matrix of relative errors.",
                len(check.errors[0]) * _CELL * 25.4 / 96,
            )


_STUDENT = (Section("Points", _points), Section("What was found", _found))


def _shown(check: CheckResult) -> CheckResult:
    """Return what of a check its student may see at once."""
    if check.visibility == "visible":
        return check
    return CheckResult(check.name, check.kind, check.points, check.max_points, check.visibility)


def error_matrix(errors: Sequence[Sequence[float]]) -> str:
    """Return relative errors (K, D) as SVG: white below 1e-8, black from 1 up."""
    cells = []
    for k, row in enumerate(errors):
        for d, error in enumerate(row):
            size = 0.0 if error < 1e-8 else min(1.0, 1 + np.log10(error) / 8)
            grey = round(255 * (1 - (size if np.isfinite(error) else 1)))
            cells.append(
                f'<rect x="{d * _CELL}" y="{k * _CELL}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill="rgb({grey},{grey},{grey})" stroke="#999" stroke-width="0.5"/>'
            )
    width, height = len(errors[0]) * _CELL, len(errors) * _CELL
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(cells)}</svg>'
    )


@dataclass(frozen=True)
class _Class:
    results: Sequence[Graded]
    pictures: dict[str, Picture]
    pairs: Sequence[Pair]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many students have each code, the most frequent first."""
        counts = Counter(code for graded in self.results for code in graded.codes)
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def overview(results: Sequence[Graded], course: Course, figures: Path) -> Report:
    """Return what a teacher reads of all: mistakes by how often, points, time, alike texts."""
    marks = {graded.student: frozenset(graded.marks) for graded in results}
    facts = _Class(results, {}, similar_pairs(marks))
    pictures = style.save_all(_draw(facts, course), figures)
    facts = _Class(results, pictures, facts.pairs)
    points = np.array([graded.points for graded in results])
    seconds = np.array([graded.seconds for graded in results])
    source = (
        f"{count_of(len(results), 'submission')}, {course.points:g} points: mean "
        f"{points.mean():.2f}, median {np.median(points):g}; "
        f"{seconds.mean():.1f} s each, the longest {seconds.max():.1f} s"
    )
    return Report(course.title, source, "", compose(_OVERVIEW, facts))


def _mistakes(facts: _Class) -> Iterator[Block]:
    if not facts.counts:
        yield Paragraph("No mistake has a name.")
        return
    yield facts.pictures["diagnoses"]
    yield make_table(
        "diagnoses",
        "Diagnoses, by the number of students.",
        Column("code", "words", [code for code, _ in facts.counts]),
        Column("mistake", "words", [CODES[code].name for code, _ in facts.counts]),
        Column("students", "count", [count for _, count in facts.counts]),
    )


def _distribution(facts: _Class) -> Iterator[Block]:
    yield facts.pictures["points"]
    names = [check.name for check in facts.results[0].checks]
    shares = [
        [graded.checks[n].points / (graded.checks[n].max_points or 1) for graded in facts.results]
        for n in range(len(names))
    ]
    yield make_table(
        "checks",
        "Checks: the mean share of the points, and how many students have all of them.",
        Column("check", "words", names),
        Column("mean share", "decimals", [float(np.mean(each)) for each in shares], digits=2),
        Column("all points", "count", [sum(share >= 1 for share in each) for each in shares]),
    )


def _students(facts: _Class) -> Iterator[Block]:
    yield make_table(
        "students",
        "Students, with a page each in students/.",
        Column("student", "words", [graded.student for graded in facts.results]),
        Column("diagnoses", "words", [" ".join(graded.codes) for graded in facts.results]),
        Column("points", "number", [graded.points for graded in facts.results]),
        Column("seconds", "decimals", [graded.seconds for graded in facts.results], digits=1),
    )


def _notes(facts: _Class) -> Iterator[Block]:
    lines = [f"{graded.student}: {note}" for graded in facts.results for note in graded.notes]
    if lines:
        yield Bullets(tuple(lines))


def _alike(facts: _Class) -> Iterator[Block]:
    if facts.pairs:
        yield Paragraph(SIMILAR)
        yield make_table(
            "similar",
            "Pairs of submissions, and the share of the shorter one's fingerprints in the other.",
            Column("student", "words", [pair.first for pair in facts.pairs]),
            Column("and", "words", [pair.second for pair in facts.pairs]),
            Column("share", "decimals", [pair.share for pair in facts.pairs], digits=2),
        )


_OVERVIEW = (
    Section("Points", _distribution),
    Section("Mistakes", _mistakes),
    Section("To look at", _notes),
    Section("Nearly identical", _alike),
    Section("Students", _students),
)


def _draw(facts: _Class, course: Course) -> Iterator[style.Drawing]:
    yield _draw_points([graded.points for graded in facts.results], course.points)
    if facts.counts:
        yield _draw_counts(facts.counts[:25])


def _draw_points(points: Iterable[float], most: float) -> style.Drawing:
    figure = Figure(figsize=(style.WIDTH, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(list(points), bins=np.linspace(0, most or 1, 21).tolist(), color=style.TRAIN)
    axes.set(xlabel="points", ylabel="students", xlim=(0, most or 1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return style.Drawing(
        "points", figure, "Points of all students.", "Histogram of the points of all students."
    )


def _draw_counts(counts: Sequence[tuple[str, int]]) -> style.Drawing:
    figure = Figure(figsize=(style.WIDTH, 0.5 + 0.22 * len(counts)), layout="constrained")
    axes = figure.subplots()
    names = [f"{code} {CODES[code].name}" for code, _ in counts]
    axes.barh(names, [count for _, count in counts], color=style.TRAIN)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("students")
    return style.Drawing(
        "diagnoses",
        figure,
        "The most frequent diagnoses.",
        "Bars: how many students have each diagnosis.",
    )
