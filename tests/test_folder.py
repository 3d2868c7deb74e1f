"""Data sets made of .npy files: values, and every way in which the files can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import make_data
from made_folder import write_folder, write_pair
from onelayer.cli import run as run_cli
from onelayer.data.catalog import load_dataset
from onelayer.data.npy import map_npy
from onelayer.data.shards import Shards
from onelayer.errors import InputError
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train

RAGGED = {"train": (20, 1, 32), "validation": (53,)}


def load(folder, **options):
    return load_dataset(folder, **options)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return float32 data: train in three shards, validation in one, test as single files."""
    return write_folder(tmp_path / "mine", make_data(dtype=np.float32, full_scale=1.0), RAGGED)


def test_a_folder_holds_what_was_written(folder):
    made, data = make_data(dtype=np.float32, full_scale=1.0), load(folder)
    assert (data.name, data.full_scale, data.class_names) == ("mine", 1.0, ("0", "1", "2", "3"))
    for name, split in made.splits.items():
        np.testing.assert_array_equal(np.asarray(data.splits[name].X), split.X)
        np.testing.assert_array_equal(data.splits[name].y, split.y)
    assert isinstance(data.train.X, Shards)
    assert all(isinstance(data.splits[name].X, np.ndarray) for name in ("validation", "test"))


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.float32, 1), (np.float64, 1)])
def test_every_type_has_its_full_scale(tmp_path, dtype, scale):
    data = load(write_folder(tmp_path, make_data(dtype=dtype, full_scale=scale), RAGGED))
    assert (data.train.X.dtype, data.full_scale) == (dtype, scale)


def test_classes_are_named_by_a_file(folder):
    (folder / "classes.txt").write_text("cat\ndog\nöl\nfish\nnever seen\n", "utf-8")
    assert load(folder).class_names == ("cat", "dog", "öl", "fish", "never seen")


def test_the_test_split_may_be_missing_or_left_out(folder):
    assert load(folder, test=None).test is None
    for name in ("test.X.npy", "test.y.npy"):
        (folder / name).unlink()
    assert load(folder).test is None


def test_the_files_stay_mapped_and_read_only(folder):
    data = load(folder)
    assert [file.path.name for file in data.train.files] == [f"00{i}.X.npy" for i in range(3)]
    with pytest.raises(ValueError, match="read-only"):
        data.validation.X[0, 0] = 1


def test_the_command_line_trains_on_a_folder_into_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert run_cli(["train", "mine/", "--epochs", "1", "--batch-size", "9"]) == 0
    assert (folder.parent / "runs" / "mine" / "report.html").is_file()
    assert run_cli(["data", "info", str(folder)]) == 0
    assert "12 features, float32, full scale 1" in capsys.readouterr().out


def swap(path, change):
    """Replace a saved array by what `change` makes of it."""
    np.save(path, change(np.load(path)), allow_pickle=True)


def cut_short(path):
    os.truncate(path, path.stat().st_size - 1)


def spoil(value):
    def change(X):
        X[7, 3] = value
        return X

    return change


