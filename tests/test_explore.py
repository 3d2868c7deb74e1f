"""The explorable page holds the facts of a run, whatever its names are, and nothing else."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from made_results import HOSTILE, make_curves, make_folds, make_results, nan_curves
from onelayer import load_dataset
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments.reproduce import explore, reproduce
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.report import explore as page_module
from onelayer.report.explore import explore_facts, render_explore
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.snapshots import Snapshots


def unpack(packed):
    content = np.frombuffer(base64.b64decode(packed["data"]), packed["type"])
    return content.reshape(packed["shape"])


def test_a_loss_beyond_the_numbers_of_the_page_is_the_largest_of_them():
    curves = make_curves(3, 4)
    curves["train_loss"][1, 2:] = 1e300
    found = unpack(explore_facts(make_results(curves=curves))["curves"]["train_loss"])
    np.testing.assert_array_equal(found[1, 2:], np.finfo(np.float32).max)
    np.testing.assert_array_equal(found[0], curves["train_loss"][0].astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of two settings, trained on the digits for an epoch, without a report."""
    out = tmp_path_factory.mktemp("explored") / "out"
    spec = spec_of_grid("digits", grid(l2=[0, 0.1]), ExperimentOptions(epochs=1, repeats=0), {})
    reproduce(spec, out, report="none")
    return out


def test_the_facts_are_those_of_the_run(folder):
    results, data = RunFolder.open(folder).results(), load_dataset("digits")
    facts, run = explore_facts(results, data), results.run
    np.testing.assert_array_equal(unpack(facts["weights"]), run.weights)
    np.testing.assert_array_equal(unpack(facts["biases"]), run.biases)
    np.testing.assert_array_equal(unpack(facts["scaling"]["factor"]), run.scaling.factor)
    np.testing.assert_allclose(unpack(facts["curves"]["train_loss"]), run.history.train_loss, 1e-7)
    np.testing.assert_allclose(unpack(facts["finals"]["test_accuracy"]), results.test_accuracies)
    np.testing.assert_array_equal(unpack(facts["pictures"]["X"]), data.test.X)
    assert facts["pictures"]["y"] == data.test.y.tolist()
    assert [option["values"] for option in facts["options"]] == [["0", "0.1"]]
    assert facts["chosen"] == results.selected


def test_the_page_reaches_nothing_and_runs_two_scripts_alone(folder):
    page = render_explore(RunFolder.open(folder).results())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for kind, rule in (("style", "style-src"), ("script", "script-src")):
        inside = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in inside]
        assert rules[rule].split() == [f"'sha256-{digest.decode()}'" for digest in digests]
        assert len(inside) == 2
    assert not re.search(r"<[^>]* (?:style|on\w+|src|href)=", page)


def test_names_stay_names():
    results = make_results(
        classes=HOSTILE[:3], title=HOSTILE[0] + "</script>\x1b", notice=HOSTILE[0]
    )
    page = render_explore(results)
    assert "<script>alert" not in page
    assert "\x1b" not in page
    (facts,) = re.findall(r'id="facts">(.*?)</script>', page, re.DOTALL)
    assert json.loads(facts)["classes"] == list(HOSTILE[:3])


@pytest.mark.parametrize(
    ("room", "dtype", "models"), [(10**6, "float32", 4), (200, "float16", 4), (110, "float16", 2)]
)
def test_of_weights_that_are_too_large_the_best_ones_stay(monkeypatch, room, dtype, models):
    results = make_results((0.1, 0.4, 0.2, 0.3), classes="ab", image_shape=(1, 2, 6), repeats=())
    monkeypatch.setattr(page_module, "WEIGHTS", room)
    facts = explore_facts(results)
    kept = facts["weighted"]
    assert (facts["weights"]["type"], len(kept)) == (dtype, models)
    assert results.selected in kept
    assert len(facts["notes"]) == (models < 4)
    weights = results.run.weights[kept]
    np.testing.assert_allclose(unpack(facts["weights"]), weights, rtol=2**-10)


