"""The sections of the report, in order: which blocks each holds, not how they look."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import Results
from onelayer.evaluation.test_log import TestEvaluation, warn_of_second_look
from onelayer.report.ablation import ablation_table
from onelayer.report.blocks import Block, Code, Paragraph, Picture, Report, Section, Table
from onelayer.report.choice import choice_table
from onelayer.report.confidence import confidence_blocks
from onelayer.report.effects import effect_blocks, endings_table, rises_table, tell_smoothness
from onelayer.report.gradient_checks import check_blocks
from onelayer.report.labels import LISTED, count_of, one_line
from onelayer.report.method import describe_method
from onelayer.report.outcome import summarise, tell_outcome
from onelayer.report.per_class import error_table, frequent_confusions
from onelayer.report.significance import comparison_table, ensemble_table
from onelayer.report.tables import accuracy_table, final_table
from onelayer.training.options import OF_DESCENT, OF_EXACT
from onelayer.training.run import Run

_COMMANDS = """onelayer reproduce spec.json --out again
onelayer report ."""


def compose(
    results: Results,
    pictures: Mapping[str, Picture],
    ablation: Sequence[AblationRow] = (),
    looks: Sequence[TestEvaluation] = (),
    legend: Table | None = None,
) -> Report:
    """Return the report of `results` with the figures that were drawn, by stem.

    `ablation` are the rows of its variants, `looks` all that were taken at the test split, `legend`
    says which class a name in the figures stands for.
    """
    run, picture = results.run, pictures.get
    sections = (
        _section(
            "Summary",
            Paragraph(summarise(results), "summary"),
            _paragraph(warn_of_second_look(looks)),
        ),
        _section(
            "Data and training options",
            _options_table(results),
            legend,
            _paragraph(_repeats(results)),
        ),
        _section("Method", *describe_method(run)),
        _section("Gradient check", *check_blocks(results), picture("gradient_check")),
        _section("Accuracy", accuracy_table(results), *map(Paragraph, tell_outcome(results))),
        _section(
            "Training curves",
            final_table(results),
            picture("curves"),
            picture("accuracy_curves"),
            picture("excess"),
            rises_table(results),
            endings_table(results),
        ),
        _section("Model selection", choice_table(results)),
        _section("Effects of λ and η", *effect_blocks(results)),
        _section("Ablation", ablation_table(ablation)),
        _section("Weight images", picture("weights"), _paragraph(tell_smoothness(run))),
        _section(
            "Errors by class",
            picture("confusion"),
            frequent_confusions(results),
            error_table(results),
            picture("mistakes"),
        ),
        _section(
            "Calibration",
            picture("true_class"),
            *confidence_blocks(results),
            picture("reliability"),
        ),
        _section("Significance tests on the test set", comparison_table(results)),
        _section("Ensembles", ensemble_table(results)),
        _section("Reproduce this", *_reproduce(run)),
    )
    return Report(
        one_line(results.title),
        one_line(results.source),
        one_line(results.notice),
        tuple(section for section in sections if section.blocks),
    )


def _section(title: str, *blocks: Block | None) -> Section:
    return Section(title, tuple(block for block in blocks if block is not None))


def _paragraph(text: str) -> Paragraph | None:
    return Paragraph(text) if text else None


def _options_table(results: Results) -> Table:
    run = results.run
    M, K, D = run.weights.shape
    shape = "" if run.image_shape is None else f" ({' × '.join(map(str, run.image_shape))})"
    scales = {"unit": "divided by the full scale", "standardise": "standardised", "none": "none"}
    without = OF_DESCENT if run.training["solver"] == "exact" else OF_EXACT
    used = {
        name: value
        for name, value in run.training.items()
        if value is not None and name not in without
    }
    rows = {
        **_flat(used),
        "scaling of the features": scales.get(run.scaling.method, run.scaling.method),
        "classes": f"{K:,}: {_shortened(run.class_names)}",
        "features": f"{D:,}{shape}",
        "test samples": f"{results.test_samples:,}",
        "settings": f"{M:,}, trained in one pass",
    }
    return _record("Data and training options of the main run.", rows)


def _record(caption: str, rows: Mapping[str, str]) -> Table:
    cells = tuple((name.replace("_", " "), value) for name, value in rows.items())
    return Table(caption, ("what", "value"), cells, text_columns=2)


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested record as names and words; numbers of seconds are rounded."""
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and len(value) > LISTED:
            flat[name] = _shortened([f"{inner}: {one}" for inner, one in value.items()])
        elif isinstance(value, Mapping):
            flat |= {f"{name}: {inner}": words for inner, words in _flat(value).items()}
        elif isinstance(value, list | tuple):
            flat[name] = _shortened([str(one) for one in value])
        else:
            flat[name] = _number(value) if isinstance(value, float) else one_line(str(value))
    return flat


def _number(value: float) -> str:
    """Write seconds with one decimal, and in full what would vanish with it."""
    return f"{value:.1f}" if abs(value) >= 0.1 else f"{value:g}"


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name) for name in names[:LISTED])
    return f"{shown}, …" if len(names) > LISTED else shown


def _repeats(results: Results) -> str:
    if not results.repeats:
        return ""
    seeds = _shortened([str(repeat.training.get("seed", "?")) for repeat in results.repeats])
    orders = sorted({str(repeat.training.get("order", "?")) for repeat in results.repeats})
    return (
        f"{count_of(len(results.repeats), 'repeat')} with the same options, batches in "
        f"{' or '.join(orders)} order, seed {seeds}."
    )


def _reproduce(run: Run) -> Iterator[Block]:
    yield Paragraph(
        "Run these in the folder of this report. The first command runs the experiment again from "
        "spec.json. The second draws this report again from the stored results, without training. "
        "table1.csv holds the exact numbers of Table 1, grid.csv every setting, history.csv every "
        "curve, figures/ each figure."
    )
    yield Code(_COMMANDS)
    yield _record(
        "Provenance of the main run: versions, machine, seconds of training, and the digests "
        "(SHA-256) of data that came in files.",
        _flat(run.provenance),
    )
