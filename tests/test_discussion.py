"""Sentences on results whose outcome is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from onelayer.report import discussion, effects
from onelayer.report.discussion import WHY_ORDERS, discuss
from onelayer.report.summary import summarise
from onelayer.training.engine_check import EngineCheck
from onelayer.training.hyperparameters import Hyperparameters
from test_report import make_check, make_curves, make_results, nan_curves

A, B, C = "λ=0, η=0.01", "λ=0.1, η=0.01", "λ=0.2, η=0.01"


def plain(sentences):
    return [" ".join(sentence.split()) for sentence in sentences]


def test_a_clear_winner_is_told_with_its_margin_and_interval():
    told = plain(discussion.tell_winner(make_results((0.30, 0.50, 0.40))))
    assert told == [
        f"{B} has the highest test accuracy of the main run, 0.5000, 0.1000 above the runner-up "
        f"{C} (0.4000).",
        "Over 10,000 test samples their 95 % Wilson intervals are [0.4902, 0.5098] and "
        f"[0.3904, 0.4096]. {B} alone is right on 1,000 of them, {C} alone on 0; McNemar's exact "
        "test, corrected for 3 pairs (Holm), gives p < 0.0001: the lead is beyond the sampling "
        "uncertainty of the test set. This compares the two trained models, not other orders.",
        "The validation split, which settles the choice without the test set, prefers "
        f"{C}, whose test accuracy is 0.4000.",
    ]


def test_a_small_lead_is_within_the_uncertainty_of_a_small_test_set():
    told = plain(discussion.tell_winner(make_results((0.40, 0.50, 0.51), samples=100)))
    assert "(Holm), gives p = 1.0000: the lead is within the sampling uncertainty" in told[1]
    assert told[2].endswith("agrees.")


def test_a_tie_is_called_a_tie():
    told = discussion.tell_winner(make_results((0.50, 0.40, 0.50)))
    assert told[0] == f"{A} and {C} tie for the highest test accuracy of the main run, 0.5000."
    assert "runner-up" not in " ".join(told)


def test_a_single_setting_has_no_rival():
    told = plain(discussion.tell_winner(make_results((0.5,), repeats=(), samples=1)))
    assert len(told) == 1
    assert told[0].startswith(f"Only one setting was evaluated, {A}: its test accuracy is 0.0000")
    assert told[0].endswith("over 1 test sample.")


def test_models_that_were_not_evaluated_are_no_winners():
    assert "No model was evaluated" in discussion.tell_winner(make_results((np.nan,) * 3))[0]
    told = discussion.tell_winner(make_results((np.nan, np.nan, 0.4)))
    assert told[0].startswith(f"Only one setting was evaluated, {C}")


def test_a_lead_in_every_repeat_is_beyond_the_spread():
    repeats = ((0.31, 0.52, 0.42), (0.29, 0.48, 0.39), (0.33, 0.50, 0.39))
    told = discussion.tell_repeats(make_results(repeats=repeats))
    assert told[0] == (
        f"Over 3 shuffled orders {B} has the highest mean test accuracy, 0.5000 ± 0.0200, 0.1000 "
        f"above {C} (0.4000 ± 0.0173)."
    )
    assert f"the difference is 0.1000 ± 0.0100 and {B} won in 3 of 3 repeats" in told[1]
    assert "so the lead is beyond the spread over orders" in told[1]
    assert told[1].endswith("With 3 repeats the standard deviation itself is known only roughly.")
    assert told[-1] == WHY_ORDERS


def test_spread_that_the_settings_share_does_not_hide_a_lead():
    # Each spreads by 0.1, their difference by nothing: only pairs show that.
    repeats = ((0.2, 0.30, 0.28), (0.3, 0.40, 0.38), (0.4, 0.50, 0.48))
    told = discussion.tell_repeats(make_results(repeats=repeats))
    assert "0.4000 ± 0.1000" in told[0]
    assert "the difference is 0.0200 ± 0.0000" in told[1]
    assert "beyond the spread" in told[1]


def test_a_lead_that_changes_hands_is_within_the_spread():
    repeats = ((0.1, 0.52, 0.42), (0.1, 0.40, 0.45), (0.1, 0.50, 0.45))
    told = discussion.tell_repeats(make_results(repeats=repeats))
    assert f"{B} won in 2 of 3 repeats" in told[1]
    assert "within the spread over orders" in told[1]


def test_equal_means_are_a_tie():
    told = discussion.tell_repeats(make_results(repeats=((0.1, 0.5, 0.4), (0.1, 0.4, 0.5))))
    assert told[0] == f"Over 2 shuffled orders {B} and {C} tie for the highest mean, 0.4500."


def test_one_repeat_has_no_spread_and_none_says_nothing():
    told = discussion.tell_repeats(make_results(repeats=((0.1, 0.5, 0.4),)))
    assert told[0] == (
        f"Over 1 shuffled order {B} has the highest mean test accuracy, 0.5000, 0.1000 above {C} "
        "(0.4000)."
    )
    assert "no spread" in told[1]
    (none,) = discussion.tell_repeats(make_results(repeats=()))
    assert none.startswith("The experiment was not repeated in other orders")
    assert WHY_ORDERS in none


def test_settings_without_an_accuracy_in_a_repeat_are_left_out():
    told = discussion.tell_repeats(make_results(repeats=((np.nan, 0.5, 0.4), (0.9, 0.5, 0.3))))
    assert told[0] == f"Left out for want of an accuracy in every repeat: {A}."
    assert told[1].startswith(f"Over 2 shuffled orders {B} has")


def test_published_figures_are_compared_with_run_and_repeats():
    results = make_results((0.30, 0.50, 0.40), published=(0.31, 0.50, np.nan))
    assert discussion.tell_published(results) == [
        f"2 settings have a published figure; the main run is 0.0100 away from it at most ({A}).",
        f"{A}: 0.3000, 0.0100 below the published 0.3100, which lies inside the range of the "
        "3 repeats, 0.2900 to 0.3300.",
        f"{B}: 0.5000, equal to the published 0.5000, which lies inside the range of the "
        "3 repeats, 0.4800 to 0.5200.",
    ]
    outside = make_results((0.30, 0.50, 0.40), published=(0.1, np.nan, np.nan))
    assert (
        "0.2000 above the published 0.1000, which lies outside"
        in (discussion.tell_published(outside)[1])
    )
    assert discussion.tell_published(make_results()) == []


def test_a_loss_that_never_rises_is_told_once():
    told = effects.tell_steadiness(make_results(epochs=40).run)
    assert told == [
        "The training loss rose in none of the 39 transitions from one epoch to the next, whatever "
        "the setting."
    ]
    (one,) = effects.tell_steadiness(make_results(epochs=2).run)
    assert "none of the 1 transition from" in one
    assert effects.tell_steadiness(make_results(epochs=1).run) == []


def test_jumps_are_counted_and_the_largest_is_placed():
    curves = make_curves(3, 4)
    curves["train_loss"][1] = [2.3, 10.0, 9.0, 12.5, 12.6]
    told = effects.tell_steadiness(make_results(curves=curves).run)
    assert told == [
        f"With {A} and {C} the training loss rose in none of the 3 transitions from one epoch to "
        "the next.",
        f"{B}: it rose in 2 of 3 transitions, at most by 3.5000 (epoch 2 to 3, 9.0000 to 12.5000)"
        "; already the first epoch raised it from 2.3000 to 10.0000.",
    ]


def test_a_stopped_model_is_not_called_steady():
    stopped = ("epoch 3, batch 2", "", "")
    results = make_results(curves=nan_curves(3, 4, 3), stopped=stopped)
    told = effects.tell_steadiness(results.run)
    assert told[1] == f"{A}: it rose in none of 1 transition before it was stopped."
    assert discussion.tell_stopped(results)[1] == (
        f"{A}: stopped in epoch 3, batch 2 of the main run."
    )
    assert discussion.tell_stopped(make_results()) == []


def test_cost_of_l2_is_told_between_neighbours_of_equal_learning_rate():
    settings = [Hyperparameters(l2, rate) for l2, rate in ((1, 0.1), (0, 0.1), (0.5, 0.1), (0, 1))]
    results = make_results(
        (0.30, 0.50, 0.55, 0.2),
        settings=settings,
        repeats=((0.3, 0.5, 0.6, 0.2), (0.3, 0.52, 0.58, 0.2)),
    )
    assert effects.tell_l2(results)[1:] == [
        "At η=0.1, raising λ from 0 to 0.5 gained 0.0500 of test accuracy (0.5000 to 0.5500); over "
        "2 shuffled orders the paired difference is +0.0800 ± 0.0283.",
        "At η=0.1, raising λ from 0.5 to 1 cost 0.2500 of test accuracy (0.5500 to 0.3000); over "
        "2 shuffled orders the paired difference is −0.2900 ± 0.0141.",
    ]
    assert effects.tell_learning_rate(results)[1:] == [
        "At λ=0, raising η from 0.1 to 1 cost 0.3000 of test accuracy (0.5000 to 0.2000); over "
        "2 shuffled orders the paired difference is −0.3100 ± 0.0141."
    ]


def test_settings_that_differ_in_both_are_not_compared():
    settings = [Hyperparameters(0, 0.1), Hyperparameters(1, 0.01)]
    results = make_results((0.3, 0.5), settings=settings, repeats=())
    assert effects.tell_l2(results) == effects.tell_learning_rate(results) == []


def test_smoothness_is_the_total_variation_of_the_scaled_images():
    results = make_results((0.3, 0.5), repeats=(), image_shape=(1, 2, 2))
    # [0 1; 1 0] scaled: every difference is 1, so 2; [0 0; 1 1]: vertical ones alone, so 1.
    results.run.weights[0] = [-5.0, 5.0, 5.0, -5.0]
    results.run.weights[1] = [0.0, 0.0, 0.1, 0.1]
    told = effects.tell_smoothness(results.run)
    assert f"2.000 for {A} and 1.000 for {B}" in told[0]
    assert told[1] == (
        "At η=0.01, raising λ from 0 to 0.1 makes the images smoother by a factor of 2.00 "
        "(2.000 to 1.000)."
    )
    assert effects.tell_smoothness(make_results(image_shape=None).run) == []


def test_long_lists_say_that_they_were_cut():
    told = effects.tell_l2(make_results(np.linspace(0.1, 0.9, 20), repeats=()))
    assert len(told) == 14
    assert told[-1] == "7 more of this kind are left out here."


@pytest.mark.parametrize(
    ("checks", "sentence"),
    [
        ((), "The gradients were not checked."),
        ((make_check(3, 12),), "The gradient of cross-entropy passed 1 check."),
        ((make_check(3, 12),) * 2, "The gradient of cross-entropy passed 2 checks."),
        (
            (make_check(3, 12), make_check(3, 12, worst=1e-3)),
            "1 of 2 gradient checks FAILED, so the figures below are not to be trusted.",
        ),
        ((make_check(3, 12, worst=float("nan")),), "1 of 1 gradient check FAILED"),
    ],
)
def test_summary_says_whether_the_gradients_can_be_trusted(checks, sentence):
    assert sentence in summarise(make_results(checks=checks))


def test_summary_names_the_losses_that_were_not_checked_and_the_engine_that_was():
    settings = [Hyperparameters(), Hyperparameters(loss="hinge"), Hyperparameters(1)]
    told = summarise(make_results(settings=settings))
    assert "of hinge was not checked" in told
    fine = EngineCheck("NumpyEngine", "float32", "cross-entropy", 1, 9, 1e-7, 1e-7, 1e-4, 1e-4)
    told = summarise(make_results(engine_checks=(fine,)))
    assert "step of NumpyEngine in float32" in told
    wrong = summarise(make_results(engine_checks=(replace(fine, error_b=0.1),)))
    assert "1 of 2 gradient checks FAILED" in wrong
    blind = summarise(make_results(engine_checks=(replace(fine, tolerance_W=0.5),)))
    assert "NumpyEngine" not in blind


def test_summary_gives_the_test_accuracy_of_the_setting_chosen_on_validation():
    (told,) = plain([summarise(make_results((0.3, 0.5, 0.4), published=(0.25, 0.5, 0.4)))])
    assert told == (
        "3 settings of a one-layer network were trained on made for 4 epochs with mini-batches of "
        f"5. The gradient of cross-entropy passed 1 check. {C}, the best of them on the "
        "validation split, is right on 40.00 % of the 10,000 test samples (95 % Wilson "
        f"interval [0.3904, 0.4096]). 3 settings have a published figure; the main run is "
        f"0.0500 away from it at most ({A})."
    )
    stopped = {"curves": nan_curves(1, 4, 1), "stopped": ("epoch 1, batch 2",)}
    alone = summarise(make_results((np.nan,), repeats=(), **stopped))
    assert "1 setting of a one-layer network was trained" in alone
    assert "No model was sound to the end." in alone


def test_topics_without_numbers_are_left_out():
    results = make_results((0.5,), repeats=(), image_shape=None)
    assert [topic.title for topic in discuss(results)] == [
        "Which setting is best",
        "How far the order of the batches matters",
        "How steadily the training loss fell",
    ]
