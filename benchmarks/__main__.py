"""`python -m benchmarks`: time the contenders, write JSON, Markdown and figures."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.contenders import CONTENDERS, LIMIT, OURS, Contender
from benchmarks.footprint import describe_footprint, measure_footprint
from benchmarks.growth import describe_growth, measure_growth
from benchmarks.harness import Plan, Record, measure
from benchmarks.machine import cores, describe
from benchmarks.process import Start
from benchmarks.summary import details, overview, product_rate, summarise
from benchmarks.work import Work

PARTS = ("peers", "growth", "footprint")
LABELS = {contender.name: contender.label for contender in CONTENDERS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen parts; each leaves <part>.json and <part>.md in the folder."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    threads = min(options.threads, cores())
    run = {"peers": _peers, "growth": _growth, "footprint": _footprint}
    for part in options.parts:
        values, text = run[part](options, threads)
        record = {"machine": describe(threads), **values}
        (options.out / f"{part}.json").write_text(json.dumps(record, indent=1) + "\n")
        (options.out / f"{part}.md").write_text(text + "\n" + _origin(record["machine"]))
        print(text)


def _peers(options: argparse.Namespace, threads: int) -> tuple[dict[str, Any], str]:
    chosen = [c for c in CONTENDERS if c.name in {LIMIT, OURS, *options.contenders}]
    absent = [contender for contender in chosen if not contender.installed]
    starts = {c.name: Start(c.target) for c in chosen if c.installed}
    works = [Work(models) for models in options.models]
    record = measure(starts, works, Plan(options.rounds, options.seconds, threads), _say)
    rows = summarise(record.turns, record.operations)
    plots.draw_peers(rows, LABELS, options.out)
    values = {
        "work": [asdict(work) for work in works],
        "product_operations_per_second": product_rate(record.turns),
        "summary": [asdict(row) for row in rows],
        "not_installed": [contender.name for contender in absent],
        **vars(record),
    }
    tables = [overview(rows, LABELS)]
    tables += [f"M = {M}\n\n{details(rows, LABELS, M)}" for M in options.models]
    return values, "\n".join([*tables, _remarks(record, chosen, absent)])


def _growth(options: argparse.Namespace, threads: int) -> tuple[dict[str, Any], str]:
    ours = next(contender for contender in CONTENDERS if contender.name == OURS)
    curves = measure_growth(Start(ours.target), threads, _say)
    plots.draw_growth(curves, options.out)
    text, values = describe_growth(curves)
    return {"curves": values}, text


def _footprint(options: argparse.Namespace, threads: int) -> tuple[dict[str, Any], str]:
    footprint = measure_footprint()
    return footprint, describe_footprint(footprint)


def _remarks(record: Record, chosen: Sequence[Contender], absent: Sequence[Contender]) -> str:
    """Return a list of what a reader of the tables has to know."""
    lines = [f"{c.label}: {c.note}" for c in chosen if c.note]
    lines += [f"{c.label}: not installed, not timed" for c in absent]
    for fault in record.disqualified:
        where = f", M = {fault['models']}" if fault["models"] else ""
        lines.append(f"{LABELS[fault['contender']]}{where}: disqualified: {fault['reason']}")
    busiest = max(record.idle_shares, key=record.idle_shares.__getitem__, default=None)
    if busiest:
        share = record.idle_shares[busiest]
        lines.append(
            f"CPU time while others had their turn: at most {share:.1%} of a core "
            f"({LABELS[busiest]})"
        )
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _origin(machine: dict[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    shown = {name: value for name, value in machine.items() if value is not None}
    return ", ".join(f"{name} {_plain(value)}" for name, value in shown.items()) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(item) for item in value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 4, 20, 100], metavar="M")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (default 9)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=15.0,
        help="a contender sits out once its turns at one M add up to this, but never before its "
        "third round (default 15)",
    )
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    parser.add_argument("--contenders", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
