"""A few hundred cases of the fuzzer, which `make fuzz` runs by the hundred thousand."""

import signal
import warnings

import numpy as np
import pytest

import fuzz_readers
from fuzz_readers import lay_out, read, run_case
from onelayer.data.formats import cifar100


@pytest.fixture
def formats(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar100, "ROWS", cifar100.ROWS)  # put back what lay_out changes
    handler = signal.getsignal(signal.SIGALRM)
    with warnings.catch_warnings():
        fuzz_readers.prepare()
        yield lay_out(tmp_path)
    signal.signal(signal.SIGALRM, handler)


def test_every_format_reads_its_valid_file(formats):
    assert {name: read(form) for name, form in formats.items()} == dict.fromkeys(formats, "data")


def test_damaged_files_are_data_or_one_clear_error(formats):
    outcomes = [run_case(seed, formats)[1] for seed in range(400)]
    assert set(outcomes) == {"data", "InputError"}


def test_files_cut_short_anywhere_are_refused(formats):
    cut = 0
    for form in formats.values():
        for path in form.files[:3]:
            content = path.read_bytes()
            for end in np.unique(np.linspace(0, len(content) - 1, 14).astype(int)):
                path.write_bytes(content[:end])
                outcome = read(form)
                # A table of text is one up to each of its lines, a list of names likewise, and
                # all pixels may be there when only checksums, the end mark or padding are not.
                text = path.suffix in (".csv", ".tsv", ".txt")
                pixels = end >= len(content) - {".png": 24, ".bmp": 1}.get(path.suffix, 0)
                assert outcome in ("InputError", "data" if text or pixels else ""), (path, end)
                cut += 1
            path.write_bytes(content)
    assert cut >= 500


def test_the_fuzzer_reports_crashes_hangs_and_errors(formats, monkeypatch, tmp_path, capfd):
    def explode(path):
        kind = next(kinds)
        if kind == "hang":
            while True:
                pass
        if kind == "error":
            raise KeyError("unforeseen")
        raise fuzz_readers.InputError("two\nlines")

    kinds = iter(("hang", "error", "lines"))
    monkeypatch.setattr(fuzz_readers, "SECONDS", 0.1)
    form = fuzz_readers.Format(tmp_path, explode)
    for words in ("Hang", "KeyError: 'unforeseen'", "InputError of 2 lines"):
        assert words in read(form)


def test_a_worker_that_dies_is_a_failure_and_the_rest_goes_on(monkeypatch, tmp_path, capfd):
    def die(seed, formats):
        if seed == 3:
            fuzz_readers.os.kill(fuzz_readers.os.getpid(), signal.SIGKILL)
        return "made", "data"

    monkeypatch.setattr(cifar100, "ROWS", cifar100.ROWS)
    monkeypatch.setattr(fuzz_readers, "run_case", die)
    assert fuzz_readers.fuzz(0, 8, tmp_path / "kept") == 1
    assert "died with -9" in (tmp_path / "kept" / "3" / "outcome.txt").read_text()
    assert "8 cases, 1 failures" in capfd.readouterr().out
