"""Results made by hand, whose numbers are known beforehand."""

from dataclasses import replace

import numpy as np

from onelayer.data.scaling import Scaling
from onelayer.evaluation.confusions import Confusions
from onelayer.evaluation.per_class import most_confident_mistakes
from onelayer.evaluation.predictions import Ensemble, Mistakes, Predictions, Scored
from onelayer.evaluation.results import BatchCheck, Results
from onelayer.evaluation.selection import choose
from onelayer.model.gradient_check import GradientCheck, WorstEntry
from onelayer.model.links import SOFTMAX
from onelayer.training.cross_validation import CrossValidation
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.run import CURVES, History, Run

SCRIPTS = (
    "猫", "毛", "犬", "ねこ", "고양이", "قطة", "حصان", "חתול", "बिल्ली", "แมว",
    "👩‍🔬", "🇸🇪", "👍🏽", "👍🏿",
)  # fmt: skip
HOSTILE = ("<script>alert(1)</script>", "$x_{&%#\\}^~", "猫 | ``", "a\nb" * 20)


def make_curves(M, epochs, *, start=2.0):
    """Return curves (M, epochs + 1) that fall steadily, faster for later models."""
    fall = np.linspace(0, 1, epochs + 1)[None] * (0.1 + 0.1 * np.arange(M)[:, None] / M)
    losses = {"loss": start - fall, "cost": start + 0.5 - fall, "accuracy": 0.1 + fall}
    return {name: losses[name.split("_")[1]].copy() for name in CURVES}


def make_run(settings, *, classes, image_shape, epochs, curves=None, stopped=None):
    M, K = len(settings), len(classes)
    D = int(np.prod(image_shape)) if image_shape else 6
    generator = np.random.default_rng(0)
    return Run(
        settings=tuple(settings),
        training={
            "dataset": "made",
            "batch_size": 5,
            "epochs": epochs,
            "order": "file",
            "seed": 1,
            "dtype": "float64",
            "validation_samples": 1000,
        },
        weights=generator.standard_normal((M, K, D)),
        biases=np.zeros((M, K)),
        history=History(
            np.arange(epochs + 1), **(make_curves(M, epochs) if curves is None else curves)
        ),
        kept=np.full(M, epochs),
        ended=("",) * M,
        stopped=("",) * M if stopped is None else stopped,
        scaling=Scaling("unit", np.zeros(D), np.ones(D)),
        class_names=tuple(classes),
        image_shape=image_shape,
        provenance={"numpy": "2", "seconds": 1.26, "digests": {"made.bin": "ab" * 32}},
    )


def make_check(K, D, *, name="strict", worst=3e-7, tolerance=1e-6, parameter="W"):
    errors_W = np.full((K, D), 1e-9)
    errors_W[0, 0] = 0.0  # as where both derivatives are zero
    errors_W[1, D - 1] = worst if parameter == "W" else 1e-9
    index = (1, D - 1) if parameter == "W" else (1,)
    errors_b = np.full(K, worst if parameter == "b" else 1e-10)
    entry = WorstEntry(parameter, index, worst, 0.5, 0.5000003)
    check = GradientCheck("forward", 1e-6, 1e-5, tolerance, errors_W, errors_b, entry)
    return BatchCheck(name, 1, 0.0, "cross-entropy", "initial", check)


def make_confusion(accuracies, K, samples):
    """Return matrices with those shares on the diagonal, all in its first entries; 0 for NaN."""
    confusion = np.zeros((len(accuracies), K, K), dtype=np.intp)
    for matrix, accuracy in zip(confusion, accuracies, strict=True):
        if not np.isnan(accuracy):
            matrix[0, 0] = round(accuracy * samples)
            matrix[0, 1] = samples - matrix[0, 0]
    return confusion


