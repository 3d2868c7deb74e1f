"""Whole reports of results made by hand, which the other tests of the stage use as well."""

import html
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pypdf
import pytest

from onelayer.data.scaling import Scaling
from onelayer.evaluation.per_class import most_confident_mistakes
from onelayer.evaluation.predictions import (
    NO_PREDICTIONS,
    Ensemble,
    Mistakes,
    Predictions,
    Scored,
)
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.selection import choose
from onelayer.model.gradient_check import GradientCheck, WorstEntry
from onelayer.model.links import SOFTMAX
from onelayer.report import curves, figures, style
from onelayer.report.discussion import discuss
from onelayer.report.page import write_report
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import CURVES, History, Run

HOSTILE = ("<script>alert(1)</script>", "$x_{&%#\\}^~", "猫 | ``", "a\nb" * 20)


def make_curves(M, epochs, *, start=2.0):
    """Return curves (M, epochs + 1) that fall steadily, faster for later models."""
    fall = np.linspace(0, 1, epochs + 1)[None] * (0.1 + 0.1 * np.arange(M)[:, None] / M)
    losses = {"loss": start - fall, "cost": start + 0.5 - fall, "accuracy": 0.1 + fall}
    return {name: losses[name.split("_")[1]].copy() for name in CURVES}


def make_run(settings, *, classes, image_shape, epochs, curves=None, stopped=None):
    M, K = len(settings), len(classes)
    D = int(np.prod(image_shape)) if image_shape else 6
    generator = np.random.default_rng(0)
    return Run(
        settings=tuple(settings),
        protocol={
            "dataset": "made",
            "batch_size": 5,
            "epochs": epochs,
            "order": "file",
            "seed": 1,
            "dtype": "float64",
            "validation_samples": 1000,
        },
        weights=generator.standard_normal((M, K, D)),
        biases=np.zeros((M, K)),
        history=History(
            np.arange(epochs + 1), **(make_curves(M, epochs) if curves is None else curves)
        ),
        kept=np.full(M, epochs),
        ended=("",) * M,
        stopped=("",) * M if stopped is None else stopped,
        scaling=Scaling("unit", np.zeros(D), np.ones(D)),
        class_names=tuple(classes),
        image_shape=image_shape,
        provenance={"numpy": "2", "seconds": 1.26, "digests": {"made.bin": "ab" * 32}},
    )


def make_check(K, D, *, name="strict", worst=3e-7, tolerance=1e-6, parameter="W"):
    errors_W = np.full((K, D), 1e-9)
    errors_W[0, 0] = 0.0  # as where both derivatives are zero
    errors_W[1, D - 1] = worst if parameter == "W" else 1e-9
    index = (1, D - 1) if parameter == "W" else (1,)
    errors_b = np.full(K, worst if parameter == "b" else 1e-10)
    entry = WorstEntry(parameter, index, worst, 0.5, 0.5000003)
    check = GradientCheck("forward", 1e-6, 1e-5, tolerance, errors_W, errors_b, entry)
    return BatchCheck(name, 1, 0.0, "cross-entropy", "initial", check)


def make_confusion(accuracies, K, samples):
    """Return matrices with those shares on the diagonal, all in its first entries; 0 for NaN."""
    confusion = np.zeros((len(accuracies), K, K), dtype=np.intp)
    for matrix, accuracy in zip(confusion, accuracies, strict=True):
        if not np.isnan(accuracy):
            matrix[0, 0] = round(accuracy * samples)
            matrix[0, 1] = samples - matrix[0, 0]
    return confusion


def make_folds(M, folds=5):
    """Return accuracies (folds, M) around 0.3, 0.4, … of which the last is the best."""
    generator = np.random.default_rng(0)
    accuracy = 0.3 + 0.1 * np.arange(M) / M + 0.02 * generator.standard_normal((folds, M))
    curves = np.zeros((folds, M, 4))
    return CrossValidation(accuracy, 1 - accuracy, curves, curves, 800, 200)


