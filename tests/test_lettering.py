"""Names in any script: what figures and PDF set can be read, and each name told from the others."""

import unicodedata

import matplotlib
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from made_results import SCRIPTS
from onelayer.report.lettering import BOLD, REGULAR, font_file, legend, legible, told_apart

GLYPHS = set.intersection(
    *(set(TTFont(font_file(style)).getBestCmap()) for style in (REGULAR, BOLD))
)
printed = st.text(min_size=1, max_size=12)


@given(printed)
def test_what_is_set_has_a_glyph_and_needs_no_shaping(text):
    told = legible(text)
    assert told.strip() or not text.strip()
    for character in told.replace("\n", ""):
        assert ord(character) in GLYPHS
        assert unicodedata.bidirectional(character) not in ("R", "AL", "NSM", "RLO", "LRO")
    assert legible(told) == told


@pytest.mark.parametrize("name", SCRIPTS)
def test_names_in_other_scripts_are_transliterated(name):
    assert legible(name).isascii()
    assert any(map(str.isalnum, legible(name)))


@pytest.mark.parametrize(
    "text", ["café", "Łódź", "λ=0, η=0.1 × ½", "Кошка", "95\N{NO-BREAK SPACE}%"]
)
def test_what_the_fonts_have_stays_as_it_is(text):
    assert legible(text) == legible(unicodedata.normalize("NFD", text)) == text


@given(st.lists(printed.filter(str.strip), unique_by=lambda name: " ".join(name.split())))
def test_no_two_names_are_equal_however_short_they_are_cut(names):
    for letters in (9, 14, 100):
        told = told_apart(names, letters)
        assert len(set(told)) == len(names)
        assert all(0 < len(name) <= letters for name in told)


def test_a_sheet_of_every_script_is_drawn_without_a_missing_glyph():
    figure = Figure()
    for row, name in enumerate(told_apart(SCRIPTS)):
        for weight in ("normal", "bold"):
            figure.text(0.1, row / 20, name, fontweight=weight, parse_math=False)
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.canvas.draw()


def test_a_legend_tells_which_name_stands_for_which():
    names = ("猫", "cat", "毛")
    assert legend(names).rows == (("0: Mao", "猫"), ("1: cat", "cat"), ("2: Mao", "毛"))
    assert [row[1] for row in legend(names, codes=True).rows] == [r"\u732b", "cat", r"\u6bdb"]
    assert legend(("cat", "cafe\u0301", "λ")) is None
