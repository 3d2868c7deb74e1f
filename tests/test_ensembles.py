"""Votes and mean probabilities against scikit-learn and worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression

from onelayer.errors import InputError
from onelayer.evaluation.ensembles import majority_vote, mean_probabilities

GENERATOR = np.random.default_rng(0)
V, N, K = 5, 200, 3
P = GENERATOR.dirichlet(np.ones(K), size=(V, N))
PREDICTIONS = P.argmax(axis=2)


def test_mean_probabilities_equal_scikit_learns_soft_vote():
    X = GENERATOR.normal(size=(60, 2))
    y = GENERATOR.integers(3, size=60)
    peers = [(str(C), LogisticRegression(C=C)) for C in (0.01, 1.0, 100.0)]
    ensemble = VotingClassifier(peers, voting="soft").fit(X, y)
    voters = [voter.predict_proba(X) for voter in ensemble.estimators_]
    np.testing.assert_allclose(mean_probabilities(voters), ensemble.predict_proba(X), rtol=1e-12)


def test_a_clear_majority_is_the_mode():
    counts = (PREDICTIONS[..., None] == np.arange(K)).sum(axis=0)
    clear = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert 0 < clear.sum() < N
    found = majority_vote(PREDICTIONS, P)
    np.testing.assert_array_equal(found[clear], stats.mode(PREDICTIONS[:, clear]).mode)


def test_a_tie_goes_to_the_larger_mean_probability_among_the_tied():
    # Two votes for 0 and two for 1, which is surer; class 2 has the largest mean, but no vote.
    probabilities = [[0.4, 0.2, 0.4]] * 2 + [[0.1, 0.46, 0.44]] * 2
    predictions = [[0], [0], [1], [1]]
    assert majority_vote(predictions, np.array(probabilities)[:, None]) == [1]


def test_a_tie_of_equals_goes_to_the_first_class():
    probabilities = np.array([[[0.25, 0.75]], [[0.75, 0.25]]])
    assert majority_vote([[1], [0]], probabilities) == [0]


@given(arrays(int, 6, elements=st.integers(0, K - 1)), st.integers(1, 4))
def test_the_vote_of_equal_voters_is_the_voter(predictions, voters):
    probabilities = np.broadcast_to(P[:1, :6], (voters, 6, K))
    found = majority_vote(np.tile(predictions, (voters, 1)), probabilities)
    np.testing.assert_array_equal(found, predictions)


def test_the_order_of_the_voters_does_not_matter():
    order = GENERATOR.permutation(V)
    np.testing.assert_array_equal(
        majority_vote(PREDICTIONS[order], P[order]), majority_vote(PREDICTIONS, P)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_probabilities(P[0]), r"expected \(voters, rows, classes\)"),
        (
            lambda: majority_vote(PREDICTIONS[1:], P),
            r"predictions is int64 of the shape \(4, 200\)",
        ),
        (lambda: majority_vote(PREDICTIONS + 1, P), "predictions from 1 to 3, expected classes"),
        (lambda: majority_vote(PREDICTIONS, P * np.nan), "not from 0 to 1"),
    ],
)
def test_voters_that_disagree_in_shape_are_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
