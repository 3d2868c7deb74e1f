"""Several labels a row: against scikit-learn, label by label, and the training of each alone."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy import stats
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from statsmodels.stats.multitest import multipletests

import onelayer
from onelayer.cli import run
from onelayer.data.dataset import Dataset, Split
from onelayer.data.multilabel import encode_matrix, label_subset_weights
from onelayer.data.scaling import fit_scaling
from onelayer.data.streams import Stream, random_stream
from onelayer.errors import InputError
from onelayer.evaluation import multilabel, one_versus_rest
from onelayer.evaluation.comparison import bootstrap_z_test
from onelayer.evaluation.model_evaluation import evaluate_model
from onelayer.evaluation.multilabel import (
    LABEL_PROBING,
    LabelFeatures,
    compare_label_sets,
    judge_labels,
)
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import multilabel as probes_of_labels
from onelayer.experiments.workload import Workload
from onelayer.report import style
from onelayer.report.probe_figures import draw_probes
from onelayer.training import forecast
from onelayer.training.machine import Machine
from onelayer.training.multilabel import scores_of, train_labels
from onelayer.training.options import TrainingOptions
from stored_records import read_record

NAMES = ("sea", "sky", "boat")
SIZES = {"train": 150, "validation": 80, "test": 80}
TABLE = ("a", "b", "c")


def make_data(D=6, noise=1.0, shares=(0.0, 1.0, 2.0), seed=0):
    """Return rows whose labels depend on features of their own, each with a share of its own."""
    generator, splits = np.random.default_rng(seed), {}
    W = generator.standard_normal((D, len(shares)))
    for name, N in SIZES.items():
        X = generator.standard_normal((N, D)).astype(np.float32)
        Y = X @ W + noise * generator.standard_normal((N, len(shares))) > shares
        splits[name] = Split(X, Y.astype(np.intp))
    names = NAMES if len(shares) == 3 else tuple(map(str, range(len(shares))))
    return Dataset("made", **splits, class_names=names)


def small(N=40, D=3, L=3):
    generator = np.random.default_rng(1)
    return generator.standard_normal((N, D)), generator.integers(0, 2, (N, L))


def write(form, folder, X, Y):
    """Return the path of features and labels in a format, and the options that it is read with."""
    path = folder / f"data.{form.partition(' ')[0]}"
    frame = pd.DataFrame(X, columns=list(TABLE))
    many = Y if Y.ndim == 2 else Y[:, None]
    names = [f"label_{n}" for n in range(many.shape[1])] if Y.ndim == 2 else ["label"]
    labelled = frame.assign(**dict(zip(names, many.T, strict=True)))
    if form == "npz":
        np.savez(path, X=X, y=Y)
    elif form == "safetensors":
        save_file({"X": X, "labels": Y}, path)
    elif form == "npy":
        np.save(folder / "labels.npy", Y)
        np.save(path, X)
    elif form.startswith("csv"):
        labelled.to_csv(path, index=False)
    elif form == "parquet lists":
        frame.assign(labels=list(Y)).to_parquet(path)
    else:
        labelled.to_parquet(path)
    return path, {"csv named": {"label": "label_0,label_1,label_2"},
                  "csv star": {"label": "label_*"}}.get(form, {})  # fmt: skip


FORMATS = ("npz", "safetensors", "npy", "csv", "csv named", "csv star", "parquet", "parquet lists")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_several_labels_a_row(form, tmp_path):
    X, Y = small()
    path, options = write(form, tmp_path, X, Y)
    data, expected = onelayer.load_dataset(str(path), **options), onelayer.dataset_from(X, Y)
    assert data.multilabel
    assert data.n_classes == 3
    assert any("3 labels, of which a row may have several" in note for note in data.notes)
    for name, split in data.splits.items():
        np.testing.assert_array_equal(split.y, expected.splits[name].y)
        np.testing.assert_allclose(split.X, expected.splits[name].X)


@pytest.mark.parametrize("form", ["npz", "safetensors", "npy", "csv", "parquet"])
@pytest.mark.parametrize("columns", [1, 3])
def test_numbers_to_predict_are_refused_by_every_format(form, columns, tmp_path):
    X, _ = small()
    y = np.random.default_rng(0).normal(size=(len(X), columns))
    path, options = write(form, tmp_path, X, y[:, 0].copy() if columns == 1 else y)
    with pytest.raises(InputError, match="a regression, which onelayer does not do"):
        onelayer.load_dataset(str(path), **options)


@pytest.mark.parametrize("kind", [bool, np.uint8, float, str, object])
def test_labels_are_0_and_1_of_any_type(kind):
    X, Y = small()
    data = onelayer.dataset_from(X, Y.astype(kind))
    np.testing.assert_array_equal(data.train.y, onelayer.dataset_from(X, Y).train.y)


def test_columns_of_a_frame_are_labels():
    X, Y = small()
    frame, labels = pd.DataFrame(X, columns=list(TABLE)), pd.DataFrame(Y, columns=list(NAMES))
    whole = frame.join(labels)
    for data in (onelayer.dataset_from(frame, labels), onelayer.dataset_from(X, labels),
                 onelayer.dataset_from(whole, list(NAMES))):  # fmt: skip
        assert data.class_names == NAMES
        assert data.n_features == 3


@pytest.mark.parametrize(
    ("Y", "words"),
    [
        ([[0, 1], [2, 0]], r"row 1 holds '2' for the label '0', expected 0 or 1"),
        ([[0, 1], [1, np.nan]], "row 1 holds 'nan' for the label '1', .*: it is missing"),
        ([["yes", "no"], ["no", "no"]], "row 0 holds 'yes'"),
        (np.eye(3)[[0, 1, 2, 0]], r"one label alone, .* y.argmax\(axis=1\)"),
    ],
)
def test_what_is_no_matrix_of_0_and_1_is_refused(Y, words):
    with pytest.raises(InputError, match=words):
        encode_matrix("data", {"train": np.array(Y)})
    with pytest.raises(InputError, match="2 names for 3 labels"):
        encode_matrix("data", {"train": np.ones((4, 3))}, ("a", "b"))
    with pytest.raises(InputError, match="expected as many in every split"):
        encode_matrix("data", {"train": np.ones((4, 3)), "test": np.ones((4, 2))})


def test_splits_are_drawn_from_all_rows_alike_and_groups_stay_whole(tmp_path):
    X, Y = small(60)
    np.savez(tmp_path / "a.npz", X=X, y=Y, groups=np.arange(60) // 3)
    data = onelayer.load_dataset(str(tmp_path / "a.npz"))
    assert sorted(map(len, data.splits.values())) == [9, 9, 42]
    groups = [set(split.groups.tolist()) for split in data.splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20


def test_what_takes_one_class_a_row_says_so():
    data = make_data()
    model = onelayer.model_of(onelayer.train(data.of_label(0), onelayer.grid(), epochs=1))
    for ask in (
        lambda: onelayer.train(data, onelayer.grid()),
        lambda: onelayer.train(data, onelayer.grid(), class_weight="balanced"),
        lambda: evaluate_model(model, data),
    ):
        with pytest.raises(InputError, match="3 labels, of which a row may have several"):
            ask()


def exact_models(data, l2, tolerance=1e-12):
    scaling = fit_scaling("standardise", data)
    asked = TrainingOptions(
        solver="exact", scaling="standardise", dtype="float64", tolerance=tolerance
    )
    return train_labels(data, l2, options=asked, machine=Machine(), scaling=scaling), scaling


def test_each_label_is_scikit_learns_logistic_regression():
    data, values = make_data(), [1.0, 0.01]
    found, scaling = exact_models(data, onelayer.grid(l2=values))
    X = {name: scaling.apply(split.X) for name, split in data.splits.items()}
    for number, l2 in enumerate(values):
        C = onelayer.C_from_l2(l2, len(data.train), 2)
        theirs = OneVsRestClassifier(LogisticRegression(C=C, tol=1e-10, max_iter=10**4))
        theirs.fit(X["train"], data.train.y)
        for label, models in found.items():
            one = theirs.estimators_[label]
            W, b = models.weights[number], models.biases[number]
            S = one.decision_function(X["validation"])
            np.testing.assert_allclose(models.scores[number], S, atol=1e-5)
            costs = [
                np.logaddexp(0, -signs * (X["train"] @ w + c)).mean() + l2 * w @ w / 2
                for signs in [2 * data.train.y[:, label] - 1]
                for w, c in ((W[1] - W[0], b[1] - b[0]), (one.coef_[0], one.intercept_[0]))
            ]
            assert costs[0] == pytest.approx(costs[1], rel=1e-9)


def test_a_label_with_others_is_the_training_of_it_alone():
    data = make_data()
    together, _ = exact_models(data, onelayer.grid(l2=[0.1]))
    for label, models in together.items():
        alone = onelayer.train(
            data.of_label(label), onelayer.grid(l2=[0.1]), solver="exact", tolerance=1e-12,
            scaling="standardise", dtype="float64",
        )  # fmt: skip
        np.testing.assert_allclose(models.weights, alone.weights, atol=1e-6)
        np.testing.assert_allclose(models.biases, alone.biases, atol=1e-6)


def test_little_memory_changes_nothing_but_the_time(monkeypatch):
    data = make_data()
    monkeypatch.setattr("onelayer.training.multilabel.bytes_to_solve", lambda *_: 1 << 50)
    apart, _ = exact_models(data, None, 1e-6)
    monkeypatch.undo()
    together, _ = exact_models(data, None, 1e-6)
    for label, models in together.items():
        assert models.settings == apart[label].settings
        np.testing.assert_allclose(models.scores, apart[label].scores, atol=0.1)


def test_each_label_has_the_largest_decay_of_least_log_loss():
    data = make_data(noise=np.array([0.2, 3.0, 20.0]))
    found, _ = exact_models(data, None, 1e-6)
    probing = onelayer.probe({"a": data}, dtype="float64", tolerance=1e-6)
    assert len({probe.setting.l2 for probe in probing.feature_sets[0].probes}) > 1
    for label, probe in enumerate(probing.feature_sets[0].probes):
        signs = 2 * data.validation.y[:, label] - 1
        losses = np.logaddexp(0, -signs * found[label].scores).mean(axis=1)
        best = next(k for k, loss in enumerate(losses) if loss <= losses.min() * 1.001)
        assert probe.setting == found[label].settings[best]


def referee(S, Y):
    """Return scikit-learn's figures of all labels, and of each."""
    called, each = S > 0, {}
    each["average-precision"] = average_precision_score(Y, S, average=None)
    each["auroc"] = roc_auc_score(Y, S, average=None)
    each["f1"] = f1_score(Y, called, average=None)
    return {
        "map": average_precision_score(Y, S),
        "micro-f1": f1_score(Y, called, average="micro"),
        "macro-f1": f1_score(Y, called, average="macro"),
        "auroc": roc_auc_score(Y, S),
        "accuracy": accuracy_score(Y.ravel(), called.ravel()),
    }, each


