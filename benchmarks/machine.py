"""Where and with what it was measured."""

import os
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from onelayer.training.provenance import provenance

_PACKAGES = ("scipy", "scikit-learn", "torch", "jax", "jaxlib", "threadpoolctl", "matplotlib")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(threads: int) -> dict[str, Any]:
    """Return the date, CPU, cores, threads, BLAS, engine and versions, as plain values."""
    from onelayer.training.machine import HERE

    return {
        **provenance(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "engine": HERE.find_engine("float32", []).__name__,
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        **{package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