def make_predictions(run, confusion, selected):
    """Return predictions that belong to such a confusion: the first rows of the split are right."""
    generator, K = np.random.default_rng(0), confusion.shape[1]
    evaluated = confusion[confusion.any(axis=(1, 2))]
    N = evaluated[:1].sum()
    right = np.arange(N) < evaluated[:, :1, 0]
    test = None
    if confusion[selected].any():
        scores = generator.random((N, K)).astype(np.float32)
        mine = np.arange(N) < confusion[selected, 0, 0]
        scores[:, 0] += np.where(mine, 1 + 3 * generator.random(N), -1).astype(np.float32)
        scores[:, 1] += np.where(mine, 0, 2 * generator.random(N)).astype(np.float32)
        test = Scored(scores, np.zeros(N, dtype=np.intp))
    validation = Scored(
        generator.standard_normal((300, K)).astype(np.float32) + np.eye(K, dtype=np.float32)[0],
        np.zeros(300, dtype=np.intp),
    )
    mistakes = None
    if test is not None and run.image_shape is not None:
        rows = most_confident_mistakes(test.certainties(SOFTMAX), test.y, 8)
        images = generator.integers(0, 256, (len(rows), run.weights.shape[2]), dtype=np.uint8)
        mistakes = Mistakes(rows, images, 255.0)
    return Predictions(right, test, validation, mistakes)


def make_results(
    accuracies=(0.30, 0.50, 0.40),
    *,
    settings=None,
    published=None,
    repeats=((0.31, 0.52, 0.42), (0.29, 0.48, 0.41), (0.33, 0.50, 0.44)),
    samples=10_000,
    classes=("cat", "dog", "fox"),
    image_shape=(1, 3, 4),
    epochs=4,
    curves=None,
    stopped=None,
    checks=None,
    engine_checks=(),
    title="A title",
    notice="",
    cross_validation=None,
    rule="best",
    **changes,
):
    """Return Results with these test accuracies (M,), and repeats (R, M)."""
    M, K = len(accuracies), len(classes)
    settings = settings or [Hyperparameters(l2=0.1 * m, learning_rate=0.01) for m in range(M)]
    made = {"classes": classes, "image_shape": image_shape, "epochs": epochs}
    run = make_run(settings, curves=curves, stopped=stopped, **made)
    D = run.weights.shape[2]
    confusion = make_confusion(accuracies, K, samples)
    selection = choose(run, cross_validation, rule)
    results = Results(
        title=title,
        source="a source",
        notice=notice,
        published=np.full(M, np.nan) if published is None else np.array(published, dtype=float),
        run=run,
        repeats=tuple(make_run(settings, **made) for _ in repeats),
        confusion=confusion,
        repeat_accuracies=np.array(repeats, dtype=float).reshape(-1, M),
        checks=(make_check(K, D),) if checks is None else checks,
        engine_checks=engine_checks,
        selection=selection,
        cross_validation=cross_validation,
        predictions=make_predictions(run, confusion, selection.chosen),
        ensembles=(Ensemble("settings", 3, 0.6, 0.55),) if M > 1 else (),
        optimal_costs=np.full(M, np.nan),
    )
    return replace(results, **changes)


def nan_curves(M, epochs, from_epoch):
    curves = make_curves(M, epochs)
    for curve in curves.values():
        curve[0, from_epoch:] = np.nan
    return curves


def nan_validation(M):
    """Return curves of models that had no validation split."""
    curves = make_curves(M, 4)
    return {name: c * np.nan if name.startswith("validation") else c for name, c in curves.items()}


