"""A published experiment as data: what a TOML spec may say."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from onelayer.data.batches import Order
from onelayer.data.catalog import DEFAULT
from onelayer.data.scaling import Method as ScalingMethod
from onelayer.errors import InputError, printable, unknown_name
from onelayer.evaluation.selection import Rule
from onelayer.experiments.complaints import plain_words
from onelayer.experiments.config_file import read_table
from onelayer.model import derivatives, gradient_check
from onelayer.training.hyperparameters import DEFAULTS, Hyperparameters, grid
from onelayer.training.protocol import Dtype, Keep, Protocol

FOLDER = Path(__file__).parent
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Side = Annotated[int, Field(ge=1)]
Parts = str | tuple[str, ...]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSpec(_Section):
    """Which parts of which data set, or which folder, are the splits; how features are scaled.

    A number as `validation` is split off the training samples, stratified: a share of them below 1,
    else their count. Which ones is drawn from `split_seed`. `resize`, `coarse` and `label` are for
    the formats that take them: see load_dataset.
    """

    dataset: str
    train: Parts = DEFAULT
    validation: Parts | Positive = DEFAULT
    test: Parts = DEFAULT
    split_seed: Annotated[int, Field(ge=0)] = 0
    resize: tuple[Side, Side] | None = None
    coarse: bool = False
    label: str | None = None
    scaling: ScalingMethod = "unit"

    @property
    def reading(self) -> dict[str, Any]:
        """The options of load_dataset that are not at their defaults."""
        options = {"resize": self.resize, "coarse": self.coarse, "label": self.label}
        return {name: value for name, value in options.items() if value}


class TrainingSpec(_Section):
    """The protocol: one run in `order`, and `orders` repeats, each in a shuffled order of its own.

    The repeats are windowed if `order` is. What training.protocol.Protocol has keeps its meaning.
    `folds` above 1 cross-validates all settings on the training split, `fold_repeats` times over.
    `select` chooses a setting by that, or by the validation split. `optimum` asks for the least
    cost of every cross-entropy with λ > 0, to measure the curves against. `test` says which models
    see the test split: every one, as a published table of several settings needs, or the chosen
    one alone, which is then the only one that is repeated.
    """

    batch_size: Annotated[int, Field(ge=1)] = 100
    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 40
    order: Order = "file"
    orders: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    dtype: Dtype = "float32"
    augmentation: str = "none"
    evaluate_every: Annotated[int, Field(ge=0)] = 1
    keep: Keep = "last"
    patience: Annotated[int, Field(ge=1)] | None = None
    time_limit: Positive | None = None
    class_weight: Literal["balanced"] | dict[str, NotNegative] | None = None
    folds: Annotated[int, Field(ge=0)] = 0
    fold_repeats: Annotated[int, Field(ge=1)] = 1
    select: Rule = "best"
    optimum: bool = False
    test: Literal["all", "selected"] = "all"

    @property
    def protocol(self) -> dict[str, Any]:
        """The fields of training.protocol.Protocol."""
        return {name: getattr(self, name) for name in Protocol.__dataclass_fields__}


def _expand_grid(given: Any) -> Any:
    """Put all combinations of the lists of the table `grid` after the settings."""
    if not isinstance(given, dict) or "grid" not in given:
        return given
    rest = {name: value for name, value in given.items() if name != "grid"}
    values = given["grid"]
    if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
        raise ValueError("grid: expected a list of values for each hyperparameter")
    combinations = [vars(setting) for setting in grid(**values)]
    return rest | {"settings": [*rest.get("settings", ()), *combinations]}


class SettingSpec(_Section):
    """One model, and the test accuracy that was published for it, if any."""

    l2: NotNegative = Hyperparameters.l2
    learning_rate: Positive = Hyperparameters.learning_rate
    init_sd: NotNegative = Hyperparameters.init_sd
    loss: str = Hyperparameters.loss
    schedule: str = Hyperparameters.schedule
    warmup: Annotated[int, Field(ge=0)] = Hyperparameters.warmup
    momentum: Annotated[float, Field(ge=0, lt=1)] = Hyperparameters.momentum
    nesterov: bool = Hyperparameters.nesterov
    init: str = Hyperparameters.init
    init_seed: Annotated[int, Field(ge=0)] = Hyperparameters.init_seed
    published_accuracy: Share | None = None

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The setting without the published figure."""
        return Hyperparameters(**{name: getattr(self, name) for name in DEFAULTS})

    @model_validator(mode="after")
    def _be_trainable(self) -> Self:
        """Names and combinations are checked where they are known."""
        self.hyperparameters  # noqa: B018
        return self


