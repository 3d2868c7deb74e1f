"""What probes print on a terminal."""

from onelayer.evaluation.probing import Probing
from onelayer.report.probes import probe_table, tell_edges
from onelayer.report.terminal import show_table

_PAGE_ONLY = ("D", "setting", "train", "validation", "control, train")  # a line is 80 letters


def show_probes(probing: Probing) -> None:
    """Print the test accuracy of every feature set and number of labels."""
    every = {row.labels for _, row in probing.rows()}
    alike = ("labels",) if len(every) == 1 else ()  # the same number in every row
    show_table(probe_table(probing).without((*_PAGE_ONLY, *alike)))
    for warning in tell_edges(probing):
        print(f"warning: {warning}")
    print(f"the most frequent training class: {probing.majority:.4f}")
