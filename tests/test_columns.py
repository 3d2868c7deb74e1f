"""A model knows the columns it was trained on: tables go by the names of their columns."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

import onelayer
from onelayer.cli import run as run_command
from onelayer.data.columns import Columns, choose_columns
from onelayer.errors import InputError
from onelayer.evaluation.model_evaluation import evaluate_model

X, Y = load_iris(return_X_y=True)
NAMES = ("sepal l", "sepal w", "petal l", "petal w")
FRAME = pd.DataFrame(X, columns=list(NAMES)).assign(kind=np.array(["s", "v", "w"])[Y])
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "parquet": lambda frame, path: frame.to_parquet(path, index=False),
    "feather": lambda frame, path: frame.to_feather(path),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of results of the table, and its model."""
    folder = tmp_path_factory.mktemp("columns")
    FRAME.to_csv(folder / "train.csv", index=False)
    options = "--scaling standardise --learning-rate 0.1 --report none --epochs 5 --threads 1"
    assert (
        run_command(
            ["train", str(folder / "train.csv"), "--out", str(folder / "run"), *options.split()]
        )
        == 0
    )
    return folder / "run", onelayer.load_model(folder / "run")


def classes(capsys, *words):
    """Return the classes that `predict` writes, and the notes beside them."""
    capsys.readouterr()
    assert run_command(["predict", *map(str, words), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    return [line.split(",")[3] for line in out.splitlines()[1:]], err


def test_model_run_and_onnx_keep_the_names(trained, tmp_path):
    onnx = pytest.importorskip("onnx")
    folder, model = trained
    expected = Columns(NAMES, "kind")
    assert model.columns == onelayer.load_run(folder / "run").columns == expected
    assert run_command(["export", str(folder), "--out", str(tmp_path / "m.onnx")]) == 0
    meaning = {p.key: json.loads(p.value) for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert (meaning["feature_names"], meaning["label_name"]) == (list(NAMES), "kind")


@pytest.mark.parametrize("form", WRITERS)
def test_tables_in_another_order_predict_the_same(trained, form, tmp_path, capsys):
    folder, model = trained
    right = [model.class_names[k] for k in model.predict(X)]
    shuffled = FRAME[["petal w", "kind", "sepal l", "petal l", "sepal w"]].assign(id="text")
    WRITERS[form](shuffled, tmp_path / f"t.{form}")
    found, notes = classes(capsys, folder, tmp_path / f"t.{form}")
    assert found == right
    assert "'kind' holds labels" in notes
    assert "not used: id" in notes
    assert (
        run_command(["evaluate", str(folder), str(tmp_path / f"t.{form}"), "--split", "train"]) == 0
    )
    data = onelayer.load_dataset(tmp_path / f"t.{form}", label="kind", like=model.columns)
    expected = np.mean(model.predict(data.train.X) == data.train.y)
    assert f"accuracy {expected:.4f}" in capsys.readouterr().out


def test_frames_go_by_name(trained):
    _, model = trained
    other = FRAME[list(NAMES[::-1])]
    for frame in (other, pl.from_pandas(other)):
        np.testing.assert_array_equal(model.scores(frame), model.scores(X))
    with pytest.raises(InputError, match="petal w"):
        model.scores(FRAME[list(NAMES[:3])])
    swapped = onelayer.dataset_from(FRAME[[*NAMES[::-1], "kind"]], "kind")
    straight = onelayer.dataset_from(FRAME, "kind")
    assert swapped.columns == Columns(NAMES[::-1], "kind")
    counts = [evaluate_model(model, data).confusion for data in (swapped, straight)]
    np.testing.assert_array_equal(*counts)
    run = onelayer.train(straight, onelayer.grid(), epochs=1)
    np.testing.assert_array_equal(run.scores(other), run.scores(X))


def test_the_estimators_run_knows_the_columns_of_its_frame():
    classifier = onelayer.OneLayerClassifier(epochs=2).fit(FRAME[list(NAMES)], Y)
    assert classifier.run_.columns == Columns(NAMES)
    assert onelayer.OneLayerClassifier(epochs=2).fit(X, Y).run_.columns is None


@pytest.mark.parametrize("form", WRITERS)
def test_missing_columns_are_named(trained, form, tmp_path, capsys):
    WRITERS[form](FRAME.drop(columns=["sepal w"]), tmp_path / f"t.{form}")
    for command in ("predict", "evaluate"):
        assert run_command([command, str(trained[0]), str(tmp_path / f"t.{form}")]) == 2
        assert "sepal w" in capsys.readouterr().err


def test_without_names_columns_go_by_place(trained, tmp_path, capsys):
    folder, model = trained
    FRAME[list(NAMES)].to_csv(tmp_path / "t.csv", index=False, header=False)
    found, notes = classes(capsys, folder, tmp_path / "t.csv")
    assert found == [model.class_names[k] for k in model.predict(X)]
    assert "no names of columns" in notes


def test_labels_under_another_name_are_left_out(trained, tmp_path, capsys):
    folder, model = trained
    FRAME.rename(columns={"kind": "truth"}).to_csv(tmp_path / "t.csv", index=False)
    found, notes = classes(capsys, folder, tmp_path / "t.csv", "--label", "truth")
    assert found == [model.class_names[k] for k in model.predict(X)]
    assert "'truth' holds labels" in notes
    assert run_command(["predict", str(folder), str(tmp_path / "t.csv"), "--label", "petal l"]) == 2
    assert "'petal l' is a feature" in capsys.readouterr().err


def test_numbers_may_be_names(tmp_path, capsys):
    frame = pd.DataFrame(X).assign(label=Y)  # columns 0, 1, 2, 3
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ["--report", "none", "--epochs", "2", "--out", str(tmp_path / "run")]
    assert run_command(["train", str(tmp_path / "t.csv"), *words]) == 0
    model = onelayer.load_model(tmp_path / "run")
    frame[[3, 1, 0, 2]].to_csv(tmp_path / "u.csv", index=False)
    found, _ = classes(capsys, tmp_path / "run", tmp_path / "u.csv")
    assert found == [model.class_names[k] for k in model.predict(X)]


def test_a_table_of_row_numbers_and_labels_alone_has_no_features(tmp_path):
    rows = "\n".join(f"{'xy'[n % 2]},{n}" for n in range(8))
    (tmp_path / "t.csv").write_text(f"label,id\n{rows}\n")
    with pytest.raises(InputError, match="no columns of features, only row numbers: id"):
        onelayer.load_dataset(tmp_path / "t.csv")


def test_two_columns_of_one_name_are_refused(tmp_path):
    frame = pd.DataFrame(np.c_[X, Y], columns=["a", "b", "a", "c", "label"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    attempts = (
        lambda: onelayer.load_dataset(tmp_path / "t.csv"),
        lambda: onelayer.dataset_from(frame),
        lambda: onelayer.dataset_from(frame.drop(columns="label"), Y),
    )
    for attempt in attempts:
        with pytest.raises(InputError, match="two columns are called 'a'"):
            attempt()


def test_a_table_is_never_taken_for_a_single_sample(trained, tmp_path, capsys):
    """Two rows of two numbers are not one row of four."""
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    np.save(tmp_path / "t.npy", np.ones((2, 2)))
    for name in ("t.csv", "t.npy"):
        assert run_command(["predict", str(trained[0]), str(tmp_path / name)]) == 2
        assert "2 features, expected 4" in capsys.readouterr().err


NOISE = np.random.default_rng(0).normal(size=(30, 2))
IDS = np.random.default_rng(1).permutation(900)[:30]


def numbered(name, ids):
    table = {name: ids, "a": NOISE[:, 0], "b": NOISE[:, 1], "label": np.arange(30) % 2}
    return pd.DataFrame(table)


@pytest.mark.parametrize("form", [*WRITERS, "pandas", "polars"])
@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "Id", "sample_id", "PassengerId", "row"])
def test_row_numbers_are_left_out_with_a_note(form, name, tmp_path):
    frame = numbered(name, IDS)
    if form in WRITERS:
        WRITERS[form](frame, tmp_path / f"t.{form}")
        data = onelayer.load_dataset(tmp_path / f"t.{form}")
    else:
        data = onelayer.dataset_from(frame if form == "pandas" else pl.from_pandas(frame))
    assert data.columns == Columns(("a", "b"), "label")
    assert any(name in note and "left out" in note for note in data.notes)
    rows = np.concatenate([split.X for split in data.splits.values()])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(NOISE, axis=0))


def test_a_model_knows_no_row_numbers(tmp_path, capsys):
    """It predicts tables with them and without."""
    numbered("id", IDS).to_csv(tmp_path / "t.csv", index=False)
    words = ["--report", "none", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert run_command(["train", str(tmp_path / "t.csv"), *words]) == 0
    assert "number the rows: id" in capsys.readouterr().out
    numbered("x", IDS)[["b", "a"]].to_csv(tmp_path / "u.csv", index=False)
    found = [classes(capsys, tmp_path / "run", tmp_path / name)[0] for name in ("t.csv", "u.csv")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", np.arange(30) // 2), ("humid", IDS), ("row", NOISE[:, 0]), ("index", [*IDS[1:], None])],
    ids=range(4),
)
def test_what_may_be_a_feature_is_kept(name, values):
    data = onelayer.dataset_from(numbered(name, values).fillna(0.5))
    assert (data.columns.features, data.notes) == ((name, "a", "b"), ())


def test_columns_that_tell_nothing_are_noted(tmp_path, capsys):
    frame = numbered("year", range(1990, 2020)).assign(one=1, none=np.nan)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert run_command(["data", "info", str(tmp_path / "t.csv")]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "note:" in line]
    for name, words in (("year", "rising by one"), ("one", "of one value"), ("none", "no value")):
        assert any(note.endswith(f": {name}") and words in note for note in notes), name
    assert "Unnamed" in onelayer.dataset_from(numbered("Unnamed: 0", "abc" * 10)).notes[0]


@pytest.mark.parametrize(
    ("names", "label", "words"),
    [
        (["a", "b", "kind"], "kind", "the last, 'kind', holds them"),
        (["Species", "a", "b"], "Species", None),
        (["a", " Target ", "class"], "class", "taken for features: Target"),
        (["kind", "a", ""], "a", "left out: ''"),
    ],
    ids=range(4),
)
def test_the_column_of_labels_is_said_where_it_is_not_plain(names, label, words):
    choice = choose_columns("t", names)
    assert choice.columns.label == label
    assert words is None or any(words in note for note in choice.notes)
    assert bool(choice.notes) == (words is not None)


def reader(form, column, tmp_path):
    """Return what reads a table with such a column "tint" in one of FORMS."""
    frame, path = numbered("tint", column), tmp_path / f"t.{form}"
    if form in WRITERS:
        WRITERS[form](frame, path)
        return partial(onelayer.load_dataset, path)
    return partial(onelayer.dataset_from, frame if form == "pandas" else pl.from_pandas(frame))


FORMS = [*WRITERS, "pandas", "polars"]
CATEGORIES = {
    "words": ["red", "blue"],
    "dates": ["2024-02-29", "2024-03-01"],
    "gaps": ["yes", None],
}
DAMAGE = {  # the row that is named, and its text
    "a word among numbers": (["1.5", "12", "abc", "7"], 2, "abc"),
    "a number among words": (["abc", "xyz", "12", "q"], 2, "12"),
    "percent": (["12%", "13%"], 0, "12%"),
    "decimal commas": (["1.234,5", "7.234,5"], 0, "1.234,5"),
}
NO_FEATURE = {
    "names": [f"Ann {n}, née Lee" for n in range(30)],
    "pictures": [None, *(f"{n:04}.png" for n in range(29))],
    "times": [f"2024-02-{n % 29 + 1:02} 10:00" for n in range(30)],
    "constant": ["v1"] * 30,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("words", CATEGORIES.values(), ids=CATEGORIES)
def test_a_column_of_categories_is_named_with_what_to_do(form, words, tmp_path):
    with pytest.raises(InputError, match=r"row 0, column 'tint', holds .*leave out .*or encode it"):
        reader(form, (words * 15)[:30], tmp_path)()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("texts", "row", "text"), DAMAGE.values(), ids=DAMAGE)
def test_numbers_that_are_damaged_are_named_in_every_format(form, texts, row, text, tmp_path):
    with pytest.raises(InputError, match=re.escape(f"row {row}, column 'tint', holds {text!r}")):
        reader(form, (texts * 15)[:30], tmp_path)()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("words", NO_FEATURE.values(), ids=NO_FEATURE)
def test_a_column_of_words_that_is_surely_no_feature_is_left_out(form, words, tmp_path):
    data = reader(form, words, tmp_path)()
    assert data.columns.features == ("a", "b")
    assert data.n_features == 2
    assert sum("features: tint" in note for note in data.notes) == 1


@pytest.mark.parametrize("form", ["parquet", "pandas", "polars"])
def test_typed_times_are_dates_and_texts_of_numbers_are_no_numbers(form, tmp_path):
    times = pd.date_range("2024-01-01", periods=30, tz="Europe/Berlin")
    assert "features: tint" in str(reader(form, times, tmp_path)().notes)
    with pytest.raises(
        InputError, match=r"row 0, column 'tint', holds '0' of the type str; .*numeric"
    ):
        reader(form, [str(n) for n in range(30)], tmp_path)()


@given(st.permutations(range(6)), st.sampled_from(["label", "Class", "kind"]))
def test_columns_are_found_in_any_order(order, label):
    names = np.array(["a", "b", "c", "extra", "d", label])[order].tolist()
    choice = choose_columns("t", names, like=Columns(("a", "b", "c", "d"), "kind"), labelled=False)
    assert [names[place] for place in choice.features] == ["a", "b", "c", "d"]
    assert names[choice.label] == label
    assert any("extra" in note for note in choice.notes)


def test_the_present_names_may_be_those_of_old_models(trained, tmp_path, capsys):
    """A model without names, of an earlier version, takes tables by place."""
    _, model = trained
    replace(model, columns=None).save(tmp_path / "old.safetensors")
    FRAME[list(NAMES)].to_csv(tmp_path / "t.csv", index=False)
    found, notes = classes(capsys, tmp_path / "old.safetensors", tmp_path / "t.csv")
    assert found == [model.class_names[k] for k in model.predict(X)]
    assert not notes
