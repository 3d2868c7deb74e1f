"""The formats that are read, to train on or to predict, and which of them a path is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.arguments import checked
from onelayer.data.columns import Columns, Tell
from onelayer.data.contents import Contents, make_dataset
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.files import check_file, digests_of, entries
from onelayer.data.formats.arrow import (
    feather_features,
    parquet_features,
    read_feather,
    read_parquet,
)
from onelayer.data.formats.cifar100 import find_cifar100, read_cifar100
from onelayer.data.formats.delimited import csv_features, read_csv
from onelayer.data.formats.folder import npy_features, read_folder, read_pair, suits_folder
from onelayer.data.formats.idx import find_idx, read_idx_folder
from onelayer.data.formats.images import (
    find_pictures,
    holds_loose_pictures,
    holds_pictures,
    list_pictures,
    read_images,
)
from onelayer.data.formats.npz import npz_features, read_npz
from onelayer.data.formats.picture import is_picture
from onelayer.data.formats.tensors import read_safetensors, safetensors_features
from onelayer.data.reading import Reading
from onelayer.errors import InputError, printable
from onelayer.option import build

_MAGIC_BYTES = 16


@dataclass(frozen=True)
class Format:
    """A format of files or folders: its name in messages, a test of a path, and its readers.

    `looks` describes a path of the format in messages; `suits(path)` is true for such a path.
    `read(path, **options)` takes the named options; it is None if there is no room for labels.
    `features(path, **options)` gives the samples without labels, in one array (n, …) or several;
    without it they are those of `read`. If it is a `table`, both also take the Columns of a model,
    `like`, by whose names they read, and `features` takes what is to `tell`. `pictures(path)` lists
    the files instead, if samples are pictures: a model says to which size they are converted.
    """

    looks: str
    suits: Callable[[Path], object]
    read: Callable[..., Contents] | None
    options: tuple[str, ...] = ()
    features: Callable[..., Iterable[Any]] | None = None
    pictures: Callable[[Path], list[Path]] | None = None
    table: bool = False

    def read_features(
        self, path: Path, like: Columns | None, tell: Tell, **options: Any
    ) -> Iterable[Any]:
        """Return the samples of all splits, one split after another."""
        if self.table:
            options |= {"like": like, "tell": tell}
        if self.features is not None:
            return self.features(path, **options)
        parts = self.read_labelled(path, **options).parts
        return [parts[split].X for split in SPLIT_NAMES if split in parts]

    def read_labelled(self, path: Path, like: Columns | None = None, **options: Any) -> Contents:
        """Return what `path` holds; InputError if that has no labels."""
        if self.table:
            options |= {"like": like}
        if self.read is None:
            forms = FOLDERS if path.is_dir() else FILES
            labelled = ", ".join(form.looks for form in forms if form.read)
            raise InputError(f"{path}: read as {self.looks}, without labels; expected {labelled}")
        return self.read(path, **options)


FOLDERS = (
    Format("train.X.npy or train/*.X.npy", suits_folder, read_folder),
    Format("train-images-idx3-ubyte (MNIST)", find_idx, read_idx_folder),
    Format(
        "train.bin, train or train.mat (CIFAR-100)",
        lambda folder: find_cifar100(folder) is not None,
        read_cifar100,
        ("coarse",),
    ),
    Format(
        "a folder of pictures for each class",
        holds_pictures,
        read_images,
        ("resize",),
        pictures=find_pictures,
    ),
    Format("a folder of pictures", holds_loose_pictures, read=None, pictures=list_pictures),
)


def named(*suffixes: str) -> Callable[[Path], bool]:
    """Return whether a path's name ends in one of them, as a function of the path."""
    return lambda path: path.name.lower().endswith(suffixes)


def begins(magic: bytes) -> Callable[[Path], bool]:
    """Return whether a file's first bytes are these, as a function of its path."""
    return lambda path: _first_bytes(path).startswith(magic)


def _is_picture(path: Path) -> bool:
    return is_picture(_first_bytes(path), path.name)


FILES = (
    Format(".npz", begins(b"PK\x03\x04"), read_npz, features=npz_features),
    Format(".parquet", begins(b"PAR1"), read_parquet, ("label",), parquet_features, table=True),
    Format(
        ".feather or .arrow",
        begins(b"ARROW1"),
        read_feather,
        ("label",),
        feather_features,
        table=True,
    ),
    Format(".X.npy beside .y.npy", named(".x.npy"), read_pair, features=npy_features),
    Format(".npy", begins(b"\x93NUMPY"), read=None, features=npy_features),
    Format("a picture", _is_picture, read=None, pictures=lambda path: [path]),
    Format(".safetensors", named(".safetensors"), read_safetensors, features=safetensors_features),
    Format(".csv or .tsv", named(".csv", ".tsv"), read_csv, ("label",), csv_features, table=True),
)


@checked
def read_dataset(
    path: Path,
    *,
    seed: int = 0,
    test: bool = True,
    allow_missing: bool = False,
    like: Columns | None = None,
    **options: Any,
) -> Dataset:
    """Return what the file or folder `path` holds, read as the format that it is.

    Its first bytes or else its name say what a file is, its contents what a folder is. `seed` draws
    the splits that are missing; without `test` the test split is left out. Of a table the columns
    of `like` are read, those of a model.

    Raises
    ------
    InputError
        If it has no known format, takes no such option, or is damaged; names the file.
    """
    options = build(Reading, options).given
    contents = find_format(path, options).read_labelled(path, like, **options)
    return make_dataset(
        str(path),
        contents,
        name=printable(path.resolve().name),
        seed=seed,
        test=test,
        digests=digests_of(contents.files or [path], path),
        allow_missing=allow_missing,
    )


def find_format(path: Path, options: Iterable[str] = ()) -> Format:
    """Return the format that suits a file or folder and takes the options.

    Raises
    ------
    InputError
        If no format suits, or it takes no such option.
    """
    form = _suiting(path)
    for name in options:
        if name not in form.options:
            raise InputError(f"{path}: read as {form.looks}, which takes no option {name!r}")
    return form


def _suiting(path: Path) -> Format:
    if path.is_dir():
        return _suiting_folder(path)
    check_file(path)
    for form in FILES:
        if form.suits(path):
            return form
    if begins(b"\x1f\x8b")(path):
        raise InputError(
            f"{path}: an archive; unpack it first, or if it holds CIFAR-10: "
            f"onelayer train cifar10 --source {path}"
        )
    looks = ", ".join(form.looks for form in FILES)
    raise InputError(f"{path}: of no known format; expected {looks}, or a folder")


def _suiting_folder(folder: Path) -> Format:
    for form in FOLDERS:
        if form.suits(folder):
            return form
    inner = filter(Path.is_dir, entries(folder))
    meant = next((place for place in inner if any(form.suits(place) for form in FOLDERS)), None)
    looks = "; ".join(form.looks for form in FOLDERS if form.read)
    hint = f"; did you mean {meant}?" if meant else ""
    raise InputError(f"{folder}: a folder with no data set in it; expected {looks}{hint}")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
