"""The diagnosis: verdicts on the answers of functions under test, without running them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.context import WRONG_COST, Context, codes_of, explain_cost, has_cost
from onelayer.model.doctor.formulas import HALF_DECAY
from onelayer.model.doctor.functions import (
    NOT_KNOWN,
    judge_accuracy,
    judge_forward,
    judge_normalisation,
    judge_pictures,
    judge_probabilities,
)
from onelayer.model.doctor.laws import (
    FAILS_ALONE,
    FLOAT32,
    NOT_FINITE,
    OVERFLOWS,
    RANDOM,
    REMEMBERS,
    broken_laws,
    law_of_answers,
    law_of_large_scores,
    laws_of_calls,
)
from onelayer.model.doctor.matching import (
    EXACT,
    Match,
    explain,
    formulas,
    relative_distance,
)
from onelayer.model.doctor.numerical import OTHER_COST
from onelayer.model.doctor.patterns import ONLY_BIAS, ONLY_WEIGHTS, UNKNOWN, patterns
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import CODES, Finding, Slip
from onelayer.model.doctor.slopes import CLIPPED

Array = NDArray[Any]

DISAGREE_IN_L2 = CODES["C01"]
DISAGREE_IN_N = CODES["C02"]
FOLLOWS = CODES["F03"]
UNNAMED = (NOT_KNOWN, NOT_FINITE, WRONG_COST, OTHER_COST)
_ROUGH = 1e-4  # a relative error too large for rounding
_HALF = "your cost has ½λ Σ W², so λW is its derivative: judged by that"


@dataclass(frozen=True)
class Checked:
    """The verdict on one function: its role, its largest relative error, and the findings.

    For a gradient, `found` and `right` are its (∂J/∂W, ∂J/∂b) and the right ones, else None.
    """

    function: str
    role: str
    error: float
    findings: tuple[Finding, ...] = ()
    assumed: str = ""
    found: tuple[Array, Array] | None = None
    right: tuple[Array, Array] | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no fault; advice is not a fault."""
        return not any(finding.fault for finding in self.findings)


