"""Labels are judged once: the same samples have the same classes in every format."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.datasets import load_diabetes
from sklearn.utils.multiclass import type_of_target

import onelayer
from onelayer.cli import run as run_command
from onelayer.data.labels import encode_labels
from onelayer.errors import InputError

N = 24
X = np.random.default_rng(0).normal(size=(N, 3)).round(6)
K3 = np.arange(N) % 3


def write_everywhere(folder, labels):
    """Yield by name the data sets that every format and library makes of X and the labels."""
    frame = pd.DataFrame(X, columns=list("abc")).assign(label=labels)
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")
    frame.to_csv(folder / "t.txt", index=False, sep=";", decimal=",")
    frame.to_parquet(folder / "t.parquet", index=False)
    frame.to_feather(folder / "t.feather")
    np.savez(folder / "t.npz", X=X, y=labels)
    names = ["t.csv", "t.tsv", "t.txt", "t.parquet", "t.feather", "t.npz"]
    if labels.dtype.kind in "biuf":
        np.save(folder / "p.X.npy", X)
        np.save(folder / "p.y.npy", labels)
        save_file({"X": X, "y": labels}, folder / "t.safetensors")
        names += ["p.X.npy", "t.safetensors"]
    yield from ((name, onelayer.load_dataset(folder / name)) for name in names)
    yield "arrays", onelayer.dataset_from(X, labels)
    yield "objects", onelayer.dataset_from(X, labels.astype(object))
    yield "texts", onelayer.dataset_from(X, list(map(str, labels.tolist())))
    yield "pandas", onelayer.dataset_from(frame)
    yield "categories", onelayer.dataset_from(X, pd.Categorical(labels))
    yield "polars", onelayer.dataset_from(pl.from_pandas(frame))


TEXTS = ["b", "a c", "10", "9", "007", "TRUE", "é"]
LABELS = st.one_of(
    st.lists(st.integers(-3, 12), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(0, 120).map(float), min_size=2, max_size=4, unique=True),
    st.just([True, False]),
    st.lists(st.sampled_from(TEXTS), min_size=2, max_size=4, unique=True),
).map(np.array)


@given(LABELS)
@settings(max_examples=12, deadline=None)
def test_the_same_samples_are_the_same_data_set_in_every_format(tmp_path_factory, distinct):
    labels = distinct[np.arange(N) % len(distinct)]
    (_, first), *others = write_everywhere(tmp_path_factory.mktemp("labels"), labels)
    assert len(first.class_names) == len(distinct)
    for name, data in others:
        assert data.class_names == first.class_names, name
        for split, expected in first.splits.items():
            np.testing.assert_array_equal(data.splits[split].X, expected.X, name)
            np.testing.assert_array_equal(data.splits[split].y, expected.y, name)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, unique=True))
def test_spellings_of_a_whole_number_are_one_class(numbers):
    for spell in ("{}", "{}.0", " {} ", "{:.18e}"):
        y, names = encode_labels("t", {"train": [spell.format(n) for n in numbers]})
        assert names == tuple(map(str, sorted(numbers)))
        assert [int(names[k]) for k in y["train"]] == numbers


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["007", "7"], ("007", "7")),  # with a leading zero it is a name
        (["+", "-"], ("+", "-")),
        (["true", "FALSE"], ("False", "True")),
        (["1.0", "x"], ("1.0", "x")),
        ([b"cat", " cat ", "dog"], ("cat", "dog")),
        (np.array([b"cat", b"dog"]), ("cat", "dog")),
        (np.array([2**63, 2**64 - 1], np.uint64), (str(2**63), str(2**64 - 1))),
        (np.array([[1], [0]]), ("0", "1")),
        (pd.Categorical(["b", "a"], categories=["z", "b", "a"]), ("a", "b")),
    ],
    ids=range(9),
)
def test_what_is_a_class(labels, names):
    assert encode_labels("t", {"train": labels})[1] == names


def test_listed_classes_are_meant_by_name_or_by_place():
    listed = ("1", "None", "0")
    for labels, expected in ((["1", "None"], [0, 1]), (np.array([1.0, 2.0]), [1, 2])):
        y, names = encode_labels("t", {"train": labels}, listed)
        assert names == listed
        assert y["train"].tolist() == expected
    with pytest.raises(InputError, match="the label 'cat' is not one of the classes"):
        encode_labels("t", {"train": ["cat", "1"]}, listed)


@pytest.mark.parametrize("other", [["cat", "dog"], np.array([True, False])], ids=range(2))
def test_numbers_are_no_labels_beside_others_in_another_split(other):
    with pytest.raises(InputError, match="labels of one split are numbers, and of another are not"):
        encode_labels("t", {"train": other, "test": np.array([0, 1])})


MISSING = [
    "", " ", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "?", "-", "#N/A", "<NA>",
    "NaT", None, np.nan, pd.NA, pd.NaT,
]  # fmt: skip


@pytest.mark.parametrize("missing", MISSING, ids=range(len(MISSING)))
def test_a_missing_label_is_told_with_its_row(missing):
    labels = np.array(["a", "b"] * 5, object)
    labels[[3, 7]] = missing
    with pytest.raises(InputError, match=r"row 3 has no label: .*; 2 of 10 rows have none"):
        onelayer.dataset_from(X[:10], labels)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
@pytest.mark.parametrize("labels", [["a", "b"], [1, 2], [1.0, 2.0], [True, False]], ids=range(4))
def test_a_missing_label_of_a_table_is_told_with_row_and_column(suffix, labels, tmp_path):
    path = tmp_path / f"t.{suffix}"
    frame = pl.DataFrame({"x": range(10), "kind": [*labels * 3, None, *labels[:1] * 3]})
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "feather": frame.write_ipc}[suffix](
        path
    )
    for attempt in (lambda: onelayer.load_dataset(path), lambda: onelayer.dataset_from(frame)):
        with pytest.raises(InputError, match="row 6, column 'kind', has no label"):
            attempt()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (K3 / 2, "row 1 has the label 0.5: classes are whole numbers or strings"),
        ((K3 / 2).astype(str), "row 1 has the label 0.5"),
        (np.where(K3 == 2, np.inf, 1), "row 2 has the label inf"),
        (K3 * 2.0**60, "row 1 has the label 1.15"),
        (np.arange(N), "each of the 24 samples has a label of its own"),
        (np.eye(3)[K3], r"labels of the shape \(24, 3\), each row with one .* y.argmax\(axis=1\)"),
        (K3.astype("M8[D]"), r"labels of datetime64\[D\], expected whole numbers or strings"),
        (np.array([1j, 2j])[K3 % 2], "labels of complex128"),
    ],
    ids=range(8),
)
def test_what_is_no_class_is_told(labels, message):
    with pytest.raises(InputError, match=message):
        onelayer.dataset_from(X, labels)


def test_classes_that_cannot_be_learned_are_noted(tmp_path, capsys):
    np.savez(tmp_path / "t.npz", X_train=X, y_train=K3, X_test=X, y_test=K3 + 1)
    words = ["--epochs", "1", "--report", "none", "--out", str(tmp_path / "run")]
    for command in (["data", "info"], ["train"]):
        extra = words if command == ["train"] else []
        assert run_command([*command, str(tmp_path / "t.npz"), *extra]) == 0
        (note,) = [line for line in capsys.readouterr().out.splitlines() if "note:" in line]
        assert "without a training sample, so it cannot be learned: 1 of the 4 classes (3)" in note
        assert "0 of validation, 8 of test" in note
    data = onelayer.dataset_from(X, K3, class_names=["a", "b", "c", "d"])
    assert "1 of the 4 classes (d); samples" in data.notes[0]
    assert onelayer.dataset_from(X, K3).notes == ()


@pytest.mark.parametrize("classes", [100, 92])
@pytest.mark.parametrize("tested", [0, 15])
def test_an_id_is_no_class(classes, tested):
    arrays = {"X_train": np.zeros((100, 2)), "y_train": np.minimum(np.arange(100), classes - 1)}
    if tested:
        arrays |= {"X_test": np.zeros((tested, 2)), "y_test": np.arange(tested)}
    with pytest.raises(InputError, match=r"each .*of the 100 samples has a label of its own"):
        onelayer.dataset_from(arrays)


@pytest.mark.parametrize(("trained", "tested"), [(2, 0), (1, 1), (1, 3), (5, 5)])
def test_few_samples_of_each_of_many_classes_are_taken(trained, tested):
    y = np.arange(1000)
    arrays = {"X_train": np.zeros((1000 * trained, 1)), "y_train": np.repeat(y, trained)}
    if tested:
        arrays |= {"X_test": np.zeros((1000 * tested, 1)), "y_test": np.repeat(y, tested)}
    assert onelayer.dataset_from(arrays).n_classes == 1000


def test_the_only_sample_of_a_class_trains():
    labels = [*["a", "b"] * 40, *"cdefghijkl"]
    for seed in range(5):
        data = onelayer.dataset_from(np.zeros((90, 1)), labels, seed=seed)
        assert set(data.train.y) == set(range(12))
        assert len(data.test) == len(data.validation) == round(0.15 * 90)
    assert "with one sample only: 10 of the 12 classes (c, d, e, f, g, …)" in data.notes[0]


AGES = np.random.default_rng(0).binomial(90, 0.5, 2000)


@pytest.mark.parametrize(
    ("labels", "doubted"),
    [
        (load_diabetes().target, True),  # of whole numbers
        (np.arange(180) % 90 + 1, True),  # each of 1 to 90 twice
        (AGES[:150], True),
        (np.repeat(np.arange(1950, 2020), 10), True),
        (np.repeat(np.arange(0, 700, 10), 10), True),
        (np.repeat(np.arange(200), 59), False),  # 200 birds of 59 pictures each
        (np.repeat(np.arange(1, 103), 80), False),
        (np.repeat(np.arange(64), 5), False),
        (np.repeat([3, 7, 9], 40), False),
        (AGES % 10, False),
    ],
    ids=["diabetes", "twice", "ages", "years", "tens", "birds", "from-1", "few", "three", "digits"],
)
@pytest.mark.parametrize("kind", [int, float, str])
def test_whole_numbers_that_are_hardly_classes_are_doubted_in_one_note(labels, doubted, kind):
    labels = labels.astype(int)
    data = onelayer.dataset_from(np.zeros((len(labels), 1)), [*map(kind, labels)])
    K, few = len(set(labels)), sum(np.unique(labels, return_counts=True)[1] < 3)
    (*_, note) = data.notes or [""]
    assert ("a regression" in note) == doubted
    if doubted:
        rare = f", {few} of them with fewer than 3" if few else ""
        assert f"{K} classes for {len(labels)} samples{rare}, whole numbers from" in note
        assert f"from {min(labels):,} to {max(labels):,}:" in note
        assert not any("with one sample only" in each for each in data.notes)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("step", [0.1, 0.5, 1.0, 3.0])
def test_what_scikit_learn_calls_continuous_is_refused_in_one_line(dtype, step):
    y = (np.arange(60) % 6 * step).astype(dtype)
    if type_of_target(y) == "continuous":
        with pytest.raises(InputError, match=r"row 1 has the label .* a regression"):
            onelayer.dataset_from(np.zeros((60, 1)), y)
    else:
        assert onelayer.dataset_from(np.zeros((60, 1)), y).n_classes == 6


def test_names_of_single_samples_are_doubted():
    names = [f"picture {number}" for number in range(30)] * 2
    note = onelayer.dataset_from(np.zeros((60, 1)), names).notes[-1]
    assert "30 classes for 60 samples, 30 of them with fewer than 3:" in note
    assert note.endswith("are the labels names of single samples?")
