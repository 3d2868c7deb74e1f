"""The explorable page: one file, without a network, in which a reader tries the trained settings.

It shows the facts of stored results: the grid, the curves, the weights, and test pictures if the
data is available. In the browser it computes scores from the stored weights.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset
from onelayer.errors import visible
from onelayer.evaluation.results import Results
from onelayer.evaluation.selection import Selection
from onelayer.model.losses import find_loss
from onelayer.report.labels import count_of, one_line
from onelayer.report.outcome import summarise
from onelayer.storage import atomic_file
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.naming import varied
from onelayer.training.run import CURVES, Run

# Bytes before base64, which adds a third: with the rest the page stays below 16 MB.
WEIGHTS, PICTURES, CURVE_BYTES = 7_000_000, 3_000_000, 1_000_000
SETTINGS = 1000
_TEMPLATES = Path(__file__).parent / "templates"


class _Shown(NamedTuple):
    """The settings on the page, those with weights, the type of these, those with snapshots.

    `epochs` are the columns of the curves on the page; `notes` are sentences on missing parts.
    """

    settings: NDArray[np.intp]
    weights: NDArray[np.intp]
    dtype: Any
    snapshots: NDArray[np.intp]
    epochs: NDArray[np.intp]
    notes: tuple[str, ...]


def write_explore(results: Results, path: Path, data: Dataset | None = None) -> None:
    """Write the explorable page of `results` to `path`, whole or not at all.

    Pictures of the test split are shown if `data` is given and the split was evaluated.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(render_explore(results, data), "utf-8", newline="\n")


def render_explore(results: Results, data: Dataset | None = None) -> str:
    """Return the explorable page as one HTML file of at most 16 MB."""
    return render_page(
        explore_facts(results, data),
        title=results.title,
        source=results.source,
        notice=results.notice,
        summary=summarise(results),
    )


def render_page(
    facts: dict[str, Any],
    *,
    title: str,
    source: str = "",
    notice: str = "",
    summary: str = "",
    live: bool = False,
) -> str:
    """Return the page of these facts; a `live` page updates itself from its own server.

    Its policy lets a browser run only the scripts in it, by their digests, and reach nothing else,
    except that server.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    chart = files("uplot") / "static"
    styles = [(chart / "uPlot.min.css").read_text("utf-8"), _template("explore.css")]
    scripts = [(chart / "uPlot.iife.js").read_text("utf-8"), _template("explore.js")]
    if live:
        scripts.append(_template("live.js"))
    return environment.get_template("explore.html").render(
        title=visible(one_line(title)),
        source=visible(one_line(source)),
        notice=visible(one_line(notice)),
        summary=visible(summary),
        live=live,
        styles=[Markup(text) for text in styles],
        scripts=[Markup(text) for text in scripts],
        style_digests=[_digest(text) for text in styles],
        script_digests=[_digest(text) for text in scripts],
        facts=Markup(as_json(facts)),
    )


def explore_facts(results: Results, data: Dataset | None = None) -> dict[str, Any]:
    """Return the facts of `results` for the page, as plain values for JSON.

    Arrays are {"type", "shape", "data"}: their bytes in base64, little-endian.
    """
    facts = run_facts(results.run, results.selection, results.test_accuracies, room=WEIGHTS)
    return facts | {"pictures": _pictures(results, data)}


def run_facts(
    run: Run,
    selection: Selection,
    test_accuracies: NDArray[np.float64],
    *,
    room: int,
    weighted: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return the facts of a run, without pictures.

    They hold the weights of the `weighted` models (M,), by default all, up to `room` bytes.
    """
    shown = _choose(run, selection, weighted, room)
    models, curves = shown.settings, np.ix_(shown.settings, shown.epochs)
    finals = {name: run.final(name) for name in CURVES} | {"test_accuracy": test_accuracies}
    return {
        "classes": [visible(one_line(name)) for name in run.class_names],
        "options": list(_options(run)),
        "settings": [_setting(run, int(model)) for model in models],
        "chosen": int(np.flatnonzero(models == selection.chosen)[0]),
        "epochs": run.history.measured[shown.epochs].tolist(),
        "curves": {name: _packed(getattr(run.history, name)[curves]) for name in CURVES},
        "finals": {name: _packed(values[models]) for name, values in finals.items()},
        "image_shape": None if run.image_shape is None else list(run.image_shape),
        "full_scale": run.training["full_scale"],
        "features": None if run.columns is None else list(map(visible, run.columns.features)),
        "scaling": {
            "shift": _packed(run.scaling.shift, np.float64),
            "factor": _packed(run.scaling.factor, np.float64),
        },
        "weighted": np.flatnonzero(np.isin(models, shown.weights)).tolist(),
        "weights": _packed(np.nan_to_num(run.weights[shown.weights]), shown.dtype),
        "biases": _packed(np.nan_to_num(run.biases[shown.weights])),
        "snapshots": _snapshots(run, shown),
        "pictures": None,
        "notes": list(shown.notes),
    }


