import subprocess
import sys

import numpy as np
import pytest

import onelayer
from onelayer.data.dataset import Dataset, Split
from onelayer.errors import InputError


def split(n: int = 4, dtype: type = np.float64) -> Split:
    return Split(np.arange(n * 6).reshape(n, 6).astype(dtype), np.arange(n) % 3)


def dataset(**changes: object) -> Dataset:
    settings = {
        "name": "toy",
        "train": split(4),
        "validation": split(3),
        "test": None,
        "class_names": ("a", "b", "c"),
    }
    return Dataset(**(settings | changes))


def test_sizes_are_those_of_the_arrays():
    data = dataset(image_shape=(1, 2, 3))
    assert (data.n_features, data.n_classes) == (6, 3)
    assert [(name, len(part)) for name, part in data.splits.items()] == [
        ("train", 4),
        ("validation", 3),
    ]


def test_head_is_a_view_of_the_first_samples():
    whole = split(4)
    head = whole.head(3)
    np.testing.assert_array_equal(head.X, whole.X[:3])
    np.testing.assert_array_equal(head.y, [0, 1, 2])
    assert np.shares_memory(head.X, whole.X)
    assert len(whole.head(99)) == 4


X, Y = np.zeros((4, 6)), np.zeros(4, np.intp)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"validation": Split(np.zeros((4, 5)), Y)}, r"toy, validation: X has the shape \(4, 5\)"),
        ({"test": Split(np.zeros(4), Y)}, r"toy, test: X has the shape \(4,\), expected \(N, 6\)"),
        ({"train": Split(np.float64(1), Y)}, r"toy, train: X has the shape \(\)"),
        ({"train": Split(X, Y[:3])}, r"4 rows of X and labels of the shape \(3,\)"),
        ({"train": Split(X, Y[:, None])}, r"labels of the shape \(4, 1\)"),
        ({"train": Split(X[:0], Y[:0])}, "0 rows of X"),
        ({"train": Split(X, np.array([0, 3, 0, 0]))}, "row 1 has the label 3, expected 0 to 2"),
        ({"train": Split(X, np.array([0, 0, -1, 0]))}, "row 2 has the label -1"),
        ({"train": Split(X, Y + 0.5)}, "labels of float64, expected real numbers and whole"),
        ({"train": Split(X.astype(object), Y)}, "X of object"),
        ({"train": Split(X.astype(complex), Y)}, "X of complex128"),
        ({"train": Split(X.astype(str), Y)}, "X of <U32"),
        ({"image_shape": (3, 2, 2)}, r"image shape \(3, 2, 2\), but 6 features"),
        ({"full_scale": 0.0}, "full scale 0.0, expected a positive one"),
        ({"full_scale": float("nan")}, "full scale nan"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        dataset(**changes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(value, dtype):
    broken = split(4, dtype)
    broken.X[2, 5] = value
    with pytest.raises(
        InputError, match="toy, test: row 2, column 5, holds a value that is not finite"
    ):
        dataset(test=broken)


def test_importing_a_dataset_loads_nothing_heavy():
    heavy = ["PIL", "scipy", "rich", "sklearn", "urllib.request", "matplotlib"]
    code = "import sys, onelayer.data.dataset; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not set(heavy) & set(loaded.decode().split())


def test_missing_values_can_be_described_but_not_trained_on():
    X = np.ones((4, 2))
    X[1, 0] = np.nan
    split = Split(X, np.array([0, 1, 0, 1]))
    data = Dataset("toy", split, None, None, ("a", "b"), allow_missing=True)
    with pytest.raises(
        InputError, match="toy, train: row 1, column 0, holds a value that is not finite"
    ):
        onelayer.train(data, onelayer.grid(), epochs=1)
