"""Which engine trains."""

from onelayer.training.compiled_engine import WIDTHS, CompiledEngine
from onelayer.training.engine import MakeEngine
from onelayer.training.numpy_engine import NumpyEngine


def best_engine(dtype: str) -> MakeEngine:
    """Return the fastest engine that this machine has for models in `dtype`."""
    return CompiledEngine if dtype == "float32" and WIDTHS else NumpyEngine
