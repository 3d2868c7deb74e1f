"""Provenance: the machine and the software of a computation."""

import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.errors import InputError, shown
from onelayer.thread_pools import pools
from onelayer.training.engine import MakeEngine, OnDevice

_OF_THE_TRAINING = {"date", "seconds", "stacks", "digests", "processes"}
_OF_ALL_RANKS = ("onelayer", "engine", "precision", "torch")


def provenance() -> dict[str, Any]:
    """Return versions, CPU and threads of this process, as plain values."""
    found = pools()
    blas = [pool for pool in found if pool["user_api"] == "blas"]
    return {
        "onelayer": version("onelayer"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": [f"{pool['internal_api']} {pool['version']}" for pool in blas],
        "threads": max((pool["num_threads"] for pool in found), default=1),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def origin_of(make_engine: MakeEngine) -> dict[str, Any]:
    """Return the provenance of a training with this class of engine: also its name and device."""
    own = make_engine.origin() if isinstance(make_engine, OnDevice) else {}
    return provenance() | {"engine": getattr(make_engine, "__name__", "")} | own


def software_of(make_engine: MakeEngine) -> dict[str, Any]:
    """Return what of the software must be the same on all ranks, by name."""
    origin = origin_of(make_engine)
    return {name: origin[name] for name in _OF_ALL_RANKS if name in origin}


def recorded(record: Mapping[str, Any], name: str, kind: Any) -> Any:
    """Return an entry of a record, or raise InputError if it is missing or not of that type."""
    if name not in record or not isinstance(record[name], kind):
        raise InputError(f"{name} is missing from its record, or of another type")
    return record[name]


def place_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a training's provenance that say where it was trained."""
    return {name: value for name, value in known.items() if name not in _OF_THE_TRAINING}


def elsewhere(before: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each difference of a training's provenance, `before`, from `here`."""
    for what in sorted(here.keys() & before.keys()):
        if _differ(before[what], here[what]):
            was = f"{shown(before[what])}, not {shown(here[what])}"
            yield f"trained where {what} is {was}; the last digits may be others"


def _differ(before: Any, here: Any) -> bool:
    """Whether two values differ; of two lists of libraries, one may contain the other."""
    if isinstance(before, list) and isinstance(here, list):
        one, other = set(map(str, before)), set(map(str, here))
        return not (one <= other or other <= one)
    return bool(before != here)


@cache
def _cpu_name() -> str:
    """Return the processor's name, which Linux has in /proc/cpuinfo only."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
