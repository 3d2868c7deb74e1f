"""CSV files: numbers are exact, and a spreadsheet finds no formula in them."""

import csv
import io
import re

import numpy as np
import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from made_results import make_results
from onelayer.errors import visible
from onelayer.evaluation.ablation import ablation_rows, write_ablation
from onelayer.evaluation.csv_export import neutral, write_csv, write_rows
from onelayer.evaluation.results import write_history
from onelayer.training.run import CURVES

FORMULAS = (
    '=HYPERLINK("http://x","y")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1+1", "\t=1+1",
    "\r=1+1", "＝1+1", "＋1", "－1", "＠A1", "\N{NO-BREAK SPACE}=1", "'=1+1", "-",
    "a;=1+1", "a,b; @x",
)  # fmt: skip
PLAIN = ("cat", "-1", "+0.5", "1e-05", "a = b", "λ=0, η=0.1", "猫", "a-b", "'tis", "NaN", "")
OPENS = "=+-@＝＋－＠"  # what a spreadsheet begins a formula with, by OWASP's page on CSV injection


def cells_of(line):
    """Return the cells that some spreadsheet makes of a text, of which it may part at ; and ,."""
    return [cell.strip() for part in line.split(";") for cell in part.split(",")]


def is_number(text):
    try:
        return text.isascii() and bool(float(text))
    except ValueError:
        return False


hostile = st.text(st.sampled_from("=+-@＝'\";, \t\r\n\x1b\u202eab12.e\\"), max_size=8)


@given(hostile | st.text(max_size=8) | st.sampled_from(FORMULAS))
@example("''=1")
def test_no_text_is_a_formula_and_each_can_be_read_back(text):
    told = neutral(text)
    if not is_number(told):
        assert not any(cell.startswith(tuple(OPENS)) for cell in cells_of(told))
    back = re.sub(rf"(^|[,;])'(?=['\s]*[{re.escape(OPENS)}])", r"\1", told)
    assert back == visible(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", told)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_formula_stays_as_it_is(text):
    assert neutral(text) == text


@given(st.lists(st.floats() | st.integers(-(2**53), 2**53), min_size=1))
def test_numbers_are_exact(numbers):
    file = io.StringIO()
    write_rows([[number] for number in numbers], file)
    read = [float(line) if line.strip('"') else np.nan for line in file.getvalue().splitlines()]
    np.testing.assert_array_equal(read, np.array(numbers, float))


def test_a_notice_is_one_comment_that_holds_no_formula(tmp_path):
    write_csv({"a": [1.0]}, tmp_path / "a.csv", "stand-in,=1+1;@x")
    assert (tmp_path / "a.csv").read_text("utf-8") == "# stand-in,'=1+1;'@x\na\n1.0\n"
    assert pandas.read_csv(tmp_path / "a.csv", comment="#").to_dict("list") == {"a": [1.0]}


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_curves_are_exact_and_empty_where_there_are_none(tmp_path):
    run = make_results().run
    run.history.validation_loss[1, 2] = np.nan
    write_history(run, tmp_path / "history.csv")
    rows = read_csv(tmp_path / "history.csv")
    for name in CURVES:
        read = [float(row[name] or np.nan) for row in rows]
        np.testing.assert_array_equal(read, getattr(run.history, name).ravel())
    assert [row["model"] for row in rows] == [*"000001111122222"]
    assert b"\r" not in (tmp_path / "history.csv").read_bytes()


def test_titles_of_variants_are_texts(tmp_path):
    base = make_results()
    write_ablation(ablation_rows(base, [("a", FORMULAS[0], base)]), tmp_path / "a.csv")
    rows = read_csv(tmp_path / "a.csv")
    assert {row["change"] for row in rows} == {"as it is", "'" + FORMULAS[0]}
    assert next(row["gain"] for row in rows if row["variant"] == "a") == "0.0"
