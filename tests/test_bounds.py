"""Work is judged before it is begun, and what is drawn does not grow with what is stored."""

import json
import math
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import onelayer
from bounded import BoundedProcesses
from made_results import make_confusion, make_results, make_run
from onelayer.cli import run
from onelayer.data.contents import MOST_CLASSES, MOST_LETTERS, check_class_names
from onelayer.data.sample_weights import MOST_WEIGHTS, bootstrap_weights
from onelayer.data.splitting import fold_weights, subset_weights
from onelayer.errors import InputError, unknown_name
from onelayer.evaluation import predictions
from onelayer.evaluation.confusions import Confusions, most_confused
from onelayer.evaluation.results import RESULTS
from onelayer.evaluation.weight_images import smoothness, total_variation, weight_images
from onelayer.experiments.probe_options import ProbeOptions
from onelayer.experiments.spec import ExperimentOptions, SettingSpec, Spec
from onelayer.option import options_of
from onelayer.report.confidence import confidence_blocks
from onelayer.report.effects import endings_table
from onelayer.report.image_grid import fit, stretched
from onelayer.report.labels import LISTED, listing
from onelayer.report.per_class import DRAWN, PAIRS, frequent_confusions
from onelayer.training.hyperparameters import MOST_SETTINGS, Hyperparameters
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions

GROUPS = (Hyperparameters, ExperimentOptions, Machine, ProbeOptions)
# The smallest data: what is refused after it was read costs nothing either.
X, Y = np.arange(40.0).reshape(20, 2), [0, 1] * 10


# --- every option has a range, the same through every door ------------------------------------


@pytest.mark.parametrize("cls", GROUPS, ids=lambda cls: cls.__name__)
def test_every_number_has_a_largest_value(cls):
    for name, each in options_of(cls).items():
        if each.kind in (int, float) and name not in ("threads", "time_limit"):
            assert min(each.most, each.below) < math.inf, name