class Variant(_Section):
    """The experiment with something changed: what is given here takes the place of the spec's own.

    Without settings, or a grid of them, it trains the first setting of the spec.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: str
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}
    settings: tuple[SettingSpec, ...] = ()

    _grid = model_validator(mode="before")(_expand_grid)


class GradientCheckSpec(_Section):
    """A gradient check on the first `images` training samples, for each `l2` and loss of the spec.

    `place` says at which W and b: "random" ones with scores of order 1, or the "initial" ones of
    a training with the default settings.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    method: derivatives.Method
    step: Annotated[float, Field(gt=0, le=1)]
    images: Annotated[int, Field(ge=1)]
    l2: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    eps: Positive
    tolerance: Positive
    precision: gradient_check.Precision = "double"
    place: Literal["random", "initial"] = "random"


class Spec(_Section):
    """A whole experiment; its name is that of its output folder, too.

    A table `grid`, with a list of values for each hyperparameter, stands for all combinations.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    source: str = ""
    data: DataSpec
    training: TrainingSpec = TrainingSpec()
    settings: Annotated[tuple[SettingSpec, ...], Field(min_length=1)]
    gradient_checks: tuple[GradientCheckSpec, ...] = ()
    variants: tuple[Variant, ...] = ()

    _grid = model_validator(mode="before")(_expand_grid)

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        """Find out what cannot be before anything is trained."""
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        self.of_variants()
        return self

    def of_variants(self) -> list["Spec"]:
        """Return the experiment of each variant."""
        return [self._of_variant(variant) for variant in self.variants]

    def _of_variant(self, variant: Variant) -> "Spec":
        with plain_words(DataSpec, f"variant {variant.name}: data: "):
            data = DataSpec.model_validate(self.data.model_dump() | variant.data)
        with plain_words(TrainingSpec, f"variant {variant.name}: training: "):
            training = TrainingSpec.model_validate(self.training.model_dump() | variant.training)
        return Spec(
            name=f"{self.name}-{variant.name}",
            title=variant.title,
            source=self.source,
            data=data,
            training=training,
            settings=variant.settings or self.settings[:1],
        )

    @model_validator(mode="after")
    def _name_checks_apart(self) -> Self:
        """Two checks of one name would overwrite each other's files."""
        names = [f"{check.name} at l2 {l2:g}" for check in self.gradient_checks for l2 in check.l2]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two gradient checks are called {twice[0]}")
        return self


def adjust(spec: Spec, **asked: int | None) -> Spec:
    """Return the spec with the parts of its training protocol that are not None replaced.

    With another number of epochs its published accuracies no longer belong to it and are dropped.

    Raises
    ------
    InputError
        If a value is out of range: names the key.
    """
    changes = {name: value for name, value in asked.items() if value is not None}
    with plain_words(TrainingSpec):
        training = TrainingSpec.model_validate(spec.training.model_dump() | changes)
    settings = spec.settings
    if training.epochs != spec.training.epochs:
        settings = tuple(s.model_copy(update={"published_accuracy": None}) for s in settings)
    return spec.model_copy(update={"training": training, "settings": settings})


def spec_of_grid(
    dataset: str, values: dict[str, list[Any]], *, data: dict[str, Any], **training: Any
) -> Spec:
    """Return the spec that trains every combination of the `values` of Hyperparameters.

    `data` are fields of DataSpec, `training` those of TrainingSpec. Only the setting that is chosen
    without it is evaluated on the test split.

    Raises
    ------
    InputError
        If a value is out of range or a name unknown: names the option.
    """
    settings = [SettingSpec(**vars(setting)) for setting in grid(**values)]
    title = printable(Path(dataset).resolve().name)  # the last part alone: runs/ comes before it
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", title).lstrip("._-") or "data"
    with plain_words(DataSpec):
        chosen = DataSpec(dataset=dataset, **data)
    with plain_words(TrainingSpec):
        protocol = TrainingSpec(test="selected", **training)
    with plain_words(Spec):
        return Spec(
            name=name,
            title=f"Training on {title}",
            data=chosen,
            training=protocol,
            settings=tuple(settings),
        )


def shipped_specs() -> dict[str, Path]:
    """Return the specs that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_spec(name: str) -> Spec:
    """Read the spec that comes with the package under `name`, or the one in the file `name`.

    A file is TOML, or the JSON that an experiment leaves in its output folder.

    Raises
    ------
    InputError
        If there is no such spec (suggests the nearest), or it is malformed: names file and key.
    """
    path = shipped_specs().get(name) or Path(name)
    if not path.is_file():
        if path.suffix in (".toml", ".json") or path.parent != Path():
            raise InputError(f"{path}: no such spec file")
        raise unknown_name("spec", name, shipped_specs())
    with plain_words(Spec, f"{path}: "):
        return Spec.model_validate(read_table(path))
