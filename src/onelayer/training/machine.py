"""The machine that a job runs on: threads, memory and engine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from onelayer.errors import InputError, shown, unknown_name
from onelayer.option import Checked, option
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine, kernel_trains
from onelayer.training.engine import MakeEngine
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.numpy_engine import NumpyEngine

GB = 10**9
ENGINES: dict[str, MakeEngine] = {"compiled": CompiledEngine, "numpy": NumpyEngine}


def _check_threads(threads: int) -> None:
    most = 16 * (os.cpu_count() or 1)
    if threads > most:
        raise InputError(f"threads is {threads}; expected 1 to {most} on this machine")


@dataclass(frozen=True)
class Machine(Checked):
    """What a job runs on, the same for training, cross-validation, probes and the forecast.

    `engine` is a name, or the class of an engine.

    Raises
    ------
    InputError
        If the threads are fewer than one or far more than cores, the memory is not above 0, or the
        engine is unknown or not there on this machine.
    """

    threads: int | None = option(
        None, "Number of threads (default: all cores).", kind=int, least=1, parse=_check_threads
    )
    memory: float = option(
        1.0,
        "Memory in GB for a stack of models, and again for all weights and curves.",
        above=0,
        most=1e6,
    )
    engine: str | MakeEngine = option(
        "auto", f"Engine that trains: auto (the fastest here), {', '.join(ENGINES)}.", kind=object
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.engine, str) and self.engine not in ("auto", *ENGINES):
            raise unknown_name("engine", self.engine, ("auto", *ENGINES))
        if not isinstance(self.engine, str) and not hasattr(self.engine, "model_bytes"):
            raise InputError(f"engine is {shown(self.engine)}; expected a name or a class")
        if self.engine == "compiled" and not WIDTHS:
            raise InputError("engine is compiled; it is not there on this machine, numpy is")

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory * GB)

    def find_engine(self, dtype: str, settings: Sequence[Hyperparameters]) -> MakeEngine:
        """Return the class of the engine for models in `dtype` with these settings.

        Raises
        ------
        InputError
            If the engine that was asked for cannot train them.
        """
        if not isinstance(self.engine, str):
            return self.engine
        if self.engine == "compiled" and dtype != "float32":
            raise InputError(f"engine is compiled and dtype {dtype}; it trains in float32 alone")
        if self.engine == "auto":
            compiled = dtype == "float32" and all(kernel_trains(each.loss) for each in settings)
            return CompiledEngine if compiled else NumpyEngine
        return ENGINES[self.engine]


HERE = Machine()  # the defaults: all cores, the fastest engine
