"""A few cases of the fuzzer of stored folders, which `make fuzz` runs by the thousand."""

import signal
import warnings

import pytest

import fuzz_records
from fuzz_readers import prepare


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
def test_edited_folders_open_or_say_why_not_in_one_line(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGALRM)
    put_back = fuzz_records.leave_out_pixels(drawn=False)
    monkeypatch.chdir(tmp_path)
    try:
        with warnings.catch_warnings():
            prepare()
            layout = fuzz_records.lay_out(tmp_path)
            came = [fuzz_records.run_case(seed, layout, tmp_path) for seed in range(30)]
    finally:
        put_back()
        signal.signal(signal.SIGALRM, handler)
    assert [case for case in came if case[1] not in ("fine", "InputError")] == []
    assert {outcome for _, outcome in came} == {"fine", "InputError"}
