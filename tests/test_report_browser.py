"""The report in a real browser: printed, and in a narrow window."""

import unicodedata

import pypdf
import pytest

from made_results import make_check, make_folds, make_results
from onelayer.report.content import Facts, report_of
from onelayer.report.figures import write_figures
from onelayer.report.page import write_page

pytestmark = pytest.mark.browser
PRINTED = {"width": 673, "height": 986}  # pixels of an A4 page within its margins


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    names = [f"class {k} {'with a long name ' * 3}" for k in range(24)]
    made = make_results(classes=names, cross_validation=make_folds(3), checks=(make_check(24, 12),))
    report = report_of(Facts(made, write_figures(made, folder, dots=False)))
    write_page(report, folder / "report.html", figures=False)
    return report, folder / "report.html"


@pytest.fixture
def page(browser, report):
    page = browser.new_page(viewport=PRINTED)
    page.goto(report[1].as_uri())
    yield page
    page.close()


def joined(text):
    """Return the text without blanks and ligatures."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def test_print_tears_no_table_and_shows_what_is_folded(report, page, tmp_path):
    page.pdf(path=tmp_path / "print.pdf", prefer_css_page_size=True)
    pages = [joined(page.extract_text()) for page in pypdf.PdfReader(tmp_path / "print.pdf").pages]
    blocks = [block for part in report[0].sections for block in part.blocks]
    tables = [block for block in blocks if block.kind == "table"]
    assert len(tables) > 8
    for table in tables:
        (found,) = [text for text in pages if joined(table.full_caption) in text]
        rows = (table.header, *table.rows)
        assert joined("".join(cell for row in rows for cell in row)) in found, table.stem


def test_figures_fit_a_printed_page_and_are_not_cut(page):
    page.emulate_media(media="print")
    figures = page.locator("figure")
    assert figures.count() > 5
    for figure in figures.all():
        box = figure.bounding_box()
        assert box["height"] <= PRINTED["height"]
        assert box["x"] + box["width"] <= PRINTED["width"]
        assert figure.evaluate("each => getComputedStyle(each).breakInside") == "avoid"


@pytest.mark.parametrize("width", [400, 1000])
def test_a_window_is_as_wide_as_the_page_and_first_columns_stay_in_view(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for scrolled in page.locator("main > section > .scroll:has(table)").all():
        scrolled.evaluate("each => { each.scrollLeft = 1000 }")
        first = scrolled.locator("tbody th").first.bounding_box()
        assert first["x"] >= scrolled.bounding_box()["x"]
