"""The referee of the benchmarks, their rounds and their arithmetic; peers where installed."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import compare, summary
from benchmarks.contenders import CONTENDERS, LIMIT, OURS
from benchmarks.contenders.limit import OPERATIONS
from benchmarks.growth import Curve
from benchmarks.harness import Plan, Record, measure, operations
from benchmarks.plots import apart
from benchmarks.process import ContenderError, Process, Start
from benchmarks.work import Referee, TextbookEpoch, Work, pose

ROOT = Path(__file__).resolve().parent.parent
WORK = Work(models=3, shape=(200, 3072, 10), batch_size=10)
TEXTBOOK = "benchmarks.contenders.numpy_course:prepare"
FAULTY = '''
import dataclasses
import os
from benchmarks.work import TextbookEpoch

def textbook(problem):
    return TextbookEpoch(problem, range(len(problem.settings)))

def half_penalty(problem):
    """Descend with λW in place of 2λW; the cost is reported with λ all the same."""
    halved = [dataclasses.replace(s, l2=s.l2 / 2) for s in problem.settings]
    epoch, right = textbook(dataclasses.replace(problem, settings=halved)), problem.l2
    def run():
        outcome = epoch()
        for split in ("train", "validation"):
            pairs = zip(outcome[split + "_loss"], outcome[split + "_cost"])
            outcome[split + "_cost"] = [loss + 2 * (cost - loss) for loss, cost in pairs]
        return outcome
    return run

def dropped_batch(problem):
    epoch = textbook(problem)
    epoch._batches.pop()
    return epoch

def no_validation(problem):
    epoch = textbook(problem)
    return lambda: {name: v for name, v in epoch().items() if name.startswith("train")}

def one_model_for_all(problem):
    epoch = TextbookEpoch(problem, [0])
    return lambda: {name: v * len(problem.settings) for name, v in epoch().items()}

def raises(problem):
    raise RuntimeError("no such luck")

def second_epoch_raises(problem):
    epoch, turns = textbook(problem), iter([True])
    return lambda: epoch() if next(turns, False) else 1 / 0

def dies(problem):
    os._exit(3)
'''
FAULTS = {
    "half_penalty": "of model 3",
    "dropped_batch": "loss of model",
    "no_validation": "validation_loss: 0 values",
    "one_model_for_all": "of model 2",
}


@pytest.fixture(scope="module")
def problem():
    return pose(WORK)


@pytest.fixture(scope="module")
def referee(problem):
    return Referee(problem)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """The module of contenders with planted faults, importable here and in child processes."""
    (tmp_path / "faulty_contenders.py").write_text(FAULTY, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty_contenders", raising=False)
    return importlib.import_module("faulty_contenders")


@pytest.mark.parametrize("contender", CONTENDERS[1:], ids=lambda contender: contender.name)
def test_every_contender_that_is_installed_does_the_work(contender, problem, referee):
    if not contender.installed:
        pytest.skip(f"{contender.needs} is not installed")
    module, function = contender.target.split(":")
    epoch = getattr(importlib.import_module(module), function)(problem)
    assert referee.objection(epoch()) == ""


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items())
def test_a_planted_fault_is_named(fault, reason, faulty, problem, referee):
    assert reason in referee.objection(getattr(faulty, fault)(problem)())


def test_an_outcome_that_is_no_number_is_refused(problem, referee):
    outcome = dict(TextbookEpoch(problem, range(3))())
    outcome["validation_cost"] = [np.nan] * 3
    assert "validation_cost of model 1: nan" in referee.objection(outcome)


def test_the_second_turn_goes_on_from_the_first(problem):
    module = importlib.import_module("benchmarks.contenders.ours")
    epoch, textbook = module.prepare(problem), TextbookEpoch(problem, range(3))
    for _ in range(3):
        found, expected = epoch(), textbook()
        np.testing.assert_allclose(found["train_cost"], expected["train_cost"], rtol=1e-4)


def test_of_a_large_stack_the_first_the_last_and_some_between_are_judged():
    referee = Referee(pose(Work(models=9, shape=(20, 5, 2), batch_size=10)))
    assert referee._models == [0, 2, 4, 6, 8]


def test_the_harness_times_the_right_contender_and_lists_the_others(faulty):
    names = ["dropped_batch", "raises", "dies", "second_epoch_raises"]
    starts = {name: Start(f"faulty_contenders:{name}") for name in names}
    starts |= {"right": Start(TEXTBOOK), "absent": Start("benchmarks.contenders.nobody:prepare")}
    record = measure(starts, [WORK], Plan(rounds=2, seconds=60, threads=1), lambda text: None)
    assert [(t["contender"], t["round"]) for t in record.turns] == [("right", 0), ("right", 1)]
    assert all(0 < t["seconds"] < 60 for t in record.turns)
    reasons = {fault["contender"]: fault["reason"] for fault in record.disqualified}
    assert set(reasons) == {*names, "absent"}
    assert "the textbook gives" in reasons["dropped_batch"]
    assert reasons["raises"] == "RuntimeError: no such luck"
    assert reasons["second_epoch_raises"].startswith("ZeroDivisionError")
    assert reasons["dies"] == "its process ended with status 3"
    assert reasons["absent"].startswith("ModuleNotFoundError")
    assert record.operations == {3: 4 * 2 * 200 * 3072 * 10 * 3}
    assert record.peak_bytes["right"] > 10_000_000


def test_a_contender_sits_out_when_its_seconds_are_spent():
    record = measure({"right": Start(TEXTBOOK)}, [WORK], Plan(9, 0.0, 1), lambda text: None)
    assert len(record.turns) == 3


def test_a_process_that_would_run_another_onelayer_is_refused(tmp_path):
    with pytest.raises(ContenderError, match="expected one below"):
        Process(Start(TEXTBOOK, tmp_path), threads=1)


def turns(models, **seconds):
    return [
        {"models": models, "round": count, "contender": name, "seconds": value}
        for name, values in seconds.items()
        for count, value in enumerate(values)
    ]


def test_the_summary_is_medians_and_ratios_of_them():
    of_limit = [2.0, 1.0, 4.0]  # seconds of the product; the work has a tenth of its operations
    measured = turns(4, limit=of_limit, ours=[0.4, 0.2, 0.9], peer=[1.2, 1.0, 0.9])
    rows = {row.contender: row for row in summary.summarise(measured, {4: OPERATIONS / 10})}
    limit, ours, peer = rows[LIMIT], rows[OURS], rows["peer"]
    assert (limit.median, limit.to_limit) == (pytest.approx(0.2), 1)
    assert (ours.median, ours.minimum, ours.maximum, ours.rounds) == (0.4, 0.2, 0.9, 3)
    assert ours.to_limit == pytest.approx(2)
    assert peer.to_limit == pytest.approx(5)
    assert peer.to_ours == pytest.approx(3)  # of 3, 5 and 1
    assert summary.product_rate(measured) == pytest.approx(OPERATIONS / 2)


def test_ratios_are_paired_by_the_rounds_that_both_have():
    assert summary.paired_ratio({0: 2.0, 2: 9.0, 3: 8.0}, {0: 1.0, 1: 5.0, 3: 2.0}) == 3
    assert summary.paired_ratio({0: 1.0}, {1: 1.0}) is None
    (row,) = summary.summarise(turns(1, peer=[1.0]), {1: 1})
    assert (row.to_limit, row.to_ours) == (None, None)


def test_the_operations_are_four_products():
    assert operations(Work(models=4), (10_000, 3072, 10)) == 4 * 2 * 10_000 * 3072 * 10 * 4


def test_the_tables_hold_the_ratios():
    rows = summary.summarise(turns(1, limit=[1.0], ours=[0.5]), {1: OPERATIONS / 10})
    assert "| us | 5.00 |" in summary.overview(rows, {LIMIT: "limit", OURS: "us"})
    assert "| us | 0.5000 | 0.5000 | 0.5000 | 1 | 5.00 | 1.00 |" in summary.details(
        rows, {OURS: "us"}, 1
    )


def test_the_exponent_of_a_power_law_is_found_at_its_large_end():
    values = (1, 2, 4, 8, 16, 32)
    curve = Curve("N", "", values, (9.0, 9.0, 9.0, *(3 * v**1.5 for v in values[3:])))
    assert curve.exponent == pytest.approx(1.5)
    np.testing.assert_allclose(curve.fitted()[1], [3 * v**1.5 for v in values[3:]])


def test_labels_are_moved_apart_and_no_further():
    assert apart([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    np.testing.assert_allclose(
        apart([0.1, 0.5, 0.5, 0.52], 0.1), [0.1, 0.406667, 0.506667, 0.606667], atol=1e-6
    )


@pytest.mark.parametrize(
    ("head", "base", "slower"),
    [(1.2, 1.0, True), (1.05, 1.0, False), (0.03, 0.015, False), (0.5, 1.0, False)],
    ids=["both thresholds", "below 10 %", "below 20 ms", "faster"],
)
def test_head_is_slower_only_beyond_both_thresholds(head, base, slower):
    record = Record(turns=turns(4, head=[head] * 3, base=[base] * 3))
    (verdict,) = compare.judge(record, [4])
    assert verdict.slower is slower
    assert verdict.ratio == pytest.approx(head / base)


@pytest.fixture
def repository(tmp_path):
    """A repository of one commit and a change that is not committed."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (folder / ".gitignore").write_text("*.so\n")
    (folder / "text").write_text("old")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    (folder / "text").write_text("new")
    (folder / "added").write_text("")
    (folder / "built.so").write_text("")
    return folder


def worktrees(repository):
    command = ["git", "-C", str(repository), "worktree", "list"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return len(done.stdout.splitlines())


def test_head_is_the_working_tree_and_base_the_revision(repository):
    with compare.checkouts("HEAD", repository) as folders:
        assert (folders["base"] / "text").read_text() == "old"
        assert (folders["head"] / "text").read_text() == "new"
        assert (folders["head"] / "added").exists()
        assert not (folders["head"] / "built.so").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_no_worktree_is_left_behind(repository, error):
    seen = []

    def interrupted():
        with compare.checkouts("HEAD", repository) as folders:
            seen.append((worktrees(repository), folders["base"].parent))
            raise error

    with pytest.raises(error):
        interrupted()
    ((count, temporary),) = seen
    assert (count, worktrees(repository)) == (2, 1)
    assert not temporary.exists()


def test_an_unknown_revision_leaves_nothing_behind(repository):
    with (
        pytest.raises(subprocess.CalledProcessError),
        compare.checkouts("no-such-revision", repository),
    ):
        pass
    assert worktrees(repository) == 1
