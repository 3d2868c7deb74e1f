"""One model through every door: command line, Python, spec and estimator give the same bits."""

import inspect
from dataclasses import fields

import numpy as np
import pytest

import onelayer
from made import make_data
from onelayer.cli import run as command
from onelayer.data.catalog import load_dataset
from onelayer.estimator.classifier import DEFAULTS, OneLayerClassifier
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.spec import ExperimentOptions, SettingSpec, Spec
from onelayer.option import options_of
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions


@pytest.fixture(scope="module")
def sorted_by_class(tmp_path_factory):
    """Return a file whose training samples are sorted by class: the order decides the model."""
    path = tmp_path_factory.mktemp("doors") / "sorted.npz"
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 50)
    X = generator.normal(0, 1, (150, 8)) + np.eye(3, 8)[y]
    arrays = {"X_train": X, "y_train": y, "X_test": X[::5], "y_test": y[::5]}
    np.savez(path, **arrays)
    return path


def test_every_door_gives_the_same_bits(sorted_by_class, tmp_path):
    data = load_dataset(sorted_by_class)
    python = onelayer.train(data, onelayer.grid(), epochs=3)
    spec = Spec.model_validate(
        {
            "name": "a",
            "title": "A",
            "data": {"dataset": str(sorted_by_class)},
            "training": {"epochs": 3},
            "settings": [{}],
        }
    )
    from_spec = run_experiment(spec, data).run
    out = tmp_path / "out"
    assert command(["train", str(sorted_by_class), "--epochs", "3", "--out", str(out)]) == 0
    from_command = RunFolder.open(out).results().run
    own = {name: options_of(Hyperparameters, TrainingOptions)[name].default for name in DEFAULTS}
    estimator = OneLayerClassifier(**own | {"epochs": 3}, random_state=0)
    estimator.fit(data.train.X, data.train.y)
    for run in (from_spec, from_command, estimator.run_):
        assert run.weights.tobytes() == python.weights.tobytes()
        assert run.biases.tobytes() == python.biases.tobytes()
    file_order = onelayer.train(data, onelayer.grid(), epochs=3, order="file")
    assert file_order.weights.tobytes() != python.weights.tobytes()  # or the test says nothing


def test_the_estimator_has_the_options_and_defaults_of_training():
    described = options_of(Hyperparameters, TrainingOptions, Machine)
    parameters = inspect.signature(OneLayerClassifier).parameters
    shared = {name: each.default for name, each in parameters.items() if name in described}
    # Others go by another name or have no meaning for arrays.
    assert set(described) - set(shared) == {
        "augmentation", "checkpoint", "device", "engine", "init_seed", "memory", "precision",
        "rank_timeout", "seed", "shard", "snapshots", "stacks", "time_limit",
    }  # fmt: skip
    expected = {name: described[name].default for name in shared} | DEFAULTS
    assert shared == expected


def test_help_shows_every_keyword_with_its_default():
    shown = inspect.signature(onelayer.train).parameters
    for name, each in options_of(TrainingOptions, Machine).items():
        assert shown[name].default == each.default
    probe = inspect.signature(onelayer.probe).parameters
    assert (probe["scaling"].default, probe["epochs"].default) == ("standardise", 40)


@pytest.mark.parametrize("cls", [SettingSpec, ExperimentOptions, Machine], ids=lambda c: c.__name__)
def test_every_field_is_described_and_its_default_is_a_value(cls):
    described = options_of(cls)
    assert set(described) == {field.name for field in fields(cls)}
    for each in described.values():
        assert each.help.endswith(".")
        assert each.read(each.default) == each.default


@pytest.mark.parametrize(
    ("cls", "name", "wrong"),
    [
        (Hyperparameters, "l2", "0.1"),
        (Hyperparameters, "nesterov", 1),
        (TrainingOptions, "epochs", True),
        (TrainingOptions, "epochs", 2.5),
        (TrainingOptions, "epochs", float("inf")),
        (TrainingOptions, "order", None),
        (TrainingOptions, "seed", -1),
        (TrainingOptions, "patience", "3"),
        (Machine, "memory", float("nan")),
    ],
)
def test_a_value_of_another_type_or_range_is_refused_by_name(cls, name, wrong):
    with pytest.raises(onelayer.InputError, match=f"{name} is .*; expected"):
        cls(**{name: wrong})


def test_numbers_of_numpy_become_plain_ones():
    setting = Hyperparameters(l2=np.float32(0.5), warmup=np.int64(3), nesterov=np.bool_(False))
    assert [type(value) for value in (setting.l2, setting.warmup, setting.nesterov)] == [
        float, int, bool
    ]  # fmt: skip
    assert TrainingOptions(epochs=3.0).epochs == 3


def test_folds_with_class_weights_weigh_each_folds_own_rows():
    data = make_data(N=60)
    weights = (np.arange(60) % 4 != np.arange(4)[:, None]).astype(np.uint8)
    options = {"epochs": 3, "batch_size": 60, "order": "file", "dtype": "float64"}
    found = onelayer.training.cross_validation.cross_validate(
        data, onelayer.grid(), weights, class_weight="balanced", **options
    )
    for fold, loss in zip(weights, found.loss[:, 0], strict=True):
        counts = np.bincount(data.train.y[fold > 0], minlength=4)
        own = fold * (fold.sum() / (4 * counts))[data.train.y]
        run = onelayer.train(data, onelayer.grid(), sample_weights=own, **options)
        S = run.scores(data.train.X)[fold == 0, 0]
        y = data.train.y[fold == 0]
        expected = np.mean(np.logaddexp.reduce(S, axis=1) - S[np.arange(len(y)), y])
        assert loss == pytest.approx(expected, rel=1e-10)