@dataclass(frozen=True)
class Diagnosis:
    """The findings in the functions of a submission: faults and advice, each with its code.

    `notes` name assumptions, and the parts of a submission that could not be checked.
    """

    checked: tuple[Checked, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, faults first."""
        every = [finding for each in self.checked for finding in each.findings]
        return tuple(sorted(every, key=lambda finding: not finding.fault))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the faults, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings if finding.fault))

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return all(each.passed for each in self.checked)

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        rights = [each.function for each in self.checked if not each.findings]
        if rights:
            lines.append(f"right: {', '.join(rights)}")
        return "\n".join(lines)


def judge(answers: Sequence[Answer], half: bool | None = None) -> Diagnosis:
    """Return the diagnosis of the answers.

    With `half` the penalty is ½λ Σ W²; by default it follows from a cost among the answers.
    """
    notes: list[str] = []
    if half is None:
        costs = [explain_cost(each) for each in answers if has_cost(each) and each.l2]
        half = bool(costs) and all(codes_of(cost) == {HALF_DECAY.code} for cost in costs)
        notes += [_HALF] * half
    if half:
        answers = [replace(answer, l2=answer.l2 / 2) for answer in answers]
    context = Context.of(answers)
    checked = _followed([_check(answer, context) for answer in answers])
    return Diagnosis(tuple(checked), tuple(notes))


def _followed(checked: Sequence[Checked]) -> Iterator[Checked]:
    """Yield the verdicts; an error without a name may follow from a slip in another function."""
    named = [
        each.function
        for each in checked
        if any(finding.fault and finding.slip not in UNNAMED for finding in each.findings)
    ]
    for each in checked:
        unnamed = all(finding.slip in UNNAMED for finding in each.findings)
        if named and unnamed and each.findings:
            follows = Finding(FOLLOWS, each.function, f"a slip in {', '.join(named)}")
            yield replace(each, findings=(follows,))
        else:
            yield each


def _check(answer: Answer, context: Context) -> Checked:
    """Return the verdict on one function."""
    findings = list(law_of_answers(answer))
    plain = Checked(answer.function, answer.role, np.inf, tuple(findings), answer.assumed)
    if findings:
        return plain
    with np.errstate(all="ignore"):
        if answer.role == "gradient":
            return _check_gradient(answer, context)
        judges = _JUDGES | {
            "cost": context.judge_cost,
            "numerical": context.judge_numerical,
            "descent": context.judge_descent,
            "normalisation": partial(judge_normalisation, columns=context.columns),
        }
        found, error = judges[answer.role](answer)
    return replace(plain, findings=tuple(found), error=error)


def _check_gradient(answer: Answer, context: Context) -> Checked:
    base, kinds = answer.of("base"), formulas(answer.points["base"].loss)
    right = {part: kinds[part].right(answer.points["base"]) for part in ("dW", "db")}
    parts = [part for part in right if part in base]
    found = {part: base.get(part, right[part]) for part in right}
    error = max(relative_distance(base[part], right[part]) for part in parts)
    findings = list(laws_of_calls(answer))
    if not any(finding.slip in (RANDOM, REMEMBERS) for finding in findings):
        findings += _name_gradient(answer, context)
        if "cost" in base:
            findings += context.judge_cost(answer)[0]
    return Checked(
        answer.function,
        answer.role,
        error,
        tuple(findings),
        answer.assumed,
        (found["dW"], found["db"]),
        (right["dW"], right["db"]),
    )


def _name_gradient(answer: Answer, context: Context) -> Iterator[Finding]:
    named = context.gradients[answer.function]
    yield from _merge(answer, named)
    if context.cost and (of_W := named.get("dW")):
        yield from _disagreements(answer, of_W, context)
    if all(match and not match.wrong for match in named.values()):
        yield from _right_but(answer, named)
    unnamed = [part for part, match in named.items() if match is None]
    if unnamed:
        yield from _look_like(answer, unnamed, named)


def _merge(answer: Answer, named: dict[str, Match | None]) -> Iterator[Finding]:
    """Yield one finding for each slip, also if both parts have it."""
    places: dict[Slip, dict[str, str]] = {}
    for part, match in named.items():
        for variant in match.wrong if match else ():
            if variant.slip:
                places.setdefault(variant.slip, {})[part] = variant.formula
    for slip, formulas_found in places.items():
        where = f"{answer.function}: {' and '.join(formulas_found)}"
        yield Finding(slip, where, "; ".join(dict.fromkeys(formulas_found.values())))


def _right_but(answer: Answer, named: dict[str, Match | None]) -> Iterator[Finding]:
    """Yield findings on a gradient that is right at the base point, from the other points."""
    single = any(match and match.distance > EXACT for match in named.values())
    if single and answer.dtype == "float64":
        sizes = ", ".join(map(str, answer.points["wide"].sizes))
        found = f"relative error {_off(answer, 'wide'):.0e} at N, D, K = {sizes}"
        yield Finding(FLOAT32, answer.function, found)
    if "single" in answer.errors or _off(answer, "single") > _ROUGH:
        yield Finding(FAILS_ALONE, answer.function, answer.errors.get("single", ""))
    overflow = list(law_of_large_scores(answer))
    yield from overflow
    if not overflow and not single and _off(answer, "large") > EXACT:
        yield from _cut_at_large_scores(answer)


def _off(answer: Answer, question: str) -> float:
    """Return the relative error of ∂J/∂W at another point, 0 if there is no answer for it."""
    point, found = answer.points[question], answer.of(question).get("dW")
    right = formulas(point.loss)["dW"].right(point)
    return 0.0 if found is None else relative_distance(found, right)


def _cut_at_large_scores(answer: Answer) -> Iterator[Finding]:
    """Yield a finding if probabilities are clipped, which shows only at large scores."""
    point, off = answer.points["large"], _off(answer, "large")
    matches = explain(formulas(point.loss)["dW"], [(point, answer.of("large")["dW"])], 1)
    cut = next((match for match in matches if match.slips == (CLIPPED,)), None)
    if cut:
        yield Finding(CLIPPED, f"{answer.function}, at large scores", cut.wrong[0].formula)
    elif off > _ROUGH:
        yield Finding(OVERFLOWS, answer.function, f"relative error {off:.0e} at scores of 1,000")


def _disagreements(answer: Answer, gradient: Match, context: Context) -> Iterator[Finding]:
    """Yield a finding for each part of the formula where gradient and cost disagree."""
    assert context.cost is not None
    # The places of averages and penalties in the formulas of dW and of the cost.
    ideas = [(DISAGREE_IN_N, 2, 2), *[(DISAGREE_IN_L2, 4, 3)] * context.cost_has_l2]
    for slip, place, beside in ideas:
        mine, theirs = gradient.choice[place], context.cost.choice[beside]
        if mine.slip is not theirs.slip:
            yield Finding(slip, answer.function, f"{mine.formula} beside {theirs.formula}")


def _look_like(
    answer: Answer, unnamed: Sequence[str], named: dict[str, Match | None]
) -> Iterator[Finding]:
    """Yield findings on parts without a formula: patterns and broken laws."""
    point, base = answer.points["base"], answer.of("base")
    for part in unnamed:
        right = formulas(point.loss)[part].right(point)
        seen = list(patterns(base[part], right, point.W, f"{answer.function}: {part}"))
        other = next((named[p] for p in named if p != part), None)
        if not seen and other and not other.wrong:
            slip = ONLY_BIAS if part == "db" else ONLY_WEIGHTS
            seen = [Finding(slip, answer.function)]
        yield from seen or [Finding(UNKNOWN, f"{answer.function}: {part}")]
    yield from broken_laws(answer)


_JUDGES: dict[str, Callable[[Answer], tuple[list[Finding], float]]] = {
    "probabilities": judge_probabilities,
    "forward": judge_forward,
    "softmax": judge_probabilities,
    "accuracy": judge_accuracy,
    "pictures": judge_pictures,
}
