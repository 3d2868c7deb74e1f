"""Whole reports of results made by hand: the page, the PDF and the files beside them."""

import base64
import hashlib
import html
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pypdf
import pytest
from matplotlib.figure import Figure
from PIL import Image

from made_results import (
    HOSTILE,
    SCRIPTS,
    make_check,
    make_folds,
    make_results,
    nan_curves,
    nan_validation,
)
from onelayer.errors import is_hidden
from onelayer.evaluation.predictions import NO_PREDICTIONS
from onelayer.report import curves, figures, style
from onelayer.report.blocks import Bullets, Column, Paragraph, Part, Report, Table
from onelayer.report.content import Facts, report_of
from onelayer.report.heat_map import draw_heat_map, has_heat_map
from onelayer.report.lettering import told_apart
from onelayer.report.outcome import tell_outcome, tell_winner
from onelayer.report.page import render_html, templates, write_report
from onelayer.report.tables import accuracy_table
from onelayer.training.hyperparameters import Hyperparameters, grid


def read_html(path):
    """Return the text that a reader sees, on one line."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
    return squeeze(html.unescape(text))


def read_pdf(path):
    pages = [page.extract_text() for page in pypdf.PdfReader(path).pages]
    return squeeze(" ".join(re.sub(r"\d+ / \d+\s*$", "", page) for page in pages))


def squeeze(text):
    return " ".join(text.split())


TEXTS = ("ink", "quiet", "blue")  # colours of text on the page
RESULTS = make_results(published=(0.2461, 0.3753, np.nan), samples=9973, notice="STAND-IN: digits")


@pytest.fixture
def blank_dots(monkeypatch):
    """Draw figures as SVG alone: the PNG that stands in the PDF is blank, of the right size."""
    draw = Figure.savefig

    def save(figure, path, **options):
        if path.suffix == ".png":
            Image.new("L", tuple(int(40 * inches) for inches in figure.get_size_inches())).save(
                path
            )
        else:
            draw(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder of a report of RESULTS."""
    folder = tmp_path_factory.mktemp("report")
    write_report(RESULTS, folder)
    return folder


def test_page_and_pdf_hold_the_numbers_of_table_1_and_the_outcome(written):
    results, spread = RESULTS, RESULTS.repeat_spread
    numbers = [results.published, results.test_accuracies, spread.mean, spread.sd, spread.max]
    for text in (read_html(written / "report.html"), read_pdf(written / "report.pdf")):
        for row in numbers:
            assert all(f"{value:.4f}" in text for value in row if not np.isnan(value))
        assert all(squeeze(sentence) in text for sentence in tell_outcome(results))
        assert "W[1, 11], relative error 3.0000e-07" in text


