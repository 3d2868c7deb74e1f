"""What other programs predicted or trained is judged as scikit-learn judges it."""

import csv

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

import onelayer
from onelayer import load_dataset
from onelayer.cli import run

REFEREES = {
    "accuracy": lambda y, P: metrics.accuracy_score(y, P.argmax(1)),
    "balanced-accuracy": lambda y, P: metrics.balanced_accuracy_score(y, P.argmax(1)),
    "macro-f1": lambda y, P: metrics.f1_score(y, P.argmax(1), average="macro"),
    "top-5": lambda y, P: metrics.top_k_accuracy_score(y, P, k=5),
    "auroc": lambda y, P: metrics.roc_auc_score(y, P, average="macro", multi_class="ovr"),
    "log-loss": lambda y, P: metrics.log_loss(y, P),
}
OF_LABELS = ("accuracy", "balanced-accuracy", "macro-f1")


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def fitted(digits):
    return LogisticRegression(max_iter=30, tol=0.1).fit(digits.train.X, digits.train.y)


def judge(capsys, *arguments):
    """Return the metrics that evaluate writes, and what it understood."""
    status = run(["evaluate", *map(str, arguments), "--out", "metrics.csv", "--force"])
    error = capsys.readouterr().err
    assert status == 0, error
    with open("metrics.csv") as file:
        return {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}, error


def refuse(capsys, *arguments):
    assert run(["evaluate", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def write_lines(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([*([header] if header else []), *rows])


def agree(found, y, P, names):
    assert set(names) <= found.keys()
    for name in names:
        assert found[name] == pytest.approx(REFEREES[name](y, P), rel=1e-6), name


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_probabilities_of_each_class_are_judged_whatever_their_order(digits, fitted, capsys):
    P, y = fitted.predict_proba(digits.test.X), digits.test.y
    order = [*range(9, -1, -1)]
    write_lines("p.csv", ["id", *order], [[n, *row[order]] for n, row in enumerate(P)])
    found, said = judge(capsys, "p.csv", "digits")
    agree(found, y, P, REFEREES)
    assert "p.csv: a probability for each of 10 classes, without the column 'id', of " in said


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        (["id", "Predicted Label"], lambda y: enumerate(y), "in the column 'Predicted Label'"),
        (["anything"], lambda y: ([k] for k in y), "in the column 'anything'"),
        (None, lambda y: ([k] for k in y), "predicted labels, of"),
        (["prediction"], lambda y: ([f"{k}.0"] for k in y), "in the column 'prediction'"),
    ],
)
def test_predicted_labels_are_judged_by_what_labels_say(
    digits, fitted, capsys, header, rows, words
):
    called = fitted.predict(digits.test.X)
    write_lines("labels.csv", header, rows(called))
    found, said = judge(capsys, "labels.csv", "digits")
    agree(found, digits.test.y, np.eye(10)[called], OF_LABELS)
    assert found.keys() == set(OF_LABELS)
    assert words in said


def test_what_predict_writes_is_judged(digits, capsys):
    model = onelayer.model_of(onelayer.train(digits, onelayer.grid(), epochs=1))
    model.save("model.safetensors")
    np.save("test.npy", digits.test.X)
    assert run(["predict", "model.safetensors", "test.npy"]) == 0
    with open("own.csv", "w") as file:
        file.write(capsys.readouterr().out)
    found, _ = judge(capsys, "own.csv", "digits")
    assert found["accuracy"] == (model.predict(digits.test.X) == digits.test.y).mean()


def write_arrays(name, **arrays):
    (np.savez if name.endswith(".npz") else lambda file, **some: save_file(some, file))(
        name, **{key: np.ascontiguousarray(array) for key, array in arrays.items()}
    )


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("w.npz", lambda W, b: {"coef_": W.T, "intercept_": b[:, None], "notes": np.array(1)}),
        ("w.safetensors", lambda W, b: {"fc.weight": W, "fc.bias": b}),
    ],
)
def test_weights_are_judged_in_the_shapes_and_names_of_others(digits, fitted, capsys, name, arrays):
    write_arrays(name, **arrays(fitted.coef_, fitted.intercept_))
    found, said = judge(capsys, name, "digits")
    agree(found, digits.test.y, fitted.predict_proba(digits.test.X), REFEREES)
    assert f"note: {name}: " in said


