"""Names of arrays, columns and files: what is found by them, what is left out, what is refused."""

import gzip
import io
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
from PIL import Image

import format_writers
import onelayer
from format_writers import NAMES, make_images, named
from onelayer.cli import run as run_cli
from onelayer.data.unlabelled import read_unlabelled
from onelayer.errors import InputError

X, Y = make_images(40, 4, 4)
FLAT = X.reshape(40, -1).astype(np.float32)
PARTS = {"train": slice(30), "validation": slice(30, 34), "test": slice(34, 40)}


def check_parts(data, *splits):
    """Check that these splits hold the rows that were written into them."""
    for split in splits:
        np.testing.assert_array_equal(getattr(data, split).X, X[PARTS[split]].reshape(-1, 16))
        np.testing.assert_array_equal(getattr(data, split).y, Y[PARTS[split]])


def check_all(data):
    """Check that all rows are there, each with its label."""
    rows = np.concatenate([split.X[:] for split in data.splits.values()])
    labels = np.concatenate([split.y for split in data.splits.values()])
    order = np.argsort(rows[:, 0])  # the first pixel is the number of the row
    np.testing.assert_array_equal(rows[order], FLAT)
    np.testing.assert_array_equal(labels[order], Y)


@pytest.mark.parametrize(
    "names",
    [
        ("X", "y"), ("features", "targets"), ("embeddings", "labels"), ("Images", "Category"),
        ("image_features", "image_labels"), ("inputs", "class"), ("feats", "target"),
        ("data", "Y"), ("trainX", "trainY"),
    ],
)  # fmt: skip
def test_arrays_are_found_by_the_names_that_people_give_them(names):
    check_all(onelayer.dataset_from(dict(zip(names, (FLAT, Y), strict=True))))


@pytest.mark.parametrize(
    "spelling",
    [
        "{role}_{split}", "{split}_{role}", "{split}-{role}", "{split}.{role}",
        "{split}{ROLE}", "{role}{Split}", "{role}{split}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("splits", [("train", "val", "test"), ("training", "dev", "eval")])
def test_a_split_stands_before_or_behind_in_any_spelling(spelling, splits):
    arrays = {}
    for split, rows in zip(splits, PARTS.values(), strict=True):
        for role, values in (("x", FLAT), ("y", Y)):
            words = {"split": split, "Split": split.title(), "role": role, "ROLE": role.upper()}
            arrays[spelling.format(**words)] = values[rows]
    check_parts(onelayer.dataset_from(arrays), *PARTS)


def test_arrays_that_are_not_used_are_named(tmp_path, capsys):
    np.savez(
        tmp_path / "a.npz", embeddings=FLAT, labels=Y, paths=np.array(named(Y)),
        meta=np.array({}, object), classes=np.array(NAMES), X_test=FLAT[:3],
    )  # fmt: skip
    data = onelayer.load_dataset(tmp_path / "a.npz")
    check_all(data)
    assert run_cli(["data", "info", str(tmp_path / "a.npz")]) == 0
    printed = capsys.readouterr().out
    for words in ("are 'embeddings' and 'labels'; not used: paths, meta, classes", "'X_test' has"):
        assert any(words in note for note in data.notes)
        assert words in printed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": FLAT, "b": Y}, r"arrays: a, b; expected X and y, or X_train and y_train"),
        ({"data": FLAT, "images": X, "y": Y}, "both 'data' and 'images' mean the same, features"),
        ({"X": FLAT}, "features without labels; arrays: X; expected X and y"),
        ({"X": FLAT, "y": Y, "X_val": FLAT}, "validation has no labels beside 'X_val'"),
        ({"X_test": FLAT, "y_test": Y}, "arrays: X_test, y_test; expected X and y"),
    ],
)
def test_arrays_that_are_not_understood_are_listed(arrays, message):
    with pytest.raises(InputError, match=message):
        onelayer.dataset_from(arrays)


