"""Samples without labels come in as they would be stored, whatever file they are in."""

import io

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

import onelayer
from format_writers import WRITERS, make_images
from onelayer.cli import run as run_cli
from onelayer.data.catalog import load_dataset
from onelayer.data.formats.registry import FILES, FOLDERS, find_format
from onelayer.data.unlabelled import read_unlabelled
from onelayer.errors import InputError

X = np.random.default_rng(0).normal(size=(7, 12))
PIXELS = np.random.default_rng(1).integers(0, 256, (7, 3, 2, 2), dtype=np.uint8)


def read(path, n_features=12, image_shape=(3, 2, 2), full_scale=255.0, **options):
    blocks = read_unlabelled(str(path), n_features, image_shape, full_scale, **options)
    return np.concatenate(list(blocks))


def write_csv(path, X, header=None):
    lines = [",".join(map(repr, row)) for row in X.tolist()]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")


def test_arrays_and_tables_hold_the_same_rows(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "only.npz", anything=X)
    np.savez_compressed(tmp_path / "named.npz", X_test=X, y_test=np.arange(7))
    names = [f"f{column}" for column in range(12)]
    table = pa.table(dict(zip(names, X.T, strict=True)))
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    labelled = table.append_column("label", pa.array(list("abcabca")))
    pa.parquet.write_table(labelled, tmp_path / "labelled.parquet")
    lists = pa.table({"x": pa.array(X.tolist()), "class": pa.array(range(7))})
    pa.parquet.write_table(lists, tmp_path / "lists.parquet")
    write_csv(tmp_path / "bare.csv", X)
    write_csv(tmp_path / "named.csv", X, ",".join(names))
    lines = (tmp_path / "named.csv").read_text().splitlines()
    labels = ["Label", *"abcabca"]
    labelled = [f"{label},{line}" for label, line in zip(labels, lines, strict=True)]
    text = "\n".join(labelled).replace(",", "\t")
    (tmp_path / "labelled.tsv").write_text(text + "\n\n")
    pa.feather.write_feather(table, tmp_path / "a.feather")
    pa.feather.write_feather(lists, tmp_path / "lists.arrow")
    save_file({"anything": X}, tmp_path / "only.safetensors")
    save_file({"X_val": X, "ids": np.arange(7)}, tmp_path / "named.safetensors")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read(path), X, err_msg=path.name)


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_that_train_reads_predicts_the_same_rows(form, tmp_path, capsys):
    images, labels = make_images()
    path = WRITERS[form](tmp_path, images, labels)
    rows = read(path, 12, (1, 4, 3))
    order = np.argsort(rows[:, 0])  # the first pixel is the number of the row
    np.testing.assert_array_equal(rows[order], images.reshape(len(images), -1))
    data = load_dataset(path)
    run = onelayer.train(data, onelayer.grid(learning_rate=[0.01]), epochs=1)
    model = onelayer.model_of(run)
    model.save(tmp_path.with_suffix(".safetensors"))
    assert run_cli(["predict", f"{tmp_path}.safetensors", str(path), "--format", "csv"]) == 0
    found = [line.split(",")[3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert found == [model.class_names[k] for k in model.predict(rows)]


def test_every_format_of_the_registry_is_among_those_that_are_tested(tmp_path):
    tested = {  # by other tests
        *(
            ".npy",
            ".npy beside labels.npy",
            "a picture",
            "a folder of pictures",
            "a folder of .npy or .pt for each class",
            "train-images-idx3-ubyte",
        ),
        *(form.looks for form in FOLDERS if "CIFAR" in form.looks),
    }
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        tested.add(find_format(write(tmp_path / name, *make_images())).looks)
    assert tested == {form.looks for form in (*FILES, *FOLDERS)}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
def test_the_column_of_labels_may_have_any_name(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    frame = pandas.DataFrame(dict(zip("abc", X[:, :3].T, strict=True)) | {"kind": [*"abcabca"]})
    write = {"csv": "to_csv", "parquet": "to_parquet", "feather": "to_feather"}[suffix]
    getattr(frame, write)(path, **{"index": False} if suffix == "csv" else {})
    np.testing.assert_array_equal(read(path, 3, label="kind"), X[:, :3])
    with pytest.raises(InputError, match="column 'kind', holds 'a'"):
        read(path, 3)
    with pytest.raises(InputError, match="no column 'sort', only a, b, c, kind"):
        read(path, 3, label="sort")


def test_splits_follow_each_other_whatever_their_order_in_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", test_X=X[4:], val_X=X[2:4], X=X[:2])
    np.testing.assert_array_equal(read(tmp_path / "a.npz"), X)


def test_pictures_in_folders_are_converted_to_the_models_size_and_colours(tmp_path):
    for row, name in enumerate(["ant", "bee", "bee"]):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("L", (5 + row, 7), 40 * row).save(tmp_path / name / f"{row}.png")
    expected = np.repeat([[0], [40], [80]], 12, axis=1)
    np.testing.assert_array_equal(read(tmp_path, image_shape=(3, 2, 2)), expected)


@pytest.mark.parametrize("suffix", ["npy", "png"])
def test_samples_without_room_for_labels_cannot_be_trained_on(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.new("L", (3, 3)).save(path) if suffix == "png" else np.save(path, X)
    with pytest.raises(InputError, match=rf"a\.{suffix}: read as .*, without labels; expected"):
        load_dataset(path)


@pytest.mark.parametrize(
    "images", [PIXELS, PIXELS.transpose(0, 2, 3, 1), PIXELS[0], PIXELS[0].transpose(1, 2, 0)]
)
def test_images_in_arrays_become_rows_channel_by_channel(tmp_path, images):
    order = np.asfortranarray if images.ndim == 4 else np.ascontiguousarray
    np.save(tmp_path / "a.npy", order(images))
    expected = PIXELS.reshape(7, 12)[: len(images) if images.ndim == 4 else 1]
    found = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_a_single_sample_is_a_row(tmp_path):
    np.save(tmp_path / "a.npy", X[0])
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), X[:1])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 5, 4)])
def test_a_picture_is_converted_and_resized_as_in_training(tmp_path, suffix, mode, shape):
    if suffix == "jpg" and mode == "RGBA":
        mode = "CMYK"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).convert(mode).save(path)
    with Image.open(path) as stored:
        converted = stored.convert("RGB" if shape[0] == 3 else "L")
    expected = np.asarray(converted.resize(shape[:0:-1], Image.Resampling.BILINEAR))
    expected = expected.reshape(*shape[1:], shape[0]).transpose(2, 0, 1).reshape(1, -1)
    path.rename(tmp_path / "called otherwise")
    found = read(tmp_path / "called otherwise", image_shape=shape)
    np.testing.assert_array_equal(found, expected)
    scaled = read(tmp_path / "called otherwise", image_shape=shape, full_scale=16.0)
    np.testing.assert_allclose(scaled, expected * (16 / 255), rtol=1e-12)


