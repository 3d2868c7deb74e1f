"""Checks of functions: asked wherever they run, judged here, with partial credit by diagnosis."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onelayer.experiments.complaints import plain_words
from onelayer.model.doctor.diagnosis import DISAGREE_IN_L2, DISAGREE_IN_N, Checked, judge
from onelayer.model.doctor.questions import QUESTIONS, Answer, ask_all
from onelayer.model.doctor.roles import EXAMPLES, ROLES, find_functions
from onelayer.model.doctor.slips import Finding
from onelayer.model.doctor.taking import TAKE
from onelayer.model.gradient_check import relative_errors
from onelayer.teaching.course import CheckSpec

_LAWS = "L"  # codes of what no tolerance excuses: an answer that varies, an argument written to
_FOLLOW = (DISAGREE_IN_L2.code, DISAGREE_IN_N.code)  # of a mistake in one of two functions


@dataclass(frozen=True)
class CheckResult:
    """What a check gave: points, codes of the diagnoses, and sentences for the student.

    `errors` are the relative errors of ∂J/∂W, row by row, where a gradient is wrong.
    """

    name: str
    kind: str
    points: float
    max_points: float
    visibility: str
    codes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    errors: tuple[tuple[float, ...], ...] = ()


def judge_functions(
    checks: Sequence[CheckSpec],
    functions: Mapping[str, Callable[..., Any]],
    *,
    seed: int = 0,
    half: bool = False,
) -> list[CheckResult]:
    """Return the results of checks of functions, which are found by their names.

    They are asked at points drawn from `seed`; `half` tells that the cost has ½λ Σ W².
    """
    wanted = {check.kind for check in checks} | {"cost"}
    found = {role: each for role, each in find_functions(functions).items() if role in wanted}
    answers = ask_all(found, seed=seed)
    if half:
        answers = [replace(answer, l2=answer.l2 / 2) for answer in answers]
    verdicts = judge(answers, half=False).checked if answers else ()
    by_role: dict[str, list[tuple[Answer, Checked]]] = {}
    for answer, verdict in zip(answers, verdicts, strict=True):
        by_role.setdefault(answer.role, []).append((answer, verdict))
    return [_judge_role(check, by_role.get(check.kind, []), functions) for check in checks]


def judge_here(
    kind: str, functions: Mapping[str, Any], points: float = 1, half: bool = False, **rest: Any
) -> CheckResult:
    """Return the result of one check of functions of this process, such as those of a notebook.

    `functions` are names and values, as globals() gives them; `half` tells that the cost has
    ½λ Σ W²; `rest` are fields of CheckSpec.

    Raises
    ------
    InputError
        If the kind is unknown or a field is out of range.

    Examples
    --------
    >>> def softmax(s):
    ...     e = np.exp(s - s.max(axis=0))
    ...     return e / e.sum(axis=0)
    >>> judge_here("softmax", {"softmax": softmax}, points=2).points
    2.0
    """
    with plain_words(CheckSpec, "check: "):
        check = CheckSpec(kind=kind, points=points, **rest)
    named = {name: value for name, value in functions.items() if callable(value)}
    return judge_functions([check], named, half=half)[0]


def result_of(
    check: CheckSpec, share: float, codes: Iterable[str] = (), lines: Iterable[str] = ()
) -> CheckResult:
    """Return the result of a check of which this share is right."""
    return CheckResult(
        check.name,
        check.kind,
        round(share * check.points, 10),
        check.points,
        check.visibility,
        tuple(codes),
        tuple(lines),
    )


def _judge_role(
    check: CheckSpec, judged: Sequence[tuple[Answer, Checked]], functions: Mapping[str, Any]
) -> CheckResult:
    """Return the result of all functions of a kind; the worst of them counts."""
    if not judged:
        return result_of(check, 0.0, lines=[_not_found(check.kind, functions)])
    results = [_judge_one(check, *each) for each in judged]
    worst = min(results, key=lambda result: result.points)
    lines = dict.fromkeys(line for result in results for line in result.lines)
    codes = dict.fromkeys(code for result in results for code in result.codes)
    return replace(worst, lines=tuple(lines), codes=tuple(codes))


def _not_found(kind: str, functions: Mapping[str, Any]) -> str:
    """Return which function was looked for, and which there are."""
    usual = next((name for name in EXAMPLES if kind in find_functions({name: len})), "")
    looked = f" such as {usual}" if usual else ""
    there = ", ".join(functions) or "none"
    return f"no function for the {ROLES[kind].title} was found{looked}; defined: {there:.200}"


def _judge_one(check: CheckSpec, answer: Answer, verdict: Checked) -> CheckResult:
    close = _within(check, answer)
    faults = [each for each in verdict.findings if each.fault]
    if close:
        faults = [fault for fault in faults if fault.code.startswith(_LAWS)]
    faults = [fault for fault in faults if fault.code not in _FOLLOW] or faults
    if not faults:
        return result_of(check, 1.0, lines=[f"{answer.function}: right"])
    share = min(check.credit.get(fault.code, 0.0) for fault in faults)
    codes = dict.fromkeys(fault.code for fault in faults)
    result = result_of(check, share, codes, map(_line, faults))
    if verdict.found is None or verdict.right is None:
        return result
    errors = relative_errors(verdict.found[0], verdict.right[0], check.absolute)
    return replace(result, errors=tuple(map(tuple, errors.tolist())))


def _line(fault: Finding) -> str:
    """Return what a student reads: what is wrong and a hint, not the line that would be right."""
    found = f" Found: {fault.found}." if fault.found else ""
    return f"{fault.code}, {fault.where}: {fault.slip.sentence}{found} {fault.slip.hint}"


def _within(check: CheckSpec, answer: Answer) -> bool:
    """Whether every value at every point is within the tolerances of the check."""
    if answer.role not in TAKE:
        return False
    right_of = TAKE[answer.role][1]
    for question in QUESTIONS[answer.role]:
        given = answer.of(question)
        for name, right in right_of(answer.points[question]).items():
            if name == "db" and answer.no_bias:
                continue
            room = check.absolute + check.relative * np.abs(right)
            value = given.get(name)
            if value is None or not (np.abs(value - right) <= room).all():
                return False
    return True