def test_two_arrays_without_names_are_features_and_labels(tmp_path):
    np.savez(tmp_path / "a.npz", FLAT, Y)
    data = onelayer.load_dataset(tmp_path / "a.npz")
    check_all(data)
    assert "without names are taken for features and labels" in data.notes[0]
    rows = np.concatenate([*read_unlabelled(str(tmp_path / "a.npz"), 16, None, 1.0)])
    np.testing.assert_array_equal(rows, FLAT)


def test_sound_files_of_other_kinds_are_not_called_damaged(tmp_path):
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.csr_array(FLAT))
    with pytest.raises(InputError, match=r"a sparse matrix of SciPy.*toarray\(\)"):
        onelayer.load_dataset(tmp_path / "a.npz")
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(64) + b"FEA1")
    with pytest.raises(InputError, match="Feather of version 1, expected 2"):
        onelayer.load_dataset(tmp_path / "a.feather")


def save(folder, **arrays):
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


def test_files_of_a_folder_are_called_as_arrays(tmp_path):
    save(tmp_path, X=FLAT, y=np.array(named(Y)), ids=Y)
    data = onelayer.load_dataset(tmp_path)
    check_all(data)
    assert data.class_names == NAMES
    assert "not used: ids" in data.notes[0]
    assert set(data.digests) >= {"X.npy", "y.npy"}


@pytest.mark.parametrize(
    ("name", "content", "classes"),
    [
        ("labels.txt", "\n".join(map(str, Y)), ("0", "1", "2")),
        ("y.csv", "\r\n".join(named(Y)), NAMES),
        ("labels.csv", "id,label\n" + "\n".join(f"{n},{k}" for n, k in enumerate(named(Y))), NAMES),
    ],
)
def test_labels_may_be_text_beside_an_array(name, content, classes, tmp_path):
    save(tmp_path, embeddings=FLAT)
    (tmp_path / name).write_text(content)
    data = onelayer.load_dataset(tmp_path)
    check_all(data)
    assert data.class_names == classes
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert onelayer.load_dataset(tmp_path).class_names == NAMES


def test_arrays_in_folders_called_like_splits(tmp_path):
    for name, rows in zip(("Train", "valid", "TESTING"), PARTS.values(), strict=True):
        (tmp_path / name).mkdir()
        save(tmp_path / name, X=FLAT[rows], y=Y[rows])
    check_parts(onelayer.load_dataset(tmp_path), *PARTS)


SINGLE = ("npz", "safetensors", "tsv", "parquet", "feather", "arrow", "torch")


@pytest.mark.parametrize("form", SINGLE)
def test_files_called_like_splits_are_one_data_set(form, tmp_path):
    for name, rows in zip(("train", "a_Dev", "my-test"), PARTS.values(), strict=True):
        path = format_writers.WRITERS[form](tmp_path, X[rows], Y[rows])
        path.rename(path.with_stem(name))
    data = onelayer.load_dataset(tmp_path)
    check_parts(data, *PARTS)
    assert len(data.digests) == 3
    rows = np.concatenate([*read_unlabelled(str(tmp_path), 16, (1, 4, 4), 255.0)])
    np.testing.assert_array_equal(rows.reshape(40, -1), FLAT)


