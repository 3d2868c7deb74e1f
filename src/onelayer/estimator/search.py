"""A grid search that trains all settings on all folds in one pass."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils.metadata_routing import UNUSED, process_routing

from onelayer.arguments import check_type
from onelayer.data.dataset import Dataset
from onelayer.data.sample_weights import check_sample_weights, class_weights
from onelayer.errors import InputError, unknown_name
from onelayer.estimator.classifier import (
    OF_A_MODEL,
    OneLayerClassifier,
    options_for,
    read,
    seed_of,
    setting_of,
)
from onelayer.evaluation.selection import RULES, edges_of, select
from onelayer.model.losses import LOSSES, find_loss
from onelayer.training.checkpoint import Checkpoints, Spacing
from onelayer.training.cross_validation import cross_validate

SCORINGS = ("accuracy", "neg_log_loss")


class OneLayerSearchCV(GridSearchCV):  # type: ignore[misc]
    """GridSearchCV for a OneLayerClassifier, with the whole grid on all folds in one pass.

    One pass for each combination of the parameters that all models of a pass share, such as
    batch_size and scaling. A batch holds the same rows for every fold, without those that the fold
    holds out: see cross_validate. Attributes are those of GridSearchCV; mean_fit_time is a model's
    share of its pass, which also scores the held-out rows. `edges_` has a sentence for each of λ
    and η whose chosen value is the smallest or largest tried: a wider grid may have a better one.

    Parameters
    ----------
    estimator
        A OneLayerClassifier.
    param_grid, refit
        As in GridSearchCV; `refit` is True or False.
    cv
        A number of stratified folds, a splitter of scikit-learn, or an iterable of splits.
    scoring
        "accuracy" (also None) or "neg_log_loss", minus equation (6).
    select
        "best", or "1se": the simplest setting within one standard error of the best.
    folder, checkpoint
        The folder beside which checkpoints are kept, as often as `checkpoint` says (see train): a
        search that was killed goes on when the same fit is called again, with a number as the
        estimator's random_state. None are kept without a folder; a refit begins again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> rates = {"learning_rate": [1e-9, 0.1]}
    >>> search = onelayer.OneLayerSearchCV(onelayer.OneLayerClassifier(random_state=0), rates)
    >>> search.fit(X, y).best_params_
    {'learning_rate': 0.1}
    """

    # Requests are those of the classifier, the scorer and the splitter, as in GridSearchCV.
    __metadata_request__fit = {"sample_weight": UNUSED, "groups": UNUSED}  # noqa: RUF012
    return_train_score = False  # no parameter here; it tells GridSearchCV what to write

    def __init__(
        self,
        estimator: OneLayerClassifier,
        param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
        *,
        scoring: str | None = None,
        refit: bool = True,
        cv: Any = 5,
        select: str = "best",
        folder: str | Path | None = None,
        checkpoint: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.select = select
        self.folder = folder
        self.checkpoint = checkpoint

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> "OneLayerSearchCV":
        """Search, and train the chosen setting on all of X (N, D) and y (N,) if `refit`.

        `sample_weight` (N,) weighs samples in training and in the scores, `groups` (N,) go to the
        splitter. With metadata routing they go where they are requested, as in GridSearchCV.

        Raises
        ------
        InputError
            If a parameter of the search is not one of those above, every setting was stopped on
            some fold, cross_validate refuses its arguments, or the folder has checkpoints of
            another search.
        """
        self._check_parameters()
        reader = clone(self.estimator)
        data = read(reader, X, y)
        classes, labels = reader.classes_.tolist(), reader.classes_[data.train.y]
        in_fit, in_scores, groups = self._route(sample_weight, groups)
        own = _of_rows(in_fit, len(labels)), _of_rows(in_scores, len(labels))
        splitter = check_cv(self.cv, labels, classifier=True)
        splits = list(splitter.split(data.train.X, labels, groups))
        candidates = list(ParameterGrid(self.param_grid))
        models = [clone(self.estimator).set_params(**candidate) for candidate in candidates]
        self._check_models(models)
        with Checkpoints.hold(self.folder, self.checkpoint) as checkpoints:
            scores, seconds = self._score_all(models, data, classes, splits, own, checkpoints)
            self._choose(candidates, models, scores, seconds, len(splits[0][1]))
            if self.refit:
                self._refit(models[self.best_index_], X, labels, in_fit)
        return self

    def _score_all(
        self,
        models: Sequence[OneLayerClassifier],
        data: Dataset,
        classes: Sequence[Any],
        splits: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
        own: tuple[NDArray[Any], NDArray[Any]],
        checkpoints: Checkpoints,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores (M, R) of all models on all folds, and the seconds (M,) of each."""
        scores, seconds = np.empty((len(models), len(splits))), np.empty(len(models))
        for number, some in enumerate(_passes(models), 1):
            begin, first = time.perf_counter(), models[some[0]]
            weights, held_out = _weights(first.class_weight, data.train.y, classes, splits, *own)
            found = cross_validate(
                data,
                [setting_of(models[m]) for m in some],
                weights,
                held_out=held_out,
                threads=first.threads,
                seed=seed_of(first),
                folder=checkpoints.of(f"pass-{number}"),
                **options_for(first),
            )
            value = -found.loss if self.scoring == "neg_log_loss" else found.accuracy
            scores[some] = value.T
            seconds[some] = (time.perf_counter() - begin) / value.size
        return scores, seconds

    def _choose(
        self,
        candidates: list[dict[str, Any]],
        models: Sequence[OneLayerClassifier],
        scores: NDArray[np.float64],
        seconds: NDArray[np.float64],
        n_held_out: int,
    ) -> None:
        """Set the attributes that say what was tried, and which setting is chosen."""
        settings, accuracies = [setting_of(m) for m in models], self.scoring != "neg_log_loss"
        selection = select(scores.T, settings, self.select, n_held_out, accuracies=accuracies)
        self.best_index_ = selection.chosen
        self.edges_ = edges_of(settings, settings[selection.chosen])
        self._enter(candidates, scores, seconds)
        self.best_score_ = self.cv_results_["mean_test_score"][self.best_index_]
        self.best_params_ = candidates[self.best_index_]
        self.scorer_ = check_scoring(self.estimator, self.scoring)

    def _refit(self, model: OneLayerClassifier, X: Any, labels: Any, sample_weight: Any) -> None:
        begin = time.perf_counter()
        self.best_estimator_ = clone(model).fit(X, labels, sample_weight=sample_weight)
        self.refit_time_ = time.perf_counter() - begin
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _route(self, sample_weight: Any, groups: Any) -> tuple[Any, Any, Any]:
        """Return the weights in training, those in the scores, and the groups."""
        given = {"sample_weight": sample_weight, "groups": groups}
        given = {name: values for name, values in given.items() if values is not None}
        if not given or not get_config()["enable_metadata_routing"]:
            return sample_weight, sample_weight, groups
        routed = process_routing(self, "fit", **given)
        weights = (
            step.get("sample_weight") for step in (routed.estimator.fit, routed.scorer.score)
        )
        return *weights, routed.splitter.split.get("groups")

    def _check_parameters(self) -> None:
        if not isinstance(self.estimator, OneLayerClassifier):
            raise InputError(
                f"estimator is a {type(self.estimator).__name__}; expected a OneLayerClassifier: "
                "in a pipeline the search is the last step"
            )
        if self.scoring not in (None, *SCORINGS):
            raise InputError(
                f"scoring is {self.scoring!r}; expected {' or '.join(SCORINGS)}: one pass keeps no "
                "predictions, GridSearchCV has every other scorer"
            )
        check_type("folder", self.folder, str | Path | None)
        check_type("checkpoint", self.checkpoint, str)
        Spacing.parse(self.checkpoint)
        if not isinstance(self.refit, bool):
            raise InputError(f"refit is {self.refit!r}; expected True or False: see `select`")
        if self.select not in RULES:
            raise unknown_name("selection rule", str(self.select), RULES)
        if self.select == "1se" and self.scoring == "neg_log_loss":
            raise InputError('select="1se" goes by accuracies; leave out scoring="neg_log_loss"')

    def _check_models(self, models: Sequence[OneLayerClassifier]) -> None:
        for model in models:
            if model.validation_fraction is not None:
                raise InputError(
                    "validation_fraction in a search: the folds judge the models; leave it out"
                )
            if self.scoring == "neg_log_loss" and not find_loss(model.loss).log_loss:
                expected = '" or "'.join(name for name, loss in LOSSES.items() if loss.log_loss)
                raise InputError(
                    f'scoring="neg_log_loss" with the loss "{model.loss}"; expected "{expected}"'
                )

    def _enter(
        self,
        candidates: list[dict[str, Any]],
        scores: NDArray[np.float64],
        seconds: NDArray[np.float64],
    ) -> None:
        """Set cv_results_ from the scores (M, R) as GridSearchCV does."""
        self.multimetric_, self.n_splits_ = False, scores.shape[1]
        outcomes = [
            {"test_scores": score, "fit_time": spent, "score_time": 0.0}
            for row, spent in zip(scores, seconds, strict=True)
            for score in row
        ]
        self.cv_results_ = self._format_results(candidates, self.n_splits_, outcomes)


