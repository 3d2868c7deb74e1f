"""The diagnosis: answers of functions under test, judged without running any of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.formulas import HALF_DECAY
from onelayer.model.doctor.functions import (
    NOT_KNOWN,
    judge_accuracy,
    judge_descent,
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
    explain_gradient,
    formulas,
    relative_distance,
)
from onelayer.model.doctor.numerical import OTHER_COST, judge_numerical
from onelayer.model.doctor.patterns import ONLY_BIAS, ONLY_WEIGHTS, UNKNOWN, patterns
from onelayer.model.doctor.points import Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import Finding, Slip, declare
from onelayer.model.doctor.slopes import CLIPPED

Array = NDArray[Any]

DISAGREE_IN_L2 = declare(
    "C01",
    "cost and gradient disagree in λ",
    "The gradient is not the derivative of the cost that stands beside it: λ enters differently.",
    "Derive your own cost's penalty. Is it what your gradient adds?",
    "the gradient of the cost",
)
DISAGREE_IN_N = declare(
    "C02",
    "cost and gradient disagree in N",
    "The cost and the gradient are not divided by the same number.",
    "Which of the two is a mean over the samples?",
    "the gradient of the cost",
)
WRONG_COST = declare(
    "C03",
    "another number than the textbook's",
    "The cost is not the textbook's, by no formula that is known here.",
    "Compute the loss of two samples and the penalty by hand.",
    "J = (1/N) Σ l + λ Σ W²",
)
COST_INFINITE = declare(
    "C04",
    "infinite for a sure mistake",
    "With large scores the cost is infinite or NaN: the logarithm of an underflowed probability.",
    "log p is a difference of scores and of log Σ exp. What is the largest score for?",
    "l = log Σ exp(s) − s_y",
    advice=True,
)
FOLLOWS = declare(
    "F03",
    "follows from another function",
    "Its result is wrong, as it may be for calling a function that is.",
    "Mend that one first, then look again.",
    "the textbook's",
)
UNNAMED = (NOT_KNOWN, NOT_FINITE, WRONG_COST, OTHER_COST)
_ROUGH = 1e-4  # at large scores, where float32 loses most of its digits
_HALF = "your cost has ½λ Σ W², so λW is its derivative: judged by that"


@dataclass(frozen=True)
class Checked:
    """One function: what it is for, its largest relative error, and what was found in it.

    `found` and `right` are the two gradients (∂J/∂W, ∂J/∂b) of a gradient, else nothing.
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
        """Whether there is no fault; advice is none."""
        return not any(finding.fault for finding in self.findings)