@settings(max_examples=12)
@given(st.integers(0, 1000), st.sampled_from([1, 100]), st.booleans())
def test_the_metrics_are_scikit_learns(seed, ties, many):
    generator = np.random.default_rng(seed)
    S, Y = np.round(ties * generator.normal(size=(40, 3))) / ties, generator.integers(0, 2, (40, 3))
    Y[:2], Y[2:4] = 1, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multilabel, "EXACT", 0 if many else one_versus_rest.EXACT)
        overall, of_labels, _ = judge_labels(S, Y, 5)
    expected, each = referee(S, Y)
    assert {name: found.value for name, found in overall.items()} == pytest.approx(expected)
    for label, found in enumerate(of_labels):
        assert {name: one.value for name, one in found.items()} == pytest.approx(
            {name: values[label] for name, values in each.items()}
        )


def test_what_has_no_value_is_missing():
    S, Y = np.array([[1.0, -1, -1], [2, -1, 1], [-1, -1, 1]]), np.zeros((3, 3), int)
    Y[:2, 0] = Y[:, 2] = 1
    overall, (first, none, every), _ = judge_labels(S, Y, 20)
    assert set(first) == {"average-precision", "auroc", "f1"}
    assert (set(none), set(every)) == (set(), {"f1"})
    assert overall["map"].value == first["average-precision"].value
    assert overall["macro-f1"].value == pytest.approx((1 + every["f1"].value) / 2)
    assert all(one.low <= one.value <= one.high for one in overall.values())