def _options(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the hyperparameters in which settings differ, λ and η if none does."""
    for name in varied(run.settings) or ["l2"]:
        values = {getattr(setting, name) for setting in run.settings}
        known = sorted(values, key=lambda value: (isinstance(value, str), value))
        label = OPTIONS[name].heading
        yield {"name": name, "label": label, "values": [_plain(value) for value in known]}


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else visible(str(value))


def _setting(run: Run, model: int) -> dict[str, Any]:
    setting, link = run.settings[model], find_loss(run.settings[model].loss).link
    return {
        "label": visible(run.labels[model]),
        "values": {name: _plain(getattr(setting, name)) for name in OPTIONS},
        "link": None if link is None else link.name,
        "stopped": run.stopped[model],
        "kept": int(run.kept[model]),
    }


def _choose(
    run: Run, selection: Selection, weighted: NDArray[np.bool_] | None, room: int
) -> _Shown:
    """Return the settings that fit: of many, the chosen one and the best, in their order."""
    notes = []
    M, K, D = run.weights.shape
    known = np.ones(M, bool) if weighted is None else weighted
    means = np.where(np.isnan(selection.means), -np.inf, selection.means)
    ranked = np.argsort(-means, kind="stable")
    ranked = np.concatenate([[selection.chosen], ranked[ranked != selection.chosen]])
    settings = np.sort(ranked[:SETTINGS])
    if len(settings) < M:
        notes.append(f"The {len(settings):,} best of {count_of(M, 'setting')} are shown.")
    alive = np.array([m for m in ranked[:SETTINGS] if known[m] and not run.stopped[m]], np.intp)
    dtype = np.float32 if len(alive) * K * D * 4 <= room else np.float16
    size = K * D * np.dtype(dtype).itemsize
    weights = np.sort(alive[: room // size])
    notes += _note("Weights", weights, alive)
    snapshots = alive[:0]
    if run.snapshots is not None:
        sound = np.isfinite(run.snapshots.weights[:, alive]).all(axis=(0, 2, 3))
        left = (room - len(weights) * size) // (2 * K * D * len(run.snapshots.epochs))
        snapshots = np.sort(alive[sound][:left])
        notes += _note("Weights of earlier epochs", snapshots, alive[sound])
    measured, most = len(run.history.measured), CURVE_BYTES // (4 * len(CURVES) * len(settings))
    epochs = np.unique(np.linspace(0, measured - 1, min(measured, most)).round().astype(np.intp))
    if len(epochs) < measured:
        notes.append(f"The curves have {len(epochs):,} of the {measured:,} epochs measured.")
    return _Shown(settings, weights, dtype, snapshots, epochs, tuple(notes))


def _note(name: str, here: NDArray[np.intp], alive: NDArray[np.intp]) -> list[str]:
    """Return a sentence if not all settings with weights are on the page."""
    if len(here) == len(alive):
        return []
    if not len(here):
        return [f"{name} are not here: those of one setting would take too much room."]
    best = f"{len(here):,} best of {count_of(len(alive), 'setting')}"
    return [f"{name} are here for the {best}: those of all would take too much room."]


def _snapshots(run: Run, shown: _Shown) -> dict[str, Any] | None:
    """Return the weights of earlier epochs, (models, S, K, D), if any were stored and fit."""
    if run.snapshots is None or not len(shown.snapshots):
        return None
    weights, biases = (
        np.moveaxis(array[:, shown.snapshots], 0, 1)
        for array in (run.snapshots.weights, run.snapshots.biases)
    )
    return {
        "epochs": run.snapshots.epochs.tolist(),
        "models": np.flatnonzero(np.isin(shown.settings, shown.snapshots)).tolist(),
        "weights": _packed(weights, np.float16),
        "biases": _packed(biases, np.float16),
        "paths": [_plain_path(W, b) for W, b in zip(weights, biases, strict=True)],
    }


def _plain_path(W: NDArray[Any], b: NDArray[Any]) -> dict[str, Any]:
    points, shares = descent_path(np.concatenate([W.reshape(len(W), -1), b], axis=1))
    return {"points": points.tolist(), "shares": shares.tolist()}


def descent_path(parameters: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return S parameters (S, P) in the plane of their two main components, (S, 2).

    Also return the shares (2,) of their variance along these, 0 if nothing moved.

    Examples
    --------
    >>> points, shares = descent_path(np.array([[0.0, 0, 0], [3, 4, 0], [6, 8, 0]]))
    >>> points[:, 0].round(6).tolist(), shares.round(6).tolist()
    ([-5.0, 0.0, 5.0], [1.0, 0.0])
    """
    centred = parameters.astype(np.float64) - parameters.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)  # (S, S): S is far below P
    values, vectors = np.maximum(values[:-3:-1], 0), vectors[:, :-3:-1]
    vectors = vectors * np.where(vectors[0] > 0, -1, 1)  # the first is at the left, and below
    points, whole = np.zeros((len(centred), 2)), (centred**2).sum()
    points[:, : len(values)] = vectors * np.sqrt(values)
    shares = np.zeros(2)
    shares[: len(values)] = values / whole if whole > 0 else 0
    return points, shares


def _pictures(results: Results, data: Dataset | None) -> dict[str, Any] | None:
    """Return the first test pictures that fit, if there are any and the split was evaluated."""
    test = None if data is None else data.test
    if test is None or results.run.image_shape is None or not results.evaluated.size:
        return None
    dtype = np.uint8 if test.X.dtype == np.uint8 else np.float32
    n = PICTURES // (test.X.shape[1] * np.dtype(dtype).itemsize)
    X = np.asarray(test.X[:n])
    return {"X": _packed(X, dtype), "y": test.y[:n].tolist(), "samples": len(test)}


def _packed(array: NDArray[Any], dtype: Any = np.float32) -> dict[str, Any]:
    kind = np.dtype(dtype).newbyteorder("<")
    if kind.kind == "f":  # the loss of a model that diverges may be larger
        most = np.finfo(dtype).max
        array = np.clip(array, -most, most)
    content = base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode("ascii")
    return {"type": np.dtype(dtype).name, "shape": list(array.shape), "data": content}


def as_json(facts: dict[str, Any]) -> str:
    """Return JSON for a script element, which no name in it can end."""
    text = json.dumps(facts, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
