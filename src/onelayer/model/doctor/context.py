"""The context of each function under test: the formulas of the others in the submission."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.model.doctor.functions import judge_descent
from onelayer.model.doctor.laws import law_of_answers
from onelayer.model.doctor.matching import (
    Match,
    explain,
    explain_gradient,
    formulas,
    relative_distance,
)
from onelayer.model.doctor.numerical import OTHER_COST, judge_numerical
from onelayer.model.doctor.points import Point
from onelayer.model.doctor.questions import Answer
from onelayer.model.doctor.slips import CODES, Finding

Array = NDArray[Any]

WRONG_COST = CODES["C03"]
COST_INFINITE = CODES["C04"]


@dataclass(frozen=True)
class Context:
    """The formulas of costs and gradients, by function; None where no formula was found.

    Costs with λ come first; `cost_has_l2` says whether there is one. `columns` says whether the
    samples are columns, None if unknown.
    """

    costs: dict[str, Match | None]
    gradients: dict[str, dict[str, Match | None]]
    columns: bool | None
    cost_has_l2: bool

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Context":
        """Return the context of these answers."""
        priced = sorted((each for each in answers if has_cost(each)), key=lambda each: not each.l2)
        costs = {each.function: explain_cost(each) for each in priced}
        gradients = {
            each.function: _explain_gradient(each)
            for each in answers
            if each.role == "gradient" and not list(law_of_answers(each))
        }
        sides = [each.columns for each in answers if each.columns is not None]
        has_l2 = any(each.l2 for each in priced)
        return cls(costs, gradients, next(iter(sides), None), has_l2)

    @property
    def cost(self) -> Match | None:
        """The formula of the first cost, None if there is no cost or no formula was found."""
        return next(iter(self.costs.values()), None)

    def judge_numerical(self, answer: Answer) -> tuple[list[Finding], float]:
        """Judge a numerical gradient by the submission's own cost, right or wrong."""
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
        """Judge a descent by the submission's own gradient, right or wrong."""
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


def _explain_gradient(answer: Answer) -> dict[str, Match | None]:
    """Return the formula of each part, None where no known formula gives it."""
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
    best = min(product(*known), key=lambda pair: len(set().union(*map(codes_of, pair))))
    return dict(zip(matches, best, strict=True))


def codes_of(match: Match | None) -> set[str]:
    """Return the codes of the slips in a formula."""
    return {slip.code for slip in match.slips} if match else set()


def has_cost(answer: Answer) -> bool:
    """Whether a cost was returned, alone or beside a gradient."""
    return "base" not in answer.errors and (answer.role == "cost" or "cost" in answer.of("base"))


def _costs(answer: Answer) -> list[tuple[Any, Array]]:
    name = "value" if answer.role == "cost" else "cost"
    return [
        (answer.points[question], np.asarray(answer.of(question)[name], float))
        for question in ("base", "twice", "free")
        if name in answer.of(question)
    ]


def explain_cost(answer: Answer) -> Match | None:
    """Return the formula of a cost, None if no known formula gives it."""
    found = explain(formulas(answer.points["base"].loss)["cost"], _costs(answer))
    return found[0] if found else None
