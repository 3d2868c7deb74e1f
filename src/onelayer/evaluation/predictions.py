"""Predictions for single rows, which are kept so that a report can be drawn without the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import BLOCK, Dataset, Split
from onelayer.errors import InputError
from onelayer.evaluation.confusions import block_rows, predict
from onelayer.evaluation.ensembles import majority_vote, mean_probabilities
from onelayer.evaluation.per_class import most_confident_mistakes
from onelayer.model.links import Link
from onelayer.model.losses import find_loss
from onelayer.records import SHARE
from onelayer.training.run import Run

MISTAKES = 24
MOST_SCORES = 50_000_000  # of a split; more are not kept
_TOGETHER = 250_000  # scores that become probabilities at once: they fit in the cache
_LARGEST = 1e30  # a larger score is as good as infinite, and overflows when shifted
_NUMBERS = 4_000_000  # probabilities of an ensemble that are computed at once

Array = NDArray[Any]


@dataclass(frozen=True)
class Scored:
    """The scores (N, K), float32, of one model on the rows of a split, and their labels y (N,).

    Raises
    ------
    InputError
        If they are not finite scores and labels of K classes.
    """

    scores: NDArray[np.float32]
    y: NDArray[np.intp]

    def __post_init__(self) -> None:
        S, y = self.scores, self.y
        if S.dtype != np.float32 or S.ndim != 2 or S.size == 0 or not np.isfinite(S).all():
            raise InputError(f"scores of {S.dtype}, shape {S.shape}; expected finite float32 ones")
        if y.shape != S.shape[:1] or y.dtype.kind != "i" or y.min() < 0 or y.max() >= S.shape[1]:
            raise InputError(f"labels of {y.dtype}, shape {y.shape}, for {S.shape} scores")

    def parts(self) -> Iterator["Scored"]:
        """Yield the rows in parts, whose probabilities take little memory."""
        rows = max(1, _TOGETHER // self.scores.shape[1])
        for first in range(0, len(self.y), rows):
            part = slice(first, first + rows)
            yield Scored(self.scores[part], self.y[part])

    def certainties(self, link: Link | None) -> NDArray[np.float64]:
        """Return the probabilities (N, K) by the link of the model's loss.

        Without a link: how far each score is above the score of the true class.
        """
        if link is not None:
            return link.probabilities(self.scores)
        S = self.scores.astype(np.float64)
        leads: NDArray[np.float64] = S - S[np.arange(len(S)), self.y][:, None]
        return leads


@dataclass(frozen=True)
class Mistakes:
    """The wrong test rows (n,) with the highest confidence, and their X (n, D) as stored.

    Raises
    ------
    InputError
        If there is not one row of X for each, or the full scale is not positive.
    """

    rows: NDArray[np.intp]
    X: Array
    full_scale: float

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.rows.shape != self.X.shape[:1] or self.rows.dtype.kind != "i":
            raise InputError(f"mistakes {self.rows.shape} with images of the shape {self.X.shape}")
        if self.X.dtype.kind not in "biuf" or not np.isfinite(self.X).all():
            raise InputError(f"images of {self.X.dtype}, expected finite numbers")
        if not 0 < self.full_scale < np.inf:
            raise InputError(f"full scale {self.full_scale}, expected a positive one")


@dataclass(frozen=True)
class Predictions:
    """The scores of the selected setting on test and validation, and the right rows of all.

    `right` (T, N) marks the N test rows that each of the T evaluated settings got right, in the
    order of the settings. Fields of a missing split are None or empty.

    Raises
    ------
    InputError
        If the parts do not match.
    """

    right: NDArray[np.bool_]
    test: Scored | None = None
    validation: Scored | None = None
    mistakes: Mistakes | None = None

    def __post_init__(self) -> None:
        if self.right.dtype != np.bool_ or self.right.ndim != 2:
            raise InputError(f"right is {self.right.dtype} of the shape {self.right.shape}")
        N = self.right.shape[1]
        if self.test is not None and len(self.test.y) != N:
            raise InputError(f"scores of {len(self.test.y)} test rows of {N}")
        if self.mistakes is not None and self.mistakes.rows.size:
            rows = self.mistakes.rows
            if self.test is None or rows.min() < 0 or rows.max() >= N:
                raise InputError(f"mistakes in rows {rows.min()} to {rows.max()} of {N}")


NO_PREDICTIONS = Predictions(np.zeros((0, 0), dtype=bool))


def keep_predictions(
    data: Dataset, run: Run, evaluated: Sequence[int], selected: int
) -> Predictions:
    """Return the predictions of the settings `evaluated` and `selected` on test and validation.

    The scores of a split are left out if there are more than MOST_SCORES.
    """
    validation = test = mistakes = None
    right = NO_PREDICTIONS.right
    if data.validation is not None and not run.stopped[selected]:
        validation = _score_if_few(run, data.validation, selected)
    if data.test is not None and len(evaluated):
        right = find_right(run, data.test, evaluated)
    if data.test is not None and selected in evaluated:
        test = _score_if_few(run, data.test, selected)
    if data.test is not None and test is not None and run.image_shape is not None:
        link = find_loss(run.settings[selected].loss).link
        rows = _find_mistakes(test, link)
        mistakes = Mistakes(rows, np.array(data.test.X[rows]), data.full_scale)
    return Predictions(right, test, validation, mistakes)


def _score_if_few(run: Run, split: Split, model: int) -> Scored | None:
    few = len(split) * len(run.class_names) <= MOST_SCORES
    return score(run, split, model) if few else None


def _find_mistakes(test: Scored, link: Link | None) -> NDArray[np.intp]:
    """Return the most confident mistakes of all rows: they are among those of the parts."""
    first, found, values = 0, [], []
    for part in test.parts():
        certainties = part.certainties(link)
        rows = most_confident_mistakes(certainties, part.y, MISTAKES)
        found.append(first + rows)
        values.append(certainties[rows].max(axis=1))
        first += len(part.y)
    order = np.argsort(-np.concatenate(values), kind="stable")[:MISTAKES]
    return np.asarray(np.concatenate(found)[order])


def score(run: Run, split: Split, model: int) -> Scored:
    """Return the scores of one model on a split; scores that are not finite become ±1e30."""
    blocks = [
        _bounded(run.scores(split.X[rows])[:, model]) for rows in split.blocks(block_rows(run))
    ]
    return Scored(np.concatenate(blocks).astype(np.float32), split.y.astype(np.intp))


def find_right(run: Run, split: Split, models: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask (T, N) of the rows of a split that each of T `models` gets right."""
    blocks = [predict(run, split.X[rows])[models] == split.y[rows] for rows in split.blocks(BLOCK)]
    return np.concatenate(blocks, axis=1)


