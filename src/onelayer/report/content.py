"""The sections of an experiment's report, in order: their blocks, not their looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import Results
from onelayer.evaluation.test_log import TestEvaluation, warn_of_second_look
from onelayer.report.ablation import ablation_table
from onelayer.report.blocks import Block, Code, Paragraph, Picture, Report, Section, Table, compose
from onelayer.report.choice import choice_table
from onelayer.report.confidence import confidence_blocks
from onelayer.report.effects import effect_blocks, endings_table, tell_rises, tell_smoothness
from onelayer.report.gradient_checks import Checks, check_blocks
from onelayer.report.labels import one_line
from onelayer.report.method import describe_method
from onelayer.report.options import options_table, provenance_table, tell_byline, tell_repeats
from onelayer.report.outcome import summarise, tell_answer, tell_outcome
from onelayer.report.per_class import error_table, frequent_confusions
from onelayer.report.significance import comparison_table, ensemble_table
from onelayer.report.tables import accuracy_table, final_table

_COMMANDS = """onelayer reproduce spec.json --out again
onelayer report ."""


@dataclass(frozen=True)
class Facts:
    """The facts for the sections: results, the figures that were drawn, by stem, and more.

    `ablation` are the rows of the variants, `looks` all evaluations on the test split, `legend`
    explains the class names in the figures.
    """

    results: Results
    pictures: Mapping[str, Picture]
    ablation: Sequence[AblationRow] = ()
    looks: Sequence[TestEvaluation] = ()
    legend: Table | None = None


def _answer(facts: Facts) -> Iterator[Block]:
    yield Paragraph(tell_answer(facts.results), "summary")
    yield Paragraph(summarise(facts.results), "bad" if facts.results.failed_checks else "plain")
    if warning := warn_of_second_look(facts.looks):
        yield Paragraph(warning)


def _accuracy(facts: Facts) -> Iterator[Block | None]:
    yield accuracy_table(facts.results)
    yield facts.pictures.get("heat_map")
    yield from map(Paragraph, tell_outcome(facts.results))


def _curves(facts: Facts) -> Iterator[Block | None]:
    yield from map(facts.pictures.get, ("curves", "accuracy_curves", "excess"))
    yield final_table(facts.results)
    yield tell_rises(facts.results)
    yield endings_table(facts.results)


def _weights(facts: Facts) -> Iterator[Block | None]:
    yield facts.pictures.get("weights")
    if told := tell_smoothness(facts.results.run):
        yield Paragraph(told)


def _errors(facts: Facts) -> Iterator[Block | None]:
    yield facts.pictures.get("confusion")
    yield frequent_confusions(facts.results)
    yield error_table(facts.results)
    yield facts.pictures.get("mistakes")


def _checks(facts: Facts) -> Checks:
    results = facts.results
    return Checks(results.checks, results.engine_checks, facts.pictures.get("gradient_check"))


def _calibration(facts: Facts) -> Iterator[Block | None]:
    yield facts.pictures.get("true_class")
    yield from confidence_blocks(facts.results)
    yield facts.pictures.get("reliability")


def _options(facts: Facts) -> Iterator[Block | None]:
    yield options_table(facts.results)
    yield facts.legend
    if told := tell_repeats(facts.results):
        yield Paragraph(told)


def _reproduce(_: Facts) -> Iterator[Block]:
    yield Paragraph(
        "Run these in the folder of this report. The first command runs the experiment again from "
        "spec.json. The second draws this report again from the stored results, without training. "
        "table1.csv holds the accuracy of every setting, grid.csv all that is known of each, "
        "history.csv every curve."
    )
    yield Code(_COMMANDS)


SECTIONS: tuple[Section[Facts], ...] = (
    Section("Answer", _answer),
    Section("Accuracy", _accuracy),
    Section("Training curves", _curves),
    Section("Weight images", _weights),
    Section("Errors by class", _errors),
    Section("Gradient check", lambda facts: check_blocks(_checks(facts))),
    Section("Calibration", _calibration),
    Section("Model selection", lambda facts: [choice_table(facts.results)]),
    Section("Significance tests on the test set", lambda facts: [comparison_table(facts.results)]),
    Section("Ensembles", lambda facts: [ensemble_table(facts.results)]),
    Section("Effects of λ and η", lambda facts: effect_blocks(facts.results)),
    Section("Ablation", lambda facts: [ablation_table(facts.ablation)]),
    Section("Method", lambda facts: describe_method(facts.results.run), folded=True),
    Section("Data and training options", _options, folded=True),
    Section(
        "Provenance", lambda facts: [provenance_table(facts.results.run.provenance)], folded=True
    ),
    Section("Reproduce this", _reproduce),
)


def report_of(facts: Facts) -> Report:
    """Return the report of an experiment."""
    results = facts.results
    return Report(
        one_line(results.title),
        one_line(results.source),
        one_line(results.notice),
        compose(SECTIONS, facts),
        tell_byline(results.run.provenance, results.author),
    )