def test_subsets_of_rows_are_the_same_for_all_labels_and_nested():
    data = make_data()
    weights = label_subset_weights(
        data.train.y, [0.2, 0.5, 1.0], draws=3, seed=0, class_names=NAMES
    )
    assert (np.diff(weights.astype(int), axis=1) >= 0).all()
    np.testing.assert_array_equal(weights.sum(axis=2), np.tile([30, 75, 150], (3, 1)))
    assert (weights[0] != weights[1]).any()


@pytest.mark.parametrize(("value", "word"), [(0, "lack"), (1, "have")])
def test_a_label_that_a_subset_cannot_teach_is_told(value, word):
    data = make_data()
    data.train.y[:, 2] = value
    onelayer.probe({"a": data}, onelayer.grid(l2=[0.1]), fractions=[0.1], draws=1)  # nobody could
    data.train.y[7, 2] = 1 - value
    few = data.train.y[:, 2].sum()
    words = f"15 rows of draw 1 all {word} the label 'boat', which {few} of 150 training rows have"
    with pytest.raises(InputError, match=f"fraction 0.1: the {words}; take a larger fraction"):
        onelayer.probe({"a": data}, fractions=[0.1])


def test_without_a_mean_precision_there_is_nothing_to_compare_by_fraction():
    data = make_data()
    data.test.y[:] = 1
    onelayer.probe({"a": data}, onelayer.grid(l2=[0.1]))
    for options in ({"fractions": [0.5]}, {"control": True}):
        with pytest.raises(InputError, match="no mean average precision to compare"):
            onelayer.probe({"a": data}, **options)


