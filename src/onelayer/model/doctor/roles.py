"""Roles of the functions of a submission, from their names, also those usual in courses."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onelayer.methods_as_functions import methods_in

Function = Callable[..., Any]
OF_CLASSES = ("gradient", "cost", "probabilities", "forward", "accuracy")
Found = dict[str, list[tuple[str, Function]]]


@dataclass(frozen=True)
class Role:
    """A role of a function: a pattern of its names, and usual orders of its parameters."""

    name: str
    title: str
    names: str
    orders: tuple[str, ...]


ROLES = {
    role.name: role
    for role in (
        Role(
            "gradient",
            "gradient",
            r"(compute|get|calc(ulate)?)?(analytic(al)?)?(grads?|gradients?)(analytic(al)?)?"
            r"|(compute)?grads?withtorch|backward(pass)?|backprop(agation)?|(svm|softmax|hinge|bce|"
            r"cross_?entropy)?(loss|cost)(naive|vectori[sz]ed|andgrad(ient)?s?)|svmloss|softmaxloss"
            r"|(svm|hinge|softmax|bce)(grads?|gradients?)",
            (
                "X y P W l2",
                "X y P network l2",
                "X y W b l2",
                "X y P W b l2",
                "X y network l2",
                "W X y l2",
                "X y P W",
            ),
        ),
        Role(
            "cost",
            "cost",
            r"(compute|get|calc(ulate)?)?(total)?(cost|loss|crossentropy)(function)?",
            ("X y W b l2", "X y network l2", "P y W l2", "P y network l2", "P y", "X y W b"),
        ),
        Role(
            "numerical",
            "numerical gradient",
            r"(compute)?(grads?|gradients?)num(erical(ly)?)?(slow)?"
            r"|(compute)?num(erical)?_?(grads?|gradients?)(slow)?|(centred|centered|central|forward)"
            r"(difference|grad|gradient)s?",
            ("X y W b l2 h", "X y network l2 h", "X y W b l2", "X y network l2", "X y P W b l2 h"),
        ),
        Role(
            "probabilities",
            "probabilities",
            r"evaluateclassifier|applynetwork|predict(proba(bilities)?)?|"
            r"(compute)?prob(abilitie)?s",
            ("X W b", "X network", "X W"),
        ),
        Role(
            "forward",
            "forward pass",
            r"forward(pass)?|(compute|get)?(scores|logits)",
            ("X W b", "X network", "X W"),
        ),
        Role("softmax", "softmax", r"(stable)?softmax|(compute)?softmax", ("S",)),
        Role(
            "accuracy",
            "accuracy",
            r"(compute|get|calc(ulate)?)?(acc|accuracy)",
            ("X y W b", "X y network", "P y"),
        ),
        Role(
            "descent",
            "mini-batch descent",
            r"minibatch(gd|gradientdescent|sgd)|(mini)?batchgd|sgd|gradientdescent|train(network)?",
            (
                "X y descent W b l2",
                "X y descent network l2",
                "X y W b l2 descent",
                "X y W b l2 rate batch epochs",
                "X y network l2 rate batch epochs",
            ),
        ),
        Role(
            "normalisation",
            "normalisation",
            r"(pre)?process(ing|data|images)?|(normali[sz]e|standardi[sz]e)(data|images|inputs?)?",
            ("X",),
        ),
        Role(
            "pictures",
            "weight pictures",
            r"montage|(weight|template)(image|picture)s?|(get|make|compute|to)"
            r"(weight)?(image|picture)s?|(visuali[sz]e|show|plot)(weights?|templates?)",
            ("W",),
        ),
    )
}


EXAMPLES = (
    "ComputeGradients",
    "BackwardPass",
    "ComputeCost",
    "ComputeLoss",
    "ComputeGradsNum",
    "EvaluateClassifier",
    "ApplyNetwork",
    "ComputeAccuracy",
    "MiniBatchGD",
    "softmax_loss_vectorized",
    "svm_loss",
)


def find_functions(namespace: Mapping[str, Any]) -> Found:
    """Return the functions of each role, by their names; there may be several."""
    found: Found = {}
    for name, value in (dict(namespace) | methods_in(namespace)).items():
        if not callable(value) or inspect.isclass(value) or name.startswith("__"):
            continue
        of_class, _, plain = name.lower().replace("_", "").rpartition(".")
        for role in ROLES.values():
            if of_class and role.name not in OF_CLASSES:
                continue
            if re.fullmatch(role.names, plain):
                found.setdefault(role.name, []).append((name, value))
                break
    return found