def test_weights_of_16_bits_and_no_biases(digits, fitted, capsys):
    W = fitted.coef_.astype(ml_dtypes.bfloat16)
    write_arrays("w.safetensors", weight=W)
    found, said = judge(capsys, "w.safetensors", "digits")
    S = digits.test.X @ W.astype(float).T
    assert found["accuracy"] == metrics.accuracy_score(digits.test.y, S.argmax(1))
    assert "no biases" in said


def test_one_row_of_weights_is_the_second_of_two_classes_against_the_first(capsys):
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = np.where(X[:, 0] > 0, "yes", "no")
    np.savez("two.npz", X=X, y=y, X_test=X[:80], y_test=y[:80])
    fitted = LogisticRegression(C=0.01).fit(X, y)
    write_arrays("w.npz", W=fitted.coef_, b=fitted.intercept_)
    found, _ = judge(capsys, "w.npz", "two.npz")
    assert found["log-loss"] == pytest.approx(
        metrics.log_loss(y[:80], fitted.predict_proba(X[:80])), rel=1e-6
    )


def test_what_cannot_be_judged_is_refused_in_one_line(digits, capsys):
    N = len(digits.test)
    write_lines("short.csv", ["prediction"], [[1]] * (N - 1))
    assert f"predictions of {N - 1:,} rows; the test split of" in refuse(
        capsys, "short.csv", "digits"
    )
    write_lines("strange.csv", ["prediction"], [[1]] * 5 + [["ten"]] * (N - 5))
    assert "row 5: 'ten' is none of the 10 classes" in refuse(capsys, "strange.csv", "digits")
    write_lines("nine.csv", range(9), [[1] + [0] * 8] * N)
    assert "columns for 9 of 10 classes, none for '9'" in refuse(capsys, "nine.csv", "digits")
    write_lines("other.csv", ["a", "b"], [[1, 2]] * N)
    assert "no column of predictions" in refuse(capsys, "other.csv", "digits")
    write_lines("scores.csv", range(10), [[1] * 10] * N)
    assert "row 0: probabilities from 1 that sum to 10" in refuse(capsys, "scores.csv", "digits")
    write_lines("words.csv", range(10), [["0.1"] * 9 + ["high"]] * N)
    assert "row 0, column '9': found 'high'" in refuse(capsys, "words.csv", "digits")
    write_lines("ragged.csv", ["a", "prediction"], [[1, 2], [3]])
    assert "row 1 has 1 cells, the first line 2" in refuse(capsys, "ragged.csv", "digits")
    write_arrays("w.npz", W=np.ones((10, 63)), b=np.ones(10))
    told = refuse(capsys, "w.npz", "digits")
    assert "W of the shape (10, 63); expected (10, 64) or (64, 10)" in told
    write_arrays("b.npz", W=np.ones((10, 64)), b=np.ones(9))
    assert "b of the shape (9,); expected (10,)" in refuse(capsys, "b.npz", "digits")
    write_arrays("two.npz", W=np.ones((10, 64)), weight=np.ones((10, 64)))
    assert "W and weight may both be meant" in refuse(capsys, "two.npz", "digits")
    write_arrays("none.npz", x=np.ones(3))
    assert "holds x; expected W and b" in refuse(capsys, "none.npz", "digits")
    write_arrays("nan.npz", W=np.full((10, 64), np.nan))
    assert "not finite" in refuse(capsys, "nan.npz", "digits")
    np.savez("object.npz", W=np.array([{}]))
    assert "object.npz" in refuse(capsys, "object.npz", "digits")
    assert "name a data set" in refuse(capsys, "short.csv")
    assert "missing.csv" in refuse(capsys, "missing.csv", "digits")
    assert "unknown split 'tset'" in refuse(capsys, "short.csv", "digits", "--split", "tset")