def precisions(data, l2, rows, Y, truth):
    """Return scikit-learn's mean average precision on these rows of Y and on the test split."""
    scaling = fit_scaling("standardise", data)
    X, Z = (scaling.apply(split.X) for split in (data.train, data.test))
    C = onelayer.C_from_l2(l2, len(rows), 2)
    model = OneVsRestClassifier(LogisticRegression(C=C, tol=1e-10, max_iter=10**4))
    model.fit(X[rows], Y[rows])
    return [
        average_precision_score(y, model.decision_function(rows_of_X))
        for y, rows_of_X in ((Y[rows], X[rows]), (truth, Z))
    ]


def test_fractions_and_controls_have_scikit_learns_mean_precision():
    data, l2 = make_data(), 0.03
    exact = {"dtype": "float64", "tolerance": 1e-12}
    (features,) = onelayer.probe(
        {"a": data}, onelayer.grid(l2=[l2]), fractions=[0.3], draws=2, control=True, **exact
    ).feature_sets
    Y, truth = data.train.y, data.test.y
    weights = label_subset_weights(Y, [0.3, 1.0], draws=2, seed=0, class_names=NAMES)
    few, every = features.by_labels
    assert [(one.fraction, one.labels) for one in (few, every)] == [(0.3, 45), (1.0, 150)]
    for draw, own in zip((*few.draws, *every.draws), (*weights[:, 0], weights[0, 1]), strict=True):
        expected = precisions(data, l2, np.flatnonzero(own), Y, truth)
        assert [draw.train, draw.test] == pytest.approx(expected, abs=1e-9)
    assert every.draws[0].test == pytest.approx(features.metrics["map"].value)
    generator, tests = random_stream(0, Stream.SHUFFLED_LABELS), []
    for draw in features.control.draws:
        shuffled = Y[generator.permutation(150)]  # rows: labels that go together stay so
        expected = precisions(data, l2, np.arange(150), shuffled, truth)
        assert [draw.train, draw.test] == pytest.approx(expected, abs=1e-9)
        tests.append(draw.test)
    assert features.selectivity == pytest.approx(every.draws[0].test - np.mean(tests))


