"""Protocols of publications: their numbers, and scikit-learn doing the same."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import onelayer
from onelayer.cli import run
from onelayer.data.splitting import subset_weights
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import RunFolder

EIGHTHS = 10 ** np.linspace(-6, 6, 97)  # Radford et al. 2021, A.3
RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]


def make_features(K=3, N=180, D=5, seed=0):
    """Return features of units of their own, with classes that overlap."""
    generator = np.random.default_rng(seed)
    y = np.arange(N) % K
    X = generator.standard_normal((N, D)) + 0.6 * generator.standard_normal((K, D))[y]
    return onelayer.dataset_from((X * [1, 2, 3, 1, 0.5]).astype(np.float32), y)


def fit(C, *splits):
    """Return scikit-learn's model of some C on all of these splits."""
    X, y = (np.concatenate([getattr(split, name) for split in splits]) for name in "Xy")
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10).fit(X.astype(float), y)


def search_as_clip(data):
    """Return the C that CLIP's search ends with, and all that it tried: places among EIGHTHS."""
    scores = {}

    def score(place):
        if place not in scores:
            scores[place] = fit(EIGHTHS[place], data.train).score(*vars_of(data.validation))
        return scores[place], -place

    best = max(range(0, 97, 16), key=score)
    for step in (8, 4, 2, 1):
        best = max({max(best - step, 0), best, min(best + step, 96)}, key=score)
    return EIGHTHS[best], scores


def vars_of(split):
    return split.X, split.y


@pytest.mark.parametrize("K", [2, 3])
def test_clip_tries_and_chooses_what_scikit_learn_does_and_trains_on_both_splits(K):
    data = make_features(K)
    models = {}
    found = onelayer.probe(
        {"a": data}, **onelayer.load_protocol("clip"), tolerance=1e-9,
        on_model=models.__setitem__,
    )  # fmt: skip
    C, scores = search_as_clip(data)
    N = len(data.train)
    tried = sorted(onelayer.C_from_l2(setting.l2, N, K) for setting in found.grid)
    np.testing.assert_allclose(tried, EIGHTHS[sorted(scores)], rtol=1e-9)
    probe = found.feature_sets[0].probe
    assert onelayer.C_from_l2(probe.setting.l2, N, K) == pytest.approx(C)
    assert probe.validation == pytest.approx(max(scores.values()))
    theirs, ours = fit(C, data.train, data.validation), models["a"]
    P = theirs.predict_proba(data.test.X.astype(float))
    np.testing.assert_allclose(ours.probabilities(data.test.X), P, atol=1e-5)
    assert probe.test == theirs.score(*vars_of(data.test))
    assert found.refit
    assert found.feature_sets[0].by_labels[-1].labels == N + len(data.validation)


def test_a_C_is_of_the_rows_with_labels_and_has_the_same_cost():
    data, models = make_features(), {}
    found = onelayer.probe(
        {"a": data}, C=[0.316], scaling="none", tolerance=1e-9, fractions=[0.5], draws=1,
        on_model=models.__setitem__,
    ).feature_sets[0]  # fmt: skip
    rows = subset_weights(data.train.y, [0.5, 1.0], draws=1, seed=0)[0].sum(axis=1)
    for labelled, n in zip(found.by_labels, rows, strict=True):
        assert labelled.draws[0].setting.l2 == pytest.approx(1 / (2 * 0.316 * n))
    theirs, ours, X = fit(0.316, data.train), models["a"], data.train.X

    def cost(P, W):
        W = W - W.mean(axis=0)
        return -0.316 * np.log(P[np.arange(len(X)), data.train.y]).sum() + np.sum(W * W) / 2

    assert cost(ours.probabilities(X), ours.weights.astype(float)) == pytest.approx(
        cost(theirs.predict_proba(X.astype(float)), theirs.coef_), rel=1e-7
    )


def test_the_strengths_of_dinov2s_logistic_regression_are_theirs():
    protocol = onelayer.load_protocol("dinov2-logreg")
    np.testing.assert_allclose(protocol["C"], 10 ** np.linspace(-6, 5, 45), rtol=1e-9)
    assert protocol["refit"]


