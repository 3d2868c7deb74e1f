import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cifar_versions import write_binary
from onelayer.data.catalog import load_dataset
from onelayer.data.fetching import cache
from onelayer.data.formats import cifar
from onelayer.errors import InputError


@pytest.fixture
def source(small_cifar, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    write_binary(folder, small_cifar)
    return folder


def test_cifar10_trains_on_batch_1_validates_on_2_and_tests_on_the_test_batch(small_cifar, source):
    data = load_dataset("cifar10", source=source)
    parts = ("data_batch_1", "data_batch_2", "test_batch")
    for split, part in zip(data.splits.values(), parts, strict=True):
        np.testing.assert_array_equal(split.X, small_cifar[part][:, 1:])
        np.testing.assert_array_equal(split.y, small_cifar[part][:, 0])
        assert (split.X.dtype, split.y.dtype) == (np.uint8, np.intp)
    assert data.class_names[3] == "cat"
    assert (data.n_classes, data.image_shape, data.full_scale) == (10, (3, 32, 32), 255)
    assert data.digests["test_batch.bin"] == cifar.DIGESTS["test_batch"]
    assert data.notice == ""


def test_a_single_part_is_mapped_from_disk_and_not_copied(source):
    X = load_dataset("cifar10", source=source).train.X
    assert X.strides == (3073, 1)
    owner = X
    while owner.base is not None and not isinstance(owner, np.memmap):
        owner = owner.base
    assert isinstance(owner, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        X[0, 0] = 1


def test_parts_follow_each_other(small_cifar, source):
    parts = ["data_batch_4", "data_batch_1"]
    data = load_dataset("cifar10", train=parts, test=None, source=source)
    expected = np.concatenate([small_cifar[part] for part in parts])
    np.testing.assert_array_equal(data.train.X, expected[:, 1:])
    np.testing.assert_array_equal(data.train.y, expected[:, 0])
    assert data.test is None
    assert set(data.digests) == {"data_batch_4.bin", "data_batch_1.bin", "data_batch_2.bin"}


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ({"validation": "data_batch_1"}, "data_batch_1 is named twice, in train and in validation"),
        ({"test": ["test_batch", "data_batch_2"]}, "twice, in validation and in test"),
        ({"train": ["data_batch_3"] * 2}, "twice, in train and in train"),
        ({"train": "data_batch_7"}, "unknown part of cifar10 'data_batch_7'; did you mean 'data_b"),
        ({"train": []}, "train needs at least one part: data_batch_1, "),
        ({"validation": []}, "validation needs at least one part"),
    ],
)
def test_splits_that_leak_or_name_nothing_are_refused(splits, problem, small_cifar):
    with pytest.raises(InputError, match=problem):
        load_dataset("cifar10", **splits)


def test_an_unknown_data_set_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown data set 'cifar-10'; did you mean 'cifar10'"):
        load_dataset("cifar-10")


def test_an_altered_file_is_refused_at_load(source):
    load_dataset("cifar10", source=source)
    path = cache.part_file("data_batch_2")
    path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(InputError, match=r"data_batch_2\.bin: altered: .* replaces it"):
        load_dataset("cifar10")
    load_dataset("cifar10", validation="data_batch_3")  # not in use: not in the way


def test_nothing_cached_and_no_source_says_so(small_cifar):
    with pytest.raises(cache.NoSourceError, match=r"data_batch_1\.bin is not in "):
        load_dataset("cifar10")


def test_digits_are_scikit_learns_in_file_order():
    data = load_dataset("digits")
    pixels, labels = load_digits(return_X_y=True)
    assert [len(split) for split in data.splits.values()] == [1000, 397, 400]
    np.testing.assert_array_equal(np.concatenate([s.X for s in data.splits.values()]), pixels)
    np.testing.assert_array_equal(np.concatenate([s.y for s in data.splits.values()]), labels)
    assert data.train.X.dtype == np.uint8
    assert data.train.X.max() == data.full_scale == 16
    assert (data.image_shape, data.class_names) == ((1, 8, 8), tuple("0123456789"))
    assert data.notice == ""
    assert len(data.digests["digits"]) == 64


def test_digits_take_their_own_parts_and_no_source(tmp_path):
    data = load_dataset("digits", train=["train", "validation"], validation="test", test=None)
    assert (len(data.train), len(data.validation)) == (1397, 400)
    with pytest.raises(InputError, match="takes no source"):
        load_dataset("digits", source=tmp_path)


def test_importing_the_catalog_loads_nothing_heavy():
    heavy = ["PIL", "scipy", "rich", "sklearn", "urllib.request", "filelock", "platformdirs"]
    heavy += ["pyarrow", "pandas", "polars", "safetensors"]
    code = "import sys, onelayer.data.catalog; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not set(heavy) & set(loaded.decode().split())


@pytest.mark.cifar10
def test_the_real_files_have_the_published_class_counts(cifar10):
    counts = [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    np.testing.assert_array_equal(np.bincount(cifar10.train.y), counts)
    np.testing.assert_array_equal(np.bincount(cifar10.test.y), [1000] * 10)
    assert cifar10.train.X.shape == (10_000, 3072)
