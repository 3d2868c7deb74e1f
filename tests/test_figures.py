"""Figures: which there are, what they show, and that nothing is drawn off the picture."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from sklearn.metrics import log_loss

from made_results import make_check, make_curves, make_results, nan_curves
from onelayer.evaluation.calibration import brier_score, fit_temperature, reliability
from onelayer.evaluation.predictions import Scored
from onelayer.model.links import SOFTMAX
from onelayer.report import confidence, curves, matrices, style
from onelayer.report.figures import draw_checks, write_figures
from onelayer.report.mistakes import draw_mistakes
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import CURVES, History

pytestmark = pytest.mark.usefixtures("laid_out")


def draw(function, *arguments):
    with style.look():
        drawing = function(*arguments)
        drawing.figure.draw_without_rendering()
    return drawing


def panels_of(drawing):
    return [ax for ax in drawing.figure.axes if ax.get_visible() and ax.lines]


def test_losses_are_drawn_as_they_are():
    run = make_results().run
    drawing = draw(curves.draw_losses, run, [0, 2], "")
    first, second = panels_of(drawing)
    drawn = {(line.get_color(), line.get_linestyle()): line.get_ydata() for line in second.lines}
    for split, colour in (("train", style.TRAIN), ("validation", style.VALIDATION)):
        for quantity, dashes in (("loss", "-"), ("cost", "--")):
            expected = getattr(run.history, f"{split}_{quantity}")[2]
            np.testing.assert_array_equal(drawn[colour, dashes], expected)
    assert len(first.lines) == 2  # λ = 0: cost and loss are one curve
    assert first.get_title() == "λ=0, η=0.01 (cost = loss)"


def test_a_start_far_off_does_not_squeeze_what_follows():
    measured = make_curves(1, 4)
    for split in ("train", "validation"):
        measured[f"{split}_cost"][0] = [5.3, 2.26, 2.2, 2.2, 2.19]
        measured[f"{split}_loss"][0] = [2.31, 2.14, 2.13, 2.13, 2.12]
    settings = [Hyperparameters(l2=1.0)]
    run = make_results((0.5,), settings=settings, curves=measured, repeats=()).run
    (panel,) = panels_of(draw(curves.draw_losses, run, [0], ""))
    low, high = panel.get_ylim()
    assert 2.0 < low < 2.12
    assert 2.26 < high < 2.4
    assert "2.31, 5.30" in panel.texts[0].get_text()


def test_a_loss_that_explodes_gets_a_logarithmic_axis():
    measured = make_curves(1, 4)
    measured["train_loss"][0] = [2, 10, 1e3, 1e5, 1e2]
    run = make_results((0.5,), curves=measured, repeats=()).run
    (panel,) = panels_of(draw(curves.draw_losses, run, [0], ""))
    assert panel.get_yscale() == "log"


def test_accuracy_panels_share_one_scale():
    panels = panels_of(draw(curves.draw_accuracies, make_results().run, [0, 1, 2], ""))
    assert len({panel.get_ylim() for panel in panels}) == 1


def test_a_stopped_model_says_where():
    results = make_results(curves=nan_curves(3, 4, 2), stopped=("epoch 2, batch 1", "", ""))
    panels = panels_of(draw(curves.draw_losses, results.run, [0, 1], ""))
    assert [t.get_text() for t in panels[0].texts] == ["diverged: epoch 2, batch 1"]
    assert not panels[1].texts


def test_error_matrix_shows_every_entry_and_circles_the_worst():
    drawing = draw(matrices.draw_gradient_checks, [make_check(3, 40)])
    whole, excerpt = drawing.figure.axes[:2]
    shown = whole.images[0].get_array()
    assert shown.shape == (3, 40)
    assert shown.mask[0, 0]  # no error at all has no logarithm
    assert shown[1, 39] == pytest.approx(np.log10(3e-7))
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in whole.lines] == [(39, 1)] * 2
    assert excerpt.images[0].get_array().shape == (3, 10)
    assert written_in(excerpt, 6.2, "−9.0") == {
        (row, column): "−9.0" for row, column in np.ndindex(3, 10) if row or column
    }
    assert excerpt.get_title() == "worst: W[1, 39] 3.00e-07"


def written_in(ax, points, *texts):
    """Return by cell which of `texts` is written in it, as matplotlib shapes a text."""
    (shapes,) = ax.collections
    found = {}
    for path, (column, row) in zip(shapes.get_paths(), shapes.get_offsets(), strict=True):
        for text in texts:
            known = TextPath((0, 0), text, size=points).vertices
            if known.shape == path.vertices.shape:
                moved = known - known[0] + path.vertices[0]
                if np.abs(moved - path.vertices).max() < 0.1:
                    found[row, column] = text
        left, right = path.get_extents().intervalx
        assert left + right == pytest.approx(0, abs=0.5)
    return found


def test_worst_entry_of_b_is_named_but_not_circled_in_W():
    drawing = draw(matrices.draw_gradient_checks, [make_check(3, 40, parameter="b")])
    assert not drawing.figure.axes[0].lines
    assert drawing.figure.axes[1].get_title() == "worst: b[1] 3.00e-07"


def test_confusion_matrix_is_the_selected_models_counts():
    results = make_results((0.3, 0.5, 0.4), samples=10)
    axes = draw(matrices.draw_confusion, results).figure.axes[0]
    assert results.selected == 2
    expected = dict(zip(np.ndindex(3, 3), ["4", "6", *"0000000"], strict=True))
    assert written_in(axes, 7.5, "0", "4", "6") == expected
    np.testing.assert_allclose(axes.images[0].get_array()[0], [0.4, 0.6, 0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "fox"]


def test_weight_images_stand_side_by_side_with_white_between():
    run = make_results().run
    axes = draw(matrices.draw_weights, run, [1], "").figure.axes[0]
    strip = np.asarray(axes.images[0].get_array())
    W = run.weights[1, 2].reshape(3, 4)
    assert strip.shape == (3, 5 * matrices.IMAGES - 1, 3)
    scaled = 255 * (W - W.min()) / (W.max() - W.min())
    np.testing.assert_array_equal(strip[:, 10:14, 0], np.rint(scaled))
    assert (strip[:, [4, 9, *range(14, strip.shape[1])]] == 255).all()
    assert [t.get_text() for t in axes.texts] == ["λ=0.1, η=0.01", "cat", "dog", "fox"]


def test_many_settings_are_cut_to_the_best_and_the_caption_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "PANELS", 2)
    results = make_results(image_shape=None, checks=())
    pictures = write_figures(results, tmp_path / "figures")
    figures = {"curves", "accuracy_curves", "confusion", "true_class", "reliability"}
    assert set(pictures) == figures
    assert "3 settings and the 1 other" in pictures["curves"].caption
    assert "λ=0, " not in pictures["curves"].alt
    assert "λ=0.2, η=0.01" in pictures["curves"].alt


def test_nothing_is_drawn_outside_of_the_figure():
    results = make_results(classes=["a very long name of a class indeed", "b", "c"])
    drawings = [
        draw(matrices.draw_confusion, results),
        draw(matrices.draw_weights, results.run, [0, 1, 2], ""),
        draw(matrices.draw_gradient_checks, results.checks),
        draw(curves.draw_losses, results.run, [0, 1, 2], ""),
    ]
    test = results.predictions.test
    drawings += [
        draw(draw_mistakes, results, results.predictions.mistakes),
        draw(confidence.draw_true_class, results, test),
        draw(confidence.draw_reliability, results),
    ]
    for drawing in drawings:
        assert_inside(drawing)


def assert_inside(drawing):
    width, height = drawing.figure.get_size_inches()
    with style.look():
        box = drawing.figure.get_tightbbox()
    assert box.x0 > -0.03, drawing.stem
    assert box.y0 > -0.03, drawing.stem
    assert box.x1 < width + 0.03, drawing.stem
    assert box.y1 < height + 0.03, drawing.stem


def test_a_readers_matplotlibrc_changes_nothing(tmp_path, monkeypatch):
    import matplotlib

    checks = make_results().checks
    draw_checks(checks, tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "x", "savefig.dpi": 40}):
        draw_checks(checks, tmp_path / "second")
    for name in ("gradient_check.png", "gradient_check.svg"):
        first, second = (tmp_path / f / "figures" / name for f in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_figure_is_drawn_once_for_each_file(tmp_path, monkeypatch):
    drawn = []
    draw_figure = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *args: drawn.append(draw_figure(*args)))
    draw_checks(make_results().checks, tmp_path)  # with a colour bar, which keeps a placeholder
    assert len(drawn) == len(list((tmp_path / "figures").iterdir())) == 2


def test_drawing_leaves_the_settings_and_warnings_of_the_caller_alone():
    import matplotlib

    before = dict(matplotlib.rcParams), list(warnings.filters)
    draw(curves.draw_accuracies, make_results().run, [0], "")
    assert (dict(matplotlib.rcParams), list(warnings.filters)) == before


def test_colours_of_the_two_splits_differ_in_lightness_too():
    channels = [
        [int(to_hex(colour)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        for colour in (style.TRAIN, style.VALIDATION)
    ]
    lightness = [np.dot((0.2126, 0.7152, 0.0722), channel) for channel in channels]
    assert abs(lightness[0] - lightness[1]) > 0.05


def test_histograms_of_the_true_class_are_the_counts_of_right_and_wrong():
    results = make_results(samples=50)
    test = results.predictions.test
    panels = draw(confidence.draw_true_class, results, test).figure.axes
    true = SOFTMAX.probabilities(test.scores)[:, 0]
    right = test.scores.argmax(axis=1) == 0
    for panel, rows, word in zip(panels, (right, ~right), ("right", "wrong"), strict=True):
        (bars,) = panel.patches
        np.testing.assert_array_equal(
            bars.get_data().values, np.histogram(true[rows], 20, (0, 1))[0]
        )
        assert panel.get_title() == f"{word}: {rows.sum()} of 50 samples"


def test_reliability_bars_are_the_accuracies_before_and_after_the_temperature():
    results = make_results(samples=500)
    test, validation = results.predictions.test, results.predictions.validation
    first, second, *_ = draw(confidence.draw_reliability, results).figure.axes
    T = fit_temperature(validation.scores, validation.y).temperature
    for panel, temperature in ((first, 1.0), (second, T)):
        bins = reliability(SOFTMAX.probabilities(test.scores / temperature), test.y)
        bars = [patch.get_height() for patch in panel.containers[0]]
        np.testing.assert_allclose(bars, bins.accuracy[bins.count > 0])
        gaps = [patch.get_height() for patch in panel.containers[1]]
        filled = bins.count > 0
        np.testing.assert_allclose(gaps, np.abs(bins.accuracy - bins.confidence)[filled])
    assert second.get_title() == f"after temperature scaling, T = {T:.4g}"


def test_calibration_table_gives_the_measures_of_both_temperatures():
    results = make_results(samples=500)
    test, validation = results.predictions.test, results.predictions.validation
    _, table = confidence.confidence_blocks(results)
    T = fit_temperature(validation.scores, validation.y).temperature
    for row, temperature in zip(table.rows, (1.0, T), strict=True):
        P = SOFTMAX.probabilities(test.scores / temperature)
        assert row[4:] == (
            f"{brier_score(P, test.y):.4f}",
            f"{log_loss(test.y, P, labels=range(3)):.4f}",
        )
        error = reliability(P, test.y).expected_calibration_error
        assert row[2] == f"{error:.4f}"


@pytest.mark.parametrize(
    ("validation", "sentence"),
    [
        (None, "Without validation scores no temperature can be fitted."),
        (
            Scored(np.eye(3, dtype=np.float32), np.arange(3)),
            "No temperature was fitted on the validation scores: every row is classified correctly",
        ),
    ],
)
def test_without_a_temperature_the_report_says_why(validation, sentence):
    results = make_results(samples=50)
    predictions = replace(results.predictions, validation=validation)
    results = replace(results, predictions=predictions)
    paragraph, table = confidence.confidence_blocks(results)
    assert sentence in paragraph.text
    assert len(table.rows) == 1
    assert len(draw(confidence.draw_reliability, results).figure.axes) == 2


def test_mistakes_are_drawn_with_both_classes_and_the_probability():
    results = make_results(image_shape=(1, 3, 4), samples=50)
    mistakes, test = results.predictions.mistakes, results.predictions.test
    drawing = draw(draw_mistakes, results, mistakes)
    (row,) = drawing.figure.axes
    assert len(row.texts) == len(mistakes.rows) == 8
    page = np.asarray(row.images[0].get_array())
    np.testing.assert_array_equal(page[:, 15:19, 1], mistakes.X[3].reshape(3, 4))
    P = SOFTMAX.probabilities(test.scores)[mistakes.rows[3]]
    name = results.run.class_names[P.argmax()]
    assert row.texts[3].get_text() == f"cat\n↳ {name}\n{P.max():.3f}"


def test_cost_above_the_optimum_is_the_difference_and_its_axis_logarithmic():
    optimal = np.array([2.2, np.nan, 2.36])
    run = make_results(optimal_costs=optimal).run
    drawing = draw(curves.draw_excess, run, optimal, [0, 1, 2], "")
    (ax,) = drawing.figure.axes
    assert ax.get_yscale() == "log"
    first, last = ax.lines
    np.testing.assert_allclose(first.get_ydata(), run.history.train_cost[0] - 2.2)
    excess = run.history.train_cost[2] - 2.36
    np.testing.assert_allclose(last.get_ydata(), excess[excess > 0])
    assert (excess <= 0).any()
    assert [line.get_label() for line in ax.lines] == ["λ=0, η=0.01", "λ=0.2, η=0.01"]


def test_without_validation_no_curve_of_it_is_drawn_or_spoken_of():
    measured = make_curves(1, 4)
    for name in ("loss", "cost", "accuracy"):
        measured[f"validation_{name}"][:] = np.nan
    run = make_results((0.5,), curves=measured, repeats=()).run
    for function in (curves.draw_losses, curves.draw_accuracies):
        drawing = draw(function, run, [0], "")
        assert len(panels_of(drawing)[0].lines) == 1
        assert "alidation" not in drawing.caption + drawing.alt
        assert [text.get_text() for text in drawing.figure.legends[0].texts][:1] == ["training"]


def test_a_long_name_of_a_setting_stays_inside_of_the_figure():
    settings = [
        Hyperparameters(
            l2, 0.01, 0.001, "binary-cross-entropy" if l2 else "hinge", "plateau:10:0.5",
            int(1 + l2), 0.5 + l2 / 10, bool(l2), "xavier" if l2 else "zeros", int(l2),
        )
        for l2 in (0, 1, 2)
    ]  # fmt: skip
    results = make_results(settings=settings, optimal_costs=np.ones(3))
    for models in ([0], [0, 1], [0, 1, 2] * 2):
        assert_inside(draw(curves.draw_losses, results.run, models, ""))
    assert_inside(draw(curves.draw_excess, results.run, np.ones(3), [0, 1, 2], ""))
    assert_inside(draw(matrices.draw_weights, results.run, [0, 1, 2], ""))


@pytest.mark.parametrize("optimal", [[np.nan, 2.0, np.nan], [9.0, np.nan, np.nan]])
def test_optima_that_no_shown_curve_is_above_draw_no_line_and_no_warning(optimal):
    run = make_results(optimal_costs=np.array(optimal)).run
    (ax,) = draw(curves.draw_excess, run, np.array(optimal), [0], "").figure.axes
    assert not any(len(line.get_ydata()) for line in ax.lines)


def test_a_run_that_was_measured_once_is_drawn_as_points_and_says_so():
    run = make_results((0.5,), repeats=()).run
    curves_of = {name: getattr(run.history, name)[:, -1:] for name in CURVES}
    run = replace(run, history=History(np.array([4]), **curves_of))
    drawing = draw(curves.draw_losses, run, [0], "")
    assert "after the last epoch" in drawing.caption
    for line in panels_of(drawing)[0].lines:
        assert (line.get_marker(), list(line.get_xdata())) == ("o", [4])
