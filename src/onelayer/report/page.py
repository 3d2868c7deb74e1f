"""The report stage: stored results to tables, figures, a page and a PDF."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from onelayer.errors import unknown_name
from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import Results
from onelayer.evaluation.run_folder import REPORT_PAGE
from onelayer.evaluation.test_log import TestEvaluation
from onelayer.report.blocks import Report
from onelayer.report.content import compose
from onelayer.report.figures import write_figures
from onelayer.report.grid_export import write_grid
from onelayer.report.pdf import write_pdf
from onelayer.report.tables import write_table1

FORMS = ("none", "html", "all")  # of a report
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    results: Results,
    folder: Path,
    ablation: Sequence[AblationRow] = (),
    looks: Sequence[TestEvaluation] = (),
    form: str = "all",
) -> None:
    """Write table1.*, grid.*, figures/, report.html and report.pdf into an existing folder.

    See compose. The same results give the same bytes. Of the form "html" it is the tables and
    report.html, which needs no other file; of the form "none" the tables alone.
    """
    write_table1(results, folder)
    write_grid(results, folder)
    if form == "none":
        return
    with figure_folder(folder, form) as figures:
        pictures = write_figures(results, figures, dots=form == "all")
        report = compose(results, pictures, ablation, looks)
        (folder / REPORT_PAGE).write_text(render_html(report), "utf-8", newline="\n")
        if form == "all":
            write_pdf(report, folder / "report.pdf")


def check_form(form: str) -> None:
    """Raise InputError unless `form` is one of a report: none, html or all."""
    if form not in FORMS:
        raise unknown_name("form of a report", form, FORMS)


@contextmanager
def figure_folder(folder: Path, form: str) -> Iterator[Path]:
    """Yield a folder for the figures: figures/ in `folder`, or for "html" one that goes again."""
    if form == "all":
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        yield folder / "figures"
    else:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)


def render_html(report: Report) -> str:
    """Return the report as one file that needs no other: figures and style are inside."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html").render(report=report)


def _data_uri(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode('ascii')}"
