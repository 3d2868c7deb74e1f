"""What λ and η did: comparisons of the settings of one run, as sentences."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from onelayer.evaluation.results import Results
from onelayer.evaluation.weight_images import total_variation, weight_images
from onelayer.report.labels import (
    count_of,
    decimals,
    listing,
    setting_labels,
    setting_words,
    signed,
)
from onelayer.training.run import Run

POINTS = 12  # more would not be read
_SYMBOLS = {"l2": "λ", "learning_rate": "η"}
_PAIRS = "Settings that differ in {} alone, pair by pair:"


def limit_points(points: list[str]) -> list[str]:
    """Return the first points, and in place of too many others a sentence that says so."""
    left_out = len(points) - POINTS
    if left_out <= 0:
        return points
    return [*points[:POINTS], f"{left_out} more of this kind are left out here."]


def tell_steadiness(run: Run) -> list[str]:
    """Say how often the training loss rose after the first epoch measured, and its largest rise."""
    transitions = len(run.history.measured) - 2
    if transitions < 1:
        return []
    names, rises = setting_labels(run), np.diff(run.history.train_loss[:, 1:], axis=1)
    rose = (rises > 0).sum(axis=1)
    calm = [name for name, row in zip(names, rises, strict=True) if (row <= 0).all()]
    every = transitions == run.history.epochs - 1
    between = "one epoch to the next" if every else "one measured epoch to the next"
    steps = f"{count_of(transitions, 'transition')} from {between}"
    if len(calm) == len(names):
        text = f"The training loss rose in none of the {steps}, whatever the setting."
    elif calm:
        shown = listing(calm) if len(calm) <= POINTS else f"{len(calm)} of the settings"
        text = f"With {shown} the training loss rose in none of the {steps}."
    else:
        text = f"With no setting did the training loss fall in all of the {steps}."
    others = [int(m) for m in np.argsort(-rose, kind="stable") if names[m] not in calm]
    return [text, *limit_points([_tell_rises(run, model, names[model]) for model in others])]


def _tell_rises(run: Run, model: int, name: str) -> str:
    loss, epochs = run.history.train_loss[model], run.history.measured
    rises = np.diff(loss[1:])
    known, count = int(np.isfinite(rises).sum()), int((rises > 0).sum())
    stopped, early = bool(run.stopped[model]), bool(run.ended[model])
    ended = " before it was stopped" * stopped or " before it ended" * early
    transitions = f"{count_of(known, 'transition')}{ended}"
    if known == 0:
        return f"{name}: there are no transitions to tell of{ended}."
    if count == 0:
        return f"{name}: it rose in none of {transitions}."
    at = int(np.nanargmax(rises)) + 1
    first = "the first epoch" if epochs[1] == 1 else f"epoch {epochs[1]}, the first measured,"
    start = (
        f"; already {first} raised it from {decimals(loss[0])} to {decimals(loss[1])}"
        if loss[1] > loss[0]
        else ""
    )
    return (
        f"{name}: it rose in {count} of {transitions}, at most by {decimals(rises[at - 1])} "
        f"(epoch {epochs[at]} to {epochs[at + 1]}, {decimals(loss[at])} to "
        f"{decimals(loss[at + 1])}){start}."
    )


def tell_learning_rate(results: Results) -> list[str]:
    """Compare settings that differ in η alone: accuracy, and how often the loss rose."""
    rose = (np.diff(results.run.history.train_loss[:, 1:], axis=1) > 0).sum(axis=1)
    told = []
    for low, high in _neighbours(results.run, "learning_rate"):
        sentence = _tell_effect(results, "learning_rate", low, high)
        if rose[low] != rose[high]:
            sentence += (
                f" The training loss rose {rose[high]} instead of "
                f"{count_of(int(rose[low]), 'time')}."
            )
        told.append(sentence)
    return [_PAIRS.format("η"), *limit_points(told)] if told else []


def tell_l2(results: Results) -> list[str]:
    """Compare settings that differ in λ alone: what the larger λ cost in test accuracy."""
    told = [_tell_effect(results, "l2", *pair) for pair in _neighbours(results.run, "l2")]
    return [_PAIRS.format("λ"), *limit_points(told)] if told else []


def _tell_effect(results: Results, name: str, low: int, high: int) -> str:
    accuracy = results.test_accuracies
    change = accuracy[high] - accuracy[low]
    if np.isnan(change):
        what = "has an effect on test accuracy that was not measured"
    elif change == 0:
        what = f"left the test accuracy at {accuracy[high]:.4f}"
    else:
        verb = "gained" if change > 0 else "cost"
        what = (
            f"{verb} {abs(change):.4f} of test accuracy "
            f"({accuracy[low]:.4f} to {accuracy[high]:.4f})"
        )
    return f"{_step(results.run, name, low, high)} {what}{_paired_change(results, low, high)}."


def _paired_change(results: Results, low: int, high: int) -> str:
    difference = results.repeat_accuracies[:, high] - results.repeat_accuracies[:, low]
    if not difference.size or np.isnan(difference).any():
        return ""
    sd = f" ± {difference.std(ddof=1):.4f}" if difference.size > 1 else ""
    return (
        f"; over {count_of(difference.size, 'shuffled order')} the paired difference is "
        f"{signed(float(difference.mean()))}{sd}"
    )


def tell_smoothness(run: Run) -> list[str]:
    """Say how smooth the weight images are and what a larger λ does to that."""
    if run.image_shape is None or min(run.image_shape[1:]) < 2:
        return []
    variation = total_variation(weight_images(run)).mean(axis=1)
    sound = [model for model, place in enumerate(run.stopped) if not place]
    if not sound:
        return []
    names = setting_labels(run)
    shown = listing([f"{variation[model]:.3f} for {names[model]}" for model in sound])
    if len(sound) > POINTS:
        known = variation[sound]
        shown = f"{known.min():.3f} to {known.max():.3f} for the {len(sound)} settings"
    text = (
        "Smoothness is measured by the total variation of the weight images: the mean absolute "
        "difference of horizontally and of vertically neighbouring pixels, added, on images "
        f"scaled to [0, 1], averaged over the classes; smooth images score low. Measured: {shown}."
    )
    points = [
        f"{_step(run, 'l2', low, high)} makes the images {_factor(variation[low], variation[high])}"
        f" ({variation[low]:.3f} to {variation[high]:.3f})."
        for low, high in _neighbours(run, "l2")
    ]
    return [text, *limit_points(points)]


def _factor(before: float, after: float) -> str:
    """Say how much smoother or rougher; a change that its three decimals do not show is none."""
    if abs(before - after) < 5e-4 or min(before, after) <= 0:
        return "neither smoother nor rougher"
    ratio = max(before, after) / min(before, after)
    return f"{'smoother' if after < before else 'rougher'} by a factor of {ratio:.2f}"


def _neighbours(run: Run, name: str) -> Iterator[tuple[int, int]]:
    """Yield pairs of models that differ in `name` alone, next to each other by its value.

    Stopped models are left out.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[tuple[float, int]]] = {}
    for model, setting in enumerate(run.settings):
        if not run.stopped[model]:
            rest = tuple(item for item in vars(setting).items() if item[0] != name)
            groups.setdefault(rest, []).append((vars(setting)[name], model))
    pairs = []
    for group in groups.values():
        values = sorted(group)
        for place, (value, low) in enumerate(values):
            pairs += [(low, high) for above, high in values[place:] if above > value][:1]
    yield from sorted(pairs)


def _step(run: Run, name: str, low: int, high: int) -> str:
    """Return "At η=0.01, raising λ from 0 to 0.1", with all else that names the setting."""
    words = setting_words(run.settings)[low]
    fixed = [word for word in words if not word.startswith(f"{_SYMBOLS[name]}=")]
    before, after = (vars(run.settings[model])[name] for model in (low, high))
    return f"At {', '.join(fixed)}, raising {_SYMBOLS[name]} from {before:g} to {after:g}"