def test_a_figure_beside_the_data_is_no_data(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    for name, rows in (("train", slice(30)), ("test", slice(30, 40))):
        path = format_writers.write_npz(place, X[rows], Y[rows])
        path.rename(path.with_stem(name))
    (place / "figure.png").write_bytes(format_writers.png(X[0]))
    check_all(onelayer.load_dataset(place))


def write_pixels(path, rows, label=True, first=0):
    """Write images as Kaggle does: a column a pixel, behind the label if there is one."""
    names = [f"pixel{n}" for n in range(first, first + 16)]
    lines = [",".join([*["label"] * label, *names])]
    for row in rows:
        lines.append(",".join(map(str, [*[Y[row]] * label, *X[row].ravel()])))
    path.write_text("\n".join(lines))


def test_kaggles_digits_are_images_and_their_test_split_has_no_labels(tmp_path, capsys):
    write_pixels(tmp_path / "train.csv", range(30))
    write_pixels(tmp_path / "test.csv", range(30, 40), label=False)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    data = onelayer.load_dataset(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 22, "validation": 4, "test": 4
    }  # fmt: skip
    assert (data.image_shape, data.full_scale) == ((1, 4, 4), 255)
    told = " ".join(data.notes)
    for words in ("test.csv: has no labels", "not used: sample_submission.csv", "of 4 × 4"):
        assert words in told
    model = onelayer.model_of(onelayer.train(data, onelayer.grid(), epochs=1))
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").rename(tmp_path.with_suffix(".safetensors"))
    arguments = [f"{tmp_path}.safetensors", str(tmp_path / "test.csv"), "--format", "csv"]
    assert run_cli(["predict", *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 11


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        ([f"pixel{n}" for n in range(1, 17)], (1, 4, 4)),
        ([f"{row}x{column}" for row in range(1, 3) for column in range(1, 9)], (1, 2, 8)),
        ([f"pixel_{row}_{column}" for row in range(8) for column in range(2)], (1, 8, 2)),
        ([f"pixel{n}" for n in range(15)], None),
        ([f"pixel{n}" for n in (*range(15), 16)], None),
        ([str(n) for n in range(16)], None),
    ],
)
def test_columns_called_like_the_pixels_of_an_image_are_one(names, shape, tmp_path):
    columns = dict(zip(names, FLAT.T, strict=False)) | {"class": Y}
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert onelayer.load_dataset(tmp_path / "a.parquet").image_shape == shape


def test_what_is_there_twice_or_not_whole_is_refused(tmp_path):
    format_writers.write_npz(tmp_path, X, Y).rename(tmp_path / "train.npz")
    write_pixels(tmp_path / "train.csv", range(30))
    with pytest.raises(InputError, match=r"train is there more than once: train\.csv, train\.npz"):
        onelayer.load_dataset(tmp_path)
    (tmp_path / "train.npz").unlink()
    (tmp_path / "train.csv").rename(tmp_path / "train-00001-of-00002.csv")
    with pytest.raises(InputError, match="of the 2 shards of train number 0 is missing"):
        onelayer.load_dataset(tmp_path)
    (tmp_path / "train-00001-of-00002.csv").rename(tmp_path / "b.csv")
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(InputError, match=r"no data set in it; .*; it holds a\.csv, b\.csv"):
        onelayer.load_dataset(tmp_path)


def test_a_folder_around_one_data_set_is_that(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    format_writers.write_idx(raw, X, Y)
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    data = onelayer.load_dataset(tmp_path)
    check_all(data)
    assert data.notes == (f"{tmp_path}: read from {raw}",)
    images = raw / "t10k-images-idx3-ubyte"
    np.testing.assert_array_equal(onelayer.load_dataset(images).test.X, FLAT[30:])
    assert sum(map(len, read_unlabelled(str(images), 16, (1, 4, 4), 255.0))) == 10
    (tmp_path / "other").mkdir()
    save(tmp_path / "other", X=FLAT, y=Y)
    with pytest.raises(InputError, match="holds several data sets: other, MNIST/raw; expected"):
        onelayer.load_dataset(tmp_path)


def test_a_set_of_emnist_is_named_by_its_images(tmp_path):
    format_writers.write_idx(tmp_path, X, Y + 1)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / f"emnist-letters-{path.name.replace('t10k', 'test')}")
    data = onelayer.load_dataset(tmp_path)
    assert data.class_names == ("1", "2", "3")
    assert "turned upright" in data.notes[0]
    upright = X.transpose(0, 2, 1).reshape(40, -1)  # as torchvision's users turn them
    np.testing.assert_array_equal(data.test.X, upright[30:])
    for path in list(tmp_path.iterdir()):
        (tmp_path / path.name.replace("letters", "digits")).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"sets: emnist-digits, emnist-letters; name .*images"):
        onelayer.load_dataset(tmp_path)
    images = tmp_path / "emnist-letters-train-images-idx3-ubyte"
    np.testing.assert_array_equal(onelayer.load_dataset(images).test.X, upright[30:])
    alone = tmp_path / "alone" / "emnist-letters-test-images-idx3-ubyte"
    alone.parent.mkdir()
    alone.write_bytes(images.with_name(alone.name).read_bytes())
    (rows,) = read_unlabelled(str(alone), 16, (1, 4, 4), 255.0)
    np.testing.assert_array_equal(rows, upright[30:])


