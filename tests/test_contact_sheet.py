"""The sheet of training images: which images it shows, where, and what it refuses."""

import numpy as np
import pytest
from matplotlib.image import imread

from made import make_data
from onelayer.cli import run
from onelayer.data.catalog import load_dataset
from onelayer.data.dataset import Dataset, Split
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.report import style
from onelayer.report.contact_sheet import COLUMNS, draw_contact_sheet, write_contact_sheet
from onelayer.training.augmentation import Augmentation

H, W, GAP = 4, 5, 1
SHAPE = (3, H, W)


def draw(data, text="none", rows=1, seed=0):
    """Return the tiles (classes, rows, COLUMNS, H, W, 3) of a sheet and its axes."""
    augmentation = Augmentation.parse(text)
    with style.look():
        figure = draw_contact_sheet(data, augmentation, rows, seed)
        figure.draw_without_rendering()
    page = np.stack([ax.images[0].get_array() for ax in figure.axes])
    if text != "none":
        page = np.delete(page, slice(W + GAP, W + 2 * GAP), axis=2)
    page = np.pad(page, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    tiles = page.reshape(-1, rows, H + GAP, COLUMNS, W + GAP, 3).swapaxes(2, 3)
    return tiles[..., :H, :W, :], figure.axes


def as_tiles(X):
    return X.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)


def test_a_class_has_its_own_images_each_once_beside_its_name():
    data = make_data(D=60, image_shape=SHAPE, N=90)
    tiles, axes = draw(data, rows=2)
    assert [ax.get_ylabel() for ax in axes] == list(data.class_names)
    for k, of_class in enumerate(tiles):
        known = {tile.tobytes() for tile in as_tiles(data.train.X[data.train.y == k])}
        shown = [tile.tobytes() for tile in of_class.reshape(-1, H, W, 3)]
        drawn = [tile for tile in shown if set(tile) != {255}]
        assert set(drawn) <= known
        assert len(set(drawn)) == len(drawn) == min(len(known), 2 * COLUMNS)


def test_the_seed_chooses():
    data = make_data(D=60, image_shape=SHAPE, N=200)
    first, again, other = (draw(data, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_versions_follow_the_original_that_the_plain_sheet_shows_first():
    data = make_data(D=60, image_shape=SHAPE, N=90)
    plain, _ = draw(data)
    tiles, axes = draw(data, "flip", rows=2)
    np.testing.assert_array_equal(tiles[:, 0, 0], plain[:, 0, 0])
    np.testing.assert_array_equal(tiles[:, 1, 0], plain[:, 0, 1])
    original = np.broadcast_to(tiles[:, :, :1], tiles.shape)
    same = (tiles == original).all(axis=(3, 4, 5))
    mirrored = (tiles == original[..., ::-1, :]).all(axis=(3, 4, 5))
    assert (same ^ mirrored).all()
    assert 0.3 < same[:, :, 1:].mean() < 0.7
    assert [text.get_text() for text in axes[0].texts][1:] == ["original", "augmented: flip"]


def test_grey_images_are_scaled_by_the_full_scale_and_an_empty_class_stays_white():
    X = np.arange(20, dtype=np.float64)[None] / 19 * 16
    split = Split(X, np.array([1]))
    tiles, _ = draw(Dataset("grey", split, split, None, ("no", "one"), 16.0, (1, H, W)))
    expected = np.rint(np.arange(20) / 19 * 255).reshape(H, W, 1).repeat(3, axis=-1)
    np.testing.assert_array_equal(tiles[1, 0, 0], expected)
    assert (tiles[0] == 255).all()
    assert (tiles[1, 0, 1:] == 255).all()


def test_many_classes_are_cut_and_the_title_says_so():
    tiles, axes = draw(make_data(D=60, image_shape=SHAPE, K=33))
    assert len(tiles) == 20
    assert axes[0].texts[0].get_text() == "made: training images, the first 20 of 33 classes"


def test_every_pixel_of_a_small_image_is_a_square_of_dots_in_the_file(tmp_path):
    data = load_dataset("digits")
    path = tmp_path / "digits.png"
    write_contact_sheet(data, path, Augmentation(), rows=1, seed=0, force=False)
    picture = np.rint(255 * imread(path)[..., 0]).astype(int)
    zeros = data.train.X[data.train.y == 0]
    first = zeros[random_stream(0, Stream.SHOWN_IMAGES).permutation(len(zeros))[0]].reshape(8, 8)
    dots = np.rint(first / 16 * 255).astype(int).repeat(12, axis=0).repeat(12, axis=1)
    top, left = 114, 30 + 14
    np.testing.assert_array_equal(picture[top : top + 96, left : left + 96], dots)


def test_the_command_draws_and_does_not_overwrite(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["data", "show", "digits", "--augment", "shift:1"]) == 0
    assert capsys.readouterr().out == "images: digits-images.png\n"
    before = (tmp_path / "digits-images.png").read_bytes()
    assert run(["data", "show", "digits"]) == 2
    assert capsys.readouterr().err == (
        "onelayer: digits-images.png: exists; add --force to replace it\n"
    )
    assert (tmp_path / "digits-images.png").read_bytes() == before
    assert run(["data", "show", "digits", "--force"]) == 0
    assert (tmp_path / "digits-images.png").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["digits-images.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--augment", "flop"], "unknown augmentation 'flop'; did you mean 'flip'?"),
        (["--augment", "shift:8"], "shift is 8; expected 0 to 7 for images of (8, 8) pixels"),
        (["--out", "sheet.jpg"], "sheet.jpg: expected a name that ends in .png"),
        (["--rows", "0"], "--rows"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(["data", "show", "digits", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_features_that_are_not_images_cannot_be_shown(tmp_path):
    path = tmp_path / "made.png"
    with pytest.raises(InputError, match="made: its features are not images"):
        write_contact_sheet(make_data(), path, Augmentation(), rows=1, seed=0, force=False)
    assert not path.exists()
