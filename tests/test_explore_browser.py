"""The explorable page in a real browser: it computes what Python does, and reaches nothing."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from made_results import HOSTILE, make_results
from onelayer import Dataset, Split, dataset_from, load_dataset
from onelayer.data.unlabelled import stored_picture
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.report.explore import render_explore
from onelayer.training.classifier import model_of
from onelayer.training.hyperparameters import Hyperparameters, grid

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")

GRID = grid(l2=[0, 0.01, 0.1], learning_rate=[0.1, 0.01])
CLOSE = 1e-3  # of the range of the scores


def experiment(data, settings=GRID, scaling="unit"):
    asked = ExperimentOptions(epochs=3, repeats=0, test="all", scaling=scaling)
    return run_experiment(spec_of_grid("made", settings, asked, {}), data)


def in_colour():
    """Return 8-bit pictures (3, 6, 5) of three colours, which a line tells apart."""
    generator = np.random.default_rng(0)
    y = np.arange(240) % 3
    X = generator.integers(0, 120, (240, 3, 6, 5)) + 100 * np.eye(3, dtype=int)[y][:, :, None, None]
    parts = [Split(X[some].reshape(-1, 90).astype(np.uint8), y[some]) for some in
             (slice(0, 120), slice(120, 180), slice(180, 240))]  # fmt: skip
    return Dataset("made", *parts, ("red", "green", "blue"), image_shape=(3, 6, 5))


@pytest.fixture(scope="module")
def digits():
    data = load_dataset("digits")
    return experiment(data), data


@pytest.fixture(scope="module")
def colours():
    data = in_colour()
    return experiment(data, [*GRID, Hyperparameters(0.01, loss="binary-cross-entropy")]), data


@pytest.fixture
def visit(browser, tmp_path):
    """Open the page of results; afterwards nothing was said on the console, nothing was fetched."""
    said, asked = [], []
    context = browser.new_context(viewport={"width": 1000, "height": 800})

    def open_page(results, data=None):
        path = tmp_path / "explore.html"
        path.write_text(render_explore(results, data), "utf-8")
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []


def page_scores(page, model, X):
    rows = [[float(value) for value in row] for row in X]
    code = "([model, rows]) => rows.map((row) => Array.from(onelayer.scores(model, row)))"
    return np.array(page.evaluate(code, [model, rows]))


@pytest.mark.parametrize("which", ["digits", "colours"])
def test_scores_and_probabilities_of_the_whole_test_split_are_pythons(which, visit, request):
    results, data = request.getfixturevalue(which)
    page = visit(results, data)
    for number in range(len(results.run.settings)):
        model = model_of(results.run, number)
        expected, found = model.scores(data.test.X), page_scores(page, number, data.test.X)
        np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE * np.ptp(expected))
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
        code = "([m, S]) => S.map((row) => Array.from(onelayer.probabilities(m, row)))"
        likely = page.evaluate(code, [number, found[:9].tolist()])
        np.testing.assert_allclose(likely, model.link.probabilities(found[:9]), atol=1e-9)


def noise(side, mode):
    pixels = np.random.default_rng(1).integers(0, 256, (*side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("side", [(6, 5), (8, 8), (41, 57), (3, 4), (6, 50)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("which", ["digits", "colours"])
def test_a_picture_is_read_as_predict_reads_it(which, side, mode, visit, request, tmp_path):
    results, data = request.getfixturevalue(which)
    noise(side, mode).save(tmp_path / "a.png")
    page = visit(results)
    page.set_input_files("#file", tmp_path / "a.png")
    sync_api.expect(page.locator("#answer table")).to_be_visible()
    model = model_of(results.run, results.selected)
    stored = stored_picture(tmp_path / "a.png", data.image_shape, data.full_scale).reshape(1, -1)
    found = np.array(page.evaluate("Array.from(onelayer.state.row)"))
    np.testing.assert_allclose(found, stored[0], atol=data.full_scale / 255 * 1e-6)
    scores = model.scores(stored)
    chosen = page_scores(page, results.selected, stored)
    np.testing.assert_allclose(chosen, scores, rtol=0, atol=CLOSE * np.ptp(scores))
    first = page.locator("#answer tbody th").first.inner_text()
    assert first == data.class_names[int(scores.argmax())]
    shown = page.locator("#answer tbody tr").first.locator("td").first.inner_text()
    assert float(shown.replace("−", "-")) == pytest.approx(scores.max(), abs=6e-5 + CLOSE)


def test_a_picture_can_be_dropped_and_what_is_none_is_named(digits, visit):
    page = visit(digits[0])
    content = io.BytesIO()
    noise((8, 8), "L").save(content, "png")
    drop = """([name, type, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name, { type }));
      document.getElementById("try").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, ["a.png", "image/png", list(content.getvalue())])
    sync_api.expect(page.locator("#answer table")).to_be_visible()
    for name, kind in (("notes.txt", "text/plain"), ("a.svg", "image/svg+xml"), ("a.heic", "")):
        page.evaluate(drop, [name, kind, list(b"<svg xmlns='http://www.w3.org/2000/svg'/>")])
        sync_api.expect(page.locator("#message")).to_contain_text(name)
        assert "not a picture that this browser can read" in page.inner_text("#message")


def test_a_digit_can_be_drawn_with_the_mouse(digits, visit):
    page = visit(digits[0])
    page.locator("#draw").scroll_into_view_if_needed()
    box = page.locator("#draw").bounding_box()
    page.mouse.move(box["x"] + 112, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 112, box["y"] + 190, steps=8)
    page.mouse.up()
    row = np.array(page.evaluate("Array.from(onelayer.state.row)")).reshape(8, 8)
    assert row[1:7, 3:5].min() > 8  # the stroke
    assert row[:, [0, 1, 6, 7]].max() == 0
    assert page.locator("#evidence canvas").count() == 3


