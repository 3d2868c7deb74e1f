"""The formats that are read, and which of them a path is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.data.files import check_file, digests_of
from onelayer.data.formats.arrow import read_feather, read_parquet
from onelayer.data.formats.cifar100 import find_cifar100, read_cifar100
from onelayer.data.formats.delimited import read_csv
from onelayer.data.formats.folder import read_folder, read_pair, suits_folder
from onelayer.data.formats.idx import find_idx, read_idx_folder
from onelayer.data.formats.images import holds_pictures, read_images
from onelayer.data.formats.npz import read_npz
from onelayer.data.formats.tensors import read_safetensors
from onelayer.data.table import Contents, Table, make_table
from onelayer.errors import InputError, printable

_MAGIC_BYTES = 8


@dataclass(frozen=True)
class Format:
    """A format: what a path of it looks like, in words and as a test, and its reader.

    `read(path, **options)` takes the named options.
    """

    looks: str
    suits: Callable[[Path], object]
    read: Callable[..., Contents]
    options: tuple[str, ...] = ()


FOLDERS = (
    Format("train.X.npy or train/*.X.npy", suits_folder, read_folder),
    Format("train-images-idx3-ubyte (MNIST)", find_idx, read_idx_folder),
    Format(
        "train.bin, train or train.mat (CIFAR-100)",
        lambda folder: find_cifar100(folder) is not None,
        read_cifar100,
        ("coarse",),
    ),
    Format("a folder of PNG or JPEG for each class", holds_pictures, read_images, ("resize",)),
)


def named(*suffixes: str) -> Callable[[Path], bool]:
    """Return whether a path's name ends in one of them, as a function of the path."""
    return lambda path: path.name.lower().endswith(suffixes)


def begins(magic: bytes) -> Callable[[Path], bool]:
    """Return whether a file's first bytes are these, as a function of its path."""
    return lambda path: _first_bytes(path).startswith(magic)


FILES = (
    Format(".npz", begins(b"PK\x03\x04"), read_npz),
    Format(".parquet", begins(b"PAR1"), read_parquet, ("label",)),
    Format(".feather or .arrow", begins(b"ARROW1"), read_feather, ("label",)),
    Format(".X.npy beside .y.npy", named(".x.npy"), read_pair),
    Format(".safetensors", named(".safetensors"), read_safetensors),
    Format(".csv", named(".csv"), read_csv, ("label",)),
    Format(".tsv", named(".tsv"), read_csv, ("label",)),
)


def open_table(path: Path, *, seed: int = 0, test: bool = True, **options: Any) -> Table:
    """Return what the file or folder `path` holds, read as the format that it is.

    A file is told by its first bytes or else by its name, a folder by what is in it. `seed` draws
    the splits that it lacks; without `test` the test split is left out.

    Raises
    ------
    InputError
        If it is of no known format, takes no such option, or is damaged; names the file.
    """
    form = _find_format(path)
    for name in options:
        if name not in form.options:
            raise InputError(f"{path}: read as {form.looks}, which takes no option {name!r}")
    contents = form.read(path, **options)
    found = make_table(str(path), contents, name=printable(path.resolve().name), seed=seed)
    found = replace(found, digests=digests_of(contents.files or [path], path))
    return found if test else found.without_test()


def _find_format(path: Path) -> Format:
    if path.is_dir():
        suited = [form for form in FOLDERS if form.suits(path)]
        if not suited:
            looks = "; ".join(form.looks for form in FOLDERS)
            raise InputError(f"{path}: a folder with no data set in it; expected {looks}")
        return suited[0]
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


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
