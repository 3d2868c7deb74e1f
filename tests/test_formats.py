"""One contract over all formats: what another library wrote is what is read."""

import hashlib
import re
import shutil
import subprocess
import tarfile

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.model_selection import StratifiedShuffleSplit

import format_writers
import onelayer
from cifar_versions import array, batch, label_list, short_string
from format_writers import NAMES, OWN_SPLITS, PICTURES, TEXT, UNNAMED, WRITERS, make_images
from onelayer.cli import run as run_cli
from onelayer.data.catalog import load_dataset
from onelayer.data.columns import Columns
from onelayer.data.formats import cifar100
from onelayer.data.splitting import draw_stratified
from onelayer.errors import InputError


def rows_of(data):
    """Return X and y of all splits together, in the order of the first feature."""
    X = np.concatenate([np.asarray(split.X) for split in data.splits.values()])
    y = np.concatenate([split.y for split in data.splits.values()])
    order = np.argsort(X[:, 0], kind="stable")
    return X[order], y[order]


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_back_what_another_library_wrote(form, tmp_path):
    images, labels = make_images()
    data = load_dataset(WRITERS[form](tmp_path, images, labels))
    X, y = rows_of(data)
    np.testing.assert_array_equal(X, images.reshape(len(images), -1))
    np.testing.assert_array_equal(y, labels)
    assert data.class_names == (("0", "1", "2") if form in UNNAMED else NAMES)
    assert data.image_shape == ((1, 4, 3) if form in PICTURES else None)
    assert (data.train.X.dtype, data.full_scale) == (
        (np.float64, 1) if form in TEXT else (np.uint8, 255)
    )


@pytest.mark.parametrize("form", [form for form in WRITERS if form not in UNNAMED])
def test_names_that_look_the_same_are_refused_in_every_format(form, tmp_path, monkeypatch):
    monkeypatch.setattr(format_writers, "NAMES", ("cafe\u0301", "caf\xe9", "cat"))
    path = WRITERS[form](tmp_path, *make_images())
    with pytest.raises(InputError, match=r"'cafe\\u0301' and 'caf\\xe9' look the same"):
        load_dataset(path)


@pytest.mark.parametrize("form", WRITERS)
def test_a_format_without_splits_gets_the_same_ones_from_the_same_seed(form, tmp_path):
    path = WRITERS[form](tmp_path, *make_images())
    data = load_dataset(path)
    sizes = {name: len(split) for name, split in data.splits.items()}
    own = OWN_SPLITS.get(form, ())
    expected = {"train": 28, "validation": 6, "test": 6}
    if own == ("train", "test"):  # written as three quarters and one
        expected = {"train": 26, "validation": 4, "test": 10}  # 30 · 0.15 = 4.5, to even
    if own == ("train", "validation"):
        expected = {"train": 20, "validation": 20}
    if len(own) == 3:
        expected = {"train": 13, "validation": 13, "test": 14}
    assert sizes == expected
    for seed, same in ((0, True), (1, False)):
        again = load_dataset(path, seed=seed).train.X
        drawn = "validation" not in own
        assert np.array_equal(again, data.train.X) == (same or not drawn)


def test_drawn_splits_hold_the_classes_in_proportion_like_scikit_learns():
    y = np.random.default_rng(0).choice(4, 997, p=[0.5, 0.3, 0.19, 0.01])
    taken = draw_stratified(y, 150, np.random.default_rng(1))
    ((_, theirs),) = StratifiedShuffleSplit(1, test_size=int(taken.sum())).split(y, y)
    assert taken.sum() == 150
    np.testing.assert_allclose(np.bincount(y[taken]), np.bincount(y[theirs]), atol=1)
    np.testing.assert_allclose(np.bincount(y[taken]), 150 / 997 * np.bincount(y), atol=1)


def test_every_row_is_drawn_with_the_same_chance():
    y = np.repeat([0, 1], [80, 20])
    taken = [draw_stratified(y, 15, np.random.default_rng(seed)) for seed in range(2000)]
    deviation = np.sqrt(0.15 * 0.85 / 2000)
    assert np.abs(np.mean(taken, axis=0) - 0.15).max() < 5 * deviation


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("categories", [False, True])
def test_what_a_library_of_frames_writes_is_read(library, suffix, categories, tmp_path):
    frames, path = pytest.importorskip(library), tmp_path / f"a.{suffix}"
    images, labels = make_images()
    columns = format_writers.columns_of(images, format_writers.named(labels))
    frame = frames.DataFrame(columns)
    if library == "pandas":
        frame["label"] = frame["label"].astype("category" if categories else str)
        frame.to_csv(path, index=False) if suffix == "csv" else getattr(frame, f"to_{suffix}")(path)
    else:
        kind = frames.Categorical if categories else frames.String
        frame = frame.with_columns(frames.col("label").cast(kind))
        getattr(frame, f"write_{suffix.replace('feather', 'ipc')}")(path)
    data = load_dataset(path)
    X, y = rows_of(data)
    np.testing.assert_array_equal(X, images.reshape(len(images), -1))
    np.testing.assert_array_equal(y, labels)
    assert data.class_names == NAMES


