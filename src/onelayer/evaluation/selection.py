"""Selection of one of M settings, without the test split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.errors import DivergedError, InputError, unknown_name
from onelayer.evaluation.statistics import check_accuracies, student_quantile, wilson_interval
from onelayer.records import COUNT, SHARE, check_arrays
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.hyperparameters import OPTIONS, Hyperparameters
from onelayer.training.run import Run

Rule = Literal["best", "1se"]
RULES: tuple[str, ...] = get_args(Rule)


@dataclass(frozen=True)
class Selection:
    """The setting that `rule` chose, the best one, and the statistics of all M.

    `means` and `standard_errors` are (M,), `intervals` (M, 2) at 95 %; all three are NaN for a
    setting that diverged. `within` (M,) marks those within one standard error of the best.

    Raises
    ------
    InputError
        If the rule is unknown or the shapes do not match.
    """

    rule: str
    chosen: int
    best: int
    means: Annotated[NDArray[np.float64], "(M,)", SHARE]
    standard_errors: Annotated[NDArray[np.float64], "(M,)", COUNT]
    intervals: Annotated[NDArray[np.float64], "(M, 2)"]
    within: Annotated[NDArray[np.bool_], "(M,)"]

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown_name("selection rule", str(self.rule), RULES)
        M = len(self.means)
        if not (0 <= self.chosen < M and 0 <= self.best < M):
            raise InputError(f"settings {self.chosen} and {self.best} chosen of {M}")
        check_arrays(self)

    @property
    def informed(self) -> bool:
        """Whether there was an accuracy to choose by."""
        return not np.isnan(self.means[self.chosen])


def choose(
    run: Run,
    cross_validation: CrossValidation | None = None,
    rule: str = "best",
    models: Sequence[int] | None = None,
) -> Selection:
    """Choose one of the `models` of a run by cross-validation, or else by its validation split.

    A model that diverged in the run is never chosen. Without any accuracy (no validation split, or
    all diverged), the first model that did not diverge is chosen: see `informed`. The indices in
    the selection are those in `models`, by default all.
    """
    models = list(range(len(run.settings)) if models is None else models)
    settings = [run.settings[model] for model in models]
    sound = np.array([not run.stopped[model] for model in models])
    if cross_validation is None:
        values = run.final("validation_accuracy")[None, models]
        samples = run.training.get("validation_samples")
    else:
        values, samples = cross_validation.accuracy[:, models], cross_validation.n_held_out
    values = np.where(sound, values, np.nan)
    if not np.isnan(values).any(axis=0).all():
        return select(values, settings, rule, samples)
    unknown, first = np.full(len(sound), np.nan), int(np.argmax(sound))
    intervals = np.stack([unknown, unknown], axis=1)
    return Selection(rule, first, first, unknown, unknown, intervals, np.zeros(len(sound), bool))


def check_choice(run: Run, models: Sequence[int] | None = None) -> None:
    """Raise DivergedError if every one of the `models` of a run diverged: there is no choice."""
    models = range(len(run.settings)) if models is None else models
    if all(run.stopped[model] for model in models):
        first = models[0]
        raise DivergedError(
            f"every setting diverged, {run.labels[first]} in {run.stopped[first]}, so none was "
            "chosen; expected smaller learning rates or --scaling standardise"
        )


def simplicity(setting: Hyperparameters) -> tuple[float, float]:
    """Return a sort key, least for the simplest setting: larger l2, then smaller learning rate.

    Both keep the weights smaller.
    """
    return -setting.l2, setting.learning_rate


def edges_of(settings: Sequence[Hyperparameters], chosen: Hyperparameters) -> list[str]:
    """Return a note for each of λ and η whose chosen value is the smallest or largest tried.

    The smallest λ is not noted if it is 0.

    Examples
    --------
    >>> edges_of(onelayer.grid(l2=[0.01, 0.1, 1]), onelayer.Hyperparameters(l2=0.01))
    ['λ=0.01 is the smallest of 3 that were tried: the best may be smaller']
    """
    told = []
    for name in ("l2", "learning_rate"):
        values, own = sorted({getattr(setting, name) for setting in settings}), OPTIONS[name]
        value, label = getattr(chosen, name), own.label.format(getattr(chosen, name))
        if len(values) > 1 and value in (values[0], values[-1]) and value > 0:
            side = "smallest" if value == values[0] else "largest"
            told.append(
                f"{label} is the {side} of {len(values)} that were tried: the best may be "
                f"{side.removesuffix('st')}r"
            )
    return told


def select(
    scores: ArrayLike,
    settings: Sequence[Hyperparameters],
    rule: str = "best",
    samples: int | None = None,
    *,
    accuracies: bool = True,
) -> Selection:
    """Choose one of M settings by their validation accuracies (R, M) on R folds.

    "best" is the largest mean, the first of equals. "1se" is the simplest setting (see
    `simplicity`) of all within one standard error of the best: a difference that may be chance is
    not worth a more complex model (Breiman et al. 1984). With one fold the standard error is the
    binomial one of `samples` samples and the interval Wilson's; with more they come from the spread
    of the folds, equation (S4). A setting with a NaN on any fold is never chosen. Scores that are
    not `accuracies`, such as log-likelihoods, have neither: only "best" can rank them.

    Raises
    ------
    InputError
        If the rule is unknown or needs accuracies, an accuracy is not from 0 to 1, there is not one
        setting for each column, or one fold comes without `samples`; DivergedError, a kind of
        InputError, if every setting diverged.
    """
    if rule not in RULES:
        raise unknown_name("selection rule", rule, RULES)
    if rule != "best" and not accuracies:
        raise InputError(f'selection rule "{rule}" of other scores; expected accuracies or "best"')
    values = check_accuracies(scores) if accuracies else np.asarray(scores, dtype=np.float64)
    R, M = values.shape
    if len(settings) != M:
        raise InputError(f"{len(settings)} settings for {M} columns, expected one for each")
    means = values.mean(axis=0)
    if np.isnan(means).all():
        raise DivergedError("every setting diverged; expected smaller learning rates")
    if not accuracies:
        errors, intervals = np.full(M, np.nan), np.full((M, 2), np.nan)
    else:
        errors, intervals = _of_folds(values) if R > 1 else _of_samples(means, samples)
    best = int(np.nanargmax(means))
    within = means >= means[best] - errors[best]
    near = np.flatnonzero(within).tolist()
    chosen = best if rule == "best" else min(near, key=lambda m: simplicity(settings[m]))
    return Selection(rule, chosen, best, means, errors, intervals, within)


def _of_folds(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return standard errors (M,) and t-intervals (M, 2), cut to [0, 1]: equation (S4)."""
    R = len(values)
    means, errors = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(R)
    width = student_quantile(R - 1) * errors
    return errors, np.clip(np.stack([means - width, means + width], axis=1), 0, 1)


def _of_samples(
    shares: NDArray[np.float64], samples: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return binomial standard errors (M,) and Wilson's intervals (M, 2) of shares."""
    if samples is None or samples < 1:
        raise InputError(f"samples is {samples}; one fold needs the number of its samples")
    errors = np.sqrt(shares * (1 - shares) / samples)
    return errors, np.array([wilson_interval(share, samples) for share in shares])