DAMAGE = {
    "a narrower shard": (
        lambda f: swap(f / "train/001.X.npy", lambda X: X[:, :5]),
        r"train/001.X.npy: 5 features of float32, but 12 of float32 in .*train/000.X.npy",
    ),
    "a shard of another type": (
        lambda f: swap(f / "train/002.X.npy", lambda X: X.astype(np.float64)),
        r"train/002.X.npy: 12 features of float64, but 12 of float32 in",
    ),
    "a split of another type": (
        lambda f: swap(f / "validation/000.X.npy", lambda X: X.astype(np.uint8)),
        r"validation/000.X.npy: 12 features of uint8, but 12 of float32 in",
    ),
    "a type that is not read": (
        lambda f: swap(f / "train/000.X.npy", lambda X: X.astype(np.int16)),
        r"train/000.X.npy: int16 of the shape \(20, 12\), expected uint8, float16, float32",
    ),
    "the other byte order": (
        lambda f: swap(f / "train/000.X.npy", lambda X: X.astype(">f4")),
        r"train/000.X.npy: >f4 of the shape",
    ),
    "features of three dimensions": (
        lambda f: swap(f / "test.X.npy", lambda X: X.reshape(-1, 3, 4)),
        r"test.X.npy: float32 of the shape \(53, 3, 4\), expected .* shape \(N, D\)",
    ),
    "Fortran order": (
        lambda f: swap(f / "test.X.npy", np.asfortranarray),
        r"test.X.npy: in Fortran order, expected C order",
    ),
    "fewer labels": (
        lambda f: swap(f / "train/002.y.npy", lambda y: y[:-1]),
        r"train/002.y.npy: int64 of the shape \(31,\), expected whole numbers of .* \(32,\)",
    ),
    "labels that are no whole numbers": (
        lambda f: swap(f / "test.y.npy", lambda y: y / 2),
        r"test.y.npy: float64 of the shape \(53,\), expected whole numbers",
    ),
    "a file cut short": (
        lambda f: cut_short(f / "train/001.X.npy"),
        r"train/001.X.npy: holds 175 bytes, its header promises 176",
    ),
    "a file cut in its header": (
        lambda f: os.truncate(f / "train/001.X.npy", 40),
        r"train/001.X.npy: not a .npy file",
    ),
    "labels cut short": (
        lambda f: cut_short(f / "train/001.y.npy"),
        r"train/001.y.npy: holds 135 bytes, its header promises 136",
    ),
    "no .npy file": (
        lambda f: (f / "test.X.npy").write_text("x,y\n1,2\n"),
        r"test.X.npy: not a .npy file as numpy.save writes it: ",
    ),
    "an object array": (
        lambda f: swap(f / "train/000.X.npy", lambda X: X.astype(object)),
        r"train/000.X.npy: holds object, expected plain numbers",
    ),
    "records": (
        lambda f: swap(f / "test.y.npy", lambda y: y.astype([("a", "i8")])),
        r"test.y.npy: holds .*, expected plain numbers",
    ),
    "no rows": (
        lambda f: swap(f / "train/000.X.npy", lambda X: X[:0]),
        r"train/000.X.npy: an array of the shape \(0, 12\), expected at least one row",
    ),
    "an empty folder": (
        lambda f: [path.unlink() for path in (f / "train").iterdir()],
        r"mine/train: no file \*.X.npy in it",
    ),
    "no validation split": (
        lambda f: (f / "validation").rename(f / "other"),
        r"mine/validation.X.npy: no such file",
    ),
    "features without labels": (
        lambda f: (f / "train/001.y.npy").unlink(),
        r"train/001.y.npy: no such file",
    ),
    "labels without features": (
        lambda f: (f / "train/001.X.npy").unlink(),
        r"train/001.y.npy: labels without features, 001.X.npy",
    ),
    "test labels alone": (
        lambda f: (f / "test.X.npy").unlink(),
        r"test.X.npy: no such file",
    ),
    "a split twice": (
        lambda f: write_pair(f / "train", np.zeros((1, 12)), np.zeros(1, int)),
        r"mine: holds both train and train.X.npy",
    ),
    "a NaN": (
        lambda f: swap(f / "train/002.X.npy", spoil(np.nan)),
        r"mine, train: .*train/002.X.npy: row 7, column \d+, holds a value that is not finite",
    ),
    "an infinity in a single file": (
        lambda f: swap(f / "test.X.npy", spoil(-np.inf)),
        r"mine, test: .*test.X.npy: row 7, column \d+, holds a value that is not finite",
    ),
    "a negative label": (
        lambda f: swap(f / "train/001.y.npy", lambda y: y - 9),
        r"train/001.X.npy: row 0 has the label -\d, expected 0 to 3",
    ),
    "a label beyond the named classes": (
        lambda f: (f / "classes.txt").write_text("a\nb\nc\n"),
        r"has the label 3, expected 0 to 2",
    ),
    "a stray label": (
        lambda f: swap(f / "train/001.y.npy", lambda y: y + 10**15),
        r"train/001.X.npy: row 0 has the label 100000000000000\d; more than 100,000 classes need",
    ),
    "a class without a name": (
        lambda f: (f / "classes.txt").write_text("a\n\nc\nd\n"),
        r"classes.txt: line 2 is empty, expected the name of a class",
    ),
    "no names": (lambda f: (f / "classes.txt").write_text(""), r"classes.txt: line 1 is empty"),
    "names in another encoding": (
        lambda f: (f / "classes.txt").write_bytes("öl\n".encode("latin-1")),
        r"classes.txt: not UTF-8: .* at byte 0",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_every_fault_is_told_in_one_line_that_names_the_file(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def npy(header: bytes, version: bytes = b"\x01\x00", values: int = 96) -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + bytes(values)


HEADERS = {
    "a promise of far more": (
        npy(
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 3), }".ljust(
                118
            )
        ),
        "holds 224 bytes, its header promises 2,400,",
    ),
    "a negative length": (
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-4, -3), }\n"),
        "expected at least one row",
    ),
    "code instead of a header": (
        npy(b"__import__('os').abort()\n"),
        "not a .npy file as numpy.save writes it",
    ),
    "deep brackets": (npy(b"(" * 60_000), "not a .npy file as numpy.save writes it"),
    "an unknown version": (npy(b"{}", b"\x09\x00"), "not of version 1.0"),
    "numbers at an odd place": (
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }\n"),
        "do not start at a multiple of their size",
    ),
}


@pytest.mark.parametrize(("content", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_a_hostile_header_is_refused_before_anything_is_mapped(tmp_path, content, message):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        map_npy(path)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_an_array_or_an_input_error(tmp_path_factory, content, with_magic):
    path = tmp_path_factory.mktemp("any") / "a.npy"
    path.write_bytes(npy(content) if with_magic else content)
    with pytest.raises(InputError, match=r"a\.npy: "):
        map_npy(path)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(InputError, match="no such file"):
        map_npy(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("./nowhere", {}, "nowhere: no such file or folder"),
        ("nowhere", {}, "unknown data set 'nowhere'"),
        (".", {"train": "data_batch_1"}, "a file or folder has no parts to choose from"),
        (".", {"source": Path()}, "a file or folder has no parts to choose from"),
    ],
)
def test_what_is_no_folder_is_told(tmp_path, monkeypatch, name, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load(name, **options)


CHANGES = {
    "shrinks": (cut_short, r"000.X.npy: changed while it was in use: 1,088 bytes .*, now 1,087"),
    "vanishes": (Path.unlink, r"000.X.npy: No such file or directory, while it was in use"),
    "is touched": (lambda path: os.utime(path, (1, 1)), r"000.X.npy: changed while it was in use"),
}


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_a_file_that_changes_during_training_ends_it_with_its_name(folder, part, change, message):
    path = folder / part / "000.X.npy"

    def interfere(epoch, *_):
        if epoch == 1:
            change(path)

    message = message if part == "train" else message.replace("1,088", r"2,\d+").split(",")[0]
    with pytest.raises(InputError, match=message):
        train(load(folder), grid(), epochs=3, batch_size=9, on_epoch=interfere)
