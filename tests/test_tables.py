"""Table 1 as files, and the tables of the report."""

import csv
import re
import shutil
import subprocess

import numpy as np
import pytest
from sklearn.metrics import classification_report

from made_results import HOSTILE, make_folds, make_results, nan_curves
from onelayer.evaluation.confusions import Confusions
from onelayer.evaluation.predictions import NO_PREDICTIONS
from onelayer.report.blocks import Column, make_table
from onelayer.report.markup import escape_latex, escape_markdown, latex_table
from onelayer.report.per_class import error_table
from onelayer.report.tables import (
    accuracy_table,
    final_table,
    table1,
    write_table1,
)
from onelayer.training.hyperparameters import Hyperparameters

PUBLISHED = (0.2461, np.nan, 0.3317)


def read_csv(path):
    lines = path.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    return comments, list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_csv_read_back_is_exactly_the_results(tmp_path):
    results = make_results((1 / 3, 0.5, 2 / 7), published=PUBLISHED, samples=9973)
    write_table1(results, tmp_path)
    comments, rows = read_csv(tmp_path / "table1.csv")
    spread = results.repeat_spread
    columns = {
        "l2": [setting.l2 for setting in results.run.settings],
        "learning_rate": [0.01] * 3,
        "epochs": [4] * 3,
        "batch_size": [5] * 3,
        "published_accuracy": results.published,
        "test_accuracy": results.test_accuracies,
        "accuracy_mean": spread.mean,
        "accuracy_sd": spread.sd,
        "accuracy_min": spread.min,
        "accuracy_max": spread.max,
        "repeats": [3] * 3,
    }
    assert comments == []
    assert tuple(rows[0]) == tuple(columns) == tuple(table1(results).exact)
    for name, values in columns.items():
        read = [float(row[name]) if row[name] else np.nan for row in rows]
        np.testing.assert_array_equal(read, values)


def test_cells_without_a_figure_are_empty(tmp_path):
    write_table1(make_results((np.nan, 0.5, 0.4), repeats=((0.3, 0.5, 0.4),)), tmp_path)
    _, rows = read_csv(tmp_path / "table1.csv")
    assert rows[0]["published_accuracy"] == rows[0]["test_accuracy"] == rows[0]["accuracy_sd"] == ""
    assert (rows[0]["accuracy_mean"], rows[0]["repeats"]) == ("0.3", "1")
    assert "| – |" in (tmp_path / "table1.md").read_text("utf-8")


def test_markdown_and_latex_hold_the_same_rounded_numbers(tmp_path):
    results = make_results((1 / 3, 0.5, 2 / 7), published=PUBLISHED, samples=9973)
    write_table1(results, tmp_path)
    markdown = (tmp_path / "table1.md").read_text("utf-8").splitlines()
    latex = (tmp_path / "table1.tex").read_text("utf-8").splitlines()
    body = latex[latex.index(r"\midrule") + 1 : latex.index(r"\bottomrule")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown]
    assert tuple(rows[0]) == table1(results).known.header
    assert rows[2:] == [[c.strip() for c in line.removesuffix(r"\\").split("&")] for line in body]
    assert rows[2][5] == "0.3333"
    assert rows[3][4] == "–"
    heads = latex[latex.index(r"\toprule") + 1]
    assert [r"{$\lambda$}" in heads, r"{$\eta$}" in heads] == [True, True]
    assert r"\label{tab:table1}" in latex
    assert [line for line in latex if line[0:1] == "%"] == latex[:2]
    assert 'width="column"' in latex[1]


