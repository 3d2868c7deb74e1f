"""The report: tables, figures, a page and a PDF from stored results."""

import base64
import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from onelayer.errors import unknown_name, visible
from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.results import Results
from onelayer.evaluation.run_folder import REPORT_PAGE
from onelayer.evaluation.test_log import TestEvaluation
from onelayer.report.blocks import Picture, Report, Table
from onelayer.report.lettering import legend, told_apart
from onelayer.report.settings import write_grid
from onelayer.report.tables import write_table1

FORMS = ("none", "html", "all")  # of a report
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_RIGHT_TO_LEFT = re.compile(f"[{_RTL}](?:[{_RTL} 0-9_-]*[{_RTL}])?")  # a name, of several words too
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    results: Results,
    folder: Path,
    ablation: Sequence[AblationRow] = (),
    looks: Sequence[TestEvaluation] = (),
    form: str = "all",
) -> None:
    """Write table1.*, grid.*, figures/, report.html and report.pdf into an existing folder.

    See Facts. The same results give the same bytes. The form "html" has only the tables and
    report.html, which needs no other file; the form "none" has only the tables.
    """
    write_table1(results, folder)
    write_grid(results, folder)
    if form == "none":
        return
    # The drawing modules are slow to import.
    from onelayer.report.content import Facts, report_of
    from onelayer.report.figures import write_figures
    from onelayer.report.pdf import write_pdf

    names = results.run.class_names
    drawn = replace(results, run=replace(results.run, class_names=told_apart(names)))
    with figure_folder(folder, form) as figures:
        pictures = write_figures(drawn, figures, dots=form == "all")
        page = report_of(Facts(results, pictures, ablation, looks, legend(names)))
        write_page(page, folder / REPORT_PAGE, figures=form == "all")
        if form == "all":
            codes = legend(names, codes=True)
            paper = report_of(Facts(drawn, pictures, ablation, looks, codes)) if codes else page
            write_pdf(paper, folder / "report.pdf")


def write_page(report: Report, path: Path, *, figures: bool) -> None:
    """Write the report as a page, and the exact numbers of its tables into tables/ beside it.

    Without `figures` there are no files of figures, and the page has no links to them.
    """
    for block in (block for section in report.sections for block in section.blocks):
        if isinstance(block, Table):
            (path.parent / "tables").mkdir(exist_ok=True)
            write_csv(block.exact, path.parent / block.file, report.notice)
    path.write_text(render_html(report if figures else _unlinked(report)), "utf-8", newline="\n")


def _unlinked(report: Report) -> Report:
    sections = (
        replace(
            s, blocks=tuple(replace(b, file="") if isinstance(b, Picture) else b for b in s.blocks)
        )
        for s in report.sections
    )
    return replace(report, sections=tuple(sections))


def check_form(form: str) -> None:
    """Raise InputError unless `form` is one of a report: none, html or all."""
    if form not in FORMS:
        raise unknown_name("form of a report", form, FORMS)


@contextmanager
def figure_folder(folder: Path, form: str) -> Iterator[Path]:
    """Yield a folder for the figures: figures/ in `folder`, or for "html" a temporary one."""
    if form == "all":
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        yield folder / "figures"
    else:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)


def render_html(report: Report) -> str:
    """Return the report as one file that needs no other: figures and style are inside.

    It has links to the files beside it, which may be missing. Its policy lets a browser use only
    this style and the pictures in the page.
    """
    environment = templates()
    style = environment.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    page = environment.get_template("report.html")
    return page.render(report=report, style_digest=digest)


@cache
def templates() -> Environment:
    """Return the environment of templates/: texts are escaped, hidden characters become visible."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["isolated"] = _isolated
    return environment


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _isolated(text: str) -> Markup:
    """Return text in which a name written from right to left does not turn its neighbours."""
    return Markup(_RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", str(escape(visible(text)))))


def _data_uri(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode('ascii')}"
