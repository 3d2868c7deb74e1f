"""A published experiment as data: what a TOML spec may say."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from onelayer.data.batches import Order
from onelayer.data.catalog import DEFAULT
from onelayer.data.scaling import Method as ScalingMethod
from onelayer.errors import InputError, unknown_name
from onelayer.model import derivatives, gradient_check
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.protocol import Dtype

FOLDER = Path(__file__).parent
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Parts = str | tuple[str, ...]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSpec(_Section):
    """Which parts of which data set, or which folder, are the splits; how features are scaled."""

    dataset: str
    train: Parts = DEFAULT
    validation: Parts = DEFAULT
    test: Parts = DEFAULT
    scaling: ScalingMethod = "unit"


class TrainingSpec(_Section):
    """The protocol: one run in `order`, and `orders` repeats, each in a shuffled order of its own.

    The repeats are windowed if `order` is. `test` says which models see the test split: every one,
    as a published table of several settings needs, or only the one that the validation split chose.
    """

    batch_size: Annotated[int, Field(ge=1)] = 100
    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 40
    order: Order = "file"
    orders: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    dtype: Dtype = "float32"
    test: Literal["all", "selected"] = "all"


class SettingSpec(_Section):
    """One model, and the test accuracy that was published for it, if any."""

    l2: NotNegative = Hyperparameters.l2
    learning_rate: Positive = Hyperparameters.learning_rate
    init_sd: NotNegative = Hyperparameters.init_sd
    published_accuracy: Share | None = None

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The setting without the published figure."""
        return Hyperparameters(self.l2, self.learning_rate, self.init_sd)


class GradientCheckSpec(_Section):
    """A gradient check on the first `images` training samples, once for each `l2`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    method: derivatives.Method
    step: Annotated[float, Field(gt=0, le=1)]
    images: Annotated[int, Field(ge=1)]
    l2: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    eps: Positive
    tolerance: Positive
    precision: gradient_check.Precision = "double"


class Spec(_Section):
    """A whole experiment; its name is that of its output folder, too."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    source: str = ""
    data: DataSpec
    training: TrainingSpec = TrainingSpec()
    settings: Annotated[tuple[SettingSpec, ...], Field(min_length=1)]
    gradient_checks: tuple[GradientCheckSpec, ...] = ()

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
    """
    changes = {name: value for name, value in asked.items() if value is not None}
    training = TrainingSpec.model_validate(spec.training.model_dump() | changes)
    settings = spec.settings
    if training.epochs != spec.training.epochs:
        settings = tuple(s.model_copy(update={"published_accuracy": None}) for s in settings)
    return spec.model_copy(update={"training": training, "settings": settings})


def spec_of_grid(dataset: str, values: dict[str, list[float]], **protocol: Any) -> Spec:
    """Return the spec that trains every combination of the `values` of Hyperparameters.

    `protocol` are fields of TrainingSpec, and scaling. Only the setting that validation chooses is
    evaluated on the test split.

    Raises
    ------
    InputError
        If a value is out of range or a name unknown: names the option.
    """
    settings = [SettingSpec(**vars(setting)) for setting in grid(**values)]
    name = Path(dataset).resolve().name  # of a folder the last part alone: runs/ comes before it
    try:
        return Spec(
            name=name,
            title=f"Training on {name}",
            data=DataSpec(dataset=dataset, scaling=protocol.pop("scaling")),
            training=TrainingSpec(test="selected", **protocol),
            settings=tuple(settings),
        )
    except ValidationError as error:
        raise InputError(_first_line(error)) from error


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
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            return Spec.model_validate_json(text)
        return Spec.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_first_line(error)}") from error


def _first_line(error: ValidationError) -> str:
    """Say the first of pydantic's complaints in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    found = "" if first["type"] == "missing" else f", found {first['input']!r}"
    return f"{place or 'the file'}: {first['msg'].lower()}{found}"
