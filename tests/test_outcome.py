"""Sentences and tables on results whose outcome is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from made_results import make_check, make_curves, make_results, nan_curves
from onelayer.report.effects import effect_blocks, endings_table, tell_rises, tell_smoothness
from onelayer.report.outcome import (
    summarise,
    tell_answer,
    tell_published,
    tell_repeats,
    tell_winner,
)
from onelayer.training.engine_check import EngineCheck
from onelayer.training.hyperparameters import Hyperparameters

A, B, C = "λ=0, η=0.01", "λ=0.1, η=0.01", "λ=0.2, η=0.01"


def assert_in_order(text, *words):
    """Assert that the text holds all of the words, each behind the one before."""
    place = 0
    for word in words:
        assert word in text[place:], f"{word!r} not behind {text[:place]!r} in {text!r}"
        place = text.index(word, place) + len(word)


def column(table, name):
    return [row[table.header.index(name)] for row in table.rows]


def effects(results):
    blocks = list(effect_blocks(results))
    return blocks[-1] if blocks else None


def test_a_clear_winner_comes_with_intervals_and_mcnemars_test():
    told = tell_winner(make_results((0.30, 0.50, 0.40)))
    assert_in_order(
        told, B, "0.5000", "0.4902 to 0.5098", C, "0.4000", "0.3904 to 0.4096", "10,000"
    )
    assert_in_order(told, B, "1,000 samples", C, " 0:", "p < 0.0001", "3 pairs")
    assert "not significant" not in told
    assert_in_order(told, "validation split selected", C, "0.4000")


def test_a_small_lead_on_a_small_test_set_is_not_significant():
    told = tell_winner(make_results((0.40, 0.50, 0.51), samples=100))
    assert_in_order(told, "not significant", "p = 1.0000", "selected the same")


def test_a_tie_is_called_a_tie():
    told = tell_winner(make_results((0.50, 0.40, 0.50)))
    assert_in_order(told, A, C, "0.5000")
    assert B not in told


def test_a_single_setting_has_no_rival():
    told = tell_winner(make_results((0.5,), repeats=(), samples=1))
    assert_in_order(told, A, "0.0000", "1 test sample.")
    assert A not in tell_winner(make_results((np.nan, np.nan, 0.4)))
    assert C in tell_winner(make_results((np.nan, np.nan, 0.4)))
    assert "0." not in tell_winner(make_results((np.nan,) * 3))


@pytest.mark.parametrize(
    ("repeats", "numbers", "verdict"),
    [
        (
            ((0.31, 0.52, 0.42), (0.29, 0.48, 0.39), (0.33, 0.50, 0.39)),
            (B, "0.5000 ± 0.0200", C, "0.4000 ± 0.0173", "0.1000 ± 0.0100", B, "3 of 3"),
            ": more than two standard deviations",
        ),
        # Each spreads by 0.1, their difference by nothing: only pairs show that.
        (
            ((0.2, 0.30, 0.28), (0.3, 0.40, 0.38), (0.4, 0.50, 0.48)),
            (B, "0.4000 ± 0.1000", C, "0.0200 ± 0.0000", "3 of 3"),
            ": more than two standard deviations",
        ),
        (
            ((0.1, 0.52, 0.42), (0.1, 0.40, 0.45), (0.1, 0.50, 0.45)),
            (B, C, "2 of 3"),
            "not more than two standard deviations",
        ),
        (((0.1, 0.5, 0.4), (0.1, 0.4, 0.5)), (B, "0.4500", C), "the same mean"),
        (((0.1, 0.5, 0.4),), ("1 repeat ", B, "0.5000", C, "0.4000"), "no spread"),
        (((np.nan, 0.5, 0.4), (0.9, 0.5, 0.3)), (f"every repeat: {A}", B, C), "2 of 2"),
        ((), (), "not known"),
    ],
    ids=["clear", "shared spread", "changes hands", "tie", "one", "missing", "none"],
)  # fmt: skip
def test_repeats_are_compared_pair_by_pair(repeats, numbers, verdict):
    told = tell_repeats(make_results(repeats=repeats))
    assert_in_order(told, *numbers)
    assert verdict in told


def test_published_accuracies_are_compared_with_run_and_repeats():
    told = tell_published(make_results((0.30, 0.50, 0.40), published=(0.31, 0.50, np.nan)))
    assert_in_order(told, "2 settings", "0.0100", A, "2 of 2")
    outside = tell_published(make_results((0.30, 0.50, 0.40), published=(0.1, np.nan, np.nan)))
    assert_in_order(outside, "1 setting", "0.2000", A, "0 of 1", A)
    assert tell_published(make_results()) == ""


def test_losses_that_never_rise_are_a_sentence():
    for epochs in (40, 2):
        assert "no setting rose" in tell_rises(make_results(epochs=epochs)).text
    assert tell_rises(make_results(epochs=1)) is None


def test_rises_are_counted_and_the_largest_is_placed():
    curves = make_curves(3, 4)
    curves["train_loss"][1] = [2.3, 10.0, 9.0, 12.5, 12.6]
    table = tell_rises(make_results(curves=curves))
    assert table.rows[1] == (
        B, "2 of 3", "3.5000", "2 to 3", "9.0000 to 12.5000", "2.3000 to 10.0000",
    )  # fmt: skip
    assert table.rows[0] == (A, "0 of 3", "–", "–", "–", "–")


def test_rises_between_epochs_measured_seldom_are_placed_in_those_epochs():
    results = make_results((0.5,), repeats=())
    results.run.history.measured[:] = [0, 5, 10, 15, 18]
    results.run.history.train_loss[0] = [2.3, 2.5, 2.4, 2.6, 2.5]
    assert tell_rises(results).rows[0][1:] == (
        "1 of 3", "0.2000", "10 to 15", "2.4000 to 2.6000", "2.3000 to 2.5000",
    )  # fmt: skip


def test_a_model_that_diverged_is_told_apart_from_a_steady_one():
    results = make_results(curves=nan_curves(3, 4, 3), stopped=("epoch 3, batch 2", "", ""))
    assert column(tell_rises(results), "rises") == ["0 of 1", "0 of 3", "0 of 3"]
    (row,) = endings_table(results).rows
    assert row[:2] == (A, "diverged in epoch 3, batch 2")
    assert endings_table(make_results()) is None


def test_repeats_that_diverged_are_counted():
    results = make_results()
    first, *others = results.repeats
    repeats = (replace(first, stopped=("", "epoch 1, batch 1", "")), *others)
    (row,) = endings_table(replace(results, repeats=repeats)).rows
    assert row == (B, "1 of 3", "4")


def test_models_that_ended_early_are_shown_with_the_epoch_of_their_parameters():
    results, reason = make_results(), "epoch 3: no better validation accuracy in 1 measurements"
    run = replace(results.run, ended=("", reason, ""), kept=np.array([4, 2, 4]))
    (row,) = endings_table(replace(results, run=run)).rows
    assert row == (B, reason, "2")


def test_effects_are_those_between_neighbours_that_differ_in_nothing_else():
    settings = [Hyperparameters(l2, rate) for l2, rate in ((1, 0.1), (0, 0.1), (0.5, 0.1), (0, 1))]
    results = make_results(
        (0.30, 0.50, 0.55, 0.2),
        settings=settings,
        repeats=((0.3, 0.5, 0.6, 0.2), (0.3, 0.52, 0.58, 0.2)),
    )
    words, table = effect_blocks(results)
    assert [row[:4] for row in table.rows] == [
        ("η 0.1 to 1 at λ=0", "0.5000 to 0.2000", "−0.3000", "−0.3100 ± 0.0141"),
        ("λ 0 to 0.5 at η=0.1", "0.5000 to 0.5500", "+0.0500", "+0.0800 ± 0.0283"),
        ("λ 0.5 to 1 at η=0.1", "0.5500 to 0.3000", "−0.2500", "−0.2900 ± 0.0141"),
    ]
    assert_in_order(words.text, "η", " 0 ", " 1 of 1", "λ", " 1 ", " 1 of 2")


def test_settings_that_differ_in_more_are_not_compared():
    settings = [Hyperparameters(0, 0.1), Hyperparameters(1, 0.01)]
    assert effects(make_results((0.3, 0.5), settings=settings, repeats=())) is None
    hinge = {"loss": "hinge", "momentum": 0.9}
    settings = [
        Hyperparameters(0, 0.1),
        Hyperparameters(1, 0.1, **hinge),
        Hyperparameters(0.5, 0.1),
        Hyperparameters(2, 0.1, **hinge),
        Hyperparameters(2, 0.2, **hinge),
    ]
    table = effects(make_results((0.3, 0.5, 0.4, 0.6, 0.5), settings=settings, repeats=()))
    assert [row[:3] for row in table.rows] == [
        ("η 0.1 to 0.2 at λ=2, hinge, μ=0.9", "0.6000 to 0.5000", "−0.1000"),
        ("λ 0 to 0.5 at η=0.1", "0.3000 to 0.4000", "+0.1000"),
        ("λ 1 to 2 at η=0.1, hinge, μ=0.9", "0.5000 to 0.6000", "+0.1000"),
    ]


def test_smoothness_is_the_total_variation_of_the_scaled_images():
    results = make_results((0.3, 0.5), repeats=(), image_shape=(1, 2, 2))
    # [0 1; 1 0] scaled: every difference is 1, so 2; [0 0; 1 1]: vertical ones alone, so 1.
    results.run.weights[0] = [-5.0, 5.0, 5.0, -5.0]
    results.run.weights[1] = [0.0, 0.0, 0.1, 0.1]
    assert_in_order(tell_smoothness(results.run), "2.000", A, "1.000", B)
    assert column(effects(results), "total variation") == ["2.000 to 1.000"]
    assert tell_smoothness(make_results(image_shape=None).run) == ""


def test_long_tables_say_that_they_were_cut():
    table = effects(make_results(np.linspace(0.1, 0.9, 40), repeats=()))
    assert len(table.rows) == 24
    assert "15 more" in table.caption


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ((), "not checked"),
        ((make_check(3, 12),), "cross-entropy passed 1 check."),
        ((make_check(3, 12),) * 2, "cross-entropy passed 2 checks."),
        ((make_check(3, 12), make_check(3, 12, worst=1e-3)), "1 of 2 gradient checks FAILED"),
        ((make_check(3, 12, worst=float("nan")),), "1 of 1 gradient check FAILED"),
    ],
    ids=["none", "one", "two", "a failure", "not a number"],
)
def test_summary_says_whether_the_gradients_can_be_trusted(checks, words):
    assert words in summarise(make_results(checks=checks))


def test_summary_names_the_losses_that_were_not_checked_and_the_engine_that_was():
    settings = [Hyperparameters(), Hyperparameters(loss="hinge"), Hyperparameters(1)]
    assert "hinge was not checked" in summarise(make_results(settings=settings))
    fine = EngineCheck("NumpyEngine", "float32", "cross-entropy", 1, 9, 1e-7, 1e-7, 1e-4, 1e-4)
    told = summarise(make_results(engine_checks=(fine,)))
    assert_in_order(told, "NumpyEngine", "float32")
    wrong = summarise(make_results(engine_checks=(replace(fine, error_b=0.1),)))
    assert "1 of 2 gradient checks FAILED" in wrong
    blind = summarise(make_results(engine_checks=(replace(fine, tolerance_W=0.5),)))
    assert "NumpyEngine" not in blind


def test_summary_gives_the_test_accuracy_of_the_selected_setting():
    results = make_results((0.3, 0.5, 0.4), published=(0.25, 0.5, 0.4))
    answer, told = tell_answer(results), summarise(results)
    assert_in_order(told, "3 settings", "made", "4 epochs", "mini-batches of 5")
    assert_in_order(answer, C, "validation split", "40.00", "10,000 test samples")
    assert_in_order(answer, "39.04 to 40.96")
    assert_in_order(told, "3 settings have", "0.0500", A)
    stopped = {"curves": nan_curves(1, 4, 1), "stopped": ("epoch 1, batch 2",)}
    alone = make_results((np.nan,), repeats=(), **stopped)
    assert "1 setting of" in summarise(alone)
    assert "diverged" in tell_answer(alone)
