"""The metrics of an evaluation with their intervals: a table, and a file of exact numbers."""

from collections.abc import Mapping
from pathlib import Path

from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.evaluation.statistics import Interval
from onelayer.report.blocks import Column, Table, make_table


def metric_table(evaluation: ModelEvaluation, measured: Mapping[str, Interval]) -> Table:
    """Return each metric that was asked for with its interval, or why there is none."""
    names = [name for name in METRICS if name in measured or name in evaluation.left_out]
    arrows = {name: "↑" if METRICS[name].higher_is_better else "↓" for name in names}
    found = [measured.get(name) for name in names]
    methods = [
        evaluation.left_out[name] if one is None else one.method
        for name, one in zip(names, found, strict=True)
    ]
    ends = {"value": "value", "from": "low", "to": "high"}
    return make_table(
        "metrics",
        "Metrics with 95 % intervals; ↑: higher is better, ↓: lower is better.",
        Column("metric", "words", [f"{METRICS[name].title} {arrows[name]}" for name in names]),
        Column("interval", "words", methods),
        *(
            Column(head, "decimals", [getattr(one, field, None) for one in found])
            for head, field in ends.items()
        ),
    )


def write_metrics(
    evaluation: ModelEvaluation, measured: Mapping[str, Interval], path: Path
) -> None:
    """Write the metrics as CSV, a line each: exact numbers, the interval's method, the rows."""
    columns = {
        "metric": list(measured),
        "better": ["higher" if METRICS[name].higher_is_better else "lower" for name in measured],
        **{
            field: [getattr(one, field) for one in measured.values()]
            for field in ("value", "low", "high", "method")
        },
        "data": [evaluation.data] * len(measured),
        "split": [evaluation.split] * len(measured),
        "samples": [evaluation.samples] * len(measured),
    }
    write_csv(columns, path)
