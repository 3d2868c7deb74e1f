"""The method section says what the settings did, and no more."""

from dataclasses import replace

import numpy as np

from made_results import make_results
from onelayer.report.blocks import Equations, Paragraph
from onelayer.report.method import describe_method
from onelayer.training.hyperparameters import Hyperparameters


def told_of(settings, **protocol):
    run = make_results(np.full(len(settings), 0.4), settings=settings, repeats=()).run
    blocks = list(describe_method(replace(run, training=run.training | protocol)))
    equations = [row for block in blocks if isinstance(block, Equations) for row in block.rows]
    return " ".join(b.text for b in blocks if isinstance(b, Paragraph)), equations


def test_plain_cross_entropy_has_the_courses_equations_its_slopes_and_no_others():
    text, equations = told_of([Hyperparameters(), Hyperparameters(1)])
    assert "mean cross-entropy" in text
    assert [number for number, _, _ in equations] == [
        "(1)", "(5)", "(6)", "(8)", "(9)", "(10)", "(11)", ""
    ]  # fmt: skip
    assert "augmented" not in text


def test_every_loss_that_occurs_has_its_equation():
    losses = ("hinge", "binary-cross-entropy")
    text, equations = told_of([Hyperparameters(loss=loss) for loss in losses])
    written = [equation for _, equation, _ in equations]
    assert "hinge loss or binary cross-entropy" in text
    assert "with softmax" not in text
    assert "l = Σⱼ max(0, sⱼ − s_y + 1),  j ≠ y" in written
    assert "l = −(1/K) Σₖ [eₖ log pₖ + (1 − eₖ) log(1 − pₖ)]" in written
    assert not any("softmax" in equation for equation in written)
    assert "g = (p − e) / K" in written


def test_momentum_schedules_and_starts_are_told_where_they_are_used():
    settings = [
        Hyperparameters(momentum=0.9, nesterov=True, schedule=schedule, warmup=2, init="xavier")
        for schedule in ("exponential:0.9", "step:10:0.1", "cosine", "plateau:3:0.5", "constant")
    ]
    text, equations = told_of(settings)
    written = [equation for _, equation, _ in equations]
    for equation in (
        "V ← μ V + ∂J/∂W,  W ← W − η V",
        "W ← W − η (∂J/∂W + μ V)",
        "ηₑ = η fᵉ",
        "ηₑ = η f^⌊e/n⌋",
        "ηₑ = η (1 + cos(π e / E)) / 2",
        "η ← f η",
        "ηₑ ← ηₑ min(1, (e + 1) / (w + 1))",
    ):
        assert equation in written
    assert "warm-up 2; μ=0.9; Nesterov; xavier." in text


def test_augmentation_and_what_is_kept_are_told():
    text, _ = told_of([Hyperparameters()], augmentation="flip,shift:2,contrast:0.2", keep="best")
    for words in ("probability 0.5", "2 pixels", "contrast", "1 ± 0.2", "best validation accuracy"):
        assert words in text
    text, _ = told_of([Hyperparameters()], augmentation="none", keep="best", patience=5)
    assert "Early stopping" in text
    assert "5 measurements" in text
