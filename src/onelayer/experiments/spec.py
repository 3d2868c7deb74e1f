"""Specs: a whole experiment as a TOML file."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    model_validator,
)

from onelayer.data.catalog import DEFAULT
from onelayer.data.reading import Reading
from onelayer.errors import InputError, printable
from onelayer.evaluation.selection import RULES
from onelayer.experiments.complaints import plain_words
from onelayer.experiments.config_file import find_file, read_table
from onelayer.model import derivatives, gradient_check
from onelayer.option import SEED, build, option, options_of
from onelayer.training.hyperparameters import Hyperparameters, check_settings, grid
from onelayer.training.options import TrainingOptions

FOLDER = Path(__file__).parent
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Parts = str | tuple[str, ...]
T = TypeVar("T")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _read_parts(value: Any) -> Parts:
    """Return the name of a part of a data set, or several."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise InputError(f"found {value!r:.60}; expected the name of a part, or a list of names")


def _read_validation(value: Any) -> Parts | float:
    """Return the parts that validate, or the size to split off the training samples."""
    try:
        size = float(value) if not isinstance(value, bool | list | tuple) else math.nan
    except (TypeError, ValueError):
        size = math.nan
    if 0 < size < math.inf:
        return size
    if math.isnan(size) and not isinstance(value, bool | float):
        return _read_parts(value)
    raise InputError(f"validation is {value!r:.60}; expected a number above 0, or names of parts")


@dataclass(frozen=True)
class DataSpec(Reading):
    """The data set or folder of an experiment, the parts of its splits, and reading options.

    A number as `validation` is split off the training samples, stratified and drawn from
    `split_seed`.
    """

    dataset: str = option("", "A data set's name, a file or a folder.")
    train: Parts = option(DEFAULT, "Part, or parts, that train.", kind=tuple, parse=_read_parts)
    validation: Parts | float = option(
        DEFAULT,
        "Training samples to hold out for validation: a share below 1, or a number; default: the "
        "split that the data bring, else 15 %.",
        kind=tuple,
        parse=_read_validation,
    )
    test: Parts = option(DEFAULT, "Part, or parts, that test.", kind=tuple, parse=_read_parts)
    split_seed: int = option(0, "Seed that draws the validation split.", least=0, most=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset:
            raise InputError("dataset: not given, and it has no default")


@dataclass(frozen=True)
class ExperimentOptions(TrainingOptions):
    """The options of an experiment: those of training, of the selection and of the test.

    A repeat trains with another seed, in shuffled order (windowed if `order` is). `folds` above 1
    cross-validate all settings on the training split, `fold_repeats` times. `test` chooses the
    models that see the test split: all, as a published table of several settings needs, or only the
    selected one, which is then the only one that is repeated.
    """

    repeats: int = option(
        0,
        "Number of repetitions of the training with other seeds, to estimate the spread.",
        least=0,
        most=1000,
    )
    folds: int = option(0, "Number of cross-validation folds.", least=0, most=10_000)
    fold_repeats: int = option(1, "Number of repetitions of the folds.", least=1, most=1000)
    select: str = option(
        "best",
        "Setting that is selected: best, or 1se: the simplest within one standard error of it.",
        choices=RULES,
    )
    optimum: bool = option(
        False, "Also search the least cost of every setting with λ > 0, to compare the curves with."
    )
    test: str = option(
        "all", "Settings that see the test split: all or selected.", choices=("all", "selected")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repeats and self.solver == "exact":
            raise InputError(
                f"repeats is {self.repeats}; the exact solver ends at the same least cost with "
                "every seed: leave it out, or ask for solver descent"
            )
        if self.seed + self.repeats > SEED:
            raise InputError(
                f"seed is {self.seed} and {self.repeats} repeats count on from it; "
                f"expected a seed up to {SEED - self.repeats:,}"
            )

    @property
    def options(self) -> TrainingOptions:
        """Only the options of training."""
        return TrainingOptions(
            **{name: getattr(self, name) for name in options_of(TrainingOptions)}
        )


@dataclass(frozen=True)
class SettingSpec(Hyperparameters):
    """One model, and the test accuracy that was published for it, if any."""

    published_accuracy: float | None = option(
        None, "Published test accuracy.", kind=float, least=0, most=1
    )

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The setting without the published figure."""
        return Hyperparameters(
            **{name: getattr(self, name) for name in options_of(Hyperparameters)}
        )


def _read(cls: type) -> BeforeValidator:
    """Return a validator that builds a `cls` of options from a table, with the checks of `cls`."""

    def read(given: Any) -> Any:
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict):
            raise ValueError(f"found {given!r:.60}; expected a table")
        return build(cls, given, "key")

    return BeforeValidator(read)


Data = Annotated[InstanceOf[DataSpec], _read(DataSpec)]
Training = Annotated[InstanceOf[ExperimentOptions], _read(ExperimentOptions)]
Setting = Annotated[InstanceOf[SettingSpec], _read(SettingSpec)]


def _expand_grid(given: Any) -> Any:
    """Append all combinations of the lists of the table `grid` to the settings."""
    if not isinstance(given, dict) or "grid" not in given:
        return given
    rest = {name: value for name, value in given.items() if name != "grid"}
    values = given["grid"]
    if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
        raise ValueError("grid: expected a list of values for each hyperparameter")
    combinations = [vars(setting) for setting in grid(**values)]
    return rest | {"settings": [*rest.get("settings", ()), *combinations]}


class Variant(_Section):
    """The experiment with some options changed: those given here replace those of the spec.

    Without settings, or a grid of them, it trains the first setting of the spec.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: str
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}
    settings: tuple[Setting, ...] = ()

    _grid = model_validator(mode="before")(_expand_grid)

    def change(self, section: str, options: T) -> T:
        """Return the options of a section of the spec, with the changes of this variant."""
        try:
            return build(type(options), vars(options) | getattr(self, section), "key")
        except InputError as error:
            raise InputError(f"variant {self.name}: {section}: {error}") from error


class GradientCheckSpec(_Section):
    """A gradient check on the first `images` training samples, for each `l2` and loss of the spec.

    `place` chooses W and b: "random" ones with scores of order 1, or the "initial" ones of a
    training with the default settings.
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
    """A whole experiment; its name is also that of its output folder.

    A table `grid`, with a list of values for each hyperparameter, stands for all combinations.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    author: str = ""
    source: str = ""
    data: Data
    training: Training = ExperimentOptions()
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)]
    gradient_checks: tuple[GradientCheckSpec, ...] = ()
    variants: tuple[Variant, ...] = ()

    _grid = model_validator(mode="before")(_expand_grid)

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        """Check the number of models: all folds of all settings are kept together."""
        check_settings(len(self.settings), self.training.folds, self.training.fold_repeats)
        return self

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        """Check every variant before any training."""
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        self.of_variants()
        return self

    def of_variants(self) -> list["Spec"]:
        """Return the experiment of each variant."""
        return [self._of_variant(variant) for variant in self.variants]

    def _of_variant(self, variant: Variant) -> "Spec":
        data = variant.change("data", self.data)
        training = variant.change("training", self.training)
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
        """Check that names differ: checks of one name would overwrite each other's files."""
        names = [f"{check.name} at l2 {l2:g}" for check in self.gradient_checks for l2 in check.l2]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"two gradient checks are called {twice[0]}")
        return self


