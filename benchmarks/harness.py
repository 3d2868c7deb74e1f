"""Rounds: every contender in a process of its own, one at a time, in turns."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import LIMIT
from benchmarks.process import ContenderError, Process, Start, processes
from benchmarks.work import Referee, Work, pose

PASSES = 4  # scores and gradient of an epoch, scores of two splits: 2·N·D·K·M operations each
_PAUSE = 0.05  # seconds after a turn: thread pools spin for a while before they sleep
_SPARED_ROUNDS = 3  # what a slow contender runs even when its seconds are spent


@dataclass(frozen=True)
class Plan:
    """How often and how long: `rounds` are timed, after one that is judged and not timed.

    Once the turns of a contender with one number of models add up to `seconds` it sits out, but
    never before its third round; the limit has a turn in every round.
    """

    rounds: int
    seconds: float
    threads: int


@dataclass
class Record:
    """All that was measured: `turns` in order, and who does not count and why.

    A turn has models, round, contender and what Process.turn gives. `operations` of the work is by
    number of models. `idle_shares` is the CPU time a contender took while others had their turn,
    as a share of that time.
    """

    turns: list[dict[str, Any]] = field(default_factory=list)
    operations: dict[int, int] = field(default_factory=dict)
    disqualified: list[dict[str, Any]] = field(default_factory=list)
    idle_shares: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)


def measure(starts: Mapping[str, Start], works: Sequence[Work], plan: Plan, say: Any) -> Record:
    """Judge, then time, the contenders `starts` on every work."""
    record = Record()
    begin = time.perf_counter()
    with processes(starts, plan.threads) as (running, failures):
        _refuse(record, None, failures)
        for work in works:
            fit = _prepare(running, work, record, say)
            _run_rounds(fit, work, plan, record, say)
        waited = time.perf_counter() - begin
        for name, process in running.items():
            _sum_up(name, process, waited, record)
    return record


def operations(work: Work, data_shape: tuple[int, int, int]) -> int:
    """Return the multiplications and additions of the work, the products alone."""
    N, D, K = data_shape
    return PASSES * 2 * N * D * K * work.models


def _prepare(
    running: Mapping[str, Process], work: Work, record: Record, say: Any
) -> dict[str, Process]:
    """Let each set up and run its first epoch; return those that did the work."""
    problem = pose(work)
    data = problem.data
    shape = (len(data.train), data.n_features, data.n_classes)
    record.operations[work.models] = operations(work, shape)
    referee = Referee(problem)
    fit = {}
    for name, process in running.items():
        objection = _judge(process, work, None if name == LIMIT else referee)
        if objection:
            _refuse(record, work.models, {name: objection})
            say(f"M = {work.models}: {name} is disqualified: {objection}")
        else:
            fit[name] = process
    return fit


def _judge(process: Process, work: Work, referee: Referee | None) -> str:
    """Return what there is to say against the contender's first epoch, or ""."""
    try:
        process.prepare(work)
        outcome = process.epoch()["outcome"]
    except ContenderError as error:
        return str(error)
    return referee.objection(outcome) if referee else ""


def _run_rounds(fit: dict[str, Process], work: Work, plan: Plan, record: Record, say: Any) -> None:
    spent = dict.fromkeys(fit, 0.0)
    for count in range(plan.rounds):
        for name in _order(list(fit), count):
            if name != LIMIT and spent[name] > plan.seconds and count >= _SPARED_ROUNDS:
                continue
            time.sleep(_PAUSE)
            try:
                turn = fit[name].turn()
            except ContenderError as error:
                _refuse(record, work.models, {name: str(error)})
                del fit[name]
                continue
            spent[name] += sum(turn["epochs"])
            where = {"models": work.models, "round": count, "contender": name}
            record.turns.append(where | turn)
        say(f"M = {work.models}: round {count + 1} of {plan.rounds}")


def _order(names: list[str], count: int) -> list[str]:
    """Let a different one begin each round, so that nobody always follows the same neighbour.

    Every second round runs backwards for the same reason.
    """
    start = count // 2 % max(len(names), 1)
    turned = names[start:] + names[:start]
    return turned[::-1] if count % 2 else turned


def _refuse(record: Record, models: int | None, objections: Mapping[str, str]) -> None:
    record.disqualified += [
        {"models": models, "contender": name, "reason": reason}
        for name, reason in objections.items()
    ]


def _sum_up(name: str, process: Process, waited: float, record: Record) -> None:
    """Note the process's memory and what it did while it should have slept."""
    try:
        record.peak_bytes[name] = process.memory()["peak_bytes"]
    except ContenderError:
        return
    own = sum(sum(turn["epochs"]) for turn in record.turns if turn["contender"] == name)
    record.idle_shares[name] = process.idle_cpu_seconds / max(waited - own, 1e-9)
