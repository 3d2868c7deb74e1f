"""The report stage: stored results to tables, figures, a page and a PDF."""

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import Results
from onelayer.evaluation.test_log import TestEvaluation
from onelayer.report.blocks import Report
from onelayer.report.content import compose
from onelayer.report.figures import write_figures
from onelayer.report.grid_export import write_grid
from onelayer.report.pdf import write_pdf
from onelayer.report.tables import write_table1

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    results: Results,
    folder: Path,
    ablation: Sequence[AblationRow] = (),
    looks: Sequence[TestEvaluation] = (),
) -> None:
    """Write table1.*, grid.*, figures/, report.html and report.pdf into an existing folder.

    See compose. The same results give the same bytes.
    """
    write_table1(results, folder)
    write_grid(results, folder)
    report = compose(results, write_figures(results, folder / "figures"), ablation, looks)
    (folder / "report.html").write_text(render_html(report), "utf-8", newline="\n")
    write_pdf(report, folder / "report.pdf")


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
