"""`make bench-gpu`: linear probes on one GPU against what people write, and against the card.

Data with a planted signal are made on the device. In every round each contender takes some steps
and one evaluation, in turns; medians count. An epoch is all its steps and the evaluation of all
rows of both splits; of many layers one is measured. The floor is what this very card needs for an
epoch at least: the products at the rate of a large product in the same precision, and every tensor
moved once at the rate of a copy. `onelayer.train` also runs the first job to its end.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import torch

import onelayer
from benchmarks.gpu_contenders import MOMENTUM, Contender, Problem, contenders, split_of
from benchmarks.summary import table
from onelayer import Dataset, InputError
from onelayer.thread_pools import limited
from onelayer.training.torch_device import check_numbers, describe_device, find_device

Batch = tuple[np.ndarray, torch.Tensor]  # row numbers, and the same on the device
_CHUNK = 1 << 16  # rows that are made together
_AGREE = {"float32": 1e-3, "tf32": 2e-2}  # of a mean loss, among contenders


@dataclass(frozen=True)
class Job:
    """A grid of η × λ on N rows for training and V for validation, for each of the layers."""

    name: str
    rows: int
    validation: int
    features: int
    classes: int
    rates: int
    l2: int
    batch_size: int = 1024
    epochs: int = 10
    layers: int = 1

    def pose(self, device: str, precision: str) -> Problem:
        """Make the data on the device: unit noise around a centre for each class."""
        generator = torch.Generator(device).manual_seed(0)
        shape = (self.classes, self.features)
        centres = torch.randn(shape, generator=generator, device=device) * 4 / self.features**0.5
        splits = []
        for count in (self.rows, self.validation):
            y = torch.randint(self.classes, (count,), generator=generator, device=device)
            X = torch.empty((count, self.features), dtype=torch.float16, device=device)
            for at in range(0, count, _CHUNK):
                some = X[at : at + _CHUNK]
                some.normal_(generator=generator).add_(centres[y[at : at + _CHUNK]])
            splits.append((X, y))
        rates, l2 = np.geomspace(1e-3, 0.03, self.rates), np.geomspace(1e-7, 1e-4, self.l2)
        grid = [(rate, one) for rate in rates for one in l2]
        return Problem(device, precision, self.batch_size, self.classes, *splits, *np.array(grid).T)


JOBS = (
    Job("ImageNet features, 13 η × 4 λ", 1_281_167, 50_000, 1024, 1000, 13, 4),
    Job("ImageNet features, one model", 1_281_167, 50_000, 1024, 1000, 1, 1),
    Job("32 layers × 45 λ of two classes", 100_000, 20_000, 4096, 2, 1, 45, layers=32),
)


def small(job: Job) -> Job:
    """Return the job at a size for a processor."""
    grid = {"classes": min(job.classes, 10), "rates": min(job.rates, 3), "l2": min(job.l2, 4)}
    sizes = {"rows": 3000, "validation": 500, "features": 64, "batch_size": 256, "epochs": 2}
    return replace(job, **grid, **sizes)


@dataclass(frozen=True)
class Card:
    """Operations a second of a large product, and bytes a second of a copy."""

    operations: float
    bytes: float

    @classmethod
    def measure(cls, device: str, side: int) -> "Card":
        """Measure both on the device, medians of 9."""
        left, right = torch.randn((2, side, side), device=device)
        product = median(_seconds(device, lambda: left @ right) for _ in range(9))
        copy = median(_seconds(device, lambda: left.copy_(right)) for _ in range(9))
        return cls(2 * side**3 / product, 2 * left.nbytes / copy)

    def floor(self, job: Job, models: int) -> float:
        """Return the least seconds of an epoch with the curves of both splits."""
        rows, D, columns = job.rows, job.features, models * job.classes
        steps, evaluated = -(-rows // job.batch_size), rows + job.validation
        operations = 2 * D * columns * (2 * rows + evaluated)
        moved = steps * 5 * 4 * columns * D  # W to the scores; W and v to the update and back
        moved += rows * (2 * 2 * D + 4 * 4 * columns)  # X for both products; S and G out and in
        moved += evaluated * (2 * D + 2 * 4 * columns)
        return operations / self.operations + moved / self.bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs and print a table of each; 2 where the device is not there."""
    options = _parse(arguments)
    try:
        device = find_device(options.device)
        precision = options.precision or ("tf32" if device.startswith("cuda") else "float32")
        check_numbers(device, precision, "float32")
    except InputError as error:
        print(f"bench-gpu: {error}", file=sys.stderr)
        return 2
    with limited(1 if options.small else None):
        _run(options, device, precision)
    return 0


