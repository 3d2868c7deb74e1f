"""The options of training, which all models of a run share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onelayer.data.batches import ORDERS
from onelayer.data.scaling import METHODS
from onelayer.errors import InputError
from onelayer.option import COUNT, SEED, Checked, option, options_of
from onelayer.training.augmentation import Augmentation

SOLVERS = ("descent", "exact")
OF_DESCENT = (
    "batch_size",
    "epochs",
    "order",
    "augmentation",
    "keep",
    "patience",
    "time_limit",
    "snapshots",
)  # options that the exact solver does not use
OF_EXACT = ("solver", "tolerance")
ClassWeight = str | Mapping[str, float] | Sequence[float] | None


@dataclass(frozen=True)
class TrainingOptions(Checked):
    """The options of training that are the same for all models.

    Order "shuffled" draws a new permutation each epoch, the same for all models; "windowed"
    shuffles within windows, for data larger than memory (docs/data.md). With `keep` "best" or a
    `patience` each model ends with the parameters of the epoch of its highest validation accuracy
    (the first of equals). Where class weights are given, the loss of a batch is Σ w l / Σ w.
    The solver "exact" takes no mini-batches: of the options below it uses `scaling`,
    `class_weight`, `dtype` and the seed, and of a setting λ and the loss.

    Raises
    ------
    InputError
        If a value is out of its range or a name is unknown.

    Examples
    --------
    >>> TrainingOptions(epochs=5).batch_size
    100
    """

    solver: str = option(
        "descent",
        "Solver: descent (mini-batches, epochs, curves) or exact (the least cost, with a proof).",
        choices=SOLVERS,
    )
    tolerance: float = option(
        1e-6,
        "The exact solver ends when the cost is this share above the least one, or nearer.",
        least=1e-12,
        most=0.1,
    )
    batch_size: int = option(100, "Number of samples in a mini-batch.", least=1, most=10**9)
    epochs: int = option(40, "Number of passes over the training samples.", least=0, most=COUNT)
    order: str = option(
        "shuffled",
        "Order of the training samples: shuffled, file or windowed.",
        choices=ORDERS,
    )
    scaling: str = option(
        "unit",
        "Scaling of the features: unit (8-bit values become 0 to 1), standardise (mean 0, "
        "deviation 1) or none.",
        choices=METHODS,
    )
    augmentation: str = option(
        "none",
        "Augment training images: flip,shift:2,brightness:0.2,contrast:0.2.",
        flag="augment",
        parse=Augmentation.parse,
    )
    class_weight: ClassWeight = option(
        None,
        "Weight of each class in the loss; balanced: all classes count alike.",
        kind=object,
    )
    evaluate_every: int = option(
        1,
        "Number of epochs between evaluations; 0: only after the last epoch.",
        least=0,
        most=COUNT,
    )
    keep: str = option(
        "last",
        "Epoch whose weights are kept: last, or best by validation accuracy.",
        choices=("last", "best"),
    )
    patience: int | None = option(
        None,
        "Stop a model after this many evaluations without improvement (early stopping).",
        kind=int,
        least=1,
        most=COUNT,
    )
    time_limit: float | None = option(
        None, "Seconds after which training stops.", kind=float, above=0
    )
    snapshots: int = option(
        0,
        "Number of epochs whose weights are stored, in half precision, to play through in the "
        "explorable page.",
        least=0,
        most=1000,
    )
    dtype: str = option(
        "float32", "Precision of the models: float32 or float64.", choices=("float32", "float64")
    )
    seed: int = option(0, "Seed of everything random.", least=0, most=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver == "exact":
            for name in OF_DESCENT:
                if (value := getattr(self, name)) != options_of(TrainingOptions)[name].default:
                    raise InputError(
                        f"{name} is {value}; the exact solver takes no mini-batches: leave it out, "
                        "or ask for solver descent"
                    )

    @property
    def known_epochs(self) -> int | None:
        """The number of epochs, for a progress bar; None, for unknown, with the exact solver."""
        return None if self.solver == "exact" else self.epochs

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch's parameters are kept instead of the last one's."""
        return self.keep == "best" or self.patience is not None

    def evaluates(self, epoch: int) -> bool:
        """Return whether loss and accuracy are measured after `epoch`."""
        if epoch == self.epochs:
            return True
        return self.evaluate_every > 0 and epoch % self.evaluate_every == 0

    def deadline(self, begin: float, share: float) -> float:
        """Return the time by which `share` of all models must be trained, or infinity."""
        return math.inf if self.time_limit is None else begin + share * self.time_limit
