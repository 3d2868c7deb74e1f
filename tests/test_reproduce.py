"""An experiment from its spec to its folder: what is in there is what was run."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from onelayer import load_run
from onelayer.data.catalog import load_dataset
from onelayer.data.fetching import cache
from onelayer.data.splitting import fold_weights
from onelayer.errors import InputError
from onelayer.evaluation.confusions import accuracies, confusion_matrices
from onelayer.evaluation.results import count_failed
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments import reproduce as reproducing
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.reproduce import check_gradients, redraw, reproduce
from onelayer.experiments.spec import Spec, adjust, load_spec
from onelayer.model.losses import LOSSES
from onelayer.report.outcome import summarise
from onelayer.training.cross_validation import cross_validate
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.loop import train
from stored_records import change_record, read_record


def make_spec(**changes):
    check = {
        "name": "strict", "method": "complex", "step": 1e-30, "images": 20, "l2": [0, 1],
        "eps": 1e-5, "tolerance": 1e-12, "precision": "extended",
    }  # fmt: skip
    return Spec.model_validate(
        {
            "name": "small",
            "title": "A small experiment",
            "data": {"dataset": "digits"},
            "training": {"epochs": 2, "repeats": 2, "seed": 3},
            "settings": [{"l2": 0, "published_accuracy": 0.8}, {"l2": 0.1}],
            "gradient_checks": [check],
        }
        | changes
    )


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "out"
    reproduce(make_spec(), folder)
    return folder


def test_the_folder_holds_everything_that_is_promised(out):
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names >= {
        "report.html", "report.pdf", "table1.csv", "table1.md", "table1.tex", "history.csv",
        "gradient_check.json", "gradient_check/strict_cross-entropy_l2_0_W.csv",
        "gradient_check/strict_cross-entropy_l2_1_b.csv", "engine_check.json",
        "grid.csv", "run/run.safetensors", "repeats/2/run.safetensors", "spec.json",
        "results.safetensors", "model.safetensors", "test_evaluations.json",
        *(
            f"figures/{stem}.{kind}"
            for stem in (
                "gradient_check", "curves", "weights", "confusion", "mistakes", "true_class",
                "reliability",
            )
            for kind in ("png", "svg")
        ),
    }  # fmt: skip
    assert json.loads((out / "files.json").read_text())["files"].keys() | {"files.json"} == names


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The folder of a short experiment without a report."""
    folder = tmp_path_factory.mktemp("bare") / "out"
    reproduce(make_spec(training={"epochs": 1, "repeats": 1}), folder, report="none")
    return folder


def test_what_was_not_drawn_can_be_drawn_later(bare, tmp_path):
    shutil.copytree(bare, tmp_path / "out")
    assert not list(bare.rglob("*.html")) + list(bare.rglob("*.png")) + list(bare.rglob("*.pdf"))
    assert (bare / "table1.csv").is_file()
    redraw(tmp_path / "out")
    assert (tmp_path / "out" / "report.pdf").is_file()
    assert (tmp_path / "out" / "figures" / "curves.png").is_file()
    stored = json.loads((tmp_path / "out" / "files.json").read_text())["files"]
    assert {"report.html", "run/run.safetensors"} <= stored.keys()
    for name, digest in stored.items():
        content = (tmp_path / "out" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_a_page_alone_holds_all_figures(tmp_path):
    spec = make_spec(training={"epochs": 1}, gradient_checks=[])
    reproduce(spec, tmp_path / "out", report="html")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/svg+xml") >= 5
    assert not (tmp_path / "out" / "figures").exists()
    assert not (tmp_path / "out" / "report.pdf").exists()


def test_an_unknown_report_is_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="'htm'; did you mean 'html'"):
        reproduce(make_spec(data={"dataset": "nowhere"}), tmp_path / "out", report="htm")


