import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from onelayer.progress import progress_bar


@pytest.mark.parametrize("forced", [False, True])
def test_nothing_is_written_into_a_pipe(forced, monkeypatch, capfd):
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")  # asks rich for colours, not for a bar
    with progress_bar("Reading", 3) as update:
        update(2, "detail")
    assert capfd.readouterr() == ("", "")


def test_no_bar_is_shown_of_work_that_ends_soon(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("Reading", 3, after=60) as update:
        update(2, "detail")
    assert terminal.getvalue() == ""


def pieces(handle: int) -> Iterator[str]:
    """Yield what a terminal shows until its other end is closed."""
    with suppress(OSError):  # how Linux tells the end
        while piece := os.read(handle, 100_000):
            yield piece.decode(errors="replace")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("bytes_", "count"), [(False, "2/3"), (True, "2/3 bytes")])
def test_a_terminal_shows_title_count_and_detail(bytes_, count, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    outer, inner = os.openpty()
    with open(inner, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with progress_bar("Reading", 3, bytes_=bytes_) as update:
            update(2, "detail")
    shown = "".join(pieces(outer))
    os.close(outer)
    assert all(text in shown for text in ("Reading", count, "detail"))
