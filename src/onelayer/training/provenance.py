"""Where and with what something was computed."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def provenance() -> dict[str, Any]:
    """Return versions, CPU and threads of this process, as plain values."""
    import threadpoolctl

    pools = threadpoolctl.threadpool_info()
    blas = [pool for pool in pools if pool["user_api"] == "blas"]
    return {
        "onelayer": version("onelayer"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": [f"{pool['internal_api']} {pool['version']}" for pool in blas],
        "threads": max((pool["num_threads"] for pool in pools), default=1),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def _cpu_name() -> str:
    """Return the processor's name; Linux tells it in /proc/cpuinfo alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