@pytest.fixture
def small_cifar100(monkeypatch):
    monkeypatch.setattr(cifar100, "ROWS", {"train": 12, "test": 6})
    generator = np.random.default_rng(2)
    records = {}
    for split, n in {"train": 12, "test": 6}.items():
        records[split] = generator.integers(0, 256, (n, 3074), dtype=np.uint8)
        records[split][:, 0] %= 20
        records[split][:, 1] %= 100
    return records


def write_cifar100(folder, version, records):
    for split, rows in records.items():
        if version == "binary":
            (folder / f"{split}.bin").write_bytes(rows.tobytes())
        elif version == "matlab":
            savemat(
                folder / f"{split}.mat",
                {"data": rows[:, 2:], "coarse_labels": rows[:, :1], "fine_labels": rows[:, 1:2]},
            )
        else:
            fine = label_list(rows[:, 1].tolist()) + short_string("coarse_labels")
            content = batch(
                array(rows[:, 2:].tobytes(), (len(rows), 3072)),
                fine + label_list(rows[:, 0].tolist()),
            ).replace(short_string("labels"), short_string("fine_labels"))
            (folder / split).write_bytes(content)


@pytest.mark.parametrize("version", ["binary", "python", "matlab"])
def test_cifar100_is_read_with_fine_or_coarse_labels(version, small_cifar100, tmp_path):
    write_cifar100(tmp_path, version, small_cifar100)
    for coarse, column, classes in ((False, 1, 100), (True, 0, 20)):
        data = load_dataset(tmp_path, coarse=coarse)
        test = small_cifar100["test"]
        np.testing.assert_array_equal(data.test.X, test[:, 2:])
        np.testing.assert_array_equal(data.test.y, test[:, column])
        assert (len(data.train), len(data.validation)) == (10, 2)
        assert (data.n_classes, data.image_shape) == (classes, (3, 32, 32))
    assert load_dataset(tmp_path).class_names[::99] == ("apple", "worm")


def test_cifar100_has_a_hundred_classes_in_twenty_groups_in_alphabetical_order():
    for names, n in ((cifar100.FINE_NAMES, 100), (cifar100.COARSE_NAMES, 20)):
        assert len(set(names)) == n
        assert sorted(names) == list(names)


@pytest.mark.parametrize("version", ["binary", "python", "matlab"])
def test_a_label_of_cifar100_out_of_range_names_file_and_record(version, small_cifar100, tmp_path):
    small_cifar100["test"][4, 1] = 100
    write_cifar100(tmp_path, version, small_cifar100)
    with pytest.raises(InputError, match=r"test[.a-z]*: record 4 has the label 100, expected 0 to"):
        load_dataset(tmp_path)


def test_a_copy_of_cifar10_is_taken_as_its_source(small_cifar, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for part, rows in small_cifar.items():
        (copy / f"{part}.bin").write_bytes(rows.tobytes())
    data = load_dataset(copy, train="data_batch_3")
    np.testing.assert_array_equal(data.train.X, small_cifar["data_batch_3"][:, 1:])
    assert data.name == "cifar10"


def test_colour_pictures_are_rows_of_red_then_green_then_blue(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (8, 5, 4, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(8)
    for row, picture in enumerate(pixels):
        (tmp_path / NAMES[row % 2]).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / NAMES[row % 2] / f"{row}.png")
    np.savez(tmp_path / "last.npz", X=pixels, y=np.arange(8) % 2)
    np.savez(tmp_path / "first.npz", X=pixels.transpose(0, 3, 1, 2), y=np.arange(8) % 2)
    from_npz = [load_dataset(tmp_path / f"{name}.npz") for name in ("last", "first")]
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    for data in (load_dataset(tmp_path), *from_npz):
        np.testing.assert_array_equal(rows_of(data)[0], pixels.transpose(0, 3, 1, 2).reshape(8, -1))
        assert data.image_shape == (3, 5, 4)


def test_pictures_of_several_sizes_need_to_be_resized_and_are_as_pillow_does(tmp_path):
    path = format_writers.write_images(tmp_path, *make_images())
    large = Image.fromarray(make_images(1, 9, 8)[0][0])
    large.save(tmp_path / "bee" / "large.png")
    with pytest.raises(InputError, match=r"large\.png: height and width \(9, 8\), unlike .*resize"):
        load_dataset(path)
    data = load_dataset(path, resize=(4, 3))
    rows = np.concatenate([split.X for split in data.splits.values()])
    expected = np.asarray(large.resize((3, 4), Image.Resampling.BILINEAR)).ravel()
    assert (rows == expected).all(axis=1).sum() == 1


def test_jpegs_are_decoded_as_pillow_does_and_grey_ones_join_coloured_ones(tmp_path):
    X, _ = make_images(8, 16, 16)
    for row, picture in enumerate(X):
        (tmp_path / NAMES[row % 2]).mkdir(exist_ok=True)
        image = Image.fromarray(picture).convert("RGB" if row % 3 else "L")
        image.save(tmp_path / NAMES[row % 2] / f"{row}.jpg")
    rows = np.concatenate([split.X for split in load_dataset(tmp_path).splits.values()])
    for path in tmp_path.glob("*/*.jpg"):
        expected = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).ravel()
        assert (rows == expected).all(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("u1", "u1"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4"), ("i1", "f4"), ("u2", "f4"),
        ("f2", "f4"), ("?", "f4"), ("i4", "f8"), ("i8", "f8"), (">i2", "f4"),
    ],
)  # fmt: skip
def test_numbers_of_every_type_keep_their_values(dtype, read, tmp_path):
    X = np.arange(24).reshape(8, 3).astype(dtype)
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(8) % 2)
    data = load_dataset(tmp_path / "a.npz")
    assert data.train.X.dtype == np.dtype(read)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([s.X for s in data.splits.values()]), axis=None), np.sort(X, None)
    )


