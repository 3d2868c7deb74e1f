"""What is each student's own, drawn by HMAC from the secret of the course and the student's id."""

import hmac
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import fit_scaling
from onelayer.errors import InputError
from onelayer.experiments.experiment import load_splits
from onelayer.storage import atomic_file
from onelayer.teaching.course import Course, CourseFolder
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.options import TrainingOptions

SECRET_BYTES = 32
_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # of λ and of η


@dataclass(frozen=True)
class Variant:
    """One student's: rows of the training split, order of the classes, settings, two seeds.

    Class k of the student is class `classes[k]` of the data set. `point_seed` draws the points at
    which functions are asked.
    """

    student: str
    rows: NDArray[np.intp]
    classes: NDArray[np.intp]
    settings: tuple[Hyperparameters, ...]
    seed: int
    point_seed: int


def make_secret(path: Path) -> None:
    """Write a new secret, for its owner alone to read."""
    with atomic_file(path) as new:
        new.write_text(secrets.token_hex(SECRET_BYTES))
    path.chmod(0o600)


def read_secret(course: CourseFolder) -> bytes:
    """Return the secret of the course: that of the environment's ONELAYER_SECRET, or its file.

    Raises
    ------
    InputError
        If there is none, or it is too short to be one.
    """
    path, given = course.secret_file, os.environ.get("ONELAYER_SECRET")
    if given is None and not path.is_file():
        raise InputError(f"{path}: no such file; it is made with the course and stays beside it")
    secret = (given or path.read_text("utf-8", errors="replace")).strip().encode()
    if len(secret) < SECRET_BYTES:
        raise InputError(f"{path}: {len(secret)} letters; expected a secret of {SECRET_BYTES}")
    return secret


def draw_variant(course: Course, data: Dataset, secret: bytes, student: str) -> Variant:
    """Return the variant of a student, the same whenever it is asked for.

    Without variants all students have one, of the file's order and settings; the points at which
    their functions are asked are hidden all the same.
    """
    settings = tuple(setting.hyperparameters for setting in course.settings)
    point_seed = _seed(secret, "points", student)
    n, K = len(data.train), data.n_classes
    count = min(course.rows or n, n)
    if not course.variants:
        first = np.arange(count)
        return Variant(student, first, np.arange(K), settings, course.training.seed, point_seed)
    generator = np.random.default_rng(_seed(secret, "variant", student))
    return Variant(
        student,
        _rows_of_all_classes(data.train.y, count, generator),
        generator.permutation(K),
        tuple(
            replace(
                each,
                l2=_near(each.l2, generator),
                learning_rate=_near(each.learning_rate, generator),
            )
            for each in settings
        ),
        int(generator.integers(2**31)),
        point_seed,
    )


def _seed(secret: bytes, purpose: str, student: str) -> int:
    digest = hmac.new(secret, f"{purpose}\0{student}".encode(), "sha256").digest()
    return int.from_bytes(digest[:6], "big")


def _near(value: float, generator: np.random.Generator) -> float:
    """Return a value near this one, of two digits."""
    return float(f"{value * generator.choice(_FACTORS):.2g}")


def _rows_of_all_classes(
    y: NDArray[np.intp], count: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return `count` rows in random order, of every class at least one if there is room."""
    order = generator.permutation(len(y))
    first = order[np.sort(np.unique(y[order], return_index=True)[1])]
    rest = order[~np.isin(order, first)]
    return generator.permutation(np.concatenate([first, rest])[:count])


def load_base(course: Course) -> Dataset:
    """Return the data set of the course with features as they are handed out: scaled to unit.

    Raises
    ------
    InputError
        If it cannot be had, or has no test split.
    """
    data = load_splits(course.data)
    if data.test is None:
        raise InputError(f"{data.name}: has no test split, so nothing can be judged")
    data.check_one_class("a course")
    scaling = fit_scaling("unit", data)

    def scaled(split: Split | None) -> Split | None:
        if split is None:
            return None
        return Split(scaling.apply(split.X[:], np.float32), np.asarray(split.y))

    train = scaled(data.train)
    assert train is not None
    return replace(
        data,
        train=train,
        validation=scaled(data.validation),
        test=scaled(data.test),
        full_scale=1.0,
    )


def data_of(base: Dataset, variant: Variant) -> Dataset:
    """Return the data set that a student has: rows and classes of the variant."""
    places = np.argsort(variant.classes)

    def turned(split: Split | None) -> Split | None:
        return None if split is None else Split(split.X, places[split.y])

    train = Split(base.train.X[variant.rows], places[base.train.y[variant.rows]])
    names = tuple(base.class_names[k] for k in variant.classes)
    return replace(
        base,
        train=train,
        validation=turned(base.validation),
        test=turned(base.test),
        class_names=names,
    )


def options_of_course(course: Course, variant: Variant) -> TrainingOptions:
    """Return how the reference trains for a student."""
    return replace(course.training.options, seed=variant.seed)


@dataclass(frozen=True)
class OpenCourse:
    """A course that is read, with its data as they are handed out and its secret."""

    folder: CourseFolder
    course: Course
    base: Dataset
    secret: bytes

    def variant(self, student: str) -> Variant:
        """Return what is a student's own; "" stands for what all have in common."""
        return draw_variant(self.course, self.base, self.secret, student)

    def data(self, variant: Variant) -> Dataset:
        """Return the data set that a student has."""
        return data_of(self.base, variant)


def open_course(file: Path) -> OpenCourse:
    """Read a course from its course.toml.

    Raises
    ------
    InputError
        If it is malformed, its data cannot be had, or its secret is missing.
    """
    folder = CourseFolder(file)
    course = folder.load()
    return OpenCourse(folder, course, load_base(course), read_secret(folder))
