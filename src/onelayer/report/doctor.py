"""A diagnosis as a table, and as a page: findings, right formulas, and all errors."""

from collections.abc import Iterator

import numpy as np

from onelayer.model.doctor.diagnosis import Checked, Diagnosis
from onelayer.model.doctor.roles import ROLES
from onelayer.model.doctor.slips import Finding
from onelayer.model.gradient_check import relative_errors
from onelayer.report.blocks import (
    Block,
    Bullets,
    Column,
    Equations,
    Paragraph,
    Report,
    Section,
    Subheading,
    Table,
)
from onelayer.report.labels import count_of
from onelayer.report.page import render_html

_EPS = 1e-5  # of relative errors, as in a gradient check
_SHOWN = 13  # number of features in the error matrix


def verdict(diagnosis: Diagnosis) -> str:
    """Return the diagnosis in one line."""
    total = count_of(len(diagnosis.checked), "function")
    wrong = sum(not each.passed for each in diagnosis.checked)
    if wrong:
        return f"{wrong} of {total} wrong: {', '.join(diagnosis.codes)}"
    return f"{total} right"


def function_table(diagnosis: Diagnosis) -> Table:
    """Return a row for each function: its role, its largest error, and its codes."""
    checked = diagnosis.checked
    return Table(
        "functions",
        "What was checked, and the largest error relative to the largest entry.",
        (
            Column("function", "words", [each.function for each in checked]),
            Column("for", "words", [ROLES[each.role].title for each in checked]),
            Column("verdict", "words", [_verdict_of(each) for each in checked]),
            Column("error", "exponent", [_known(each.error) for each in checked], 1),
        ),
    )


def _known(error: float) -> float | None:
    return error if np.isfinite(error) else None


def _verdict_of(checked: Checked) -> str:
    codes = ", ".join(dict.fromkeys(finding.code for finding in checked.findings))
    if not codes:
        return "right"
    return codes if not checked.passed else f"right, see {codes}"


def assumptions(diagnosis: Diagnosis) -> list[str]:
    """Return a description of each call, and the notes of the diagnosis."""
    assumed = [f"assumed: {each.assumed}" for each in diagnosis.checked if each.assumed]
    return [*assumed, *(f"note: {note}" for note in diagnosis.notes)]


def _findings(diagnosis: Diagnosis) -> Iterator[Block]:
    if not diagnosis.findings:
        yield Paragraph("No mistake was found.", "good")
    for finding in diagnosis.findings:
        yield from _blocks_of(finding)


def _blocks_of(finding: Finding) -> Iterator[Block]:
    slip = finding.slip
    yield Subheading(f"{slip.code} {finding.where}: {slip.name}")
    yield Paragraph(slip.sentence, "bad" if finding.fault else "notice")
    found = [("", finding.found, "found")] if finding.found else []
    yield Equations((*found, ("", slip.right, "right")))
    yield Paragraph(f"Hint: {slip.hint}")


def _errors(diagnosis: Diagnosis) -> Iterator[Block]:
    for checked in diagnosis.checked:
        if checked.found is not None and checked.right is not None:
            yield error_table(checked)


def error_table(checked: Checked) -> Table:
    """Return the relative errors of ∂J/∂b and of the first features of ∂J/∂W, a row per class."""
    assert checked.found is not None
    assert checked.right is not None
    (W, b), (right_W, right_b) = checked.found, checked.right
    errors = relative_errors(W, right_W, _EPS)[:, :_SHOWN]
    return Table(
        f"errors-{checked.function}",
        f"{checked.function}: relative errors |g − right| / (|g| + |right|) of b and of each "
        "feature of W, a row for each class.",
        (
            Column("class", "words", [f"{k}" for k in range(len(b))]),
            Column("b", "exponent", relative_errors(b, right_b, _EPS), 0),
            *(
                Column(f"{d}", "exponent", column, 0)
                for d, column in enumerate(np.asarray(errors).T)
            ),
        ),
    )


SECTIONS: tuple[Section[Diagnosis], ...] = (
    Section("Diagnosis", _findings),
    Section("Functions", lambda diagnosis: [function_table(diagnosis)]),
    Section("Errors of the gradient", _errors),
    Section("What was assumed", lambda diagnosis: [Bullets(tuple(assumptions(diagnosis)))]),
)


def diagnosis_page(diagnosis: Diagnosis, title: str) -> str:
    """Return the diagnosis as one HTML page that needs no other file."""
    parts = (section.of(diagnosis) for section in SECTIONS)
    return render_html(
        Report(title, verdict(diagnosis), "", tuple(part for part in parts if part.blocks))
    )
