"""Figures of linear probes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.probing import Probing
from onelayer.report import style
from onelayer.report.labels import PER_CENT, count_of, listing
from onelayer.report.lettering import told_apart

_NAMED = 25  # feature sets that have room for their names below an axis
_LETTERS = 24  # of a feature set's name
_UPRIGHT = 75  # letters of all names together that fit under an axis side by side


def draw_probes(probing: Probing) -> Iterator[style.Drawing]:
    """Yield the figures of probes."""
    yield draw_by_features(probing)
    if len(probing.feature_sets[0].by_labels) > 1:
        yield draw_by_labels(probing)
    if any(len(curve) > 1 for curve in curves_by_l2(probing).values()):
        yield draw_by_l2(probing)


def draw_by_features(probing: Probing) -> style.Drawing:
    """Draw the test accuracy of every feature set, in their order, and that of its control."""
    sets = probing.feature_sets
    names = told_apart([features.name for features in sets], _LETTERS)
    figure = Figure(figsize=(style.WIDTH, 3.4), layout="constrained")
    ax = figure.subplots()
    tests = [features.probe.test for features in sets]
    bounds = np.array([probing.interval(accuracy) for accuracy in tests]).T
    _plot_points(ax, tests, np.abs(bounds - tests), style.TRAIN, "o-", "probe")
    controls = [features.control.test for features in sets if features.control]
    if controls:
        means, sds = zip(*((float(c.mean[0]), float(c.sd[0])) for c in controls), strict=True)
        _plot_points(ax, means, np.nan_to_num(sds), style.MARK, "s--", "shuffled labels")
    ax.axhline(
        probing.majority, color=style.MUTED, linewidth=1, linestyle=":", label="most frequent class"
    )
    step = math.ceil(len(sets) / _NAMED)
    ax.set_xticks(range(0, len(sets), step), names[::step], parse_math=False)
    if sum(map(len, names)) > _UPRIGHT:
        ax.tick_params(axis="x", rotation=40)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(sets) - 0.5)
    ax.set_ylim(bottom=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("test accuracy")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    note = ""
    if controls:
        shuffles = count_of(controls[0].repeats, "time")
        note = f" Dashed: trained on labels shuffled {shuffles}, mean and standard deviation."
    caption = (
        f"Test accuracy of the probe of each feature set, trained with all "
        f"{sets[0].by_labels[-1].labels:,} labels, with Wilson's 95{PER_CENT} interval.{note} "
        "Dotted: the share of the most frequent training class."
    )
    ends = listing([f"{f.name}: {f.probe.test:.4f}" for f in sets])
    return style.Drawing("accuracy_by_features", figure, caption, f"Test accuracy. {ends}.")


def _plot_points(
    ax: Axes,
    accuracies: Sequence[float],
    errors: NDArray[np.float64],
    colour: str,
    form: str,
    label: str,
) -> None:
    ax.errorbar(
        range(len(accuracies)),
        accuracies,
        yerr=errors,
        fmt=form,
        color=colour,
        markersize=4,
        capsize=3,
        label=label,
    )


def draw_by_labels(probing: Probing) -> style.Drawing:
    """Draw the test accuracy of every feature set against the number of labels."""
    sets = probing.feature_sets
    figure, ax, looks = _lines(probing)
    for features, (colour, line, name) in zip(sets, looks, strict=True):
        labels = [labelled.labels for labelled in features.by_labels]
        mean = np.array([labelled.test.mean[0] for labelled in features.by_labels])
        sd = np.nan_to_num([labelled.test.sd[0] for labelled in features.by_labels])
        ax.plot(labels, mean, line, color=colour, marker="o", markersize=3.5, label=name)
        ax.fill_between(labels, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
    ax.set_xscale("log")
    ax.set_xticks(labels, [f"{count:,}" for count in labels])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("labelled training rows")
    ax.set_ylabel("test accuracy")
    figure.legend(loc="outside right upper", frameon=False)
    draws = len(sets[0].by_labels[0].draws)
    caption = (
        f"Test accuracy against the number of labels: mean of {count_of(draws, 'draw')} of which "
        "rows have one, the band a standard deviation to either side; all labels are a single draw."
    )
    ends = listing(
        [
            f"{features.name}: {features.by_labels[0].test.mean[0]:.4f} with "
            f"{labels[0]:,} labels, {features.probe.test:.4f} with {labels[-1]:,}"
            for features in sets
        ]
    )
    return style.Drawing(
        "accuracy_by_labels", figure, caption, f"Test accuracy by number of labels. {ends}."
    )


def _lines(probing: Probing) -> tuple[Figure, Axes, list[tuple[str, str, str]]]:
    """Return a figure for a line for each feature set, and the colour, style and name of each."""
    names = told_apart([features.name for features in probing.feature_sets], _LETTERS)
    height = max(3.4, 0.8 + 0.19 * len(names))
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    looks = [(*style.line_look(number), name) for number, name in enumerate(names)]
    return figure, figure.subplots(), looks


def curves_by_l2(probing: Probing) -> dict[str, dict[float, float]]:
    """Return, by feature set, the validation metric of the best setting of each λ, with all labels.

    λ rises; λ = 0 is left out, since it has no logarithm.
    """
    metric, curves = METRICS[probing.metric], {}
    for features in probing.feature_sets:
        best: dict[float, float] = {}
        for one in sorted(features.tried, key=lambda one: one.setting.l2):
            known = best.get(one.setting.l2, one.value)
            best[one.setting.l2] = max(known, one.value, key=metric.merit)
        curves[features.name] = {l2: value for l2, value in best.items() if l2 > 0}
    return curves


def draw_by_l2(probing: Probing) -> style.Drawing:
    """Draw the metric that chose against λ, for every feature set, and mark the chosen λ."""
    sets, metric, curves = probing.feature_sets, METRICS[probing.metric], curves_by_l2(probing)
    figure, ax, looks = _lines(probing)
    for features, (colour, line, name) in zip(sets, looks, strict=True):
        curve, chosen = curves[features.name], features.probe.setting.l2
        ax.plot([*curve], [*curve.values()], line, color=colour, marker=".", label=name)
        if chosen in curve:
            ax.plot(chosen, curve[chosen], "o", color=colour, markersize=8, fillstyle="none")
    ax.set_xscale("log")
    ax.set_xlabel("λ")
    ax.set_ylabel(f"{metric.title}, validation split")
    figure.legend(loc="outside right upper", frameon=False)
    better = "higher" if metric.higher_is_better else "lower"
    several = len({one.setting.learning_rate for one in sets[0].tried}) > 1
    zero = any(one.setting.l2 == 0 for features in sets for one in features.tried)
    caption = (
        f"{metric.title} on the {probing.samples['validation']:,} validation rows against λ, with "
        f"all labels{', at the best η' * several}; {better} is better. Ring: the λ that was chosen."
        f"{' λ=0 is left out.' * zero}"
    )
    ends = listing([f"{features.name}: λ={features.probe.setting.l2:g}" for features in sets])
    return style.Drawing("validation_by_l2", figure, caption, f"Chosen λ. {ends}.")
