"""The explorable page in a real browser: it computes what Python does, and reaches nothing."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms

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


def until(page, expression):
    """Wait until an expression is true; Playwright's own waiting needs eval, which is forbidden."""
    for _ in range(600):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


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
    until(page, "onelayer.state.row")
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
    until(page, "onelayer.state.row")
    for name, kind in (("notes.txt", "text/plain"), ("a.svg", "image/svg+xml"), ("a.heic", "")):
        page.evaluate(drop, [name, kind, list(b"<svg xmlns='http://www.w3.org/2000/svg'/>")])
        until(page, f"document.getElementById('message').textContent.includes('{name}')")
        assert "not a picture that this browser can read" in page.inner_text("#message")


def test_every_kind_of_picture_is_read_as_predict_reads_it(colours, visit, tmp_path):
    results, data = colours
    page, wave = visit(results), noise((6, 8), "RGB").resize((80, 60), Image.Resampling.BICUBIC)
    turned, wide = Image.Exif(), np.asarray(wave.convert("L")).astype(np.uint16) * 257
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kinds = {
        "turned.jpg": (wave, {"exif": turned, "quality": 95}),
        "turned.png": (wave, {"exif": turned}),
        "cmyk.jpg": (wave.convert("CMYK"), {"quality": 95}),
        "palette.png": (wave.convert("P"), {}),
        "bits.png": (wave.convert("1"), {}),
        "wide.png": (Image.fromarray(wide), {}),
        "profile.png": (wave, {"icc_profile": profile}),
        "large.png": (noise((2700, 2700), "RGB"), {"compress_level": 1}),
    }
    for name, (picture, options) in kinds.items():
        picture.save(tmp_path / name, **options)
        page.evaluate("onelayer.state.row = null")
        page.set_input_files("#file", tmp_path / name)
        until(page, "onelayer.state.row")
        stored = stored_picture(tmp_path / name, data.image_shape, data.full_scale)
        found = page.evaluate("Array.from(onelayer.state.row)")
        lossy = 1 if name.endswith("jpg") else 1e-3  # decoders of JPEG may round apart
        np.testing.assert_allclose(found, stored.ravel(), atol=lossy, err_msg=name)
    assert (tmp_path / "large.png").stat().st_size > 20e6
    assert page.inner_text("#message") == ""


def test_what_cannot_be_read_exactly_is_said(colours, visit, tmp_path):
    page = visit(colours[0])
    see_through = noise((6, 5), "RGBA")
    see_through.putalpha(100)
    cases = {
        "a.png": (see_through, "transparent"),
        "b.png": (Image.new("L", (11_000, 11_000)), "in all, or fewer"),
    }
    for name, (picture, words) in cases.items():
        picture.save(tmp_path / name)
        page.set_input_files("#file", tmp_path / name)
        until(page, f"document.getElementById('message').textContent.startsWith('{name}: ')")
        assert words in page.inner_text("#message")


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
    page.locator("#test-section").scroll_into_view_if_needed()
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


def test_a_file_of_a_row_is_read_and_a_picture_refused_where_rows_trained(visit, tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 5))
    page = visit(experiment(dataset_from(X, (X[:, 0] > 0).astype(int))))
    drop = """([name, type, text]) => {
      const data = new DataTransfer();
      data.items.add(new File([text], name, { type }));
      document.body.dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    for given, said in ((["a.png", "image/png", ""], "a.png: a picture, but the models"),
                        (["a.csv", "text/csv", "1," * 4000], "a.csv: 8000 bytes are more"),
                        (["b.csv", "text/csv", "1,2"], "found 2 numbers")):  # fmt: skip
        page.evaluate(drop, given)
        until(page, f"document.getElementById('message').textContent.startsWith('{said}')")
    page.evaluate(drop, ["c.csv", "text/csv", "1,2,3,4,5"])
    until(page, "onelayer.state.row")
    assert page.input_value("#row") == "1,2,3,4,5"


@pytest.fixture(scope="module")
def played():
    data = load_dataset("digits")
    asked = ExperimentOptions(epochs=8, test="all", snapshots=4)
    return run_experiment(spec_of_grid("made", GRID, asked, {}), data), data


def test_stored_epochs_are_played_and_everything_follows(played, visit):
    results, data = played
    page, chosen = visit(results, data), results.selected
    page.locator("#epoch").press("Home")
    assert page.inner_text("#epoch-told") == "weights after epoch 0"
    snapshots = results.run.snapshots
    for place, epoch in enumerate(snapshots.epochs):
        assert page.inner_text("#epoch-told") == f"weights after epoch {epoch}"
        W, b = (part[place, chosen].astype(float) for part in (snapshots.weights, snapshots.biases))
        expected = results.run.scaling.apply(data.test.X[:20]) @ W.T + b
        found = page_scores(page, chosen, data.test.X[:20])
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.ptp(expected))
        page.locator("#epoch").press("ArrowRight")
    assert page.inner_text("#epoch-told") == "weights as kept, of epoch 8"
    assert page.locator("#path circle").count() == 4
    page.locator("#test-section").scroll_into_view_if_needed()
    page.select_option("#which", "wrong")
    until(page, "document.getElementById('place').textContent.includes('of')")
    end = page.inner_text("#place")
    page.evaluate("document.getElementById('play').click()")  # a real click would scroll
    assert page.inner_text("#play") == "Pause"
    until(page, f"document.getElementById('place').textContent !== {end!r}")
    until(page, "document.getElementById('play').textContent === 'Play'")
    assert page.evaluate("onelayer.state.epoch") is None
    until(page, f"document.getElementById('place').textContent === {end!r}")


def test_without_stored_epochs_there_is_no_control(digits, visit):
    assert not visit(digits[0]).locator("#epochs-part").is_visible()


def luminance(colour):
    parts = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_aa_and_curves_that_of_graphics(digits, visit, scheme):
    page = visit(digits[0])
    page.emulate_media(color_scheme=scheme)
    names = ("ink", "soft", "bad", "accent", "paper", "panel", "low", "high", "rule")
    code = """(names) => names.map(
      (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name))"""
    found = [value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
             for value in page.evaluate(code, list(names))]  # fmt: skip
    colour = dict(zip(names, found, strict=True))
    texts = [("ink", ground) for ground in ("paper", "panel", "low", "high")]
    texts += [("soft", "paper"), ("soft", "panel"), ("bad", "paper")]
    assert min(contrast(colour[a], colour[b]) for a, b in texts) >= 4.5
    lines = [*page.evaluate("(s) => onelayer.colours[s]", scheme), colour["accent"], colour["rule"]]
    assert min(contrast(line, colour["paper"]) for line in lines) >= 3


@pytest.mark.parametrize("width", [400, 1000])
def test_nothing_is_wider_than_the_window(visit, width):
    names = [f"{k} a name of sixty characters, long enough to break a layout" for k in range(3)]
    settings = [Hyperparameters(n / 40) for n in range(40)]
    page = visit(make_results((0.5,) * 40, classes=names, settings=settings, repeats=()))
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


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
