"""The results of probes on a terminal."""

from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.report.multilabel import label_table, overall_table, tell_of_labels
from onelayer.report.probe_tables import probe_table
from onelayer.report.probes import tell_edges
from onelayer.report.terminal import show_table

_PAGE_ONLY = (  # a line is 80 letters
    "n_features",
    "setting",
    "train_accuracy",
    "validation_accuracy",
    "control_train_accuracy",
    "train_map",
    "micro_f1",
    "auroc",
    "accuracy",
    "control_train_map",
)


def show_probes(probing: Probing | LabelProbing) -> None:
    """Print the test accuracy of every feature set and number of labels.

    For multi-label data, print the metrics of all labels, and of each on the best feature set.
    """
    if isinstance(probing, LabelProbing):
        drawn = ("macro_f1",) if probing.feature_sets[0].by_labels else ()
        show_table(overall_table(probing).without((*_PAGE_ONLY, *drawn)))
        show_table(label_table(probing, probing.best))
        for note in tell_of_labels(probing):
            print(f"note: {note}")
        return
    every = {row.labels for _, row in probing.rows()}
    alike = ("labels",) if len(every) == 1 else ()  # the same number in every row
    show_table(probe_table(probing).without((*_PAGE_ONLY, *alike)))
    for warning in tell_edges(probing):
        print(f"warning: {warning}")
    print(f"the most frequent training class: {probing.majority:.4f}")
