"""The exact solver on a stack: models of the same rows and the same loss are one problem."""

from collections.abc import Sequence

import numpy as np

from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import SampleWeights
from onelayer.data.scaling import Scaling
from onelayer.errors import InputError
from onelayer.model.losses import LOSSES, find_loss
from onelayer.training.exact.axes import ROWS, principal_axes
from onelayer.training.exact.lbfgs import MEMORY
from onelayer.training.exact.problem import Problem
from onelayer.training.exact.solve import Solution, join_solutions, solve
from onelayer.training.hyperparameters import Hyperparameters


def check_solvable(settings: Sequence[Hyperparameters]) -> None:
    """Raise InputError for a setting without use in the exact solver, or a loss not smooth."""
    defaults = Hyperparameters()
    for setting in settings:
        for name, value in vars(setting).items():
            if name not in ("l2", "loss") and value != getattr(defaults, name):
                raise InputError(
                    f"{name} is {value}; the exact solver takes no steps: leave it out, or ask for "
                    "solver descent"
                )
    for loss in dict.fromkeys(setting.loss for setting in settings):
        if not find_loss(loss).smooth:
            smooth = " or ".join(name for name, each in LOSSES.items() if each.smooth)
            raise InputError(
                f"solver exact with the loss {loss}, which has no second derivative that leads to "
                f"its least cost; expected {smooth}, or solver descent"
            )


def bytes_to_solve(n_classes: int, n_features: int) -> int:
    """Return the memory in bytes that one model takes in the exact solver.

    Each parameter is in all pairs of steps and changes, in float32, and in ten float64 arrays; so
    is the second derivative by the biases. Scores are those of a block of rows.
    """
    pairs, arrays = 2 * 4 * MEMORY * (n_features + 1), 10 * 8 * (n_features + 1 + n_classes)
    return n_classes * (pairs + arrays + 4 * ROWS)


def solve_models(
    data: Dataset,
    settings: Sequence[Hyperparameters],
    scaling: Scaling,
    weights: SampleWeights | None,
    *,
    tolerance: float,
    in_float64: bool,
    memory: int,
) -> Solution:
    """Return the solutions of M models on the training split, all with one scaling.

    Each model trains only on the rows with a weight above 0; the axes are shared.
    """
    K, split = data.n_classes, data.train
    split.check_unchanged()
    values = np.ones((1, len(split))) if weights is None else weights.values
    groups = np.zeros(len(settings), np.intp) if weights is None else weights.groups
    losses = np.array([setting.loss for setting in settings])
    kinds = sorted({(int(group), str(loss)) for group, loss in zip(groups, losses, strict=True)})
    axes = None
    if len(kinds) > 1:
        every = np.flatnonzero((values > 0).any(axis=0))
        axes = principal_axes(split, every, scaling)
    parts, places = [], []
    for group, loss in kinds:
        own = np.flatnonzero((groups == group) & (losses == loss))
        l2 = [settings[model].l2 for model in own.tolist()]
        problem = Problem(
            split, values[group], scaling, find_loss(loss), K, axes=axes, memory=memory
        )
        solution, _ = solve(problem, l2, tolerance=tolerance, fast=not in_float64)
        parts.append(solution)
        places.append(own)
    return join_solutions(parts).take(np.argsort(np.concatenate(places)))
