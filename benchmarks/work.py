"""The work that is timed, and the referee that says whether a contender did it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer import Dataset, Hyperparameters, Split, load_dataset, train
from onelayer.model import network

SPLITS = ("train", "validation")
CURVES = tuple(f"{split}_{name}" for split in SPLITS for name in ("loss", "cost", "accuracy"))
RELATIVE_BOUND = 1e-4  # of a loss or a cost; float32 stays below 1e-5, every planted fault above
ACCURACY_BOUND = 1e-3  # of the samples may lie so near a tie that rounding moves them
JUDGED_MODELS = 5  # of a stack, spread over it: the textbook takes half a second for each

Outcome = Mapping[str, Sequence[float]]  # each of CURVES: one value a model, (M,)


@dataclass(frozen=True)
class Work:
    """One epoch of `models` stacked models, then loss, cost and accuracy on both splits.

    `shape` is (N, D, K) of data made at random, N for each split; None stands for CIFAR-10.
    """

    models: int
    shape: tuple[int, int, int] | None = None
    batch_size: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Problem:
    """What every contender is handed: stored data, settings (M,), W (M, K, D) and b (M, K)."""

    data: Dataset
    settings: tuple[Hyperparameters, ...]
    weights: NDArray[np.float64]
    biases: NDArray[np.float64]
    batch_size: int
    seed: int

    @property
    def l2(self) -> NDArray[np.float64]:
        """λ of every model, (M,)."""
        return np.array([setting.l2 for setting in self.settings])

    @property
    def learning_rates(self) -> NDArray[np.float64]:
        """η of every model, (M,)."""
        return np.array([setting.learning_rate for setting in self.settings])

    def batches(self) -> list[slice]:
        """Return the rows of each mini-batch, in file order."""
        starts = range(0, len(self.data.train), self.batch_size)
        return [slice(start, start + self.batch_size) for start in starts]

    def features(self, split: str, dtype: Any) -> NDArray[Any]:
        """Return x (N, D) of equation (1), pixels / 255, as one contiguous array."""
        stored = self.data.splits[split].X
        scaled = np.empty(stored.shape, dtype)
        np.multiply(stored, 1 / self.data.full_scale, out=scaled, dtype=dtype, casting="unsafe")
        return scaled

    def labels(self, split: str) -> NDArray[np.intp]:
        """Return y (N,)."""
        return self.data.splits[split].y


class Epoch(Protocol):
    """One turn of a contender: train one epoch on from where it is, evaluate both splits."""

    def __call__(self) -> Outcome:
        """Return all of CURVES."""
        ...


def pose(work: Work) -> Problem:
    """Return the problem that `work` names: learning rates 0.001 to 0.01, λ 0.1 to 0.05."""
    data = load_dataset("cifar10") if work.shape is None else made_data(*work.shape, work.seed)
    rates = np.geomspace(0.001, 0.01, work.models)
    penalties = np.linspace(0.1, 0.05, work.models)
    settings = tuple(
        Hyperparameters(l2=float(l2), learning_rate=float(rate))
        for l2, rate in zip(penalties, rates, strict=True)
    )
    # Of an older revision only the public names are certain, so the initial W and b come from here.
    start = train(data, settings, epochs=0, seed=work.seed, dtype="float64")
    return Problem(data, settings, start.weights, start.biases, work.batch_size, work.seed)


def made_data(N: int, D: int, K: int, seed: int) -> Dataset:
    """Return uint8 features and labels at random: N for training, N for validation."""
    generator = np.random.default_rng(seed)
    splits = [
        Split(generator.integers(0, 256, (N, D), dtype=np.uint8), generator.integers(0, K, N))
        for _ in SPLITS
    ]
    return Dataset("made", *splits, None, tuple(map(str, range(K))), 255.0)


def tabulate(rows: Sequence[Sequence[float]]) -> Outcome:
    """Return the outcome whose rows are the models' CURVES."""
    columns = np.asarray(rows, dtype=np.float64).T.tolist()
    return dict(zip(CURVES, columns, strict=True))


class TextbookEpoch:
    """Equations (1) to (11) in float64, batch by batch, one model after another."""

    def __init__(self, problem: Problem, models: Sequence[int]) -> None:
        self._batches = problem.batches()
        self._splits = {
            split: (problem.features(split, np.float64), problem.labels(split)) for split in SPLITS
        }
        self._settings = [problem.settings[model] for model in models]
        self._parameters = [(problem.weights[model], problem.biases[model]) for model in models]

    def __call__(self) -> Outcome:
        """See Epoch; of the chosen models."""
        return tabulate([self._one(model) for model in range(len(self._settings))])

    def _one(self, model: int) -> list[float]:
        setting, (W, b) = self._settings[model], self._parameters[model]
        X, y = self._splits["train"]
        for rows in self._batches:
            W, b = network.descend(
                X[rows], y[rows], W, b, l2=setting.l2, learning_rate=setting.learning_rate
            )
        self._parameters[model] = W, b
        penalty = setting.l2 * np.sum(W * W)
        return [value for split in SPLITS for value in self._measure(split, W, b, penalty)]

    def _measure(self, split: str, W: Any, b: Any, penalty: float) -> tuple[float, float, float]:
        X, y = self._splits[split]
        S = network.scores(X, W, b)
        loss = network.loss(S, y)
        return loss, loss + penalty, np.mean(network.predictions(S) == y)


class Referee:
    """Compares a contender's first epoch with the float64 textbook."""

    def __init__(self, problem: Problem) -> None:
        M = len(problem.settings)
        self._models = sorted({round(m) for m in np.linspace(0, M - 1, min(M, JUDGED_MODELS))})
        self._expected = TextbookEpoch(problem, self._models)()
        self._shape = (M,)
        samples = min(len(problem.data.splits[split]) for split in SPLITS)
        self._accuracy_bound = max(ACCURACY_BOUND, 1.5 / samples)  # one sample is always allowed

    def objection(self, outcome: Outcome) -> str:
        """Return why the outcome is not the textbook's, or "" if it is."""
        for name in CURVES:
            found = np.asarray(outcome.get(name, ()), dtype=np.float64)
            if found.shape != self._shape:
                return f"{name}: {found.shape[0]} values for {self._shape[0]} models"
            for model, expected in zip(self._models, self._expected[name], strict=True):
                reason = self._differs(name, found[model], expected)
                if reason:
                    return f"{name} of model {model + 1}: {reason}"
        return ""

    def _differs(self, name: str, found: float, expected: float) -> str:
        """Return in words how far the value is off, or ""; a NaN is always off."""
        of_accuracy = name.endswith("accuracy")
        error = abs(found - expected) / (1 if of_accuracy else abs(expected))
        if error <= (self._accuracy_bound if of_accuracy else RELATIVE_BOUND):
            return ""
        return f"{found:.6g}, the textbook gives {expected:.6g}"