def read_html(path):
    """Return the text that a reader sees, on one line."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
    return squeeze(html.unescape(text))


def read_pdf(path):
    pages = [page.extract_text() for page in pypdf.PdfReader(path).pages]
    return squeeze(" ".join(re.sub(r"\d+ / \d+\s*$", "", page) for page in pages))


def squeeze(text):
    return " ".join(text.split())


RESULTS = make_results(published=(0.2461, 0.3753, np.nan), samples=9973, notice="STAND-IN: digits")


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures():
    """Save figures at a low resolution: nothing here looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.LOOK, "savefig.dpi", 40)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder of a report of RESULTS."""
    folder = tmp_path_factory.mktemp("report")
    write_report(RESULTS, folder)
    return folder


def test_page_and_pdf_hold_the_numbers_of_table_1_and_the_whole_discussion(written):
    results, spread = RESULTS, RESULTS.repeat_spread
    numbers = [results.published, results.test_accuracies, spread.mean, spread.sd, spread.max]
    for text in (read_html(written / "report.html"), read_pdf(written / "report.pdf")):
        for row in numbers:
            assert all(f"{value:.4f}" in text for value in row if not np.isnan(value))
        for topic in discuss(results):
            for sentence in (topic.title, topic.text, *topic.points):
                assert squeeze(sentence) in text
        assert "W[1, 11], relative error 3.0000e-07" in text


def test_same_results_give_the_same_bytes_though_they_were_stored_between(written, tmp_path):
    RunFolder(tmp_path / "stored").save_results(RESULTS)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    (tmp_path / "again").mkdir()
    write_report(RunFolder.open(tmp_path / "stored").results(), tmp_path / "again")
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (written, tmp_path / "again")
    )
    assert len([path for path in first if path.suffix != ".parquet"]) == 22
    assert first == second
    assert before == {path: path.read_bytes() for path in before}


def test_names_cannot_break_out_of_the_page(tmp_path):
    results = make_results(
        classes=HOSTILE, title=HOSTILE[0], notice=" ".join(HOSTILE), image_shape=(3, 2, 2)
    )
    write_report(results, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert HOSTILE[0] in read_html(tmp_path / "report.html")
    assert HOSTILE[0] in read_pdf(tmp_path / "report.pdf")
    assert all("<script" not in path.read_text("utf-8") for path in tmp_path.rglob("*.svg"))


def test_page_needs_no_other_file_and_runs_nothing(written):
    page = (written / "report.html").read_text("utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) == 8
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert "@import" not in page
    assert "url(" not in page
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert len(alts) == len(addresses)


def test_notice_stands_on_the_page_and_in_the_pdf_above_everything_else(written):
    for text in (read_html(written / "report.html"), read_pdf(written / "report.pdf")):
        assert 0 < text.index("Notice: STAND-IN: digits") < text.index("Summary")


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
def test_unusual_results_have_a_report(results, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "PANELS", 3)  # drawing twelve takes seconds
    monkeypatch.setattr(figures, "WEIGHT_ROWS", 3)
    write_report(results, tmp_path)
    text = read_html(tmp_path / "report.html")
    alts = re.findall(r'alt="([^"]*)"', (tmp_path / "report.html").read_text("utf-8"))
    assert not re.search(r"\bnan\b", " ".join([text, *alts]), re.IGNORECASE)
    assert squeeze(discuss(results)[0].text) in read_pdf(tmp_path / "report.pdf")


def test_a_report_of_folds_tells_of_the_choice_the_mistakes_and_the_probabilities(tmp_path):
    results = make_results(cross_validation=make_folds(3), settings=[
        Hyperparameters(l2, loss=loss) for l2, loss in
        ((0, "hinge"), (0.1, "hinge"), (0.2, "binary-cross-entropy"))
    ])  # fmt: skip
    write_report(results, tmp_path)
    for text in (read_html(tmp_path / "report.html"), read_pdf(tmp_path / "report.pdf")):
        places = [
            text.index(words)
            for words in (
                "multi-class hinge loss",
                "chosen by cross-validation on 5 folds",
                "Where it is wrong",
                "precision",
                "most confidently wrong about",
                "How sure it is",
                "normalised sigmoids of the scores",
                "as trained",
                "McNemar's exact test between every two settings",
                "majority vote",
            )
        ]
        assert places == sorted(places)


def test_no_heading_ends_a_page(written):
    headings = {topic.title for topic in discuss(RESULTS)} | {"Accuracy", "Discussion", "Method"}
    for page in pypdf.PdfReader(written / "report.pdf").pages:
        last = re.sub(r"\d+ / \d+\s*$", "", page.extract_text()).strip().splitlines()[-1]
        assert last not in headings


def test_importing_onelayer_does_not_import_what_draws():
    code = "import onelayer, sys; print({'matplotlib', 'jinja2', 'fpdf'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
