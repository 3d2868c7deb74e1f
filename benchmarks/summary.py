"""What the turns say: medians, ratios to the limit and to ours, and a Markdown table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contenders import LIMIT, OURS
from benchmarks.contenders.limit import OPERATIONS

Turns = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """One contender at one number of models; times in seconds.

    `to_limit` is its median over the limit's, `to_ours` the median over the rounds in which both
    had a turn of its time over ours (None without such a round).
    """

    models: int
    contender: str
    rounds: int
    median: float
    minimum: float
    maximum: float
    to_limit: float | None
    to_ours: float | None


def summarise(turns: Turns, operations: Mapping[int, int]) -> list[Row]:
    """Return a row for each contender and number of models, fastest first in each number."""
    rows = []
    for models, of_models in _grouped(turns, operations):
        limit = of_models.get(LIMIT)
        ours = of_models.get(OURS, {})
        found = [_row(models, name, by_round, limit, ours) for name, by_round in of_models.items()]
        rows += sorted(found, key=lambda row: row.median)
    return rows


def paired_ratio(seconds: Mapping[int, float], others: Mapping[int, float]) -> float | None:
    """Return the median ratio over the rounds that both have, or None."""
    ratios = [seconds[count] / others[count] for count in seconds if count in others]
    return median(ratios) if ratios else None


def product_rate(turns: Turns) -> float | None:
    """Return the median rate of the large matrix product, in operations a second."""
    rates = [OPERATIONS / turn["seconds"] for turn in turns if turn["contender"] == LIMIT]
    return median(rates) if rates else None


def _grouped(
    turns: Turns, operations: Mapping[int, int]
) -> Iterator[tuple[int, dict[str, dict[int, float]]]]:
    """Yield each number of models and, by contender and round, the seconds.

    The limit's are not those of its own product but of the work at the product's rate.
    """
    for models in sorted({turn["models"] for turn in turns}):
        by_contender: dict[str, dict[int, float]] = {}
        for turn in turns:
            if turn["models"] == models:
                share = operations[models] / OPERATIONS if turn["contender"] == LIMIT else 1
                seconds = by_contender.setdefault(turn["contender"], {})
                seconds[turn["round"]] = turn["seconds"] * share
        yield models, by_contender


def _row(
    models: int,
    name: str,
    by_round: Mapping[int, float],
    limit: Mapping[int, float] | None,
    ours: Mapping[int, float],
) -> Row:
    seconds = list(by_round.values())
    middle = median(seconds)
    return Row(
        models,
        name,
        len(seconds),
        middle,
        min(seconds),
        max(seconds),
        middle / median(limit.values()) if limit else None,
        paired_ratio(by_round, ours),
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is words, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def overview(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """Return the table of ratios to the limit: a line for each contender, a column for each M."""
    numbers = sorted({row.models for row in rows})
    cells = {(row.contender, row.models): row for row in rows}
    lines = [
        [label, *(_ratio(cells[name, M].to_limit if (name, M) in cells else None) for M in numbers)]
        for name, label in labels.items()
        if any((name, M) in cells for M in numbers)
    ]
    return table(["ratio to the limit", *(f"M = {M}" for M in numbers)], lines)


def details(rows: Sequence[Row], labels: Mapping[str, str], models: int) -> str:
    """Return the table of one number of models."""
    header = [
        "contender",
        "median s",
        "min s",
        "max s",
        "rounds",
        "to the limit",
        "to ours, paired",
    ]
    lines = [
        [
            labels.get(row.contender, row.contender),
            *(f"{seconds:.4f}" for seconds in (row.median, row.minimum, row.maximum)),
            str(row.rounds),
            _ratio(row.to_limit),
            _ratio(row.to_ours),
        ]
        for row in rows
        if row.models == models
    ]
    return table(header, lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
