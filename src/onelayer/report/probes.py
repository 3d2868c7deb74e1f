"""Linear probes as files and as a page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.evaluation.run_folder import PROBES_PAGE
from onelayer.evaluation.selection import edges_of
from onelayer.report.blocks import (
    Block,
    Bullets,
    Paragraph,
    Picture,
    Report,
    Section,
    compose,
)
from onelayer.report.labels import PER_CENT, count_of
from onelayer.report.lettering import legend
from onelayer.report.markup import write_data, write_markup
from onelayer.report.options import provenance_table, tell_byline
from onelayer.report.page import figure_folder, write_page
from onelayer.report.probe_tables import (
    CLASS_CSV,
    CONTROL,
    CSV,
    best_of,
    classes_table,
    control_table,
    metrics_table,
    optimism_table,
    probe_table,
    probes_table,
    scores_of_classes,
    shown,
)
from onelayer.training.naming import common_words


def write_probes(probing: Probing, folder: Path, form: str = "all") -> None:
    """Write the tables, figures/ and probe.html into an existing folder.

    The tables are probe.csv, .md and .tex and probe_classes.csv, and each .csv as .parquet, too, if
    pyarrow is installed. The same results give the same bytes. The form "html" has no separate
    figures, the form "none" has only the tables.
    """
    for name, table in ((CSV, probes_table(probing)), (CLASS_CSV, classes_table(probing))):
        if table is not None:
            write_data(table, folder / name)
    write_markup(probe_table(probing), folder / "probe")
    write_probe_page(folder, form, shown(probing), lambda pictures: report_of(probing, pictures))


def write_probe_page(
    folder: Path,
    form: str,
    drawn: Probing | LabelProbing,
    report: Callable[[Mapping[str, Picture]], Report],
) -> None:
    """Write the figures of the probes that are drawn, and the page of the report with them."""
    if form == "none":
        return
    from onelayer.report.probe_figures import draw_probes
    from onelayer.report.style import save_all

    with figure_folder(folder, form) as figures:
        pictures = save_all(draw_probes(drawn), figures, dots=form == "all")
        write_page(report(pictures), folder / PROBES_PAGE, figures=form == "all")


def tell_edges(probing: Probing) -> Iterator[str]:
    """Yield a warning for each probe with all labels whose setting is on an edge of the grid."""
    for features in probing.feature_sets:
        for edge in edges_of(probing.grid, features.probe.setting):
            yield f"{features.name}: {edge}"


P = TypeVar("P", Probing, LabelProbing)


@dataclass(frozen=True)
class Facts(Generic[P]):
    """The facts of a report on probes: the results, and the figures that were drawn, by stem."""

    probing: P
    pictures: Mapping[str, Picture]


def _outcome(facts: Facts[Probing]) -> Iterator[Block]:
    probing = facts.probing
    sets, best = probing.feature_sets, best_of(probing)
    low, high = probing.interval(best.probe.test)
    most = f", the most of {len(sets):,} feature sets" if len(sets) > 1 else ""
    outcome = (
        f"With all labels, {best.name} is right on {100 * best.probe.test:.2f}{PER_CENT} of the "
        f"{count_of(probing.samples['test'], 'test sample')} (95{PER_CENT} Wilson interval "
        f"{100 * low:.2f} to {100 * high:.2f}{PER_CENT}){most}. To always predict the most "
        f"frequent training class would be right on {100 * probing.majority:.2f}{PER_CENT}."
    )
    yield Paragraph(outcome, "summary")
    yield from (Paragraph(f"Warning: {edge}.") for edge in tell_edges(probing))
    yield probe_table(probing).without(("train_accuracy", *CONTROL))
    yield from facts.pictures.values()


SECTIONS: tuple[Section[Facts[Probing]], ...] = (
    Section("Outcome", _outcome),
    Section("Metrics", lambda facts: [metrics_table(facts.probing)]),
    Section("Control", lambda facts: [control_table(facts.probing)]),
    Section("Errors by class", lambda facts: [scores_of_classes(facts.probing)]),
    Section("Optimism", lambda facts: [optimism_table(facts.probing)]),
    Section("Method", lambda facts: [Bullets(tuple(_tell_method(facts.probing)))], folded=True),
    Section(
        "Names",
        lambda facts: [legend([one.name for one in facts.probing.feature_sets])],
        folded=True,
    ),
    Section("Provenance", lambda facts: [provenance_table(facts.probing.provenance)], folded=True),
)


def report_of(probing: Probing, pictures: Mapping[str, Picture]) -> Report:
    """Return the report of probes with the figures that were drawn, by stem."""
    return Report(
        title=f"Linear probes of {count_of(len(probing.feature_sets), 'feature set')}",
        byline=tell_byline(probing.provenance),
        source="",
        notice="",
        sections=compose(SECTIONS, Facts(probing, pictures)),
    )


def _tell_method(probing: Probing) -> Iterator[str]:
    training, samples = probing.training, probing.samples
    also = "".join(f", {word}" for word in common_words(probing.grid))
    if training["solver"] == "exact":
        how = f"at its least cost, to {training['tolerance']:g} of it, by the exact solver"
    else:
        how = (
            f"for {count_of(training['epochs'], 'epoch')} with mini-batches of "
            f"{training['batch_size']:,}{also}"
        )
    yield (
        f"A probe is one layer, trained on {samples['train']:,} rows {how}. Scaling of the "
        f"features: {probing.scaling}, estimated on all training rows."
    )
    metric = METRICS[probing.metric].title
    yield (
        f"{samples['validation']:,} validation rows select the best of "
        f"{count_of(len(probing.grid), 'setting')} for each probe by {metric}; only that "
        f"one is evaluated on the {samples['test']:,} test rows."
    )
    if probing.refit:
        yield (
            "The setting chosen with all labels is trained again, with the same C (λN), on the "
            "training and validation rows together; that probe is tested."
        )
    kept = "each class keeps the same share of its training rows"
    yield from tell_of_draws(probing, kept, "shuffled labels")


def tell_of_draws(probing: Probing | LabelProbing, kept: str, shuffled: str) -> Iterator[str]:
    """Yield sentences on fractions and control; `kept` says what a fraction keeps of the rows."""
    features, judged = probing.feature_sets[0], probing.samples["validation"]
    if len(features.by_labels) > 1:
        yield (
            f"Fewer labels: {kept}. A smaller share is part of a larger one, and all feature sets "
            f"use the same rows. Selection always uses the labels of all {judged:,} validation "
            "rows."
        )
    if features.control:
        yield (
            f"control: the same settings trained on {shuffled}, mean of "
            f"{count_of(len(features.control.draws), 'shuffle')}. On the test split it is right by "
            "chance alone; on its own training rows (control, train) it shows how much the probe "
            "can memorise. selectivity: the test value minus the control's."
        )
