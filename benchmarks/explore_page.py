"""First paint and frames of the explorable page in Chromium, with 100 settings of 40 epochs.

    python -m benchmarks.explore_page

The results are made, not trained: the page of 100 models on pictures of CIFAR-10's size. A frame is
the time between two calls of requestAnimationFrame; at rest the browser draws one every 16.7 ms.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from onelayer import Dataset, Split, grid
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.report.explore import write_explore

SHAPE, CLASSES = (3, 32, 32), 10
FRAMES = """() => { window.frames_ = []; let last = performance.now();
  const next = (now) => {
    window.frames_.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next); }"""


def make_page(path: Path, epochs: int) -> None:
    """Write the page of 100 settings trained on a few made pictures for `epochs`."""
    generator = np.random.default_rng(0)
    parts = []
    for n in (50, 20, 1000):
        X = generator.integers(0, 256, (n, int(np.prod(SHAPE))), dtype=np.uint8)
        parts.append(Split(X, np.arange(n) % CLASSES))
    names = tuple(f"class {k}" for k in range(CLASSES))
    data = Dataset("made", *parts, names, image_shape=SHAPE)
    settings = grid(
        l2=np.geomspace(1e-5, 1, 10).tolist(), learning_rate=np.geomspace(1e-4, 0.1, 10).tolist()
    )
    options = ExperimentOptions(epochs=epochs, repeats=0, batch_size=25)
    write_explore(run_experiment(spec_of_grid("made", settings, options, {}), data), path, data)


def first_paint(page: Any, path: Path) -> list[float]:
    """Return the milliseconds to the first contentful paint, and until all views were drawn."""
    page.goto(path.as_uri())
    page.wait_for_timeout(300)
    names = ["first-contentful-paint", "drawn"]
    found = "(names) => names.map((name) => performance.getEntriesByName(name)[0].startTime)"
    return list(page.evaluate(found, names))


def frames(page: Any, act: Any) -> np.ndarray:
    """Return the milliseconds of the frames while `act` goes on."""
    page.evaluate("window.frames_.length = 0")
    act()
    return np.array(page.evaluate("window.frames_"))


def drag(page: Any, selector: str, steps: int = 60) -> None:
    """Drag the mouse over the middle of an element, from its left to its right."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.1 * box["width"], y)
    page.mouse.down()
    for step in range(steps):
        page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * step / steps), y)
        page.wait_for_timeout(16)
    page.mouse.up()


def slide_beside_pictures(page: Any) -> None:
    """Move a slider while the test pictures, which follow, are in view."""
    page.locator("#test-section").scroll_into_view_if_needed()
    for _ in range(8):
        page.evaluate(
            "const s = document.getElementById('slider-0');"
            "s.value = (+s.value + 1) % 10; s.dispatchEvent(new Event('input'))"
        )
        page.wait_for_timeout(100)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        sys.exit("needs Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "explore.html"
        make_page(path, asked.epochs)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        paints = [first_paint(page, path) for _ in range(asked.rounds)]
        print(f"the page: {path.stat().st_size / 1e6:.1f} MB; Chromium {browser.version}")
        for what, times in zip(
            ("first paint", "all drawn"), zip(*paints, strict=True), strict=True
        ):
            print(f"{what}: {np.median(times):.0f} ms (at most {max(times):.0f} of {len(times)})")
        page.evaluate(FRAMES)
        for number in range(3):
            page.locator("#grid button").nth(10 * number).click(modifiers=["Control"])
        acts = {
            "at rest": lambda: page.wait_for_timeout(1000),
            "brushing a chart": lambda: drag(page, "#loss-chart .u-over"),
            "dragging a slider": lambda: drag(page, "#slider-0"),
            "the same beside test pictures": lambda: slide_beside_pictures(page),
        }
        for name, act in acts.items():
            took = frames(page, act)
            print(f"{name}: {1000 / took.mean():.0f} frames/s, the longest {took.max():.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