def test_standard_input_is_csv_of_any_length(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(2500, 12))
    text = "\ufeff" + "\n".join(",".join(map(repr, row.tolist())) for row in rows)
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    blocks = list(read_unlabelled("-", 12, None, 1.0))
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    np.testing.assert_array_equal(np.concatenate(blocks), rows)


def test_a_missing_value_is_no_name_of_a_column(tmp_path):
    (tmp_path / "a.csv").write_text("1,?,NA\n4,5,\n")
    found = read(tmp_path / "a.csv", 3)
    np.testing.assert_array_equal(found, [[1, np.nan, np.nan], [4, 5, np.nan]])


@given(
    st.integers(1, 5).flatmap(
        lambda D: st.lists(
            st.lists(st.floats(allow_nan=False), min_size=D, max_size=D), min_size=1, max_size=9
        )
    )
)
@settings(max_examples=50, deadline=None)
def test_numbers_written_as_csv_come_back_as_they_were(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    write_csv(path, np.array(rows))
    np.testing.assert_array_equal(read(path, len(rows[0])), rows)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"1,2\n", "samples of 2 features, expected 12"),
        ("a.csv", b"label\nx\n", "samples of 0 features, expected 12"),
        ("a.csv", b"1,2\n1,2,3\n", "row 1 has 3 cells, expected 2"),
        ("a.csv", b"a,b\n1,cat\n", "row 0, column 'b', holds 'cat', expected a number"),
        ("a.csv", b"\xff\xfe\n", "cannot be read as CSV"),
        ("a.csv", b'"1\n', "cannot be read as CSV"),
        ("a.data", b"1,2\n", "of no known format; expected .npz"),
        ("a.png", b"", "a.png: an empty file; expected PNG, JPEG, GIF, BMP or WebP"),
        ("a.png", b"1,2\n", "a.png: a text; expected PNG"),
        ("a", b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
        ("a", b"\x93NUMPY\x01\x00", "not a .npy file"),
        ("a", b"PK\x03\x04", "not a .npz file"),
        ("a", b"PAR1", "not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_it(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}")
    assert words in str(caught.value)


def test_arrays_that_are_no_samples_are_refused(tmp_path):
    for array, words in (
        (np.zeros((3, 11)), "samples of 11 features, expected 12"),
        (np.zeros((3, 5, 5, 5)), "features of the shape"),
        (np.zeros(5), "features of the shape"),
        (np.zeros((2, 12), complex), "expected plain numbers"),
    ):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match=words):
            read(tmp_path / "a.npy")
    for arrays in ({"a": X, "b": X}, {"X": X, "data": X}, {"X_test": X, "images_test": X}):
        np.savez(tmp_path / "two.npz", **arrays)
        with pytest.raises(InputError, match=f"arrays: {', '.join(arrays)}; expected X, or X_tr"):
            read(tmp_path / "two.npz")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nowhere.png")


def test_a_picture_for_a_model_of_features_is_refused(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="the model was trained on rows of features"):
        read(tmp_path / "a.png", image_shape=None)
    with pytest.raises(InputError, match="no picture has the 4 channels"):
        read(tmp_path / "a.png", image_shape=(4, 1, 3))