def test_labels_that_are_numbers_in_text_are_in_the_order_of_numbers(tmp_path):
    lines = [f"{n},{(-3, 2, 10)[n % 3]}" for n in range(12)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *lines]))
    data = load_dataset(tmp_path / "a.csv")
    assert data.class_names == ("-3", "2", "10")
    X, y = rows_of(data)
    np.testing.assert_array_equal(y, X[:, 0] % 3)


def test_medmnists_names_of_arrays_are_understood(tmp_path):
    X, y = make_images(30)
    np.savez(
        tmp_path / "a.npz",
        train_images=X[:10], train_labels=y[:10, None], val_images=X[10:20],
        val_labels=y[10:20, None], test_images=X[20:], test_labels=y[20:, None],
    )  # fmt: skip
    data = load_dataset(tmp_path / "a.npz")
    np.testing.assert_array_equal(data.validation.X, X[10:20].reshape(10, -1))
    np.testing.assert_array_equal(data.test.y, y[20:])


def test_the_test_split_may_be_left_out(tmp_path):
    data = load_dataset(format_writers.write_npz(tmp_path, *make_images()), test=None)
    assert list(data.splits) == ["train", "validation"]


def test_missing_values_are_reported_by_info_and_refused_in_training(tmp_path, capsys):
    path = tmp_path / "a.parquet"
    values = [None, *map(float, range(39))]
    labels = [NAMES[n % 3] for n in range(40)]
    pa.parquet.write_table(pa.table({"x": values, "label": labels}), path)
    (tmp_path / "a.csv").write_text(
        "x,label\n"
        + "\n".join(f"{'' if v is None else v},{k}" for v, k in zip(values, labels, strict=True))
    )
    for file in (path, path.with_suffix(".csv")):
        with pytest.raises(InputError, match="row 0, column 'x', holds a value that is not finite"):
            load_dataset(file)
        assert run_cli(["data", "info", str(file)]) == 0
        assert re.search(
            r"missing │ (1 │ 0 │ 0|0 │ 1 │ 0|0 │ 0 │ 1) ", " ".join(capsys.readouterr().out.split())
        )


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
def test_labels_are_in_the_column_that_is_named(suffix, tmp_path):
    frame = pandas.DataFrame({"kind": ["a", "b"] * 20, "x": range(40), "y": [0.5] * 40})
    write = {"csv": "to_csv", "parquet": "to_parquet", "feather": "to_feather"}[suffix]
    path = tmp_path / f"a.{suffix}"
    getattr(frame, write)(path, **{"index": False} if suffix == "csv" else {})
    data = load_dataset(path, label="kind")
    X, y = rows_of(data)
    np.testing.assert_array_equal(X, frame[["x", "y"]])
    np.testing.assert_array_equal(y, np.arange(40) % 2)
    assert data.class_names == ("a", "b")
    with pytest.raises(InputError, match=r"a\.\w+: no column 'sort', only kind, x, y"):
        load_dataset(path, label="sort")


