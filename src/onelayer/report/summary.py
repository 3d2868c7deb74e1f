"""The outcome of an experiment in one paragraph."""

from collections.abc import Iterator

import numpy as np

from onelayer.evaluation.results import Results
from onelayer.report.choice import chosen_words
from onelayer.report.discussion import tell_published, wilson_words
from onelayer.report.labels import PER_CENT, count_of, listing, setting_labels


def summarise(results: Results) -> str:
    """Return the outcome in a paragraph: what was trained, whether to trust it, what came out."""
    run, protocol = results.run, results.run.protocol
    epochs = count_of(protocol["epochs"], "epoch")
    trained = (
        f"{count_of(len(run.settings), 'setting')} of a one-layer network "
        f"{'was' if len(run.settings) == 1 else 'were'} trained on {protocol['dataset']} for "
        f"{epochs} with mini-batches of {protocol['batch_size']:,}."
    )
    return " ".join([trained, _trust(results), *_chosen(results), *tell_published(results)[:1]])


def _trust(results: Results) -> str:
    failed, count = results.failed_checks, len(results.checks) + len(results.engine_checks)
    checked = list(dict.fromkeys(batch.loss for batch in results.checks))
    trained = dict.fromkeys(setting.loss for setting in results.run.settings)
    if not checked:
        return "The gradients were not checked."
    if failed:
        return (
            f"{failed} of {count_of(count, 'gradient check')} FAILED, so the figures below "
            "are not to be trusted."
        )
    told = f"The gradient of {listing(checked)} passed {count_of(len(results.checks), 'check')}"
    if results.engine_checks and all(check.telling for check in results.engine_checks):
        first = results.engine_checks[0]  # one engine trains all losses
        told += f", and so did a step of {first.engine} in {first.dtype}"
    unchecked = [loss for loss in trained if loss not in checked]
    return f"{told}.{f' That of {listing(unchecked)} was not checked.' if unchecked else ''}"


def _chosen(results: Results) -> Iterator[str]:
    """Tell the test accuracy of the setting chosen on the validation split."""
    selected, names = results.selected, setting_labels(results.run)
    if all(results.run.stopped):
        yield "No model was sound to the end."
        return
    best = "" if len(names) == 1 else f", {_title(results)},"
    if np.isnan(results.test_accuracies[selected]):
        yield f"{names[selected]}{best} was not evaluated on the test set."
    else:
        yield (
            f"{names[selected]}{best} is right on "
            f"{100 * results.test_accuracies[selected]:.2f}{PER_CENT} of the "
            f"{count_of(results.test_samples, 'test sample')} (95{PER_CENT} Wilson interval "
            f"{wilson_words(results, selected)})."
        )


def _title(results: Results) -> str:
    """Say what the chosen setting is among the others."""
    selection, chosen = results.selection, chosen_words(results)
    if not selection.informed:
        return chosen
    chosen = chosen.removeprefix("chosen ")
    if selection.chosen == selection.best:
        return f"the best of them {chosen}"
    return f"the simplest of them within one standard error of the best {chosen}"