@dataclass(frozen=True)
class Diagnosis:
    """What was found in the functions of a submission: faults and advice, each with its code.

    `notes` say what was assumed, and what of a submission could not be checked.
    """

    checked: tuple[Checked, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found, faults first."""
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

    `half` tells that the cost has ½λ Σ W²; by default a cost among the answers shows it.
    """
    notes: list[str] = []
    costs = [_explain_cost(answer) for answer in answers if _has_cost(answer)]
    if half is None:
        half = any(match and _codes(match) == {HALF_DECAY.code} for match in costs)
        notes += [_HALF] * half
    if half:
        answers = [replace(answer, l2=answer.l2 / 2) for answer in answers]
    context = Context.of(answers)
    checked = _followed([_check(answer, context) for answer in answers])
    return Diagnosis(tuple(checked), tuple(notes))


@dataclass(frozen=True)
class Context:
    """What functions show of each other, by their names.

    The formulas of costs and gradients where they were found, and whether the samples are columns,
    where that is known.
    """

    costs: dict[str, Match | None]
    gradients: dict[str, dict[str, Match | None]]
    columns: bool | None

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Context":
        """Return what these answers show."""
        costs = {each.function: _explain_cost(each) for each in answers if _has_cost(each)}
        gradients = {
            each.function: _explain_gradient(each)
            for each in answers
            if each.role == "gradient" and not list(law_of_answers(each))
        }
        sides = [each.columns for each in answers if each.columns is not None]
        return cls(costs, gradients, next(iter(sides), None))

    @property
    def cost(self) -> Match | None:
        """The formula of the first cost, if there is one and it was found."""
        return next(iter(self.costs.values()), None)

    def judge_numerical(self, answer: Answer) -> tuple[list[Finding], float]:
        """Judge a numerical gradient by the cost that stands beside it, be it right or wrong."""
        formula = formulas(answer.points["base"].loss)["cost"]
        choice = self.cost.choice if self.cost else formula.rights
        found, error = judge_numerical(answer, partial(formula.of, choice))
        blind = self.costs and not self.cost
        return [each for each in found if not (blind and each.slip is OTHER_COST)], error

    def judge_cost(self, answer: Answer) -> tuple[list[Finding], float]:
        """Judge a cost, by itself or returned beside a gradient."""
        point, value = _costs(answer)[0]
        error = relative_distance(value, formulas(point.loss)["cost"].right(point))
        match = self.costs[answer.function]
        where = f"{answer.function}: cost"
        if match is None:
            return [Finding(WRONG_COST, where)], error
        findings = [Finding(v.slip, where, v.formula) for v in match.wrong if v.slip]
        large = answer.of("large").get("value" if answer.role == "cost" else "cost")
        if not findings and large is not None and not np.isfinite(large):
            findings.append(Finding(COST_INFINITE, where))
        return findings, error

    def judge_descent(self, answer: Answer) -> tuple[list[Finding], float]:
        """Judge a descent by the gradient that stands beside it, be it right or wrong."""
        kinds = formulas(answer.points["base"].loss)
        found: dict[str, Match | None] = next(iter(self.gradients.values()), {})
        choices = {
            part: match.choice if (match := found.get(part)) else kinds[part].rights
            for part in ("dW", "db")
        }

        def gradient(point: Point) -> tuple[Array, Array]:
            dW, db = (kinds[part].of(choice, point) for part, choice in choices.items())
            return dW, db

        return judge_descent(answer, gradient)


def _followed(checked: Sequence[Checked]) -> Iterator[Checked]:
    """Yield what was found; what has no name may follow from a slip of another function."""
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
        yield from _disagreements(answer, of_W, context.cost)
    if all(match and not match.wrong for match in named.values()):
        yield from _right_but(answer, named)
    unnamed = [part for part, match in named.items() if match is None]
    if unnamed:
        yield from _look_like(answer, unnamed, named)


def _explain_gradient(answer: Answer) -> dict[str, Match | None]:
    """Return the formula of each part, None where none of the library gives it."""
    points, kinds = answer.points, formulas(answer.points["base"].loss)
    base, free = answer.of("base"), answer.of("free")
    return _agreeing(
        {
            part: explain_gradient(
                kinds[part],
                (points["base"], base[part]),
                (points["free"], free[part]) if part in free else None,
            )
            for part in ("dW", "db")
            if part in base
        }
    )


def _agreeing(matches: dict[str, list[Match]]) -> dict[str, Match | None]:
    """Return a formula for each part, such that together they need the fewest slips."""
    known: list[list[Match | None]] = [[*found] or [None] for found in matches.values()]
    best = min(product(*known), key=lambda pair: len(set().union(*map(_codes, pair))))
    return dict(zip(matches, best, strict=True))


def _codes(match: Match | None) -> set[str]:
    return {slip.code for slip in match.slips} if match else set()


def _merge(answer: Answer, named: dict[str, Match | None]) -> Iterator[Finding]:
    """Yield a finding for each slip, of both parts at once where both have it."""
    places: dict[Slip, dict[str, str]] = {}
    for part, match in named.items():
        for variant in match.wrong if match else ():
            if variant.slip:
                places.setdefault(variant.slip, {})[part] = variant.formula
    for slip, formulas_found in places.items():
        where = f"{answer.function}: {' and '.join(formulas_found)}"
        yield Finding(slip, where, "; ".join(dict.fromkeys(formulas_found.values())))


def _right_but(answer: Answer, named: dict[str, Match | None]) -> Iterator[Finding]:
    """Yield what is to be said of a gradient that is right at the base."""
    single = any(match and match.distance > EXACT for match in named.values())
    if single and answer.dtype == "float64":
        yield Finding(FLOAT32, answer.function, _loss_of_precision(answer))
    overflow = list(law_of_large_scores(answer))
    yield from overflow
    if "single" in answer.errors:
        yield Finding(FAILS_ALONE, answer.function, answer.errors["single"])
    if not overflow and not single:
        yield from _cut_at_large_scores(answer)


def _loss_of_precision(answer: Answer) -> str:
    point = answer.points["wide"]
    wide = answer.of("wide").get("dW")
    if wide is None:
        return ""
    off = relative_distance(wide, formulas(point.loss)["dW"].right(point))
    return f"relative error {off:.0e} at N, D, K = {', '.join(map(str, point.sizes))}"


def _cut_at_large_scores(answer: Answer) -> Iterator[Finding]:
    """Yield whether probabilities are cut, which shows only where the network is sure."""
    point, large = answer.points["large"], answer.of("large").get("dW")
    formula = formulas(point.loss)["dW"]
    off = 0.0 if large is None else relative_distance(large, formula.right(point))
    if off <= EXACT:
        return
    matches = explain(formula, [(point, large)], 1)
    cut = next((match for match in matches if match.slips == (CLIPPED,)), None)
    if cut:
        yield Finding(CLIPPED, f"{answer.function}, at large scores", cut.wrong[0].formula)
    elif off > _ROUGH:
        yield Finding(OVERFLOWS, answer.function, f"relative error {off:.0e} at scores of 1,000")


def _disagreements(answer: Answer, gradient: Match, cost: Match) -> Iterator[Finding]:
    """Yield in which idea the gradient is not the derivative of the cost."""
    for slip, place, beside in ((DISAGREE_IN_N, 2, 2), (DISAGREE_IN_L2, 4, 3)):
        mine, theirs = gradient.choice[place], cost.choice[beside]
        if mine.slip is not theirs.slip:
            yield Finding(slip, answer.function, f"{mine.formula} beside {theirs.formula}")


def _look_like(
    answer: Answer, unnamed: Sequence[str], named: dict[str, Match | None]
) -> Iterator[Finding]:
    """Yield what is known of parts that no formula gives: broken laws, patterns."""
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


def _has_cost(answer: Answer) -> bool:
    return "base" not in answer.errors and (answer.role == "cost" or "cost" in answer.of("base"))


def _costs(answer: Answer) -> list[tuple[Any, Array]]:
    name = "value" if answer.role == "cost" else "cost"
    return [
        (answer.points[question], np.asarray(answer.of(question)[name], float))
        for question in ("base", "twice", "free")
        if name in answer.of(question)
    ]


def _explain_cost(answer: Answer) -> Match | None:
    found = explain(formulas(answer.points["base"].loss)["cost"], _costs(answer))
    return found[0] if found else None


_JUDGES: dict[str, Callable[[Answer], tuple[list[Finding], float]]] = {
    "probabilities": judge_probabilities,
    "softmax": judge_probabilities,
    "accuracy": judge_accuracy,
    "pictures": judge_pictures,
}