def _run(options: argparse.Namespace, device: str, precision: str) -> None:
    begin = time.perf_counter()
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    card = Card.measure(device, 512 if options.small else 8192)
    print(
        f"{describe_device(device)}, PyTorch {torch.__version__}, {precision}: "
        f"{card.operations / 1e12:.3g} TFLOP/s, {card.bytes / 1e9:.3g} GB/s\n"
    )
    for job in JOBS:
        asked = small(job) if options.small else job
        problem = asked.pose(device, precision)
        print(compare(asked, problem, card, options.rounds, options.steps))
        if job is JOBS[0]:
            print(train_to_the_end(asked, problem))
    print(f"{time.perf_counter() - begin:.0f} s in all")


def compare(job: Job, problem: Problem, card: Card, rounds: int, steps: int) -> str:
    """Return a table of the seconds of an epoch, over the floor and over ours."""
    running = {name: make(problem) for name, make in contenders(problem).items()}
    batches = _draw(job, problem.device, steps)
    losses = {}
    for name, each in running.items():  # compiles, warms up, and is judged
        _take(each, batches)
        losses[name] = np.array(each.evaluate())
    epochs = _time(running, job, problem.device, batches, rounds)
    floor, ours = card.floor(job, len(problem.rates)), epochs["onelayer"]
    rows = [["floor", f"{floor * job.layers:.3g}", "1.00", "", ""]]
    for name, seconds in epochs.items():
        apart = float(np.abs(losses[name] / losses["onelayer"] - 1).max())
        agrees = "yes" if apart < _AGREE[problem.precision] else f"NO, by {apart:.1%}"
        numbers = f"{seconds * job.layers:.3g}", f"{seconds / floor:.2f}", f"{seconds / ours:.2f}"
        rows.append([name, *numbers, agrees])
    shape = f"M = {len(problem.rates)}, {job.rows:,} × {job.features:,}, K = {job.classes:,}"
    heads = ["contender", "s an epoch", "× floor", "× ours", "same losses"]
    return f"{job.name}: {shape}, medians of {rounds} rounds\n\n{table(heads, rows)}"


def _draw(job: Job, device: str, steps: int) -> list[Batch]:
    draws = np.random.default_rng(0)
    drawn = [draws.integers(job.rows, size=job.batch_size) for _ in range(steps)]
    return [(rows, torch.from_numpy(rows).to(device)) for rows in drawn]


def _time(
    running: Mapping[str, Contender],
    job: Job,
    device: str,
    batches: Sequence[Batch],
    rounds: int,
) -> dict[str, float]:
    """Return the seconds of an epoch of each contender, from medians of steps and evaluations."""
    steps: dict[str, list[float]] = {name: [] for name in running}
    rows: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, each in running.items():
            steps[name].append(_seconds(device, partial(_take, each, batches)) / len(batches))
            rows[name].append(_seconds(device, each.evaluate) / job.validation)
    count, evaluated = -(-job.rows // job.batch_size), job.rows + job.validation
    return {name: median(steps[name]) * count + median(rows[name]) * evaluated for name in running}


def train_to_the_end(job: Job, problem: Problem) -> str:
    """Run `onelayer.train` with the cosine schedule and all curves; return what it took."""
    names = tuple(map(str, range(job.classes)))
    splits = split_of(*problem.train), split_of(*problem.validation)
    data = Dataset("made", *splits, None, names)
    settings = [
        onelayer.Hyperparameters(
            float(l2), float(rate), momentum=MOMENTUM, schedule="cosine", init="zeros"
        )
        for rate, l2 in zip(problem.rates, problem.l2, strict=True)
    ]
    run = onelayer.train(
        data, settings, batch_size=job.batch_size, epochs=job.epochs, scaling="none",
        engine="torch", device=problem.device, precision=problem.precision, memory=24,
    )  # fmt: skip
    best = run.history.validation_accuracy[:, -1].max()
    return (
        f"onelayer.train, {job.epochs} epochs with curves: {run.provenance['seconds']:.3g} s; "
        f"best validation accuracy {best:.4f}\n"
    )


def _take(each: Contender, batches: Sequence[Batch]) -> None:
    for rows, there in batches:
        each.step(rows, there)


def _seconds(device: str, work: Callable[[], object]) -> float:
    """Return the seconds until the device has done the work."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    begin = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begin


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--precision", choices=_AGREE, help="default: tf32 on CUDA, else float32")
    parser.add_argument("--small", action="store_true", help="at a size for a processor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a contender in a round")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
