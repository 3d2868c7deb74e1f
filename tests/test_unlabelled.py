"""Samples without labels come in as they would be stored, whatever file they are in."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onelayer.data.unlabelled import read_unlabelled
from onelayer.errors import InputError

X = np.random.default_rng(0).normal(size=(7, 12))
PIXELS = np.random.default_rng(1).integers(0, 256, (7, 3, 2, 2), dtype=np.uint8)


def read(path, n_features=12, image_shape=(3, 2, 2), full_scale=255.0):
    return np.concatenate(list(read_unlabelled(str(path), n_features, image_shape, full_scale)))


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
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read(path), X, err_msg=path.name)


@pytest.mark.parametrize(
    "images", [PIXELS, PIXELS.transpose(0, 2, 3, 1), PIXELS[0], PIXELS[0].transpose(1, 2, 0)]
)
def test_images_in_arrays_become_rows_channel_by_channel(tmp_path, images):
    np.save(tmp_path / "a.npy", np.ascontiguousarray(images))
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
        ("a.csv", b"", "no rows in it"),
        ("a.csv", b"a,b\n", "no rows in it"),
        ("a.csv", b"1,2\n", "samples of 2 features, expected 12"),
        ("a.csv", b"label\nx\n", "samples of 0 features, expected 12"),
        ("a.csv", b"1,2\n1,2,3\n", "row 1 has 3 cells, expected 2"),
        ("a.csv", b"a,b\n1,cat\n", "row 0 holds 'cat', expected a number"),
        ("a.csv", b"\xff\xfe\n", "cannot be read as CSV"),
        ("a.csv", b'"1\n', "cannot be read as CSV"),
        ("a.txt", b"1,2\n", "of no known format; expected PNG"),
        ("a.png", b"", "not a PNG or JPEG"),
        ("a.png", b"1,2\n", "not a PNG or JPEG"),
        ("a", b"\x89PNG\r\n\x1a\n", "not a PNG or JPEG"),
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
    np.savez(tmp_path / "two.npz", X_train=X, X_test=X)
    with pytest.raises(InputError, match="arrays X_train, X_test; expected one X"):
        read(tmp_path / "two.npz")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nowhere.png")


def test_a_picture_for_a_model_of_features_is_refused(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="the model was trained on rows of features"):
        read(tmp_path / "a.png", image_shape=None)
    with pytest.raises(InputError, match="no picture has the 4 channels"):
        read(tmp_path / "a.png", image_shape=(4, 1, 3))
