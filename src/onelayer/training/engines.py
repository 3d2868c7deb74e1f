"""Which engine trains."""

from collections.abc import Sequence

from onelayer.training.compiled_engine import CompiledEngine, kernel_trains
from onelayer.training.engine import MakeEngine
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.numpy_engine import NumpyEngine


def best_engine(dtype: str, settings: Sequence[Hyperparameters]) -> MakeEngine:
    """Return the fastest engine that this machine has for models of `settings` in `dtype`.

    The kernel computes in float32 and has the losses of this package. A stack with another loss is
    trained by NumPy.
    """
    compiled = dtype == "float32" and all(kernel_trains(setting.loss) for setting in settings)
    return CompiledEngine if compiled else NumpyEngine
