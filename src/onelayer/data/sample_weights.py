"""Sample weights: how much each row counts for each model, by fold, resample or class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelayer.arguments import real_numbers
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError, unknown_name

Resampling = Literal["bootstrap", "poisson"]
MOST_WEIGHTS = 10**9  # of all folds, subsets or resamples together: a byte each
RESAMPLINGS: tuple[str, ...] = get_args(Resampling)


@dataclass(frozen=True)
class SampleWeights:
    """Weights w ≥ 0 of N samples for M models: model m has the row `groups[m]` of `values`.

    `values` is (G, N) of any real type: models of one fold share a row.
    """

    values: NDArray[Any]
    groups: NDArray[np.intp]

    def of(self, rows: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return the weights (M, B) of these samples."""
        weights: NDArray[Any] = self.values[:, rows][self.groups]
        return weights

    def of_models(self, models: slice | Sequence[int]) -> "SampleWeights":
        """Return the weights of some of the models."""
        return SampleWeights(self.values, self.groups[models])


def bootstrap_weights(
    n_samples: int, resamples: int, seed: int, kind: str = "bootstrap"
) -> NDArray[np.uint8]:
    """Return the counts (R, N) of each row in each resample; 0 for rows that are out of the bag.

    "bootstrap" draws N rows with replacement (Efron 1979, doi:10.1214/aos/1176344552). "poisson"
    draws each count alone, from Poisson(1), so the counts sum to N only on average, and those of a
    handful of rows may all be 0. With the same seed, more resamples begin with the fewer ones.

    Raises
    ------
    InputError
        If there are no rows or no resamples, far too many, or the kind is unknown.
    """
    if n_samples < 1 or resamples < 1:
        raise InputError(f"{resamples} resamples of {n_samples} rows: expected at least 1 of each")
    check_count("resamples", 1, resamples, n_samples)
    if kind not in RESAMPLINGS:
        raise unknown_name("kind of resampling", kind, RESAMPLINGS)
    counts = _draw(n_samples, kind, random_stream(seed, Stream.RESAMPLES))
    # uint8 is enough: a count above 255 has a probability of about 1e-507 a row.
    return np.array([next(counts) for _ in range(resamples)], np.uint8)


def check_count(what: str, count: int, times: int, rows: int) -> None:
    """Raise InputError if folds, subsets or resamples need more than MOST_WEIGHTS weights."""
    if count * times * rows > MOST_WEIGHTS:
        raise InputError(
            f"{count:,} {what}, drawn {times:,} times, of {rows:,} rows each are "
            f"{count * times * rows:,} weights; expected at most {MOST_WEIGHTS:,}"
        )


def _draw(
    n_samples: int, kind: str, generator: np.random.Generator
) -> Iterator[NDArray[np.integer]]:
    while True:
        if kind == "poisson":
            yield generator.poisson(1.0, n_samples)
        else:
            yield np.bincount(generator.integers(n_samples, size=n_samples), minlength=n_samples)


def class_weights(
    y: NDArray[np.intp],
    class_names: Sequence[Any],
    weights: str | Mapping[Any, float] | Sequence[float],
    counts: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the weight of each class (K,), so that `class_weights(…)[y]` are sample weights.

    "balanced" gives each of the K classes the weight N / (K n_k), where n_k is the number of its
    rows, as in scikit-learn: all classes then weigh the same, and a row weighs 1 on average.
    `counts` (N,) is the number of uses of each row, such as 0 in the fold that holds it out. A
    class without rows has the weight 0, and K does not count it.

    Other weights are used as given: a sequence in the order of the classes, or a mapping by name,
    where a class that is not named has the weight 1.

    Raises
    ------
    InputError
        If a name is unknown, or the weights are not K finite numbers from 0 up, one of them above
        0.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), ["cat", "dog"], "balanced")
    array([0.66666667, 2.        ])
    """
    if isinstance(weights, str):
        if weights != "balanced":
            raise unknown_name("class weights", weights, ["balanced"])
        sizes = np.bincount(y, counts, minlength=len(class_names))
        balanced = np.zeros(len(sizes))
        np.divide(sizes.sum(), np.count_nonzero(sizes) * sizes, out=balanced, where=sizes > 0)
        return balanced
    if isinstance(weights, Mapping):
        known = set(class_names)
        for name in weights:
            if name not in known:
                raise unknown_name("class", str(name), map(str, class_names))
        weights = [weights.get(name, 1.0) for name in class_names]
    values = real_numbers("class weights", weights).astype(np.float64)
    if values.shape != (len(class_names),):
        raise InputError(
            f"class weights of the shape {values.shape}, expected one for each of "
            f"the {len(class_names)} classes"
        )
    wrong = np.flatnonzero(~_countable(values))
    if wrong.size:
        raise InputError(
            f"the weight of class {class_names[wrong[0]]} is {values[wrong[0]]}, "
            "expected a finite number from 0 up"
        )
    if not values.any():
        raise InputError("class weights that are all 0: nothing would be learned")
    return values


def check_sample_weights(weights: ArrayLike, n_models: int, n_samples: int) -> None:
    """Raise InputError unless `weights` are valid sample weights.

    Valid weights are real, finite and at least 0, not all 0 for a model, and of the shape (N,), the
    same for all models, or (M, N).
    """
    given = np.asarray(weights)
    if given.shape not in ((n_samples,), (n_models, n_samples)) or given.dtype.kind not in "buif":
        raise InputError(
            f"sample weights of {given.dtype} and the shape {given.shape}, "
            f"expected real numbers of the shape ({n_samples},) or ({n_models}, {n_samples})"
        )
    for model, values in enumerate(given.reshape(-1, n_samples)):
        whose = "sample weights" if given.ndim == 1 else f"sample weights of model {model}"
        wrong = np.flatnonzero(~_countable(values))
        if wrong.size:
            raise InputError(
                f"{whose}: row {wrong[0]} has {values[wrong[0]]}, "
                "expected a finite number from 0 up"
            )
        if not values.any():
            raise InputError(f"{whose}: all are zero, so there is nothing to train on")


def _countable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the values that are finite and at least 0."""
    return np.asarray((values >= 0) & (values < np.inf))
