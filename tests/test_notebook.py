"""What a notebook shows of each object: its numbers, as text that no name can turn into code."""

import base64
import io
import sys
import time
import types
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
from PIL import Image
from rich.console import Console

import onelayer
from made_results import HOSTILE, make_check, make_curves, make_results, make_run, nan_validation
from onelayer import InputError, dataset_from, grid
from onelayer.data.dataset import Dataset, Split
from onelayer.evaluation.multilabel import LabelFeatures, LabelProbe, LabelProbing
from onelayer.evaluation.probing import FeatureSet, Labelled, Probe, Probing
from onelayer.evaluation.statistics import Interval
from onelayer.progress import progress_bar
from onelayer.report import live
from onelayer.report.live import Sparklines, best_so_far
from onelayer.report.settings import settings_table
from onelayer.report.small_charts import BLOCKS, HEIGHT, WIDE_RANGE, WIDTH, sparklines
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import CURVES

GOLDEN = Path(__file__).parent / "golden"
NAMES = HOSTILE[:3]
RUN = make_results(classes=NAMES).run
STEEP = {n: c if "acc" in n else 10 ** (9 * c) for n, c in make_curves(3, 4).items()}
ALIVE = {"script", "iframe", "object", "embed", "link", "form", "base", "meta", "foreignobject"}


class Seen(HTMLParser):
    """The texts of a page, its tables, the points of its curves and its pictures."""

    def __init__(self, page):
        super().__init__()
        self.text, self.rows, self.lines, self.pictures, self._styled = "", [], {}, [], False
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        assert tag not in ALIVE
        assert not any(name.startswith("on") or name in ("href", "action") for name in named)
        assert named.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        self._styled = tag == "style"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        elif tag == "polyline":
            self._points = [[*map(float, p.split(","))] for p in named["points"].split()]
        elif tag == "img":
            self.pictures.append((named["alt"], named["src"].split(",")[1]))
        self._tag = tag

    def handle_endtag(self, tag):
        self._styled = self._styled and tag != "style"
        self._in_cell = self._in_cell and tag not in ("td", "th")
        self._tag = None

    def handle_data(self, data):
        if self._styled:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.text += data
        if self._tag == "title":
            self.lines.setdefault(data, []).append(np.array(self._points))
        if self._in_cell and data.strip():
            self.rows[-1][-1:] = [(self.rows[-1] or [""])[-1] + data.strip().strip("━ ")]


def seen(shown):
    return Seen(shown._repr_html_())


def probing(names):
    probe = Probe(Hyperparameters(l2=0.1), 0.9, 0.8, 0.7)
    sets = (FeatureSet(name, 5, (Labelled(1.0, 100, (probe,)),), None) for name in names)
    return Probing(
        tuple(sets), ("a", "b"), {"train": 100, "validation": 50, "test": 50}, 0.5, "unit",
        (probe.setting,), {}, {"onelayer": "1", "cpu": "any"},
    )  # fmt: skip


def label_probing(names):
    found = dict.fromkeys(("map", "accuracy"), Interval(0.7, 0.6, 0.8, "bootstrap"))
    probe = LabelProbe(Hyperparameters(), {"f1": Interval(0.5, 0.4, 0.6, "bootstrap")})
    counts = {"train": 10, "validation": 10, "test": 10}
    return LabelProbing(
        tuple(LabelFeatures(name, 3, (probe, probe), found) for name in names), ("a", "b"),
        dict.fromkeys(counts, (5, 5)), counts, "unit", {}, {"onelayer": "1", "cpu": "any"},
        "average-precision",
    )  # fmt: skip


def pictures(names):
    X = np.arange(12 * len(names), dtype=np.uint8).reshape(-1, 12)
    split = Split(X, np.arange(len(names)))
    return Dataset(names[0], split, None, None, tuple(names), 255, (3, 2, 2), notice=names[0])