def test_a_control_keeps_the_setting_of_each_label():
    data = make_data(noise=np.array([0.2, 3.0, 20.0]))
    (features,) = onelayer.probe({"a": data}, control=True, draws=1).feature_sets
    settings = {label: [probe.setting] for label, probe in enumerate(features.probes)}
    assert len({own[0].l2 for own in settings.values()}) > 1
    Y = random_stream(0, Stream.SHUFFLED_LABELS).permutation(data.train.y)
    shuffled = replace(data, train=replace(data.train, y=Y))
    found, scaling = exact_models(shuffled, settings)
    W, b = (
        np.concatenate([getattr(found[n], name) for n in range(3)])
        for name in ("weights", "biases")
    )
    S = scores_of(data.test, W, b, scaling).T
    expected = average_precision_score(data.test.y, S)
    assert features.control.draws[0].test == pytest.approx(expected, abs=1e-3)


def test_the_figures_show_the_mean_precision():
    data = make_data()
    part = {name: replace(split, X=split.X[:, :3]) for name, split in data.splits.items()}
    layers = {"first": data, "second": replace(data, **part)}
    found = onelayer.probe(layers, onelayer.grid(l2=[0.1]), fractions=[0.2], draws=2, control=True)
    with style.look():
        by_features, by_labels = draw_probes(found)
    (ax,) = by_features.figure.axes
    controls = [features.control.test.mean[0] for features in found.feature_sets]
    merits = [features.merit for features in found.feature_sets]
    for container, values in zip(ax.containers, (merits, controls), strict=True):
        np.testing.assert_allclose(container.lines[0].get_ydata(orig=False), values)
    (ax,) = by_labels.figure.axes
    for line, features in zip(ax.lines, found.feature_sets, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [30, 150])
        few, every = (one.test.mean[0] for one in features.by_labels)
        np.testing.assert_allclose(line.get_ydata(), [few, every])


def test_probes_of_the_format_before_fractions_are_read(tmp_path):
    probing = onelayer.probe({"a": make_data()}, onelayer.grid(l2=[0.1]))
    path = tmp_path / "probes.json"
    LABEL_PROBING.save(probing, path)
    stored = json.loads(path.read_text("utf-8")) | {"format": 1}
    for features in stored["record"]["feature_sets"]:
        for name in ("p", "by_labels", "control"):
            del features[name]
    path.write_text(json.dumps(stored), "utf-8")
    assert LABEL_PROBING.load(path) == probing


def test_feature_sets_are_compared_on_the_same_resamples_with_scikit_learns_precision():
    generator, N, R = np.random.default_rng(0), 60, 30
    Y = generator.integers(0, 2, (N, 3))
    scores = [Y * gain + generator.normal(size=(N, 3)) for gain in (1, 1.5, 2)]
    judged = [judge_labels(S, Y, R, seed=5) for S in scores]
    sets = [LabelFeatures(f"{n}", 1, (), overall) for n, (overall, _, _) in enumerate(judged)]
    compared = compare_label_sets(sets, np.stack([drawn for *_, drawn in judged], axis=1))
    rows = [random_stream(5, Stream.BOOTSTRAP, r).integers(N, size=N) for r in range(R)]
    drawn = np.array([[average_precision_score(Y[r], S[r]) for S in scores] for r in rows])
    found = [average_precision_score(Y, S) for S in scores]
    best, pairs = int(np.argmax(found)), [(0, 1), (0, 2), (1, 2)]
    errors = [(drawn[:, i] - drawn[:, j]).std(ddof=1) for i, j in pairs]
    z = [abs(found[i] - found[j]) / error for (i, j), error in zip(pairs, errors, strict=True)]
    corrected = multipletests(2 * stats.norm.sf(z), method="holm")[1]
    of = {pair: p for pair, p in zip(pairs, corrected, strict=True) if best in pair}
    expected = {sum(pair) - best: p for pair, p in of.items()} | {best: None}
    assert [features.p for features in compared] == [pytest.approx(expected[n]) for n in range(3)]


