"""onelayer.train as a scikit-learn classifier."""

import numbers
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from onelayer.arguments import without_mask
from onelayer.data.columns import Columns, listed, row_numbers
from onelayer.data.dataset import Dataset, Split
from onelayer.data.sample_weights import check_sample_weights, class_weights
from onelayer.data.splitting import split_off
from onelayer.errors import InputError
from onelayer.model.losses import LOSSES, find_loss
from onelayer.option import options_of
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.log import Curves
from onelayer.training.loop import train
from onelayer.training.options import OF_EXACT
from onelayer.training.run import Run

# The parameters that the models of one pass may differ in; random_state stands for init_seed.
OF_A_MODEL = tuple(name for name in options_of(Hyperparameters) if name != "init_seed")
# Options of the training; here class_weight uses labels, and the seed is random_state.
OF_TRAINING = (
    "solver",
    "tolerance",
    "batch_size",
    "epochs",
    "order",
    "scaling",
    "dtype",
    "evaluate_every",
    "keep",
    "patience",
)
FOR_EXACT = (*OF_EXACT, "scaling", "dtype")
# Estimators of scikit-learn are fitted at their defaults and expected to come near the least cost
# on small tables of features of any scale; those of onelayer.train suit images.
DEFAULTS = {"momentum": 0.9, "epochs": 100, "scaling": "standardise"}
_SEEDS = 2**31


def _has_probabilities(classifier: "OneLayerClassifier") -> bool:
    """Return True if the loss, that of the last fit if any, has probabilities; else raise."""
    name = classifier.run_.settings[0].loss if hasattr(classifier, "run_") else classifier.loss
    if name in LOSSES and LOSSES[name].link is None:
        raise AttributeError(f'the loss "{name}" has no probabilities; use decision_function')
    return True


class OneLayerClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A one-layer network: onelayer.train, one model, by mini-batches or to its least cost.

    Parameters
    ----------
    l2, learning_rate, loss, schedule, warmup, momentum, nesterov, init, init_sd
        Of the model: see Hyperparameters.
    solver, tolerance, batch_size, epochs, order, dtype, evaluate_every, keep, patience
        Of the training: see TrainingOptions.
    scaling
        "standardise", "unit" (8-bit features are divided by 255) or "none".
    class_weight
        A mapping of class labels to weights, or "balanced".
    validation_fraction
        The share of the samples that `fit` holds out as validation split, unless it is given one.
    random_state
        An int is the seed of onelayer.train.
    threads
        All cores by default.

    Attributes
    ----------
    classes_
        The labels (K,), sorted.
    coef_, intercept_
        (K, D) and (K,) for features before scaling: scores are `X coef_ᵀ + intercept_`. For two
        classes they are the difference of both rows: (1, D) and (1,).
    history_, n_iter_
        The curves and the epochs of the last fit or partial_fit.
    run_
        The Run of the last fit: weights for scaled features, scaling, provenance, `save`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> onelayer.OneLayerClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        *,
        l2: float = 0.0,
        learning_rate: float = 0.01,
        loss: str = "cross-entropy",
        schedule: str = "constant",
        warmup: int = 0,
        momentum: float = 0.9,
        nesterov: bool = False,
        init: str = "normal",
        init_sd: float = 0.01,
        solver: str = "descent",
        tolerance: float = 1e-6,
        batch_size: int = 100,
        epochs: int = 100,
        order: str = "shuffled",
        scaling: str = "standardise",
        class_weight: Mapping[Any, float] | str | None = None,
        validation_fraction: float | None = None,
        evaluate_every: int = 1,
        keep: str = "last",
        patience: int | None = None,
        dtype: str = "float32",
        random_state: Any = None,
        threads: int | None = None,
    ) -> None:
        self.l2 = l2
        self.learning_rate = learning_rate
        self.loss = loss
        self.schedule = schedule
        self.warmup = warmup
        self.momentum = momentum
        self.nesterov = nesterov
        self.init = init
        self.init_sd = init_sd
        self.solver = solver
        self.tolerance = tolerance
        self.batch_size = batch_size
        self.epochs = epochs
        self.order = order
        self.scaling = scaling
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.evaluate_every = evaluate_every
        self.keep = keep
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.threads = threads

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> "OneLayerClassifier":
        """Train on X (N, D) and labels y (N,), weighed by `sample_weight` (N,).

        Curves, `patience` and keep="best" use X_val, y_val or the rows that `validation_fraction`
        holds out.

        Raises
        ------
        InputError
            If there is only one class, the model diverges, or onelayer.train refuses its arguments.
        """
        seed, data = seed_of(self), read(self, X, y)
        rows: Any = slice(None)
        if sample_weight is not None:
            check_sample_weights(sample_weight, 1, len(data.train))
        if X_val is not None:
            held_out = _as_split(self, *_check(self, X_val, y_val, reset=False))
            data = replace(data, validation=held_out)
        elif self.validation_fraction is not None:
            data, rows = _hold_out(data, self.validation_fraction, seed)
        run = train(
            data,
            [setting_of(self)],
            sample_weights=None if sample_weight is None else np.asarray(sample_weight)[rows],
            class_weight=self._class_weights(data.train.y),
            threads=self.threads,
            seed=seed,
            on_epoch=_say_nothing,
            **options_for(self),
        )
        return self._keep(run)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "OneLayerClassifier":
        """Continue from the current parameters with one pass over X and y, without a schedule.

        The first call needs all `classes`, and its X gives the scaling; a feature that is constant
        there is only centred. Each call begins with velocities of 0.

        Raises
        ------
        InputError
            If class_weight is "balanced", since later samples are not known; else as fit.
        """
        if self.class_weight == "balanced":
            raise InputError(
                'class_weight "balanced" in partial_fit: give a mapping, '
                "as the samples to come are not known"
            )
        first = _check_partial_fit_first_call(self, classes) and not hasattr(self, "run_")
        data = _dataset(self, *_check(self, X, y, reset=first))
        run = train(
            data,
            [replace(setting_of(self), schedule="constant", warmup=0)],
            sample_weights=None if sample_weight is None else np.asarray(sample_weight),
            class_weight=self._class_weights(data.train.y),
            threads=self.threads,
            start=None if first else self.run_,
            on_epoch=_say_nothing,
            seed=seed_of(self) if first else self.run_.training["seed"] + 1,
            **options_for(self)
            | {
                "solver": "descent",
                "epochs": 1,
                "evaluate_every": 0,
                "keep": "last",
                "patience": None,
            },
        )
        if first:  # a feature that was constant may vary in later samples
            factor = np.where(run.scaling.factor == 0, 1, run.scaling.factor)
            run = replace(run, scaling=replace(run.scaling, factor=factor))
        return self._keep(run)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the scores (N, K) of X (N, D); of two classes, their difference (N,)."""
        S = self._scores(X)
        return S if len(self.classes_) > 2 else S[:, 1] - S[:, 0]

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the label (N,) with the largest score, equation (4)."""
        places = self._scores(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[places]
        return labels

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logarithms of predict_proba, (N, K), finite where those underflow."""
        S = self._scores(X)
        link = find_loss(self.run_.settings[0].loss).link
        assert link is not None  # _has_probabilities
        return link.log_probabilities(S)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return probabilities (N, K) by the link of the loss; each row sums to 1.

        The softmax for cross-entropy, the sigmoids over their sum for binary-cross-entropy.
        """
        probabilities: NDArray[Any] = np.exp(self.predict_log_proba(X))
        return probabilities

    def _class_weights(self, y: NDArray[np.intp]) -> list[float] | None:
        """Return the weight of each class by the class indices y, None if all weigh the same."""
        if self.class_weight is None:
            return None
        weights: list[float] = class_weights(y, self.classes_.tolist(), self.class_weight).tolist()
        return weights

    def _scores(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        with np.errstate(invalid="ignore"):  # scikit-learn adds all numbers up, to find a NaN
            features = validate_data(self, _unmasked(X), reset=False)
        S: NDArray[Any] = self.run_.scores(features)[:, 0]
        return S

    def _keep(self, run: Run) -> "OneLayerClassifier":
        """Store the run and the attributes that follow from it."""
        if run.stopped[0]:
            raise InputError(
                f"learning_rate {self.learning_rate}: training stopped at {run.stopped[0]}, scores "
                "or cost were no longer finite; expected a smaller one"
            )
        self.run_, self.history_, self.n_iter_ = run, run.history, run.history.epochs
        # In float64: where a feature is far from 0, these two nearly cancel.
        W, b = run.weights[0] * run.scaling.factor, run.biases[0].astype(np.float64)
        b -= W @ run.scaling.shift
        two = len(b) == 2
        self.coef_, self.intercept_ = (W[1:] - W[:1], b[1:] - b[:1]) if two else (W, b)
        return self


def setting_of(classifier: OneLayerClassifier) -> Hyperparameters:
    """Return the setting of the classifier; for the exact solver only λ and the loss."""
    names = ("l2", "loss") if classifier.solver == "exact" else OF_A_MODEL
    return Hyperparameters(**{name: getattr(classifier, name) for name in names})


def options_for(classifier: OneLayerClassifier) -> dict[str, Any]:
    """Return the training options that all models of a pass share, without the seed.

    The exact solver gets no options of mini-batches, whose defaults differ here.
    """
    names = FOR_EXACT if classifier.solver == "exact" else OF_TRAINING
    return {name: getattr(classifier, name) for name in names}


def seed_of(classifier: OneLayerClassifier) -> int:
    """Return the seed: random_state itself, or drawn from it."""
    if isinstance(classifier.random_state, numbers.Integral):
        return int(classifier.random_state)
    return int(check_random_state(classifier.random_state).randint(_SEEDS))


def read(classifier: OneLayerClassifier, X: ArrayLike, y: ArrayLike) -> Dataset:
    """Return the samples as a training split; stores features and classes in the classifier.

    Warns of columns of a frame that number the rows: scikit-learn's estimators use all columns.
    """
    features, labels = _check(classifier, X, y, reset=True)
    _warn_of_row_numbers(features, getattr(classifier, "feature_names_in_", ()))
    classifier.classes_ = np.unique(labels)
    return _dataset(classifier, features, labels)


def _say_nothing(epoch: int, curves: Curves, models: range) -> None:
    """Show nothing during a fit, not even in a notebook, as scikit-learn does."""


def _check(
    classifier: OneLayerClassifier, X: ArrayLike, y: Any, *, reset: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.errstate(invalid="ignore"):  # scikit-learn adds all numbers up, to find a NaN
        features, labels = validate_data(classifier, _unmasked(X), _unmasked(y), reset=reset)
    check_classification_targets(labels)
    return features, labels


def _unmasked(values: Any) -> Any:
    """Return values with masked ones as missing values, which scikit-learn refuses."""
    return without_mask(values) if np.ma.is_masked(values) else values


def _warn_of_row_numbers(X: NDArray[Any], names: Sequence[str]) -> None:
    numbering, counting = row_numbers(X, names)
    if places := [*numbering, *counting]:
        columns = listed([str(names[place]) for place in places])
        warnings.warn(
            f"columns that seem to number the rows are used as features: {columns}; "
            "leave them out of X if they do",
            UserWarning,
            stacklevel=4,
        )


def _dataset(classifier: OneLayerClassifier, X: NDArray[Any], y: NDArray[Any]) -> Dataset:
    names = tuple(map(str, classifier.classes_))
    if len(names) < 2:
        raise InputError(f"only 1 class, {names[0]}; expected at least 2")
    full_scale = 255.0 if X.dtype == np.uint8 else 1.0  # the rule of docs/data.md
    features = getattr(classifier, "feature_names_in_", None)  # of a frame
    columns = None if features is None else Columns(tuple(features.tolist()))
    split = _as_split(classifier, X, y)
    return Dataset("X", split, None, None, names, full_scale, columns=columns)


def _as_split(classifier: OneLayerClassifier, X: NDArray[Any], y: NDArray[Any]) -> Split:
    """Return the samples with the class index of every label."""
    unknown = y[~np.isin(y, classifier.classes_)]
    if len(unknown):
        raise InputError(f"the label {unknown[0]} is not one of the classes {classifier.classes_}")
    return Split(X, np.searchsorted(classifier.classes_, y))


def _hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, NDArray[np.intp]]:
    """Return the data with a validation split, and the remaining training rows."""
    X, y = data.train.X, data.train.y
    parts = split_off(Split(np.arange(len(y))[:, None], y), fraction, seed)
    rest, held_out = (np.asarray(part.X, np.intp)[:, 0] for part in parts)
    train, validation = Split(X[rest], y[rest]), Split(X[held_out], y[held_out])
    return replace(data, train=train, validation=validation), rest
