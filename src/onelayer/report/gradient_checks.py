"""Gradient checks as a section of the report, as a page and as a table for a terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onelayer.evaluation.results import BatchCheck
from onelayer.report.blocks import (
    Block,
    Column,
    Equations,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
    compose,
    make_table,
)
from onelayer.report.labels import one_line, scientific
from onelayer.report.page import write_page
from onelayer.training.engine_check import EngineCheck

CHECKS_PAGE = "check.html"
EXCERPT = 10  # rows and columns of the errors of W that are shown entry by entry


def check_label(batch: BatchCheck) -> str:
    """Return a short name of a check."""
    return f"{one_line(batch.name)}, {batch.loss}, λ={batch.l2:g}"


@dataclass(frozen=True)
class Checks:
    """The gradient checks of an experiment, those of the engine, and the figure, if drawn."""

    checks: Sequence[BatchCheck]
    engine_checks: Sequence[EngineCheck]
    picture: Picture | None = None


def check_blocks(facts: Checks) -> Iterator[Block | None]:
    """Yield the comparison and the outcome of each check."""
    checks = facts.checks
    if not checks:
        yield Paragraph("The gradients were not checked in this experiment.")
        return
    yield Paragraph(
        "The analytic gradient gₐ is compared with a numerical one, gₙ, in every partial "
        "derivative. Their difference is taken relative to their size:"
    )
    yield Equations((("", "error = |gₐ − gₙ| / max(eps, |gₐ| + |gₙ|)", "entry by entry"),))
    for batch in checks:
        yield Paragraph(_verdict(batch), "good" if batch.check.passed else "bad")
    yield _what(checks)
    yield _outcome(checks)
    yield excerpt_table(checks[0], 1)
    if facts.engine_checks:
        yield from _engine_blocks(facts.engine_checks)
    yield facts.picture


SECTIONS: tuple[Section[Checks], ...] = (Section("Gradient check", check_blocks),)


def write_checks_page(
    title: str, checks: Sequence[BatchCheck], engine_checks: Sequence[EngineCheck], folder: Path
) -> None:
    """Write check.html, figures/ and tables/ into a folder."""
    from onelayer.report.figures import draw_checks  # slow to import

    picture = draw_checks(checks, folder).get("gradient_check")
    parts = compose(SECTIONS, Checks(checks, engine_checks, picture))
    write_page(Report(one_line(title), "", "", parts), folder / CHECKS_PAGE, figures=True)


def _engine_blocks(checks: Sequence[EngineCheck]) -> Iterator[Block]:
    yield Paragraph(
        "The engine that trains takes one step at the rate η, at random W and b. (W − W′) / η is "
        "then its gradient, and it is compared with the numerical one. They differ by rounding."
    )
    for check in checks:
        doubt = "" if check.telling else " Rounding is too large here to tell much."
        yield Paragraph(
            f"{'Passed' if check.passed else 'FAILED'}: {check.engine} in {check.dtype}, "
            f"{check.loss}.{doubt}",
            "good" if check.passed else "bad",
        )
    shares = {
        "W": "error_W",
        "rounding W": "tolerance_W",
        "b": "error_b",
        "rounding b": "tolerance_b",
    }
    yield make_table(
        "engine_checks",
        "One step of the engine against the numerical gradient: the largest difference as a share "
        "of the largest entry, and what rounding may reach.",
        Column("engine", "words", [check.engine for check in checks]),
        Column("type", "words", [check.dtype for check in checks]),
        Column("loss", "words", [check.loss for check in checks]),
        Column("images", "count", [check.images for check in checks]),
        Column("λ", "number", [check.l2 for check in checks], 3),
        *(
            Column(name, "exponent", [getattr(check, field) for check in checks], 1)
            for name, field in shares.items()
        ),
    )


def excerpt_table(batch: BatchCheck, digits: int) -> Table:
    """Return the relative errors of the first rows and columns of W."""
    corner = batch.check.errors_W[:EXCERPT, :EXCERPT]
    rows, columns = corner.shape
    return Table(
        "gradient_excerpt",
        f"Relative errors of the first {rows} rows (classes) and {columns} columns (features) of W "
        f"({check_label(batch)}).",
        (
            Column("W", "words", [f"{k}" for k in range(rows)]),
            *(Column(f"{j}", "exponent", corner[:, j], digits) for j in range(columns)),
        ),
    )


def _verdict(batch: BatchCheck) -> str:
    check = batch.check
    verdict = "Passed" if check.passed else "FAILED"
    return (
        f"{verdict}: {check_label(batch)}. Worst entry {_place(batch)}, relative error "
        f"{scientific(check.worst.error)}, tolerance {check.tolerance:g}."
    )


def _what(checks: Sequence[BatchCheck]) -> Table:
    return make_table(
        "gradient_checks",
        "Gradient checks: what was compared.",
        Column("check", "words", [batch.name for batch in checks]),
        Column("loss", "words", [batch.loss for batch in checks]),
        Column("W, b", "words", [batch.place for batch in checks]),
        Column("method", "words", [batch.check.method for batch in checks]),
        Column("step", "number", [batch.check.step for batch in checks]),
        Column("images", "count", [batch.images for batch in checks]),
        Column("λ", "number", [batch.l2 for batch in checks]),
        Column("eps", "number", [batch.check.eps for batch in checks]),
        Column("tolerance", "number", [batch.check.tolerance for batch in checks]),
        Column("entries", "count", [batch.check.parameters for batch in checks]),
    )


def _outcome(checks: Sequence[BatchCheck]) -> Table:
    return make_table(
        "gradient_errors",
        "Gradient checks: the largest relative errors and the two derivatives at the worst entry.",
        Column("check", "words", [check_label(batch) for batch in checks]),
        Column("worst at", "words", [_place(batch) for batch in checks]),
        Column("max. error W", "exponent", [batch.check.max_error_W for batch in checks]),
        Column("max. error b", "exponent", [batch.check.max_error_b for batch in checks]),
        Column("analytic", "exponent", [b.check.worst.analytic for b in checks], 6),
        Column("numerical", "exponent", [b.check.worst.numerical for b in checks], 6),
    )


def _place(batch: BatchCheck) -> str:
    worst = batch.check.worst
    return f"{worst.parameter}[{', '.join(map(str, worst.index))}]"