def test_dinov2_takes_its_steps_at_its_rates_whatever_the_number_of_rows():
    protocol = onelayer.load_protocol("dinov2-linear")
    settings = protocol["settings"]
    assert [s.learning_rate for s in settings] == pytest.approx([r * 1024 / 256 for r in RATES])
    assert {(s.l2, s.momentum, s.schedule, s.nesterov) for s in settings} == {
        (0.0, 0.9, "cosine", False)
    }
    assert (protocol["iterations"], protocol["batch_size"]) == (10 * 1250, 8 * 128)
    data = make_features(N=300)
    found = onelayer.probe({"a": data}, **protocol | {"iterations": 90, "batch_size": 40})
    steps = math.ceil(len(data.train) / 40)
    assert found.training["epochs"] * steps == pytest.approx(90, abs=steps)
    alone = onelayer.train(
        data, settings, epochs=found.training["epochs"], batch_size=40, scaling="none"
    )
    validation = alone.final("validation_accuracy")
    assert found.feature_sets[0].probe.validation == validation.max()
    assert found.feature_sets[0].probe.setting == settings[validation.argmax()]


def test_a_setting_that_is_trained_again_is_that_of_both_splits():
    data, settings = make_features(), onelayer.grid(l2=[0.01], learning_rate=[0.1])
    options = {"solver": "descent", "epochs": 3, "scaling": "standardise"}
    models = {}
    onelayer.probe({"a": data}, settings, refit=True, on_model=models.__setitem__, **options)
    both = onelayer.Split(
        np.concatenate([data.train.X, data.validation.X]),
        np.concatenate([data.train.y, data.validation.y]),
    )
    l2 = 0.01 * len(data.train) / len(both)
    joined = onelayer.Dataset("both", both, None, None, data.class_names)
    alone = onelayer.train(joined, onelayer.grid(l2=[l2], learning_rate=[0.1]), **options)
    np.testing.assert_array_equal(models["a"].weights, alone.weights[0])


@pytest.mark.parametrize("name", ["clip", "dinov2-linear"])
def test_the_command_and_the_function_follow_a_protocol_alike(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_features()
    np.savez("a.npz", **{f"{x}_{name}": getattr(split, x) for name, split in data.splits.items()
                         for x in "Xy"})  # fmt: skip
    shorter = {"iterations": 20} if name == "dinov2-linear" else {"C": [0.01, 1.0]}
    words = [f"--{key}={','.join(map(str, v)) if isinstance(v, list) else v}"
             for key, v in shorter.items()]  # fmt: skip
    assert run(["probe", "a.npz", "--protocol", name, *words, "--report", "none"]) == 0
    by_command = RunFolder.open(Path("runs/probe")).probes()
    by_function = onelayer.probe({"a": data}, **onelayer.load_protocol(name) | shorter)
    assert by_command.grid == by_function.grid
    assert by_command.training == by_function.training
    assert by_command.refit == by_function.refit
    assert by_command.feature_sets[0].probe == by_function.feature_sets[0].probe


def test_a_protocol_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('l2 = [0.1, 0.01]\nclass-weight = "balanced"\nfractions = [0.5]\n')
    assert onelayer.load_protocol(str(path)) == {
        "settings": onelayer.grid(l2=[0.1, 0.01]),
        "class_weight": "balanced",
        "fractions": [0.5],
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"C": [0]}, "C is .*expected numbers from 1e-20 to 1e"),
        ({"C": "a,b"}, "C is 'a,b'"),
        ({"C": []}, "C is"),
        ({"C": [1.0], "solver": "descent"}, "there is solver descent; leave one"),
        ({"C": [1.0], "settings": onelayer.grid(l2=[1.0])}, "settings of its own"),
        ({"halvings": 2}, "halvings is 2 and C is None"),
        ({"iterations": 9}, "iterations is 9; the exact solver takes no mini-batches"),
        ({"iterations": 9, "epochs": 3, "solver": "descent"}, "iterations is 9 and epochs is 3"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        onelayer.probe({"a": make_features()}, **options)


def test_an_unknown_protocol_or_key_is_told(tmp_path, capsys):
    with pytest.raises(InputError, match=r"clap.*clip"):
        onelayer.load_protocol("clap")
    path = tmp_path / "mine.toml"
    path.write_text("halving = 2\n")
    with pytest.raises(InputError, match=r"mine\.toml: .*halving.*halvings"):
        onelayer.load_protocol(str(path))
    for name, word in (("clap", "clip"), (str(path), "halvings")):
        assert run(["probe", "digits", "--protocol", name]) == 2
        assert word in capsys.readouterr().err