def test_a_copy_of_cifar10_is_predicted_and_found_in_the_folder_around_it(small_cifar, tmp_path):
    copy = tmp_path / "data" / "cifar-10-batches-bin"
    copy.mkdir(parents=True)
    for part, rows in small_cifar.items():
        (copy / f"{part}.bin").write_bytes(rows.tobytes())
    assert onelayer.load_dataset(tmp_path / "data").name == "cifar10"
    rows = np.concatenate([*read_unlabelled(str(copy), 3072, (3, 32, 32), 255.0)])
    parts = [small_cifar[part][:, 1:] for part in ("data_batch_1", "data_batch_2", "test_batch")]
    np.testing.assert_array_equal(rows, np.concatenate(parts))


# --- Parquet and Arrow --------------------------------------------------------------------------


def read_table(tmp_path, **columns):
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    return onelayer.load_dataset(tmp_path / "a.parquet")


FORMS = {
    "lists of lists": (pa.array(X.tolist(), pa.list_(pa.list_(pa.uint8()))), (1, 4, 4)),
    "large lists": (pa.array(FLAT.tolist(), pa.large_list(pa.float16())), None),
    "colours last": (pa.array(np.repeat(X[..., None], 3, 3).tolist()), (3, 4, 4)),
    "tensors": (pa.FixedShapeTensorArray.from_numpy_ndarray(X), (1, 4, 4)),
    "pictures": (pa.array([{"bytes": format_writers.png(x), "path": "a"} for x in X]), (1, 4, 4)),
    "bytes alone": (pa.array([format_writers.png(x) for x in X]), (1, 4, 4)),
}


@pytest.mark.parametrize(("column", "shape"), FORMS.values(), ids=FORMS.keys())
def test_one_column_may_hold_whole_samples(column, shape, tmp_path):
    data = read_table(tmp_path, id=range(40), image=column, text=named(Y), label=Y)
    assert data.image_shape == shape
    assert "not used: id, text; features are in image" in data.notes[0]
    if shape is None or shape[0] == 1:
        check_all(data)


