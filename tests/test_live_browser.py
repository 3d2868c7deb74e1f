"""The live page in a real browser: it follows, it stops, and it comes back."""

import json
import time

import numpy as np
import pytest

from made import make_data
from made_results import HOSTILE
from onelayer import Dataset, load_dataset
from onelayer.tracking.live import Live
from onelayer.training.hyperparameters import grid
from onelayer.training.options import TrainingOptions
from onelayer.training.run import CURVES

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
live_server = pytest.importorskip("onelayer.tracking.live_server", reason="the extra live")

SETTINGS, EPOCHS = grid(l2=[0, 0.01, 0.1], learning_rate=[0.1, 0.01]), 10


class Stack:
    """A stack that does not train."""

    def __init__(self, live):
        self.shape = live._parameters[0].shape

    def parameters(self):
        return np.random.default_rng(0).normal(size=self.shape), np.zeros(self.shape[:2])


class Training:
    """Curves that are told by hand to a page; `stops` counts the presses of its button."""

    def __init__(self, data):
        self.live, self.stops = Live(data.name, data, SETTINGS, TrainingOptions(epochs=EPOCHS)), 0
        self.live._stack = Stack(self.live)
        self.curves = {name: np.full((len(SETTINGS), EPOCHS + 1), np.nan) for name in CURVES}
        self.open()

    def open(self, **options):
        self.server = live_server.LiveServer(self.live.page, self.live.news, self.stop, **options)

    def stop(self):
        self.stops += 1

    def tell(self, epoch):
        for curve in self.curves.values():
            curve[:, epoch] = (1 + np.arange(len(SETTINGS))) / (10 + epoch)
        self.live._due = 0
        self.live.on_epoch(epoch, self.curves, range(len(SETTINGS)))

    def end(self):
        self.live.end("The training ended.")
        self.server.close()


@pytest.fixture
def said():
    """What a page says on its console: nothing."""
    lines = []
    yield lines
    assert lines == []


@pytest.fixture
def watch(browser, said, monkeypatch):
    monkeypatch.setattr(live_server, "PERIOD", 0.02)
    monkeypatch.setattr(live_server, "PATIENCE", 0.1)
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    trainings, asked = [], []

    def open_page(data):
        training = Training(data)
        trainings.append(training)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(training.server.url)
        return training, page

    yield open_page
    context.close()
    own = tuple(f"http://127.0.0.1:{each.server.port}/" for each in trainings)
    assert [url for url in asked if not url.startswith((*own, "data:", "blob:"))] == []
    for training in trainings:
        training.server.close()


def status(page, words):
    sync_api.expect(page.locator("#status")).to_contain_text(words, timeout=5000)


def test_the_page_follows_the_training_and_says_when_it_ended(watch):
    training, page = watch(load_dataset("digits"))
    status(page, "has not begun")
    assert page.locator("#weights canvas").count() == 0
    for epoch in range(4):
        training.tell(epoch)
    status(page, "Epoch 3 of 10")
    assert page.evaluate("onelayer.charts['loss-chart'].data[0]") == [0, 1, 2, 3]
    assert page.evaluate("onelayer.charts['loss-chart'].series.length") == 1 + 2 * len(SETTINGS)
    assert page.locator("#weights canvas").count() == 10
    page.locator("#grid button").nth(4).click()
    chosen = page.evaluate("onelayer.state.current")
    training.tell(4)
    status(page, "Epoch 4 of 10")
    assert page.evaluate("onelayer.state.current") == chosen  # the reader's choice stays
    page.evaluate("onelayer.charts['loss-chart'].setScale('x', {min: 1, max: 3})")
    training.tell(5)
    status(page, "Epoch 5 of 10")
    scale = "['min', 'max'].map((m) => onelayer.charts['loss-chart'].scales.x[m])"
    assert page.evaluate(scale) == [1, 3]
    expected = (chosen + 1) / 15
    assert f"validation accuracy {expected:.4f}" in page.inner_text("#current")
    training.end()
    status(page, "The training ended.")
    assert page.locator("#stop").is_disabled()


def test_the_button_asks_first_and_stops_once(watch):
    training, page = watch(load_dataset("digits"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("#stop")
    assert training.stops == 0
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#stop")
    sync_api.expect(page.locator("#connection")).to_have_text("Stopping.")
    assert training.stops == 1


def test_the_page_comes_back_after_a_restart_of_the_server(watch, said):
    training, page = watch(load_dataset("digits"))
    training.tell(1)
    status(page, "Epoch 1")
    first = training.server
    first.close()
    sync_api.expect(page.locator("#connection")).to_contain_text("trying again")
    training.tell(2)
    training.open(port=first.port, token=first.token)
    status(page, "Epoch 2")
    sync_api.expect(page.locator("#connection")).to_have_text("")
    # The browser itself tells of what it could not reach, and of nothing else.
    assert all("net::ERR_" in line for line in said)
    said.clear()


def test_a_closed_page_leaves_its_place_and_the_training_goes_on(watch):
    training, page = watch(load_dataset("digits"))
    training.tell(1)
    status(page, "Epoch 1")
    page.close()
    begin = time.monotonic()
    for epoch in range(2, EPOCHS + 1):
        training.tell(epoch)
    assert time.monotonic() - begin < 2
    assert json.loads(training.live.news().text)["facts"]["epochs"][-1] == EPOCHS


def test_hostile_names_are_text(watch):
    data = make_data()
    names = (*HOSTILE[:3], "<img src=x onerror=alert(1)>")
    training, page = watch(
        Dataset("</script><script>alert(2)</script>", data.train, data.validation, None, names)
    )
    training.tell(1)
    status(page, "Epoch 1")
    assert page.inner_text("h1").startswith("</script>")
    assert page.locator("img").count() == 0
