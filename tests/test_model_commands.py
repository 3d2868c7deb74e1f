"""evaluate, predict, explain and export as a user meets them."""

import csv
import io
import json
import shlex
import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

import onelayer
from made import make_data
from onelayer.cli import run as run_command
from onelayer.errors import InputError
from onelayer.evaluation import model_evaluation
from onelayer.evaluation.confusions import Confusions
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from onelayer.evaluation.run_folder import RunFolder
from onelayer.report.evaluation import SECTIONS, Facts
from onelayer.report.evidence import COLOURS, class_evidence, draw_evidence
from onelayer.report.per_class import class_table
from onelayer.report.terminal import show_sections
from onelayer.training.classifier import load_model, model_of
from onelayer.training.hyperparameters import grid


def call(capsys, *arguments):
    status = run_command([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An output folder of `onelayer train` with two settings."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["--learning-rate", "0.0001,0.1", "--epochs", "3", "--out", str(folder)]
    arguments += ["--report", "none"]
    assert run_command(["train", "digits", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def digits():
    return onelayer.load_dataset("digits")


@pytest.fixture
def model_file(trained, tmp_path, capsys):
    assert call(capsys, "export", trained, "--out", tmp_path / "m.safetensors")[0] == 0
    return tmp_path / "m.safetensors"


@pytest.fixture
def picture(digits, tmp_path):
    pixels = np.rint(digits.test.X[0].reshape(8, 8) * (255 / 16)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def write_model(folder, *, loss="cross-entropy", **shape):
    data = make_data(**shape)
    trained = onelayer.train(data, grid(loss=[loss]), batch_size=10, epochs=2)
    model_of(trained).save(folder / "made.safetensors")
    return folder / "made.safetensors"


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_export_writes_the_chosen_model_or_the_one_asked_for(trained, model_file, tmp_path, capsys):
    run = onelayer.load_run(trained / "run")
    np.testing.assert_array_equal(load_model(model_file).weights, run.weights[1])
    status, out, _ = call(
        capsys, "export", trained, "--model", 0, "--out", tmp_path / "first.safetensors"
    )
    assert (status, out) == (0, f"model: {tmp_path / 'first.safetensors'}\n")
    first = load_model(tmp_path / "first.safetensors")
    np.testing.assert_array_equal(first.weights, run.weights[0])
    assert (first.full_scale, first.dataset) == (16, "digits")


def test_evaluate_says_what_scikit_learn_does(model_file, digits, capsys):
    model, y = load_model(model_file), digits.test.y
    evaluation = evaluate_model(model, digits)
    predicted = model.predict(digits.test.X)
    np.testing.assert_array_equal(evaluation.confusion, confusion_matrix(y, predicted))
    expected = precision_recall_fscore_support(y, predicted, zero_division=np.nan)
    scores = evaluation.class_scores
    for found, theirs in zip((scores.precision, scores.recall, scores.f1), expected, strict=False):
        np.testing.assert_allclose(found, theirs, rtol=1e-12)
    interval = proportion_confint((predicted == y).sum(), len(y), method="wilson")
    np.testing.assert_allclose(evaluation.interval, interval, rtol=1e-9)
    status, out, err = call(capsys, "evaluate", model_file, "digits")
    assert (status, err) == (0, "")
    accuracy = (predicted == y).mean()
    words = (
        f"accuracy {accuracy:.4f} (95 % Wilson interval {interval[0]:.4f} to {interval[1]:.4f}) "
        "on 400 test samples of digits"
    )
    assert words in out
    error = evaluation.reliability.expected_calibration_error
    assert f" {error:.4f} " in next(line for line in out.splitlines() if "calibration" in line)


def test_evaluate_tells_every_metric_and_writes_them(model_file, digits, tmp_path, capsys):
    model, file = load_model(model_file), tmp_path / "m.csv"
    S, P, y = model.scores(digits.test.X), model.probabilities(digits.test.X), digits.test.y
    status, out, err = call(capsys, "evaluate", model_file, "digits", "--out", file)
    assert (status, err, out.splitlines()[-1]) == (0, "", f"metrics: {file}")
    rows = read_csv(file.read_text())
    assert [row["metric"] for row in rows] == list(METRICS)
    for row, metric in zip(rows, METRICS.values(), strict=True):
        expected = metric.interval(metric.choose(S, P), y)
        found = [float(row[name]) for name in ("value", "low", "high")]
        np.testing.assert_allclose(found, [expected.value, expected.low, expected.high], rtol=1e-9)
        assert row["method"] == expected.method
        assert row["better"] == ("higher" if metric.better(1, 0) else "lower")
        line = next(
            line
            for line in out.splitlines()
            if line.startswith((f"{metric.title} ↑", f"{metric.title} ↓"))
        )
        assert line.split()[-3:] == [f"{value:.4f}" for value in found]
    assert call(capsys, "evaluate", model_file, "digits", "--out", file)[0] == 2  # it is there
    page = tmp_path / "m.html"
    assert call(capsys, "evaluate", model_file, "digits", "--out", page)[0] == 0
    told = page.read_text("utf-8")
    assert all(f">{float(row['value']):.4f}</td>" in told for row in rows)


def test_a_metric_that_a_model_does_not_have_says_why(tmp_path, monkeypatch, capsys):
    data, path = make_data(), write_model(tmp_path, loss="hinge")
    found = evaluate_model(load_model(path), data, metrics=METRICS.values())
    without = ["log-loss", "brier", "ece"]
    assert {name: found.left_out.pop(name) for name in without} == dict.fromkeys(
        without, "the loss has no probabilities"
    )
    assert found.left_out == {"top-5": "takes 6 classes"}
    S = load_model(path).scores(data.test.X)
    assert found.value("auroc") == METRICS["auroc"](S, data.test.y)
    monkeypatch.setattr(model_evaluation, "MOST_SCORES", S.size - 1)
    found = evaluate_model(load_model(path), data, metrics=METRICS.values())
    assert found.left_out["auroc"] == f"more than {S.size - 1:,} scores"
    monkeypatch.setenv("COLUMNS", "120")
    show_sections(SECTIONS, Facts(found, found.intervals(10)))
    out = capsys.readouterr().out
    assert all(why in out for why in found.left_out.values())


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    """A file of samples, and an output folder that was trained on it with a split of its own."""
    folder = tmp_path_factory.mktemp("own")
    X = np.random.default_rng(0).normal(size=(200, 5))
    np.savez(folder / "a.npz", X=X, y=(X[:, 0] + X[:, 1] > 0) + (X[:, 2] > 1))
    arguments = ["--validation", "0.3", "--epochs", "2", "--out", str(folder / "run")]
    arguments += ["--report", "none"]
    assert run_command(["train", str(folder / "a.npz"), *arguments]) == 0
    return folder / "a.npz", folder / "run"


@pytest.mark.parametrize("given", ["nothing", "the file", "the model file"])
def test_evaluate_has_the_rows_that_training_had(own_file, given, capsys):
    file, folder = own_file
    run = onelayer.load_run(folder / "run")
    arguments = {
        "nothing": [folder],
        "the file": [folder, file],
        "the model file": [folder / "model.safetensors"],
    }[given]
    for split, samples in (("train", 119), ("validation", 51)):
        status, out, _ = call(capsys, "evaluate", *arguments, "--split", split)
        assert status == 0
        accuracy = run.final(f"{split}_accuracy")[0]
        assert out.startswith(f"accuracy {accuracy:.4f} ")
        assert f"on {samples} {split} samples of a.npz" in out
        assert "note:" not in out


def test_evaluate_takes_the_parts_that_the_spec_took(tmp_path, capsys):
    (tmp_path / "spec.toml").write_text(
        'name = "a"\ntitle = "A"\n[data]\ndataset = "digits"\n'
        'train = "validation"\nvalidation = "train"\n[training]\nepochs = 1\n[[settings]]\n'
    )
    arguments = ["--out", tmp_path / "run", "--report", "none"]
    call(capsys, "reproduce", tmp_path / "spec.toml", *arguments)
    accuracy = onelayer.load_run(tmp_path / "run" / "run").final("train_accuracy")[0]
    for arguments in ([], ["digits"]):
        out = call(capsys, "evaluate", tmp_path / "run", *arguments, "--split", "train")[1]
        assert out.startswith(f"accuracy {accuracy:.4f} ")
        assert "on 397 train samples of digits" in out


def test_evaluate_says_where_splits_are_not_those_of_training(own_file, tmp_path, capsys):
    file, folder = own_file
    call(capsys, "export", folder, "--out", tmp_path / "m.safetensors")
    status, out, _ = call(capsys, "evaluate", tmp_path / "m.safetensors", file, "--split", "train")
    assert status == 0
    assert "note: these are the train samples of a.npz by default; the model may have had" in out
    status, _, err = call(capsys, "evaluate", tmp_path / "m.safetensors")
    assert status == 2
    assert "no spec.json says what it was trained on; name a data set" in err


def test_evaluate_refuses_files_that_are_not_what_was_trained_on(tmp_path, capsys):
    X, y = np.eye(40, 3), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", X=X, y=y)
    arguments = ["--epochs", 1, "--out", tmp_path / "run", "--report", "none"]
    call(capsys, "train", tmp_path / "a.npz", *arguments)
    np.savez(tmp_path / "a.npz", X=X[:-1], y=y[:-1])
    status, _, err = call(capsys, "evaluate", tmp_path / "run")
    assert status == 2
    assert f"a.npz: not what the model in {tmp_path / 'run'} was trained on, by the sha256" in err


def test_a_model_is_loaded_from_its_output_folder(trained):
    expected = load_model(trained / "model.safetensors")
    np.testing.assert_array_equal(load_model(trained).weights, expected.weights)


def test_looks_at_the_test_split_are_counted_where_the_model_comes_from(trained, capsys):
    def evaluate(*arguments):
        status, out, _ = call(capsys, "evaluate", *arguments)
        assert status == 0
        return out, len(RunFolder.open(trained).looks())

    _, before = evaluate(trained, "digits", "--split", "validation")
    _, first = evaluate(trained, "digits")
    out, second = evaluate(trained, "digits")
    assert (first, second) == (before + 1, before + 2)
    assert f"This is evaluation number {second} of the test set, after" in out
    call(capsys, "export", trained, "--out", trained / "model.safetensors", "--force")
    assert evaluate(trained / "model.safetensors", "digits")[1] == second + 1
    assert "test_evaluations.json" in json.loads((trained / "files.json").read_text())["files"]


def test_classes_are_found_by_their_names(model_file, digits, tmp_path, capsys):
    turned = 9 - digits.test.y
    names = np.array(list("9876543210"))
    arrays = {f"X_{s}": digits.test.X for s in ("train", "test")}
    labels = {f"y_{s}": turned for s in ("train", "test")}
    np.savez(tmp_path / "turned.npz", **arrays, **labels, class_names=names)
    model = load_model(model_file)
    evaluation = evaluate_model(model, onelayer.load_dataset(tmp_path / "turned.npz"))
    np.testing.assert_array_equal(evaluation.confusion, evaluate_model(model, digits).confusion)
    _, out, _ = call(capsys, "evaluate", model_file, tmp_path / "turned.npz")
    assert "the model learned that 16 stands for 1, here it is 255" in out
    names[3] = "x"
    np.savez(tmp_path / "strange.npz", **arrays, **labels, class_names=names)
    with pytest.raises(InputError, match=r"the class 'x' is none of those the model knows: 0, 1"):
        evaluate_model(model, onelayer.load_dataset(tmp_path / "strange.npz"))


def test_many_classes_are_told_by_their_confusions(tmp_path, capsys):
    data = make_data(N=200, K=20)
    np.savez(tmp_path / "a.npz", X=data.train.X, y=data.train.y)
    path = write_model(tmp_path, N=200, K=20)
    assert call(capsys, "evaluate", path, tmp_path / "a.npz")[0] == 2  # "class 0" is not "0"
    names = np.array(data.class_names)
    np.savez(tmp_path / "a.npz", X=data.train.X, y=data.train.y, class_names=names)
    status, out, _ = call(capsys, "evaluate", path, tmp_path / "a.npz")
    assert (status, "Most frequent confusions" in out) == (0, True)


def test_only_a_softmax_is_calibrated(tmp_path):
    data, path = make_data(), write_model(tmp_path, loss="hinge")
    assert evaluate_model(load_model(path), data).reliability is None


def test_an_unknown_split_is_refused(tmp_path):
    data, path = make_data(), write_model(tmp_path)
    with pytest.raises(InputError, match="unknown split 'tset'; did you mean 'test'"):
        evaluate_model(load_model(path), data, "tset")


def test_predict_writes_csv_in_a_pipe(model_file, picture, digits, tmp_path, capsys):
    np.save(tmp_path / "rows.npy", digits.test.X[:3])
    status, out, err = call(
        capsys, "predict", model_file, picture, tmp_path / "rows.npy", "--top", "2"
    )
    assert (status, err) == (0, "")
    rows = read_csv(out)
    places = " ".join(row["row"] + row["rank"] for row in rows)
    assert places == "01 02 01 02 11 12 21 22"
    P = load_model(model_file).probabilities(digits.test.X[:3])
    best = [row for row in rows if row["rank"] == "1"]
    assert [int(row["class"]) for row in best] == [P[0].argmax(), *P.argmax(axis=1)]
    shares = [float(row["probability"]) for row in rows[2:]]
    np.testing.assert_allclose(shares, np.sort(P)[:, :-3:-1].ravel(), rtol=1e-5)
    np.testing.assert_allclose(float(rows[0]["probability"]), P[0].max(), rtol=0.02)


def test_predict_writes_json_lines_and_tables(model_file, picture, capsys):
    _, out, _ = call(capsys, "predict", model_file, picture, "--format", "json", "--top", "20")
    (record,) = map(json.loads, out.splitlines())
    assert (record["file"], record["row"]) == (str(picture), 0)
    assert sum(found["probability"] for found in record["classes"]) == pytest.approx(1)
    assert sorted(found["class"] for found in record["classes"]) == list("0123456789")
    status, out, _ = call(capsys, "predict", model_file, picture, "--format", "table")
    assert (status, out.split()[:3]) == (0, ["file", "class", "probability"])


def test_predict_tells_scores_where_there_are_no_probabilities(tmp_path, capsys):
    path, X = write_model(tmp_path, loss="hinge"), make_data().test.X
    np.savetxt(tmp_path / "a.csv", X, delimiter=",")
    _, out, _ = call(capsys, "predict", path, tmp_path / "a.csv")
    S = load_model(path).scores(X)
    rows = read_csv(out)
    np.testing.assert_allclose([float(row["score"]) for row in rows], S.max(axis=1), rtol=1e-4)
    assert [row["class"] for row in rows] == [f"class {k}" for k in S.argmax(axis=1)]


def test_names_are_no_formulas_in_csv_exact_in_json_and_no_markup_in_a_table(tmp_path, capsys):
    names = ("=1+1", "[red]x[/red]", ":cat:", "-1")
    model = replace(load_model(write_model(tmp_path)), class_names=names)
    path, table = tmp_path / "m.safetensors", str(tmp_path / "a\x1b[31m.csv")
    model.save(path)
    np.savetxt(table, make_data().test.X, delimiter=",")
    arguments = ["predict", path, table, "--top", "4", "--format"]
    rows = read_csv(call(capsys, *arguments, "csv")[1])
    assert {row["class"] for row in rows} == {"'=1+1", "[red]x[/red]", ":cat:", "-1"}
    assert rows[0]["file"] == table.replace("\x1b", r"\x1b")
    told = json.loads(call(capsys, *arguments, "json")[1].splitlines()[0])
    assert {each["class"] for each in told["classes"]} == set(names)
    assert told["file"] == table
    shown = call(capsys, *arguments, "table")[1]
    assert all(name in "".join(shown.split()) for name in names)
    assert "\x1b" not in shown


def test_a_class_is_known_by_how_its_name_looks(tmp_path):
    data = make_data()
    stored, typed = ("cafe\u0301", "the  cat", "x", "y"), ("caf\xe9", "the cat", "x", "y")
    model = replace(load_model(write_model(tmp_path)), class_names=stored)
    told = evaluate_model(model, replace(data, class_names=typed, digests={}))
    assert told.confusion.sum() == len(data.test)


def test_long_names_are_folded_and_numbers_never_cut(monkeypatch, capsys):
    names = (*(f"{'long' * 24}{k:04d}" for k in range(12)), "–")
    counts = np.random.default_rng(0).integers(100_000, 999_999, (13, 13))
    confusions = Confusions.of(counts[None])
    evaluation = ModelEvaluation("made", "test", names, confusions, None, np.ones(1, bool))
    monkeypatch.setenv("COLUMNS", "50")
    show_sections(SECTIONS, Facts(evaluation, {}))
    table = capsys.readouterr().out.split("confusion")[0]
    for cell in [
        cell for row in class_table("", evaluation.class_scores, names, 13).rows for cell in row[1:]
    ]:
        assert f" {cell}" in table
    lines = table.splitlines()
    width = next(line for line in lines if line.startswith("class")).index("precision")
    folded = "".join(line[:width].strip() for line in lines)
    assert all(name in folded for name in names)


def test_predict_reads_a_pipe_and_one_that_is_closed_early_is_fine(tmp_path):
    path = write_model(tmp_path)
    text = "\n".join(",".join(["1"] * 12) for _ in range(20_000))
    done = subprocess.run(
        f"{shlex.join([sys.executable, '-m', 'onelayer', 'predict', str(path), '-'])} | head -2",
        shell=True, input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "file,row,rank,class,probability"


def test_the_evidence_of_a_class_and_its_bias_sum_to_its_score(model_file, digits):
    model, X = load_model(model_file), digits.test.X[:20]
    sums = [class_evidence(model, x).sum(axis=1) + model.biases for x in X]
    np.testing.assert_allclose(sums, model.scores(X), rtol=1e-5, atol=1e-6)


BYTE = 0.5001 / 255  # half of a step of colour


def test_explain_shows_the_image_the_evidence_and_the_templates(model_file, picture, digits):
    model, X = load_model(model_file), digits.test.X[0]
    figure = draw_evidence(model, X.reshape(1, 8, 8), top=3)
    above, below, bar = figure.axes
    rows = [np.asarray(ax.images[0].get_array()) / 255 for ax in (above, below)]
    step = (rows[0].shape[1] - 8) // 3  # pixels from one image to the next
    seen, *maps = (rows[0][:, column * step :][:, :8] for column in range(4))
    np.testing.assert_allclose(seen[..., 0], X.reshape(8, 8) / 16, atol=BYTE)
    best = np.argsort(-model.scores(X[None])[0])[:3]
    evidence = (model.weights[best] * X / 16).reshape(3, 8, 8)
    low, high = bar.get_ylim()
    assert low == -high == pytest.approx(-np.percentile(np.abs(evidence), 99.5), rel=1e-6)
    colours = matplotlib.colormaps[COLOURS]((evidence - low) / (high - low))
    np.testing.assert_allclose(maps, colours[..., :3], atol=0.02)  # of 256 colours
    for column, k in enumerate(best, 1):
        W = model.weights[k].reshape(8, 8)
        template = rows[1][:, column * step :][:, :8, 0]
        np.testing.assert_allclose(template, (W - W.min()) / np.ptp(W), atol=BYTE)


def test_explain_writes_a_png_and_replaces_none(model_file, picture, tmp_path, capsys):
    arguments = ["explain", model_file, picture, "--out", tmp_path / "why.png"]
    assert call(capsys, *arguments) == (0, f"explanation: {tmp_path / 'why.png'}\n", "")
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > 7 * 40  # inches, at the dots per inch of the tests
    first = (tmp_path / "why.png").read_bytes()
    status, _, err = call(capsys, *arguments)
    assert (status, "exists; add --force" in err) == (2, True)
    assert call(capsys, *arguments, "--force")[0] == 0
    assert (tmp_path / "why.png").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "nowhere"], "nowhere: no such file"),
        (["export", "{empty}"], "holds no model; expected results.safetensors or run.safetensors"),
        (["export", "{model}", "--model", "1"], "not a folder of models, so it has no model 1"),
        (["export", "{model}", "--out", "m.pt"], "m.pt: expected a name that ends in .safetensors"),
        (["export", "{model}", "--out", "{model}"], "exists; add --force to replace it"),
        (["evaluate", "{model}", "digits"], "digits: the class '0' is none of those the model"),
        (["evaluate", "{model}", "{other}"], "samples of 5 features, the model was trained on 12"),
        (["evaluate", "{model}", "nowhere.npz"], "nowhere.npz: no such file"),
        (["evaluate", "{model}", "{other}", "--split", "tset"], "unknown split 'tset'"),
        (["evaluate", "{model}", "{other}", "--out", "m"], "expected a name that ends in .csv"),
        (["evaluate", "{model}", "{other}", "--out", "{hole}"], "exists; add --force"),
        (["predict", "{model}", "nowhere.png"], "nowhere.png: no such file"),
        (["predict", "{model}", "{model}"], "arrays: biases, "),
        (["predict", "{model}", "{picture}"], "the model was trained on rows of features"),
        (["predict", "{model}", "{hole}"], "hole.csv: row 1: a value is missing, infinite or"),
        (["predict", "{model}", "{hole}", "--format", "xml"], "unknown format 'xml'"),
        (["predict", "{model}", "{hole}", "--top", "0"], "--top"),
        (["explain", "{model}", "{picture}"], "the model was trained on rows of features"),
        (["explain", "{model}", "nowhere.png"], "the model was trained on rows of features"),
        (["explain", "{images}", "nowhere.png"], "nowhere.png: no such file"),
        (["explain", "{images}", "{hole}"], "hole.csv: a text; expected PNG"),
        (["explain", "{images}", "{picture}", "--out", "a.gif"], "a.gif: expected a name that"),
        (["explain", "{images}", "{picture}", "--top", "9"], "--top"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_status_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    data = make_data()
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (5, 5)).save(tmp_path / "picture.png")
    one = ",".join("1" * 12)
    (tmp_path / "hole.csv").write_text(f"{one}\n{one[:-1]}\n{one}\n")
    names = np.array(data.class_names)
    np.savez("other.npz", X=data.train.X[:, :5], y=data.train.y, class_names=names)
    files = {
        "model": write_model(tmp_path),
        "images": write_model(tmp_path / "images", image_shape=(3, 2, 2)),
        "empty": tmp_path / "empty",
        "other": tmp_path / "other.npz",
        "picture": tmp_path / "picture.png",
        "hole": tmp_path / "hole.csv",
    }
    before = sorted(tmp_path.rglob("*"))
    status, out, err = call(capsys, *(argument.format(**files) for argument in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("onelayer: ")
    assert words in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["export", "evaluate", "predict", "explain"])
def test_every_command_has_help_and_an_example(capsys, command):
    status, out, _ = call(capsys, command, "--help")
    assert (status, "Example: onelayer" in out) == (0, True)
