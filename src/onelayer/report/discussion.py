"""What the numbers say: results to sentences, nothing that the numbers do not bear out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.results import Results
from onelayer.evaluation.statistics import wilson_interval
from onelayer.report.effects import (
    limit_points,
    tell_l2,
    tell_learning_rate,
    tell_smoothness,
    tell_steadiness,
)
from onelayer.report.labels import (
    PER_CENT,
    count_of,
    decimals,
    listing,
    p_value,
    setting_labels,
)
from onelayer.report.significance import compare_models

Values = NDArray[np.float64]
SIGNIFICANT = 0.05
WHY_ORDERS = (
    "The cost is convex in W and b: with a learning rate small enough to settle, different "
    "initialisations end in nearly the same place when the batches come in one fixed order. Their "
    "spread would therefore not be the uncertainty of the experiment, and that is why each repeat "
    "shuffles the order of the batches."
)


@dataclass(frozen=True)
class Topic:
    """One part of the discussion: a paragraph and, below it, points."""

    title: str
    text: str
    points: tuple[str, ...] = ()


def discuss(results: Results) -> tuple[Topic, ...]:
    """Return the discussion of an experiment, leaving out what it has no numbers for."""
    topics = (
        Topic("Which setting is best", " ".join(tell_winner(results))),
        Topic("How far the order of the batches matters", " ".join(tell_repeats(results))),
        _topic("Against the published figures", tell_published(results)),
        _topic("How steadily the training loss fell", tell_steadiness(results.run)),
        _topic("What the learning rate did", tell_learning_rate(results)),
        _topic("What λ cost in accuracy", tell_l2(results)),
        _topic("What λ did to the weight images", tell_smoothness(results.run)),
        _topic("Stopped models", tell_stopped(results)),
        _topic("Models that ended early", tell_ended(results)),
    )
    return tuple(topic for topic in topics if topic.text)


def _topic(title: str, sentences: list[str]) -> Topic:
    """Make the first sentence the paragraph and the others points."""
    return Topic(title, "".join(sentences[:1]), tuple(sentences[1:]))


def tell_winner(results: Results) -> list[str]:
    """Say which setting has the best test accuracy, by how much, and what was chosen blindly."""
    names, accuracy = setting_labels(results.run), results.test_accuracies
    ranked = _ranked(accuracy)
    if not ranked:
        return ["No model was evaluated on the test set, so none can be called the best."]
    first, value = ranked[0], f"{accuracy[ranked[0]]:.4f}"
    tied = [names[model] for model in ranked if accuracy[model] == accuracy[first]]
    if len(ranked) == 1:
        told = [
            f"Only one setting was evaluated, {names[first]}: its test accuracy is {value}, "
            f"95{PER_CENT} Wilson interval {wilson_words(results, first)} over "
            f"{count_of(results.test_samples, 'test sample')}."
        ]
    elif len(tied) > 1:
        told = [f"{listing(tied)} tie for the highest test accuracy of the main run, {value}."]
    else:
        told = [_lead(results, first, ranked[1]), _sampling(results, first, ranked[1])]
    return [*told, *_selection(results, first, len(ranked))]


def _lead(results: Results, first: int, second: int) -> str:
    names, accuracy = setting_labels(results.run), results.test_accuracies
    return (
        f"{names[first]} has the highest test accuracy of the main run, {accuracy[first]:.4f}, "
        f"{accuracy[first] - accuracy[second]:.4f} above the runner-up {names[second]} "
        f"({accuracy[second]:.4f})."
    )


def _sampling(results: Results, first: int, second: int) -> str:
    """Say whether two models differ by more than another test set would change."""
    names, compared = setting_labels(results.run), compare_models(results)
    intervals = (
        f"Over {count_of(results.test_samples, 'test sample')} their 95{PER_CENT} Wilson "
        f"intervals are {wilson_words(results, first)} and {wilson_words(results, second)}"
    )
    if compared is None or not {first, second} <= set(compared.models):
        return f"{intervals}; no test compares the two here."
    i, j = compared.models.index(first), compared.models.index(second)
    p, alone = float(compared.p[i, j]), compared.only_first
    verdict = "beyond" if p < SIGNIFICANT else "within"
    corrected = f", corrected for {compared.pairs} pairs (Holm)," * (compared.pairs > 1)
    return (
        f"{intervals}. {names[first]} alone is right on {alone[i, j]:,} of them, {names[second]} "
        f"alone on {alone[j, i]:,}; McNemar's exact test{corrected} gives p "
        f"{p_value(p) if p < 1e-4 else f'= {p_value(p)}'}: the lead is {verdict} the sampling "
        "uncertainty of the test set. This compares the two trained models, not other orders."
    )


def _selection(results: Results, first: int, evaluated: int) -> Iterator[str]:
    selected, accuracy = results.selected, results.test_accuracies
    if evaluated < 2 or not results.selection.informed:
        return
    name, folds = setting_labels(results.run)[selected], results.cross_validation
    subject = "The validation split" if folds is None else "Cross-validation"
    if accuracy[selected] == accuracy[first]:
        yield f"{subject}, which settles the choice without the test set, agrees."
    else:
        yield (
            f"{subject}, which settles the choice without the test set, prefers "
            f"{name}, whose test accuracy is {decimals(accuracy[selected])}."
        )


def tell_repeats(results: Results) -> list[str]:
    """Say which setting leads over the repeats and whether its lead exceeds their spread."""
    spread, names = results.repeat_spread, setting_labels(results.run)
    if spread.repeats == 0:
        return [
            "The experiment was not repeated in other orders, so nothing here says how much of a "
            f"difference is luck. {WHY_ORDERS}"
        ]
    missing = [name for name, mean in zip(names, spread.mean, strict=True) if np.isnan(mean)]
    told = [f"Left out for want of an accuracy in every repeat: {listing(missing)}."] * bool(
        missing
    )
    ranked = _ranked(spread.mean)
    if len(ranked) > 1:
        told += _paired_lead(results, ranked[0], ranked[1])
    elif ranked:
        told.append(
            f"Over {count_of(spread.repeats, 'shuffled order')} the mean test accuracy of "
            f"{names[ranked[0]]} is {_mean_sd(spread.mean[ranked[0]], spread.sd[ranked[0]])}."
        )
    return [*told, WHY_ORDERS]


def _paired_lead(results: Results, first: int, second: int) -> list[str]:
    spread, names = results.repeat_spread, setting_labels(results.run)
    R = spread.repeats
    difference = results.repeat_accuracies[:, first] - results.repeat_accuracies[:, second]
    won, mean = int((difference > 0).sum()), float(difference.mean())
    if mean < 1e-12:
        return [
            f"Over {count_of(R, 'shuffled order')} {names[first]} and {names[second]} tie for the "
            f"highest mean, {spread.mean[first]:.4f}."
        ]
    lead = (
        f"Over {count_of(R, 'shuffled order')} {names[first]} has the highest mean test accuracy, "
        f"{_mean_sd(spread.mean[first], spread.sd[first])}, {mean:.4f} above {names[second]} "
        f"({_mean_sd(spread.mean[second], spread.sd[second])})."
    )
    if R == 1:
        return [lead, "A single repeat has no spread to compare this with."]
    sd = float(difference.std(ddof=1))
    verdict = (
        "more than two standard deviations, so the lead is beyond the spread over orders"
        if mean > 2 * sd
        else "not more than two standard deviations, so the lead is within the spread over orders"
    )
    rough = f" With {R} repeats the standard deviation itself is known only roughly." * (R < 6)
    return [
        lead,
        f"All settings of a repeat share its order, so they are compared pair by pair: the "
        f"difference is {_mean_sd(mean, sd)} and {names[first]} won in {won} of {R} repeats; that "
        f"is {verdict}.{rough}",
    ]


def tell_published(results: Results) -> list[str]:
    """Say how far each setting is from its published figure and whether the repeats reach it."""
    accuracy, published = results.test_accuracies, results.published
    known = np.flatnonzero(~np.isnan(accuracy - published))
    if not known.size:
        return []
    gaps = np.abs(accuracy - published)[known]
    names = setting_labels(results.run)
    largest = known[np.argmax(gaps)]
    text = (
        f"{count_of(known.size, 'setting')} {'has' if known.size == 1 else 'have'} a published "
        f"figure; the main run is {gaps.max():.4f} away from it"
        f"{'' if known.size == 1 else f' at most ({names[largest]})'}."
    )
    return [text, *limit_points([_compare(results, int(model)) for model in known])]


def _compare(results: Results, model: int) -> str:
    published, spread = float(results.published[model]), results.repeat_spread
    gap = float(results.test_accuracies[model]) - published
    words = "equal to" if abs(gap) < 5e-5 else f"{abs(gap):.4f} {'above' if gap > 0 else 'below'}"
    low, high = float(spread.min[model]), float(spread.max[model])
    reach = ""
    if spread.repeats == 1:
        reach = f"; the one repeat reached {low:.4f}" * (not np.isnan(low))
    elif not np.isnan(low):
        inside = low <= published <= high
        reach = (
            f", which lies {'inside' if inside else 'outside'} the range of the "
            f"{count_of(spread.repeats, 'repeat')}, {low:.4f} to {high:.4f}"
        )
    return (
        f"{setting_labels(results.run)[model]}: {results.test_accuracies[model]:.4f}, "
        f"{words} the published {published:.4f}{reach}."
    )


def tell_stopped(results: Results) -> list[str]:
    """Say where models were stopped, in the main run and in the repeats."""
    names = setting_labels(results.run)
    points = [
        f"{name}: stopped in {place} of the main run."
        for name, place in zip(names, results.run.stopped, strict=True)
        if place
    ]
    for model, name in enumerate(names):
        setting = results.run.settings[model]
        count = sum(
            bool(repeat.stopped[repeat.settings.index(setting)])
            for repeat in results.repeats
            if setting in repeat.settings
        )
        if count:
            points.append(
                f"{name}: stopped in {count} of {count_of(len(results.repeats), 'repeat')}."
            )
    if not points:
        return []
    text = (
        "A model whose scores or cost are no longer finite is stopped: its curves end there, and "
        "it is neither tested nor compared."
    )
    return [text, *limit_points(points)]


def tell_ended(results: Results) -> list[str]:
    """Say which models of the main run ended before the last epoch, and which epoch was kept."""
    run = results.run
    points = [
        f"{name}: {reason}; kept is epoch {kept}."
        for name, reason, kept in zip(setting_labels(run), run.ended, run.kept, strict=True)
        if reason
    ]
    if not points:
        return []
    text = f"{len(points)} of {count_of(len(run.settings), 'setting')} ended before the last epoch."
    return [text, *limit_points(points)]


def _ranked(values: Values) -> list[int]:
    """Return the models whose value is known, best first, the earlier one of equals first."""
    order = np.argsort(-values, kind="stable")
    return [int(model) for model in order if not np.isnan(values[model])]


def _wilson(results: Results, model: int) -> tuple[float, float]:
    return wilson_interval(float(results.test_accuracies[model]), results.test_samples)


def wilson_words(results: Results, model: int) -> str:
    """Return the Wilson interval of a model's test accuracy, in words."""
    low, high = _wilson(results, model)
    return f"[{low:.4f}, {high:.4f}]"


def _mean_sd(mean: float, sd: float) -> str:
    return f"{mean:.4f}" if np.isnan(sd) else f"{mean:.4f} ± {sd:.4f}"
