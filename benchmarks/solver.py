"""The exact solver against scikit-learn's LogisticRegression: the same costs, in turns.

`make bench-probe`; seconds of one thread's processor time, which other work disturbs least. Every
contender gets the loosest tolerance with which all of its costs are within SHARE of the least one;
finding it is not timed. Then they take turns; medians count. A peer goes through its λ from the
largest to the smallest, each from where the last one ended. The ratio is that to the fastest solver
of LogisticRegression; PyTorch's L-BFGS takes part where torch is installed. Two more columns: our
time over that of the products alone, at the rate of a large product in the same turns; and our
largest memory, features included, over that of the features.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

import onelayer
from benchmarks.memory import AnonymousPeak, anonymous_bytes
from benchmarks.process import ROOT
from onelayer.data.dataset import Dataset, Split
from onelayer.model import network
from onelayer.training.exact import stack

SHARE = 1e-5  # of the least cost: in accuracy nobody can tell them apart
LADDER = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
SOLVERS = ("lbfgs", "newton-cholesky")  # newton-cg took longer than lbfgs
TORCH = "lbfgs of PyTorch"
LARGEST_HESSIAN = 1500  # of newton-cholesky: D · K
LARGE = 2048  # rows and columns of the product that shows what the processor can do

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Case:
    """One problem: its size, how far its classes lie apart, and what is asked of it."""

    name: str
    D: int
    N: int
    K: int
    apart: float
    decays: int = 5
    subsets: tuple[int, ...] = ()  # rows of each, five draws
    folds: int = 0
    bar: float = 3.0


CASES = (
    Case("768 × 10,000 × 20", 768, 10_000, 20, 0.12),
    Case("768 × 14,000 × 100", 768, 14_000, 100, 0.3),
    Case("64 × 100,000 × 10", 64, 100_000, 10, 0.3),
    Case("4,096 × 5,000 × 2, 45 λ", 4096, 5_000, 2, 0.06, decays=45, bar=10),
    Case("768 × (100, 1,000) × 20, 5 draws", 768, 10_000, 20, 0.12, subsets=(100, 1000), bar=5),
    Case("256 × 10,000 × 20, 5 folds × 10 λ", 256, 10_000, 20, 0.2, decays=10, folds=5, bar=10),
)


def make_features(case: Case) -> tuple[Floats, Labels]:
    """Return standardised features of a falling spectrum, as those of networks, and labels."""
    generator = np.random.default_rng(0)
    lengths = np.arange(1, case.D + 1) ** -0.7
    centres = generator.standard_normal((case.K, case.D)) * lengths
    y = generator.integers(0, case.K, case.N)
    X = generator.standard_normal((case.N, case.D)) * lengths + case.apart * centres[y]
    for first in range(0, case.D, 256):  # features that depend on each other
        some = slice(first, min(first + 256, case.D))
        width = some.stop - some.start
        X[:, some] = X[:, some] @ np.linalg.qr(generator.standard_normal((width, width)))[0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = X[:, generator.permutation(case.D)]
    return np.ascontiguousarray(X, np.float32), y


def decays_of(case: Case) -> list[float]:
    """Return the λ, the largest first: from 1 to 10⁻⁴, 45 of them from 10 to 10⁻⁵."""
    if case.decays == 45:
        return np.logspace(1, -5, 45).tolist()
    return [10.0**-power for power in np.linspace(0, case.decays // 2 + 2, case.decays)]


Fitted = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
Fit = Callable[[Floats, Labels, Sequence[float], float], Fitted]


def fit_ours(
    X: Floats,
    y: Labels,
    decays: Sequence[float],
    tolerance: float,
    weights: NDArray[np.float64] | None = None,
) -> Fitted:
    """Fit all λ in one stack, each on the rows that its weights leave."""
    names = tuple(map(str, range(int(y.max()) + 1)))
    data = Dataset("made", Split(X, y), None, None, names)
    run = onelayer.train(
        data,
        [onelayer.Hyperparameters(l2=l2) for l2 in decays],
        solver="exact",
        tolerance=tolerance,
        scaling="none",
        sample_weights=weights,
    )
    return list(zip(run.weights.astype(float), run.biases.astype(float), strict=True))


def fit_theirs(solver: str, dtype: str) -> Fit:
    """Return the fit of a solver of LogisticRegression."""

    def fit(X: Floats, y: Labels, decays: Sequence[float], tolerance: float) -> Fitted:
        given, K = X.astype(dtype, copy=False), int(y.max()) + 1
        model = LogisticRegression(solver=solver, tol=tolerance, max_iter=3000, warm_start=True)
        fitted = []
        for l2 in decays:
            model.C = onelayer.C_from_l2(l2, len(y), K)
            model.fit(given, y)
            W, b = model.coef_.astype(float), model.intercept_.astype(float)
            both = (np.concatenate([-part, part]) / 2 for part in (W, b))
            fitted.append(tuple(both) if K == 2 else (W.copy(), b.copy()))
        return fitted

    return fit


def fit_torch(X: Floats, y: Labels, decays: Sequence[float], tolerance: float) -> Fitted:
    """Fit by PyTorch's L-BFGS with its strong Wolfe line search, in float32."""
    import torch

    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    layer = torch.nn.Linear(X.shape[1], int(y.max()) + 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    fitted = []
    for l2 in decays:
        search = torch.optim.LBFGS(
            layer.parameters(),
            max_iter=3000,
            tolerance_grad=tolerance,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

        def cost(search=search, l2=l2):
            search.zero_grad()
            value = torch.nn.functional.cross_entropy(layer(inputs), labels)
            value = value + l2 * layer.weight.square().sum()
            value.backward()
            return value

        search.step(cost)
        fitted.append(tuple(part.detach().double().numpy() for part in layer.parameters()))
    return fitted


def contenders(case: Case) -> dict[str, Fit]:
    """Return what is compared, ours first."""
    theirs = {
        f"{solver}, {dtype}": fit_theirs(solver, dtype)
        for solver in SOLVERS
        for dtype in ("float32", "float64")
        if dtype == "float64" or solver == "lbfgs"
        if solver != "newton-cholesky" or case.D * case.K <= LARGEST_HESSIAN
    }
    if find_spec("torch"):
        theirs[TORCH] = fit_torch
    return {"onelayer": fit_ours, **theirs}


def worst_excess(X: Floats, y: Labels, decays: Sequence[float], fitted: Fitted, least) -> float:
    """Return by which share of it a cost lies above the least one, at most."""
    costs = [
        network.cost(X.astype(float), y, W, b, l2)
        for (W, b), l2 in zip(fitted, decays, strict=True)
    ]
    return float(np.max(np.array(costs) / least - 1))


def tune(case: Case, X: Floats, y: Labels, patience: float) -> dict[str, float]:
    """Return the loosest tolerance of each contender that is near enough to the least costs.

    One that needs more than `patience` times as long as the fastest so far is left out.
    """
    decays = decays_of(case)
    best = fit_ours(X, y, decays, 1e-9)
    least = [
        network.cost(X.astype(float), y, W, b, l2) for (W, b), l2 in zip(best, decays, strict=True)
    ]
    found, fastest = {}, np.inf
    for name, fit in contenders(case).items():
        for tolerance in LADDER:
            begin = time.process_time()
            fitted = fit(X, y, decays, tolerance)
            taken = time.process_time() - begin
            print(
                f"{case.name}: {name} at {tolerance:g}: {taken:.2f} s", file=sys.stderr, flush=True
            )
            if worst_excess(X, y, decays, fitted, least) <= SHARE:
                found[name] = tolerance
                fastest = min(fastest, taken if name != "onelayer" else np.inf)
                break
            if name != "onelayer" and taken > patience * fastest:
                break
    return found


def work_of(case: Case, fit: Fit, tolerance: float, X: Floats, y: Labels) -> Callable[[], object]:
    """Return what is timed."""
    decays = decays_of(case)
    if case.subsets:
        generator = np.random.default_rng(1)
        rows = [generator.permutation(len(y))[:n] for n in case.subsets for _ in range(5)]
        if fit is fit_ours:
            weights = np.zeros((len(rows), len(y)))
            for own, some in zip(weights, rows, strict=True):
                own[some] = 1
            every = np.repeat(weights, len(decays), axis=0)
            return lambda: fit_ours(X, y, decays * len(rows), tolerance, every)
        parts = [(X[some], np.unique(y[some], return_inverse=True)[1]) for some in rows]
        return lambda: [fit(*part, decays, tolerance) for part in parts]
    if case.folds and fit is fit_ours:
        model = onelayer.OneLayerClassifier(solver="exact", tolerance=tolerance, scaling="none")
        folds = StratifiedKFold(case.folds)
        return lambda: onelayer.OneLayerSearchCV(model, {"l2": decays}, cv=folds).fit(X, y)
    if case.folds:
        C = [
            onelayer.C_from_l2(l2, len(y) * (case.folds - 1) // case.folds, case.K) for l2 in decays
        ]
        folds = StratifiedKFold(case.folds)
        model = LogisticRegression(tol=tolerance, max_iter=3000)
        return lambda: GridSearchCV(model, {"C": C}, cv=folds).fit(X, y)
    return lambda: fit(X, y, decays, tolerance)


def measure(case: Case, rounds: int, patience: float) -> dict[str, object]:
    """Return the seconds of each contender, and by how much ours is faster than scikit-learn's."""
    X, y = make_features(case)
    tolerances = tune(case, X, y, patience)
    works = {
        name: work_of(case, contenders(case)[name], tolerance, X, y)
        for name, tolerance in tolerances.items()
        if not case.folds or name in ("onelayer", "lbfgs, float64")
    }
    operations = count_operations(works["onelayer"])
    seconds: dict[str, list[float]] = {name: [] for name in works}
    rates = []
    for turn in range(rounds):
        rates.append(rate_of_products())
        for name, work in works.items():
            slow = turn and median(seconds[name]) > 3 * min(map(median, seconds.values()))
            if slow and name not in ("onelayer", fastest_solver(seconds)):
                continue
            begin = time.process_time()
            work()
            seconds[name].append(time.process_time() - begin)
    peer = fastest_solver(seconds)
    ratio = median(seconds[peer]) / median(seconds["onelayer"])
    return {
        "case": case.name,
        "seconds": {name: round(median(taken), 3) for name, taken in seconds.items()},
        "tolerances": tolerances,
        "fastest solver": peer,
        "times faster": round(ratio, 2),
        "times the products": round(median(seconds["onelayer"]) * median(rates) / operations, 2),
        "memory": measure_memory(case, tolerances["onelayer"]),
        "bar": case.bar,
    }


def count_operations(work: Callable[[], object]) -> float:
    """Return the operations of the products that all evaluations of our searches take."""
    counted, solve = [], stack.solve

    def counting(problem, *args, **options):
        solution, U = solve(problem, *args, **options)
        of_row = 4 * problem.weighted_loss.columns * (problem.axes.count + 1)
        rows = len(problem.weighted_loss.shares)
        counted.append(float(of_row) * rows * solution.evaluations.sum())
        return solution, U

    with patch.object(stack, "solve", counting):
        work()
    return sum(counted)


def rate_of_products() -> float:
    """Return the operations a second of a large product in float32."""
    A = np.ones((LARGE, LARGE), np.float32)
    begin = time.process_time()
    A @ A
    return 2 * LARGE**3 / (time.process_time() - begin)


def measure_memory(case: Case, tolerance: float) -> float:
    """Return our largest memory over that of the features, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.solver", "--memory", case.name, str(tolerance)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def print_memory(name: str, tolerance: float) -> None:
    """Print what measure_memory returns; what Python and its libraries take is left out."""
    case = next(case for case in CASES if case.name == name)
    X, y = make_features(case)
    work = work_of(case, fit_ours, tolerance, X, y)
    small = partial(fit_ours, X[:100, :9].copy(), y[:100] % 2, [1.0], tolerance)
    small()  # what is loaded when it is first asked for
    before = anonymous_bytes()
    with AnonymousPeak() as peak:
        work()
    print(round(1 + (peak.bytes - before) / X.nbytes, 2))


def fastest_solver(seconds: dict[str, list[float]]) -> str:
    """Return the solver of LogisticRegression whose median is the least."""
    theirs = [name for name in seconds if name.startswith(SOLVERS) and name != TORCH]
    return min(theirs, key=lambda name: median(seconds[name]))


def main() -> None:
    """Measure the cases that are asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patience", type=float, default=1.5)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if find_spec("torch"):
        import torch

        torch.set_num_threads(asked.threads)
    with threadpool_limits(asked.threads):
        if asked.memory:
            print_memory(asked.memory[0], float(asked.memory[1]))
        else:
            print_table([CASES[number] for number in asked.cases], asked.rounds, asked.patience)


def print_table(cases: Sequence[Case], rounds: int, patience: float) -> None:
    """Print a row for each case as soon as it is measured, then everything as JSON."""
    print(
        "| D × N × K | onelayer s | LogisticRegression s | its solver | times faster | bar | "
        "PyTorch s | × products | × memory |"
    )
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    results = []
    for case in cases:
        one = measure(case, rounds, patience)
        seconds, peer = one["seconds"], one["fastest solver"]
        torch = f"{seconds[TORCH]:.2f}" if TORCH in seconds else ""
        print(
            f"| {one['case']} | {seconds['onelayer']:.2f} | {seconds[peer]:.2f} | {peer} | "
            f"{one['times faster']:.1f} | {one['bar']:g} | {torch} | "
            f"{one['times the products']:.1f} | {one['memory']:.1f} |",
            flush=True,
        )
        results.append(one)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
