"""The view of an object in a notebook: a small piece of HTML that needs nothing else."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelayer.data.dataset import Dataset
from onelayer.errors import InputError
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.evaluation.weight_images import weight_images
from onelayer.model.gradient_check import GradientCheck
from onelayer.report.blocks import Column, Table, make_table
from onelayer.report.image_grid import as_images, fit, in_colour
from onelayer.report.labels import PER_CENT, count_of, listing, one_line
from onelayer.report.multilabel import overall_table, tell_of_labels
from onelayer.report.page import templates
from onelayer.report.probe_tables import probe_table
from onelayer.report.probes import tell_edges
from onelayer.report.settings import trained_columns
from onelayer.report.small_charts import (
    HEIGHT,
    QUANTITIES,
    SPLITS,
    WIDTH,
    Panel,
    best_models,
    draw_panels,
)
from onelayer.report.style import LINES
from onelayer.training.classifier import Classifier
from onelayer.training.run import CURVES, Run

SHOWN = len(LINES)  # settings, each with its own colour
_PICTURES, _SIDE = 10, 64  # images that are shown, and the pixels of their longer side
_SENTENCES = 5


@dataclass(frozen=True)
class Face:
    """The parts of the view: a title, sentences, curves, tables, images as (words, data URI)."""

    title: str
    sentences: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()
    images: Sequence[tuple[str, str]] = ()
    models: Sequence[int] = ()  # of the rows of the first table, which then bear their colours

    @property
    def html(self) -> str:
        """The face as HTML; all texts are escaped."""
        colours = {model: _COLOURS[place] for place, model in enumerate(self.models)}
        page = templates().get_template("notebook.html")
        return page.render(face=self, colours=colours, width=WIDTH, height=HEIGHT)


# Black would not show on a dark page: the colour of its text does.
_COLOURS = [colour if colour != "#000000" else "currentColor" for colour in LINES]


@singledispatch
def html(shown: Any) -> str:
    """Return the HTML of a run, a model, a check, a data set or probes for a notebook."""
    raise TypeError(f"a notebook shows nothing of {type(shown)}")


@html.register
def _(run: Run) -> str:
    labels = [*map(one_line, run.labels)]
    finals = {name: run.final(name) for name in CURVES}
    curves = {name: getattr(run.history, name) for name in CURVES}
    epochs, trained_on = run.history.measured, one_line(run.training["dataset"]) or "a data set"
    models = best_models({split: finals[f"{split}_accuracy"] for split in SPLITS}, SHOWN)
    known = Table("", "", (Column("setting", "words", labels), *trained_columns(run))).take(models)
    headings = {f"{s}_{q}": f"{words} {q}" for s, words in SPLITS.items() for q in QUANTITIES}
    kept = {"kept_epoch": "epoch"} if (run.kept != epochs[-1]).any() else {}
    columns = known.pick(["setting", *kept, *headings], kept | headings)
    table = make_table(
        "kept_epoch", "Figures of the kept epoch.", *columns, **_best(finals, models)
    )
    return Face(
        title=f"{count_of(len(labels), 'setting')} trained on {trained_on}",
        sentences=[*_tell_run(run, len(models)), *_first(_tell_ends(run))],
        panels=draw_panels(curves, epochs, models, labels, int(epochs[-1])),
        tables=[table],
        models=models,
    ).html


def _tell_run(run: Run, shown: int) -> list[str]:
    training, M = run.training, len(run.settings)
    how = f"{count_of(training['epochs'], 'epoch')} with mini-batches of {training['batch_size']:,}"
    if training["solver"] == "exact":
        how = "its least cost by the exact solver"
    sizes = f"{len(run.class_names):,} classes, {count_of(run.weights.shape[2], 'feature')}; {how}."
    if shown == M:
        return [sizes]
    known = any(np.isfinite(run.final(f"{split}_accuracy")).any() for split in SPLITS)
    which = f"the {shown} of {M:,} settings with the highest accuracies"
    if not known:
        which = f"the first {shown} of {M:,} settings"
    return [sizes, f"Shown: {which}; to_frame() has all."]


def _tell_ends(run: Run) -> list[str]:
    return [
        f"{one_line(name)}: {f'diverged in {stopped}' if stopped else ended}."
        for name, stopped, ended in zip(run.labels, run.stopped, run.ended, strict=True)
        if stopped or ended
    ]


def _best(finals: Mapping[str, NDArray[np.float64]], models: Sequence[int]) -> dict[str, Any]:
    """Return the arguments of a table that set off the best of `models` on validation."""
    accuracies = finals["validation_accuracy"][models]
    if len(models) < 2 or not np.isfinite(accuracies).any():
        return {}
    return {"strong": int(np.nanargmax(accuracies)), "mark": "the highest validation accuracy"}


@html.register
def _(model: Classifier) -> str:
    setting = f"{model.hyperparameters} on {one_line(model.dataset)}"
    names = [one_line(name) for name in model.class_names]
    sentences = [
        f"{len(names):,} classes: {listing(names)}. {count_of(model.n_features, 'feature')}."
    ]
    images: Sequence[tuple[str, str]] = ()
    if model.image_shape is not None:
        sentences.append("Its weights as images:")
        images = _images(weight_images(model)[:_PICTURES], names)
    return Face(f"One model: {setting}", sentences, images=images).html


@html.register
def _(check: GradientCheck) -> str:
    verdict = "passed" if check.passed else "UNDECIDED" if check.undecided else "FAILED"
    worst = check.worst
    errors = {"W": check.errors_W, "b": check.errors_b}
    largest = {"W": check.max_error_W, "b": check.max_error_b}
    shapes = [" × ".join(map(str, part.shape)) for part in errors.values()]
    compared = [int(np.count_nonzero(~np.isnan(part))) for part in errors.values()]
    place = f"{worst.parameter}[{', '.join(map(str, worst.index))}]"
    parts = (
        Column("of", "words", list(errors)),
        Column("shape", "words", shapes),
        Column("compared", "count", compared),
        Column("largest error", "exponent", list(largest.values()), 2),
    )
    entry = (
        Column("worst entry", "words", [place]),
        Column("relative error", "exponent", [worst.error], 2),
        Column("analytic", "exponent", [worst.analytic], 9),
        Column("numerical", "exponent", [worst.numerical], 9),
    )
    how = f"{check.method} step {check.step:g}, tolerance {check.tolerance:g}."
    return Face(
        f"Gradient check {verdict}",
        [how, *([f"{check.note}."] if check.note else [])],
        tables=[make_table("errors", "Relative errors.", *parts), make_table("worst", "", *entry)],
    ).html


@html.register
def _(data: Dataset) -> str:
    names = [one_line(name) for name in data.class_names]
    shape = " × ".join(map(str, data.image_shape or ()))
    counts = {
        name: split.y.sum(axis=0) if data.multilabel else np.bincount(split.y, minlength=len(names))
        for name, split in data.splits.items()
    }
    kind, each = ("labels", "label") if data.multilabel else ("classes", "class")
    shapes = [" × ".join(f"{n:,}" for n in split.X.shape) for split in data.splits.values()]
    columns = (
        Column("split", "words", list(data.splits)),
        Column("X", "words", shapes),
        Column(f"fewest of a {each}", "count", [int(found.min()) for found in counts.values()]),
        Column(f"most of a {each}", "count", [int(found.max()) for found in counts.values()]),
    )
    sentences = [
        f"{len(names):,} {kind}: {listing(names)}.",
        f"{count_of(data.n_features, 'feature')}, {data.train.X.dtype}, full scale "
        f"{data.full_scale:g}{f'; images of {shape}' if shape else ''}.",
        *([data.notice] if data.notice else []),
        *_first(data.notes),
    ]
    images: Sequence[tuple[str, str]] = ()
    try:
        images = _samples(data)
    except InputError as error:  # the files have changed since
        sentences.append(f"{error}.")
    return Face(
        one_line(data.name), sentences, tables=[make_table("splits", "", *columns)], images=images
    ).html


def _samples(data: Dataset) -> Sequence[tuple[str, str]]:
    """Return the first training image of each of the first classes."""
    if data.image_shape is None or data.multilabel:
        return ()
    data.train.check_unchanged()
    rows = np.unique(data.train.y, return_index=True)[1]
    chosen = np.sort(rows[:_PICTURES])
    images = as_images(np.asarray(data.train.X[chosen]), data.image_shape, data.full_scale)
    words = [one_line(data.class_names[k]) for k in data.train.y[chosen]]
    return _images(np.nan_to_num(images), words)


@html.register
def _(probing: Probing) -> str:
    sets = count_of(len(probing.feature_sets), "feature set")
    return Face(
        f"Linear probes of {sets}",
        [
            f"The most frequent training class: {100 * probing.majority:.2f}{PER_CENT} of the test "
            "rows.",
            *_first([f"Warning: {edge}." for edge in tell_edges(probing)]),
        ],
        tables=[probe_table(probing)],
    ).html


@html.register
def _(probing: LabelProbing) -> str:
    sets = count_of(len(probing.feature_sets), "feature set")
    notes = [f"{note}." for note in tell_of_labels(probing)]
    title = f"Linear probes of {sets}, {len(probing.labels):,} labels"
    return Face(title, _first(notes), tables=[overall_table(probing)]).html


def _first(sentences: Sequence[str]) -> list[str]:
    """Return the first sentences, and one with the number of others."""
    more = len(sentences) - _SENTENCES
    return [*sentences[:_SENTENCES], *([f"And {more:,} more."] if more > 0 else [])]


def _images(images: NDArray[np.float64], words: Sequence[str]) -> list[tuple[str, str]]:
    """Return images (n, H, W, C) of [0, 1] as small PNG in data URIs, each with its words."""
    light = np.rint(255 * fit(in_colour(images), _SIDE)).astype(np.uint8)
    return [(name, _data_uri(image)) for name, image in zip(words, light, strict=False)]


def _data_uri(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def curves_html(
    title: str, curves: Mapping[str, NDArray[np.float64]], labels: Sequence[str], last: int
) -> str:
    """Return the curves (M, E + 1) of a running training, with room up to epoch `last`."""
    names = [*map(one_line, labels)]
    latest = {
        split: _latest(curves[f"{split}_accuracy"])
        for split in SPLITS
        if f"{split}_accuracy" in curves
    }
    models = best_models(latest, SHOWN)
    epochs = np.arange(last + 1)
    panels = draw_panels(curves, epochs, models, names, last)
    columns = [Column("setting", "words", [names[model] for model in models])]
    for split, values in latest.items():
        columns.append(Column(f"{SPLITS[split]} accuracy", "decimals", values[models]))
    table = [make_table("latest", "", *columns)] if models else []
    return Face(title, panels=panels, tables=table, models=models).html


def _latest(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last known value (M,) of each curve (M, C), NaN if there is none."""
    known = np.isfinite(curves)
    last = curves.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    return np.where(known.any(axis=1), curves[np.arange(len(curves)), last], np.nan)
