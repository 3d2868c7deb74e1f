"""Who runs: a module each with `prepare(problem)`, which returns the contender's Epoch.

`prepare` may hold the data in any form it likes and compile what it likes: it is not timed. Each
call of the Epoch goes on from where the last one ended; what it returns must be there, not pending.
"""

from dataclasses import dataclass
from importlib.util import find_spec

LIMIT = "limit"
OURS = "ours"


@dataclass(frozen=True)
class Contender:
    """A name for files, a label for readers, the module and function that prepare it.

    `needs` is the package that must be installed; `note` says what a reader has to know.
    """

    name: str
    label: str
    target: str
    needs: str = "numpy"
    note: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return find_spec(self.needs) is not None


def _here(module: str, function: str = "prepare") -> str:
    return f"{__name__}.{module}:{function}"


CONTENDERS = (
    Contender(LIMIT, "one large matrix product", _here("limit")),
    Contender(OURS, "onelayer", _here("ours")),
    Contender(
        "ours_numpy", "onelayer, NumPy engine", _here("ours", "prepare_numpy"), note="uint8 data"
    ),
    Contender(
        "ours_torch",
        "onelayer, PyTorch engine",
        _here("ours", "prepare_torch"),
        "torch",
        "uint8 data",
    ),
    Contender("jax_scan", "JAX vmap + scan + jit", _here("jax_scan"), "jax", "compiled beforehand"),
    Contender("torch_fused", "PyTorch, addmm by hand", _here("torch_fused"), "torch"),
    Contender("torch_vmap", "PyTorch vmap(grad)", _here("torch_vmap"), "torch"),
    Contender(
        "torch_linear", "PyTorch nn.Linear + SGD", _here("torch_linear"), "torch", "one by one"
    ),
    Contender(
        "sklearn_mlp",
        "scikit-learn MLPClassifier",
        _here("sklearn_mlp"),
        "sklearn",
        "one by one; has no curves, so they are made of its predict_proba",
    ),
    Contender(
        "numpy_course", "NumPy float64, the course's way", _here("numpy_course"), note="one by one"
    ),
)
