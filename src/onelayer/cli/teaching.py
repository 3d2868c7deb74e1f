"""A course: hand it out, measure its band, grade what comes back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelayer.cli.options import tell

if TYPE_CHECKING:
    from onelayer.teaching.band import Band
    from onelayer.teaching.variants import OpenCourse

app = typer.Typer(help="Hand out a course, and grade it.", no_args_is_help=True)
CourseFile = Annotated[Path, typer.Argument(help="The course.toml of a course.")]


@app.command(epilog="Example: onelayer teach new courses/softmax --dataset digits")
def new(
    course: Annotated[Path, typer.Argument(help="The folder to write.")],
    dataset: Annotated[
        str, typer.Option(help="A data set's name, a file or a folder.")
    ] = "cifar10",
) -> None:
    """Write a course to hand out: text, notebook, starter code, public checks, data, course.toml.

    What no student may see, the secret and the bands, lies beside it in COURSE.teacher.
    """
    from onelayer.teaching.handout import make_course

    made = make_course(course, dataset)
    print(f"course: {made.file}\nkeep to yourself: {made.own}")


@app.command(epilog="Example: onelayer teach band courses/softmax/course.toml")
def band(course: CourseFile) -> None:
    """Measure which accuracies right gradients reach, and print it into the text."""
    from onelayer.teaching.handout import write_band
    from onelayer.teaching.variants import open_course

    opened = open_course(course)
    print(f"text: {write_band(opened, _measure(opened, ''))}")


@app.command(epilog="Example: onelayer teach reference courses/softmax/course.toml --student ana")
def reference(
    course: CourseFile,
    student: Annotated[
        str, typer.Option(help="The id of a student: the name of the submission, without ending.")
    ],
) -> None:
    """Print a student's own settings, and the accuracies that right gradients reach in them."""
    from onelayer.teaching.variants import open_course

    _measure(open_course(course), student)


def _measure(opened: "OpenCourse", student: str) -> "Band":
    """Return the band of a student's variant, and print it."""
    from onelayer.progress import progress_bar
    from onelayer.report.terminal import show_table
    from onelayer.teaching.band import band_of, band_table

    if opened.base.notice:
        tell(opened.base.notice)
    variant = opened.variant(student)
    with progress_bar("band", opened.course.band_runs) as update:
        measured = band_of(opened, variant, update)
    show_table(band_table(measured, variant))
    return measured


@app.command(epilog="Example: onelayer teach handout courses/softmax/course.toml ana ben")
def handout(
    course: CourseFile,
    students: Annotated[list[str], typer.Argument(help="Ids of students.")],
    out: Annotated[Path, typer.Option(help="Folder to write a folder for each student to.")] = Path(
        "handouts"
    ),
) -> None:
    """Write each student's own copy of a course: data, settings and band of their variant."""
    from onelayer.progress import progress_bar
    from onelayer.teaching.gradebook import file_name
    from onelayer.teaching.handout import hand_out
    from onelayer.teaching.variants import open_course

    opened = open_course(course)
    with progress_bar("handing out", len(students)) as update:
        for number, student in enumerate(students, start=1):
            hand_out(opened, student, out / file_name(student))
            update(number, detail=student)
    print(f"handouts: {out}")


@app.command(epilog="Example: onelayer teach grade courses/softmax/course.toml submissions")
def grade(
    course: CourseFile,
    submissions: Annotated[
        Path, typer.Argument(help="A folder with a file, notebook, folder or zip of each student.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Output folder (default: COURSE.teacher/grades).")
    ] = None,
) -> None:
    """Grade all submissions: grades.csv, a page for each student, an overview.

    Their code runs in a sandbox. Started again, it grades only what is new.
    """
    from onelayer.teaching.gradebook import grade_all, write_grades
    from onelayer.teaching.pages import write_pages
    from onelayer.teaching.variants import open_course

    opened = open_course(course)
    place = out or opened.folder.own / "grades"
    results = grade_all(opened, submissions, place)
    grades = write_grades(results, opened.course, place)
    print(f"grades: {grades}\noverview: {write_pages(results, opened.course, place)}")


@app.command(epilog="Example: onelayer teach judge courses/softmax/course.toml ana.py")
def judge(
    course: CourseFile,
    submission: Annotated[Path, typer.Argument(help="A file, notebook, folder or zip.")],
    form: Annotated[str, typer.Option(help="gradescope, prairielearn or junit.")] = "junit",
    out: Annotated[Path | None, typer.Option(help="File to write (default: print it).")] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="File of Gradescope or PrairieLearn that says who it is.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Id of the student (default: the name of the submission).")
    ] = None,
) -> None:
    """Grade one submission, in the form that the place reads where it was handed in."""
    from onelayer.errors import unknown_name
    from onelayer.storage import atomic_file
    from onelayer.teaching.grading import Grader
    from onelayer.teaching.handed_in import student_in
    from onelayer.teaching.variants import open_course
    from onelayer.teaching.writers import WRITERS

    if form not in WRITERS:
        raise unknown_name("form", form, WRITERS)
    if metadata is not None and student is None:
        student = student_in(metadata)
    text = WRITERS[form](Grader(open_course(course)).grade(submission, student=student))
    if out is None:
        print(text, end="")
        return
    with atomic_file(out) as path:
        path.write_text(text, "utf-8")
    print(f"result: {out}")


@app.command(
    epilog="Example: onelayer teach export courses/softmax/course.toml --to otter --out tests"
)
def export(
    course: CourseFile,
    to: Annotated[str, typer.Option(help="gradescope, prairielearn, otter, nbgrader or pytest.")],
    out: Annotated[Path, typer.Option(help="File or folder to write.")],
) -> None:
    """Write what is uploaded where you grade: a package with the secret, tests, a notebook."""
    from onelayer.errors import unknown_name
    from onelayer.teaching.packages import PACKAGES
    from onelayer.teaching.variants import open_course

    if to not in PACKAGES:
        raise unknown_name("place", to, PACKAGES)
    PACKAGES[to](open_course(course), out)
    print(f"{to}: {out}")
