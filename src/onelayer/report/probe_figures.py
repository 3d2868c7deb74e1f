"""Figures of linear probes."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.multilabel import LabelFeatures, LabelProbing
from onelayer.evaluation.probing import FeatureSet, Probing
from onelayer.evaluation.statistics import Spread
from onelayer.report import style
from onelayer.report.labels import PER_CENT, count_of, listing
from onelayer.report.lettering import told_apart
from onelayer.report.probe_tables import ends_of

_NAMED = 25  # feature sets that have room for their names below an axis
_LETTERS = 24  # of a feature set's name
_UPRIGHT = 75  # letters of all names together that fit under an axis side by side


def draw_probes(probing: Probing | LabelProbing) -> Iterator[style.Drawing]:
    """Yield the figures of probes; where a row may have several labels, those of their mAP."""
    sets = probing.feature_sets
    known = isinstance(probing, Probing) or all("map" in one.metrics for one in sets)
    if known and len(sets) > 1:
        yield draw_by_features(probing)
    if len(sets[0].by_labels) > 1:
        yield draw_by_labels(probing)
    if isinstance(probing, Probing) and any(
        len(curve) > 1 for curve in curves_by_l2(probing).values()
    ):
        yield draw_by_l2(probing)


def draw_by_features(probing: Probing | LabelProbing) -> style.Drawing:
    """Draw the test metric of every feature set, in their order, and that of its control."""
    sets, measure = probing.feature_sets, measure_of(probing)
    whole = [features.name for features in sets]
    names = told_apart(whole, _LETTERS)
    figure = Figure(figsize=(style.WIDTH, 3.4), layout="constrained")
    ax = figure.subplots()
    tests, *bounds = _estimates(probing).T
    _plot_points(ax, tests, np.abs(np.stack(bounds) - tests), style.TRAIN, "o-", "probe")
    controls = [features.control.test for features in sets if features.control]
    if controls:
        means, sds = zip(*((float(c.mean[0]), float(c.sd[0])) for c in controls), strict=True)
        _plot_points(ax, means, np.nan_to_num(sds), style.MARK, "s--", "shuffled labels")
    if isinstance(probing, Probing):
        share, name = probing.majority, "most frequent class"
        ax.axhline(share, color=style.MUTED, linewidth=1, linestyle=":", label=name)
    step = math.ceil(len(sets) / _NAMED)
    ax.set_xticks(range(0, len(sets), step), names[::step], parse_math=False)
    if sum(map(len, names)) > _UPRIGHT:
        ax.tick_params(axis="x", rotation=40)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(sets) - 0.5)
    ax.set_ylim(bottom=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel(f"test {measure}")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    ends = listing([f"{name}: {test:.4f}" for name, test in zip(whole, tests, strict=True)])
    caption, words = _tell_by_features(probing, controls), f"Test {measure}. {ends}."
    return style.Drawing(f"{measure}_by_features".lower(), figure, caption, words)


def _tell_by_features(probing: Probing | LabelProbing, controls: Sequence[Spread]) -> str:
    """Return the caption of draw_by_features."""
    rows, method, dotted = probing.samples["train"], "the bootstrap's", ""
    if isinstance(probing, Probing):
        rows, method = probing.feature_sets[0].by_labels[-1].labels, "Wilson's"
        dotted = " Dotted: the share of the most frequent training class."
    dashed = ""
    if controls:
        shuffles = count_of(controls[0].repeats, "time")
        dashed = f" Dashed: trained on labels shuffled {shuffles}, mean and standard deviation."
    return (
        f"Test {measure_of(probing)} of the probe of each feature set, trained with all {rows:,} "
        f"labelled rows, with {method} 95{PER_CENT} interval.{dashed}{dotted}"
    )


def _estimates(probing: Probing | LabelProbing) -> NDArray[np.float64]:
    """Return the test metric of each feature set and the ends of its interval, (S, 3)."""
    if isinstance(probing, LabelProbing):
        return np.array([ends_of(features.metrics["map"]) for features in probing.feature_sets])
    tests = [features.probe.test for features in probing.feature_sets]
    return np.array([(test, *probing.interval(test)) for test in tests])


def _plot_points(
    ax: Axes,
    values: Sequence[float] | NDArray[np.float64],
    errors: NDArray[np.float64],
    colour: str,
    form: str,
    label: str,
) -> None:
    ax.errorbar(
        range(len(values)),
        values,
        yerr=errors,
        fmt=form,
        color=colour,
        markersize=4,
        capsize=3,
        label=label,
    )


def draw_by_labels(probing: Probing | LabelProbing) -> style.Drawing:
    """Draw the test metric of every feature set against the number of labelled rows."""
    sets: Sequence[FeatureSet | LabelFeatures] = probing.feature_sets
    measure = measure_of(probing)
    figure, ax, looks = _lines([features.name for features in sets])
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
    ax.set_ylabel(f"test {measure}")
    figure.legend(loc="outside right upper", frameon=False)
    draws = len(sets[0].by_labels[0].draws)
    caption = (
        f"Test {measure} against the number of labelled rows: mean of {count_of(draws, 'draw')} of "
        "which rows have labels, the band a standard deviation to either side; all rows are a "
        "single draw."
    )
    ends = listing(
        [
            f"{features.name}: {features.by_labels[0].test.mean[0]:.4f} with "
            f"{labels[0]:,} labels, {features.by_labels[-1].test.mean[0]:.4f} with {labels[-1]:,}"
            for features in sets
        ]
    )
    words = f"Test {measure} by number of labelled rows. {ends}."
    return style.Drawing(f"{measure}_by_labels".lower(), figure, caption, words)


def measure_of(probing: Probing | LabelProbing) -> str:
    """Return the name of the metric that every fraction and every control has."""
    return "accuracy" if isinstance(probing, Probing) else "mAP"


def _lines(names: Sequence[str]) -> tuple[Figure, Axes, list[tuple[str, str, str]]]:
    """Return a figure for a line for each feature set, and the colour, style and name of each."""
    names = told_apart(names, _LETTERS)
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
    figure, ax, looks = _lines([features.name for features in sets])
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
        f"On the {probing.samples['validation']:,} validation rows: {metric.title} against λ, with "
        f"all labels{', at the best η' * several}; {better} is better. Ring: the λ that was chosen."
        f"{' λ=0 is left out.' * zero}"
    )
    ends = listing([f"{features.name}: λ={features.probe.setting.l2:g}" for features in sets])
    return style.Drawing("validation_by_l2", figure, caption, f"Chosen λ. {ends}.")