@pytest.mark.slow
def test_between_sets_that_are_equally_good_p_is_small_as_seldom_as_it_says():
    small = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        Y = generator.integers(0, 2, (60, 4))
        both = Y * 1.5 + generator.normal(size=(60, 4))  # what two layers have in common
        scores = [both + generator.normal(size=(60, 4)) for _ in "ab"]
        (a, _, first), (b, _, second) = (judge_labels(S, Y, 100, seed) for S in scores)
        small += bootstrap_z_test(a["map"].value - b["map"].value, first - second) < 0.05
    assert stats.binomtest(small, 200, 0.05).pvalue > 0.01


def test_a_label_that_no_training_row_has_is_told_and_left_out(tmp_path):
    data = make_data()
    for split in data.splits.values():
        split.y[:, 1] = 0
    (features,) = onelayer.probe({"a": data}).feature_sets
    assert [probe.setting is None for probe in features.probes] == [False, True, False]
    known = [probe.metrics["average-precision"].value for probe in features.probes[::2]]
    assert features.metrics["map"].value == pytest.approx(np.mean(known))


def test_feature_sets_must_have_the_same_labels():
    data, other = make_data(), make_data()
    other.test.y[3, 1] ^= 1
    with pytest.raises(InputError, match="row 3 of the test split is of class"):
        onelayer.probe({"a": data, "b": other})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"C": (1.0,), "refit": True}, "C, refit: of one class a row"),
        ({"fractions": [0.001]}, "keeps none of the 150 training rows; expected more than 0.0033"),
        ({"metric": "top-5"}, "metric of several labels a row 'top-5'"),
        ({"class_weight": "balanced"}, "no classes to weigh"),
        ({"solver": "descent"}, "solver exact alone"),
        ({"settings": onelayer.grid(loss=["binary-cross-entropy"])}, "the cross-entropy of each"),
    ],
)
def test_what_is_not_done_with_several_labels_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        onelayer.probe({"a": make_data()}, **options)


def test_the_command_writes_tables_models_and_a_page(tmp_path, capsys):
    X, Y = (np.concatenate([getattr(s, a) for s in make_data().splits.values()]) for a in "Xy")
    features = tmp_path / "layer1.npz"
    np.savez(features, X=X, y=Y, class_names=list(NAMES))
    out = tmp_path / "out"
    command = ["probe", str(features), "--fractions", "0.5", "--draws", "2", "--control", "--out"]
    assert run([*command, str(out)]) == 0
    assert "selectivity" in capsys.readouterr().out
    probing = RunFolder.open(out).probes()
    with (out / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(NAMES)
    with (out / "probe.csv").open() as file:
        few, every = csv.DictReader(file)
    (by_labels,) = (features.by_labels for features in probing.feature_sets)
    assert float(few["test_map"]) == by_labels[0].test.mean[0]
    assert (few["draws"], few["selectivity"], every["draws"]) == ("2", "", "1")
    assert float(every["selectivity"]) == probing.feature_sets[0].selectivity
    assert "mean average precision" in (out / "probe.html").read_text("utf-8")
    model = onelayer.load_model(out / "models/1-layer1-sea.safetensors")
    data = onelayer.load_dataset(str(features))
    P = model.probabilities(data.test.X)[:, 1]
    expected = average_precision_score(data.test.y[:, 0], P)
    found = probing.feature_sets[0].probes[0]
    assert found.metrics["average-precision"].value == pytest.approx(expected, abs=1e-6)
    assert float(rows[0]["average_precision"]) == found.metrics["average-precision"].value
    assert (out / "probe.tex").read_text("utf-8").count(r"\\") >= 2
    page = (out / "probe.html").read_bytes()
    assert run(["report", str(out)]) == 0
    assert (out / "probe.html").read_bytes() == page
    assert run(["predict", str(out), str(features)]) == 2
    assert "models/*.safetensors" in capsys.readouterr().err


def test_the_estimator_refuses_numbers_to_predict_and_several_labels():
    X, Y = small()
    with pytest.raises(ValueError, match="continuous"):
        onelayer.OneLayerClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="y should be a 1d array"):
        onelayer.OneLayerClassifier().fit(X, Y)