def test_sliders_snap_to_trained_settings_by_keyboard(digits, visit):
    results = digits[0]
    page = visit(results)
    sliders = page.locator("#sliders input")
    assert sliders.count() == 2
    seen = set()
    for _ in range(2):
        for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
            sliders.nth(0).press(key)
            seen.add(page.evaluate("onelayer.state.current"))
        sliders.nth(1).press("End")
    labels = [results.run.labels[model] for model in seen]
    assert {label.split(",")[0] for label in labels} == {"λ=0", "λ=0.01", "λ=0.1"}
    setting = page.evaluate("onelayer.facts.settings[onelayer.state.current].values")
    assert (setting["l2"], setting["learning_rate"]) == ("0.1", "0.1")
    assert page.inner_text("#current").startswith("λ=0.1, η=0.1: ")


def test_cells_are_reached_with_the_arrow_keys_and_chosen_with_enter(digits, visit):
    page = visit(digits[0])
    page.locator("#grid button").first.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert page.inner_text("#current").startswith("λ=0.01, η=0.1: ")
    assert page.locator("#grid button[aria-pressed=true]").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_settings_are_compared_and_the_charts_have_a_table(digits, visit):
    results = digits[0]
    page = visit(results)
    for number in range(3):
        page.locator("#grid button").nth(number).click()
        page.click("#compare")
    assert page.locator("#compared .chip").count() == 3
    assert page.evaluate("onelayer.charts['loss-chart'].series.length") == 7  # epochs, 2 of each
    page.locator("#curve-details summary").click()
    cells = page.locator("#curve-table tbody tr").last.locator("td").all_inner_texts()
    current = page.evaluate("onelayer.state.current")
    assert float(cells[0]) == pytest.approx(
        results.run.history.validation_loss[current, -1], abs=6e-5
    )
    page.locator("#compared button").first.click()
    assert page.locator("#compared .chip").count() == 2


def test_a_brush_over_a_chart_looks_closer_and_logarithms_are_there(digits, visit):
    page = visit(digits[0])
    page.locator("#loss-chart .u-over").scroll_into_view_if_needed()
    box = page.locator("#loss-chart .u-over").bounding_box()
    scale = partial(
        page.evaluate, "['min', 'max'].map((m) => onelayer.charts['loss-chart'].scales.x[m])"
    )
    before = scale()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 60, steps=5)
    page.mouse.up()
    low, high = scale()
    assert before[0] < low < high < before[1]
    page.check("#log-loss")
    page.check("#log-epochs")
    assert page.evaluate("onelayer.charts['loss-chart'].scales.y.distr") == 3


def test_a_cell_of_the_confusions_shows_its_pictures(digits, visit):
    results, data = digits
    page = visit(results, data)
    model = model_of(results.run, results.selected)
    predicted = model.predict(data.test.X)
    true, taken = next(
        (k, j) for k in range(10) for j in range(10)
        if k != j and ((data.test.y == k) & (predicted == j)).any()
    )  # fmt: skip
    expected = int(((data.test.y == true) & (predicted == taken)).sum())
    button = page.locator("#confusion tbody tr").nth(true).locator("button").nth(taken)
    assert button.inner_text() == str(expected)
    button.click()
    assert page.locator("#samples figure").count() == min(expected, 24)
    assert page.locator("#samples figure.wrong").count() == min(expected, 24)
    page.click("#any-cell")
    page.select_option("#which", "wrong")
    wrong = int((predicted != data.test.y).sum())
    assert page.inner_text("#place").endswith(f"of {wrong}")


def test_a_row_of_features_is_judged_and_a_wrong_one_is_named(visit):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 5))
    data = dataset_from(X, (X[:, 0] > 0).astype(int))
    results = experiment(data, scaling="standardise")
    page = visit(results, data)
    assert not page.locator("#try-picture").is_visible()
    page.fill("#row", "1, 2, 3")
    assert page.inner_text("#message") == "found 3 numbers, expected the 5 features of a row"
    page.fill("#row", "1 2 3 x 5")
    assert "number 4" in page.inner_text("#message")
    page.fill("#row", "\t".join(map(repr, data.test.X[0].tolist())))
    S = model_of(results.run, results.selected).scores(data.test.X[:1])
    assert page.inner_text("#message") == ""
    assert page.locator("#answer tbody th").first.inner_text() == data.class_names[int(S.argmax())]


def test_hostile_names_do_nothing(visit):
    names = (*HOSTILE[:3], "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>")
    page = visit(make_results(classes=names, title=names[-1], notice=names[-2]))
    assert page.inner_text("h1").startswith("</script>")
    assert page.locator("img").count() == 0
    shown = page.locator("#weights figcaption b").all_inner_texts()
    assert shown[0] == HOSTILE[0]


def test_one_model_and_one_that_diverged_have_a_page(visit):
    page = visit(make_results((0.5,), classes="ab", repeats=(), image_shape=None))
    assert page.locator("#grid button").count() == 1
    gone = make_results((np.nan, 0.5), stopped=("epoch 1, batch 2", ""), repeats=())
    page = visit(gone)
    page.locator("#grid button", has_text="diverged").click()
    assert "diverged in epoch 1, batch 2" in page.inner_text("#current")
    assert "no weights" in page.inner_text("#weights")