def adjust(spec: Spec, **asked: Any) -> Spec:
    """Return the spec with those training options replaced that are not None.

    With another number of epochs the published accuracies no longer belong to it and are dropped.

    Raises
    ------
    InputError
        If a value is out of range: names the key.
    """
    changes: dict[str, Any] = {name: v for name, v in asked.items() if v is not None}
    training, settings = replace(spec.training, **changes), spec.settings
    if training.epochs != spec.training.epochs:
        settings = tuple(replace(setting, published_accuracy=None) for setting in settings)
    return spec.model_copy(update={"training": training, "settings": settings})


def sign(spec: Spec, title: str | None, author: str | None) -> Spec:
    """Return the spec with the given title and author of its report.

    Raises
    ------
    InputError
        If one of them is empty.
    """
    given = {
        name: text for name, text in (("title", title), ("author", author)) if text is not None
    }
    for name, text in given.items():
        if not text.strip():
            raise InputError(f"{name}: found an empty text; expected one to print on the report")
    return spec.model_copy(update=given)


def spec_of_grid(
    dataset: str,
    settings: Sequence[Hyperparameters],
    training: ExperimentOptions,
    data: Mapping[str, Any],
) -> Spec:
    """Return the spec that trains these settings on a data set; `data` are fields of DataSpec.

    Raises
    ------
    InputError
        If a value of `data` is out of range: names it.
    """
    title = printable(Path(dataset).resolve().name)  # only the last part of the path
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", title).lstrip("._-") or "data"
    with plain_words(Spec):
        return Spec(
            name=name,
            title=f"Training on {title}",
            data=DataSpec(dataset=dataset, **data),
            training=training,
            settings=tuple(SettingSpec(**vars(setting)) for setting in settings),
        )


def load_spec(name: str) -> Spec:
    """Read the spec of the package with this `name`, or the one in the file `name`.

    A file is TOML, or the JSON that an experiment writes to its output folder.

    Raises
    ------
    InputError
        If there is no such spec (suggests the nearest), or it is malformed: names file and key.
    """
    path = find_file("spec", name, FOLDER)
    with plain_words(Spec, f"{path}: "):
        return Spec.model_validate(read_table(path))