def test_names_cannot_break_out_of_the_page(tmp_path, blank_dots):
    results = make_results(
        classes=HOSTILE[:3],
        title=HOSTILE[0] + "\x1b[2J \u202e{nb}",
        notice=" ".join(HOSTILE),
        image_shape=(3, 2, 2),
    )
    write_report(results, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert not any(map(is_hidden, page.replace("\n", "")))
    assert HOSTILE[0] in read_html(tmp_path / "report.html")
    assert f"{HOSTILE[0]}\\x1b[2J {{nb}}" in read_pdf(tmp_path / "report.pdf")
    paper = pypdf.PdfReader(tmp_path / "report.pdf")
    assert not any("/Annots" in page for page in paper.pages)
    assert not {"/Names", "/AA", "/AcroForm"} & paper.trailer["/Root"].keys()
    assert all("<script" not in path.read_text("utf-8") for path in tmp_path.rglob("*.svg"))


def test_classes_of_every_script_are_told_apart_on_the_page_in_the_pdf_and_in_figures(
    tmp_path, blank_dots
):
    results = make_results((0.5,), classes=SCRIPTS, repeats=(), checks=(), image_shape=(1, 2, 2))
    write_report(results, tmp_path)
    page, paper = read_html(tmp_path / "report.html"), read_pdf(tmp_path / "report.pdf")
    for name, written in zip(SCRIPTS, told_apart(SCRIPTS), strict=True):
        assert f" {name} " in page
        assert f"{written} " in paper
        assert f"{written} {ascii(name)[1:-1]} " in paper
    assert "�" not in paper


def test_page_needs_no_other_file_and_runs_nothing(written):
    page = (written / "report.html").read_text("utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    (look,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(look.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert not re.search(r"<[^>]* (?:style|on\w+)=|<script|<base|<form", page)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    pictures = [address for address in addresses if address.startswith("data:image/svg+xml;")]
    assert len(pictures) == 8
    for address in set(addresses) - set(pictures):  # the contents, and files beside the page
        found = (
            f'id="{address[1:]}"' in page if address[0] == "#" else (written / address).is_file()
        )
        assert found, address
    assert "@import" not in page
    assert "url(" not in page
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert len(alts) == len(pictures)


def luminance(colour):
    """Return the relative luminance of #rgb or #rrggbb, as WCAG 2.2 defines it."""
    digits = "".join(2 * c for c in colour) if len(colour) == 3 else colour
    light = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(first, second):
    lighter, darker = sorted(map(luminance, (first, second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("look", [0, 1], ids=["light", "dark"])
def test_texts_on_the_page_have_the_contrast_of_wcag_aa_and_lines_that_of_graphics(look):
    css = templates().get_template("report.css").render()
    assert contrast("fff", "000") == pytest.approx(21)
    assert set(re.findall(r"[^-]color: ([^;}]*)", css)) <= {f"var(--{n})" for n in TEXTS} | {
        "inherit"
    }
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[look]
    colours = dict(re.findall(r"--([\w-]+): #(\w+)", block))
    for ground in (name for name in colours if name == "paper" or "shade" in name):
        for text in TEXTS:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for line in ("blue", "green", "red"):
            assert contrast(colours[line], colours[ground]) >= 3, (line, ground)


def test_a_picture_of_weights_is_told_in_numbers():
    results = make_results(image_shape=(1, 3, 4))
    W = results.run.weights
    W[0, :, :] *= np.array([1, 5, 2])[:, None]
    (drawn,) = [d for d in figures._draw(results) if d.stem == "weights"]
    first = drawn.alt.split("; ")[0]
    assert f"from {W[0].min():.3g} to {W[0].max():.3g}, strongest dog" in first
    assert f"{np.linalg.norm(W[0, 1]):.3g}" in first


def test_every_picture_is_told_in_numbers(written):
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', (written / "report.html").read_text("utf-8"))
    for alt in alts:
        assert re.search(r"\d", re.sub(r"[λη]=[\d.]+", "", alt)), alt


def test_notice_stands_on_the_page_and_in_the_pdf_above_everything_else(written):
    for text in (read_html(written / "report.html"), read_pdf(written / "report.pdf")):
        assert 0 < text.index("Notice: STAND-IN: digits") < text.index("Answer")


@pytest.mark.parametrize(
    "results",
    [
        make_results((0.5,), repeats=(), checks=(), epochs=0, image_shape=None, classes="ab"),
        make_results((0.5,), repeats=((0.4,),), epochs=1, image_shape=(1, 1, 6)),
        make_results(
            np.full(3, np.nan), repeats=((0.3, np.nan, 0.5),), epochs=2, image_shape=(2, 2, 2)
        ),
        make_results(
            (np.nan, 0.5, 0.4), curves=nan_curves(3, 4, 2), stopped=("epoch 2, batch 1", "", "")
        ),
        make_results((0.3,), curves=nan_curves(1, 4, 0), stopped=("epoch 1, batch 1",), repeats=()),
        make_results(
            np.linspace(0.1, 0.9, 14),
            repeats=(np.linspace(0.1, 0.8, 14),),
            classes=[f"class {k}" for k in range(50)],
            checks=[make_check(50, 12, parameter="b", worst=float("nan"))],
        ),
        make_results(
            (0.5,),
            classes=[f"class {k}" for k in range(1000)],
            repeats=(),
            checks=(),
            samples=100,
        ),
        make_results((0.5, 1.0), classes="ab", repeats=(), image_shape=None),
        make_results(
            cross_validation=make_folds(3), rule="1se", optimal_costs=np.array([1.0, np.nan, 2.36])
        ),
        make_results(
            (np.nan,) * 2, curves=nan_validation(2), repeats=(), predictions=NO_PREDICTIONS
        ),
    ],
    ids=[
        "bare", "one repeat", "not evaluated", "stopped", "all stopped", "large",
        "a thousand classes", "two classes, one without mistakes", "folds", "training split alone",
    ],
)  # fmt: skip
def test_unusual_results_have_a_report(results, tmp_path, monkeypatch, blank_dots):
    monkeypatch.setattr(curves, "PANELS", 3)  # drawing twelve takes seconds
    monkeypatch.setattr(figures, "WEIGHT_ROWS", 3)
    write_report(results, tmp_path)
    text = read_html(tmp_path / "report.html")
    alts = re.findall(r'alt="([^"]*)"', (tmp_path / "report.html").read_text("utf-8"))
    assert not re.search(r"\bnan\b", " ".join([text, *alts]), re.IGNORECASE)
    assert squeeze(tell_winner(results)) in read_pdf(tmp_path / "report.pdf")


def test_a_report_of_folds_tells_of_the_choice_the_mistakes_and_the_probabilities(
    tmp_path, blank_dots
):
    results = make_results(cross_validation=make_folds(3), settings=[
        Hyperparameters(l2, loss=loss) for l2, loss in
        ((0, "hinge"), (0.1, "hinge"), (0.2, "binary-cross-entropy"))
    ])  # fmt: skip
    write_report(results, tmp_path)
    for text in (read_html(tmp_path / "report.html"), read_pdf(tmp_path / "report.pdf")):
        places = [
            text.index(words)
            for words in (
                "Precision, recall and F1 of each class",
                "most confidently wrong about",
                "normalised sigmoids of the scores",
                "as trained",
                "One setting was selected by cross-validation on 5 folds",
                "McNemar's exact test between every two settings",
                "majority vote",
                "multi-class hinge loss",
            )
        ]
        assert places == sorted(places)


def test_no_heading_ends_a_page(written):
    headings = {section.title for section in report_of(Facts(RESULTS, {})).sections}
    for page in pypdf.PdfReader(written / "report.pdf").pages:
        last = re.sub(r"\d+ / \d+\s*$", "", page.extract_text()).strip().splitlines()[-1]
        assert last not in headings


def test_many_settings_have_a_heat_map_and_the_ten_best(tmp_path):
    settings = grid(l2=[0, 0.1, 1, 10, 100], learning_rate=[0.001, 0.01, 0.1, 0.2, 1])
    results = make_results(np.linspace(0.1, 0.5, 25), settings=settings, repeats=())
    with style.look():
        drawn = draw_heat_map(results)
    (cells,) = drawn.figure.axes[0].images
    shown = cells.get_array().T.ravel()  # a column an l2
    np.testing.assert_array_equal(shown, results.selection.means)
    assert f"{results.selection.means.max():.4f} at {results.run.labels[-1]}" in drawn.alt
    assert accuracy_table(results).columns[0].values == list(results.run.labels[:14:-1])
    assert not has_heat_map(make_results())


def test_a_report_has_its_author_and_the_day_of_the_training_and_the_same_bytes(tmp_path):
    run = replace(RESULTS.run, provenance=RESULTS.run.provenance | {"date": "2020-02-29"})
    report = report_of(Facts(replace(RESULTS, run=run, author="Ada <b>"), {}))
    page = render_html(report)
    assert "Ada &lt;b&gt;, 2020-02-29" in page
    assert page == render_html(report)


def test_tables_and_figures_are_numbered_in_reading_order(written):
    page = read_html(written / "report.html")
    for name, count in (("Table", len(list((written / "tables").iterdir()))), ("Figure", 8)):
        places = [page.index(f"{name} {number}.") for number in range(1, count + 1)]
        assert places == sorted(places)
    titles = [section.title for section in report_of(Facts(RESULTS, {})).sections]
    assert titles[:2] == ["Answer", "Accuracy"]
    assert titles[-1] == "Reproduce this"


def test_what_draws_no_report_does_not_import_what_draws(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((1, 64)))
    commands = (
        "--help",
        "data info digits",
        "train digits --epochs 1 --report none --out run",
        "evaluate run",
        "predict run rows.npy",
    )
    code = f"import sys, onelayer.cli as c; print([c.run(s.split()) for s in {commands}])"
    code += "\nprint({'matplotlib', 'fpdf'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert told.stdout.splitlines()[-2:] == ["[0, 0, 0, 0, 0]", "set()"]


def test_a_name_from_right_to_left_is_isolated_in_text_and_no_markup_in_attributes():
    first, second = "\u05d0\u05d1 \u05d2", "\u0627\u0628"
    text = f"{first}, {second} 5 & <7"
    blocks = (
        Paragraph(text),
        Bullets((text,)),
        Table("", text, (Column(first, "words", [second]),)),
    )
    page = render_html(Report("made", "", "", (Part("", blocks),)))
    isolated = f"<bdi>{first}</bdi>, <bdi>{second}</bdi> 5 &amp; &lt;7"
    assert page.count(isolated) == 3  # the paragraph, the list, the caption
    assert f"><bdi>{second}</bdi></th>" in page
    assert re.findall(r'="[^"]*<bdi>', page) == []