def test_of_very_many_settings_the_best_are_shown(monkeypatch):
    monkeypatch.setattr(page_module, "SETTINGS", 3)
    settings = [Hyperparameters(l2) for l2 in (0, 0.1, 0.2, 0.3, 0.4)]
    results = make_results(
        (0.5,) * 5, settings=settings, cross_validation=make_folds(5), repeats=()
    )
    facts = explore_facts(results)
    best = np.sort(np.argsort(-results.selection.means)[:3])
    labels = [setting["label"] for setting in facts["settings"]]
    assert labels == [results.run.labels[model] for model in best]
    assert facts["notes"] == ["The 3 best of 5 settings are shown."]


def test_of_very_many_epochs_some_are_shown(monkeypatch):
    monkeypatch.setattr(page_module, "CURVE_BYTES", 4 * 6 * 3 * 4)
    results = make_results(epochs=30, repeats=())
    facts = explore_facts(results)
    assert facts["epochs"] == [0, 10, 20, 30]
    curve = unpack(facts["curves"]["train_loss"])
    np.testing.assert_allclose(curve, results.run.history.train_loss[:, ::10], 1e-6)
    assert facts["notes"] == ["The curves have 4 of the 31 epochs measured."]


def test_weights_of_earlier_epochs_are_there_for_what_fits_and_is_finite(monkeypatch):
    results = make_results((0.1, 0.4, 0.3), classes="ab", image_shape=(1, 2, 6), repeats=())
    weights = np.arange(2 * 3 * 2 * 12, dtype=np.float16).reshape(2, 3, 2, 12)
    weights[0, 2, 0, 0] = np.inf
    snapshots = Snapshots(np.array([0, 4]), weights, weights[..., 0])
    results = replace(results, run=replace(results.run, snapshots=snapshots))
    shown = explore_facts(results)["snapshots"]
    assert (shown["epochs"], shown["models"]) == ([0, 4], [0, 1])
    np.testing.assert_array_equal(unpack(shown["weights"]), weights[:, :2].swapaxes(0, 1))
    monkeypatch.setattr(page_module, "WEIGHTS", 3 * 96 + 2 * 48)
    facts = explore_facts(results)
    assert facts["snapshots"]["models"] == [1]
    assert "Weights of earlier epochs are here for the 1 best of 2 settings" in facts["notes"][0]


def test_the_plane_of_a_path_is_that_of_the_singular_vectors():
    path = np.random.default_rng(0).standard_normal((7, 30)).cumsum(axis=0)
    points, shares = page_module.descent_path(path)
    left, values, _ = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(abs(points), abs(left[:, :2] * values[:2]), atol=1e-9)
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum())
    still, none = page_module.descent_path(np.ones((1, 4), np.float16))
    assert still.tolist() == [[0, 0]]
    assert none.tolist() == [0, 0]


def test_what_diverged_has_no_weights():
    results = make_results(
        (np.nan, 0.5, 0.4), curves=nan_curves(3, 4, 2), stopped=("epoch 2, batch 1", "", "")
    )
    facts = explore_facts(results)
    assert facts["weighted"] == [1, 2]
    assert facts["settings"][0]["stopped"] == "epoch 2, batch 1"
    assert np.isnan(unpack(facts["curves"]["train_loss"])[0, -1])


def test_test_figures_are_there_for_what_was_evaluated_alone(folder):
    results, data = RunFolder.open(folder).results(), load_dataset("digits")
    hidden = make_results((np.nan, np.nan), repeats=())
    assert np.isnan(unpack(explore_facts(hidden)["finals"]["test_accuracy"])).all()
    assert explore_facts(hidden, data)["pictures"] is None
    assert explore_facts(results, replace(data, test=None))["pictures"] is None


def test_the_command_adds_the_page_or_writes_it_elsewhere(folder, tmp_path):
    page, said = explore(folder), []
    assert page == folder / "explore.html"
    assert "explore.html" in json.loads((folder / "files.json").read_text())["files"]
    assert explore(folder, tmp_path / "a.html").read_bytes() == page.read_bytes()
    with pytest.raises(InputError, match=r"a\.html: exists"):
        explore(folder, tmp_path / "a.html")
    (folder / "spec.json").unlink()
    (folder / "files.json").unlink()
    explore(folder, tmp_path / "b.html", announce=said.append)
    assert len(said) == 1
    assert "no test pictures" in said[0]
    with pytest.raises(InputError, match="holds no results"):
        explore(tmp_path)
