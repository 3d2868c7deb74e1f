import hashlib
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from matplotlib.layout_engine import ConstrainedLayoutEngine

from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import Dataset
from onelayer.data.fetching import cache
from onelayer.data.formats import cifar
from onelayer.report import style
from onelayer.training.compiled_engine import CompiledEngine
from onelayer.training.numpy_engine import NumpyEngine

# The same examples everywhere, and no verdict on the speed of a machine that others use, too.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
# A shell that runs the tests in the background lets them ignore Ctrl-C, and so would all commands.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST_ID = 40
LAY_OUT = ConstrainedLayoutEngine.execute


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Give every parameter an id that is short and the same in every process.

    xdist refuses workers whose ids differ, and bytes may hold the time (gzip writes it). What is
    no number or short text is called by the name of its argument; pytest numbers those alike.
    """
    plain = isinstance(val, str) and val.isascii() and val.isprintable()
    if (isinstance(val, str | bytes) and not plain) or getattr(val, "__name__", "") == "<lambda>":
        return argname
    return val[:LONGEST_ID].rstrip() if plain else None


@pytest.fixture(scope="session", autouse=True)
def coarse_pictures():
    """Save figures at a low resolution and with parts where they fall: few tests look at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.LOOK, "savefig.dpi", 40)
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
        yield


@pytest.fixture
def laid_out(coarse_pictures, monkeypatch):
    """Put the parts of figures where a reader sees them."""
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", LAY_OUT)


@pytest.fixture
def stop_in(monkeypatch):
    """The step, counted from 1, in which a signal comes; so many are `taken`."""
    told = SimpleNamespace(step=0, number=signal.SIGINT, taken=0)
    for engine in (NumpyEngine, CompiledEngine):

        def stepped(self, *arguments, take=engine.step):
            take(self, *arguments)
            told.taken += 1
            if told.taken == told.step:
                signal.raise_signal(told.number)

        monkeypatch.setattr(engine, "step", stepped)
    return told


@pytest.fixture(scope="session")
def cifar10() -> Dataset:
    """The real data, fetched if necessary; tests that use it are marked `cifar10`."""
    try:
        return load_dataset("cifar10")
    except cache.NoSourceError as error:
        pytest.skip(str(error))


@pytest.fixture
def small_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Records (20, 3073) for each part, published as if they were CIFAR-10; an empty cache."""
    generator = np.random.default_rng(0)
    records = {}
    for part in cifar.PARTS:
        records[part] = generator.integers(0, 256, (20, cifar.RECORD), dtype=np.uint8)
        records[part][:, 0] %= 10
    digests = {part: hashlib.sha256(rows.tobytes()).hexdigest() for part, rows in records.items()}
    monkeypatch.setattr(cifar, "RECORDS", 20)
    monkeypatch.setattr(cifar, "DIGESTS", digests)
    monkeypatch.setattr(cache, "SOURCES", ())
    monkeypatch.setenv("ONELAYER_CACHE", str(tmp_path / "cache"))
    return records


@pytest.fixture(scope="session")
def browser():
    """Chromium, of the machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    program = next(found, None)
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()