LIMITED = {
    name: each
    for cls in GROUPS
    for name, each in options_of(cls).items()
    if each.kind is int and each.most < math.inf
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_count_too_large_is_refused_before_any_work_through_every_door(name, tmp_path, capsys):
    each, value = LIMITED[name], int(LIMITED[name].most) + 1
    flag, words = f"--{name.replace('_', '-')}", f"is {value}; expected {each.expected}"
    command = "probe" if name in options_of(ProbeOptions) else "train"
    assert run([command, "digits", flag, str(value), "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    cls = next(cls for cls in GROUPS if name in options_of(cls))
    with pytest.raises(InputError, match=words):
        cls(**{name: value})
    if name in options_of(TrainingOptions) and name != "snapshots":  # no page for an estimator
        model = onelayer.OneLayerClassifier(**{"random_state" if name == "seed" else name: value})
        with pytest.raises((InputError, ValueError)):
            model.fit(X, Y)


def test_a_seed_and_its_repeats_stay_readable():
    with pytest.raises(InputError, match="3 repeats count on from it"):
        ExperimentOptions(seed=2**53 - 2, repeats=3)


# --- sizes that follow from several options ---------------------------------------------------


def make_spec(settings, **training):
    options = ExperimentOptions(**training)
    return Spec(name="a", title="a", data={"dataset": "digits"}, training=options,
                settings=[SettingSpec()] * settings)  # fmt: skip


def test_all_folds_of_all_settings_are_counted():
    assert make_spec(10, folds=100, fold_repeats=100)
    with pytest.raises(ValueError, match=r"11 settings on 100 folds .* are 110,000 models"):
        make_spec(11, folds=100, fold_repeats=100)


def test_subsets_and_draws_are_counted():
    data = onelayer.dataset_from(X, Y)
    fractions = np.linspace(0.1, 0.9, 100)
    with pytest.raises(InputError, match="16 settings on 101 folds or subsets, drawn 1,000 times"):
        onelayer.probe({"a": data}, fractions=fractions, draws=1000)


def test_weights_of_folds_and_subsets_are_counted():
    y = np.zeros(1000, np.intp)
    with pytest.raises(InputError, match=f"2,000,000,000 weights; .* at most {MOST_WEIGHTS:,}"):
        fold_weights(y, 1000, repeats=2000, seed=0)
    with pytest.raises(InputError, match="1,000,000,000,000 weights"):
        subset_weights(y, [0.5], draws=10**9, seed=0)
    with pytest.raises(InputError, match="1 resamples, drawn 1,000,000,000 times"):
        bootstrap_weights(1000, 10**9, seed=0)


def test_a_table_has_room_for_few_classes_of_a_row(capsys):
    assert run(["predict", "model", "a.csv", "--top", "51", "--format", "table"]) == 2
    assert "--top is 51; expected up to 50 in a table" in capsys.readouterr().err


def test_settings_and_the_curves_of_all_epochs_are_counted():
    data, settings = onelayer.dataset_from(X, Y), [Hyperparameters()]
    with pytest.raises(InputError, match=f"100,001 settings; expected at most {MOST_SETTINGS:,}"):
        onelayer.train(data, settings * (MOST_SETTINGS + 1))
    with pytest.raises(InputError, match="3,000 models would leave 144 GB of weights and curves"):
        onelayer.train(data, settings * 3000, epochs=1_000_000)


def test_a_batch_of_more_rows_than_there_are_takes_no_more_memory():
    data, settings = onelayer.dataset_from(X, Y), [Hyperparameters()]
    whole, more = (
        onelayer.train(data, settings, batch_size=size, epochs=1) for size in (14, 10**9)
    )
    assert whole.weights.tobytes() == more.weights.tobytes()


def test_class_names_are_counted_with_their_letters():
    with pytest.raises(InputError, match="100,001 classes"):
        check_class_names("a", [str(k) for k in range(MOST_CLASSES + 1)])
    with pytest.raises(InputError, match=f"expected at most {MOST_LETTERS:,}"):
        check_class_names("a", [f"{k:0100}" for k in range(MOST_LETTERS // 100 + 1)])


def test_a_message_names_few_of_many_names():
    message = str(unknown_name("class", "x" * 1000, map(str, range(100_000))))
    assert len(message) < 400
    assert message.endswith(", …")


# --- confusions: only what was counted --------------------------------------------------------


@st.composite
def matrices(draw):
    M, K = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    counts = draw(st.lists(st.integers(0, 9), min_size=M * K * K, max_size=M * K * K))
    return np.array(counts).reshape(M, K, K)


@given(matrices())
def test_confusions_are_the_matrices_that_they_were_made_of(dense):
    found = Confusions.of(dense)
    assert [matrix.toarray().tolist() for matrix in found] == dense.tolist()
    assert found.samples.tolist() == dense.sum(axis=(1, 2)).tolist()
    assert found.right.tolist() == np.trace(dense, axis1=1, axis2=2).tolist()


@given(matrices())
def test_the_most_confused_pairs_are_the_largest_counts_off_the_diagonal(dense):
    off = dense[0] - np.diag(np.diag(dense[0]))
    found = most_confused(Confusions.of(dense)[0], 4)
    assert [count for _, _, count in found] == sorted(off[off > 0].tolist(), reverse=True)[:4]
    assert all(off[i, j] == count for i, j, count in found)


def test_rows_that_a_model_calls_something_are_counted():
    true, called = np.array([0, 0, 2, 2]), np.array([[0, 1, 2, 2], [2, 2, 2, 0]])
    first, second = Confusions.of_rows(true, called, 3)
    assert first.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 2]]
    assert second.toarray().tolist() == [[0, 0, 2], [0, 0, 0], [1, 0, 1]]


def test_results_with_whole_matrices_are_still_read(tmp_path):
    results, path = make_results(), tmp_path / "results.safetensors"
    RESULTS.save(results, path)
    from stored_records import read_record

    header, arrays = read_record(path), load_file(path)
    header["format"] = 1
    del header["record"]["confusion"]
    del arrays["confusion.cells"], arrays["confusion.counts"]
    arrays["confusion"] = make_confusion((0.30, 0.50, 0.40), 3, 10_000)
    save_file(arrays, path, {"onelayer": json.dumps(header)})
    read = RESULTS.load(path, run=results.run, repeats=results.repeats)
    assert read.confusion.cells.tolist() == results.confusion.cells.tolist()
    assert read.confusion.counts.tolist() == results.confusion.counts.tolist()


# --- reports show what is telling -------------------------------------------------------------


def test_of_many_classes_the_most_confused_pairs_stand_in_place_of_the_matrix():
    K = DRAWN + 1
    results = make_results((0.5,), classes=[f"class {k}" for k in range(K)], repeats=(), checks=())
    table = frequent_confusions(results)
    assert table.rows == (("class 0", "class 1", "5,000"),)
    assert f"{PAIRS} most frequent" in table.caption
    assert f"{K} × {K}" in table.caption
    assert frequent_confusions(make_results()) is None


def test_scores_that_are_too_many_are_left_out_with_a_sentence(monkeypatch):
    data = onelayer.dataset_from(X, Y)
    trained = onelayer.train(data, [Hyperparameters()], epochs=1)
    monkeypatch.setattr(predictions, "MOST_SCORES", 2 * len(data.test) - 1)
    kept = predictions.keep_predictions(data, trained, [0], 0)
    assert (kept.test, kept.validation, kept.right.shape) == (None, None, (1, len(data.test)))
    results = make_results()
    (told,) = confidence_blocks(make_results(predictions=predictions.Predictions(
        results.predictions.right)))  # fmt: skip
    assert "10,000 test samples for 3 classes are more than" in told.text


def test_a_sentence_lists_few_of_many():
    assert listing("abc") == "a; b and c"
    names = [str(n) for n in range(3000)]
    assert listing(names).endswith(f"; {LISTED - 2} and {3000 - LISTED + 1:,} more")


def test_diverged_repeats_are_counted_by_setting():
    results = make_results()
    settings = results.run.settings
    repeats = tuple(
        make_run(settings[::-1], classes="abc", image_shape=None, epochs=4, stopped=stopped)
        for stopped in (("", "", "epoch 1"), ("", "", "epoch 2"), ("epoch 1", "", ""))
    )
    table = endings_table(replace(results, repeats=repeats))
    assert [row[1] for row in table.rows] == ["2 of 3", "1 of 3"]


# --- pictures of any shape --------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 20))
def test_an_image_is_fitted_into_a_side_and_keeps_its_light(H, W, side):
    images = np.random.default_rng(0).random((2, H, W, 1))
    fitted = fit(images, side)
    n, height, width, _ = fitted.shape
    assert (n, max(height, width) <= max(side, 1)) == (2, True)
    assert max(height, width) <= 12 * min(height, width)
    if side % min(H, side) == 0 == side % min(W, side) and H % min(H, side) == 0 == W % min(
        W, side
    ):
        np.testing.assert_allclose(fitted.mean(axis=(1, 2)), images.mean(axis=(1, 2)))
    if max(H, W) <= min(side, 8 * min(H, W)):
        np.testing.assert_array_equal(fitted, images)


def test_a_slim_image_is_said_to_be_drawn_broader():
    assert stretched((3, 32, 32)) == ""
    assert "3,000 × 1 pixels" in stretched((1, 3000, 1))


def test_smoothness_is_the_mean_variation_of_each_models_images():
    made = make_results().run
    expected = total_variation(weight_images(made)).mean(axis=1)
    np.testing.assert_array_equal(smoothness(made), expected)


# --- seen from outside ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bounded():
    with BoundedProcesses() as processes:
        yield processes


def test_thousands_of_classes_are_trained_without_a_matrix_of_them(bounded, tmp_path):
    names = np.array([f"class {k}" for k in range(10_000)])  # a matrix would take 800 MB
    y, features = np.arange(200) // 2 * 70, np.random.default_rng(0).random((200, 2), np.float32)
    np.savez(tmp_path / "a.npz", X=features, y=y, class_names=names)
    out = ("--out", tmp_path / "out", "--report", "none", "--epochs", 1)
    outcome = bounded.run("train", tmp_path / "a.npz", *out, allowance=256 << 20)
    assert outcome.status == 0, outcome
    assert bounded.run("evaluate", tmp_path / "out", allowance=256 << 20).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3000, 1), (1, 3000), (2000, 2)])
def test_a_report_of_slim_images_takes_little_memory(bounded, tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", X=images, y=Y * 2)
    out = ("--out", tmp_path / "out", "--epochs", 1)
    outcome = bounded.run("train", tmp_path / "a.npz", *out, allowance=512 << 20)
    assert outcome.status == 0, outcome


@pytest.mark.slow
def test_ten_thousand_classes_of_two_rows_are_trained_and_reported(tmp_path):
    y, generator = np.arange(20_000) % 10_000, np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", X=generator.random((20_000, 64), np.float32), y=y)
    begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    command = [sys.executable, "-m", "onelayer", "train", tmp_path / "a.npz", "--epochs", "1"]
    subprocess.run([*command, "--out", tmp_path / "out"], check=True, timeout=300)
    assert max(begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) < 1 << 20  # KiB
    assert (tmp_path / "out" / "report.pdf").is_file()


def test_names_that_are_hardly_used_cost_little(bounded, tmp_path):
    names = np.array([f"class {k}" for k in range(30_000)])
    np.savez(tmp_path / "a.npz", X=X, y=Y, class_names=names)
    assert bounded.run("data", "info", tmp_path / "a.npz").status == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: onelayer.dataset_from(np.eye(8), [0, 1] * 4, name="n" * 10_001), "the name 'nnn"),
        (
            lambda: onelayer.dataset_from(
                pd.DataFrame(np.eye(8, 1), columns=["c" * 10_001]), [0, 1] * 4
            ),
            "the column 'ccc",
        ),
        (
            lambda: onelayer.dataset_from(
                pd.DataFrame(np.eye(8, 500), columns=[f"{n:09}" * 1000 for n in range(500)]),
                [0, 1] * 4,
            ),
            "names of columns of 4,500,000 letters",
        ),
        (lambda: onelayer.grid(schedule=[f"step:1:0.{'5' * 10_000}"]), "schedule: a text of"),
        (lambda: TrainingOptions(augmentation=f"flip:0.{'5' * 10_000}"), "augmentation: a text of"),
    ],
    ids=["name", "column", "columns", "schedule", "augmentation"],
)
def test_a_text_that_no_record_holds_is_refused_before_anything_is_trained(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    ("X", "y", "kind", "words"),
    [
        ((10**6, 1000), (1000,), "I64", r"features of the shape \(1000000, 1000\), labels of"),
        ((10**9,), (10**9,), "I64", "features of the shape"),
        ((500, 1000, 2000), (500, 3, 2), "I64", r"labels of the shape \(500, 3, 2\)"),
        ((10**6, 1000), (10**6,), "C64", "y is of C64"),
    ],
    ids=["lengths", "flat", "sides", "type"],
)
def test_shapes_in_a_header_are_judged_before_gigabytes_are_read(tmp_path, X, y, kind, words):
    ends = np.cumsum([0, 4 * math.prod(X), 8 * math.prod(y)]).tolist()
    header = {
        "X": {"dtype": "F32", "shape": X, "data_offsets": ends[:2]},
        "y": {"dtype": kind, "shape": y, "data_offsets": ends[1:]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:  # of holes, which take no room on a disk
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + ends[-1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with pytest.raises(InputError, match=words):
        onelayer.load_dataset(path)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert pages * resource.getpagesize() < 1e9  # of 4
    path.unlink()
