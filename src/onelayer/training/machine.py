"""The machine that a job runs on: threads, memory, engine and device."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onelayer.errors import InputError, shown, unknown_name
from onelayer.option import COUNT, Checked, option
from onelayer.training.checkpoint import Spacing
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine, kernel_trains
from onelayer.training.engine import MakeEngine
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.numpy_engine import NumpyEngine
from onelayer.training.ranks import LONGEST, TIMEOUT
from onelayer.training.torch_device import PRECISIONS, check_device, check_numbers, find_device
from onelayer.training.world import world

GB = 10**9
ENGINES: dict[str, MakeEngine] = {"compiled": CompiledEngine, "numpy": NumpyEngine}
SHARDS = ("models", "rows")
NAMES = ("auto", *ENGINES, "torch")  # torch is imported where it is asked for


def _check_threads(threads: int) -> None:
    most = 16 * (os.cpu_count() or 1)
    if threads > most:
        raise InputError(f"threads is {threads}; expected 1 to {most} on this machine")


@dataclass(frozen=True)
class Machine(Checked):
    """What a job runs on, the same for training, cross-validation, probes and the forecast.

    `engine` is a name, or the class of an engine. A GPU, a `precision` but float32, and `shard`
    "rows" are for the engine torch, which auto then means. `checkpoint` says how often what is
    trained is kept, where there is a folder for it. The last three are for several processes: see
    docs/scale.md.

    Raises
    ------
    InputError
        If the threads are fewer than one or far more than cores, the memory is not above 0, or the
        engine or the device is unknown or not there on this machine.
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
        "auto",
        "Engine that trains: auto (the fastest on the CPU), compiled, numpy or torch (PyTorch).",
        kind=object,
    )
    device: str = option(
        "auto",
        "Device of the engine torch: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.",
        parse=check_device,
    )
    precision: str = option(
        "float32",
        "Precision of the products of the engine torch: float32, tf32 or bfloat16.",
        choices=PRECISIONS,
    )
    checkpoint: str = option(
        "auto",
        "Write a checkpoint every n epochs (5) or minutes (2min); auto: every minute, from the "
        "first on; none.",
        parse=Spacing.parse,
    )
    shard: str = option(
        "models",
        "What several processes (torchrun) share: models, or rows (PyTorch) of data that are too "
        "large for one.",
        choices=SHARDS,
    )
    stacks: int | None = option(
        None,
        "Number of stacks, or a multiple of it (default: the number of processes).",
        kind=int,
        least=1,
        most=COUNT,
    )
    rank_timeout: float = option(
        TIMEOUT,
        "Seconds without a sign of life after which a process is given up, and the others end.",
        least=1,
        most=LONGEST,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.engine, str) and self.engine not in NAMES:
            raise unknown_name("engine", self.engine, NAMES)
        if not isinstance(self.engine, str) and not hasattr(self.engine, "model_bytes"):
            raise InputError(f"engine is {shown(self.engine)}; expected a name or a class")
        if self.engine == "compiled" and not WIDTHS:
            raise InputError("engine is compiled; it is not there on this machine, numpy is")
        if self._takes_torch:
            check_numbers(find_device(self.device), self.precision, "float32")
        elif self._asks_for_torch:
            asked = f"device {self.device}, precision {self.precision} and shard {self.shard}"
            raise InputError(f"{asked} need engine torch; engine is {shown(self.engine)}")

    @property
    def together(self) -> int:
        """The number of processes that share the models."""
        return world().size if self.shard == "models" else 1

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory * GB)

    @property
    def _asks_for_torch(self) -> bool:
        """Whether there is an option that the other engines cannot follow."""
        others = self.precision != "float32" or self.shard == "rows"
        return others or self.device not in ("auto", "cpu")

    @property
    def _takes_torch(self) -> bool:
        return self.engine == "torch" or (self.engine == "auto" and self._asks_for_torch)

    @property
    def plain(self) -> dict[str, Any]:
        """The options by name as plain values, to call for the same stacks again.

        An engine of one's own is there by the name of its class.
        """
        engine = getattr(self.engine, "__name__", self.engine)
        return {**vars(self), "engine": engine, "stacks": self.stacks or self.together}

    @property
    def own_checkpoint(self) -> str:
        """How often this process keeps what it trains: of one that all train rank 0 alone does."""
        return self.checkpoint if self.shard == "models" or world().leads else "none"

    def find_engine(self, dtype: str, settings: Sequence[Hyperparameters]) -> MakeEngine:
        """Return the class of the engine for models in `dtype` with these settings.

        Raises
        ------
        InputError
            If the engine that was asked for cannot train them.
        """
        if not isinstance(self.engine, str):
            return self.engine
        if self._takes_torch:
            return self._find_torch(dtype, settings)
        if self.engine == "compiled" and dtype != "float32":
            raise InputError(f"engine is compiled and dtype {dtype}; it trains in float32 alone")
        if self.engine == "auto":
            compiled = dtype == "float32" and all(kernel_trains(each.loss) for each in settings)
            return CompiledEngine if compiled else NumpyEngine
        return ENGINES[self.engine]

    def _find_torch(self, dtype: str, settings: Sequence[Hyperparameters]) -> MakeEngine:
        """Return the engine on PyTorch for a device that is there."""
        found = find_device(self.device)
        check_numbers(found, self.precision, dtype)
        from onelayer.training.torch_engine import TorchEngine
        from onelayer.training.torch_losses import check_losses
        from onelayer.training.torch_rows import RowsEngine

        check_losses(setting.loss for setting in settings)
        engine = RowsEngine if self.shard == "rows" else TorchEngine
        return engine.on(found, self.precision)


HERE = Machine()  # the defaults: all cores, the fastest engine
