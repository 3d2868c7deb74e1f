"""The loss of docs/extending.md, registered as that page says, works in every part."""

import ast
import re
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from onelayer.data.catalog import load_dataset
from onelayer.data.splitting import fold_weights
from onelayer.errors import InputError
from onelayer.estimator.classifier import OneLayerClassifier
from onelayer.estimator.search import OneLayerSearchCV
from onelayer.evaluation.ranking import rank_files
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments.reproduce import check_gradients, reproduce
from onelayer.experiments.spec import Spec
from onelayer.model.links import Link
from onelayer.model.losses import LOSSES, CrossEntropy, Loss, register
from onelayer.training.classifier import load_model, model_of
from onelayer.training.compiled_engine import WIDTHS, CompiledEngine
from onelayer.training.cross_validation import cross_validate
from onelayer.training.export import to_onnx
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train

ROOT = Path(__file__).parents[1]
NAME = "squared-error"
CHECK = {
    "name": "strict", "method": "complex", "step": 1e-30, "images": 20, "l2": [0.1],
    "eps": 1e-5, "tolerance": 1e-12, "precision": "extended",
}  # fmt: skip


def page_loss():
    """Return the loss of the page, by running its code."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class SquaredError" in block)
    names = {"np": np}
    exec(code, names)
    return names["SquaredError"]()


@pytest.fixture(autouse=True)
def registered():
    with patch.dict(LOSSES):
        register(page_loss())
        yield LOSSES[NAME]


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def least_squares(X, y, l2):
    """Return W and b of the smallest cost, by the normal equations."""
    N, K = len(X), y.max() + 1
    A = np.hstack([X, np.ones((N, 1))])
    decay = 2 * l2 * np.diag([*np.ones(X.shape[1]), 0])
    return np.linalg.solve(A.T @ A / N + decay, A.T @ np.eye(K)[y] / N).T


def test_train_reaches_the_normal_equations(digits):
    settings = grid(l2=[0.1], learning_rate=[0.05], momentum=[0.9], loss=[NAME])
    run = train(
        digits,
        settings,
        epochs=3000,
        batch_size=len(digits.train),
        dtype="float64",
        evaluate_every=0,
    )
    best = least_squares(run.scaling.apply(digits.train.X), digits.train.y, 0.1)
    found = np.hstack([run.weights[0], run.biases[0][:, None]])
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-6 * np.abs(best).max())


@pytest.mark.skipif(not WIDTHS, reason="this machine has no compiled kernel")
def test_the_kernel_refuses_a_loss_that_it_does_not_have(digits):
    with pytest.raises(InputError, match="kernel has no loss 'squared-error'"):
        train(digits, grid(loss=[NAME]), epochs=1, engine=CompiledEngine)


def test_a_stack_may_mix_it_with_the_packages_losses(digits):
    settings = grid(learning_rate=[0.01], loss=["hinge", NAME])
    mixed = train(digits, settings, epochs=2)
    for model, setting in enumerate(settings):
        alone = train(digits, [setting], epochs=2)
        np.testing.assert_allclose(mixed.weights[model], alone.weights[0], rtol=0, atol=1e-4)
    assert mixed.provenance["engine"] == "NumpyEngine"


def test_folds_and_search(digits):
    X, y = np.asarray(digits.train.X), digits.train.y
    folds = cross_validate(digits, grid(loss=[NAME]), fold_weights(y, 3, seed=0), epochs=3)
    assert folds.accuracy.min() > 0.5
    search = OneLayerSearchCV(
        OneLayerClassifier(loss=NAME, learning_rate=0.001, epochs=3), {"l2": [0, 1]}, cv=3
    )
    assert search.fit(X, y).best_score_ > 0.5


def test_the_estimator_predicts_and_has_no_probabilities(digits):
    X, y = np.asarray(digits.train.X), digits.train.y
    fitted = OneLayerClassifier(loss=NAME, learning_rate=0.001, epochs=20).fit(X, y)
    assert fitted.score(X, y) > 0.8
    for method in ("predict_proba", "predict_log_proba"):
        assert not hasattr(fitted, method)
        with pytest.raises(AttributeError) as refused:
            getattr(fitted, method)
        assert '"squared-error" has no probabilities' in str(refused.value.__cause__)


def test_a_model_file_predicts_scores_and_exports_them(digits, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = train(digits, grid(loss=[NAME]), epochs=3)
    model_of(run).save(tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    X = np.asarray(digits.test.X)
    np.save(tmp_path / "rows.npy", X)
    ranked = [ranking.values[0] for ranking in rank_files(model, [str(tmp_path / "rows.npy")])]
    np.testing.assert_allclose(ranked, model.scores(X).max(axis=1), rtol=1e-6)
    with pytest.raises(InputError, match="only scores"):
        model.probabilities(X)
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    assert [output.name for output in session.get_outputs()] == ["scores"]
    LOSSES.pop(NAME)
    with pytest.raises(InputError, match="unknown loss 'squared-error'"):
        load_model(tmp_path / "m.safetensors")


def test_an_experiment_reports_checks_and_redraws_it(tmp_path):
    spec = Spec.model_validate({
        "name": "own", "title": "My own loss", "data": {"dataset": "digits"},
        "training": {"epochs": 1, "optimum": True, "folds": 2, "repeats": 2},
        "settings": [{"loss": NAME, "l2": 0.1}, {"loss": NAME, "learning_rate": 0.001}],
        "gradient_checks": [CHECK],
    })  # fmt: skip
    results = reproduce(spec, tmp_path / "out")
    assert [(batch.loss, batch.check.passed) for batch in results.checks] == [(NAME, True)]
    (engine,) = results.engine_checks
    assert engine.passed
    assert engine.telling
    assert engine.engine == "NumpyEngine"
    assert np.isnan(results.optimal_costs).all()
    assert all(ensemble.mean_probability is None for ensemble in results.ensembles)
    page = (tmp_path / "out" / "report.html").read_text()
    for told in ("mean squared error plus", "l = ½ Σₖ (sₖ − eₖ)²", "g = s − e"):
        assert told in page
    assert "do not become probabilities" in page
    assert "Calibration on the test set" not in page
    assert RunFolder.open(tmp_path / "out").results().selected_loss is LOSSES[NAME]


def test_the_check_finds_a_wrong_slope_of_it(registered, monkeypatch):
    monkeypatch.setattr(
        type(registered), "slopes", lambda self, S, y: 2 * (S - np.eye(S.shape[1])[y])
    )
    monkeypatch.setattr(
        type(registered), "values", lambda self, S, y: ((S - np.eye(S.shape[1])[y]) ** 2).sum(1) / 2
    )
    spec = Spec.model_validate({
        "name": "own", "title": "t", "data": {"dataset": "digits"},
        "settings": [{"loss": NAME}], "gradient_checks": [CHECK],
    })  # fmt: skip
    (batch,), (engine,) = check_gradients(spec, None)
    assert not batch.check.passed
    assert not engine.passed


class _Doubled(Link):
    name = "softmax of twice the scores"

    def log_probabilities(self, S):
        return CrossEntropy.link.log_probabilities(2 * S)


class _Sharp(CrossEntropy):
    name, title, link, log_loss, optimum = "sharp", "sharp loss", _Doubled(), False, False


def test_a_link_of_ones_own_gives_the_probabilities_and_is_refused_by_onnx(digits):
    register(_Sharp())
    X, y = np.asarray(digits.train.X), digits.train.y
    fitted = OneLayerClassifier(loss="sharp", epochs=2, learning_rate=0.001).fit(X, y)
    S = fitted.decision_function(X).astype(np.float64)
    expected = np.exp(2 * S) / np.exp(2 * S).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-10)
    model = model_of(fitted.run_)
    np.testing.assert_allclose(model.probabilities(X), expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="softmax of twice the scores: no ONNX operators"):
        to_onnx(model)
    # The kernel asks for the name, so a subclass never trains as the loss that it comes from.
    assert fitted.run_.provenance["engine"] == "NumpyEngine"


@pytest.mark.parametrize("name", ["hinge", "", "Hinge 2", "../x", "-x"])
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name):
    class Named(CrossEntropy):
        pass

    Named.name = name
    with pytest.raises(InputError, match="a loss called"):
        register(Named())
    assert set(LOSSES) == {"cross-entropy", "hinge", "binary-cross-entropy", NAME}


def test_the_slow_and_the_fast_values_with_are_the_same():
    generator = np.random.default_rng(0)
    S, y, s_k = generator.normal(size=(9, 4)), np.arange(9) % 4, generator.normal(size=(9, 6))
    for loss in LOSSES.values():
        for change in (s_k, S[:, [2]] + 1e-30j * s_k):
            slow = Loss.values_with(loss, S, y, 2, change)
            found = loss.values_with(S, y, 2, change)
            np.testing.assert_allclose(found.real, slow.real, rtol=1e-12)
            np.testing.assert_allclose(found.imag, slow.imag, rtol=1e-12, atol=1e-44)


def test_no_code_compares_the_name_of_a_loss():
    """A name stands where the loss is defined; elsewhere only as the default of an option."""
    names, found = set(LOSSES), []
    for path in (ROOT / "src").rglob("*.py"):
        if path.name == "losses.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        defaults = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.arguments):
                defaults |= {id(default) for default in (*node.defaults, *node.kw_defaults)}
            if isinstance(node, ast.AnnAssign):
                defaults.add(id(node.value))
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in names and id(node) not in defaults
        ]
    assert found == []
