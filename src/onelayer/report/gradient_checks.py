"""Gradient checks as blocks of the report and as a table for a terminal."""

from collections.abc import Iterator, Sequence

from onelayer.evaluation.results import BatchCheck, Results
from onelayer.report.blocks import Block, Equations, Paragraph, Table
from onelayer.report.labels import one_line, scientific
from onelayer.training.engine_check import EngineCheck

EXCERPT = 10  # rows and columns of the errors of W that are shown entry by entry


def check_label(batch: BatchCheck) -> str:
    """Return a short name of a check."""
    return f"{one_line(batch.name)}, {batch.loss}, λ={batch.l2:g}"


def check_blocks(results: Results) -> Iterator[Block]:
    """Yield what was compared in each check, and how it ended."""
    checks = results.checks
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
    yield Table(
        "Gradient checks: what was compared.",
        ("check", "loss", "W, b", "method", "step", "images", "λ", "eps", "tolerance", "entries"),
        tuple(_what(batch) for batch in checks),
        text_columns=4,
    )
    yield Table(
        "Gradient checks: the largest relative errors and the two derivatives at the worst entry.",
        ("check", "worst at", "max. error W", "max. error b", "analytic", "numerical"),
        tuple(_outcome(batch) for batch in checks),
        text_columns=2,
    )
    yield excerpt_table(checks[0], 1)
    if results.engine_checks:
        yield from _engine_blocks(results.engine_checks)


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
    yield Table(
        "One step of the engine against the numerical gradient: the largest difference as a share "
        "of the largest entry, and what rounding may reach.",
        ("engine", "type", "loss", "images", "λ", "W", "rounding W", "b", "rounding b"),
        tuple(_engine_row(check) for check in checks),
        text_columns=3,
    )


def _engine_row(check: EngineCheck) -> tuple[str, ...]:
    shares = (check.error_W, check.tolerance_W, check.error_b, check.tolerance_b)
    given = (check.engine, check.dtype, check.loss, f"{check.images:,}", f"{check.l2:.3g}")
    return (*given, *(scientific(share, 1) for share in shares))


def excerpt_table(batch: BatchCheck, digits: int) -> Table:
    """Return the relative errors of the first rows and columns of W."""
    corner = batch.check.errors_W[:EXCERPT, :EXCERPT]
    rows, columns = corner.shape
    return Table(
        f"Relative errors of the first {rows} rows (classes) and {columns} columns (features) of W "
        f"({check_label(batch)}).",
        ("W", *map(str, range(columns))),
        tuple((str(k), *(scientific(error, digits) for error in corner[k])) for k in range(rows)),
    )


def _verdict(batch: BatchCheck) -> str:
    check = batch.check
    verdict = "Passed" if check.passed else "FAILED"
    return (
        f"{verdict}: {check_label(batch)}. Worst entry {_place(batch)}, relative error "
        f"{scientific(check.worst.error)}, tolerance {check.tolerance:g}."
    )


def _what(batch: BatchCheck) -> tuple[str, ...]:
    check = batch.check
    return (
        one_line(batch.name),
        batch.loss,
        batch.place,
        check.method,
        f"{check.step:g}",
        f"{batch.images:,}",
        f"{batch.l2:g}",
        f"{check.eps:g}",
        f"{check.tolerance:g}",
        f"{check.parameters:,}",
    )


def _outcome(batch: BatchCheck) -> tuple[str, ...]:
    check = batch.check
    errors = (scientific(error) for error in (check.max_error_W, check.max_error_b))
    values = (scientific(value, 6) for value in (check.worst.analytic, check.worst.numerical))
    return (check_label(batch), _place(batch), *errors, *values)


def _place(batch: BatchCheck) -> str:
    worst = batch.check.worst
    return f"{worst.parameter}[{', '.join(map(str, worst.index))}]"