@pytest.mark.parametrize("name", [None, "id", "kind"])
@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_the_index_of_a_frame_is_no_feature(name, suffix, tmp_path):
    """It is left out, with a note, unless it is called like the labels that are asked for."""
    frame = pandas.DataFrame({"x": np.arange(40) ** 2, "label": ["a", "b"] * 20})
    frame.index = pandas.Index(np.random.default_rng(0).permutation(40), name=name)
    path, table = tmp_path / f"a.{suffix}", pa.Table.from_pandas(frame)
    pa.parquet.write_table(table, path) if suffix == "parquet" else pa.feather.write_feather(
        table, path
    )
    data = load_dataset(path)
    assert data.columns == Columns(("x",), "label")
    assert any((name or "__index_level_0__") in note for note in data.notes)
    model = onelayer.model_of(onelayer.train(data, onelayer.grid(), epochs=0))
    assert load_dataset(path, like=model.columns).n_features == 1


def test_an_index_may_hold_the_labels(tmp_path):
    frame = pandas.DataFrame({"x": np.arange(40.0) ** 2, "z": 1.5}).set_index(
        pandas.Index(["a", "b"] * 20, name="label")
    )
    frame.to_parquet(tmp_path / "a.parquet")
    assert load_dataset(tmp_path / "a.parquet").class_names == ("a", "b")


def sha256sum(*names, folder):
    """Return what the command of this name prints, which is the outside referee."""
    command = ["sha256sum", *map(str, names)]
    return subprocess.run(command, capture_output=True, cwd=folder, check=True).stdout


@pytest.mark.parametrize("form", ["csv", "parquet", "pair", "npy_folder", "idx"])
def test_digests_are_those_of_the_files_and_go_into_the_run(form, tmp_path):
    path = WRITERS[form](tmp_path, *make_images())
    data = load_dataset(path)
    folder = path if path.is_dir() else path.parent
    listed = sha256sum(*data.digests, folder=folder).decode().split()
    assert data.digests == dict(zip(listed[1::2], listed[::2], strict=True))
    there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert set(data.digests) == there
    run = onelayer.train(data, onelayer.grid(), epochs=0)
    assert run.provenance["digests"] == onelayer.model_of(run).digests == data.digests


def test_many_files_have_one_digest_that_of_their_sorted_list(tmp_path):
    path = WRITERS["images"](tmp_path, *make_images())
    files = sorted(file.relative_to(path) for file in path.rglob("*.*") if file.is_file())
    lines = sha256sum(*files, folder=path).splitlines(keepends=True)
    expected = hashlib.sha256(b"".join(sorted(lines))).hexdigest()
    assert load_dataset(path).digests == {"40 files": expected}


def test_an_archive_says_what_to_do_with_it(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(InputError, match=r"unpack it .* onelayer train cifar10 --source .*tar\.gz"):
        load_dataset(path)


@pytest.mark.parametrize(("options", "classes"), [([], 100), (["--coarse"], 20)])
def test_the_twenty_groups_are_asked_for_on_the_command_line(
    options, classes, small_cifar100, tmp_path, capsys
):
    write_cifar100(tmp_path, "binary", small_cifar100)
    assert run_cli(["data", "info", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert ("│ vehicles_2 " in out) == (classes == 20)
    arguments = ["--epochs", "1", "--out", str(tmp_path / "out"), *options]
    assert run_cli(["train", str(tmp_path), *arguments]) == 0
    assert len(onelayer.load_model(tmp_path / "out").class_names) == classes
    assert run_cli(["evaluate", str(tmp_path / "out")]) == 0


def test_info_says_what_was_understood(tmp_path, capsys):
    X, y = make_images(40)
    X[1] = X[0]  # within train or across, by the draw
    path = format_writers.write_npz(tmp_path, X, y)
    assert run_cli(["data", "info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "12 features, uint8, full scale 255, images of 1 × 4 × 3" in out
    figures = [int(word) for line in out.splitlines() if "equal one of" in line
               for word in line.split()[-1:]]  # fmt: skip
    within = next(line for line in out.splitlines() if "duplicates" in line)
    assert sum(figures) + sum(int(w) for w in within.replace("│", " ").split()[1:]) == 1
    for name in NAMES:
        assert f"│ {name} " in out


REFUSED = {
    "an option of another format": ("a.npz", {"coarse": True}, r"takes no option 'coarse'"),
    "a source": ("a.npz", {"source": "a.npz"}, "no parts to choose from, and no source"),
    "no known format": ("a.xyz", {}, r"a\.xyz: of no known format; expected \.npz, \.parquet"),
    "nothing there": ("b.csv", {}, r"b\.csv: no such file or folder"),
}


@pytest.mark.parametrize(("name", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_told_with_what_is_accepted(tmp_path, name, options, message):
    format_writers.write_npz(tmp_path, *make_images())
    shutil.copy(__file__, tmp_path / "a.xyz")
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path / name, **options)


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path, monkeypatch):
    path = format_writers.write_parquet(tmp_path, *make_images())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'onelayer\[parquet\]'"):
        load_dataset(path)
