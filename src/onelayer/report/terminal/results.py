"""The results of an experiment on a terminal."""

from collections.abc import Sequence

from onelayer.evaluation.ablation import AblationRow
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.report.ablation import ablation_table
from onelayer.report.choice import MANY
from onelayer.report.gradient_checks import excerpt_table
from onelayer.report.tables import accuracy_table
from onelayer.report.terminal import show_table


def show_results(results: Results, rows: Sequence[AblationRow]) -> None:
    """Print the accuracies of settings and variants, the checks, and trainings that ended early."""
    if results.notice:
        print(results.notice)
    show_table(accuracy_table(results))
    ablation = ablation_table(rows)
    if ablation is not None:
        show_table(ablation.without(("change", "validation")))
    for batch in results.checks:
        print(f"{batch.name}, {batch.loss}, λ={batch.l2:g}: {batch.check}")
    for check in results.engine_checks:
        print(check)
    run, lines = results.run, []
    for name, stopped, ended in zip(run.labels, run.stopped, run.ended, strict=True):
        lines += [f"{name} diverged in {stopped}"] if stopped else []
        lines += [f"{name} ended early: {ended}"] if ended else []
    print(*lines[:MANY], sep="\n", end="\n" if lines else "")
    if len(lines) > MANY:
        print(f"{len(lines) - MANY:,} more settings diverged or ended early: grid.csv")


def show_check(batch: BatchCheck) -> None:
    """Print the relative errors of the first classes and features of a gradient check."""
    show_table(excerpt_table(batch, digits=0))
    print(str(batch.check))