def test_hyperparameters_off_their_default_anywhere_have_a_column(tmp_path):
    settings = [
        Hyperparameters(0.1, 0.01, loss="hinge", momentum=0.9, nesterov=True),
        Hyperparameters(1, 1e-5, schedule="step:10:0.1"),
    ]
    results = make_results((0.3, 0.5), settings=settings, repeats=())
    write_table1(results, tmp_path)
    _, rows = read_csv(tmp_path / "table1.csv")
    found = list(rows[0])[: list(rows[0]).index("epochs")]
    assert found == ["l2", "learning_rate", "loss", "schedule", "momentum", "nesterov"]
    assert [row[name] for row in rows for name in found] == [
        "0.1", "0.01", "hinge", "constant", "0.9", "true",
        "1.0", "1e-05", "cross-entropy", "step:10:0.1", "0.0", "false",
    ]  # fmt: skip
    assert accuracy_table(results).rows[0][0] == "λ=0.1, η=0.01, hinge, μ=0.9, Nesterov"


def test_what_all_settings_share_is_not_in_their_names():
    settings = [Hyperparameters(l2, 0.01, loss="hinge", warmup=l2) for l2 in (0, 2)]
    table = accuracy_table(make_results((0.3, 0.5), settings=settings, repeats=()))
    assert [row[0] for row in table.rows] == ["λ=0, η=0.01", "λ=2, η=0.01, warm-up 2"]


def test_a_thousand_settings_are_cut_to_the_best_but_not_in_the_file(tmp_path):
    results = make_results(np.linspace(0.1, 0.5, 1000), repeats=(), samples=100)
    for table in (accuracy_table(results), final_table(results)):
        assert (len(table.rows), table.strong) == (10, 0)
        assert table.rows[table.strong][0] == "λ=99.9, η=0.01"
        assert "10 settings of 1,000" in table.caption
    write_table1(results, tmp_path)
    assert len(read_csv(tmp_path / "table1.csv")[1]) == 1000


def test_every_table_carries_the_notice(tmp_path):
    write_table1(make_results(notice="STAND-IN\nDATA: 100 % <digits> & a_b | λ"), tmp_path)
    texts = {e: (tmp_path / f"table1.{e}").read_text("utf-8") for e in ("csv", "md", "tex")}
    assert texts["csv"].startswith("# STAND-IN DATA: 100 % <digits> & a_b | λ\nl2,")
    assert texts["md"].startswith(r"> **Notice:** STAND-IN DATA: 100 % \<digits\> \& a\_b \| λ")
    notice = r"STAND-IN DATA: 100 \% \textless{}digits\textgreater{} \& a\_b \textbar{} $\lambda$"
    assert rf"\textbf{{Notice: {notice}}}" in texts["tex"]


def test_markdown_specials_are_escaped():
    for link in ("https://a.b", "www.a.b", "a@b.c", "![x](y)", "<x>", "[x]: y"):
        escaped = escape_markdown(f"a | {link}")
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped) == f"a | {link}"
        assert not re.search(r"(?<!\\)([|<>\[\]@!]|://)|www\.", escaped)
    assert escape_markdown("0.5, 1e-05 or binary-cross-entropy") == (
        "0.5, 1e-05 or binary-cross-entropy"
    )


def test_the_row_that_a_caption_of_latex_calls_bold_is_bold():
    columns = (
        Column("95\N{NO-BREAK SPACE}% interval", "words", ["a_1", "b"]),
        Column("n", "count", [1, 2]),
    )
    lines = latex_table(
        make_table("t", "Numbers.", *columns, strong=1, mark="the best")
    ).splitlines()
    assert r"\caption{Numbers. Bold: the best.}" in lines
    assert lines[lines.index(r"\midrule") + 1 :][:2] == [
        r"a\_1 & 1 \\", r"\textbf{b} & \textbf{2} \\",
    ]  # fmt: skip
    assert r"\shortstack[l]{95 \%\\interval}" in lines[lines.index(r"\toprule") + 1]


def test_latex_specials_are_escaped():
    assert escape_latex(r"\x{$%#&~^_}") == (
        r"\textbackslash{}x\{\$\%\#\&\textasciitilde{}\textasciicircum{}\_\}"
    )
    assert escape_latex("é ß – 猫 ð --") == "é ß – Mao d -{}-"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_booktabs_alone(tmp_path):
    write_table1(make_results(notice=" ".join(HOSTILE) + " λ η é “x”"), tmp_path)
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table1}"
        "\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert told.returncode == 0, told.stdout[-2000:]


