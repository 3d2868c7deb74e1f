"""The formats that are read, for training or prediction, and the choice of one for a path."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from onelayer.arguments import checked
from onelayer.data.columns import Columns, NoLabelsError, Tell, listed
from onelayer.data.contents import Arrays, Contents, make_dataset
from onelayer.data.dataset import SPLIT_NAMES, Dataset
from onelayer.data.files import by_number, check_file, digests_of, entries
from onelayer.data.formats import text
from onelayer.data.formats.array_files import (
    array_file_features,
    array_file_sets,
    find_beside,
    holds_array_files,
    labels_beside,
    lies_beside_labels,
    loose_arrays,
    one_array_features,
    read_array_file,
    read_array_files,
    read_of_rows,
)
from onelayer.data.formats.arrow import (
    Open,
    open_arrow,
    open_parquet,
    read_table,
    table_features,
    table_pictures,
    table_sets,
)
from onelayer.data.formats.cifar import holds_cifar10, read_cifar10
from onelayer.data.formats.cifar100 import find_cifar100, read_cifar100
from onelayer.data.formats.delimited import csv_features, read_csv
from onelayer.data.formats.folder import npy_features, read_folder, read_pair, suits_folder
from onelayer.data.formats.idx import find_idx, idx_features, read_idx_folder, read_idx_set
from onelayer.data.formats.images import (
    find_layout,
    find_pictures,
    holds_loose_pictures,
    holds_pictures,
    list_pictures,
    read_images,
)
from onelayer.data.formats.layouts import (
    WHOLE,
    find_members,
    find_sets,
    join_contents,
    set_around,
)
from onelayer.data.formats.npz import npz_features, npz_sets, read_npz
from onelayer.data.formats.picture import Encoded, is_picture
from onelayer.data.formats.sample_arrays import (
    holds_sample_arrays,
    read_sample_arrays,
    sample_array_features,
)
from onelayer.data.formats.tensors import (
    read_safetensors,
    safetensors_features,
    safetensors_sets,
)
from onelayer.data.formats.torch_file import (
    holds_one_tensor,
    read_torch,
    torch_features,
    torch_sets,
)
from onelayer.data.npy import map_or_load
from onelayer.data.pooling import if_tokens
from onelayer.data.reading import OF_ROWS, Reading
from onelayer.errors import InputError, printable
from onelayer.option import build

_MAGIC_BYTES = 16
_DEPTH, _MOST_FOLDERS = 4, 50  # limits for the search in a folder: levels, folders in each


@dataclass(frozen=True)
class Format:
    """A format of files or folders: its name in messages, a test of a path, and its readers.

    `looks` describes a path of the format in messages; `suits(path)` is true for such a path.
    `read(path, **options)` takes the named options; it is None for a format without labels.
    `features(path, **options)` returns the samples without labels, in one array (n, …) or several;
    without it they come from `read`. For a `table`, both also take the Columns of a model, `like`,
    and read them by name, and `features` takes a function `tell` for notes. `pictures(path)`, for
    samples that are pictures, lists them; the model knows the size to which they are converted.
    `sets(path)` lists the names of several feature sets, of which an option chooses one. The labels
    of an `archive` may lie in files beside it.
    """

    looks: str
    suits: Callable[[Path], object]
    read: Callable[..., Contents] | None
    options: tuple[str, ...] = ()
    features: Callable[..., Iterable[Any]] | None = None
    pictures: Callable[[Path], Sequence[Path | Encoded]] | None = None
    table: bool = False
    sets: Callable[[Path], list[str]] | None = None
    archive: bool = False

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
        """Return the contents of `path`; InputError if they have no labels."""
        if self.table:
            options |= {"like": like}
        if self.read is None:
            forms = FOLDERS if path.is_dir() else FILES
            if path.suffix.lower() == ".npy":
                map_or_load(path)  # raises another error if it is no array of numbers
            labelled = ", ".join(form.looks for form in forms if form.read)
            raise NoLabelsError(
                f"{path}: read as {self.looks}, without labels; expected {labelled}"
            )
        if not self.archive:
            return self.read(path, **options)
        beside = dict[str, tuple[Path, Any]]()

        def look_beside() -> Mapping[str, tuple[Path, Any]]:
            beside.update(labels_beside(path))
            return beside

        contents = self.read(path, **options, beside=look_beside)
        return replace(contents, files=[path, *{file: None for file, _ in beside.values()}])

    def sets_of(self, path: Path) -> list[str]:
        """Return the names of the feature sets; empty unless there are several."""
        return self.sets(path) if self.sets else []


_ARRAYS = ("feature_set", "pool")  # options of formats that hold arrays


def _members(folder: Path, options: dict[str, Any]) -> list[tuple[str, Path]]:
    """Return the files and folders of a folder's splits, in order, or the one data set in it.

    If feature sets are separate files, `feature_set` is taken out of the options.
    """
    asked = options.pop("feature_set", None) if find_sets(folder) else None
    members = find_members(folder, asked)
    if not members:
        return [(WHOLE, place_of(folder))]
    return [(split, path) for split, paths in members.items() for path in paths]


def _read_members(folder: Path, like: Columns | None, **options: Any) -> Contents:
    """Read the splits of a folder, or the one data set in it; without labels no test split."""
    read: list[tuple[str, Contents]] = []
    notes = []
    for split, path in _members(folder, options):
        form = find_format(path, options)
        if read and form.table:  # columns go by name in all files
            like = like or read[0][1].columns
            options |= {"label": like.label} if like and like.label else {}
        try:
            contents = form.read_labelled(path, like, **options)
        except NoLabelsError:
            if split != "test":
                raise
            notes.append(f"{path}: has no labels and is left out")
            continue
        read.append((split, replace(contents, files=contents.files or [path])))
    if read[0][0] != WHOLE:
        return join_contents(folder, read, notes)
    ((_, contents),) = read
    where = (f"{folder}: read from {path}",) if path.is_dir() else ()
    return replace(contents, notes=(*where, *contents.notes))


def _member_features(
    folder: Path, like: Columns | None, tell: Tell, **options: Any
) -> Iterator[Any]:
    for _, path in _members(folder, options):
        yield from find_format(path, options).read_features(path, like, tell, **options)


def _member_pictures(folder: Path) -> list[Path | Encoded]:
    pictures: list[Path | Encoded] = []
    for _, path in () if find_sets(folder) else _members(folder, {}):
        form = find_format(path)
        pictures += form.pictures(path) if form.pictures else []
    return pictures


def _member_sets(folder: Path) -> list[str]:
    """Return the feature sets that are separate files, or those within the training file."""
    if sets := find_sets(folder):
        return [*sets]
    (_, path), *_ = _members(folder, {})
    return find_format(path).sets_of(path)


def _holds_members(folder: Path) -> bool:
    return bool(find_sets(folder) or find_members(folder))


def _of_members(looks: str, suits: Callable[[Path], object]) -> Format:
    options = ("label", "resize", "coarse", *_ARRAYS)
    return Format(
        *(looks, suits, _read_members, options, _member_features, _member_pictures),
        table=True,
        sets=_member_sets,
    )


_PICTURES = "a folder of pictures for each class"


def _holds_classes(folder: Path) -> bool:
    """Return whether a folder has classes of pictures, not figures beside data of another format.

    Beside a training file such as train.csv, there must be at least two folders of pictures. If a
    folder beside them holds data of another format, none is a class.
    """
    if not holds_pictures(folder):
        return False
    classes = find_layout(folder).classes.get("train", [])
    others = [place for place in classes if not holds_loose_pictures(place)]
    if len(classes) - len(others) < 2 and (
        find_sets(folder)
        or any(path.is_file() for paths in find_members(folder).values() for path in paths)
    ):
        return False
    return not any(form.suits(place) for place in others for form in FOLDERS if form.read)


FOLDERS = (
    Format("train.X.npy or train/*.X.npy", suits_folder, read_folder),
    Format("train-images-idx3-ubyte (MNIST)", find_idx, read_idx_folder),
    Format("data_batch_1, data_batch_1.bin and so on (CIFAR-10)", holds_cifar10, read_cifar10),
    Format(
        "train.bin, train or train.mat (CIFAR-100)",
        lambda folder: find_cifar100(folder) is not None,
        read_cifar100,
        ("coarse",),
    ),
    Format(
        "X.npy beside y.npy",
        holds_array_files,
        read_array_files,
        _ARRAYS,
        array_file_features,
        sets=array_file_sets,
    ),
    Format(
        "a folder of .npy or .pt for each class",
        holds_sample_arrays,
        read_sample_arrays,
        features=sample_array_features,
    ),
    Format(
        _PICTURES,
        lambda folder: _holds_classes(folder),
        read_images,
        ("resize",),
        pictures=find_pictures,
    ),
    _of_members("train and test of any format, as train.csv beside test.csv", _holds_members),
    Format("a folder of pictures", holds_loose_pictures, read=None, pictures=list_pictures),
    _of_members("one such folder within it", lambda folder: _inner(folder)),
)


def place_of(path: Path) -> Path:
    """Return the path of a data set: `path` if a format suits it, else the one such folder in it.

    Raises
    ------
    InputError
        If there are several.
    """
    if not path.is_dir() or _holds_samples(path):
        return path
    found = _inner(path)
    if len(found) > 1:
        names = listed([str(place.relative_to(path)) for place in found])
        raise InputError(f"{path}: holds several data sets: {names}; expected the path of one")
    return found[0] if found else path


def _inner(folder: Path) -> list[Path]:
    """Return the folders within a folder that a format suits; the search is limited."""
    found, level = list[Path](), [folder]
    for _ in range(_DEPTH):
        inner = [path for outer in level for path in entries(outer) if path.is_dir()]
        suited = {place: _holds_samples(place) for place in inner[:_MOST_FOLDERS]}
        found += [place for place, suits in suited.items() if suits]
        level = [place for place, suits in suited.items() if not suits]
    return found


def _holds_samples(folder: Path) -> bool:
    """Return whether a format with labels suits a folder itself; loose pictures do not count."""
    return any(form.read and form.suits(folder) for form in FOLDERS[:-1])


def named(*suffixes: str) -> Callable[[Path], bool]:
    """Return a function that tells whether the name of a path ends in one of the suffixes."""
    return lambda path: path.name.lower().endswith(suffixes)


def begins(magic: bytes) -> Callable[[Path], bool]:
    """Return a function that tells whether the file at a path begins with these bytes."""
    return lambda path: _first_bytes(path).startswith(magic)


def _is_picture(path: Path) -> bool:
    return is_picture(_first_bytes(path), path.name)


def _table(looks: str, suits: Callable[[Path], object], opening: Open) -> Format:
    return Format(
        looks,
        suits,
        partial(read_table, opening),
        ("label", "resize", *_ARRAYS),
        partial(table_features, opening),
        partial(table_pictures, opening),
        table=True,
        sets=partial(table_sets, opening),
    )


def _is_npz(path: Path) -> bool:
    return _is_zip(path) and not named(".pt", ".pth")(path) and not _is_text(path)


def _is_text(path: Path) -> bool:
    return named(*text.SUFFIXES, *text.PACKED)(path) or (_is_zip(path) and text.holds_table(path))


_is_zip = begins(b"PK\x03\x04")


def _is_arrow(path: Path) -> bool:
    return begins(b"ARROW1")(path) or named(".arrow", ".feather", ".ipc")(path)


def _is_beside_labels(path: Path) -> bool:
    """Return whether a file holds one array of features, and files beside it hold labels."""
    single = begins(b"\x93NUMPY")(path) or (named(".pt")(path) and holds_one_tensor(path))
    return single and lies_beside_labels(path)


FILES = (
    Format(".npz", _is_npz, read_npz, _ARRAYS, npz_features, sets=npz_sets, archive=True),
    _table(".parquet", begins(b"PAR1"), open_parquet),
    _table(".feather or .arrow", _is_arrow, open_arrow),
    Format(".X.npy beside .y.npy", named(".x.npy"), read_pair, features=npy_features),
    Format(
        ".npy beside labels.npy", _is_beside_labels, read_array_file, ("pool",), one_array_features
    ),
    Format(".npy", begins(b"\x93NUMPY"), None, ("pool",), npy_features),
    Format("a picture", _is_picture, read=None, pictures=lambda path: [path]),
    Format(
        ".safetensors",
        named(".safetensors"),
        read_safetensors,
        _ARRAYS,
        safetensors_features,
        sets=safetensors_sets,
        archive=True,
    ),
    Format(
        ".pt or .pth",
        named(".pt", ".pth"),
        read_torch,
        _ARRAYS,
        torch_features,
        sets=torch_sets,
        archive=True,
    ),
    Format(
        "train-images-idx3-ubyte",
        named("-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz"),
        read_idx_set,
        features=idx_features,
    ),
    Format(
        ".csv, .tsv or .txt, also .gz or .zip",
        _is_text,
        read_csv,
        ("label",),
        csv_features,
        table=True,
    ),
)


_SAVEZ = "numpy.savez(path, X=X, y=y) writes what is read"
_FOREIGN = {  # formats that are not read, by suffix, and how to convert them
    ".h5 .hdf5": f"HDF5, which is not read; h5py reads its arrays, {_SAVEZ}",
    ".mat": f"MATLAB, of which only CIFAR is read; scipy.io.loadmat (h5py for v7.3), {_SAVEZ}",
    ".pkl .pickle .joblib": f"a pickle, which could run code; if you trust it, {_SAVEZ}",
    ".xlsx .xls .ods": "a spreadsheet, which is not read; save its sheet as .csv",
    ".tfrecord .tfrecords": f"TFRecord, which is not read; tensorflow_datasets.as_numpy, {_SAVEZ}",
    ".arff": "ARFF, which is not read; pandas writes .csv of scipy.io.arff.loadarff(path)[0]",
    ".json .jsonl .ndjson": "JSON, which is not read; pandas.read_json(…).to_csv(…, index=False)",
    ".svm .libsvm": f"sparse; sklearn.datasets.load_svmlight_file, X.toarray(), {_SAVEZ}",
    ".tar": "an archive; unpack it first; of WebDataset's samples X.npy and y.npy, or one .npz",
    ".npy.gz .npy.xz .npy.bz2 .npy.zst": "packed; unpack it first",
    ".zip .7z .rar": "an archive; unpack it first",
    ".dat .raw .memmap .mmap .bin": "bare numbers without shape and type; "
    "numpy.memmap(path, dtype, shape=shape) opens them, numpy.save writes X.npy beside y.npy",
}


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
    """Return the data set in the file or folder `path`, in its own format.

    The format of a file follows from its first bytes or else its name, that of a folder from its
    contents. Missing splits are drawn from `seed`; without `test` the test split is left out. Of a
    table, the columns of a model, `like`, are read.

    Raises
    ------
    InputError
        If it has no known format, takes no such option, or is damaged; names the file.
    """
    options = build(Reading, options).given
    of_rows = {
        role.removesuffix("_file"): str(options.pop(role)) for role in OF_ROWS if role in options
    }
    form = find_format(path, options)
    within = {role: name for role, name in of_rows.items() if not find_beside(path, name)}
    held: dict[str, Any] = {}
    if within and form.table:
        held = {"leave": [*within.values()]}
    elif within and "pool" in form.options:
        held = {"of_rows": within}
    contents = form.read_labelled(path, like, **options, **held)
    for role, name in of_rows.items():
        if role not in within or "of_rows" not in held:
            column = form.table and role in within
            values = _column(form, path, name, contents) if column else read_of_rows(path, name)
            contents = _with_rows(path, contents, role, name, values)
    return make_dataset(
        str(path),
        contents,
        name=printable(path.resolve().name),
        seed=seed,
        test=test,
        keep=like is not None,
        digests=digests_of(contents.files or [path], path),
        allow_missing=allow_missing,
    )


def _column(form: Format, path: Path, name: str, contents: Contents) -> Any:
    """Return the values of a column of a table, which is read like labels."""
    label = None if contents.columns is None else contents.columns.label
    options: dict[str, Any] = {"label": name} | ({"leave": [label]} if label else {})
    return form.read_labelled(path, **options).parts["train"].labels


def _with_rows(path: Path, contents: Contents, role: str, name: str, values: Any) -> Contents:
    """Return contents with the `role`, "split" or "groups", of each row, read from `name`."""
    told = vars(contents.arrays or Arrays(path.name)) | {role: name}
    return replace(contents, of_rows={**contents.of_rows, role: values}, arrays=Arrays(**told))


def feature_sets(path: Path) -> list[tuple[Path, str | None]]:
    """Return the feature sets of a path, each as a path and a name or None.

    They are folders in it, or feature sets within one file or folder, which the option feature_set
    selects by name. The numbers in their names give the order. A single one is the path itself.
    """
    if path.is_dir() and not _holds_samples(path) and len(inner := _inner(path)) > 1:
        return [(place, None) for place in sorted(inner, key=lambda p: by_number(str(p)))]
    sets = find_format(path).sets_of(path)
    return [(path, name) for name in sorted(sets, key=by_number)] or [(path, None)]


def set_of_file(path: Path) -> tuple[Path, str | None, list[Path]] | None:
    """Return the feature set to which a file of one split belongs, or None.

    It is the folder, the name of the feature set if there are several, and all of its files. It is
    None if the folder is not read as one of splits.
    """
    around = set_around(path) if path.is_file() else None
    form = around and next((form for form in FOLDERS if form.suits(around[0])), None)
    return around if form and form.read is _read_members else None


def remembered(path: Path, pool: str | None) -> dict[str, Any]:
    """Return the options to read a path for a model that was trained on pooled tokens."""
    takes = pool is not None and path.exists() and "pool" in find_format(path).options
    return {"pool": if_tokens(pool)} if takes and pool else {}


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
        suited = [form for form in FOLDERS if form.suits(path)]
        for file in () if suited else filter(Path.is_file, entries(path)):
            _refuse_foreign(file)
        if not suited and (arrays := loose_arrays(path)):
            raise NoLabelsError(
                f"{path}: arrays without labels: {listed(arrays)}; expected labels.npy, labels.txt "
                "or labels.csv beside them, or X.npy and y.npy"
            )
        if not suited:
            looks = "; ".join(form.looks for form in FOLDERS)
            seen = listed([entry.name for entry in entries(path)]) or "nothing"
            raise InputError(
                f"{path}: a folder with no data set in it; expected {looks}; it holds {seen}"
            )
        return suited[0]
    check_file(path)
    _refuse_foreign(path)
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


def _refuse_foreign(path: Path) -> None:
    """Raise InputError if a file is of a known format that is not read."""
    for suffixes, what in _FOREIGN.items():
        if named(*suffixes.split())(path) and not _is_text(path):
            raise InputError(f"{path}: {what}")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