@pytest.mark.parametrize(
    "shown",
    [
        RUN,
        onelayer.model_of(replace(RUN, provenance=RUN.provenance | {"onelayer": "1"}), 1),
        make_check(3, 4).check,
        pictures(NAMES),
        probing(NAMES),
        label_probing(NAMES),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_names_are_text_and_nothing_else_is_loaded(shown):
    page = shown._repr_html_()
    found = Seen(page)
    assert found.text.strip()
    if not isinstance(shown, (onelayer.Run, onelayer.GradientCheck)):  # which show no names
        assert NAMES[0] in found.text
        assert NAMES[0] not in page


@pytest.mark.parametrize("curves", [None, nan_validation(3), STEEP])
def test_the_curves_and_figures_of_a_run_are_those_of_its_history(curves):
    run = make_results(curves=curves).run
    found = seen(run)
    header, *rows = found.rows
    for name, column in zip(header[1:], zip(*(row[1:] for row in rows), strict=True), strict=True):
        split, quantity = name.split()
        values = run.final(f"{split.removesuffix('ing')}_{quantity}")
        np.testing.assert_allclose([*map(float, column)], values, rtol=1e-3)
    epochs = run.history.measured
    for quantity in ("loss", "accuracy"):
        shown = {s: getattr(run.history, f"{s}_{quantity}") for s in ("train", "validation")}
        known = np.concatenate([v[np.isfinite(v)] for v in shown.values()])
        low, high = known.min(), known.max()
        measure = np.log if high / low > WIDE_RANGE else np.asarray
        for model in range(3):
            curve = shown["train"][model]
            y = HEIGHT * (measure(high) - measure(curve)) / (measure(high) - measure(low))
            expected = np.stack([WIDTH * epochs / epochs[-1], y], axis=1)
            lines = [p for n, each in found.lines.items() for p in each if run.labels[model] in n]
            assert any(np.abs(line - expected).max() < 0.06 for line in lines)


def test_of_many_settings_the_best_are_shown():
    settings = [Hyperparameters(l2=m / 1000) for m in range(1000)]
    run = make_run(settings, classes=("a", "b"), image_shape=None, epochs=3)
    found = seen(run)
    assert [row[0] for row in found.rows[1:]] == list(run.labels[-7:])
    assert "Shown: the 7 of 1,000 settings" in found.text
    assert len(run._repr_html_()) < 50_000
    assert len(run.to_frame(curves=True)) == 4000


@pytest.mark.parametrize("stopped", ["all", "one"])
def test_a_model_that_diverged_is_told_and_its_figures_are_missing(stopped):
    M = 3
    curves = make_curves(M, 4)
    for curve in curves.values():
        curve[: M if stopped == "all" else 1, 1:] = np.nan
    places = tuple("epoch 1, batch 2" if m == 0 or stopped == "all" else "" for m in range(M))
    run = make_results(curves=curves, stopped=places).run
    found = seen(run)
    assert f"{run.labels[0]}: diverged in epoch 1, batch 2." in found.text
    assert pandas.isna(run.to_frame()["train_loss"][0])
    assert run.to_frame("polars")["train_loss"][0] is None


@pytest.mark.parametrize("options", [{"solver": "exact"}, {"epochs": 2, "evaluate_every": 0}])
def test_figures_of_one_epoch_make_no_curves(options):
    data = dataset_from(np.eye(4), ["a", "b", "a", "b"])
    found = seen(onelayer.train(data, grid(l2=[0.1]), **options))
    assert not found.lines
    assert len(found.rows) == 2


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("model-*.*s")), ids=lambda path: path.stem)
def test_a_model_of_an_older_format_is_shown(path):
    assert "One model" in seen(onelayer.load_model(path)).text


def test_a_check_shows_its_verdict_its_errors_and_the_worst_entry():
    check = make_check(3, 4, worst=0.25).check
    found = seen(check)
    assert "Gradient check FAILED" in found.text
    assert found.rows[1] == ["W", "3 × 4", "12", "2.50e-01"]
    assert found.rows[4][:2] == ["W[1, 3]", "2.50e-01"]