def _passes(models: Sequence[OneLayerClassifier]) -> list[list[int]]:
    """Return the indices of the models of each pass; they share all other parameters."""
    places: dict[str, list[int]] = {}
    for place, model in enumerate(models):
        shared = {k: v for k, v in model.get_params().items() if k not in OF_A_MODEL}
        places.setdefault(repr(shared), []).append(place)
    return list(places.values())


def _of_rows(sample_weight: ArrayLike | None, n_samples: int) -> NDArray[Any]:
    """Return the given weights (N,), or 1 for each row."""
    weights = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight)
    check_sample_weights(weights, 1, n_samples)
    return weights


def _weights(
    class_weight: Mapping[Any, float] | str | None,
    y: NDArray[np.intp],
    classes: Sequence[Any],
    splits: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    in_fit: NDArray[Any],
    in_scores: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of each row in the training and in the scores of each fold, (R, N) each."""
    counts = np.zeros((2, len(splits), len(y)))  # a splitter may name a row twice, or use masks
    for r, sides in enumerate(splits):
        for rows, side in zip(counts[:, r], sides, strict=True):
            np.add.at(rows, side, 1)
    training, held_out = counts
    weights = training * in_fit
    if class_weight is not None:
        weights *= [class_weights(y, classes, class_weight, rows)[y] for rows in training]
    return weights, held_out * in_scores
