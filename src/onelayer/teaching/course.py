"""A course: what is taught, handed out and judged, as a TOML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from onelayer.errors import InputError, unknown_name
from onelayer.experiments.complaints import plain_words
from onelayer.experiments.config_file import read_table
from onelayer.experiments.spec import Data, Setting, Training
from onelayer.model.doctor import diagnosis  # noqa: F401 (declares every code)
from onelayer.model.doctor.roles import ROLES
from onelayer.model.doctor.slips import CODES
from onelayer.teaching.jailed import Limits

Claim = Literal["accuracies", "weights", "predictions"]
CLAIMS: tuple[str, ...] = get_args(Claim)
Visibility = Literal["visible", "after_due_date", "after_published", "hidden"]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckSpec(_Section):
    """One check: what it looks at, what it is worth, and what an answer may be off.

    A value is right within `absolute` + `relative` · |right|. For a function with a mistake
    `credit` says by its code which share of the points remains, the least of several; a claim is
    worth the share of it that lies in the band.
    """

    kind: str
    points: NotNegative
    title: str = ""
    visibility: Visibility = "visible"
    relative: NotNegative = 1e-6
    absolute: NotNegative = 1e-9
    credit: dict[str, Share] = {}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.kind not in (*ROLES, *CLAIMS):
            raise unknown_name("kind of a check", self.kind, (*ROLES, *CLAIMS))
        for code in self.credit:
            if code not in CODES:
                raise unknown_name("code of a diagnosis", code, CODES)
        return self

    @property
    def name(self) -> str:
        """What the check is called."""
        return self.title or self.kind


class LimitSpec(_Section):
    """What a submission may take; see docs/teaching.md."""

    wall: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 10.0
    total: Annotated[FiniteFloat, Field(gt=0, le=36000)] = 120.0
    cpu: Annotated[int, Field(gt=0, le=36000)] = 60
    memory: Annotated[int, Field(ge=2**28)] = 4 * 2**30

    @property
    def limits(self) -> Limits:
        """The limits of a sandbox."""
        return Limits(wall=self.wall, total=self.total, cpu=self.cpu, memory=self.memory)


class Course(_Section):
    """What a course hands out and how it is graded.

    With `variants` every student has rows, an order of the classes, λ, η, a seed and hidden probe
    points of their own; `rows` training samples are handed out, all if it is 0. `half` tells that
    the text asks for a cost with ½λ Σ W². The band comes from `band_runs` trainings.
    """

    title: str
    data: Data
    training: Training
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)]
    checks: Annotated[tuple[CheckSpec, ...], Field(min_length=1)]
    limits: LimitSpec = LimitSpec()
    half: bool = False
    variants: bool = True
    rows: Annotated[int, Field(ge=0)] = 0
    band_runs: Annotated[int, Field(ge=2, le=1000)] = 20

    @model_validator(mode="after")
    def _name_checks_apart(self) -> Self:
        names = [check.name for check in self.checks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two checks are called {name!r}; give one a title")
        return self

    @property
    def points(self) -> float:
        """The points of all checks."""
        return sum(check.points for check in self.checks)

    @property
    def claims(self) -> tuple[CheckSpec, ...]:
        """The checks of figures and files, which the band judges."""
        return tuple(check for check in self.checks if check.kind in CLAIMS)


@dataclass(frozen=True)
class CourseFolder:
    """A course on disk: the folder that is handed out, and beside it what no student may see."""

    file: Path

    @property
    def folder(self) -> Path:
        """The folder that is handed out."""
        return self.file.absolute().parent

    @property
    def own(self) -> Path:
        """The teacher's folder."""
        return self.folder.with_name(f"{self.folder.name}.teacher")

    @property
    def secret_file(self) -> Path:
        """The file of the secret from which variants are drawn."""
        return self.own / "secret"

    def load(self) -> Course:
        """Read course.toml.

        Raises
        ------
        InputError
            If there is no such file or it is malformed: names file and key.
        """
        if not self.file.is_file():
            raise InputError(f"{self.file}: no such file; onelayer teach new makes a course")
        with plain_words(Course, f"{self.file}: "):
            return Course.model_validate(read_table(self.file))