def test_a_data_set_shows_its_splits_and_a_picture_of_each_class():
    X = np.random.default_rng(0).integers(0, 17, (40, 64))
    first, second = Split(X[:30], np.arange(30) % 10), Split(X[30:], np.arange(10))
    names = tuple(map(str, range(10)))
    data = Dataset("made", first, None, second, names, full_scale=16, image_shape=(1, 8, 8))
    found = seen(data)
    for row, split in zip(found.rows[1:], data.splits.values(), strict=True):
        counts = np.bincount(split.y)
        assert row[1:] == [f"{len(split):,} × 64", f"{counts.min()}", f"{counts.max()}"]
    assert [name for name, _ in found.pictures] == [*map(str, range(10))]
    with Image.open(io.BytesIO(base64.b64decode(found.pictures[3][1]))) as image:
        light = np.asarray(image)[..., 0]
    first = data.train.X[np.flatnonzero(data.train.y == 3)[0]].reshape(8, 8)
    np.testing.assert_array_equal(light, np.rint(255 * (first / 16)))


def test_data_without_pictures_or_with_several_labels_a_row_is_shown():
    X = np.arange(12.0).reshape(4, 3)
    assert not seen(dataset_from(X, ["a", "b", "a", "b"])).pictures
    several = Dataset("made", Split(X, np.array([[0, 1], [1, 1]] * 2)), None, None, ("a", "b"))
    assert seen(several).rows[1] == ["train", "4 × 3", "2", "4"]


# Frames


@pytest.mark.parametrize("library", [pandas, polars])
def test_a_frame_holds_the_grid_or_the_curves(library):
    results = make_results()
    run, name = results.run, library.__name__
    frame, expected = run.to_frame(name), settings_table(results).exact
    assert isinstance(frame, library.DataFrame)
    assert list(frame.columns) == list(expected)[: len(frame.columns)]
    for column in frame.columns:
        assert list(frame[column]) == list(expected[column])
    long = run.to_frame(name, curves=True)
    for column in CURVES:
        expected = getattr(run.history, column).ravel()
        np.testing.assert_array_equal(long[column].to_numpy(), expected)
    assert list(long["l2"]) == [s.l2 for s in run.settings for _ in run.history.measured]
    assert list(long["epoch"]) == [0, 1, 2, 3, 4] * 3


def test_a_library_that_is_missing_or_unknown_is_told(monkeypatch):
    run = make_results().run
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(InputError, match="to_frame needs polars: pip install polars"):
        run.to_frame("polars")
    with pytest.raises(InputError, match="unknown library of data frames 'panda'; did you mean"):
        run.to_frame("panda")


# Curves that move


def test_the_best_setting_and_the_split_are_named():
    accuracies = np.array([[0.1, 0.5], [0.1, np.nan], [0.1, 0.6]])
    curves = {"validation_accuracy": accuracies, "train_accuracy": 1 - accuracies}
    names = ["a", "b", "c"]
    assert best_so_far(1, curves, names) == (2, "validation 0.6000, best of 3: c")
    del curves["validation_accuracy"]
    assert best_so_far(1, curves, names) == (0, "training 0.5000, best of 3: a")
    assert best_so_far(1, {}, ["a"]) == (None, "")


def test_a_sparkline_is_as_high_as_its_values():
    values = np.array([0.0, 0.5, 1.0, 0.25, np.nan, np.inf])
    (line,) = sparklines([values], 6)
    heights = [BLOCKS.index(block) / 7 for block in line[:4]]
    np.testing.assert_allclose(heights, values[:4], atol=1 / 7)  # of eight blocks
    assert line[4:] == "  "
    assert sparklines([np.full(3, 2.0)], 9) == [BLOCKS[0] * 3]
    (long,) = sparklines([np.linspace(0, 1, 10_000)], 8)
    assert long == BLOCKS[:7] + BLOCKS[7]
    assert len(sparklines([np.full(5, np.nan)], 3)[0]) == 3


def shown_on(width=100, encoding="utf-8", **curves):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, _environ={})
    options = console.options.update(width=width)
    options.encoding = encoding
    console.print(*Sparklines(4, curves, 1).__rich_console__(console, options))
    return console.file.getvalue()