def test_columns_of_any_numbers_are_features_and_others_are_not(tmp_path):
    data = read_table(
        tmp_path,
        when=pa.array([0] * 40, pa.timestamp("s")),
        exact=pa.array(range(40), pa.decimal128(6, 2)),
        half=FLAT[:, 1].astype(np.float16),
        coded=pa.array(FLAT[:, 2]).dictionary_encode(),
        flag=FLAT[:, 3] > 100,
        label=pa.array(named(Y), pa.large_string()),
    )
    expected = np.column_stack([FLAT[:, :3], FLAT[:, 3] > 100])
    rows = np.concatenate([split.X for split in data.splits.values()])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], expected)
    assert data.columns.features == ("exact", "half", "coded", "flag")
    assert "as no features: when" in data.notes[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [[1.0]] * 1200 + [[1.0, 2.0]], "y": [0, 1, 0] * 400 + [1]}, "row 1200, 1 before it"),
        ({"x": [[[1], [2]], [[1], [2, 3]]], "y": [0, 1]}, "2 values in row 1, 1 before it"),
        (
            {"a": [[1]] * 4, "b": [[1]] * 4, "y": [0, 1] * 2},
            "several columns of .*: a, b; expected",
        ),
        ({"id": [1, 2], "embedding": [[1], [2]]}, "no column of labels, only id, embedding"),
    ],
)
def test_columns_that_are_no_samples_are_named(columns, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_table(tmp_path, **columns)


def test_pictures_of_several_sizes_in_a_table_are_resized_and_predicted(tmp_path, capsys):
    sizes = [x if n % 2 else np.repeat(np.repeat(x, 2, 0), 2, 1) for n, x in enumerate(X)]
    column = pa.array([{"bytes": format_writers.png(x)} for x in sizes])
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=r"row 1: height and width \(4, 4\), unlike .*row 0.*4,4"):
        read_table(tmp_path, image=column, label=Y)
    arguments = ["--resize", "4,4", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert run_cli(["train", str(path), *arguments, "--report", "none"]) == 0
    capsys.readouterr()
    assert run_cli(["predict", str(tmp_path / "run"), str(path), "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 41


def test_transparent_pictures_in_a_table_are_noted(tmp_path):
    content = io.BytesIO()
    Image.fromarray(np.dstack([X[0]] * 4)).save(content, "PNG")
    cells = pa.array([format_writers.png(x) for x in X[1:]] + [content.getvalue()])
    assert "are transparent, read as the colour there: 1" in read_table(
        tmp_path, image=cells, label=Y
    ).notes[0]  # fmt: skip


def test_the_names_of_classes_are_those_that_hugging_face_notes(tmp_path):
    def table(rows, labels):
        columns = {"vector": list(FLAT[rows]), "fine": labels}
        return format_writers.with_class_names(pa.table(columns), "fine")

    pa.parquet.write_table(table(slice(34), Y[:34]), tmp_path / "train-00000-of-00001.parquet")
    pa.parquet.write_table(table(slice(34, 40), [-1] * 6), tmp_path / "test-00000-of-00001.parquet")
    data = onelayer.load_dataset(tmp_path)
    assert data.class_names == NAMES
    assert sum(map(len, data.splits.values())) == 34
    assert "test-00000-of-00001.parquet: has no labels and is left out" in data.notes[0]


# --- bfloat16, and what is not read -------------------------------------------------------------


def test_bfloat16_is_read_as_the_upper_half_of_float32(tmp_path):
    values = (FLAT / 256 - 0.25).astype(np.float32)  # of 8 significant bits, so exact
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    header = {
        "X": {"dtype": "BF16", "shape": [40, 16], "data_offsets": [0, halves.nbytes]},
        "y": {"dtype": "I64", "shape": [40], "data_offsets": [halves.nbytes, halves.nbytes + 320]},
    }
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + halves.tobytes() + Y.astype("<i8").tobytes()
    (tmp_path / "a.safetensors").write_bytes(content)
    program = b"}(" + format_writers.unicode_of("X") + format_writers.torch_tensor(0, halves)
    program += format_writers.unicode_of("y") + format_writers.torch_tensor(1, Y) + b"u"
    format_writers.torch_file(tmp_path / "a.pt", program, [halves, Y])
    for name in ("a.safetensors", "a.pt"):
        data = onelayer.load_dataset(tmp_path / name)
        rows = np.concatenate([split.X for split in data.splits.values()])
        np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], values)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.h5", "HDF5.*h5py"), ("a.mat", r"MATLAB.*loadmat"), ("a.PKL", "a pickle, which could"),
        ("a.joblib", "a pickle"), ("a.xlsx", "a spreadsheet"), ("a.tfrecord", "TFRecord"),
        ("a.zip", "unpack it"), ("a.arff", "ARFF"), ("a.jsonl", "JSON"), ("a.svm", "sparse"),
    ],
)  # fmt: skip
def test_other_formats_are_told_what_they_are_and_how_to_convert_them(name, words, tmp_path):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=words):
        onelayer.load_dataset(tmp_path / name)
