"""What other libraries hold in memory becomes the same data set as from a file."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits, load_iris

import onelayer
from format_writers import NAMES, columns_of, make_images, named, write_npz
from onelayer.data.dataset import Split
from onelayer.errors import InputError
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train

X, Y = make_images()
FLAT = X.reshape(len(X), -1)


def as_arrays():
    return onelayer.dataset_from(X, Y, class_names=NAMES)


def as_mapping():
    return onelayer.dataset_from({"images": X, "labels": named(Y)}, image_shape=(1, 4, 3))


def as_pandas():
    frame = pytest.importorskip("pandas").DataFrame(columns_of(X, named(Y)))
    return onelayer.dataset_from(frame, image_shape=(1, 4, 3))


def as_pandas_of_categories():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns_of(X, pandas.Categorical(named(Y)), "kind of animal"))
    frame = frame[["kind of animal", *frame.columns[:-1]]]
    return onelayer.dataset_from(frame, "kind of animal", image_shape=(1, 4, 3))


def as_polars():
    frame = pytest.importorskip("polars").DataFrame(columns_of(X, named(Y), "Target"))
    return onelayer.dataset_from(frame, image_shape=(1, 4, 3))


def as_tensors():
    torch = pytest.importorskip("torch")
    weights = torch.tensor(X, requires_grad=False)
    return onelayer.dataset_from(weights, torch.tensor(Y), class_names=NAMES)


@pytest.mark.parametrize(
    "make",
    [as_arrays, as_mapping, as_pandas, as_pandas_of_categories, as_polars, as_tensors],
)
def test_every_library_gives_the_data_set_that_the_file_gives(make, tmp_path):
    expected, data = onelayer.load_dataset(write_npz(tmp_path, X, Y)), make()
    for name, split in expected.splits.items():
        np.testing.assert_array_equal(data.splits[name].X, split.X)
        np.testing.assert_array_equal(data.splits[name].y, split.y)
    assert (data.class_names, data.image_shape) == (expected.class_names, expected.image_shape)
    assert (data.train.X.dtype, data.full_scale) == (np.uint8, 255)


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_bunch_of_scikit_learn_brings_its_class_names(as_frame):
    if as_frame:
        pytest.importorskip("pandas")
    bunch = load_iris(as_frame=as_frame)
    data = onelayer.dataset_from(bunch, name="iris")
    assert data.class_names == ("setosa", "versicolor", "virginica")
    rows = np.concatenate([split.X for split in data.splits.values()])
    labels = np.concatenate([split.y for split in data.splits.values()])
    given = np.column_stack([bunch.data, bunch.target])
    found = np.column_stack([rows, labels])
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(given, axis=0))
    assert {tuple(row) for row in found} == {tuple(row) for row in given}


def test_splits_of_ones_own_are_kept(tmp_path):
    parts = {"X_train": FLAT[:20], "y_train": Y[:20], "X_val": FLAT[20:], "y_val": Y[20:]}
    data = onelayer.dataset_from(parts)
    np.testing.assert_array_equal(data.train.X, FLAT[:20])
    np.testing.assert_array_equal(data.validation.y, Y[20:])
    assert data.test is None


def test_the_data_set_trains():
    data = onelayer.dataset_from(*load_digits(return_X_y=True), full_scale=16)
    run = train(data, grid(learning_rate=[0.1]), epochs=20)
    assert run.history.validation_accuracy[0, -1] > 0.9


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_nulls_in_a_frame_are_missing_values(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"x": [1, None, *range(8)], "label": [0, 1] * 5})
    with pytest.raises(
        InputError, match="data: row 1, column 'x', holds a value that is not finite"
    ):
        onelayer.dataset_from(frame)
    if library == "pandas":
        with pytest.raises(InputError, match="not finite"):
            onelayer.dataset_from(frame.convert_dtypes())


REFUSED = {
    "sparse": (
        lambda: (scipy.sparse.random_array((1000, 3000), density=0.01), Y),
        r"data: sparse features .* takes 24,000,000 bytes; .* X\.toarray\(\)",
    ),
    "no labels": (lambda: (FLAT,), r"labels are missing: dataset_from\(X, y\)"),
    "labels of another length": (lambda: (FLAT, Y[1:]), r"shape \(40, 12\), labels of 39"),
    "a continuous target": (
        lambda: (FLAT, Y + 0.5),
        "row 0 has the label 0.5: classes are whole numbers or strings",
    ),
    "strings as features": (lambda: (FLAT.astype(str), Y), "features of <U3, expected real"),
    "objects as features": (lambda: (FLAT.astype(object), Y), "features of object"),
    "one class": (lambda: (FLAT, Y * 0), "all training samples are of one class"),
    "three samples": (lambda: (FLAT[:3], Y[:3]), "3 samples are too few to split, expected 4"),
    "a cube of cubes": (lambda: (X.reshape(40, 2, 2, 3, 1), Y), r"features of the shape \(40, 2"),
    "labels that are lists": (
        lambda: (FLAT, np.array([["a"], "a"] * 20, object)),
        "a label of the type list, expected whole numbers or strings",
    ),
    "no rows": (lambda: (FLAT[:0], Y[:0]), r"features of the shape \(0, 12\)"),
    "no features": (lambda: (FLAT[:, :0], Y), r"features of the shape \(40, 0\)"),
    "labels without features": (lambda: ({"y": Y},), "train has no features beside 'y'"),
    "a direction override": (
        lambda: (FLAT, [f"a\u202e{k}" for k in Y]),
        r"the class name 'a\\u202e0' holds a character that cannot be seen, U\+202E",
    ),
    "an escape": (lambda: (FLAT, [f"\x1b[2J{k}" for k in Y]), r"cannot be seen, U\+001B"),
    "a blank name": (
        lambda: (FLAT, [" " * (k + 1) for k in Y]),
        "row 0 has no label: '' is a missing",
    ),
    "a long name": (lambda: (FLAT, ["x" * (100 + k) for k in Y]), "has 101 characters, expected"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_are_no_labelled_samples_is_told_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        onelayer.dataset_from(*make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), "has the label 2, expected 0 to 1"),
        (("a", "b", "a"), "two classes are called 'a'"),
        (("a", "b", ""), "the class name '' has 0 characters"),
        (("a", "b", "\u3164\u2800"), "has 2 characters, expected 1 to 100 that can be seen"),
    ],
)
def test_class_names_that_do_not_fit_are_told(names, message):
    with pytest.raises(InputError, match=message):
        onelayer.dataset_from(FLAT, Y, class_names=names)


@pytest.mark.parametrize(
    "other", ["cat ", " cat", "cat\xa0", "cat\u3000", "c\u200dat", "cat\ufe0f", "\u3164cat"]
)
def test_names_that_differ_by_what_is_not_seen_are_refused_with_the_difference(other):
    with pytest.raises(InputError, match="look the same") as caught:
        onelayer.dataset_from(FLAT, Y, class_names=("cat", other, "dog"))
    assert f"'cat' and {other!a}" in str(caught.value)


def test_names_that_can_be_told_apart_by_eye_stay():
    for names in (("é", "e", "è"), ("x²", "x2", "ｘ2"), ("a b", "ab", "A B"), ("ﬁ", "fi", "ﬂ")):
        assert onelayer.dataset_from(FLAT, Y, class_names=names).class_names == names


def test_joiners_that_scripts_are_written_with_are_no_hidden_characters():
    persian = "می\u200cخواهم"
    data = onelayer.dataset_from(FLAT, Y, class_names=(persian, "b", "c"))
    assert data.class_names[0] == persian


def test_masked_values_are_missing():
    X, Y = load_iris(return_X_y=True)
    masked = np.ma.masked_array(X, np.zeros_like(X, bool))
    model = train(onelayer.dataset_from(masked, Y), grid(), epochs=2, threads=1)
    masked[3, 1] = np.ma.masked
    whole = np.ma.masked_array(np.arange(600).reshape(150, 4), masked.mask)
    for damaged in (masked, whole):
        with pytest.raises(InputError, match="row 3, column 1, holds a value that is not finite"):
            onelayer.dataset_from(damaged, Y)
        assert np.isnan(model.scores(damaged)[3]).all()
        for method in ("fit", "score"):
            estimator = onelayer.OneLayerClassifier(epochs=1, threads=1).fit(X, Y)
            with pytest.raises(ValueError, match="NaN"):
                getattr(estimator, method)(damaged, Y)
    for labels in (Y, Y.astype(str)):
        with pytest.raises(InputError, match="row 5 has no label"):
            onelayer.dataset_from(X, np.ma.masked_array(labels, np.arange(150) == 5))
    split = onelayer.dataset_from(X, Y).train
    hidden = Split(np.ma.masked_greater(split.X, 7), split.y)
    with pytest.raises(InputError, match="train: masked values"):
        onelayer.Dataset("d", hidden, None, None, ("a", "b", "c"))
