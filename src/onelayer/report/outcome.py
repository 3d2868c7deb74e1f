"""The outcome of an experiment in a few sentences, each beside the table that it summarises."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.results import Results
from onelayer.evaluation.selection import edges_of
from onelayer.evaluation.statistics import wilson_interval
from onelayer.report.choice import chosen_words
from onelayer.report.labels import PER_CENT, count_of, decimals, listing, p_value
from onelayer.report.significance import compare_models

SIGNIFICANT = 0.05
WHY_ORDERS = (
    "Each repeat shuffles the batches, because the cost is convex: from other first weights, but "
    "in one order, training ends in nearly the same place."
)


def summarise(results: Results) -> str:
    """Return a paragraph on the training and its checks."""
    run, training = results.run, results.run.training
    trained = (
        f"{count_of(len(run.settings), 'setting')} of a one-layer network "
        f"{'was' if len(run.settings) == 1 else 'were'} trained on {training['dataset']} "
        f"{_tell_solver(training)}."
    )
    chosen = [] if results.diverged else [run.settings[results.selected]]
    edges = [f"{edge}." for setting in chosen for edge in edges_of(run.settings, setting)]
    sentences = [trained, _trust(results), *edges, tell_published(results)]
    return " ".join(filter(None, sentences))


def _tell_solver(training: Mapping[str, Any]) -> str:
    if training["solver"] == "exact":
        return f"by the exact solver, to {training['tolerance']:g} of the least cost"
    return (
        f"for {count_of(training['epochs'], 'epoch')} with mini-batches of "
        f"{training['batch_size']:,}"
    )


def _trust(results: Results) -> str:
    failed, count = results.failed_checks, len(results.checks) + len(results.engine_checks)
    checked = list(dict.fromkeys(batch.loss for batch in results.checks))
    trained = dict.fromkeys(setting.loss for setting in results.run.settings)
    if not checked:
        return "The gradients were not checked."
    if failed:
        return (
            f"{failed} of {count_of(count, 'gradient check')} FAILED: do not trust the numbers "
            "below."
        )
    told = f"The gradient of {listing(checked)} passed {count_of(len(results.checks), 'check')}"
    if results.engine_checks and all(check.telling for check in results.engine_checks):
        first = results.engine_checks[0]  # one engine trains all losses
        told += f", and so did a step of {first.engine} in {first.dtype}"
    unchecked = [loss for loss in trained if loss not in checked]
    return f"{told}.{f' That of {listing(unchecked)} was not checked.' if unchecked else ''}"


def tell_answer(results: Results) -> str:
    """Return a sentence with the test accuracy of the selected setting."""
    selected, selection = results.selected, results.selection
    if results.diverged:
        return "Every model diverged."
    how = chosen_words(results)
    if selection.informed and selection.chosen != selection.best:
        how += " as the simplest within one standard error of the best"
    name = results.run.labels[selected]
    if len(results.run.settings) > 1:
        name += f" ({how})"
    if np.isnan(results.test_accuracies[selected]):
        return f"{name} was not evaluated on the test set."
    low, high = _interval(results, selected)
    return (
        f"{name} is right on {100 * results.test_accuracies[selected]:.2f}{PER_CENT} of the "
        f"{count_of(results.test_samples, 'test sample')} (95{PER_CENT} Wilson interval "
        f"{100 * low:.2f} to {100 * high:.2f}{PER_CENT})."
    )


def tell_outcome(results: Results) -> Iterator[str]:
    """Yield sentences on Table 1: the best setting, the repeats, the published accuracies."""
    yield tell_winner(results)
    yield tell_repeats(results)
    published = tell_published(results)
    if published:
        yield published


def tell_winner(results: Results) -> str:
    """Return a sentence on the setting with the best test accuracy, and whether it is chance."""
    names, accuracy = results.run.labels, results.test_accuracies
    ranked = _ranked(accuracy)
    if not ranked:
        return "No setting was evaluated on the test set."
    first = ranked[0]
    tied = [names[model] for model in ranked if accuracy[model] == accuracy[first]]
    samples = count_of(results.test_samples, "test sample")
    if len(ranked) == 1:
        return (
            f"{names[first]} has the test accuracy {_with_interval(results, first)} on {samples}."
        )
    if len(tied) > 1:
        return f"{listing(tied)} share the highest test accuracy, {accuracy[first]:.4f}."
    second = ranked[1]
    lead = (
        f"{names[first]} has the highest test accuracy, {_with_interval(results, first)}; next is "
        f"{names[second]} with {_with_interval(results, second)}, on {samples}."
    )
    return " ".join(filter(None, [lead, _significance(results, first, second), _agrees(results)]))


def _significance(results: Results, first: int, second: int) -> str:
    """Return a sentence on the significance of the difference between two settings."""
    names, compared = results.run.labels, compare_models(results)
    if compared is None or not {first, second} <= set(compared.models):
        return "No significance test compares the two."
    i, j = compared.models.index(first), compared.models.index(second)
    p, alone = float(compared.p[i, j]), compared.only_first
    verdict = "significant" if p < SIGNIFICANT else "not significant"
    corrected = ""
    if compared.pairs > 1:
        corrected = f", Holm-corrected for {compared.pairs} pairs"
    value = p_value(p) if p < 1e-4 else f"= {p_value(p)}"
    return (
        f"Only {names[first]} is right on {count_of(int(alone[i, j]), 'sample')}, only "
        f"{names[second]} on {alone[j, i]:,}: the difference is {verdict} (McNemar's exact test, p "
        f"{value}{corrected}). The test compares the two trained models, not other orders of the "
        "batches."
    )


def _agrees(results: Results) -> str:
    """Return a sentence on the setting that was selected without the test set."""
    if not results.selection.informed:
        return ""
    selected, accuracy = results.selected, results.test_accuracies
    subject = "The validation split" if results.cross_validation is None else "Cross-validation"
    if accuracy[selected] == np.nanmax(accuracy):
        return f"{subject} selected the same setting."
    return (
        f"{subject} selected {results.run.labels[selected]}, with the test accuracy "
        f"{decimals(accuracy[selected])}."
    )


def tell_repeats(results: Results) -> str:
    """Return a sentence on the leading setting of the repeats, and its lead over their spread."""
    spread, names, R = results.repeat_spread, results.run.labels, results.repeat_spread.repeats
    if R == 0:
        return "Without repeats in other orders of the batches the spread of training is not known."
    ranked, sentences = _ranked(spread.mean), []
    missing = [name for name, mean in zip(names, spread.mean, strict=True) if np.isnan(mean)]
    if missing:
        sentences.append(f"Without an accuracy in every repeat: {listing(missing)}.")
    if ranked:
        first = ranked[0]
        best = f"Over {count_of(R, 'repeat')} {names[first]} has the highest mean test accuracy"
        sentences.append(f"{best}, {_mean_sd(spread.mean[first], spread.sd[first])}.")
    if len(ranked) > 1:
        sentences.append(_lead(results, ranked[0], ranked[1]))
    return " ".join([*sentences, WHY_ORDERS])


def _lead(results: Results, first: int, second: int) -> str:
    """Return a comparison of two settings, paired by repeats, which share the order of samples."""
    spread, names, R = results.repeat_spread, results.run.labels, results.repeat_spread.repeats
    difference = results.repeat_accuracies[:, first] - results.repeat_accuracies[:, second]
    mean, won = float(difference.mean()), int((difference > 0).sum())
    if mean < 1e-12:
        return f"{names[second]} has the same mean."
    second_mean = f"{names[second]} is next with {_mean_sd(spread.mean[second], spread.sd[second])}"
    if R == 1:
        return f"{second_mean}; one repeat has no spread to compare the difference with."
    sd = float(difference.std(ddof=1))
    verdict = "more" if mean > 2 * sd else "not more"
    rough = ""
    if R < 6:
        rough = f", itself a rough estimate from {R} repeats"
    return (
        f"{second_mean}; repeat by repeat the difference is {_mean_sd(mean, sd)}, for "
        f"{names[first]} in {won} of {R}: {verdict} than two standard deviations{rough}."
    )


def tell_published(results: Results) -> str:
    """Return a sentence on the difference of main run and repeats to published accuracies."""
    published, spread, names = results.published, results.repeat_spread, results.run.labels
    gaps = np.abs(results.test_accuracies - published)
    known = np.flatnonzero(~np.isnan(gaps))
    if not known.size:
        return ""
    largest = known[np.argmax(gaps[known])]
    told = (
        f"{count_of(known.size, 'setting')} {'has' if known.size == 1 else 'have'} a published "
        f"accuracy; the largest difference from it is {gaps[largest]:.4f} ({names[largest]})."
    )
    repeated = known[~np.isnan(spread.min[known])]
    if spread.repeats < 2 or not repeated.size:
        return told
    inside = (spread.min <= published) & (published <= spread.max)
    outside = [names[model] for model in repeated if not inside[model]]
    told += f" It is in the range of the repeats for {inside[repeated].sum()} of {repeated.size}"
    return f"{told}, not for {listing(outside)}." if outside else f"{told}."


def _ranked(values: NDArray[np.float64]) -> list[int]:
    """Return the models with a known value, best first; equal ones keep their order."""
    order = np.argsort(-values, kind="stable")
    return [int(model) for model in order if not np.isnan(values[model])]


def _interval(results: Results, model: int) -> tuple[float, float]:
    return wilson_interval(float(results.test_accuracies[model]), results.test_samples)


def _with_interval(results: Results, model: int) -> str:
    low, high = _interval(results, model)
    value = results.test_accuracies[model]
    return f"{value:.4f} (95{PER_CENT} Wilson interval {low:.4f} to {high:.4f})"


def _mean_sd(mean: float, sd: float) -> str:
    return f"{mean:.4f}" if np.isnan(sd) else f"{mean:.4f} ± {sd:.4f}"