def _bounded(S: Array) -> Array:
    bounded: Array = np.nan_to_num(np.clip(S, -_LARGEST, _LARGEST), nan=-_LARGEST)
    return bounded


@dataclass(frozen=True)
class Ensemble:
    """The test accuracies of an ensemble of models: see evaluation.ensembles.

    `members` is "settings" or "repeats", and `size` their number. There is a mean probability only
    if every member has probabilities.
    """

    members: str
    size: int
    mean_probability: Annotated[float, SHARE] | None
    majority_vote: Annotated[float, SHARE]

    def __post_init__(self) -> None:
        if self.members not in ("settings", "repeats") or self.size < 2:
            raise InputError(f"{self}: not an ensemble")


def ask_together(
    members: str, voters: Sequence[tuple[Run, Sequence[int]]], split: Split
) -> Ensemble:
    """Return the accuracies of an ensemble on a split, by mean probability and majority vote.

    `voters` are runs, each with its models that take part. In a tie, a model without probabilities
    counts as if all its probabilities were equal.
    """
    links = [find_loss(run.settings[model].loss).link for run, models in voters for model in models]
    size = sum(len(models) for _, models in voters)
    widest = max(run.weights.shape[0] * run.weights.shape[1] for run, _ in voters)
    K = voters[0][0].weights.shape[1]
    block = max(1, min(BLOCK, _NUMBERS // max(size * K, widest)))
    right = np.zeros(2, dtype=np.intp)
    for rows in split.blocks(block):
        S = np.concatenate([run.scores(split.X[rows])[:, models] for run, models in voters], axis=1)
        S = _bounded(S).swapaxes(0, 1)  # (V, rows, K)
        P = np.full(S.shape, 1 / K)
        for voter, link in enumerate(links):
            if link is not None:
                P[voter] = link.probabilities(S[voter])
        together = mean_probabilities(P).argmax(axis=1), majority_vote(S.argmax(axis=2), P)
        right += [np.count_nonzero(predicted == split.y[rows]) for predicted in together]
    mean, vote = (right / len(split)).tolist()
    return Ensemble(members, size, mean if all(links) else None, vote)