def test_every_label_is_told_with_its_model_where_a_folder_is_filled_too(tmp_path):
    X, Y = make_multilabel_classification(200, 6, n_classes=2, random_state=0)
    data, alone, beside = onelayer.dataset_from(X, Y), [], []
    onelayer.probe({"a": data}, on_model=lambda name, _: alone.append(name))
    told = {"on_model": lambda name, _: beside.append(name), "announce": lambda _: None}
    onelayer.probe({"a": data}, out=tmp_path / "out", report="none", **told)
    assert len(beside) == 2
    assert beside == alone


def test_probes_of_labels_go_on_after_an_interruption_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, Y = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    for number in (1, 2, 3):
        np.savez(f"layer{number}.npz", X=np.maximum(X - number, 0), y=Y)
    command = ["probe", "layer1.npz", "layer2.npz", "layer3.npz", "--fractions", "0.5", "--draws",
               "2", "--control", "--report", "none", "--out"]  # fmt: skip
    assert run([*command, "whole"]) == 0
    train, trained = probes_of_labels.train_labels, []

    def train_two(data, *rest, **options):
        if (
            len(trained) == 12
        ):  # in the third set: each trains two subsets, all rows and two controls
            raise KeyboardInterrupt
        trained.append(data.name)
        return train(data, *rest, **options)

    monkeypatch.setattr(probes_of_labels, "train_labels", train_two)
    assert run([*command, "out"]) == 130
    assert run([*command, "out"]) == 2  # nothing that is finished is thrown away unasked
    assert run([*command, "out", "--resume", "--metric", "auroc"]) == 2
    trained.clear()
    assert run(["resume", "out", "--plan"]) == 0
    assert run(["resume", "out"]) == 0
    assert trained == ["layer3.npz"] * 5
    assert not Path("out.unfinished").exists()
    found, expected = (RunFolder.open(Path(name)).probes() for name in ("out", "whole"))
    assert found == expected
    for path in Path("whole/models").iterdir():
        assert read_record(Path("out/models") / path.name)["record"] == read_record(path)["record"]
        for ours, theirs in zip(*(load_file(Path(f) / "models" / path.name).values()
                                  for f in ("out", "whole")), strict=True):  # fmt: skip
            assert ours.tobytes() == theirs.tobytes()


def test_a_plan_takes_labels_for_as_many_models(monkeypatch):
    monkeypatch.setattr(forecast, "_time_of", lambda work: 1.0)
    data, every = make_data(), {1.0: np.ones((1, SIZES["train"]), np.uint8)}
    work = Workload(onelayer.grid(l2=[0.1, 1]), every, 0, SIZES["validation"], "exact")
    options = TrainingOptions(solver="exact")
    one, three = (work.forecast(d, options, Machine()) for d in (data.of_label(0), data))
    assert (sum(one.stacks), sum(three.stacks)) == (2, 6)
    assert (three.bytes, three.kept) == (3 * one.bytes, 3 * one.kept)


def test_a_plan_of_labels_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probes_of_labels, "train_labels", None)
    monkeypatch.setattr(forecast, "_SECONDS", 0.01)
    X, Y = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    np.savez("layer.npz", X=X, y=Y)
    assert run(["probe", "layer.npz", "--plan"]) == 0
    assert "1 probe, each of a path of λ" in capsys.readouterr().out
    assert run(["probe", "layer.npz", "--C", "1", "--plan"]) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["layer.npz"]