def test_accuracy_table_shows_folds_and_no_column_without_a_number():
    folds = make_folds(3)
    table = accuracy_table(make_results(cross_validation=folds, repeats=()))
    assert table.header == ("setting", "test", "validation", "5 folds", "std. error")
    means = folds.accuracy.mean(axis=0)
    assert [row[3] for row in table.rows] == [f"{mean:.4f}" for mean in means]


def test_accuracy_table_sets_off_the_setting_selected_on_validation():
    table = accuracy_table(make_results(published=PUBLISHED))
    assert table.strong == 2  # whose validation accuracy is the highest
    assert table.rows[1] == (
        "λ=0.1, η=0.01", "–", "0.5000", "0.2333", "0.5000", "0.0200", "0.4800", "0.5200",
    )  # fmt: skip


def test_final_table_gives_the_last_epoch_and_the_best_one():
    results = make_results()
    results.run.history.validation_accuracy[1] = [0.1, 0.2, 0.5, 0.5, 0.3]
    table = final_table(results)
    assert table.rows[0][1:4] == ("1.9000", "2.4000", "0.2000")
    assert table.rows[1][-2:] == ("0.3000", "0.5000 (epoch 2)")


def test_final_table_of_a_stopped_model_keeps_its_best_epoch():
    results = make_results(curves=nan_curves(3, 4, 2), stopped=("epoch 2, batch 1", "", ""))
    row = final_table(results).rows[0]
    assert set(row[1:-1]) == {"–"}
    assert row[-1] == "0.1250 (epoch 1)"


def test_final_table_tells_the_cost_above_the_optimum_and_the_epoch_that_was_kept():
    results = make_results(optimal_costs=np.array([2.3, np.nan, 2.2]))
    results.run.kept[1] = 2
    table = final_table(results)
    assert table.header[1] == "epoch"
    assert [row[1] for row in table.rows] == ["4", "2", "4"]
    assert [row[-2] for row in table.rows] == ["1.00e−01", "–", "1.33e−01"]
    assert table.rows[1][3] == "2.4333"  # in the epoch that was kept


def test_class_table_holds_scikit_learns_scores_and_their_means():
    confusion = np.array([[5, 3, 0], [1, 6, 0], [2, 2, 0]])
    counted = Confusions.of(np.tile(confusion, (3, 1, 1)))
    results = make_results(
        (19 / 19,) * 3, samples=19, confusion=counted, predictions=NO_PREDICTIONS
    )
    table = error_table(results)
    true = np.repeat(range(3), confusion.sum(axis=1))
    predicted = np.concatenate([np.repeat(range(3), row) for row in confusion])
    names = ["cat", "dog", "fox"]
    told = classification_report(
        true, predicted, target_names=names, output_dict=True, zero_division=np.nan
    )
    for row, name in zip(table.rows, [*names, "macro avg"], strict=True):
        expected = told[name]
        numbers = [expected[score] for score in ("precision", "recall", "f1-score")]
        assert list(row[1:4]) == ["–" if np.isnan(x) else f"{x:.4f}" for x in numbers]
        assert row[4] == f"{expected['support']:.0f}"


def test_of_many_classes_those_with_the_lowest_f1_are_tabled():
    K = 50
    results = make_results(
        (0.5,),
        classes=[f"class {k}" for k in range(K)],
        repeats=(),
        checks=(),
        confusion=Confusions.of((np.diag(np.arange(K)) + np.eye(K, k=1, dtype=int) * 10)[None]),
        predictions=NO_PREDICTIONS,
    )
    table = error_table(results)
    assert len(table.rows) == 41
    assert [row[0] for row in table.rows[:-1]] == [f"class {k}" for k in range(40)]
    assert "40 of 50 classes" in table.caption
    assert error_table(make_results((np.nan,), repeats=())) is None
