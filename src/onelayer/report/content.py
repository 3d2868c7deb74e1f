"""The report as blocks: what is said, in which order; not how it looks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.test_log import TestEvaluation, warn_of_second_look
from onelayer.report.ablation import ablation_tables
from onelayer.report.blocks import (
    Block,
    Bullets,
    Code,
    Equations,
    Paragraph,
    Picture,
    Report,
    Section,
    Subheading,
    Table,
)
from onelayer.report.choice import choice_tables
from onelayer.report.confidence import confidence_blocks
from onelayer.report.discussion import Topic, discuss
from onelayer.report.labels import count_of, one_line, scientific
from onelayer.report.matrices import EXCERPT, check_label
from onelayer.report.method import describe_method
from onelayer.report.mistakes import class_tables
from onelayer.report.significance import comparison_tables, ensemble_tables
from onelayer.report.summary import summarise
from onelayer.report.tables import accuracy_table, final_table
from onelayer.training.engine_check import EngineCheck
from onelayer.training.run import Run

_REDO = """onelayer reproduce spec.json --out again
onelayer report ."""


def compose(
    results: Results,
    pictures: Mapping[str, Picture],
    ablation: Sequence[AblationRow] = (),
    looks: Sequence[TestEvaluation] = (),
) -> Report:
    """Return the report of `results` with the figures that were drawn, by stem.

    `ablation` are the rows of its variants, `looks` all that were taken at the test split.
    """

    def picture(*stems: str) -> list[Block]:
        return [pictures[stem] for stem in stems if stem in pictures]

    sections = (
        Section("Summary", (Paragraph(summarise(results), "summary"), *_looks(looks))),
        Section("Data and protocol", (_protocol_table(results), *_repeats(results))),
        Section("Method", tuple(describe_method(results.run))),
        Section("Gradient check", (*_gradient_check(results), *picture("gradient_check"))),
        Section(
            "Accuracy",
            (
                accuracy_table(results),
                final_table(results),
                *picture("curves", "accuracy_curves", "excess"),
            ),
        ),
        Section("Choice of the setting", tuple(choice_tables(results))),
        Section("What each change is worth", tuple(ablation_tables(ablation))),
        Section("Weight images", tuple(picture("weights"))),
        Section(
            "Where it is wrong",
            (*picture("confusion"), *class_tables(results), *picture("mistakes")),
        ),
        Section(
            "How sure it is",
            (*picture("true_class"), *confidence_blocks(results), *picture("reliability")),
        ),
        Section("Differences on the test set", tuple(comparison_tables(results))),
        Section("Ensembles", tuple(ensemble_tables(results))),
        Section("Discussion", tuple(_discussion(discuss(results)))),
        Section("Doing it again", tuple(_redo(results.run))),
    )
    return Report(
        one_line(results.title),
        one_line(results.source),
        one_line(results.notice),
        tuple(section for section in sections if section.blocks),
    )


def _looks(looks: Sequence[TestEvaluation]) -> Iterator[Block]:
    if len(looks) > 1:
        yield Paragraph(warn_of_second_look(looks))


def _protocol_table(results: Results) -> Table:
    run = results.run
    M, K, D = run.weights.shape
    shape = "" if run.image_shape is None else f" ({' × '.join(map(str, run.image_shape))})"
    scales = {"unit": "divided by the full scale", "standardise": "standardised", "none": "none"}
    rows = {
        **_flat({name: value for name, value in run.protocol.items() if value is not None}),
        "scaling of the features": scales.get(run.scaling.method, run.scaling.method),
        "classes": f"{K}: {_shortened(run.class_names)}",
        "features": f"{D:,}{shape}",
        "test samples": f"{results.test_samples:,}",
        "settings": f"{M}, trained in one pass",
    }
    return _record("Data and protocol of the main run.", rows)


def _record(caption: str, rows: Mapping[str, str]) -> Table:
    cells = tuple((name.replace("_", " "), value) for name, value in rows.items())
    return Table(caption, ("what", "value"), cells, text_columns=2)


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested record as names and words; numbers of seconds are rounded."""
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}: {inner}": words for inner, words in _flat(value).items()}
        elif isinstance(value, list | tuple):
            flat[name] = ", ".join(map(str, value))
        else:
            flat[name] = f"{value:.1f}" if isinstance(value, float) else one_line(str(value))
    return flat


def _shortened(names: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(one_line(name) for name in names[:limit])
    return f"{shown}, …" if len(names) > limit else shown


def _repeats(results: Results) -> Iterator[Block]:
    if results.repeats:
        seeds = ", ".join(str(repeat.protocol.get("seed", "?")) for repeat in results.repeats)
        orders = sorted({str(repeat.protocol.get("order", "?")) for repeat in results.repeats})
        yield Paragraph(
            f"{count_of(len(results.repeats), 'repeat')} of the same protocol, with batches in "
            f"{' or '.join(orders)} order (seed{'' if len(results.repeats) == 1 else 's'} {seeds})."
        )


def _gradient_check(results: Results) -> Iterator[Block]:
    checks = results.checks
    if not checks:
        yield Paragraph("The gradients were not checked in this experiment.")
        return
    yield Paragraph(
        "The analytic gradient gₐ is compared with a numerical one, gₙ, in every partial "
        "derivative. What the two differ by is taken relative to their size:"
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
    yield _excerpt(checks[0])
    yield from _engine_check(results.engine_checks)


def _engine_check(checks: Sequence[EngineCheck]) -> Iterator[Block]:
    if not checks:
        return
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


def _excerpt(batch: BatchCheck) -> Table:
    corner = batch.check.errors_W[:EXCERPT, :EXCERPT]
    rows, columns = corner.shape
    return Table(
        f"Relative errors of the first {rows} rows and {columns} columns of W "
        f"({check_label(batch)}).",
        ("W", *map(str, range(columns))),
        tuple((str(row), *(scientific(error, 1) for error in corner[row])) for row in range(rows)),
    )


def _discussion(topics: Sequence[Topic]) -> Iterator[Block]:
    for topic in topics:
        yield Subheading(topic.title)
        yield Paragraph(topic.text)
        if topic.points:
            yield Bullets(topic.points)


def _redo(run: Run) -> Iterator[Block]:
    yield Paragraph(
        "In the folder of this report, the first command runs the whole experiment again, as "
        "spec.json describes it. The second draws this report anew from the stored results, "
        "without training. The exact numbers of Table 1 are in table1.csv, all settings in "
        "grid.csv, every curve in history.csv, and each figure in figures/."
    )
    yield Code(_REDO)
    yield _record(
        "Provenance of the main run: versions, machine, seconds of training and, where the data "
        "came in files, their digests (SHA-256).",
        _flat(run.provenance),
    )