def make_folds(M, folds=5):
    """Return accuracies (folds, M) around 0.3, 0.4, … of which the last is the best."""
    generator = np.random.default_rng(0)
    accuracy = 0.3 + 0.1 * np.arange(M) / M + 0.02 * generator.standard_normal((folds, M))
    curves = np.zeros((folds, M, 4))
    return CrossValidation(accuracy, 1 - accuracy, curves, curves, 800, 200)


def make_predictions(run, confusion, selected):
    """Return predictions that belong to such a confusion: the first rows of the split are right."""
    generator, K = np.random.default_rng(0), confusion.shape[1]
    evaluated = confusion[confusion.any(axis=(1, 2))]
    N = evaluated[:1].sum()
    right = np.arange(N) < evaluated[:, :1, 0]
    test = None
    if confusion[selected].any():
        scores = generator.random((N, K)).astype(np.float32)
        mine = np.arange(N) < confusion[selected, 0, 0]
        scores[:, 0] += np.where(mine, 1 + 3 * generator.random(N), -1).astype(np.float32)
        scores[:, 1] += np.where(mine, 0, 2 * generator.random(N)).astype(np.float32)
        test = Scored(scores, np.zeros(N, dtype=np.intp))
    validation = Scored(
        generator.standard_normal((300, K)).astype(np.float32) + np.eye(K, dtype=np.float32)[0],
        np.zeros(300, dtype=np.intp),
    )
    mistakes = None
    if test is not None and run.image_shape is not None:
        rows = most_confident_mistakes(test.certainties(SOFTMAX), test.y, 8)
        images = generator.integers(0, 256, (len(rows), run.weights.shape[2]), dtype=np.uint8)
        mistakes = Mistakes(rows, images, 255.0)
    return Predictions(right, test, validation, mistakes)


def make_results(
    accuracies=(0.30, 0.50, 0.40),
    *,
    settings=None,
    published=None,
    repeats=((0.31, 0.52, 0.42), (0.29, 0.48, 0.41), (0.33, 0.50, 0.44)),
    samples=10_000,
    classes=("cat", "dog", "fox"),
    image_shape=(1, 3, 4),
    epochs=4,
    curves=None,
    stopped=None,
    checks=None,
    engine_checks=(),
    title="A title",
    notice="",
    cross_validation=None,
    rule="best",
    **changes,
):
    """Return Results with these test accuracies (M,), and repeats (R, M)."""
    M, K = len(accuracies), len(classes)
    settings = settings or [Hyperparameters(l2=0.1 * m, learning_rate=0.01) for m in range(M)]
    made = {"classes": classes, "image_shape": image_shape, "epochs": epochs}
    run = make_run(settings, curves=curves, stopped=stopped, **made)
    D = run.weights.shape[2]
    confusion = make_confusion(accuracies, K, samples)
    selection = choose(run, cross_validation, rule)
    results = Results(
        title=title,
        source="a source",
        notice=notice,
        published=np.full(M, np.nan) if published is None else np.array(published, dtype=float),
        run=run,
        repeats=tuple(make_run(settings, **made) for _ in repeats),
        confusion=Confusions.of(confusion),
        repeat_accuracies=np.array(repeats, dtype=float).reshape(-1, M),
        checks=(make_check(K, D),) if checks is None else checks,
        engine_checks=engine_checks,
        selection=selection,
        cross_validation=cross_validation,
        predictions=make_predictions(run, confusion, selection.chosen),
        ensembles=(Ensemble("settings", 3, 0.6, 0.55),) if M > 1 else (),
        optimal_costs=np.full(M, np.nan),
    )
    return replace(results, **changes)


def nan_curves(M, epochs, from_epoch):
    curves = make_curves(M, epochs)
    for curve in curves.values():
        curve[0, from_epoch:] = np.nan
    return curves


def nan_validation(M):
    """Return curves of models that had no validation split."""
    curves = make_curves(M, 4)
    return {name: c * np.nan if name.startswith("validation") else c for name, c in curves.items()}
