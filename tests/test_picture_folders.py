"""Folders of pictures: which files and folders count, and what is said of the others."""

import shutil

import numpy as np
import pytest
from PIL import Image

import onelayer
from format_writers import make_images, write_images, write_npy_folder
from onelayer import InputError, load_dataset
from onelayer.cli import run as run_cli
from onelayer.data.formats.registry import find_format
from onelayer.data.unlabelled import read_unlabelled

GENERATOR = np.random.default_rng(0)


def put(folder, n=6):
    """Write n pictures of 4 × 4 into a folder that may not be there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        pixels = GENERATOR.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
    return folder


def put_classes(folder, *names):
    for name in names or ("cat", "dog"):
        put(folder / name)
    return folder


def sizes(data):
    return {split: len(part) for split, part in data.splits.items()}


def litter(folder):
    """Leave in a folder what systems and zip tools leave there."""
    for name in (
        ".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "0.png:Zone.Identifier", ".directory",
    ):  # fmt: skip
        (folder / name).write_bytes(b"litter")
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "lost+found"):
        (folder / name / "cat").mkdir(parents=True)
        for place in (folder / name, folder / name / "cat"):
            (place / "._0.png").write_bytes(b"litter")
            (place / "0.png").write_bytes(b"litter")
            (place / "train.X.npy").write_bytes(b"litter")


@pytest.mark.parametrize("split", ["", "train"])
def test_what_systems_leave_is_neither_a_class_nor_a_picture(tmp_path, split):
    folder = put_classes(tmp_path / split)
    clean = load_dataset(tmp_path)
    for place in {tmp_path, folder, folder / "cat", folder / "dog"}:
        litter(place)
    data = load_dataset(tmp_path)
    assert (data.class_names, data.notes) == (("cat", "dog"), ())
    np.testing.assert_array_equal(data.train.X, clean.train.X)
    rows = read_unlabelled(str(tmp_path), 48, (3, 4, 4), 255)
    assert sum(map(len, rows)) == 12


def test_what_systems_leave_is_no_shard(tmp_path):
    write_npy_folder(tmp_path, *make_images())
    clean = load_dataset(tmp_path)
    (tmp_path / "train").mkdir()
    for kind in "Xy":
        (tmp_path / f"train.{kind}.npy").rename(tmp_path / "train" / f"000.{kind}.npy")
        (tmp_path / "train" / f"._000.{kind}.npy").write_bytes(b"litter")
    litter(tmp_path)
    np.testing.assert_array_equal(load_dataset(tmp_path).train.X, clean.train.X)
    alone = tmp_path / "alone"
    alone.mkdir()
    litter(alone)
    with pytest.raises(InputError, match="no data set in it"):
        find_format(alone)


@pytest.mark.parametrize(
    "names",
    [("Train", "Val", "Test"), ("training", "VALIDATION", "testing"), ("TRAIN", "valid", "test")],
)
def test_splits_may_be_called_otherwise(tmp_path, names):
    for n, name in zip((5, 4, 3), names, strict=True):
        put(tmp_path / name / "cat", n)
        put(tmp_path / name / "dog", n)
    assert sizes(load_dataset(tmp_path)) == {"train": 10, "validation": 8, "test": 6}


def test_two_folders_for_a_split_are_refused(tmp_path):
    put_classes(tmp_path / "train"), put_classes(tmp_path / "val"), put_classes(tmp_path / "dev")
    with pytest.raises(InputError, match="both dev and val mean validation"):
        load_dataset(tmp_path)


def test_pictures_without_labels_are_left_out_and_can_be_predicted(tmp_path, capsys):
    put_classes(tmp_path / "train"), put(tmp_path / "test", 3)
    data = load_dataset(tmp_path)
    assert sizes(data) == {"train": 8, "validation": 2, "test": 2}  # drawn
    (note,) = data.notes
    assert str(tmp_path / "test") in note
    assert "no labels" in note
    model = onelayer.model_of(onelayer.train(data, onelayer.grid(), epochs=1))
    model.save(tmp_path / "model.safetensors")
    for path, rows in (("test", 3), (".", 15)):
        command = ["predict", tmp_path / "model.safetensors", tmp_path / path, "--format", "csv"]
        assert run_cli(list(map(str, command))) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == rows + 1
        assert lines[-1].startswith(f"{tmp_path / 'test' / '2.png'},0,1,")


def test_pictures_to_train_on_need_labels(tmp_path):
    put(tmp_path / "train")
    with pytest.raises(InputError, match="train: no folders in it, expected one for each class"):
        load_dataset(tmp_path)
    put_classes(tmp_path / "test")
    with pytest.raises(InputError, match="train: no folders in it"):
        load_dataset(tmp_path)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(InputError, match="no folder train in it, only test"):
        load_dataset(tmp_path)
    with pytest.raises(InputError, match="cat: read as a folder of pictures, without labels"):
        load_dataset(tmp_path / "test" / "cat")


def test_a_class_may_be_called_train(tmp_path):
    data = load_dataset(put_classes(tmp_path, "bus", "car", "train"))
    assert data.class_names == ("bus", "car", "train")
    assert data.notes == ("train: taken for a class, since it lies beside folders of classes",)


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda folder: (folder / "train" / "fox").mkdir(), "classes (fox)"),
        (lambda folder: (folder / "test").mkdir(), "is left out: no pictures in it"),
        (lambda folder: put(folder / "extra"), "extra is left out: its name is that of no split"),
        (lambda folder: put_classes(folder / "more"), "more is left out: its name is that of no"),
        (put, "the pictures directly in"),
        (lambda folder: put(folder / "train"), "the pictures directly in"),
        (
            lambda folder: Image.new("RGBA", (4, 4)).save(folder / "train/cat/0.png"),
            "parts are transparent, read as the colour there: 1",
        ),
    ],
    ids=["empty-class", "empty-split", "folder", "classes", "loose", "loose-train", "transparent"],
)
def test_what_may_have_been_meant_otherwise_is_noted(tmp_path, add, words):
    put_classes(tmp_path / "train")
    assert load_dataset(tmp_path).notes == ()
    add(tmp_path)
    data = load_dataset(tmp_path)
    assert sum(sizes(data).values()) == 12
    (note,) = data.notes
    assert words in note


def test_files_beside_the_classes_and_other_folders_are_not_looked_at(tmp_path):
    put_classes(tmp_path)
    (tmp_path / "pets.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "readme.txt").write_text("Pets.")
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / "naïve 猫\n.PNG")
    assert sum(sizes(load_dataset(tmp_path)).values()) == 12


def test_a_folder_around_the_folders_is_read_with_a_note_and_folders_in_a_class_refused(tmp_path):
    put_classes(tmp_path / "outer" / "pets")
    assert load_dataset(tmp_path / "outer").notes[0].endswith("outer/pets")
    put(tmp_path / "outer" / "pets" / "cat" / "siamese")
    with pytest.raises(InputError, match="siamese: a folder among the pictures of cat"):
        load_dataset(tmp_path / "outer" / "pets")


def test_sixteen_bits_and_one_are_grey_and_a_photo_is_turned_before_it_is_measured(tmp_path):
    images, labels = make_images(12, 4, 4)
    write_images(tmp_path, images, labels)
    Image.fromarray(images[0].astype(np.uint16) * 257).save(tmp_path / "ant" / "000.png")
    Image.fromarray(images[1] > 127).save(tmp_path / "bee" / "001.png")
    data = load_dataset(tmp_path)
    rows = np.concatenate([split.X for split in data.splits.values()])
    assert data.image_shape == (1, 4, 4)
    assert (rows == images[0].reshape(-1)).all(axis=1).any()
    exif = Image.Exif()
    exif[0x0112] = 6
    for place in ("ant", "bee", "cat"):
        for path in (tmp_path / place).iterdir():
            Image.open(path).convert("L").resize((5, 4)).save(path, exif=exif)
    assert load_dataset(tmp_path).image_shape == (1, 5, 4)


def write_table(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("a,b,label\n" + "".join(f"{n},{n * n % 7},{n % 2}\n" for n in range(20)))


@pytest.mark.parametrize("table", ["data/train.csv", "data/inner/train.csv", "train.csv"])
def test_figures_beside_data_are_no_classes(tmp_path, table):
    put(tmp_path / "images")
    if table != "train.csv":
        put(tmp_path / "plots")
    (tmp_path / table).parent.mkdir(parents=True, exist_ok=True)
    write_table(tmp_path / table)
    assert load_dataset(tmp_path).n_features == 2


def test_a_table_beside_classes_of_pictures_is_not_the_data(tmp_path):
    put_classes(tmp_path)
    write_table(tmp_path / "labels.csv")
    assert load_dataset(tmp_path).image_shape is not None


@pytest.mark.parametrize("name", ["train.npz", "train.csv"])
def test_loose_test_pictures_beside_a_file_are_left_out(tmp_path, name):
    put(tmp_path / "test")
    if name == "train.csv":
        write_table(tmp_path / name)
    else:
        np.savez(tmp_path / name, X=np.random.default_rng(0).normal(size=(20, 3)), y=[0, 1] * 10)
    notes = load_dataset(tmp_path).notes
    assert f"{tmp_path / 'test'}: has no labels and is left out" in notes


def test_predict_tells_of_transparent_pictures_once(tmp_path):
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(tmp_path / "a.png")
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(tmp_path / "b.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    told = []
    assert len(list(read_unlabelled(str(tmp_path), 48, (3, 4, 4), 255.0, tell=told.append))) == 3
    (note,) = told
    assert "parts are transparent" in note
    assert note.endswith("2")
