"""The options and the provenance of a run, as tables of names and values."""

from collections.abc import Mapping, Sequence
from typing import Any

from onelayer.evaluation.results import Results
from onelayer.report.blocks import Column, Table
from onelayer.report.labels import LISTED, count_of, one_line
from onelayer.training.options import OF_DESCENT, OF_EXACT


def options_table(results: Results) -> Table:
    """Return the data and the options of the main run, without those of the other solver."""
    run = results.run
    M, K, D = run.weights.shape
    shape = "" if run.image_shape is None else f" ({' × '.join(map(str, run.image_shape))})"
    scales = {"unit": "divided by the full scale", "standardise": "standardised", "none": "none"}
    without = OF_DESCENT if run.training["solver"] == "exact" else OF_EXACT
    used = {
        name: value
        for name, value in run.training.items()
        if value is not None and name not in without
    }
    rows = {
        **_flat(used),
        "scaling of the features": scales.get(run.scaling.method, run.scaling.method),
        "classes": f"{K:,}: {_shortened(run.class_names)}",
        "features": f"{D:,}{shape}",
        "test samples": f"{results.test_samples:,}",
        "settings": f"{M:,}, trained in one pass",
    }
    return _record("options", "Data and training options of the main run.", rows)


def tell_byline(provenance: Mapping[str, Any], author: str = "") -> str:
    """Return the author, the date and the version of a training, as far as they are known."""
    version = f"onelayer {provenance['onelayer']}" if "onelayer" in provenance else ""
    return ", ".join(filter(None, (one_line(author), str(provenance.get("date", "")), version)))


def provenance_table(provenance: Mapping[str, Any]) -> Table:
    """Return the versions, the machine, the time and the data of a training."""
    return _record(
        "provenance",
        "Provenance: versions, machine, seconds of training, and the digests (SHA-256) of data "
        "that came in files.",
        _flat(provenance),
    )


def _record(stem: str, caption: str, rows: Mapping[str, str]) -> Table:
    names = [name.replace("_", " ") for name in rows]
    columns = Column("what", "words", names), Column("value", "words", [*rows.values()])
    return Table(stem, caption, columns)


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested record as names and texts; seconds are rounded."""
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and len(value) > LISTED:
            flat[name] = _shortened([f"{inner}: {one}" for inner, one in value.items()])
        elif isinstance(value, Mapping):
            flat |= {f"{name}: {inner}": words for inner, words in _flat(value).items()}
        elif isinstance(value, list | tuple):
            flat[name] = _shortened([str(one) for one in value])
        else:
            flat[name] = _number(value) if isinstance(value, float) else one_line(str(value))
    return flat


def _number(value: float) -> str:
    """Return seconds with one decimal, and small numbers in full."""
    return f"{value:.1f}" if abs(value) >= 0.1 else f"{value:g}"


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name) for name in names[:LISTED])
    return f"{shown}, …" if len(names) > LISTED else shown


def tell_repeats(results: Results) -> str:
    """Return a sentence on the difference of the repeats to the main run, if there are any."""
    if not results.repeats:
        return ""
    seeds = _shortened([str(repeat.training.get("seed", "?")) for repeat in results.repeats])
    orders = sorted({str(repeat.training.get("order", "?")) for repeat in results.repeats})
    return (
        f"{count_of(len(results.repeats), 'repeat')} with the same options, batches in "
        f"{' or '.join(orders)} order, seed {seeds}."
    )
