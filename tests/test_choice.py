"""How a setting is chosen and what is said, tabled and exported of it."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, t
from statsmodels.stats.multitest import multipletests

from made_results import make_folds, make_results, nan_curves, nan_validation
from onelayer.evaluation.comparison import resampled_t_test
from onelayer.evaluation.selection import choose
from onelayer.evaluation.statistics import wilson_interval
from onelayer.report.choice import best_settings, choice_table, chosen_words, show_settings
from onelayer.report.outcome import tell_answer, tell_winner
from onelayer.report.settings import write_grid
from onelayer.report.significance import comparison_table, ensemble_table
from onelayer.report.tables import accuracy_table
from onelayer.training.hyperparameters import OPTIONS, Hyperparameters


def test_the_validation_split_chooses_unless_folds_do():
    results = make_results()
    assert results.selection.means.tolist() == results.run.final("validation_accuracy").tolist()
    np.testing.assert_allclose(results.selection.intervals[1], wilson_interval(0.1 + 0.4 / 3, 1000))
    folds = make_folds(3)
    folds.accuracy[:, 0] = 0.9
    by_folds = make_results(cross_validation=folds)
    assert (results.selected, by_folds.selected) == (2, 0)
    np.testing.assert_allclose(by_folds.selection.means, folds.accuracy.mean(axis=0))


def test_a_setting_that_stopped_in_the_run_is_never_chosen_whatever_its_folds_say():
    run = make_results(stopped=("", "", "epoch 1, batch 1")).run
    for folds in (None, make_folds(3)):
        selection = choose(run, folds)
        assert (selection.chosen, selection.best) == (1, 1)
        assert np.isnan(selection.means[2])


def test_without_anything_to_choose_by_the_first_sound_setting_is_taken_and_told():
    stopped = ("epoch 1, batch 2", "", "")
    results = make_results((np.nan, 0.5, 0.4), curves=nan_validation(3), stopped=stopped)
    assert (results.selected, results.selection.informed) == (1, False)
    assert choice_table(results) is None
    assert f"λ=0.1, η=0.01 ({chosen_words(results)})" in tell_answer(results)
    assert "selected" not in tell_answer(results) + tell_winner(results)


def test_of_many_settings_the_best_are_shown_sorted_and_the_selected_one_is_among_them():
    folds, M = make_folds(25), 25
    folds.accuracy[:] = (
        np.linspace(0.5, 0.9, M)[::-1] + 0.01 * np.arange(len(folds.accuracy))[:, None]
    )
    results = make_results((0.5,) * M, cross_validation=folds, repeats=())
    models, note = best_settings(results, 10)
    assert models == list(range(10))
    assert "10 settings of 25" in note
    table = accuracy_table(results)
    assert table.rows[table.strong][0] == results.run.labels[results.selected]
    simple = replace(results.selection, rule="1se", chosen=M - 1)
    models, _ = best_settings(replace(results, selection=simple), 10)
    assert models == [*range(9), M - 1]


def test_all_stopped_is_still_a_choice_of_none():
    stopped = ("epoch 1, batch 2",)
    run = make_results((np.nan,), curves=nan_curves(1, 4, 1), stopped=stopped, repeats=()).run
    assert not choose(run, None).informed
    assert choose(run, make_folds(1)).chosen == 0


def test_choice_table_of_a_split_has_its_interval_and_marks_the_near():
    results = make_results()
    table = choice_table(results)
    low, high = wilson_interval(0.3 - 0.1 / 3, 1000)
    error = np.sqrt((0.3 - 0.1 / 3) * (0.7 + 0.1 / 3) / 1000)
    assert table.rows[2] == (
        "λ=0.2, η=0.01", "0.2667", f"{error:.4f}", f"{low:.4f}–{high:.4f}", "yes",
    )  # fmt: skip
    assert [row[4] for row in table.rows] == ["", "", "yes"]
    assert table.strong == 2
    assert "on the validation split" in table.caption
    assert "Wilson" in table.caption


def test_choice_table_of_folds_compares_each_setting_with_the_best():
    folds = make_folds(3)
    results = make_results(cross_validation=folds, rule="1se")
    table = choice_table(results)
    best = int(folds.accuracy.mean(axis=0).argmax())
    test = resampled_t_test(folds.accuracy, 800, 200)
    for m, row in enumerate(table.rows):
        mean, error = folds.accuracy[:, m].mean(), folds.accuracy[:, m].std(ddof=1) / np.sqrt(5)
        low, high = np.clip(mean + np.array([-1, 1]) * t.ppf(0.975, 4) * error, 0, 1)
        assert row[1:4] == (f"{mean:.4f}", f"{error:.4f}", f"{low:.4f}–{high:.4f}")
        if m == best:
            assert row[5:] == ("–", "–")
        else:
            assert float(row[5]) == pytest.approx(test.difference[best, m], abs=5.001e-5)
            assert row[6] == f"{test.p[best, m]:.4f}" or test.p[best, m] < 1e-4
    assert "by cross-validation on 5 folds" in table.caption
    assert "simplest" in table.mark
    assert "Cross-validation selected" in tell_winner(results)


def test_one_standard_error_takes_the_simplest_and_the_summary_says_so():
    folds = make_folds(3, folds=3)
    folds.accuracy[:] = [[0.30, 0.50, 0.49], [0.40, 0.60, 0.62], [0.35, 0.55, 0.53]]
    results = make_results(cross_validation=folds, rule="1se")
    assert (results.selection.best, results.selected) == (1, 2)
    assert "simplest within one standard error of the best" in tell_answer(results)


def test_one_resample_has_no_t_test():
    table = choice_table(make_results(cross_validation=make_folds(3, folds=1)))
    assert len(table.header) == 5
    assert "on 1 fold:" in table.caption
    assert "Wilson" in table.caption


def test_the_chosen_setting_is_shown_even_if_others_are_better():
    results = make_results(np.full(50, 0.4), repeats=())
    assert show_settings(results, 3)[0] == [47, 48, 49]
    selection = replace(results.selection, chosen=0)
    assert show_settings(replace(results, selection=selection), 3)[0] == [0, 48, 49]


def test_pairs_have_the_exact_binomial_p_corrected_by_holm():
    rng = np.random.default_rng(0)
    right = rng.random((3, 40)) < np.array([[0.3], [0.5], [0.8]])
    results = make_results(right.mean(axis=1), samples=40)
    results.predictions.right[:] = right
    table = comparison_table(results)
    p = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        first, second = (right[i] & ~right[j]).sum(), (right[j] & ~right[i]).sum()
        p.append(binomtest(first, first + second).pvalue)
    corrected = multipletests(p, method="holm")[1]
    for (i, j), value in zip(((0, 1), (0, 2), (1, 2)), corrected, strict=True):
        assert table.rows[i][j + 1] == ("< 0.001" if value < 1e-3 else f"{value:.3f}")
        assert (
            table.columns[i + 1].values[j] == table.columns[j + 1].values[i] == pytest.approx(value)
        )
    assert [table.rows[i][i + 1] for i in range(3)] == ["–"] * 3
    assert table.rows[2][0] == "3: λ=0.2, η=0.01"


def test_more_than_twelve_settings_are_compared_by_their_validation_rank_alone():
    results = make_results(np.linspace(0.9, 0.1, 15), repeats=(), samples=100)
    table = comparison_table(results)
    assert (len(table.rows), len(table.header)) == (12, 13)
    assert table.rows[0][0] == "1: λ=0.3, η=0.01"
    assert "corrected for 66 pairs (Holm)" in table.caption
    assert "3 settings" in table.caption
    assert "McNemar" not in tell_winner(results)


def test_one_evaluated_setting_is_compared_with_nothing():
    assert comparison_table(make_results((np.nan, 0.5, np.nan))) is None


def test_ensembles_stand_beside_their_members():
    table = ensemble_table(make_results())
    assert table.rows == (("all settings evaluated", "3", "0.4000", "0.5000", "0.6000", "0.5500"),)
    assert ensemble_table(make_results(ensembles=())) is None


SETTINGS = [
    Hyperparameters(0, 0.01, loss="hinge", schedule="step:10:0.1", momentum=0.9, nesterov=True),
    Hyperparameters(1 / 3, 1e-5, init="xavier", warmup=3),
    Hyperparameters(0.1, 0.1),
]


def test_the_grid_read_back_is_exactly_every_setting(tmp_path):
    results = make_results(
        (np.nan, 0.5, 0.4), settings=SETTINGS, optimal_costs=np.array([np.nan, 1.5, 2])
    )
    write_grid(results, tmp_path)
    with (tmp_path / "grid.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    readers = {bool: lambda text: {"true": True, "false": False}[text]}
    for setting, row in zip(SETTINGS, rows, strict=True):
        for name, each in OPTIONS.items():
            read = readers.get(each.kind, each.kind)
            assert read(row[name]) == getattr(setting, name)
    for name, values in {
        "validation_cost": results.run.final("validation_cost"),
        "selection_high": results.selection.intervals[:, 1],
        "test_accuracy": results.test_accuracies,
        "optimal_cost": results.optimal_costs,
    }.items():
        read = [float(row[name]) if row[name] else np.nan for row in rows]
        np.testing.assert_array_equal(read, values)
    assert [row["chosen"] for row in rows] == ["false", "false", "true"]
    assert {row["kept_epoch"] for row in rows} == {"4"}


def test_parquet_holds_what_the_csv_holds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    results = make_results((np.nan, 0.5, 0.4), settings=SETTINGS)
    write_grid(results, tmp_path)
    table = parquet.read_table(tmp_path / "grid.parquet")
    with (tmp_path / "grid.csv").open(encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert table.column_names == header
    for name, column in zip(header, zip(*rows, strict=True), strict=True):
        for stored, text in zip(table[name].to_pylist(), column, strict=True):
            told = "" if stored is None else str(stored)
            assert text == (told.lower() if isinstance(stored, bool) else told)
    assert str(table.schema.field("l2").type) == "double"
    assert str(table.schema.field("optimal_cost").type) == "double"


def test_without_pyarrow_there_is_the_csv_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write_grid(make_results(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.csv"]
