"""Tables of text mean the same in every dialect, and what they cannot mean is told."""

import csv
import gzip
import io
import math
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import onelayer
from onelayer.data.cells import read_number
from onelayer.data.formats.delimited import csv_features
from onelayer.data.unlabelled import read_unlabelled
from onelayer.errors import InputError

X = np.random.default_rng(0).normal(size=(20, 3)).round(3)
FRAME = pd.DataFrame(X, columns=["a", 'b "x", |;\t', "c"])


def read(path, n_features=3):
    return np.concatenate(list(read_unlabelled(str(path), n_features, None, 1.0)))


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("folder/t.csv", content)
        archive.writestr("__MACOSX/folder/._t.csv", b"x")
    return file.getvalue()


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]
PACKINGS = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.zip": zipped, ".zip": zipped}


@given(
    st.sampled_from(",;\t|"),
    st.sampled_from(".,"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(ENCODINGS),
    st.sampled_from(sorted(PACKINGS)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(max_examples=60, deadline=None)
@example(";", ",", "\r\n", "utf-16", ".csv", False, False, csv.QUOTE_MINIMAL)
def test_every_dialect_is_the_same_table(
    tmp_path_factory, separator, mark, ends, encoding, suffix, names, excel, quoting
):
    if separator == ",":
        mark = "."
    text = FRAME.to_csv(
        index=False, header=names, sep=separator, decimal=mark, lineterminator=ends, quoting=quoting
    )
    text = f"sep={separator}{ends}" * excel + text
    if encoding == "utf-16-be":
        text = "\ufeff" + text
    path = tmp_path_factory.getbasetemp() / f"dialect{suffix}"
    path.write_bytes(PACKINGS[suffix](text.rstrip(ends).encode(encoding)))
    np.testing.assert_array_equal(read(path), X)


def test_standard_input_may_be_of_any_dialect(monkeypatch):
    content = FRAME.to_csv(index=False, sep=";", decimal=",").encode("utf-16")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    np.testing.assert_array_equal(read("-"), X)


def test_decimal_commas_are_said(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.assign(label=["a", "b"] * 10).to_csv(path, index=False, sep=";", decimal=",")
    (note,) = onelayer.load_dataset(path).notes
    assert "1,234 is 1.234" in note
    told = []
    list(csv_features(path, like=None, tell=told.append))
    assert note in told


NUMBER = st.from_regex(
    r"[+-]?([0-9]{1,20}\.?[0-9]{0,9}|\.[0-9]{1,9})([eE][+-]?[0-9]{1,2})?", fullmatch=True
)
SPELLINGS = st.one_of(NUMBER, st.text("0123456789.,+-eE_ xnaifty%$−１٣²", max_size=8))


@given(SPELLINGS)
@settings(max_examples=50)
@example("1_0")
@example("１２")
@example("infinity")
@example("-nan")
@example("nan(1)")
@example("0x10")
@example("1e400")
def test_numbers_are_those_of_the_written_rule(text):
    """The referee is pandas' parser, which takes neither 1_0 nor digits of other scripts."""
    found = read_number(text)
    try:
        expected = float(pd.to_numeric(text.strip()))
    except ValueError:
        expected = None
    if found is not None and not math.isnan(found):
        assert found == float(text)
        assert expected == pytest.approx(found, rel=1e-14)
    if text.isascii() and expected is not None and math.isfinite(expected):
        assert found == float(text)


@pytest.mark.parametrize(
    "cell",
    ["1_000", "１２", "0x10", "nan(1)", "-nan", "Infinity", "1 000", "12%", "$5", "1d5", "+-1",
     "−5", "1.234,56", "1,234,567", "1e400", "1,5"],
)  # fmt: skip
@pytest.mark.parametrize("separator", [",", ";"])
def test_what_is_no_number_is_told_with_row_and_column(tmp_path, cell, separator):
    """In the table decimals have points, so 1,5 is none either."""
    lines = ["a", "b", "c"], ["1.5", "2", "3"], ["1", f'"{cell}"', "3"]
    (tmp_path / "t.csv").write_text("\n".join(map(separator.join, lines)), "utf-8")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "t.csv")
    assert f"row 1, column 'b', holds {cell!r}" in str(caught.value)
    assert ("too large" in str(caught.value)) == (cell == "1e400")


def test_missing_values_have_one_spelling_for_features_and_labels(tmp_path):
    cells = ["NA", "n/a", "NaN", "", " ", "null", "None", "?", "-", "#N/A", "<NA>", "NaT"]
    for separator in ",;":
        lines = [separator.join(["a", "b"]), *(f"1{separator}{cell}" for cell in cells)]
        (tmp_path / "t.csv").write_text("\n".join(lines))
        assert np.isnan(read(tmp_path / "t.csv", 2)[:, 1]).all()


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("1,5;2,5\n3,5;4", [[1.5, 2.5], [3.5, 4]]),  # no names, decimal commas
        ("a;b\n1;2,25\n", [[1, 2.25]]),
        ("x;z,b,c\n1,2,3\n", [[1, 2, 3]]),  # a semicolon in a name
        ("# a,b\n\n1,2\n\n3,4", [[1, 2], [3, 4]]),
        ("a\tb\n1E-3\t2,5\n", [[1e-3, 2.5]]),
        ("a;b;\n1;2;\n3;4;\n", [[1, 2], [3, 4]]),
        ("a\n1\n2", [[1], [2]]),
    ],
    ids=range(7),
)
def test_separators_are_found(tmp_path, text, cells):
    (tmp_path / "t.csv").write_text(text)
    np.testing.assert_array_equal(read(tmp_path / "t.csv", len(cells[0])), cells)


def test_a_name_may_look_like_a_missing_value(tmp_path):
    (tmp_path / "t.csv").write_text("RI,Na,K,Type\n" + "1.5,13,0,1\n1.6,12,0,2\n" * 6)
    assert onelayer.load_dataset(tmp_path / "t.csv").columns.features == ("RI", "Na", "K")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            b"a b label\n1 2 x\n",
            "between commas, semicolons, tabs or |; found 'a b label'",
        ),
        ("t.csv", b"a,label\n1,caf\xe9\n", "line 2 holds the byte 0xE9, which is not UTF-8; iconv"),
        ("t.csv", "a,label\n1,x".encode("utf-16-le"), "line 1 holds a zero byte"),
        ("t.csv", b"1,4;1,4;x\n1;2;y\n", "column 1 is called '1,4'; the first line must name"),
        ("t.csv", b"a,label\n1,x\n2\n", "row 1 has 1 cells, expected 2"),
        ("t.csv.gz", gzip.compress(b"a,label\n1,x\n")[:-9], "cannot be read as CSV"),
        ("t.ods", b"PK\x03\x04", "a spreadsheet, which is not read; save its sheet as .csv"),
        ("t.jsonl", b"{}", "pandas.read_json"),
        ("t.arff", b"@relation", "scipy.io.arff.loadarff"),
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        onelayer.load_dataset(tmp_path / name)
    assert message in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_row_names_of_r_without_a_name_of_their_column_are_told(separator, tmp_path):
    path = tmp_path / "t.csv"
    rows = [['"a"', '"b"', '"label"'], *([f'"{n}"', "1.5", str(n), '"x"'] for n in range(1, 9))]
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"row 0 has 4 cells, expected 3 .* row\.names = FALSE"):
        onelayer.load_dataset(path)
    path.write_text(separator + path.read_text().replace('"x"', '"y"', 4))
    data = onelayer.load_dataset(path)
    assert data.columns.features == ("a", "b")
