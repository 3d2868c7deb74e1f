"""The choice of a setting against worked examples and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from onelayer.errors import InputError
from onelayer.evaluation.selection import select
from onelayer.evaluation.statistics import wilson_interval
from onelayer.training.hyperparameters import Hyperparameters, grid

# Means 0.5, 0.48, 0.4, 0.48; the standard error of the best is 0.1/√3 × √(3/4) = 0.05.
FOLDS = np.array([[0.4, 0.48, 0.4, 0.44], [0.5, 0.48, 0.4, 0.48], [0.55, 0.48, 0.4, 0.52]])
FOLDS[:, 0] = [0.5 - 0.05 * np.sqrt(3), 0.5, 0.5 + 0.05 * np.sqrt(3)]
SETTINGS = grid(l2=[0, 1], learning_rate=[0.1, 0.01])


def test_the_best_has_the_largest_mean():
    selection = select(FOLDS, SETTINGS)
    assert (selection.rule, selection.chosen, selection.best) == ("best", 0, 0)
    np.testing.assert_allclose(selection.means, [0.5, 0.48, 0.4, 0.48])


def test_the_rule_of_one_standard_error_takes_the_simplest_that_is_near():
    selection = select(FOLDS, SETTINGS, "1se")
    assert selection.standard_errors[0] == pytest.approx(0.05)
    np.testing.assert_array_equal(selection.within, [True, True, False, True])
    assert (selection.chosen, selection.best) == (3, 0)


def test_larger_decay_is_simpler_then_a_smaller_rate_then_the_earlier():
    l2_first = [Hyperparameters(1, 0.5), Hyperparameters(0, 0.1)]
    rate_second = [Hyperparameters(1, 0.1), Hyperparameters(1, 0.5)]
    assert select([[0.5, 0.5]], l2_first[::-1], "1se", samples=50).chosen == 1
    assert select([[0.5, 0.5]], rate_second[::-1], "1se", samples=50).chosen == 1
    equals = [Hyperparameters()] * 3
    assert select([[0.45, 0.5, 0.5]], equals, "1se", samples=50).chosen == 0
    assert select([[0.45, 0.5, 0.5]], equals, "best", samples=50).chosen == 1


def test_errors_and_intervals_of_folds_equal_scipys():
    selection = select(FOLDS, SETTINGS)
    np.testing.assert_allclose(selection.standard_errors, stats.sem(FOLDS), atol=1e-16)
    for m in (0, 3):
        low, high = stats.ttest_1samp(FOLDS[:, m], 0).confidence_interval()
        np.testing.assert_allclose(selection.intervals[m], [low, high])


def test_intervals_are_cut_to_what_an_accuracy_can_be():
    np.testing.assert_array_equal(select([[0.1], [0.9]], SETTINGS[:1]).intervals, [[0, 1]])


def test_a_single_split_has_binomial_errors_and_wilsons_intervals():
    selection = select([[0.36, 0.5]], SETTINGS[:2], samples=100)
    np.testing.assert_allclose(selection.standard_errors, [0.048, 0.05])
    np.testing.assert_array_equal(selection.intervals[0], wilson_interval(0.36, 100))


@pytest.mark.parametrize("rule", ["best", "1se"])
@pytest.mark.parametrize("folds", [1, 3])
def test_a_setting_stopped_on_any_fold_is_never_chosen(rule, folds):
    accuracies = FOLDS[-folds:].copy()
    accuracies[-1, 3] = np.nan
    selection = select(accuracies, SETTINGS, rule, samples=100)
    assert selection.chosen != 3
    assert not selection.within[3]
    assert np.isnan([selection.means[3], *selection.intervals[3]]).all()


def test_scores_of_another_kind_are_ranked_and_have_no_errors():
    losses = -np.array([[2.0, 1.5, np.nan], [2.0, 1.9, 0.1]])
    selection = select(losses, SETTINGS[:3], accuracies=False)
    assert (selection.chosen, selection.means[1]) == (1, -1.7)
    assert np.isnan(selection.standard_errors).all()
    with pytest.raises(InputError, match="expected accuracies"):
        select(losses, SETTINGS[:3], "1se", accuracies=False)


@given(arrays(float, (4, 3), elements=st.floats(0, 1)), st.permutations([0, 1, 2]))
def test_the_choice_is_near_the_best_and_none_near_is_simpler(accuracies, order):
    settings = [Hyperparameters(l2=place) for place in order]
    selection = select(accuracies, settings, "1se")
    near = np.flatnonzero(selection.within)
    assert selection.chosen in near
    assert selection.best in near
    assert order[selection.chosen] == max(order[m] for m in near)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: select(FOLDS, SETTINGS, "2se"),
            "unknown selection rule '2se'",
        ),
        (lambda: select(FOLDS * np.nan, SETTINGS), "every setting diverged"),
        (lambda: select(FOLDS, SETTINGS[:2]), "2 settings for 4 columns"),
        (lambda: select(FOLDS[:1], SETTINGS), "samples is None; one fold needs"),
        (lambda: select(FOLDS[:0], SETTINGS), r"shape \(0, 4\), expected \(folds, settings\)"),
    ],
)
def test_what_cannot_be_selected_from_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
