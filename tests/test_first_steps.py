"""What a new user does first, each in a few lines, from their own data to predictions."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import onelayer
from onelayer import OneLayerClassifier, OneLayerSearchCV
from onelayer.cli import run as run_command


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder and return what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(line):
        assert run_command(line.split()) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return call


def right_answers(said):
    """Return how many samples `evaluate` counts as right."""
    accuracy, samples = re.match(r"accuracy (\S+) .* on (\d+) ", said).groups()
    return round(float(accuracy) * int(samples))


def test_pictures_in_a_folder_for_each_class(call, tmp_path):
    digits = load_digits()
    for n, (pixels, label) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        (tmp_path / "photos" / f"a {label}").mkdir(parents=True, exist_ok=True)
        side, kind = (8, "png") if n % 2 else (12 + n % 5, "jpg")
        picture = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((side, side))
        picture.save(tmp_path / "photos" / f"a {label}" / f"{n}.{kind}")

    call("train photos --resize 8,8 --scaling standardise --epochs 10 --learning-rate 0.1")
    splits = [call(f"evaluate runs/photos --split {s}") for s in ("train", "validation", "test")]
    files = sorted(tmp_path.glob("photos/*/*"))
    with_names = ["predict", "runs/photos", *map(str, files)]
    said = subprocess.run(
        [sys.executable, "-m", "onelayer", *with_names], capture_output=True, text=True, check=True
    )

    rows = list(csv.DictReader(said.stdout.splitlines()))
    assert [row["file"] for row in rows] == list(map(str, files))
    accuracy = accuracy_score([file.parent.name for file in files], [row["class"] for row in rows])
    assert sum(map(right_answers, splits)) == round(accuracy * 300)
    assert accuracy > 0.9


def test_a_parquet_file_of_features(call, tmp_path):
    wine = load_wine(as_frame=True)
    frame = wine.data.assign(maker=wine.target.map(dict(enumerate(["barolo", "grig", "barbera"]))))
    frame = frame[["maker", *wine.data]].sample(frac=1, random_state=0).reset_index(drop=True)
    frame[:140].to_parquet("wine.parquet")
    frame[140:].drop(columns="maker").to_parquet("new.parquet")

    info = call("data info wine.parquet --label maker")
    call("train wine.parquet --label maker --scaling standardise --epochs 100")
    said = call("predict runs/wine.parquet new.parquet")

    assert "13 features, float64" in info
    rows = list(csv.DictReader(said.splitlines()))
    model = onelayer.load_model("runs/wine.parquet")
    P = model.probabilities(frame[140:].drop(columns="maker").to_numpy())
    assert [row["class"] for row in rows] == [model.class_names[k] for k in P.argmax(axis=1)]
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows], P.max(axis=1), atol=1e-6
    )
    peer = make_pipeline(StandardScaler(), LogisticRegression())
    theirs = peer.fit(frame[:140].drop(columns="maker"), frame["maker"][:140])
    expected = theirs.score(frame[140:].drop(columns="maker"), frame["maker"][140:])
    assert accuracy_score(frame["maker"][140:], [row["class"] for row in rows]) >= expected - 0.06


def test_a_frame_in_a_pipeline_of_scikit_learn():
    cancer = load_breast_cancer(as_frame=True)
    X, y = cancer.data, cancer.target.map({0: "malignant", 1: "benign"})

    ours = make_pipeline(StandardScaler(), OneLayerClassifier(random_state=0))
    ours.set_output(transform="pandas").fit(X, y)
    search = OneLayerSearchCV(OneLayerClassifier(random_state=0), {"l2": [0, 0.01, 0.1]})
    best = make_pipeline(StandardScaler(), search).fit(X, y)

    assert list(ours[-1].feature_names_in_) == list(X.columns)
    assert set(ours.predict(X)) == {"malignant", "benign"}
    peer = make_pipeline(StandardScaler(), LogisticRegression())
    expected = cross_val_score(peer, X, y).mean()
    assert cross_val_score(ours, X, y).mean() == pytest.approx(expected, abs=0.01)
    assert search.best_score_ == pytest.approx(expected, abs=0.01)
    assert accuracy_score(y, best.predict(X)) == best.score(X, y) > 0.95


def test_a_saved_model_in_other_processes(tmp_path):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    classifier = OneLayerClassifier(random_state=0, epochs=20).fit(X, y)
    X.to_csv(tmp_path / "rows.csv", index=False)

    onelayer.model_of(classifier.run_).save(tmp_path / "cancer.safetensors")
    script = (
        "import onelayer, pandas, sys; model = onelayer.load_model('cancer.safetensors');"
        "P = model.probabilities(pandas.read_csv('rows.csv').to_numpy()); print(P.tobytes().hex())"
    )
    there = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    said = subprocess.run([sys.executable, "-c", script], **there).stdout
    command = [sys.executable, "-m", "onelayer", "predict", "cancer.safetensors", "rows.csv"]
    lines = subprocess.run([*command, "--format", "json"], **there).stdout.splitlines()

    P = onelayer.model_of(classifier.run_).probabilities(X.to_numpy())
    assert said.strip() == P.tobytes().hex()
    np.testing.assert_allclose(P, classifier.predict_proba(X), rtol=1e-5)
    rows = [json.loads(line) for line in lines]
    assert [int(row["classes"][0]["class"]) for row in rows] == classifier.predict(X).tolist()