def test_the_terminal_shows_the_last_values_and_the_shape_of_the_curves():
    curves = make_curves(2, 9)  # after epoch 4 of 9
    lines = shown_on(**curves).splitlines()
    for line, name in zip(
        lines,
        ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"),
        strict=True,
    ):
        split, quantity, blocks, value = line.split()
        assert name == f"{split.removesuffix('ing')}_{quantity}"
        assert float(value) == pytest.approx(curves[name][1, 4], abs=1e-4)
        heights = [BLOCKS.index(block) for block in blocks]
        assert heights == sorted(heights, reverse=quantity == "loss")
        assert len(heights) == 5
    assert len(shown_on(train_loss=curves["train_loss"]).splitlines()) == 1
    assert shown_on(width=30, **curves).strip() == ""
    assert shown_on(encoding="ascii", **curves).strip() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "seconds", "drawn", "coloured"),
    [
        ({"TERM": "xterm"}, 0, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, 0, True, False),
        ({"TERM": "dumb"}, 0, False, False),
        ({"TERM": "xterm"}, 60, False, True),
    ],
)
def test_what_is_below_the_bar_is_drawn_and_goes(
    environment, seconds, drawn, coloured, monkeypatch
):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"COLUMNS": "120", "COLORTERM": ""} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("onelayer.progress.SOON", seconds)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("training", 3) as update:
        update(2, "detail", "the curves")
        patience = time.monotonic() + (5 if drawn else 0.2)  # another thread draws
        while "the curves" not in sys.stderr.getvalue() and time.monotonic() < patience:
            time.sleep(0.01)
    shown = sys.stderr.getvalue()
    assert ("the curves" in shown) == drawn
    assert ("\x1b[3" in shown or "\x1b[9" in shown) == coloured
    assert "the curves" not in shown.rsplit("training", 1)[1]


class Display:
    """Stands for IPython in a kernel: keeps what is shown."""

    def __init__(self, monkeypatch, kernel=True):
        self.first, self.updates = [], []
        shell = types.SimpleNamespace(**({"kernel": 1} if kernel else {}))
        ipython = types.SimpleNamespace(get_ipython=lambda: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        display = types.SimpleNamespace(display=self.display)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def display(self, page, raw, display_id):
        self.first.append(page["text/html"])
        return types.SimpleNamespace(
            update=lambda page, raw: self.updates.append(page["text/html"])
        )


@pytest.fixture
def data():
    X = np.random.default_rng(0).random((30, 3))
    return dataset_from(X, [*map(str, X.argmax(axis=1))])


def test_a_notebook_shows_curves_that_move_in_one_display(data, monkeypatch):
    display = Display(monkeypatch)
    monkeypatch.setattr(live, "_SOON", 0)
    monkeypatch.setattr(live, "_PAUSE", 0)
    run = onelayer.train(data, grid(l2=[0, 1]), epochs=5)
    assert (len(display.first), len(display.updates)) == (1, 6)
    found, final = Seen(display.updates[-1]), seen(run)
    assert "5 of 5" in found.text
    assert found.lines.keys() == final.lines.keys()
    for name, lines in found.lines.items():
        np.testing.assert_array_equal(lines, final.lines[name])


def test_a_notebook_shows_nothing_that_was_not_asked_for(data, monkeypatch):
    monkeypatch.setattr(live, "_PAUSE", 0)
    display = Display(monkeypatch)
    monkeypatch.setattr(live, "_SOON", 600)
    onelayer.train(data, grid(l2=[0, 1]), epochs=5)  # too short
    monkeypatch.setattr(live, "_SOON", 0)
    onelayer.train(data, grid(l2=[0, 1]), epochs=5, on_epoch=lambda *_: None)
    onelayer.train(data, grid(l2=[0, 1]), solver="exact")
    onelayer.OneLayerClassifier(epochs=5).fit(data.train.X, data.train.y)
    assert not display.first
    display = Display(monkeypatch, kernel=False)  # a shell on a terminal
    onelayer.train(data, grid(l2=[0, 1]), epochs=5)
    assert not display.first