def test_records_of_two_runs_are_refused(bare, tmp_path):
    for name in ("a", "b"):
        reproduce(make_spec(training={"epochs": 1, "repeats": 1}), tmp_path / name, report="none")
    a, b = (tmp_path / name / "repeats/1/run.safetensors" for name in "ab")
    assert read_record(a)["run"] != read_record(b)["run"]
    shutil.copy(b, a)
    with pytest.raises(InputError, match="changed, or copied from another run") as told:
        RunFolder.open(tmp_path / "a").results()
    assert str(told.value).startswith(f"{a}: ")
    manifest = json.loads((tmp_path / "a" / "files.json").read_text())
    manifest["files"]["repeats/1/run.safetensors"] = hashlib.sha256(a.read_bytes()).hexdigest()
    (tmp_path / "a" / "files.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="belongs to another run") as told:
        RunFolder.open(tmp_path / "a").results()
    assert str(told.value).startswith(f"{a}: ")


def test_the_run_is_the_one_that_train_makes(out):
    data = load_dataset("digits")
    settings = [Hyperparameters(0.0), Hyperparameters(0.1)]
    expected = train(data, settings, epochs=2, seed=3)
    assert load_run(out / "run").weights.tobytes() == expected.weights.tobytes()
    shuffled = train(data, settings, epochs=2, seed=5, order="shuffled")
    assert load_run(out / "repeats" / "2").weights.tobytes() == shuffled.weights.tobytes()


def test_table1_holds_the_accuracies_of_the_stored_weights(out):
    data = load_dataset("digits")
    with (out / "table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    runs = [load_run(out / folder) for folder in ("run", "repeats/1", "repeats/2")]
    course, *repeats = (accuracies(confusion_matrices(run, data.test)) for run in runs)
    for m, row in enumerate(rows):
        assert float(row["test_accuracy"]) == course[m]
        assert float(row["accuracy_mean"]) == pytest.approx(np.mean(repeats, axis=0)[m])
        assert float(row["accuracy_sd"]) == pytest.approx(np.std(repeats, axis=0, ddof=1)[m])
        assert row["repeats"] == "2"
    assert [row["published_accuracy"] for row in rows] == ["0.8", ""]


def test_gradient_check_json_agrees_with_the_matrices(out):
    records = json.loads((out / "gradient_check.json").read_text())
    assert [record["l2"] for record in records] == [0, 1]
    for record in records:
        assert record["passed"]
        assert record["max_error_W"] <= 1e-12
        assert (record["parameters"], record["images"]) == (650, 20)
        matrix = np.loadtxt(out / record["matrices"]["W"], delimiter=",")
        assert matrix.shape == (10, 64)
        assert matrix.max() == pytest.approx(record["max_error_W"], rel=1e-5)


def test_every_loss_of_the_spec_is_checked_and_the_engine_that_trains_it(tmp_path, capsys):
    losses = ["hinge", "binary-cross-entropy"]
    settings = [{"loss": loss, "l2": l2} for loss in losses for l2 in (0, 0.1)]
    spec = make_spec(settings=settings, training={"epochs": 1, "dtype": "float64"})
    results = reproduce(spec, tmp_path / "out", report="none")
    assert [(batch.loss, batch.l2) for batch in results.checks] == [
        (loss, l2) for l2 in (0, 1) for loss in losses
    ]
    assert [(check.loss, check.engine) for check in results.engine_checks] == [
        (loss, results.run.provenance["engine"]) for loss in losses
    ]
    assert results.failed_checks == 0
    told = summarise(results)
    assert "hinge and binary-cross-entropy passed 4 checks" in told
    assert "NumpyEngine in float64" in told
    assert "cross-entropy was not checked" not in told
    records = json.loads((tmp_path / "out" / "gradient_check.json").read_text())
    assert [record["loss"] for record in records] == losses * 2
    assert RunFolder.open(tmp_path / "out").results().engine_checks == results.engine_checks


@pytest.mark.parametrize("loss", ["cross-entropy", "hinge"])
def test_a_wrong_gradient_of_a_loss_that_trains_fails_the_run(loss, monkeypatch):
    """It failed no run that trains with the hinge while cross-entropy alone was checked."""
    right = type(LOSSES[loss]).slopes
    monkeypatch.setattr(type(LOSSES[loss]), "slopes", lambda *given: 1.01 * right(*given))
    checks, engine_checks = check_gradients(make_spec(settings=[{"loss": loss}]), None)
    assert count_failed(checks, ()) == 2
    assert all(check.loss == loss for check in (*checks, *engine_checks))


def test_a_report_drawn_elsewhere_from_what_is_stored_is_the_same_and_loses_nothing(out, tmp_path):
    before, there = contents(out), tmp_path / "there"
    redraw(out, there)
    assert contents(out) == before
    drawn = contents(there)
    assert drawn == {name: before[name] for name in drawn}
    assert len([name for name in drawn if name.suffix in (".svg", ".png", ".pdf", ".html")]) == 19
    assert load_spec(str(there / "spec.json")) == make_spec()


def test_the_spec_in_the_folder_runs_the_same_experiment_again(out, tmp_path):
    again = load_spec(str(out / "spec.json"))
    assert again == make_spec()


def test_an_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="add --force"):
        reproduce(make_spec(data={"dataset": "nowhere"}), tmp_path / "out")


def test_force_replaces_what_was_ours_and_keeps_what_was_not(tmp_path):
    small = {"epochs": 1, "repeats": 1}
    reproduce(make_spec(training=small), tmp_path / "out", report="none")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    again = make_spec(training=small | {"repeats": 0})
    reproduce(again, tmp_path / "out", force=True, report="none")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "repeats").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_whatever_interrupts_leaves_nothing_behind(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("onelayer.experiments.reproduce.write_report", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        reproduce(make_spec(training={"epochs": 1}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_a_source_the_digits_stand_in_and_every_output_says_so(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ONELAYER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SOURCES", ())
    spec = load_spec("dd2424-a1")
    spec = spec.model_copy(update={"training": replace(spec.training, epochs=1, repeats=0)})
    results = reproduce(spec, tmp_path / "out", report="html")
    assert capsys.readouterr().out.startswith("STAND-IN DATA: scikit-learn's digits instead of")
    assert np.isnan(results.published).all()
    for name in ("report.html", "table1.csv", "table1.md", "table1.tex"):
        assert "STAND-IN DATA" in (tmp_path / "out" / name).read_text("utf-8"), name
    stored = RunFolder.open(tmp_path / "out").results()
    assert "STAND-IN DATA" in stored.notice
    assert stored.run.weights.shape == (4, 10, 64)
    assert all(batch.check.passed for batch in results.checks)


def test_only_the_selected_model_sees_the_test_split_where_the_spec_says_so(tmp_path):
    training = {"epochs": 1, "test": "selected"}
    results = reproduce(make_spec(training=training), tmp_path / "out", report="none")
    seen = ~np.isnan(results.test_accuracies)
    assert seen.tolist() == [m == results.selected for m in range(2)]


def test_the_repeats_are_evaluated_for_the_model_that_the_main_run_selected(tmp_path):
    settings = [{"l2": l2} for l2 in (0, 0.001, 0.01)]
    training = {"epochs": 2, "repeats": 4, "test": "selected"}
    spec = make_spec(training=training, settings=settings)
    results = reproduce(spec, tmp_path / "out", report="none")
    known = ~np.isnan(results.repeat_accuracies)
    assert known.tolist() == [[m == results.selected for m in range(3)]] * 4
    back = RunFolder.open(tmp_path / "out").results()
    np.testing.assert_array_equal(back.repeat_accuracies, results.repeat_accuracies)


def test_the_ensembles_are_of_the_stored_models(out):
    data, results = load_dataset("digits"), RunFolder.open(out).results()
    settings, repeats = results.ensembles
    runs = [load_run(out / folder) for folder in ("run", "repeats/1", "repeats/2")]
    S = [run.scores(data.test.X).swapaxes(0, 1).astype(float) for run in runs]
    members = {"settings": S[0], "repeats": np.array([s[results.selected] for s in S[1:]])}
    for ensemble in (settings, repeats):
        P = softmax(members[ensemble.members], axis=2).mean(axis=0)
        assert ensemble.size == 2
        assert ensemble.mean_probability == np.mean(P.argmax(axis=1) == data.test.y)


@pytest.mark.parametrize("missing", [("validation",), ("test",), ("validation", "test")])
@pytest.mark.parametrize("test", ["all", "selected"])
def test_an_experiment_needs_neither_validation_nor_test(tmp_path, missing, test):
    data = replace(load_dataset("digits"), **dict.fromkeys(missing))
    spec = make_spec(training={"epochs": 1, "repeats": 2, "test": test}, gradient_checks=[])
    results = run_experiment(spec, data)
    RunFolder(tmp_path).save_results(results)
    back = RunFolder.open(tmp_path).results()
    assert back.selection.informed == ("validation" not in missing)
    assert back.selected == (0 if "validation" in missing else results.selected)
    assert (back.predictions.validation is None) == ("validation" in missing)
    seen = {"all": 2, "selected": 1}[test] * ("test" not in missing)
    assert len(back.evaluated) == len(back.predictions.right) == seen
    assert len(back.ensembles) == ("test" not in missing) * (1 + (test == "all"))


def test_folds_choose_by_the_rule_and_equal_cross_validation_by_itself():
    data = load_dataset("digits")
    training = {"epochs": 3, "folds": 4, "fold_repeats": 2, "select": "1se", "test": "selected"}
    spec = make_spec(training=training, gradient_checks=[])
    results = run_experiment(spec, data)
    weights = fold_weights(data.train.y, 4, repeats=2, seed=0)
    expected = cross_validate(data, results.run.settings, weights, epochs=3)
    np.testing.assert_array_equal(results.cross_validation.accuracy, expected.accuracy)
    assert results.selection.rule == "1se"
    np.testing.assert_allclose(results.selection.means, expected.accuracy.mean(axis=0))
    assert results.evaluated.tolist() == [results.selected]


def test_only_the_chosen_setting_is_repeated_where_only_that_one_is_tested():
    data = load_dataset("digits")
    spec = make_spec(training={"epochs": 1, "repeats": 2, "test": "selected"}, gradient_checks=[])
    results = run_experiment(spec, data)
    chosen = results.run.settings[results.selected]
    assert [repeat.settings for repeat in results.repeats] == [(chosen,)] * 2
    repeats = [accuracies(confusion_matrices(run, data.test))[0] for run in results.repeats]
    np.testing.assert_array_equal(results.repeat_accuracies[:, results.selected], repeats)
    assert np.isnan(results.repeat_accuracies[:, 1 - results.selected]).all()


def test_least_costs_are_found_kept_and_lie_below_every_curve(tmp_path):
    spec = make_spec(
        training={"epochs": 2, "optimum": True},
        settings=[{"l2": 0}, {"l2": 0.1}, {"l2": 0.1, "loss": "hinge"}],
        gradient_checks=[],
    )
    results = reproduce(spec, tmp_path / "out", report="none")
    assert np.isnan(results.optimal_costs).tolist() == [True, False, True]
    assert (results.run.history.train_cost[1] > results.optimal_costs[1]).all()
    assert (tmp_path / "out" / "optima.json").is_file()


def test_variants_are_the_experiment_with_their_changes(tmp_path):
    variants = [
        {"name": "flip", "title": "upside down", "training": {"augmentation": "flip"}},
        {"name": "hinge", "title": "another loss", "settings": [{"loss": "hinge"}, {"l2": 0.01}]},
        {"name": "split", "title": "fewer rows", "data": {"validation": 0.5}},
    ]
    out = tmp_path / "out"
    results = reproduce(make_spec(variants=variants, gradient_checks=[]), out, report="html")
    rows = RunFolder.open(out).ablation()
    names = ["base", "flip", "hinge", "split"]
    assert sorted({row.variant for row in rows}, key=names.index) == names
    first = next(row for row in rows if row.variant == "base")
    assert first.mean == pytest.approx(results.repeat_accuracies[:, 0].mean())
    assert first.gain == 0
    for name, models in zip(names[1:], (1, 2, 1), strict=True):
        run = load_run(out / "variants" / name / "run")
        own = [row for row in rows if row.variant == name and row.mean is not None]
        assert [row.setting for row in own] == [str(setting) for setting in run.settings]
        assert len(own) == models
        expected = accuracies(confusion_matrices(run, load_dataset("digits").test))
        assert [row.test for row in own] == expected.tolist()
    assert load_run(out / "variants/split/run").training["train_samples"] == 500
    assert "upside down" in (out / "report.html").read_text("utf-8")
    again = load_spec(str(out / "variants" / "flip" / "spec.json"))
    assert again.training.augmentation == "flip"


def test_the_table_is_shown_before_the_report_is_drawn(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(reproducing, "write_report", lambda *_: done.append("drawn"))
    spec = make_spec(gradient_checks=[], training={"epochs": 1})
    reproduce(spec, tmp_path / "out", show=lambda results, rows: done.append("shown"))
    assert done == ["shown", "drawn"]


def test_a_second_look_at_the_test_set_is_told(tmp_path):
    spec, out, said = make_spec(gradient_checks=[]), tmp_path / "out", []
    reproduce(spec, out, announce=said.append, report="none")
    assert said == []
    reproduce(spec, out, force=True, announce=said.append, report="html")
    assert len(RunFolder.open(out).looks()) == 2
    assert "evaluation number 2 of the test set" in said[0]
    assert "evaluation number 2 of the test set" in (out / "report.html").read_text("utf-8")


def test_other_epochs_than_the_specs_drop_the_published_figures():
    spec = load_spec("dd2424-a1")
    assert adjust(spec, epochs=40, repeats=1).settings == spec.settings
    assert all(s.published_accuracy is None for s in adjust(spec, epochs=6).settings)


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    def another_process(results, staging, *_):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "report.html").write_text("theirs")

    monkeypatch.setattr("onelayer.experiments.reproduce.write_report", another_process)
    with pytest.raises(InputError, match="add --force"):
        reproduce(make_spec(training={"epochs": 1}), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "report.html").read_text("utf-8") == "theirs"


@pytest.mark.parametrize(
    ("file", "key", "value", "place"),
    [
        ("results", "title", 5, "title: found 5, expected str"),
        ("run/run", "training", 5, "training: found 5"),
        ("run/run", "class_names", list(range(10)), "class_names.0: found 0, expected str"),
        ("run/run", "image_shape", [-1, -8, 8], "image_shape (-1, -8, 8)"),
        ("run/run", "scaling", {}, "scaling.method: missing"),
        ("run/run", "scaling", {"method": "unti"}, "unknown scaling 'unti'"),
        ("run/run", "provenance", [], "provenance: found []"),
        ("run/run", "settings", [{"l2": -1}, {}], "settings.0: l2 is -1"),
    ],
)
def test_an_edited_record_is_refused_in_one_line(bare, tmp_path, file, key, value, place):
    shutil.copytree(bare, tmp_path / "out")
    path = tmp_path / "out" / f"{file}.safetensors"
    change_record(path, lambda record: record | {key: value})
    with pytest.raises(InputError, match="another SHA-256 than in files") as told:
        redraw(tmp_path / "out")
    assert str(told.value).startswith(f"{path}: ")
    (tmp_path / "out" / "files.json").unlink()
    with pytest.raises(InputError) as told:
        redraw(tmp_path / "out")
    assert str(told.value).startswith(f"{path}: holds no ")
    assert place in str(told.value)


def test_a_check_of_more_images_than_there_are_is_refused(tmp_path):
    check = make_spec().gradient_checks[0].model_copy(update={"images": 1001})
    spec = make_spec().model_copy(update={"gradient_checks": (check,)})
    with pytest.raises(InputError, match="1001 images, but digits has 1000 training samples"):
        check_gradients(spec, None)


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'strict'"):
        check_gradients(make_spec(), None, preset="strickt")
